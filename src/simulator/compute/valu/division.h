// The steps of a division: v_div_scale, v_div_fmas, v_div_fixup. LLVM's expansion of a float32 or
// float64 division by them comes out rounded correctly, denormals included
// (valu_division_test.cpp).
#pragma once

#include "simulator/compute/valu/float32.h"
#include "simulator/compute/valu/parts.h"

namespace outboard::simulator::compute::valu {
namespace {

// Guide, v_div_scale_f32, with what differs on hardware (tests recorded by tinygrad, test_vop3.py):
// a zero operand also sets VCC, and "would be denormal" goes by exponents alone. When 1/S1 and
// S2/S1 both are denormal, the guide scales S1 up, which makes infinity of it; down is what lets a
// division come out right.
OUTBOARD_VALU_INLINE bool divide_scale(uint32_t s0, uint32_t s1, uint32_t s2, uint32_t* out) {
  const int denominator = exponent_field(s1), numerator = exponent_field(s2);
  const bool is_denominator = s0 == s1, is_numerator = s0 == s2;
  const bool reciprocal_denormal = denominator >= 253;
  const bool quotient_denormal = numerator - denominator <= -126;
  int scale = 0;
  bool vcc = false;
  if (is_zero(s1) || is_zero(s2)) {
    *out = kDefaultNan;
    return true;
  }
  if (numerator - denominator >= 96) {
    vcc = true;
    scale = is_denominator ? 64 : 0;
  } else if (denominator == 0) {
    scale = 64;
  } else if (reciprocal_denormal && quotient_denormal) {
    vcc = true;
    scale = is_denominator ? -64 : 0;
  } else if (reciprocal_denormal) {
    scale = -64;
  } else if (quotient_denormal) {
    vcc = true;
    scale = is_numerator ? 64 : 0;
  } else if (numerator <= 23) {
    scale = 64;
  }
  *out = scale == 0 || is_nan(s0) ? s0 : bits(scaled(as_float(s0), scale));
  return vcc;
}

uint32_t div_scale_f32(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                       uint32_t) {
  uint32_t vcc = 0;
  for (int i = 0; i < kLanes; ++i) {
    uint32_t out;
    vcc |= static_cast<uint32_t>(divide_scale(a[i], b[i], c[i], &out)) << i;
    d[i] = out;
  }
  return vcc;
}

// x + y in double, the last bit set when inexact (rounded to odd): a later rounding to float is
// then the only one.
OUTBOARD_VALU_INLINE double add_to_odd(double x, double y) {
  const double sum = x + y;
  const double part = sum - x;
  const double error = (x - (sum - part)) + (y - part);
  const uint64_t s = bits(sum);
  if (error == 0 || (s & 1) != 0 || !(sum - sum == 0)) return sum;
  return as_double((error > 0) == (sum > 0) ? s + 1 : s - 1);
}

// Guide: * 2^32 where VCC is set. Hardware scales by 2^64 up or down, by the size of S2 (tests
// recorded by tinygrad).
uint32_t div_fmas_f32(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                      uint32_t vcc) {
  alignas(64) uint32_t out[kLanes];
  floats<3, [](VecF x, VecF y, VecF z) { return fused(x, y, z); }>(out, a, b, c, kIeee);
  for (int i = 0; i < kLanes; ++i) {
    if ((vcc >> i & 1) != 0 && !is_nan(out[i])) {
      const double product = static_cast<double>(as_float(a[i])) * as_float(b[i]);
      const double sum = add_to_odd(product, as_float(c[i]));
      const double scale = exponent_field(c[i]) > 127 ? 0x1p64 : 0x1p-64;
      out[i] = bits(static_cast<float>(sum * scale));
    }
  }
  for (int i = 0; i < kLanes; ++i) d[i] = out[i];
  return 0;
}

OUTBOARD_VALU_INLINE uint32_t divide_fixup(uint32_t quotient, uint32_t denominator,
                                           uint32_t numerator) {
  const uint32_t sign = (denominator ^ numerator) & kSign;
  const uint32_t d = denominator & ~kSign, n = numerator & ~kSign;
  if (n > kInfinity) return numerator | kQuiet;
  if (d > kInfinity) return denominator | kQuiet;
  if ((d == 0 && n == 0) || (d == kInfinity && n == kInfinity)) return kDefaultNan;
  if (d == 0 || n == kInfinity) return sign | kInfinity;
  if (d == kInfinity || n == 0) return sign;
  // UNDERFLOW_F32 and OVERFLOW_F32 of the guide: what rounding to nearest gives far out of range.
  if (exponent_field(n) - exponent_field(d) < -150) return sign;
  // A failed estimate is an overflow (hardware tests recorded by tinygrad).
  if (is_nan(quotient)) return sign | kInfinity;
  return sign | (quotient & ~kSign);
}

// float16, in the low half of a word; nothing underflows that S0 would not show.
OUTBOARD_VALU_INLINE uint32_t divide_fixup_half(uint32_t quotient, uint32_t denominator,
                                                uint32_t numerator) {
  constexpr uint32_t kHalfSign = 0x8000, kHalfInfinity = 0x7c00, kHalfQuiet = 0x200;
  const uint32_t sign = (denominator ^ numerator) & kHalfSign;
  const uint32_t d = denominator & 0x7fff, n = numerator & 0x7fff;
  if (n > kHalfInfinity) return numerator | kHalfQuiet;
  if (d > kHalfInfinity) return denominator | kHalfQuiet;
  if ((d == 0 && n == 0) || (d == kHalfInfinity && n == kHalfInfinity)) return 0xfe00;
  if (d == 0 || n == kHalfInfinity) return sign | kHalfInfinity;
  if (d == kHalfInfinity || n == 0) return sign;
  return sign | (quotient & 0x7fff);
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
