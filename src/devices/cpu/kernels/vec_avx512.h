// The vector type of simd_*.h for AVX-512: 16 floats. See vec_avx2.h and vec_neon.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "devices/cpu/kernels/inline.h"

namespace outboard::cpu {
namespace {

using Vec = __m512;
constexpr int kLanes = 16;
constexpr int kTileRows = 4;       // the float GEMM's block of outputs, rows x tokens, that
constexpr int kTileTokens = 6;     // keeps its sums in registers
constexpr int kDirectQueries = 4;  // heads that share a read of a key, times 4 positions
constexpr int kProductRows = 6;    // the same for attention: rows x 4 vectors

OUTBOARD_INLINE __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>((1U << n) - 1); }

OUTBOARD_INLINE Vec load(const float* p) { return _mm512_loadu_ps(p); }
OUTBOARD_INLINE void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
// The first n < kLanes lanes; the others are zero.
OUTBOARD_INLINE Vec load_part(const float* p, int64_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
OUTBOARD_INLINE void store_part(float* p, Vec v, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), v);
}
OUTBOARD_INLINE Vec load_half(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
OUTBOARD_INLINE Vec load_half_part(const uint16_t* p, int64_t n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
OUTBOARD_INLINE void store_half(uint16_t* p, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
OUTBOARD_INLINE void store_half_part(uint16_t* p, Vec v, int64_t n) {
  _mm256_mask_storeu_epi16(p, first_lanes(n),
                           _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
OUTBOARD_INLINE Vec bfloat_bits(__m256i x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}
OUTBOARD_INLINE Vec load_bfloat(const uint16_t* p) {
  return bfloat_bits(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
OUTBOARD_INLINE Vec load_bfloat_part(const uint16_t* p, int64_t n) {
  return bfloat_bits(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}

OUTBOARD_INLINE Vec all(float x) { return _mm512_set1_ps(x); }
OUTBOARD_INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
OUTBOARD_INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
OUTBOARD_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
OUTBOARD_INLINE Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
OUTBOARD_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }  // a * b + c
// NaN in x stays NaN.
OUTBOARD_INLINE Vec at_least(Vec x, float low) { return _mm512_max_ps(all(low), x); }
OUTBOARD_INLINE Vec at_most(Vec x, float high) { return _mm512_min_ps(all(high), x); }
OUTBOARD_INLINE Vec larger(Vec a, Vec b) { return _mm512_max_ps(a, b); }
OUTBOARD_INLINE Vec nearest(Vec x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// 2^n for whole n in [-126, 127].
OUTBOARD_INLINE Vec power_of_two(Vec n) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
OUTBOARD_INLINE Vec absolute(Vec x) { return _mm512_abs_ps(x); }
OUTBOARD_INLINE Vec with_sign_of(Vec positive, Vec sign) {
  return _mm512_or_ps(positive, _mm512_and_ps(sign, all(-0.0F)));
}
// a < b ? x : y
OUTBOARD_INLINE Vec select_less(Vec a, Vec b, Vec x, Vec y) {
  return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), x);
}
// Sums of all lanes, always in the same order: the order is part of a result.
OUTBOARD_INLINE __m128 fold(Vec v) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}
OUTBOARD_INLINE float sum_lanes(Vec v) {
  v = _mm512_add_ps(v, _mm512_permute_ps(v, 0x0E));
  return _mm_cvtss_f32(fold(_mm512_add_ps(v, _mm512_permute_ps(v, 0x01))));
}
// out[i] = sum_lanes(v[i]), the same bits.
OUTBOARD_INLINE void sum_lanes(Vec v0, Vec v1, Vec v2, Vec v3, float* out) {
  const Vec a = _mm512_add_ps(_mm512_unpacklo_ps(v0, v1), _mm512_unpackhi_ps(v0, v1));
  const Vec b = _mm512_add_ps(_mm512_unpacklo_ps(v2, v3), _mm512_unpackhi_ps(v2, v3));
  _mm_storeu_ps(out,
                fold(_mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xEE))));
}
// Exchanges rows and columns of kLanes x kLanes.
OUTBOARD_INLINE void transpose_tile(Vec (&v)[kLanes]) {
  // Pairs of rows, then of pairs: each 128-bit part then holds four rows of one column.
  Vec a[16], b[16];
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    a[i + 2] = _mm512_unpacklo_ps(v[i + 2], v[i + 3]);
    a[i + 3] = _mm512_unpackhi_ps(v[i + 2], v[i + 3]);
    b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xEE);
    b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
  }
  // b[4r + c], part p: rows 4r..4r+3 of column 4p + c.
  for (int c = 0; c < 4; ++c) {
    const Vec low01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0x88);       // parts 0, 2 of rows 0-7
    const Vec high01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0xDD);      // parts 1, 3
    const Vec low23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0x88);  // of rows 8-15
    const Vec high23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0xDD);
    v[c] = _mm512_shuffle_f32x4(low01, low23, 0x88);        // part 0
    v[4 + c] = _mm512_shuffle_f32x4(high01, high23, 0x88);  // part 1
    v[8 + c] = _mm512_shuffle_f32x4(low01, low23, 0xDD);    // part 2
    v[12 + c] = _mm512_shuffle_f32x4(high01, high23, 0xDD);
  }
}
OUTBOARD_INLINE float max_lanes(Vec v) { return _mm512_reduce_max_ps(v); }

}  // namespace
}  // namespace outboard::cpu
