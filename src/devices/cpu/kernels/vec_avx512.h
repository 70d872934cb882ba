// The vector type of simd_*.h for AVX-512: 16 floats. See vec_avx2.h and vec_neon.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "devices/cpu/kernels/inline.h"

namespace outboard::devices::cpu {
namespace {

using Vec = __m512;
constexpr int kLanes = 16;
constexpr int kTileRows = 4;       // the float GEMM's block of outputs, rows x tokens, that
constexpr int kTileTokens = 6;     // keeps its sums in registers
constexpr int kDirectQueries = 4;  // heads that share a read of a key, times 4 positions
constexpr int kProductRows = 6;    // the same for attention: rows x 4 vectors
constexpr bool kPrefetch = true;

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

constexpr bool kTwoVectors = false;  // see vec_neon.h
struct TwoVecs {
  Vec first, second;
};
OUTBOARD_INLINE TwoVecs load_two(const float* p) { return {load(p), load(p + kLanes)}; }
OUTBOARD_INLINE TwoVecs load_two_halves(const uint16_t* p) {
  return {load_half(p), load_half(p + kLanes)};
}
OUTBOARD_INLINE TwoVecs load_two_bfloats(const uint16_t* p) {
  return {load_bfloat(p), load_bfloat(p + kLanes)};
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

// --- whole numbers: kLanes of 32 bits, or four times as many bytes ---

using Ints = __m512i;
struct alignas(16) Codebook {
  uint8_t at[16];
};
OUTBOARD_INLINE Ints all_ints(int x) { return _mm512_set1_epi32(x); }
OUTBOARD_INLINE Ints all_bytes(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
OUTBOARD_INLINE Ints all_64(uint64_t x) { return _mm512_set1_epi64(static_cast<int64_t>(x)); }
OUTBOARD_INLINE Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
OUTBOARD_INLINE Ints sub(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
OUTBOARD_INLINE Ints larger(Ints a, Ints b) { return _mm512_max_epi32(a, b); }
OUTBOARD_INLINE Ints smaller(Ints a, Ints b) { return _mm512_min_epi32(a, b); }
OUTBOARD_INLINE Ints bit_and(Ints a, Ints b) { return _mm512_and_si512(a, b); }
OUTBOARD_INLINE Ints bit_or(Ints a, Ints b) { return _mm512_or_si512(a, b); }
OUTBOARD_INLINE Ints bit_xor(Ints a, Ints b) { return _mm512_xor_si512(a, b); }
OUTBOARD_INLINE Ints and_or(Ints x, Ints mask, Ints other) {  // (x & mask) | other
  return _mm512_ternarylogic_epi32(x, mask, other, 0xEA);
}
OUTBOARD_INLINE Ints left_each(Ints x, Ints n) { return _mm512_sllv_epi32(x, n); }
// The compilers' own shifts, since the intrinsics take either a constant or a register of counts.
using Unsigneds __attribute__((vector_size(64))) = uint32_t;
using Signeds __attribute__((vector_size(64))) = int32_t;
OUTBOARD_INLINE Ints left(Ints x, int n) {
  return reinterpret_cast<Ints>(reinterpret_cast<Unsigneds>(x) << static_cast<uint32_t>(n));
}
OUTBOARD_INLINE Ints right(Ints x, int n) {
  return reinterpret_cast<Ints>(reinterpret_cast<Unsigneds>(x) >> static_cast<uint32_t>(n));
}
OUTBOARD_INLINE Ints right_signed(Ints x, int n) {
  return reinterpret_cast<Ints>(reinterpret_cast<Signeds>(x) >> n);
}
// Bits within their bytes n to the left, or -n to the right; what crosses a byte is any.
OUTBOARD_INLINE Ints turn(Ints x, int n) { return _mm512_rolv_epi32(x, all_ints(n & 31)); }
OUTBOARD_INLINE Ints high_nibbles(Ints x) {
  return bit_and(right(x, 4), all_bytes(15));
}  // of bytes
OUTBOARD_INLINE Vec to_float(Ints x) { return _mm512_cvtepi32_ps(x); }
OUTBOARD_INLINE Ints to_ints(Vec x) { return _mm512_cvtps_epi32(x); }  // the nearest
OUTBOARD_INLINE Ints as_ints(Vec x) { return _mm512_castps_si512(x); }
OUTBOARD_INLINE Vec as_floats(Ints x) { return _mm512_castsi512_ps(x); }
OUTBOARD_INLINE Vec negated(Vec x) { return _mm512_sub_ps(_mm512_setzero_ps(), x); }
OUTBOARD_INLINE int largest_lane(Ints x) { return _mm512_reduce_max_epi32(x); }
OUTBOARD_INLINE int sum_lanes(Ints x) { return _mm512_reduce_add_epi32(x); }
OUTBOARD_INLINE void store_low_bytes(int8_t* p, Ints x) {  // of each lane
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
}

// The pieces of 16 bytes of rows k, 4 + k, 8 + k ... of kLanes rows at p.
OUTBOARD_INLINE Ints load_pieces(const uint8_t* p, size_t stride, size_t k) {
  const auto piece = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + row * stride));
  };
  Ints rows = _mm512_castsi128_si512(piece(k));
  rows = _mm512_inserti32x4(rows, piece(4 + k), 1);
  rows = _mm512_inserti32x4(rows, piece(8 + k), 2);
  return _mm512_inserti32x4(rows, piece(12 + k), 3);
}
// The same of pieces that get(row) makes.
struct Piece {
  uint64_t low, high;
};
template <typename Get>
OUTBOARD_INLINE Ints put_pieces(Get get, size_t k) {
  const auto piece = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    const Piece bytes = get(row);
    return _mm_set_epi64x(static_cast<int64_t>(bytes.high), static_cast<int64_t>(bytes.low));
  };
  Ints rows = _mm512_castsi128_si512(piece(k));
  rows = _mm512_inserti32x4(rows, piece(4 + k), 1);
  rows = _mm512_inserti32x4(rows, piece(8 + k), 2);
  return _mm512_inserti32x4(rows, piece(12 + k), 3);
}
// Within each piece: its lanes alternate with those of another's, of the piece's first half or its
// second; bytes are looked up, moved down.
OUTBOARD_INLINE Ints zip_low_32(Ints a, Ints b) { return _mm512_unpacklo_epi32(a, b); }
OUTBOARD_INLINE Ints zip_high_32(Ints a, Ints b) { return _mm512_unpackhi_epi32(a, b); }
OUTBOARD_INLINE Ints zip_low_64(Ints a, Ints b) { return _mm512_unpacklo_epi64(a, b); }
OUTBOARD_INLINE Ints zip_high_64(Ints a, Ints b) { return _mm512_unpackhi_epi64(a, b); }
OUTBOARD_INLINE Ints drop_2_bytes(Ints x) { return _mm512_bsrli_epi128(x, 2); }
OUTBOARD_INLINE Ints look_up(Ints index, const Codebook& book) {
  return _mm512_shuffle_epi8(
      _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(book.at))), index);
}
// Byte b of each lane in all its bytes.
OUTBOARD_INLINE Ints spread_byte(Ints x, int b) {
  return _mm512_shuffle_epi8(
      x,
      _mm512_add_epi8(_mm512_broadcast_i32x4(_mm_set_epi32(0x0C0C0C0C, 0x08080808, 0x04040404, 0)),
                      all_bytes(b)));
}
// Byte b of each piece of 16 in the piece's first eight bytes, byte b + 1 in the others.
OUTBOARD_INLINE Ints spread_2_bytes(Ints x, int b) {
  return _mm512_shuffle_epi8(
      x, _mm512_add_epi8(_mm512_broadcast_i32x4(_mm_set_epi32(0x01010101, 0x01010101, 0, 0)),
                         all_bytes(b)));
}
// Bytes of x below 16, plus 16 where the byte of `spread` has the bit of that of `bits`.
OUTBOARD_INLINE Ints set_16_where(Ints x, Ints spread, Ints bits) {
  return _mm512_mask_add_epi8(x, _mm512_test_epi8_mask(spread, bits), x, all_bytes(16));
}
// Bytes of x, less than 0 where the byte of `spread` has the bit of that of `bits`.
OUTBOARD_INLINE Ints negate_where(Ints x, Ints spread, Ints bits) {
  return _mm512_mask_sub_epi8(x, _mm512_test_epi8_mask(spread, bits), all_ints(0), x);
}
OUTBOARD_INLINE Vec low_half_to_float(Ints x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }
// The half, or the 32 bits, at the start of each row's block. Half of the work is done in whole
// registers, which have time to spare.
OUTBOARD_INLINE Vec load_halves(const uint8_t* p, size_t stride) {
  const auto two = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    uint16_t low, high;
    std::memcpy(&low, p + row * stride, sizeof(low));
    std::memcpy(&high, p + (row + 1) * stride, sizeof(high));
    return _mm_cvtsi32_si128(low | high << 16);
  };
  const auto eight = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    return _mm_unpacklo_epi64(_mm_unpacklo_epi32(two(row), two(row + 2)),
                              _mm_unpacklo_epi32(two(row + 4), two(row + 6)));
  };
  return _mm512_cvtph_ps(_mm256_set_m128i(eight(8), eight(0)));
}
OUTBOARD_INLINE Ints load_32_bits(const uint8_t* p, size_t stride) {
  const auto two = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    uint32_t low, high;
    std::memcpy(&low, p + row * stride, sizeof(low));
    std::memcpy(&high, p + (row + 1) * stride, sizeof(high));
    return _mm_cvtsi64_si128(static_cast<int64_t>(low | static_cast<uint64_t>(high) << 32));
  };
  const auto four = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    return _mm_unpacklo_epi64(two(row), two(row + 2));
  };
  const __m256i low = _mm256_set_m128i(four(4), four(0));
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), _mm256_set_m128i(four(12), four(8)), 1);
}

constexpr bool kReadsPieces = true;  // with few tokens
// Four floats of a packed group, of which one at a time goes to all lanes: straight from memory.
using FourFloats = const std::byte*;
OUTBOARD_INLINE FourFloats four_floats(const std::byte* p) { return p; }
template <int kWhich>
OUTBOARD_INLINE Vec copies(FourFloats p) {
  float value;
  std::memcpy(&value, p + sizeof(value) * kWhich, sizeof(value));
  return all(value);
}
constexpr bool kRowPairs = false;  // see simd_formats.h
constexpr int kPanelTile = 1;
OUTBOARD_INLINE void end_of_group() {}              // see vec_neon.h
constexpr int token_tile(bool, int) { return 12; }  // tokens whose sums fit in registers
constexpr int kByteZero = 128;  // what stands for 0 in bytes of weights that use all their values
constexpr int sum_bound(int) { return 255; }          // bounds of one result share their code
constexpr int panel_bound(int, bool) { return 255; }  // with many tokens
constexpr size_t kWordsAt = 80;  // bytes of a packed group before the words, if any
constexpr size_t kWordBytes = 0;
constexpr float kMostInput = 127 * 256 + 127;
template <bool kBytes>
OUTBOARD_INLINE void store_inputs(std::byte* group, int i, Ints q) {
  auto* planes = reinterpret_cast<int8_t*>(group) + i * kLanes;
  store_low_bytes(planes, kBytes ? q : right_signed(add(q, all_ints(128)), 8));
  if constexpr (!kBytes) store_low_bytes(planes + 32, q);  // the low byte of q - 256 * hi
}
// Sums of products of unsigned bytes of weights and signed ones of activations.
template <int kBound, bool kBytes>
struct IntegerSum {
  static constexpr int kPlanes = kBytes ? 1 : 2;
  Ints sum = _mm512_setzero_si512();

  // Column register c, of those before `end`, of a packed group.
  OUTBOARD_INLINE void add(int plane, int c, int end, Ints w, const std::byte* group) {
    (void)end;
    int32_t four;
    std::memcpy(&four, group + 32 * plane + 4 * c, sizeof(four));
    sum = _mm512_dpbusd_epi32(sum, w, all_ints(four));
  }
  OUTBOARD_INLINE void next_plane() { sum = left(sum, 8); }
  OUTBOARD_INLINE Ints total() const { return sum; }
};

// The same of pieces k of halves [kBegin, kEnd): the four lanes of a piece hold parts of its sum.
template <int kBound, bool kBytes, int kBegin, int kEnd>
OUTBOARD_INLINE Ints piece_sum(const Ints (&weights)[8], int k, const std::byte* group) {
  Ints sum = _mm512_setzero_si512();
  OUTBOARD_UNROLL
  for (int plane = 0; plane < (kBytes ? 1 : 2); ++plane) {
    if (plane > 0) sum = left(sum, 8);
    OUTBOARD_UNROLL
    for (int half = kBegin; half < kEnd; ++half) {
      const __m128i x =
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(group + 32 * plane + 16 * half));
      sum = _mm512_dpbusd_epi32(sum, weights[4 * half + k], _mm512_broadcast_i32x4(x));
    }
  }
  return sum;
}

}  // namespace
}  // namespace outboard::devices::cpu
