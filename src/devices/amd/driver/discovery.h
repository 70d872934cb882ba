// What the card says it is: the IP discovery table at the end of VRAM. Source: Linux amdgpu
// include/discovery.h and amdgpu_discovery.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "devices/amd/driver/registers.h"
#include "link/link.h"

namespace outboard::devices::amd::driver {

struct CardFacts {
  uint64_t vram_bytes = 0;
  uint32_t shader_engines = 0;
  uint32_t arrays_per_engine = 0;
  uint32_t compute_units = 0;  // that are not fused off
  uint32_t die_units = 0;      // on the die
  std::string name;            // "RX 7900 XTX", by its PCI revision
  struct Block {
    std::string name;
    uint32_t major, minor, revision;
  };
  std::vector<Block> blocks;
};

// Which of the chips is behind the link? Throws Error saying what is there instead.
const Chip& chip_of(link::Link& link, Chips chips = hardware::amd::kChips);
// The same, and does it have its BARs?
const Chip& identify(link::Link& link, Chips chips = hardware::amd::kChips);

// Tells `registers` where the card has them, by its discovery table. Throws Error when the table
// cannot be read, or tells of another chip.
void find_registers(std::span<const std::byte> table, const Chip& chip, Registers& registers);

}  // namespace outboard::devices::amd::driver
