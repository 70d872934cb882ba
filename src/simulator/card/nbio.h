// The bus interface (NBIO) and the host data path (HDP): memory size, doorbell routing, index/data
// windows, HDP flush. Sources: Linux amdgpu nbio_v4_3.c, hdp_v6_0.c, amdgpu_device.c.
#pragma once

#include <cstdint>

#include "simulator/card/board.h"

namespace outboard::simulator::card {

class Nbio {
 public:
  explicit Nbio(Board& board);

  void power_on();
  // One 32-bit access in BAR 5; `address` counts dwords.
  uint32_t mmio_read(uint32_t address);
  void mmio_write(uint32_t address, uint32_t value);
  // A 64-bit (or 32-bit, upper half zero) write to BAR 2; `index` counts dwords.
  void doorbell(uint32_t index, uint64_t value);
  void flush_hdp() { board_.vram.flush_hdp(); }
  // Reports an uncorrectable memory error (RAS).
  void report_memory_error();

 private:
  uint32_t window_read(uint32_t address);
  void window_write(uint32_t address, uint32_t value);
  uint32_t hdp_remap() const;  // dword address of the flush register's second place

  Board& board_;
  bool in_window_ = false;
};

}  // namespace outboard::simulator::card
