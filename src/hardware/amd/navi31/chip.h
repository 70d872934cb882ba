// Navi 31 as a value. Source: AMD's product pages (cards); libdrm, data/amdgpu.ids, and the PCI ID
// repository (ids, revisions); Linux amdgpu_discovery.c (versions, which it drives with the files
// of GC 11.0.0); what it is made of: die.h.
#pragma once

#include <array>

#include "hardware/amd/chip.h"
#include "hardware/amd/navi31/die.h"

namespace outboard::hardware::amd::navi31 {

inline constexpr std::array<Chip::Card, 5> kCards = {{
    {0xc8, "RX 7900 XTX"},
    {0xcc, "RX 7900 XT"},
    {0xce, "RX 7900 GRE"},
    {0xcf, "RX 7900M"},
    {~0U, "RX 7900 (of an unknown revision)"},
}};

inline constexpr Chip kChip = {
    .name = "Navi 31",
    .sold_as = "RX 7900 XTX, XT, GRE",
    .device = 0x744c,
    .audio = 0xab30,
    .cards = kCards,
    .die = {.engines = die::kEngines,
            .arrays_per_engine = die::kArraysPerEngine,
            .wgps_per_array = die::kWgpsPerArray,
            .units_per_wgp = die::kUnitsPerWgp,
            .memory_dies = 6,
            .memory_die_cache_bytes = uint64_t{16} << 20,
            .second_level_bytes = uint64_t{6} << 20},
    .blocks = {.gc = {11, 0, 0},
               .mmhub = {3, 0, 0},
               .mp0 = {13, 0, 0},
               .mp1 = {13, 0, 0},
               .nbio = {4, 3, 0},
               .osssys = {6, 0, 0},
               .hdp = {6, 0, 0},
               .sdma = {6, 0, 0}},
};

}  // namespace outboard::hardware::amd::navi31
