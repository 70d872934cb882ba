// What the chip is made of when nothing is fused off. Source: AMD's product page of the RX 7900
// XTX (96 compute units); Linux amdgpu gfx_v11_0.c, gfx_v11_0_get_cu_info (engines, arrays, WGPs).
// Plain types and no includes: kernels, which are compiled without a standard library, read it too.
#pragma once

namespace outboard::hardware::amd::navi31::die {

inline constexpr unsigned kEngines = 6;          // shader engines
inline constexpr unsigned kArraysPerEngine = 2;  // shader arrays
inline constexpr unsigned kWgpsPerArray = 4;     // work-group processors
inline constexpr unsigned kUnitsPerWgp = 2;      // compute units
inline constexpr unsigned kArrays = kEngines * kArraysPerEngine;
inline constexpr unsigned kUnits = kArrays * kWgpsPerArray * kUnitsPerWgp;

}  // namespace outboard::hardware::amd::navi31::die
