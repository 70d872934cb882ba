// Whole and fractional parts, exponents, mantissas, cube maps, all on the float32 of one lane.
#pragma once

#include "simulator/compute/valu/float32.h"

namespace outboard::simulator::compute::valu {
namespace {

OUTBOARD_VALU_INLINE int exponent_field(uint32_t x) { return static_cast<int>(x >> 23 & 0xff); }
OUTBOARD_VALU_INLINE bool is_zero(uint32_t x) { return (x << 1) == 0; }

// x * 2^n, rounded once. |n| may be large.
OUTBOARD_VALU_INLINE float scaled(float x, int n) {
  n = n > 300 ? 300 : n < -300 ? -300 : n;
  return static_cast<float>(static_cast<double>(x) *
                            as_double(static_cast<uint64_t>(n + 1023) << 52));
}

// Selections by masks and not by conditions, which keep the compiler from seeing vectors.
OUTBOARD_VALU_INLINE float truncated(float x) {
  constexpr uint32_t kWhole = 0x4b000000;  // 2^23: no fractions from here on
  const uint32_t magnitude = bits(x) & ~kSign;
  const uint32_t limited = magnitude < kWhole ? magnitude : kWhole;
  const float whole = static_cast<float>(static_cast<int32_t>(as_float(limited)));
  const uint32_t fraction = magnitude < kWhole ? ~0U : 0U;
  // Keeps the sign of zero.
  return as_float(((bits(whole) | (bits(x) & kSign)) & fraction) | (bits(x) & ~fraction));
}
OUTBOARD_VALU_INLINE float floor_of(float x) {
  const float t = truncated(x);
  return t - (t > x ? 1.0F : 0.0F);
}
OUTBOARD_VALU_INLINE float ceil_of(float x) {  // of -0.5: -0
  const float t = truncated(x);
  return t - (t < x ? -1.0F : 0.0F);
}
OUTBOARD_VALU_INLINE float nearest_even(float x) {  // host rounds to nearest here
  const float magnitude = as_float(bits(x) & ~kSign);
  const float whole = (magnitude + 0x1p23F) - 0x1p23F;
  return magnitude < 0x1p23F ? as_float(bits(whole) | (bits(x) & kSign)) : x;
}
// Below 1 even for tiny negative numbers, where x - floor(x) rounds to 1 (LLVM relies on it:
// AMDGPUCodeGenPrepare, matchFractPat).
OUTBOARD_VALU_INLINE float fraction(float x) {
  const float f = x - floor_of(x);
  return f >= 1.0F ? 0x1.fffffep-1F : f;
}

// As frexp: zero has exponent 0, denormals count as what they are worth.
OUTBOARD_VALU_INLINE uint32_t normalized(uint32_t x, int* shift) {
  const uint32_t up = bits(as_float(x) * 0x1p24F);
  const bool denormal = exponent_field(x) == 0;
  *shift = denormal ? 24 : 0;
  return denormal ? up : x;
}
OUTBOARD_VALU_INLINE int32_t exponent_of(uint32_t x) {
  int shift;
  const uint32_t n = normalized(x, &shift);
  const int e = exponent_field(n) - 126 - shift;
  return exponent_field(x) == 255 || is_zero(x) ? 0 : e;
}
OUTBOARD_VALU_INLINE float mantissa_of(float x) {
  int shift;
  const uint32_t n = normalized(bits(x), &shift);
  const float m = as_float((n & 0x807fffff) | 0x3f000000);
  return exponent_field(bits(x)) == 255 || is_zero(bits(x)) ? x : m;
}

// --- Cube maps ---

OUTBOARD_VALU_INLINE float magnitude_of(float x) { return as_float(bits(x) & ~kSign); }
OUTBOARD_VALU_INLINE float negated(float x) { return as_float(bits(x) ^ kSign); }
enum Axis { kX, kY, kZ };
OUTBOARD_VALU_INLINE Axis major_axis(float x, float y, float z) {
  const float ax = magnitude_of(x), ay = magnitude_of(y), az = magnitude_of(z);
  return az >= ax && az >= ay ? kZ : ay >= ax ? kY : kX;
}
OUTBOARD_VALU_INLINE float cube_face(float x, float y, float z) {
  const Axis axis = major_axis(x, y, z);
  const float major = axis == kZ ? z : axis == kY ? y : x;
  return (axis == kZ ? 4.0F : axis == kY ? 2.0F : 0.0F) + (major < 0 ? 1.0F : 0.0F);
}
OUTBOARD_VALU_INLINE float cube_s(float x, float y, float z) {
  const Axis axis = major_axis(x, y, z);
  if (axis == kZ) return z < 0 ? negated(x) : x;
  if (axis == kY) return x;
  return x < 0 ? z : negated(z);
}
OUTBOARD_VALU_INLINE float cube_t(float x, float y, float z) {
  const Axis axis = major_axis(x, y, z);
  if (axis == kY) return y < 0 ? negated(z) : z;
  return negated(y);
}
OUTBOARD_VALU_INLINE float cube_major(float x, float y, float z) {
  const Axis axis = major_axis(x, y, z);
  return (axis == kZ ? z : axis == kY ? y : x) * 2.0F;
}

OUTBOARD_VALU_INLINE float multiply_lit(float a, float b, float c) {
  constexpr float kMaximum = 0x1.fffffep127F;
  const bool lit = b >= -kMaximum && b != -kMaximum && c > 0;  // false for NaNs
  return lit ? a * b : -kMaximum;
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
