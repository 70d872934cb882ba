// The cards that are simulated: a chip, what of it is fused off, and memory.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "hardware/amd/chip.h"

namespace outboard::simulator::card {

struct CardModel {
  static constexpr uint32_t kMostArrays = 16;  // CC_GC_SA_UNIT_DISABLE.SA_DISABLE

  const hardware::amd::Chip* chip;
  std::string_view name;   // "xtx": for options
  std::string_view title;  // "RX 7900 XTX"
  uint8_t revision;        // PCI
  uint64_t vram_bytes;
  uint64_t bar0_bytes;  // the largest on offer: the power of two that holds VRAM
  uint64_t infinity_cache_bytes;
  double vram_bytes_per_second;
  double clock;  // game clock, Hz
  // Fused off: whole shader arrays, by engine * arrays_per_engine + array; pairs of compute units
  // (WGPs) of an array.
  uint32_t arrays_off;
  std::array<uint8_t, kMostArrays> wgps_off;

  // WGPs of an array that work, a bit each.
  uint32_t active_wgps(uint32_t array) const;
  // Of an engine: compute units that work, as COMPUTE_STATIC_THREAD_MGMT_SEn counts them: array 0
  // in bits 15:0, array 1 in 31:16.
  uint32_t active_units(uint32_t engine) const;
  uint32_t compute_units() const;
  // That are not fused off.
  uint32_t memory_dies() const;
};

// "xtx", "xt" or "gre". Throws Error for other names.
const CardModel& card_model(std::string_view name);

// The card that a device's name means: "sim", "sim:xt" and so on. Null when it means no simulated
// card. Throws Error when it means one that there is not.
const CardModel* simulated_card(std::string_view device);

}  // namespace outboard::simulator::card
