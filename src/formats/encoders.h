// Encoders of single blocks: internal to formats; use quantize().
//
// Any input gives a valid block: a NaN or infinity spoils its block's values but never reads or
// writes out of range. Compiled with -ffp-contract=off: the same bits on every host.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "formats/blocks.h"

namespace outboard::formats {

// Each reads kSmallBlock or kSuperBlock floats. importance: as many, how much an error of each
// counts, not all of them zero; or null. Q8_0, MXFP4 and the ternary formats leave it.
void encode(const float* values, const float* importance, BlockQ4_0& block);
void encode(const float* values, const float* importance, BlockQ4_1& block);
void encode(const float* values, const float* importance, BlockQ5_0& block);
void encode(const float* values, const float* importance, BlockQ5_1& block);
void encode(const float* values, const float* importance, BlockQ8_0& block);
void encode(const float* values, const float* importance, BlockQ2_K& block);
void encode(const float* values, const float* importance, BlockQ3_K& block);
void encode(const float* values, const float* importance, BlockQ4_K& block);
void encode(const float* values, const float* importance, BlockQ5_K& block);
void encode(const float* values, const float* importance, BlockQ6_K& block);
void encode(const float* values, const float* importance, BlockIq4Nl& block);
void encode(const float* values, const float* importance, BlockIq4Xs& block);
void encode(const float* values, const float* importance, BlockMxfp4& block);
void encode(const float* values, const float* importance, BlockTq1_0& block);
void encode(const float* values, const float* importance, BlockTq2_0& block);

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

// The greatest absolute value.
inline float greatest(const float* values, int count) {
  float most = 0;
  for (int i = 0; i < count; ++i) most = std::max(most, std::fabs(values[i]));
  return most;
}

// Puts an element's low two bits where Q2_K, Q3_K and TQ2_0 keep them.
inline void put_pair(uint8_t* qs, int element, int level) {
  uint8_t& byte = qs[32 * (element / 128) + element % 32];
  byte = static_cast<uint8_t>(byte | ((level & 3) << (2 * (element / 32 % 4))));
}

}  // namespace outboard::formats
