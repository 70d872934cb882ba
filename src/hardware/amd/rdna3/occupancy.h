// How much fits into a compute unit of gfx1100.
#pragma once

#include <algorithm>
#include <cstdint>

namespace outboard::hardware::amd::rdna3 {

inline constexpr uint32_t kSimdsOfUnit = 2;

// Workgroups of a kernel that a compute unit holds at once: registers (1,536 of 32 lanes a SIMD, in
// pieces of 24), 16 waves a SIMD, 64 KiB of LDS; one at least. Sources: LLVM, AMDGPUBaseInfo.cpp
// (getTotalNumVGPRs, getVGPRAllocGranule, getMaxWavesPerEU: gfx1100 has 1.5 times the registers of
// its siblings); the RDNA 3 guide (LDS of a compute unit in CU mode).
constexpr int resident_groups(uint32_t vgprs, uint32_t lds_bytes, uint32_t waves,
                              bool wave32 = true) {
  constexpr uint32_t kRegisters = 1536, kWavesOfSimd = 16, kLdsBytes = 64 << 10;
  const uint32_t granule = wave32 ? 24 : 12;
  const uint32_t registers = (std::max(vgprs, 1U) + granule - 1) / granule * granule;
  const uint32_t of_simd = std::min(kWavesOfSimd, kRegisters / (wave32 ? 1 : 2) / registers);
  const uint32_t by_waves = of_simd * kSimdsOfUnit / std::max(waves, 1U);
  const uint32_t by_lds = lds_bytes == 0 ? by_waves : kLdsBytes / lds_bytes;
  return static_cast<int>(std::max(1U, std::min(by_waves, by_lds)));
}

}  // namespace outboard::hardware::amd::rdna3
