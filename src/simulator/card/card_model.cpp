#include "simulator/card/card_model.h"

#include <algorithm>
#include <bit>

#include "hardware/amd/navi31/chip.h"
#include "support/error.h"

namespace outboard::simulator::card {
namespace {

constexpr const hardware::amd::Chip* kNavi31 = &hardware::amd::navi31::kChip;
constexpr uint64_t kMiB = uint64_t{1} << 20, kGiB = uint64_t{1} << 30;

// Source: AMD's product pages (compute units, memory, bandwidth, Infinity Cache, game clock);
// libdrm, data/amdgpu.ids (revisions). Which parts are fused off differs from card to card; that
// the XT lacks a WGP of each engine and the GRE a whole engine follows from their numbers of render
// backends (192 and 160 against 192), and is to be verified on one.
constexpr CardModel kModels[] = {
    {kNavi31, "xtx", "RX 7900 XTX", 0xc8, 24 * kGiB, 32 * kGiB, 96 * kMiB, 960e9, 2.3e9, 0, {}},
    {kNavi31,
     "xt",
     "RX 7900 XT",
     0xcc,
     20 * kGiB,
     32 * kGiB,
     80 * kMiB,
     800e9,
     2.0e9,
     0,
     {0x8, 0, 0, 0x1, 0x4, 0, 0, 0x8, 0x2, 0, 0, 0x8}},
    {kNavi31,
     "gre",
     "RX 7900 GRE",
     0xce,
     16 * kGiB,
     16 * kGiB,
     64 * kMiB,
     576e9,
     1.88e9,
     0xc00,
     {}},
};

}  // namespace

uint32_t CardModel::active_wgps(uint32_t array) const {
  if ((arrays_off >> array & 1) != 0) return 0;
  return ~uint32_t{wgps_off[array]} & ((1U << chip->die.wgps_per_array) - 1);
}

uint32_t CardModel::active_units(uint32_t engine) const {
  uint32_t units = 0;
  for (uint32_t array = 0; array < chip->die.arrays_per_engine; ++array) {
    for (uint32_t wgp = 0; wgp < chip->die.wgps_per_array; ++wgp) {
      if ((active_wgps(engine * chip->die.arrays_per_engine + array) >> wgp & 1) != 0)
        units |= 3U << (16 * array + 2 * wgp);
    }
  }
  return units;
}

uint32_t CardModel::compute_units() const {
  uint32_t units = 0;
  for (uint32_t engine = 0; engine < chip->die.engines; ++engine)
    units += static_cast<uint32_t>(std::popcount(active_units(engine)));
  return units;
}

uint32_t CardModel::memory_dies() const {
  return static_cast<uint32_t>(infinity_cache_bytes / chip->die.memory_die_cache_bytes);
}

const CardModel& card_model(std::string_view name) {
  const auto* found = std::ranges::find(kModels, name, &CardModel::name);
  if (found == std::end(kModels)) {
    throw Error(fmt::format("no simulated card is called \"{}\"", name),
                "The cards are xtx, xt and gre.");
  }
  return *found;
}

const CardModel* simulated_card(std::string_view device) {
  constexpr std::string_view kDevice = "sim", kWithCard = "sim:";
  if (device == kDevice) return &kModels[0];
  return device.starts_with(kWithCard) ? &card_model(device.substr(kWithCard.size())) : nullptr;
}

}  // namespace outboard::simulator::card
