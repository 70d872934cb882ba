// What the host wrote into the card's configuration space, kept over a reset: macOS does not write
// it again, and a card without addresses reads as ones.
#pragma once

#include <array>
#include <cstdint>

#include "link/link.h"

namespace outboard::devices::amd::driver {

// Offsets and bits of a PCI header (PCI Express base specification; Linux pci_regs.h).
namespace pci {
inline constexpr uint32_t kId = 0x00, kCommand = 0x04, kClass = 0x08, kBars = 0x10;
inline constexpr uint32_t kMemory = 2, kBusMaster = 4;  // of the command register
}  // namespace pci

class SavedConfig {
 public:
  // Reads the six base address registers and the command register.
  explicit SavedConfig(link::Link& link);
  // Waits until the card answers again, writes back what differs, and turns memory decoding on and
  // bus mastering off. True when something had been lost.
  bool restore(link::Link& link) const;

 private:
  std::array<uint32_t, 6> bars_{};
  uint32_t command_ = 0;
};

}  // namespace outboard::devices::amd::driver
