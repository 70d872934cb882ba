// The chips that are driven and simulated: a line each.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include <fmt/format.h>
#include "hardware/amd/chip.h"
#include "hardware/amd/navi31/chip.h"
#include "hardware/pci_ids.h"

namespace outboard::hardware::amd {

using Chips = std::span<const Chip* const>;
inline constexpr std::array<const Chip*, 1> kChips = {&navi31::kChip};

// The chip of a PCI device of AMD; null: none of these.
constexpr const Chip* find_chip(uint32_t device, Chips among = kChips) {
  for (const Chip* chip : among)
    if (chip->device == device) return chip;
  return nullptr;
}

// For people: "1002:744c", and "Navi 31 (RX 7900 XTX, XT, GRE)".
inline std::string pci_names(Chips chips = kChips) {
  std::string out;
  for (const Chip* chip : chips)
    out += fmt::format("{}{:04x}:{:04x}", out.empty() ? "" : " or ", kVendorAmd, chip->device);
  return out;
}
inline std::string names_of(Chips chips = kChips) {
  std::string out;
  for (const Chip* chip : chips)
    out += fmt::format("{}{} ({})", out.empty() ? "" : " or ", chip->name, chip->sold_as);
  return out;
}

}  // namespace outboard::hardware::amd
