#include "simulator/card/rlc.h"

#include "hardware/amd/navi31/gc.h"
#include "simulator/card/mec.h"
#include "simulator/card/sdma.h"

namespace outboard::simulator::card {

namespace gc = hardware::amd::navi31::gc;

Rlc::Rlc(Board& board) : board_(board) {
  RegisterFile& registers = board.registers;
  registers.on_write<gc::GRBM_GFX_CNTL>([this](uint32_t value) {
    using Control = gc::GRBM_GFX_CNTL;
    board_.registers.select({Control::MEID.get(value), Control::PIPEID.get(value),
                             Control::QUEUEID.get(value), Control::VMID.get(value)});
  });
  registers.on_write<gc::GRBM_SOFT_RESET>([this](uint32_t value) {
    using Reset = gc::GRBM_SOFT_RESET;
    if (Reset::SOFT_RESET_CP.get(value) != 0 || Reset::SOFT_RESET_CPC.get(value) != 0 ||
        Reset::SOFT_RESET_GFX.get(value) != 0) {
      board_.mec->reset();
    }
    if (Reset::SOFT_RESET_SDMA0.get(value) != 0) board_.sdma[0]->reset();
    if (Reset::SOFT_RESET_SDMA1.get(value) != 0) board_.sdma[1]->reset();
  });
  registers.on_read<gc::GRBM_STATUS>([this](uint32_t stored) {
    using Status = gc::GRBM_STATUS;
    const uint32_t busy = board_.mec->is_busy() ? 1 : 0;
    return Status::GUI_ACTIVE.put(Status::CP_BUSY.put(stored, busy), busy);
  });
  // The driver sets the command bit with a message; the RLC takes it and clears the bit.
  registers.on_write<gc::RLC_SAFE_MODE>([this](uint32_t value) {
    using Safe = gc::RLC_SAFE_MODE;
    if (!board_.power.gfx_loaded) {
      board_.events.driver_error("rlc", "safe mode asked before the RLC has its firmware");
      return;
    }
    board_.registers.set<Safe>(Safe::CMD.put(value, 0));
  });
  const auto clock = [&](uint32_t low, uint32_t high) {
    registers.on_read(low, [this](uint32_t) { return static_cast<uint32_t>(board_.clock()); });
    registers.on_read(high,
                      [this](uint32_t) { return static_cast<uint32_t>(board_.clock() >> 32); });
  };
  clock(gc::RLC_GPU_CLOCK_COUNT_LSB::kAddress, gc::RLC_GPU_CLOCK_COUNT_MSB::kAddress);
  clock(gc::RLC_REFCLOCK_TIMESTAMP_LSB::kAddress, gc::RLC_REFCLOCK_TIMESTAMP_MSB::kAddress);
  power_on();
}

void Rlc::power_on() {
  board_.power.gfx_loaded = false;
  // Busy until the RLC has loaded everything.
  board_.registers.set<gc::CP_STAT>(gc::CP_STAT::CP_BUSY(1));
}

void Rlc::start() {
  using Status = gc::RLC_RLCS_BOOTLOAD_STATUS;
  board_.power.gfx_loaded = true;
  board_.registers.set<gc::CP_STAT>(0);
  board_.registers.set<Status>(Status::GFX_INIT_DONE(1) | Status::RLC_GPM_IRAM_LOADED(1) |
                               Status::RLC_GPM_IRAM_DONE(1) |
                               Status::BOOTLOAD_COMPLETE(board_.is(Mood::kBootComplete) ? 0 : 1));
}

}  // namespace outboard::simulator::card
