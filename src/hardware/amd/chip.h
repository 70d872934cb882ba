// A chip as a value: what the driver and the simulated card are told, so that neither knows which
// it is. Registers, packets and page tables are not in it: they are those of an IP version, which
// several chips have (navi31: GC 11.0, as Linux drives all chips of that generation by the headers
// of the first).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>

namespace outboard::hardware::amd {

// Of a block (IP) of the chip, as its discovery table has it.
struct Version {
  uint32_t major = 0, minor = 0, revision = 0;
  bool operator==(const Version&) const = default;
};

// Those that the driver touches.
struct BlockVersions {
  Version gc, mmhub, mp0, mp1, nbio, osssys, hdp, sdma;
};

// What the chip is made of when nothing is fused off.
struct Die {
  uint32_t engines = 0;                 // shader engines
  uint32_t arrays_per_engine = 0;       // shader arrays
  uint32_t wgps_per_array = 0;          // work-group processors
  uint32_t units_per_wgp = 0;           // compute units
  uint32_t memory_dies = 0;             // with 64 bits of memory each
  uint64_t memory_die_cache_bytes = 0;  // of the Infinity Cache, each
  uint64_t second_level_bytes = 0;      // GL2

  constexpr uint32_t arrays() const { return engines * arrays_per_engine; }
  constexpr uint64_t infinity_cache_bytes() const { return memory_dies * memory_die_cache_bytes; }
  constexpr uint32_t units() const { return arrays() * wgps_per_array * units_per_wgp; }
};

struct Chip {
  // The cards that are sold with it differ in the PCI revision, in what of the chip is fused off,
  // and in memory.
  struct Card {
    uint32_t revision = 0;
    std::string_view name;
  };

  std::string_view name;        // "Navi 31"
  std::string_view sold_as;     // "RX 7900 XTX, XT, GRE"
  uint16_t device = 0;          // PCI
  uint16_t audio = 0;           // of its other function
  std::span<const Card> cards;  // the last stands for revisions that are not known
  Die die;
  BlockVersions blocks;

  constexpr std::string_view card_name(uint32_t revision) const {
    const auto found = std::ranges::find(cards, revision, &Card::revision);
    return found == cards.end() ? cards.back().name : found->name;
  }
};

}  // namespace outboard::hardware::amd
