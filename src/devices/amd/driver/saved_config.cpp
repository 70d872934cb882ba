#include "devices/amd/driver/saved_config.h"

#include "devices/amd/driver/registers.h"

namespace outboard::devices::amd::driver {

SavedConfig::SavedConfig(link::Link& link) : command_(link.config_read(pci::kCommand, 2)) {
  for (uint32_t i = 0; i < bars_.size(); ++i) bars_[i] = link.config_read(pci::kBars + 4 * i, 4);
}

bool SavedConfig::restore(link::Link& link) const {
  wait_for(
      {"pci", "the card to answer after its reset (configuration space)"},
      [&] { return link.config_read(pci::kId, 4); }, [](uint32_t id) { return id != 0xffffffff; });
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
