#include "simulator/card/nbio.h"

#include <cstring>

#include "hardware/amd/navi31/hdp.h"
#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/nbio.h"
#include "simulator/card/ih.h"
#include "simulator/card/mec.h"
#include "simulator/card/sdma.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace nb = hw::nbio;

namespace {

// Where the flush register appears in BAR 5 for those who may not see the rest: the hole that Linux
// uses (soc21.c, MMIO_REG_HOLE_OFFSET). That the card comes up with it is assumed: tinygrad reads
// the register and never writes it.
constexpr uint32_t kDefaultRemap = 0x80000 - 0x1000;

}  // namespace

Nbio::Nbio(Board& board) : board_(board) {
  RegisterFile& registers = board.registers;
  registers.on_write<nb::BIF_BX_PF0_HDP_MEM_COHERENCY_FLUSH_CNTL>(
      [this](uint32_t) { flush_hdp(); });
  // A command processor asks for a flush by setting its bit, and waits until DONE shows it.
  registers.on_write<nb::BIF_BX_PF0_GPU_HDP_FLUSH_REQ>([this](uint32_t value) {
    flush_hdp();
    board_.registers.set<nb::BIF_BX_PF0_GPU_HDP_FLUSH_DONE>(value);
  });
  registers.on_read<nb::BIF_BX_PF0_MM_DATA>([this](uint32_t) -> uint32_t {
    const uint32_t index = board_.registers.get<nb::BIF_BX_PF0_MM_INDEX>();
    const uint32_t offset = nb::BIF_BX_PF0_MM_INDEX::MM_OFFSET.get(index);
    if (nb::BIF_BX_PF0_MM_INDEX::MM_APER.get(index) == 0) return window_read(offset / 4);
    // VRAM: bits 31 and up of the address stand in MM_INDEX_HI (amdgpu_device_mm_access).
    const VramOffset address{uint64_t{board_.registers.get<nb::BIF_BX_PF0_MM_INDEX_HI>()} << 31 |
                             offset};
    uint32_t value = ~0u;
    if (board_.vram.contains(address, 4)) std::memcpy(&value, board_.vram.at(address), 4);
    return value;
  });
  registers.on_write<nb::BIF_BX_PF0_MM_DATA>([this](uint32_t value) {
    const uint32_t index = board_.registers.get<nb::BIF_BX_PF0_MM_INDEX>();
    const uint32_t offset = nb::BIF_BX_PF0_MM_INDEX::MM_OFFSET.get(index);
    if (nb::BIF_BX_PF0_MM_INDEX::MM_APER.get(index) == 0) {
      window_write(offset / 4, value);
      return;
    }
    const VramOffset address{uint64_t{board_.registers.get<nb::BIF_BX_PF0_MM_INDEX_HI>()} << 31 |
                             offset};
    if (board_.vram.contains(address, 4) && !board_.vram.is_protected(address, 4)) {
      std::memcpy(board_.vram.at(address), &value, 4);
    }
  });
  const auto window = [&](uint32_t index, uint32_t data) {
    registers.on_read(
        data, [this, index](uint32_t) { return window_read(board_.registers.peek(index) / 4); });
    registers.on_write(data, [this, index](uint32_t value) {
      window_write(board_.registers.peek(index) / 4, value);
    });
  };
  window(nb::BIF_BX_PF0_RSMU_INDEX::kAddress, nb::BIF_BX_PF0_RSMU_DATA::kAddress);
  window(nb::BIF_BX0_PCIE_INDEX2::kAddress, nb::BIF_BX0_PCIE_DATA2::kAddress);
  registers.on_write<nb::BIF_BX0_BIF_DOORBELL_INT_CNTL>([this](uint32_t value) {
    using Control = nb::BIF_BX0_BIF_DOORBELL_INT_CNTL;
    if (Control::RAS_CNTLR_INTERRUPT_CLEAR.get(value) != 0) {
      value = Control::RAS_CNTLR_INTERRUPT_STATUS.put(value, 0);
    }
    if (Control::RAS_ATHUB_ERR_EVENT_INTERRUPT_CLEAR.get(value) != 0) {
      value = Control::RAS_ATHUB_ERR_EVENT_INTERRUPT_STATUS.put(value, 0);
    }
    board_.registers.set<Control>(value);
  });
  registers.on_read<nb::RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE>(
      [this](uint32_t stored) { return board_.is_posted() ? stored : 0; });
  power_on();
}

// A window must not lead into a window, least of all itself.
uint32_t Nbio::window_read(uint32_t address) {
  if (in_window_) {
    board_.events.driver_error("nbio", "an index/data window is read through another");
    return ~0u;
  }
  in_window_ = true;
  const uint32_t value = board_.registers.read(address);
  in_window_ = false;
  return value;
}

void Nbio::window_write(uint32_t address, uint32_t value) {
  if (in_window_) {
    board_.events.driver_error("nbio", "an index/data window is written through another");
    return;
  }
  in_window_ = true;
  board_.registers.write(address, value);
  in_window_ = false;
}

void Nbio::power_on() {
  // In MiB, as the card counts it.
  board_.registers.set<nb::RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE>(
      static_cast<uint32_t>(board_.visible_vram() >> 20));
  board_.registers.set<nb::BIF_BX0_REMAP_HDP_MEM_FLUSH_CNTL>(kDefaultRemap);
}

uint32_t Nbio::hdp_remap() const {
  return board_.registers.get<nb::BIF_BX0_REMAP_HDP_MEM_FLUSH_CNTL>() / 4;
}

uint32_t Nbio::mmio_read(uint32_t address) {
  if (address == hdp_remap()) return 0;
  return board_.registers.read(address);
}

void Nbio::mmio_write(uint32_t address, uint32_t value) {
  if (address == hdp_remap()) {
    flush_hdp();
    return;
  }
  board_.registers.write(address, value);
}

void Nbio::doorbell(uint32_t index, uint64_t value) {
  ++board_.counters.doorbells;
  if (nb::RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN::BIF_DOORBELL_APER_EN.get(
          board_.registers.get<nb::RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN>()) == 0) {
    board_.events.driver_error("nbio", "doorbell {:#x} while the doorbell aperture is off", index);
    return;
  }
  // Port 0 (and 3, for MES) leads to the command processor, port 2 to SDMA (nbio_v4_3.c).
  using Cp = nb::S2A_DOORBELL_ENTRY_0_CTRL;
  using Sdma_ = nb::S2A_DOORBELL_ENTRY_2_CTRL;
  const uint32_t cp = board_.registers.get<Cp>();
  const uint32_t sdma = board_.registers.get<Sdma_>();
  for (const auto& engine : board_.sdma) {
    if (!engine->wants_doorbell(index)) continue;
    // The range's size is not checked: its unit is not documented.
    if (Sdma_::S2A_DOORBELL_PORT2_ENABLE.get(sdma) == 0 ||
        index < Sdma_::S2A_DOORBELL_PORT2_RANGE_OFFSET.get(sdma)) {
      board_.events.driver_error(
          "nbio", "doorbell {:#x} of SDMA is not routed (S2A entry 2: {:#x})", index, sdma);
      return;
    }
    engine->doorbell(index, value);
    return;
  }
  if (Cp::S2A_DOORBELL_PORT0_ENABLE.get(cp) == 0) {
    board_.events.driver_error("nbio", "doorbell {:#x}: none is routed to the command processor",
                               index);
    return;
  }
  board_.mec->doorbell(index, value);
}

void Nbio::report_memory_error() {
  using Control = nb::BIF_BX0_BIF_DOORBELL_INT_CNTL;
  board_.registers.set<Control>(
      Control::RAS_ATHUB_ERR_EVENT_INTERRUPT_STATUS.put(board_.registers.get<Control>(), 1));
  Interrupts::Entry entry;
  entry.client = hw::ih::SOC21_IH_CLIENTID_BIF;
  entry.source = hw::ih::NBIF_7_4__SRCID__ERREVENT_ATHUB_INTERRUPT;
  board_.interrupts->raise(entry);
}

}  // namespace outboard::simulator::card
