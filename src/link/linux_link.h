// A card in this Linux machine, through sysfs. Needs root.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hardware/amd/chip.h"
#include "link/card_lock.h"
#include "link/link.h"

namespace outboard::link {

struct LinuxOptions {
  std::string sysfs = "/sys";  // tests have their own
  std::string address;         // "0000:03:00.0"
  bool take = false;           // unbind the kernel's driver when one is bound
  // Whether a guard process keeps the system memory and puts the card to rest should this program
  // die (guard.h), and the lock that it keeps, too.
  bool guarded = false;
  const CardLock* lock = nullptr;
};

// BARs are mapped, configuration space is a file, system memory is locked memory of this process
// whose physical addresses /proc/self/pagemap tells (there is no IOMMU between, or it passes
// through). Throws Error for any other system than Linux.
std::unique_ptr<Link> connect_linux(const LinuxOptions& options);

struct LinuxCard {
  std::string address;
  std::string driver;                         // bound to it; empty: none
  const hardware::amd::Chip* chip = nullptr;  // hardware/amd/chips.h
  uint32_t revision = 0;                      // PCI
};
// All cards on the bus with a chip that is driven; none on other systems.
std::vector<LinuxCard> find_linux_cards(const std::string& sysfs);

}  // namespace outboard::link
