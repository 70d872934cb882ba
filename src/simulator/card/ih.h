// The interrupt handler block (OSSSYS, IH): a ring of entries in memory, and MSI. Sources: Linux
// amdgpu ih_v6_0.c, amdgpu_ih.c.
#pragma once

#include <array>
#include <cstdint>

#include "simulator/card/board.h"

namespace outboard::simulator::card {

class Interrupts {
 public:
  struct Entry {
    uint8_t client = 0, source = 0, ring = 0;
    uint32_t vmid = 0, vmid_type = 0, pasid = 0, node = 0;
    std::array<uint32_t, 4> context{};
  };
  explicit Interrupts(Board& board);

  // Writes the entry to ring 0 and tells the host. Lost when the ring is off, as on the card.
  void raise(const Entry& entry);

 private:
  static constexpr uint32_t kEntryBytes = 32;

  void raise_old();  // Mood::kOldInterrupts

  Board& board_;
  bool was_enabled_ = false;
};

}  // namespace outboard::simulator::card
