// Encoders of single blocks: internal to formats; use quantize().
//
// Any input gives a valid block: a NaN or infinity spoils its block's values but never reads or
// writes out of range. Compiled with -ffp-contract=off: the same bits on every host.
#pragma once

#include <bit>
#include <cstdint>

#include "formats/blocks.h"

namespace outboard::formats {

// Each reads kSmallBlock or kSuperBlock floats.
void encode(const float* values, BlockQ4_0& block);
void encode(const float* values, BlockQ4_1& block);
void encode(const float* values, BlockQ5_0& block);
void encode(const float* values, BlockQ5_1& block);
void encode(const float* values, BlockQ8_0& block);
void encode(const float* values, BlockQ4_K& block);
void encode(const float* values, BlockQ5_K& block);
void encode(const float* values, BlockQ6_K& block);

// A NaN becomes `low`.
inline float clamp_level(float value, float low, float high) {
  return !(value >= low) ? low : value > high ? high : value;
}

// Nearest integer, ties to even, within [low, high], both below 2^22.
inline int nearest_level(float value, float low, float high) {
  // Adding 1.5 * 2^23 leaves the integer in the low bits of the mantissa.
  const float shifted = clamp_level(value, low, high) + 12582912.0f;
  return static_cast<int>(std::bit_cast<uint32_t>(shifted) - 0x4b400000u);
}

}  // namespace outboard::formats
