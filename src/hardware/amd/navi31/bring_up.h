// What a driver sets in this chip's blocks that has no name in the headers that the other tables
// are made of. Each value names where another driver has it: functions of Linux (amdgpu, amdkfd),
// and of tinygrad 0.14.0 classes of runtime/support/am/ip.py. Nothing here was tried on a card.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

namespace outboard::hardware::amd::navi31 {

// --- doorbells ---

namespace doorbell {

// A doorbell is a slot of 64 bits; DOORBELL_OFFSET of a queue and RANGE_OFFSET of a route count
// dwords.
inline constexpr uint32_t kDwords = 2, kBytes = 8;
// Those that the compute engine listens to: AM_GFX.init_hw. Linux gives it all up to
// USERQUEUE_END (gfx_v11_0_kiq_init_register).
inline constexpr uint32_t kMecFirst = 0, kMecLast = 0x1f;

}  // namespace doorbell

namespace nbio {

// A route lets a range of doorbells through the bus interface: entry n is
// S2A_DOORBELL_ENTRY_n_CTRL.
struct DoorbellRoute {
  uint32_t entry = 0;
  uint32_t id = 0;  // AWID: the engine that they go to
};
// Both are the command processor's: nbio_v4_3_gc_doorbell_init, AM_GFX.init_hw.
inline constexpr std::array<DoorbellRoute, 2> kCommandProcessorRoutes = {{{0, 0x3}, {3, 0x6}}};
// nbio_v4_3_sdma_doorbell_range, AM_SDMA.init_hw.
inline constexpr DoorbellRoute kCopyRoute = {2, 0xe};
inline constexpr uint32_t kCopyRouteDwords = 4;  // AM_SDMA.init_hw
// Bits 31:28 of the address behind the bus interface, of all three.
inline constexpr uint32_t kRouteAddress = 0x3;

// MM_INDEX with this bit shows VRAM in MM_DATA, else registers; MM_INDEX has the address's bits
// 30:0, MM_INDEX_HI those above. amdgpu_device_mm_access.
inline constexpr uint32_t kMmIndexVram = 0x80000000;
inline constexpr int kMmIndexBits = 31;

}  // namespace nbio

// --- graphics core ---

namespace gc {

// GRBM_GFX_CNTL.MEID of the first compute engine (soc21_grbm_select; 0 is graphics).
inline constexpr uint32_t kMec1 = 1;
// CP_MEC_RS64_PRGRM_CNTR_START counts dwords. gfx_v11_0_config_gfx_rs64, AM_GFX._config_mec.
inline constexpr int kProgramCounterShift = 2;
// gfx_v11_0_init_golden_registers ors it in and does not say why; so does AM_GFX.init_hw.
inline constexpr uint32_t kGoldenTcp = 0x20000000;
// RLC_SPM_MC_CNTL.RLC_SPM_VMID. AM_GFX.init_hw, gfx_v11_0_update_spm_vmid.
inline constexpr uint32_t kSpmVmid = 0xf;
// GRBM_CNTL.READ_TIMEOUT. gfx_v11_0_constants_init.
inline constexpr uint32_t kReadTimeout = 0xff;

// SH_MEM_CONFIG: soc21_enum.h's SH_MEM_ADDRESS_MODE_64 and SH_MEM_ALIGNMENT_MODE_UNALIGNED, and
// what DEFAULT_SH_MEM_CONFIG of gfx_v11_0.c has beside them.
inline constexpr uint32_t kAddresses64Bits = 0, kUnaligned = 3, kInstructionPrefetch = 3;
// SH_MEM_BASES: bits 63:48 of the addresses by which FLAT instructions mean LDS and scratch.
// LDS_APP_BASE and SCRATCH_APP_BASE of gfx_v11_0.c.
inline constexpr uint32_t kLdsAperture = 1, kScratchAperture = 2;

// CP_HQD_DEQUEUE_REQUEST.DEQUEUE_REQ (hqd_destroy_v11's RESET_WAVES).
inline constexpr uint32_t kResetWaves = 2;

// The clocks of an idle graphics core: gfx_v11_0_update_coarse_grain_clock_gating,
// AM_GFX.set_clockgating_state.
inline constexpr uint32_t kIdleThreshold = 0x36, kCompensationDelay = 0xf;
inline constexpr uint32_t kPollFrequency = 0x100, kIdlePollCount = 0x90;

}  // namespace gc

// --- packets of the compute queue ---

// nvd.h and soc21_enum.h, beside what pm4.h has of them.
namespace pm4 {

inline constexpr uint32_t kType3 = 3;  // PACKET_TYPE3
// EVENT_INDEX(4) and (5) of nvd.h: partial flushes, events at the end of the pipe.
inline constexpr uint32_t kIndexOfPartialFlush = 4, kIndexOfEndOfPipe = 5;
inline constexpr uint32_t kLow32Bits = 1;  // RELEASE_MEM.DATA_SEL
inline constexpr uint32_t kToMemory = 5;   // WRITE_DATA.DST_SEL: memory, asynchronously
// ACQUIRE_MEM.COHER_SIZE and _HI for all addresses.
inline constexpr uint32_t kAllBytes = 0xffffffff, kAllBytesHigh = 0xff;
// COMPUTE_PGM_LO and _HI, COMPUTE_DISPATCH_SCRATCH_BASE_LO and _HI: addresses by so many bits.
inline constexpr int kProgramShift = 8;

}  // namespace pm4

// --- compute queues ---

// Fields of v11_compute_mqd: init_mqd and update_mqd of kfd_mqd_manager_v11.c, AM_GFX.setup_ring.
namespace mqd {

inline constexpr uint32_t kHeader = 0xC0310800;
inline constexpr uint32_t kAllUnits = 0xffffffff;  // COMPUTE_STATIC_THREAD_MGMT_SEn
inline constexpr uint32_t kPreloadSize = 0x55;     // CP_HQD_PERSISTENT_STATE
// AMDGPU_GFX_PIPE_PRIO_HIGH and AMDGPU_GFX_QUEUE_PRIORITY_MAXIMUM of amdgpu_gfx.h.
inline constexpr uint32_t kHighPipePriority = 2, kHighestQueuePriority = 0xf;
inline constexpr uint32_t kQuantumScale = 1, kQuantumDuration = 1;  // CP_HQD_QUANTUM
// CP_HQD_PQ_CONTROL.RPTR_BLOCK_SIZE: the read pointer is reported every 2^(n + 1) dwords.
inline constexpr uint32_t kReadPointerBlock = 5;
inline constexpr uint32_t kLeastIndirectBuffer = 3;  // CP_HQD_IB_CONTROL.MIN_IB_AVAIL_SIZE
// CP_HQD_HQ_STATUS0, bits that AMD's header leaves out. The first makes the engine keep the
// dispatch packet's address; the second lets it use atomics over PCIe.
inline constexpr uint32_t kKeepDispatchPointer = 1U << 14, kBusAtomics = 1U << 29;

}  // namespace mqd

// --- copy engine ---

// sdma_v6_0_gfx_resume, AM_SDMA.init_hw and .setup_ring.
namespace sdma {

inline constexpr uint32_t kQueueHangCount = 100;              // WATCHDOG_CNTL, in 0.1 s
inline constexpr uint32_t kResponseMode = 3, kRedoDelay = 9;  // UTCL1_CNTL
// UTCL1_PAGE: what it reads does not stay in GL2, what it writes goes past it.
inline constexpr uint32_t kReadNotKept = 2, kWriteBypasses = 3;
inline constexpr uint32_t kReadPointerTimer = 4;  // RB_CNTL.RPTR_WRITEBACK_TIMER
// Bytes of one packet, whose count is one less: COPY_LINEAR's has 30 bits. A fill takes half.
inline constexpr uint64_t kMostCopied = uint64_t{1} << 30, kMostFilled = uint64_t{1} << 29;
inline constexpr uint32_t kFillDwords = 2;   // CONST_FILL's fillsize
inline constexpr uint32_t kFenceMemory = 3;  // FENCE's mtype, MTYPE_UC: sdma_v6_0_ring_emit_fence

}  // namespace sdma

// --- memory hubs ---

// gfxhub_v3_0.c and mmhub_v3_0.c (init_tlb_regs, init_cache_regs), AM_GMC.init_hub.
namespace hub {

inline constexpr uint32_t kSystemAccessMode = 3;    // MC_VM_MX_L1_TLB_CNTL
inline constexpr uint32_t kIdentityAccessMode = 1;  // VM_L2_CNTL.CONTEXT1_IDENTITY_ACCESS_MODE
inline constexpr uint32_t kBankSelect = 9, kBigFragment = 6;  // VM_L2_CNTL3
inline constexpr uint32_t kWalkerPriorityClient = 0x1ff;      // VM_L2_CNTL5
// VM_CONTEXT0_CNTL: two bits without a name that are on after power-on; Linux leaves them,
// AM_GMC.enable_vm_addressing sets them.
inline constexpr uint32_t kContextAsAfterPowerOn = 0x1800000;

}  // namespace hub

// --- interrupts ---

// ih_v6_0_rb_cntl and ih_v6_0_irq_init, AM_IH.init_hw.
namespace ih {

inline constexpr uint32_t kEntryDwords = 8;
inline constexpr uint32_t kMcSpace = 4;     // IH_RB_CNTL.MC_SPACE: memory controller addresses
inline constexpr uint32_t kStormDelay = 3;  // IH_MSI_STORM_CTRL
// SqInterrupt::ENCODING: 0 thread trace, 1 wave, 2 error (AM_IH.interrupt_handler).
inline constexpr uint32_t kSqError = 2;

}  // namespace ih

// --- PSP ---

namespace psp {

inline constexpr uint32_t kRingBytes = 0x10000;           // AM_PSP.init_sw
inline constexpr uint32_t kMostTrustedBytes = 0x1300000;  // TMR; AM_PSP.init_sw
inline constexpr int kRingTypeShift = 16;                 // C2PMSG_64. psp_v13_0_ring_create
// PSP_TMR_SIZE of amdgpu_psp.h: where the firmware has no table of contents that tells the size.
inline constexpr uint32_t kTrustedBytesWithoutContents = 0x400000;
// C2PMSG_33: the card's own firmware is through after power-on.
// amdgpu_discovery_read_binary_from_mem.
inline constexpr uint32_t kOwnFirmwareThrough = 0x80000000;

}  // namespace psp

// --- SMU ---

// smu_v13_0.c and smu_v13_0_0_ppt.c, AM_SMU.
namespace smu {

inline constexpr uint32_t kDebugMode1Reset = 2;               // DEBUGSMC_MSG_Mode1Reset
inline constexpr std::chrono::milliseconds kMode1Reset{500};  // SMU13_MODE1_RESET_WAIT_TIME_IN_MS
// Messages about a clock have its number above so many bits, and a level or MHz below. The level
// that asks how many there are: smu_v13_0_get_dpm_level_count.
inline constexpr int kClockShift = 16;
inline constexpr uint32_t kHowManyLevels = 0xff;
// MHz, or the number of levels; the top bit tells fine-grained clocks.
// smu_v13_0_get_dpm_freq_by_index.
inline constexpr uint32_t kLevelAnswer = 0x7fffffff;

}  // namespace smu

}  // namespace outboard::hardware::amd::navi31
