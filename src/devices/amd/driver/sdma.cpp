// The copy engine. Source: Linux amdgpu sdma_v6_0.c; tinygrad 0.14.0, runtime/support/am/ip.py
// (AM_SDMA).
#include <array>
#include <bit>
#include <initializer_list>
#include <utility>

#include "devices/amd/driver/blocks.h"
#include "hardware/amd/navi31/address_space.h"
#include "hardware/amd/navi31/bring_up.h"
#include "hardware/amd/navi31/doorbells.h"
#include "hardware/amd/navi31/gc.h"

namespace outboard::devices::amd::driver::sdma {
namespace {

namespace gc = hw::gc;
namespace setting = hw::sdma;
constexpr uint32_t kDoorbell = hw::doorbell::AMDGPU_NAVI10_DOORBELL_sDMA_ENGINE0;
constexpr uint32_t kDoorbellDword = kDoorbell * hw::doorbell::kDwords;

}  // namespace

// As AM_SDMA.init_hw; Linux sdma_v6_0_gfx_resume.
void find_settings(Context& c) {
  Registers& r = c.registers;
  const auto with = [](uint32_t value,
                       std::initializer_list<std::pair<hw::Field, uint32_t>> fields) {
    for (const auto& [field, wanted] : fields)
      value = static_cast<uint32_t>(field.put(value, wanted));
    return value;
  };
  c.kept.sdma = {
      with(r.get_to_change<gc::SDMA0_WATCHDOG_CNTL>(),
           {{gc::SDMA0_WATCHDOG_CNTL::QUEUE_HANG_COUNT, setting::kQueueHangCount}}),
      with(r.get_to_change<gc::SDMA0_UTCL1_CNTL>(),
           {{gc::SDMA0_UTCL1_CNTL::RESP_MODE, setting::kResponseMode},
            {gc::SDMA0_UTCL1_CNTL::REDO_DELAY, setting::kRedoDelay}}),
      with(r.get_to_change<gc::SDMA0_UTCL1_PAGE>(),
           {{gc::SDMA0_UTCL1_PAGE::RD_L2_POLICY, setting::kReadNotKept},
            {gc::SDMA0_UTCL1_PAGE::WR_L2_POLICY, setting::kWriteBypasses},
            {gc::SDMA0_UTCL1_PAGE::LLC_NOALLOC, 1}}),
      with(r.get_to_change<gc::SDMA0_F32_CNTL>(),
           {{gc::SDMA0_F32_CNTL::HALT, 0}, {gc::SDMA0_F32_CNTL::TH1_RESET, 0}}),
      with(r.get_to_change<gc::SDMA0_CNTL>(), {{gc::SDMA0_CNTL::TRAP_ENABLE, 1}}),
  };
}

// Its registers fall back when it is stopped; the doorbell's way does not.
void init(Context& c) {
  Registers& r = c.registers;
  r.set<gc::SDMA0_WATCHDOG_CNTL>(c.kept.sdma[0]);
  r.set<gc::SDMA0_UTCL1_CNTL>(c.kept.sdma[1]);
  r.set<gc::SDMA0_UTCL1_PAGE>(c.kept.sdma[2]);
  r.set<gc::SDMA0_F32_CNTL>(c.kept.sdma[3]);
  r.set<gc::SDMA0_CNTL>(c.kept.sdma[4]);
}

void enable_doorbell(Context& c) {
  nbio::enable_doorbells(c, hw::nbio::kCopyRoute, kDoorbellDword, hw::nbio::kCopyRouteDwords);
}

uint64_t progress(Context& c) {
  return c.registers.get<gc::SDMA0_QUEUE0_RB_RPTR>() +
         (uint64_t{c.registers.get<gc::SDMA0_QUEUE0_IB_RPTR>()} << 32);
}

// As AM_SDMA.fini_hw; Linux sdma_v6_0_gfx_stop and sdma_v6_0_soft_reset.
void stop(Context& c) {
  Registers& r = c.registers;
  r.update<gc::SDMA0_QUEUE0_RB_CNTL>({{gc::SDMA0_QUEUE0_RB_CNTL::RB_ENABLE, 0}});
  r.update<gc::SDMA0_QUEUE0_IB_CNTL>({{gc::SDMA0_QUEUE0_IB_CNTL::IB_ENABLE, 0}});
  r.update<gc::SDMA0_QUEUE0_DOORBELL>({{gc::SDMA0_QUEUE0_DOORBELL::ENABLE, 0}});
  r.set<gc::GRBM_SOFT_RESET>(gc::GRBM_SOFT_RESET::SOFT_RESET_SDMA0(1));
  c.pause(std::chrono::milliseconds(10));
  r.set<gc::GRBM_SOFT_RESET>(0);
}

// As AM_SDMA.setup_ring; Linux sdma_v6_0_gfx_resume.
BarOffset start_queue(Context& c, const gfx::Ring& ring) {
  Registers& r = c.registers;
  using MinorUpdate = gc::SDMA0_QUEUE0_MINOR_PTR_UPDATE;
  r.set<MinorUpdate>(MinorUpdate::ENABLE(1));
  using namespace gc;  // NOLINT: the vendor's names
  r.set_pair<SDMA0_QUEUE0_RB_RPTR, SDMA0_QUEUE0_RB_RPTR_HI>(0);
  r.set_pair<SDMA0_QUEUE0_RB_WPTR, SDMA0_QUEUE0_RB_WPTR_HI>(0);
  r.set_pair<SDMA0_QUEUE0_RB_BASE, SDMA0_QUEUE0_RB_BASE_HI>(value(ring.address) >> hw::kRingShift);
  r.set_pair<SDMA0_QUEUE0_RB_RPTR_ADDR_LO, SDMA0_QUEUE0_RB_RPTR_ADDR_HI>(value(ring.read_pointer));
  r.set_pair<SDMA0_QUEUE0_RB_WPTR_POLL_ADDR_LO, SDMA0_QUEUE0_RB_WPTR_POLL_ADDR_HI>(
      value(ring.write_pointer));
  r.set<gc::SDMA0_QUEUE0_DOORBELL_OFFSET>(gc::SDMA0_QUEUE0_DOORBELL_OFFSET::OFFSET(kDoorbellDword));
  r.set<gc::SDMA0_QUEUE0_DOORBELL>(gc::SDMA0_QUEUE0_DOORBELL::ENABLE(1));
  r.set<MinorUpdate>(MinorUpdate::ENABLE(0));
  using Cntl = gc::SDMA0_QUEUE0_RB_CNTL;
  const auto size = static_cast<uint32_t>(std::bit_width(ring.bytes / 4)) - 1;
  // Without F32_WPTR_POLL_ENABLE: the doorbell alone tells of new packets (queue.h).
  r.set<Cntl>(Cntl::RB_VMID(0) | Cntl::RPTR_WRITEBACK_ENABLE(1) |
              Cntl::RPTR_WRITEBACK_TIMER(setting::kReadPointerTimer) | Cntl::RB_ENABLE(1) |
              Cntl::RB_PRIV(1) | Cntl::RB_SIZE(size));
  r.update<gc::SDMA0_QUEUE0_IB_CNTL>({{gc::SDMA0_QUEUE0_IB_CNTL::IB_ENABLE, 1}});
  return BarOffset{uint64_t{kDoorbell} * hw::doorbell::kBytes};
}

}  // namespace outboard::devices::amd::driver::sdma
