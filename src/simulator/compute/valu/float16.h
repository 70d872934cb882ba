// float16 arithmetic, done in float32: sums, differences, products, quotients and square roots of
// float16 rounded to float32's 24 bits and then to 11 are what one rounding gives (24 >= 2 * 11 +
// 2); fused products need a rounding to odd in between.
#pragma once

#include "simulator/compute/valu/float32.h"
#include "simulator/compute/valu/operations.h"

namespace outboard::simulator::compute::valu {
namespace {

OUTBOARD_VALU_INLINE VecF select(VecI mask, VecF yes, VecF no) {
  return (VecF)(((VecI)yes & mask) | ((VecI)no & ~mask));
}
OUTBOARD_VALU_INLINE VecU select(VecI mask, VecU yes, VecU no) {
  return (yes & (VecU)mask) | (no & ~(VecU)mask);
}

#if !defined(__aarch64__) && !defined(__F16C__)
// The conversions that the processor lacks. Rounding follows the processor's mode.
OUTBOARD_VALU_INLINE VecF soft_widen(VecU h) {
  const VecU magnitude = h & 0x7fff;
  // 2^112 moves the exponent's bias; denormals come out right.
  VecU x = (VecU)((VecF)(magnitude << 13) * 0x1p112F);
  x |= (VecU)(magnitude >= 0x7c00) & 0x7f800000;
  x |= (VecU)(magnitude > 0x7c00) & kQuiet;
  return (VecF)(x | (h & 0x8000) << 16);
}

OUTBOARD_VALU_INLINE VecU soft_narrow(VecF x) {
  const VecU word = (VecU)x;
  const VecU sign = word & kSign, magnitude = word & ~kSign;
  // Adding a number whose last bit is worth the result's last bit rounds the sum.
  const VecU exponent = magnitude >> 23;
  const VecU least = select((VecI)(exponent > 113), exponent, exponent * 0 + 113);
  const VecU capped = select((VecI)(least > 200), least * 0 + 200, least);
  const VecF magic = (VecF)((capped + 13) << 23 | sign);
  const VecU rounded = (VecU)((x + magic) - magic) & ~kSign;
  const VecU normal = (rounded - (112U << 23)) >> 13;
  // In units of 2^-24; exact.
  const VecU tiny = (VecU)((VecF)rounded + 0.5F) & 0x7fffff;
  VecU h = select((VecI)(rounded < (113U << 23)), tiny, normal);
  const unsigned mode = _mm_getcsr() >> 13 & 3;  // 0 nearest, 1 down, 2 up, 3 toward zero
  const VecU overflow = mode == 0   ? sign * 0 + 0x7c00
                        : mode == 3 ? sign * 0 + 0x7bff
                                    : 0x7bff + ((sign >> 31) ^ (mode == 2));
  h = select((VecI)(rounded >= (143U << 23)), overflow, h);
  h = select((VecI)(magnitude == kInfinity), sign * 0 + 0x7c00, h);
  h = select((VecI)(magnitude > kInfinity), 0x7e00 | (magnitude >> 13 & 0x3ff), h);
  return h | sign >> 16;
}
#endif

// The low halves of words as floats.
OUTBOARD_VALU_INLINE VecF widen(VecU h) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i)h));
#elif defined(__F16C__)
  const __m256i low = _mm256_and_si256((__m256i)h, _mm256_set1_epi32(0xffff));
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
#elif defined(__aarch64__)
  return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(h)));
#else
  return soft_widen(h);
#endif
}

// Floats as halves in the low halves of words, rounded as the processor's mode says.
OUTBOARD_VALU_INLINE VecU narrow(VecF x) {
#if defined(__AVX512F__)
  return (VecU)_mm512_cvtepu16_epi32(_mm512_cvtps_ph(x, _MM_FROUND_CUR_DIRECTION));
#elif defined(__F16C__)
  return (VecU)_mm256_cvtepu16_epi32(_mm256_cvtps_ph(x, _MM_FROUND_CUR_DIRECTION));
#elif defined(__aarch64__)
  return vmovl_u16(vreinterpret_u16_f16(vcvt_f16_f32(x)));
#else
  return soft_narrow(x);
#endif
}

// Both halves of words, as two vectors: which element is where does not matter to operations that
// treat all alike.
struct Halves {
  VecF a, b;
};
OUTBOARD_VALU_INLINE Halves widen_pairs(VecU x) {
#if defined(__AVX512F__)
  const __m512i v = (__m512i)x;
  return {_mm512_cvtph_ps(_mm512_castsi512_si256(v)),
          _mm512_cvtph_ps(_mm512_extracti64x4_epi64(v, 1))};
#elif defined(__F16C__)
  const __m256i v = (__m256i)x;
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(v)),
          _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1))};
#elif defined(__aarch64__)
  const float16x8_t v = vreinterpretq_f16_u32(x);
  return {vcvt_f32_f16(vget_low_f16(v)), vcvt_f32_f16(vget_high_f16(v))};
#else
  return {widen(x), widen(x >> 16)};
#endif
}
OUTBOARD_VALU_INLINE VecU narrow_pairs(Halves x) {
#if defined(__AVX512F__)
  const __m512i low = _mm512_castsi256_si512(_mm512_cvtps_ph(x.a, _MM_FROUND_CUR_DIRECTION));
  return (VecU)_mm512_inserti64x4(low, _mm512_cvtps_ph(x.b, _MM_FROUND_CUR_DIRECTION), 1);
#elif defined(__F16C__)
  return (VecU)_mm256_set_m128i(_mm256_cvtps_ph(x.b, _MM_FROUND_CUR_DIRECTION),
                                _mm256_cvtps_ph(x.a, _MM_FROUND_CUR_DIRECTION));
#elif defined(__aarch64__)
  return vreinterpretq_u32_f16(vcombine_f16(vcvt_f16_f32(x.a), vcvt_f16_f32(x.b)));
#else
  return narrow(x.a) | narrow(x.b) << 16;
#endif
}
// Of such vectors: what belongs to low halves in a, to high halves in b, in the order of words.
OUTBOARD_VALU_INLINE Halves unzip(Halves x) {
#if defined(__AVX512F__)
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return {_mm512_permutex2var_ps(x.a, even, x.b), _mm512_permutex2var_ps(x.a, odd, x.b)};
#elif defined(__F16C__)
  const __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(x.a, x.b, 0x88));
  const __m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(x.a, x.b, 0xdd));
  return {_mm256_castpd_ps(_mm256_permute4x64_pd(even, 0xd8)),
          _mm256_castpd_ps(_mm256_permute4x64_pd(odd, 0xd8))};
#elif defined(__aarch64__)
  return {vuzp1q_f32(x.a, x.b), vuzp2q_f32(x.a, x.b)};
#else
  return x;
#endif
}

// Toward zero whatever the mode.
OUTBOARD_VALU_INLINE uint32_t narrow_to_zero(float x) {
  const uint32_t sign = bits(x) >> 16 & 0x8000, magnitude = bits(x) & ~kSign;
  const uint32_t normal = (magnitude - (112U << 23)) >> 13;
  // Below 2^-14, where float16 counts in units of 2^-24.
  const float small = magnitude < (113U << 23) ? as_float(magnitude) * 0x1p24F : 0.0F;
  const auto tiny = static_cast<uint32_t>(static_cast<int32_t>(small));
  uint32_t h = magnitude < (113U << 23) ? tiny : normal;
  h = magnitude >= (143U << 23) ? 0x7bff : h;
  h = magnitude == kInfinity ? 0x7c00 : h;
  h = magnitude > kInfinity ? 0x7e00 | (magnitude >> 13 & 0x3ff) : h;
  return h | sign;
}

// a * b + c of float16s, rounded to odd: the product is exact, and the sum's error is known.
OUTBOARD_VALU_INLINE VecF fused_to_odd(VecF a, VecF b, VecF c) {
  const VecF product = a * b;
  const VecF sum = product + c;
  const VecF part = sum - product;
  const VecF error = (product - (sum - part)) + (c - part);
  const VecU word = (VecU)sum;
  // Not of infinities and NaNs, whose error is a NaN.
  const VecI inexact = (VecI)((error < 0.0F) | (error > 0.0F)) & (VecI)((word & 1) == 0);
  const VecI away = (VecI)((error > 0.0F) == (sum > 0.0F));
  const VecU step = select(away, word * 0 + 1, word * 0 - 1);
  return (VecF)(word + (step & (VecU)inexact));
}

OUTBOARD_VALU_INLINE VecF settle(VecF r, VecF x, VecF y, VecF z, uint32_t extra) {
  if (!any_nan(r)) [[likely]]
    return r;
  alignas(64) uint32_t part[4][kWidth];
  store(part[0], r);
  store(part[1], x);
  store(part[2], y);
  store(part[3], z);
  settle_nans(part[0], part[1], part[2], part[3], kWidth, extra);
  return load_float(part[0]);
}

template <int kSources, auto F>
uint32_t halves(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                uint32_t extra) {
  for (int i = 0; i < kLanes; i += kWidth) {
    const VecF x = widen(load_word(a + i));
    const VecF y = kSources > 1 ? widen(load_word(b + i)) : x;
    const VecF z = kSources > 2 ? widen(load_word(c + i)) : x;
    store(d + i, narrow(settle(F(x, y, z), x, y, z, extra)));
  }
  return 0;
}

// Both halves of each word.
template <int kSources, auto F>
uint32_t packed_halves(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                       uint32_t extra) {
  for (int i = 0; i < kLanes; i += kWidth) {
    const Halves x = widen_pairs(load_word(a + i));
    const Halves y = kSources > 1 ? widen_pairs(load_word(b + i)) : x;
    const Halves z = kSources > 2 ? widen_pairs(load_word(c + i)) : x;
    Halves r = {F(x.a, y.a, z.a), F(x.b, y.b, z.b)};
    r.a = settle(r.a, x.a, y.a, z.a, extra);
    r.b = settle(r.b, x.b, y.b, z.b, extra);
    store(d + i, narrow_pairs(r));
  }
  return 0;
}

// F on floats of one lane.
template <int kSources, auto F>
uint32_t halves_by_lane(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                        uint32_t extra) {
  alignas(64) uint32_t x[3][kLanes], out[kLanes];
  for (int i = 0; i < kLanes; i += kWidth) {
    store(x[0] + i, widen(load_word(a + i)));
    if constexpr (kSources > 1) store(x[1] + i, widen(load_word(b + i)));
    if constexpr (kSources > 2) store(x[2] + i, widen(load_word(c + i)));
  }
  floats_by_lane<kSources, F>(out, x[0], x[1], x[2], extra);
  for (int i = 0; i < kLanes; i += kWidth) store(d + i, narrow(load_float(out + i)));
  return 0;
}

uint32_t cvt_f32_f16(uint32_t* d, const uint32_t* a, const uint32_t*, const uint32_t*, uint32_t) {
  for (int i = 0; i < kLanes; i += kWidth) store(d + i, widen(load_word(a + i)));
  return 0;
}
uint32_t cvt_f16_f32(uint32_t* d, const uint32_t* a, const uint32_t*, const uint32_t*, uint32_t) {
  for (int i = 0; i < kLanes; i += kWidth) store(d + i, narrow(load_float(a + i)));
  return 0;
}

uint32_t cvt_pk_rtz_f16_f32(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t*,
                            uint32_t) {
#if defined(__AVX512F__)
  for (int i = 0; i < kLanes; i += kWidth) {
    const auto low = _mm512_cvtepu16_epi32(_mm512_cvtps_ph(load_float(a + i), _MM_FROUND_TO_ZERO));
    const auto high = _mm512_cvtepu16_epi32(_mm512_cvtps_ph(load_float(b + i), _MM_FROUND_TO_ZERO));
    store(d + i, (VecU)low | (VecU)high << 16);
  }
#else
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) {
    d[i] = narrow_to_zero(as_float(a[i])) | narrow_to_zero(as_float(b[i])) << 16;
  }
#endif
  return 0;
}

// v_fma_mix: `extra` holds, from bit kSelectShift + 8 n on, how source n is read (operations.h).

OUTBOARD_VALU_INLINE VecF mix_source(const uint32_t* p, uint32_t how) {
  VecU word = load_word(p);
  if ((how & kMixHalf) != 0) {
    if ((how & kMixUpper) != 0) word >>= 16;
    word = (VecU)widen(word);
  }
  if ((how & kMixAbsolute) != 0) word &= ~kSign;
  if ((how & kMixNegate) != 0) word ^= kSign;
  return (VecF)word;
}

template <bool kToHalf>
uint32_t fma_mix(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                 uint32_t extra) {
  const uint32_t how = extra >> kSelectShift;
  for (int i = 0; i < kLanes; i += kWidth) {
    const VecF x = mix_source(a + i, how), y = mix_source(b + i, how >> 8);
    const VecF z = mix_source(c + i, how >> 16);
    const VecF r = settle(fused(x, y, z), x, y, z, extra);
    if constexpr (kToHalf) {
      store(d + i, narrow(r));
    } else {
      store(d + i, r);
    }
  }
  return 0;
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
