// Conversions between float32, float16 and integers. To integers: toward zero, out of range to the
// nearest one in range, NaN to 0.
#pragma once

#include "simulator/compute/valu/float16.h"
#include "simulator/compute/valu/float64.h"
#include "simulator/compute/valu/integer.h"

namespace outboard::simulator::compute::valu {
namespace {

OUTBOARD_VALU_INLINE int32_t float_to_int(float x) {
  const bool fits = x >= -0x1p31F && x < 0x1p31F;
  const int32_t inside = static_cast<int32_t>(fits ? x : 0.0F);
  return fits ? inside : x >= 0x1p31F ? kMax32 : x < -0x1p31F ? kMin32 : 0;
}
OUTBOARD_VALU_INLINE uint32_t float_to_unsigned(float x) {
  const bool fits = x > 0.0F && x < 0x1p32F, large = x >= 0x1p31F;
  const float reduced = large ? x - 0x1p31F : x;
  const auto inside = static_cast<uint32_t>(static_cast<int32_t>(fits ? reduced : 0.0F));
  return fits ? inside ^ (large ? kSign : 0) : x >= 0x1p32F ? ~0U : 0;
}
OUTBOARD_VALU_INLINE int32_t float_to_int_within(float x, float low, float high) {
  const float limited = x < low ? low : x > high ? high : x;
  return static_cast<int32_t>(x == x ? limited : 0.0F);
}

// F from a float to a word.
template <auto F>
constexpr auto from_float = words1<[](U x) { return F(as_float(x)); }>;
// F from a word to a float.
template <auto F>
constexpr auto to_float = words1<[](U x) { return bits(static_cast<float>(F(x))); }>;

// F from float16, as a float, to a word.
template <auto F>
uint32_t from_half(uint32_t* d, const uint32_t* a, const uint32_t*, const uint32_t*, uint32_t) {
  alignas(64) uint32_t x[kLanes];
  for (int i = 0; i < kLanes; i += kWidth) store(x + i, widen(load_word(a + i)));
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) d[i] = static_cast<U>(F(as_float(x[i])));
  return 0;
}
// F from a word to a float, then rounded to float16.
template <auto F>
uint32_t to_half(uint32_t* d, const uint32_t* a, const uint32_t*, const uint32_t*, uint32_t) {
  alignas(64) uint32_t x[kLanes];
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) x[i] = bits(static_cast<float>(F(a[i])));
  for (int i = 0; i < kLanes; i += kWidth) store(d + i, narrow(load_float(x + i)));
  return 0;
}

// [-1, 1] to [-32767, 32767] and [0, 1] to [0, 65535], to nearest even. The products are exact.
OUTBOARD_VALU_INLINE int32_t signed_norm(float x) {
  const double limited = x < -1.0F ? -1.0 : x > 1.0F ? 1.0 : x == x ? static_cast<double>(x) : 0.0;
  return static_cast<int32_t>(nearest_even(limited * 32767.0));
}
OUTBOARD_VALU_INLINE uint32_t unsigned_norm(float x) {
  const double limited = x > 1.0F ? 1.0 : x > 0.0F ? static_cast<double>(x) : 0.0;
  return static_cast<uint32_t>(static_cast<int32_t>(nearest_even(limited * 65535.0)));
}

OUTBOARD_VALU_INLINE uint32_t pair(int32_t low, int32_t high) {
  return u16(static_cast<U>(low)) | static_cast<U>(high) << 16;
}
// Two floats to two 16-bit integers by F.
template <auto F>
constexpr auto pack_floats = words2<[](U a, U b) {
  return pair(static_cast<I>(F(as_float(a))), static_cast<I>(F(as_float(b))));
}>;
template <auto F>
uint32_t pack_halves(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t*, uint32_t) {
  alignas(64) uint32_t low[kLanes], high[kLanes];
  from_half<F>(low, a, nullptr, nullptr, 0);
  from_half<F>(high, b, nullptr, nullptr, 0);
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) d[i] = u16(low[i]) | high[i] << 16;
  return 0;
}

constexpr auto kToI16 = [](float x) { return float_to_int_within(x, -32768.0F, 32767.0F); };
constexpr auto kToU16 = [](float x) { return float_to_int_within(x, 0.0F, 65535.0F); };
constexpr auto kSignedNorm = [](float x) { return signed_norm(x); };
constexpr auto kUnsignedNorm = [](float x) { return unsigned_norm(x); };

// v_cvt_pk_u8_f32: into byte S1 of S2.
constexpr auto kInsertByte = [](U a, U b, U c) {
  const U shift = (b & 3) * 8;
  const U value = static_cast<U>(float_to_int_within(as_float(a), 0.0F, 255.0F));
  return (c & ~(0xffU << shift)) | value << shift;
};

template <int kByte>
constexpr auto ubyte_to_float = to_float<[](U x) { return static_cast<I>(byte_of(x, kByte)); }>;

// --- x * 2^n ---

uint32_t ldexp_f32(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t*,
                   uint32_t extra) {
  alignas(64) uint32_t out[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    out[i] = bits(scaled(as_float(a[i]), static_cast<int32_t>(b[i])));
    if (is_nan(a[i])) out[i] = quieted(a[i], extra);
  }
  for (int i = 0; i < kLanes; ++i) d[i] = out[i];
  return 0;
}
uint32_t ldexp_f16(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t*,
                   uint32_t extra) {
  alignas(64) uint32_t x[kLanes], out[kLanes];
  for (int i = 0; i < kLanes; i += kWidth) store(x + i, widen(load_word(a + i)));
  for (int i = 0; i < kLanes; ++i) {
    // Far enough for every float16, and exact in float32.
    const int n = within(s16(b[i]), -60, 60);
    out[i] = bits(as_float(x[i]) * as_float(static_cast<U>(n + 127) << 23));
    if (is_nan(x[i])) out[i] = quieted(x[i], extra);
  }
  for (int i = 0; i < kLanes; i += kWidth) store(d + i, narrow(load_float(out + i)));
  return 0;
}
uint32_t ldexp_f64(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t*,
                   uint32_t extra) {
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t x = join(a, i);
    const uint64_t r = bits(scaled(as_double(x), static_cast<int32_t>(b[i])));
    split(d, i, is_nan(x) ? nan_of(x, x, x, extra) : r);
  }
  return 0;
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
