// The card's configuration space: what the host wrote there is kept over a reset (macOS does not
// write it again, and a card without addresses reads as ones), and link power management is off.
#pragma once

#include <array>
#include <cstdint>

#include "link/link.h"

namespace outboard::devices::amd::driver {

// Offsets and bits of a PCI header (PCI Express base specification; Linux pci_regs.h).
namespace pci {
inline constexpr uint32_t kId = 0x00, kCommand = 0x04, kClass = 0x08, kBars = 0x10;
inline constexpr uint32_t kCapabilities = 0x34;
inline constexpr uint32_t kMemory = 2, kBusMaster = 4;  // of the command register
// The PCI Express capability, from its beginning: link control, and its bits for ASPM.
inline constexpr uint32_t kExpressId = 0x10, kLinkControl = 0x10, kAspm = 3;
}  // namespace pci

// Where a capability of the first 256 bytes begins; 0: the card has none of this kind. A card that
// does not answer gives pointers without end, so the walk has one.
uint32_t find_capability(link::Link& link, uint32_t id);

// Turns active state power management (L0s, L1) of the card's end of the link off. Over Thunderbolt
// reads come back as ones at times while it is on, and it is on after power-on and after a reset.
// One end is enough for L1, which a link enters only where both allow it. Source: tinygrad 0.14.0,
// runtime/support/am/amdev.py (AMDev._disable_aspm).
void disable_aspm(link::Link& link);

class SavedConfig {
 public:
  // Reads the six base address registers and the command register.
  explicit SavedConfig(link::Link& link);
  // Waits until the card answers again, turns link power management off, writes back what differs,
  // and turns memory decoding on and bus mastering off. True when something had been lost.
  bool restore(link::Link& link) const;

 private:
  std::array<uint32_t, 6> bars_{};
  uint32_t command_ = 0;
};

}  // namespace outboard::devices::amd::driver
