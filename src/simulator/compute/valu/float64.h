// float64 arithmetic, and conversions from and to it. A 64-bit operand is 32 low words, then 32
// high ones.
#pragma once

#include "simulator/compute/valu/division.h"

namespace outboard::simulator::compute::valu {
namespace {

constexpr uint64_t kSign64 = 0x8000000000000000, kInfinity64 = 0x7ff0000000000000;
constexpr uint64_t kQuiet64 = 0x0008000000000000, kDefaultNan64 = 0xfff8000000000000;

OUTBOARD_VALU_INLINE bool is_nan(uint64_t x) { return (x & ~kSign64) > kInfinity64; }
OUTBOARD_VALU_INLINE uint64_t nan_of(uint64_t a, uint64_t b, uint64_t c, uint32_t extra) {
  const uint64_t quiet = (extra & kIeee) != 0 ? kQuiet64 : 0;
  if (is_nan(a)) return a | quiet;
  if (is_nan(b)) return b | quiet;
  return is_nan(c) ? c | quiet : kDefaultNan64;
}

template <int kSources, auto F>
uint32_t doubles(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                 uint32_t extra) {
  if constexpr (kSources < 2) b = a;
  if constexpr (kSources < 3) c = a;
  alignas(64) uint64_t out[kLanes];
  uint32_t nan = 0;
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) {
    const double r = F(as_double(join(a, i)), as_double(join(b, i)), as_double(join(c, i)));
    out[i] = bits(r);
    nan |= static_cast<uint32_t>(r != r);
  }
  if (nan != 0) [[unlikely]] {
    for (int i = 0; i < kLanes; ++i) {
      if (is_nan(out[i])) out[i] = nan_of(join(a, i), join(b, i), join(c, i), extra);
    }
  }
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) split(d, i, out[i]);
  return 0;
}

OUTBOARD_VALU_INLINE int exponent_field(uint64_t x) { return static_cast<int>(x >> 52 & 0x7ff); }
OUTBOARD_VALU_INLINE bool is_zero(uint64_t x) { return (x << 1) == 0; }
OUTBOARD_VALU_INLINE double power_of_two(int n) {  // in [-1022, 1023]
  return as_double(static_cast<uint64_t>(n + 1023) << 52);
}

// x * 2^n, rounded once: only the last factor may reach the denormals.
OUTBOARD_VALU_INLINE double scaled(double x, int n) {
  n = n > 2200 ? 2200 : n < -2200 ? -2200 : n;
  for (; n > 1023; n -= 1023) x *= power_of_two(1023);
  constexpr int kStep = 1022 - 53;
  for (; n < -1022; n += kStep) x *= power_of_two(-kStep);
  return x * power_of_two(n);
}

OUTBOARD_VALU_INLINE double truncated(double x) {
  const uint64_t magnitude = bits(x) & ~kSign64;
  const int whole_bits = exponent_field(magnitude) - 1023;
  if (whole_bits < 0) return as_double(bits(x) & kSign64);
  if (whole_bits >= 52) return x;
  return as_double(bits(x) & ~((uint64_t{1} << (52 - whole_bits)) - 1));
}
OUTBOARD_VALU_INLINE double floor_of(double x) {
  const double t = truncated(x);
  return t > x ? t - 1.0 : t;
}
OUTBOARD_VALU_INLINE double ceil_of(double x) {
  const double t = truncated(x);
  return t < x ? t + 1.0 : t;
}
OUTBOARD_VALU_INLINE double nearest_even(double x) {
  const double magnitude = as_double(bits(x) & ~kSign64);
  const double whole = (magnitude + 0x1p52) - 0x1p52;
  return magnitude < 0x1p52 ? as_double(bits(whole) | (bits(x) & kSign64)) : x;
}
OUTBOARD_VALU_INLINE double fraction(double x) {
  const double f = x - floor_of(x);
  return f >= 1.0 ? 0x1.fffffffffffffp-1 : f;
}
OUTBOARD_VALU_INLINE int32_t exponent_of(uint64_t x) {
  if (exponent_field(x) == 0x7ff || is_zero(x)) return 0;
  if (exponent_field(x) != 0) return exponent_field(x) - 1022;
  return exponent_field(bits(as_double(x) * 0x1p53)) - 1022 - 53;
}
OUTBOARD_VALU_INLINE double mantissa_of(double x) {
  uint64_t word = bits(x);
  if (exponent_field(word) == 0x7ff || is_zero(word)) return x;
  if (exponent_field(word) == 0) word = bits(x * 0x1p53);
  return as_double((word & 0x800fffffffffffff) | 0x3fe0000000000000);
}

// --- Conversions. F takes and returns what its name says. ---

template <auto F>
uint32_t from_double(uint32_t* d, const uint32_t* a, const uint32_t*, const uint32_t*, uint32_t) {
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) d[i] = static_cast<uint32_t>(F(as_double(join(a, i))));
  return 0;
}
template <auto F>
uint32_t to_double(uint32_t* d, const uint32_t* a, const uint32_t*, const uint32_t*, uint32_t) {
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) split(d, i, bits(static_cast<double>(F(a[i]))));
  return 0;
}
OUTBOARD_VALU_INLINE int32_t to_int(double x) {
  if (!(x > -2147483649.0)) return x != x ? 0 : -0x7fffffff - 1;
  return x >= 2147483648.0 ? 0x7fffffff : static_cast<int32_t>(x);
}
OUTBOARD_VALU_INLINE uint32_t to_unsigned(double x) {
  if (!(x > 0.0)) return 0;
  return x >= 4294967296.0 ? ~0U : static_cast<uint32_t>(static_cast<int64_t>(x));
}
uint32_t cvt_f32_f64(uint32_t* d, const uint32_t* a, const uint32_t*, const uint32_t*, uint32_t) {
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t x = join(a, i);
    // A NaN keeps its sign and the top of its payload, quieted.
    const uint32_t nan = static_cast<uint32_t>(x >> 32 & kSign) | kInfinity | kQuiet |
                         static_cast<uint32_t>(x >> 29 & 0x7fffff);
    d[i] = is_nan(x) ? nan : bits(static_cast<float>(as_double(x)));
  }
  return 0;
}
uint32_t cvt_f64_f32(uint32_t* d, const uint32_t* a, const uint32_t*, const uint32_t*, uint32_t) {
  for (int i = 0; i < kLanes; ++i) {
    const uint32_t x = a[i];
    const uint64_t nan = static_cast<uint64_t>(x & kSign) << 32 | kInfinity64 | kQuiet64 |
                         static_cast<uint64_t>(x & 0x7fffff) << 29;
    split(d, i, is_nan(x) ? nan : bits(static_cast<double>(as_float(x))));
  }
  return 0;
}

// --- Division, as in division.h with float64's numbers ---

OUTBOARD_VALU_INLINE bool divide_scale(uint64_t s0, uint64_t s1, uint64_t s2, uint64_t* out) {
  const int denominator = exponent_field(s1), numerator = exponent_field(s2);
  const bool is_denominator = s0 == s1, is_numerator = s0 == s2;
  const bool reciprocal_denormal = denominator >= 2045;
  const bool quotient_denormal = numerator - denominator <= -1022;
  int scale = 0;
  bool vcc = false;
  if (is_zero(s1) || is_zero(s2)) {
    *out = kDefaultNan64;
    return true;
  }
  if (numerator - denominator >= 768) {
    vcc = true;
    scale = is_denominator ? 128 : 0;
  } else if (denominator == 0) {
    scale = 128;
  } else if (reciprocal_denormal && quotient_denormal) {
    vcc = true;
    scale = is_denominator ? -128 : 0;
  } else if (reciprocal_denormal) {
    scale = -128;
  } else if (quotient_denormal) {
    vcc = true;
    scale = is_numerator ? 128 : 0;
  } else if (numerator <= 53) {
    scale = 128;
  }
  *out = scale == 0 || is_nan(s0) ? s0 : bits(scaled(as_double(s0), scale));
  return vcc;
}
uint32_t div_scale_f64(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                       uint32_t) {
  uint32_t vcc = 0;
  for (int i = 0; i < kLanes; ++i) {
    uint64_t out;
    vcc |= static_cast<uint32_t>(divide_scale(join(a, i), join(b, i), join(c, i), &out)) << i;
    split(d, i, out);
  }
  return vcc;
}

// (a * b + c) * 2^n rounded once, n below 0 or no denormal result.
OUTBOARD_VALU_INLINE double fused_scaled(double a, double b, double c, int n) {
  const double sum = __builtin_fma(a, b, c);
  const double result = scaled(sum, n);
  // Above 2^-1022 the scaling was exact.
  if ((bits(result) & ~kSign64) > bits(0x1p-1022)) return result;
  // Only when the scaling met a tie of the rounded sum can the sum's own rounding matter. The error
  // of that sum: exact product, then exact sum.
  const double product = a * b, product_error = __builtin_fma(a, b, -product);
  const double total = product + c, part = total - product;
  const double total_error = (product - (total - part)) + (c - part);
  const double rest = (total - sum) + (total_error + product_error);
  const double remainder = sum - scaled(result, -n);
  const double half = scaled(0x1p-1074, -n) * 0.5;
  if (rest == 0 || (remainder != half && remainder != -half)) return result;
  // The tie went to the even neighbour, on the side that `remainder` points away from.
  if ((rest > 0) != (remainder > 0)) return result;
  const bool grows = (remainder > 0) == (sum > 0);
  return as_double(grows ? bits(result) + 1 : bits(result) - 1);
}
uint32_t div_fmas_f64(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                      uint32_t vcc) {
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t x = join(a, i), y = join(b, i), z = join(c, i);
    const int n = (vcc >> i & 1) == 0 ? 0 : exponent_field(z) > 1023 ? 128 : -128;
    const double fused = __builtin_fma(as_double(x), as_double(y), as_double(z));
    if (fused != fused) {
      split(d, i, nan_of(x, y, z, kIeee));
    } else {
      split(d, i, bits(n == 0 ? fused : fused_scaled(as_double(x), as_double(y), as_double(z), n)));
    }
  }
  return 0;
}
OUTBOARD_VALU_INLINE uint64_t divide_fixup(uint64_t quotient, uint64_t denominator,
                                           uint64_t numerator) {
  const uint64_t sign = (denominator ^ numerator) & kSign64;
  const uint64_t d = denominator & ~kSign64, n = numerator & ~kSign64;
  if (n > kInfinity64) return numerator | kQuiet64;
  if (d > kInfinity64) return denominator | kQuiet64;
  if ((d == 0 && n == 0) || (d == kInfinity64 && n == kInfinity64)) return kDefaultNan64;
  if (d == 0 || n == kInfinity64) return sign | kInfinity64;
  if (d == kInfinity64 || n == 0) return sign;
  if (exponent_field(n) - exponent_field(d) < -1075) return sign;
  if (is_nan(quotient)) return sign | kInfinity64;
  return sign | (quotient & ~kSign64);
}
uint32_t div_fixup_f64(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                       uint32_t) {
  for (int i = 0; i < kLanes; ++i) split(d, i, divide_fixup(join(a, i), join(b, i), join(c, i)));
  return 0;
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
