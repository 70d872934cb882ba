#include "devices/amd/driver/saved_config.h"

#include "devices/amd/driver/registers.h"

namespace outboard::devices::amd::driver {

uint32_t find_capability(link::Link& link, uint32_t id) {
  // 192 bytes behind the header, at least 4 a capability.
  constexpr int kMost = 48;
  uint32_t at = link.config_read(pci::kCapabilities, 1) & 0xfc;
  for (int i = 0; i < kMost && at != 0; ++i) {
    const uint32_t head = link.config_read(at, 2);  // id, pointer to the next
    if (head == 0xffff) return 0;
    if ((head & 0xff) == id) return at;
    at = head >> 8 & 0xfc;
  }
  return 0;
}

void disable_aspm(link::Link& link) {
  const uint32_t express = find_capability(link, pci::kExpressId);
  if (express == 0) return;
  const uint32_t control = link.config_read(express + pci::kLinkControl, 2);
  if (control == 0xffff || (control & pci::kAspm) == 0) return;
  link.config_write(express + pci::kLinkControl, control & ~pci::kAspm, 2);
  link.config_read(express + pci::kLinkControl, 2);  // it has arrived when it reads back
}

SavedConfig::SavedConfig(link::Link& link) : command_(link.config_read(pci::kCommand, 2)) {
  for (uint32_t i = 0; i < bars_.size(); ++i) bars_[i] = link.config_read(pci::kBars + 4 * i, 4);
}

bool SavedConfig::restore(link::Link& link) const {
  wait_for(
      {"pci", "the card to answer after its reset (configuration space)"},
      [&] { return link.config_read(pci::kId, 4); }, [](uint32_t id) { return id != 0xffffffff; });
  disable_aspm(link);
  // Addresses are changed while nothing decodes them.
  const uint32_t off = command_ & ~(pci::kMemory | pci::kBusMaster);
  bool lost = false;
  for (uint32_t i = 0; i < bars_.size(); ++i) {
    if (link.config_read(pci::kBars + 4 * i, 4) == bars_[i]) continue;
    if (!lost) link.config_write(pci::kCommand, off, 2);
    lost = true;
    link.config_write(pci::kBars + 4 * i, bars_[i], 4);
  }
  link.config_write(pci::kCommand, off | pci::kMemory, 2);
  return lost;
}

}  // namespace outboard::devices::amd::driver
