// The memory hubs. Source: Linux amdgpu gfxhub_v3_0.c, mmhub_v3_0.c, gmc_v11_0.c; tinygrad 0.14.0,
// runtime/support/am/ip.py (AM_GMC).
#include "devices/amd/driver/blocks.h"
#include "devices/amd/driver/memory.h"
#include "hardware/amd/navi31/address_space.h"
#include "hardware/amd/navi31/bring_up.h"
#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/mmhub.h"
#include "hardware/amd/navi31/page_table.h"

namespace outboard::devices::amd::driver {
namespace {

using hw::Field;

// The two hubs have the same registers under other names. A macro, because only it can change them.
#define OUTBOARD_HUB(Name, space, P)                                                      \
  struct Name {                                                                           \
    using AgpBase = hw::space::P##MC_VM_AGP_BASE;                                         \
    using AgpBot = hw::space::P##MC_VM_AGP_BOT;                                           \
    using AgpTop = hw::space::P##MC_VM_AGP_TOP;                                           \
    using ApertureLow = hw::space::P##MC_VM_SYSTEM_APERTURE_LOW_ADDR;                     \
    using ApertureHigh = hw::space::P##MC_VM_SYSTEM_APERTURE_HIGH_ADDR;                   \
    using DefaultLsb = hw::space::P##MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_LSB;              \
    using DefaultMsb = hw::space::P##MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_MSB;              \
    using FaultDefaultLo = hw::space::P##VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_LO32;        \
    using FaultDefaultHi = hw::space::P##VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_HI32;        \
    using FaultCntl2 = hw::space::P##VM_L2_PROTECTION_FAULT_CNTL2;                        \
    using L1Cntl = hw::space::P##MC_VM_MX_L1_TLB_CNTL;                                    \
    using L2Cntl = hw::space::P##VM_L2_CNTL;                                              \
    using L2Cntl2 = hw::space::P##VM_L2_CNTL2;                                            \
    using L2Cntl3 = hw::space::P##VM_L2_CNTL3;                                            \
    using L2Cntl4 = hw::space::P##VM_L2_CNTL4;                                            \
    using L2Cntl5 = hw::space::P##VM_L2_CNTL5;                                            \
    using StartLo = hw::space::P##VM_CONTEXT0_PAGE_TABLE_START_ADDR_LO32;                 \
    using StartHi = hw::space::P##VM_CONTEXT0_PAGE_TABLE_START_ADDR_HI32;                 \
    using EndLo = hw::space::P##VM_CONTEXT0_PAGE_TABLE_END_ADDR_LO32;                     \
    using EndHi = hw::space::P##VM_CONTEXT0_PAGE_TABLE_END_ADDR_HI32;                     \
    using BaseLo = hw::space::P##VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32;                   \
    using BaseHi = hw::space::P##VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_HI32;                   \
    using ContextCntl = hw::space::P##VM_CONTEXT0_CNTL;                                   \
    using IdentityLowLo = hw::space::P##VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_LO32;   \
    using IdentityLowHi = hw::space::P##VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_HI32;   \
    using IdentityHighLo = hw::space::P##VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_LO32; \
    using IdentityHighHi = hw::space::P##VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_HI32; \
    using IdentityOffsetLo = hw::space::P##VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_LO32;   \
    using IdentityOffsetHi = hw::space::P##VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_HI32;   \
    using Range0Lo = hw::space::P##VM_INVALIDATE_ENG0_ADDR_RANGE_LO32;                    \
    using Range0Hi = hw::space::P##VM_INVALIDATE_ENG0_ADDR_RANGE_HI32;                    \
    using Range1Lo = hw::space::P##VM_INVALIDATE_ENG1_ADDR_RANGE_LO32;                    \
    using Request = hw::space::P##VM_INVALIDATE_ENG17_REQ;                                \
    using Acknowledge = hw::space::P##VM_INVALIDATE_ENG17_ACK;                            \
    using Semaphore = hw::space::P##VM_INVALIDATE_ENG17_SEM;                              \
  }
OUTBOARD_HUB(GcHub, gc, GC);
OUTBOARD_HUB(MmHub, mmhub, MM);
#undef OUTBOARD_HUB

constexpr uint32_t kAllBits = 0xffffffff;  // of a field, or a register

// As gfxhub_v3_0_init_system_aperture_regs.
template <typename H>
void set_apertures(Context& c) {
  Registers& r = c.registers;
  // No AGP aperture: its bottom lies above its top.
  r.set<typename H::AgpBase>(0);
  r.set<typename H::AgpBot>(H::AgpBot::AGP_BOT(kAllBits));
  r.set<typename H::AgpTop>(0);
  // Addresses in VRAM's range go there without a page table.
  r.set<typename H::ApertureLow>(
      static_cast<uint32_t>(value(c.vram_base) >> hw::kSystemApertureShift));
  r.set<typename H::ApertureHigh>(
      static_cast<uint32_t>(value(c.vram_end) >> hw::kSystemApertureShift));
  r.set_pair<typename H::DefaultLsb, typename H::DefaultMsb>(value(layout::kScratchPage) >>
                                                             hw::pte::kPageBits);
  r.set_pair<typename H::FaultDefaultLo, typename H::FaultDefaultHi>(value(layout::kDummyPage) >>
                                                                     hw::pte::kPageBits);
}

// As gfxhub_v3_0_init_tlb_regs and gfxhub_v3_0_init_cache_regs.
template <typename H>
void set_caches(Context& c) {
  Registers& r = c.registers;
  r.update<typename H::FaultCntl2>({{H::FaultCntl2::ACTIVE_PAGE_MIGRATION_PTE_READ_RETRY, 1}});
  r.update<typename H::L1Cntl>({{H::L1Cntl::ENABLE_L1_TLB, 1},
                                {H::L1Cntl::SYSTEM_ACCESS_MODE, hw::hub::kSystemAccessMode},
                                {H::L1Cntl::ENABLE_ADVANCED_DRIVER_MODEL, 1},
                                {H::L1Cntl::SYSTEM_APERTURE_UNMAPPED_ACCESS, 0},
                                {H::L1Cntl::MTYPE, hw::pte::MTYPE_UC}});
  r.update<typename H::L2Cntl>(
      {{H::L2Cntl::ENABLE_L2_CACHE, 1},
       {H::L2Cntl::ENABLE_L2_FRAGMENT_PROCESSING, 0},
       {H::L2Cntl::ENABLE_DEFAULT_PAGE_OUT_TO_SYSTEM_MEMORY, 1},
       {H::L2Cntl::L2_PDE0_CACHE_TAG_GENERATION_MODE, 0},
       {H::L2Cntl::PDE_FAULT_CLASSIFICATION, 0},
       {H::L2Cntl::CONTEXT1_IDENTITY_ACCESS_MODE, hw::hub::kIdentityAccessMode},
       {H::L2Cntl::IDENTITY_MODE_FRAGMENT_SIZE, 0}});
  r.update<typename H::L2Cntl2>(
      {{H::L2Cntl2::INVALIDATE_ALL_L1_TLBS, 1}, {H::L2Cntl2::INVALIDATE_L2_CACHE, 1}});
  r.set<typename H::L2Cntl3>(H::L2Cntl3::BANK_SELECT(hw::hub::kBankSelect) |
                             H::L2Cntl3::L2_CACHE_BIGK_FRAGMENT_SIZE(hw::hub::kBigFragment) |
                             H::L2Cntl3::L2_CACHE_4K_ASSOCIATIVITY(1) |
                             H::L2Cntl3::L2_CACHE_BIGK_ASSOCIATIVITY(1));
  r.set<typename H::L2Cntl4>(H::L2Cntl4::L2_CACHE_4K_PARTITION_COUNT(1));
  r.set<typename H::L2Cntl5>(H::L2Cntl5::WALKER_PRIORITY_CLIENT_ID(hw::hub::kWalkerPriorityClient));
}

// VMID 0 through the page tables in VRAM; every kind of fault is reported. As
// AM_GMC.enable_vm_addressing; gfxhub_v3_0_enable_system_domain and _setup_vmid_config.
template <typename H>
void enable_context(Context& c) {
  Registers& r = c.registers;
  using C = typename H::ContextCntl;
  r.set_pair<typename H::StartLo, typename H::StartHi>(value(Memory::kBase) >> hw::pte::kPageBits);
  r.set_pair<typename H::EndLo, typename H::EndHi>(value(Memory::kEnd - 1) >> hw::pte::kPageBits);
  r.set_pair<typename H::BaseLo, typename H::BaseHi>(value(layout::kPageTables) |
                                                     hw::pte::VALID(1));
  r.set<C>(
      hw::hub::kContextAsAfterPowerOn | C::ENABLE_CONTEXT(1) |
      C::PAGE_TABLE_DEPTH(hw::pte::kLevels - 1) | C::PAGE_TABLE_BLOCK_SIZE(0) |
      C::RANGE_PROTECTION_FAULT_ENABLE_INTERRUPT(1) | C::RANGE_PROTECTION_FAULT_ENABLE_DEFAULT(1) |
      C::DUMMY_PAGE_PROTECTION_FAULT_ENABLE_INTERRUPT(1) |
      C::DUMMY_PAGE_PROTECTION_FAULT_ENABLE_DEFAULT(1) |
      C::PDE0_PROTECTION_FAULT_ENABLE_INTERRUPT(1) | C::PDE0_PROTECTION_FAULT_ENABLE_DEFAULT(1) |
      C::VALID_PROTECTION_FAULT_ENABLE_INTERRUPT(1) | C::VALID_PROTECTION_FAULT_ENABLE_DEFAULT(1) |
      C::READ_PROTECTION_FAULT_ENABLE_INTERRUPT(1) | C::READ_PROTECTION_FAULT_ENABLE_DEFAULT(1) |
      C::WRITE_PROTECTION_FAULT_ENABLE_INTERRUPT(1) | C::WRITE_PROTECTION_FAULT_ENABLE_DEFAULT(1) |
      C::EXECUTE_PROTECTION_FAULT_ENABLE_INTERRUPT(1) |
      C::EXECUTE_PROTECTION_FAULT_ENABLE_DEFAULT(1));
}

// As AM_GMC.init_hub; gfxhub_v3_0_gart_enable, mmhub_v3_0_gart_enable.
template <typename H>
void init(Context& c) {
  Registers& r = c.registers;
  set_apertures<H>(c);
  set_caches<H>(c);
  enable_context<H>(c);
  // No identity aperture: its low end lies above its high end.
  r.set_pair<typename H::IdentityLowLo, typename H::IdentityLowHi>(hw::pte::kLastPage);
  r.set_pair<typename H::IdentityHighLo, typename H::IdentityHighHi>(0);
  r.set_pair<typename H::IdentityOffsetLo, typename H::IdentityOffsetHi>(0);
  // Invalidate engines reach every address.
  constexpr uint32_t kStep = H::Range1Lo::kAddress - H::Range0Lo::kAddress;
  for (uint32_t engine = 0; engine < hw::kInvalidateEngines; ++engine) {
    r.write(r.template address<typename H::Range0Lo>() + engine * kStep, kAllBits);
    r.write(r.template address<typename H::Range0Hi>() + engine * kStep,
            H::Range0Hi::LOGI_PAGE_ADDR_RANGE_HI5(kAllBits));
  }
}

// As AM_GMC.flush_tlb; gmc_v11_0_flush_vm_hub.
template <typename H>
void invalidate(Context& c, bool semaphore) {
  Registers& r = c.registers;
  using Q = typename H::Request;
  constexpr uint32_t kVmid0 = 1;
  if (semaphore) {
    c.wait_for(
        {"gmc", "the semaphore of the MMHUB's invalidate engine 17"},
        [&] { return r.get<typename H::Semaphore>(); },
        [](uint32_t v) { return H::Semaphore::SEMAPHORE.get(v) != 0 && v != 0xffffffff; });
  }
  r.set<Q>(Q::PER_VMID_INVALIDATE_REQ(kVmid0) | Q::FLUSH_TYPE(0) | Q::INVALIDATE_L2_PTES(1) |
           Q::INVALIDATE_L2_PDE0(1) | Q::INVALIDATE_L2_PDE1(1) | Q::INVALIDATE_L2_PDE2(1) |
           Q::INVALIDATE_L1_PTES(1));
  c.wait_for(
      {"gmc", semaphore ? "the MMHUB to invalidate its TLBs (ENG17_ACK)"
                        : "the GCHUB to invalidate its TLBs (ENG17_ACK)"},
      [&] { return r.get<typename H::Acknowledge>(); },
      [](uint32_t v) { return (v & kVmid0) != 0 && v != 0xffffffff; });
  if (semaphore) r.set<typename H::Semaphore>(0);
}

}  // namespace

namespace gmc {

// As AM_GMC.init_sw; mmhub_v3_0_get_fb_location.
void find_vram(Context& c) {
  using Base = hw::mmhub::MMMC_VM_FB_LOCATION_BASE;
  using Top = hw::mmhub::MMMC_VM_FB_LOCATION_TOP;
  c.vram_base = ControllerAddress{uint64_t{Base::FB_BASE.get(c.registers.get<Base>())}
                                  << hw::kFrameBufferShift};
  c.vram_end =
      ControllerAddress{uint64_t{Top::FB_TOP.get(c.registers.get<Top>())} << hw::kFrameBufferShift};
}

void init_hub(Context& c, Hub hub) {
  if (hub == Hub::kGc) {
    init<GcHub>(c);
    return;
  }
  // A program that died while it held the semaphore left it taken.
  c.registers.set<MmHub::Semaphore>(0);
  init<MmHub>(c);
}

void flush_tlb(Context& c, Hub hub) {
  if (hub == Hub::kGc) {
    invalidate<GcHub>(c, false);
    return;
  }
  invalidate<MmHub>(c, true);
  // MMHUB 3.0 keeps translations in a cache of its own (gmc_v11_0.c, flush_vm_hub).
  using R = hw::mmhub::MMVM_L2_BANK_SELECT_RESERVED_CID2;
  c.registers.update<R>({{R::RESERVED_CACHE_PRIVATE_INVALIDATION, 1}});
  c.registers.get<R>();  // it is through when it has been read back
}

bool is_up(Context& c) {
  using Control = hw::gc::GCVM_CONTEXT0_CNTL;
  const uint32_t value = c.registers.get<Control>();
  return value != 0xffffffff && Control::ENABLE_CONTEXT.get(value) != 0;
}

bool has_fault(Context& c) {
  return c.registers.get<hw::gc::GCVM_L2_PROTECTION_FAULT_STATUS>() != 0;
}

Fault read_fault(Context& c) {
  using Status = hw::gc::GCVM_L2_PROTECTION_FAULT_STATUS;
  Fault fault;
  fault.status = c.registers.get<Status>();
  const uint64_t page = uint64_t{c.registers.get<hw::gc::GCVM_L2_PROTECTION_FAULT_ADDR_HI32>()}
                            << 32 |
                        c.registers.get<hw::gc::GCVM_L2_PROTECTION_FAULT_ADDR_LO32>();
  fault.address = GpuAddress{page << hw::pte::kPageBits};
  fault.write = Status::RW.get(fault.status) != 0;
  return fault;
}

void clear_fault(Context& c) {
  using R = hw::gc::GCVM_L2_PROTECTION_FAULT_CNTL;
  c.registers.update<R>({{R::CLEAR_PROTECTION_FAULT_STATUS_ADDR, 1}});
}

}  // namespace gmc
}  // namespace outboard::devices::amd::driver
