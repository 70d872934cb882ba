// The vector type of simd_*.h for AVX2 with FMA and F16C: 8 floats. See vec_avx512.h.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "devices/cpu/kernels/inline.h"

namespace outboard::cpu {
namespace {

using Vec = __m256;
constexpr int kLanes = 8;
constexpr int kTileRows = 4;  // 12 sums and a few inputs in 16 registers
constexpr int kTileTokens = 3;
constexpr int kProductRows = 3;
constexpr int kDirectQueries = 2;

OUTBOARD_INLINE __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

OUTBOARD_INLINE Vec load(const float* p) { return _mm256_loadu_ps(p); }
OUTBOARD_INLINE void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
OUTBOARD_INLINE Vec load_part(const float* p, int64_t n) {
  return _mm256_maskload_ps(p, first_lanes(n));
}
OUTBOARD_INLINE void store_part(float* p, Vec v, int64_t n) {
  _mm256_maskstore_ps(p, first_lanes(n), v);
}
OUTBOARD_INLINE __m128i first_halves(const uint16_t* p, int64_t n) {
  uint16_t copy[8] = {};
  std::memcpy(copy, reinterpret_cast<const char*>(p), static_cast<size_t>(n) * sizeof(uint16_t));
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(copy));
}
OUTBOARD_INLINE Vec load_half(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
OUTBOARD_INLINE Vec load_half_part(const uint16_t* p, int64_t n) {
  return _mm256_cvtph_ps(first_halves(p, n));
}
OUTBOARD_INLINE __m128i to_halves(Vec v) {
  return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
OUTBOARD_INLINE void store_half(uint16_t* p, Vec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), to_halves(v));
}
OUTBOARD_INLINE void store_half_part(uint16_t* p, Vec v, int64_t n) {
  uint16_t copy[8];
  store_half(copy, v);
  std::memcpy(p, copy, static_cast<size_t>(n) * sizeof(uint16_t));
}
OUTBOARD_INLINE Vec bfloat_bits(__m128i x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
OUTBOARD_INLINE Vec load_bfloat(const uint16_t* p) {
  return bfloat_bits(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
OUTBOARD_INLINE Vec load_bfloat_part(const uint16_t* p, int64_t n) {
  return bfloat_bits(first_halves(p, n));
}

OUTBOARD_INLINE float half_to_float(uint16_t bits) { return _cvtsh_ss(bits); }
OUTBOARD_INLINE Vec bytes_to_float(const uint8_t* p) {  // kLanes unsigned bytes
  return _mm256_cvtepi32_ps(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

OUTBOARD_INLINE Vec all(float x) { return _mm256_set1_ps(x); }
OUTBOARD_INLINE Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
OUTBOARD_INLINE Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
OUTBOARD_INLINE Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
OUTBOARD_INLINE Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
OUTBOARD_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
OUTBOARD_INLINE Vec at_least(Vec x, float low) { return _mm256_max_ps(all(low), x); }
OUTBOARD_INLINE Vec at_most(Vec x, float high) { return _mm256_min_ps(all(high), x); }
OUTBOARD_INLINE Vec larger(Vec a, Vec b) { return _mm256_max_ps(a, b); }
OUTBOARD_INLINE Vec nearest(Vec x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
OUTBOARD_INLINE Vec power_of_two(Vec n) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
OUTBOARD_INLINE Vec absolute(Vec x) { return _mm256_andnot_ps(all(-0.0F), x); }
OUTBOARD_INLINE Vec with_sign_of(Vec positive, Vec sign) {
  return _mm256_or_ps(positive, _mm256_and_ps(sign, all(-0.0F)));
}
OUTBOARD_INLINE Vec select_less(Vec a, Vec b, Vec x, Vec y) {
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
OUTBOARD_INLINE __m128 fold(Vec v) {
  return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
}
OUTBOARD_INLINE float sum_lanes(Vec v) {
  v = _mm256_add_ps(v, _mm256_permute_ps(v, 0x0E));
  return _mm_cvtss_f32(fold(_mm256_add_ps(v, _mm256_permute_ps(v, 0x01))));
}
OUTBOARD_INLINE void sum_lanes(Vec v0, Vec v1, Vec v2, Vec v3, float* out) {
  const Vec a = _mm256_add_ps(_mm256_unpacklo_ps(v0, v1), _mm256_unpackhi_ps(v0, v1));
  const Vec b = _mm256_add_ps(_mm256_unpacklo_ps(v2, v3), _mm256_unpackhi_ps(v2, v3));
  _mm_storeu_ps(out,
                fold(_mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xEE))));
}
OUTBOARD_INLINE float max_lanes(Vec v) {
  __m128 quarter = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  quarter = _mm_max_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_max_ss(quarter, _mm_movehdup_ps(quarter)));
}
OUTBOARD_INLINE void transpose_tile(Vec (&v)[kLanes]) {
  Vec a[8], b[8];
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    a[i + 2] = _mm256_unpacklo_ps(v[i + 2], v[i + 3]);
    a[i + 3] = _mm256_unpackhi_ps(v[i + 2], v[i + 3]);
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xEE);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
  }
  for (int c = 0; c < 4; ++c) {  // b[4r + c], half h: rows 4r..4r+3 of column 4h + c
    v[c] = _mm256_permute2f128_ps(b[c], b[4 + c], 0x20);
    v[4 + c] = _mm256_permute2f128_ps(b[c], b[4 + c], 0x31);
  }
}

}  // namespace
}  // namespace outboard::cpu
