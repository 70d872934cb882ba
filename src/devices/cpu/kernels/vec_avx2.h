// The vector type of simd_*.h for AVX2 with FMA and F16C: 8 floats. See vec_avx512.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "devices/cpu/kernels/inline.h"

namespace outboard::devices::cpu {
namespace {

using Vec = __m256;
constexpr int kLanes = 8;
constexpr int kTileRows = 4;  // 12 sums and a few inputs in 16 registers
constexpr int kTileTokens = 3;
constexpr int kProductRows = 3;
constexpr int kDirectQueries = 2;
constexpr bool kPrefetch = true;

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

// --- whole numbers: see vec_avx512.h ---

using Ints = __m256i;
struct alignas(16) Codebook {
  uint8_t at[16];
};
OUTBOARD_INLINE Ints all_ints(int x) { return _mm256_set1_epi32(x); }
OUTBOARD_INLINE Ints all_bytes(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
OUTBOARD_INLINE Ints all_64(uint64_t x) { return _mm256_set1_epi64x(static_cast<int64_t>(x)); }
OUTBOARD_INLINE Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
OUTBOARD_INLINE Ints sub(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
OUTBOARD_INLINE Ints larger(Ints a, Ints b) { return _mm256_max_epi32(a, b); }
OUTBOARD_INLINE Ints smaller(Ints a, Ints b) { return _mm256_min_epi32(a, b); }
OUTBOARD_INLINE Ints bit_and(Ints a, Ints b) { return _mm256_and_si256(a, b); }
OUTBOARD_INLINE Ints bit_or(Ints a, Ints b) { return _mm256_or_si256(a, b); }
OUTBOARD_INLINE Ints bit_xor(Ints a, Ints b) { return _mm256_xor_si256(a, b); }
OUTBOARD_INLINE Ints and_or(Ints x, Ints mask, Ints other) {
  return _mm256_or_si256(_mm256_and_si256(x, mask), other);
}
OUTBOARD_INLINE Ints left_each(Ints x, Ints n) { return _mm256_sllv_epi32(x, n); }
OUTBOARD_INLINE Ints left(Ints x, int n) { return _mm256_slli_epi32(x, n); }
OUTBOARD_INLINE Ints right(Ints x, int n) { return _mm256_srli_epi32(x, n); }
OUTBOARD_INLINE Ints right_signed(Ints x, int n) { return _mm256_srai_epi32(x, n); }
OUTBOARD_INLINE Ints turn(Ints x, int n) { return n >= 0 ? left(x, n) : right(x, -n); }
OUTBOARD_INLINE Ints high_nibbles(Ints x) {
  return bit_and(right(x, 4), all_bytes(15));
}  // of bytes
OUTBOARD_INLINE Vec to_float(Ints x) { return _mm256_cvtepi32_ps(x); }
OUTBOARD_INLINE Ints to_ints(Vec x) { return _mm256_cvtps_epi32(x); }
OUTBOARD_INLINE Ints as_ints(Vec x) { return _mm256_castps_si256(x); }
OUTBOARD_INLINE Vec as_floats(Ints x) { return _mm256_castsi256_ps(x); }
OUTBOARD_INLINE Vec negated(Vec x) { return _mm256_sub_ps(_mm256_setzero_ps(), x); }
OUTBOARD_INLINE int largest_lane(Ints x) {
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}
OUTBOARD_INLINE int sum_lanes(Ints x) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}
OUTBOARD_INLINE void store_low_bytes(int8_t* p, Ints x) {
  const Ints low = _mm256_shuffle_epi8(x, all_ints(0x0C080400));
  _mm_storel_epi64(
      reinterpret_cast<__m128i*>(p),
      _mm_unpacklo_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
}

struct Piece {
  uint64_t low, high;
};
template <typename Get>
OUTBOARD_INLINE Ints put_pieces(Get get, size_t k) {
  const auto piece = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    const Piece bytes = get(row);
    return _mm_set_epi64x(static_cast<int64_t>(bytes.high), static_cast<int64_t>(bytes.low));
  };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(piece(k)), piece(4 + k), 1);
}
OUTBOARD_INLINE Ints load_pieces(const uint8_t* p, size_t stride, size_t k) {
  const auto piece = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + row * stride));
  };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(piece(k)), piece(4 + k), 1);
}
OUTBOARD_INLINE Ints zip_low_32(Ints a, Ints b) { return _mm256_unpacklo_epi32(a, b); }
OUTBOARD_INLINE Ints zip_high_32(Ints a, Ints b) { return _mm256_unpackhi_epi32(a, b); }
OUTBOARD_INLINE Ints zip_low_64(Ints a, Ints b) { return _mm256_unpacklo_epi64(a, b); }
OUTBOARD_INLINE Ints zip_high_64(Ints a, Ints b) { return _mm256_unpackhi_epi64(a, b); }
OUTBOARD_INLINE Ints drop_2_bytes(Ints x) { return _mm256_srli_si256(x, 2); }
OUTBOARD_INLINE Ints same_in_pieces(__m128i piece) { return _mm256_broadcastsi128_si256(piece); }
OUTBOARD_INLINE Ints look_up(Ints index, const Codebook& book) {
  return _mm256_shuffle_epi8(
      same_in_pieces(_mm_load_si128(reinterpret_cast<const __m128i*>(book.at))), index);
}
OUTBOARD_INLINE Ints spread_byte(Ints x, int b) {
  return _mm256_shuffle_epi8(
      x, _mm256_add_epi8(same_in_pieces(_mm_set_epi32(0x0C0C0C0C, 0x08080808, 0x04040404, 0)),
                         all_bytes(b)));
}
OUTBOARD_INLINE Ints spread_2_bytes(Ints x, int b) {
  return _mm256_shuffle_epi8(
      x,
      _mm256_add_epi8(same_in_pieces(_mm_set_epi32(0x01010101, 0x01010101, 0, 0)), all_bytes(b)));
}
OUTBOARD_INLINE Ints set_16_where(Ints x, Ints spread, Ints bits) {
  const Ints set = _mm256_cmpeq_epi8(bit_and(spread, bits), bits);
  return and_or(set, all_bytes(16), x);
}
OUTBOARD_INLINE Ints negate_where(Ints x, Ints spread, Ints bits) {
  const Ints set = _mm256_cmpeq_epi8(bit_and(spread, bits), bits);
  return _mm256_sub_epi8(bit_xor(x, set), set);
}
OUTBOARD_INLINE Vec low_half_to_float(Ints x) {
  const Ints halves =
      _mm256_shuffle_epi8(x, same_in_pieces(_mm_set_epi32(0, 0, 0x0D0C0908, 0x05040100)));
  return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(halves, 0x08)));
}
OUTBOARD_INLINE Vec load_halves(const uint8_t* p, size_t stride) {
  const auto two = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    uint16_t low, high;
    std::memcpy(&low, p + row * stride, sizeof(low));
    std::memcpy(&high, p + (row + 1) * stride, sizeof(high));
    return _mm_cvtsi32_si128(low | high << 16);
  };
  return _mm256_cvtph_ps(
      _mm_unpacklo_epi64(_mm_unpacklo_epi32(two(0), two(2)), _mm_unpacklo_epi32(two(4), two(6))));
}
OUTBOARD_INLINE Ints load_32_bits(const uint8_t* p, size_t stride) {
  const auto two = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    uint32_t low, high;
    std::memcpy(&low, p + row * stride, sizeof(low));
    std::memcpy(&high, p + (row + 1) * stride, sizeof(high));
    return _mm_cvtsi64_si128(static_cast<int64_t>(low | static_cast<uint64_t>(high) << 32));
  };
  return _mm256_set_m128i(_mm_unpacklo_epi64(two(4), two(6)), _mm_unpacklo_epi64(two(0), two(2)));
}

OUTBOARD_INLINE Ints same_piece(const std::byte* p) {
  return same_in_pieces(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
OUTBOARD_INLINE Ints four_bytes(const std::byte* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof(four));
  return all_ints(four);
}
constexpr bool kReadsPieces = true;
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
OUTBOARD_INLINE void end_of_group() {}  // see vec_neon.h
constexpr size_t kWordsAt = 80;         // bytes of a packed group before the words
#if defined(__AVXVNNI__)
constexpr int token_tile(bool, int) { return 6; }  // tokens whose sums fit in registers
constexpr int kByteZero = 128;
constexpr int sum_bound(int) { return 255; }
constexpr int panel_bound(int, bool) { return 255; }
constexpr size_t kWordBytes = 0;
constexpr float kMostInput = 127 * 256 + 127;
template <bool kBytes>
OUTBOARD_INLINE void store_inputs(std::byte* group, int i, Ints q) {
  auto* planes = reinterpret_cast<int8_t*>(group) + i * kLanes;
  store_low_bytes(planes, kBytes ? q : right_signed(add(q, all_ints(128)), 8));
  if constexpr (!kBytes) store_low_bytes(planes + 32, q);
}
template <int kBound, bool kBytes>
struct IntegerSum {
  static constexpr int kPlanes = kBytes ? 1 : 2;
  Ints sum = _mm256_setzero_si256();

  OUTBOARD_INLINE void add(int plane, int c, int end, Ints w, const std::byte* group) {
    (void)end;
    sum = _mm256_dpbusd_avx_epi32(sum, w, four_bytes(group + 32 * plane + 4 * c));
  }
  OUTBOARD_INLINE void next_plane() { sum = left(sum, 8); }
  OUTBOARD_INLINE Ints total() const { return sum; }
};
template <int kBound, bool kBytes, int kBegin, int kEnd>
OUTBOARD_INLINE Ints piece_sum(const Ints (&weights)[8], int k, const std::byte* group) {
  Ints sum = _mm256_setzero_si256();
  OUTBOARD_UNROLL
  for (int plane = 0; plane < (kBytes ? 1 : 2); ++plane) {
    if (plane > 0) sum = left(sum, 8);
    OUTBOARD_UNROLL
    for (int half = kBegin; half < kEnd; ++half) {
      sum = _mm256_dpbusd_avx_epi32(sum, weights[4 * half + k],
                                    same_piece(group + 32 * plane + 16 * half));
    }
  }
  return sum;
}
#else
// Two products, of bytes or of words. That of bytes adds pairs to 16 bits, which must not overflow:
// q = 255 * hi + lo with both at most 127 in size, and small weights are added up in 16 bits as
// long as that holds. Weights of a whole byte would need each pair widened, twice: those are
// multiplied as words, by q in words.
constexpr int token_tile(bool, int) { return 6; }  // tokens whose sums fit in registers
constexpr int kByteZero = 0;
constexpr int sum_bound(int most) {
  return most <= 15 ? 15 : most <= 31 ? 31 : most <= 63 ? 63 : 255;
}
// With many tokens widening the weights is nothing, and words need fewer registers.
constexpr int panel_bound(int most, bool bytes) { return bytes ? sum_bound(most) : 255; }
constexpr size_t kWordBytes = 64;
constexpr float kMostInput = 127 * 255 + 127;
// GCC would make trees of long sums, and spill what that takes.
OUTBOARD_INLINE Ints in_order(Ints x) {
  asm("" : "+x"(x));
  return x;
}
template <bool kBytes>
OUTBOARD_INLINE void store_inputs(std::byte* group, int i, Ints q) {
  auto* planes = reinterpret_cast<int8_t*>(group) + i * kLanes;
  if constexpr (kBytes) return store_low_bytes(planes, q);
  // 257 / 65536 is so near 1 / 255 that no q is rounded to another hi.
  const Ints hi = right_signed(add(add(left(q, 8), q), all_ints(1 << 15)), 16);
  store_low_bytes(planes, hi);
  store_low_bytes(planes + 32, add(q, hi));  // the low byte of q - 255 * hi
  // Of 16 columns: the even eight, then the odd eight.
  const Ints words =
      _mm256_shuffle_epi8(q, same_in_pieces(_mm_set_epi32(0, 0, 0x0D0C0504, 0x09080100)));
  const __m128i eight =
      _mm_shuffle_epi32(_mm256_castsi256_si128(_mm256_permute4x64_epi64(words, 0x08)), 0xD8);
  std::byte* const even = group + kWordsAt + 32 * (i / 2) + 8 * (i % 2);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(even), eight);
  _mm_storeh_pd(reinterpret_cast<double*>(even + 16), _mm_castsi128_pd(eight));
}
OUTBOARD_INLINE Ints even_bytes(Ints w) { return _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8); }
OUTBOARD_INLINE Ints odd_bytes(Ints w) { return _mm256_srai_epi16(w, 8); }
template <int kBound, bool kBytes>
struct IntegerSum {
  static constexpr bool kWords = kBound == 255 && !kBytes;
  static constexpr int kPlanes = kWords || kBytes ? 1 : 2;
  Ints pairs = _mm256_setzero_si256();
  Ints sum = _mm256_setzero_si256();

  OUTBOARD_INLINE void add(int plane, int c, int end, Ints w, const std::byte* group) {
    if constexpr (kWords) {
      const std::byte* x = group + kWordsAt + 32 * (c / 4) + 4 * (c % 4);
      sum = in_order(_mm256_add_epi32(sum, _mm256_madd_epi16(even_bytes(w), four_bytes(x))));
      sum = in_order(_mm256_add_epi32(sum, _mm256_madd_epi16(odd_bytes(w), four_bytes(x + 16))));
    } else {
      constexpr int kRun = kBound == 255 ? 1 : 32767 / (2 * 127 * kBound);
      const Ints x = four_bytes(group + 32 * plane + 4 * c);
      const Ints products = kBound == 255
                                ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                                : _mm256_maddubs_epi16(w, x);
      pairs = c % kRun == 0 ? products : in_order(_mm256_add_epi16(pairs, products));
      if ((c + 1) % kRun == 0 || c + 1 == end) {
        sum = in_order(_mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
      }
    }
  }
  OUTBOARD_INLINE void next_plane() {
    sum = sub(left(sum, 8), sum);
    pairs = _mm256_setzero_si256();
  }
  OUTBOARD_INLINE Ints total() const { return sum; }
};
template <int kBound, bool kBytes, int kBegin, int kEnd>
OUTBOARD_INLINE Ints piece_sum(const Ints (&weights)[8], int k, const std::byte* group) {
  const auto in_words = [](Ints bytes_times_bytes, int factor) OUTBOARD_INLINE_LAMBDA {
    return _mm256_madd_epi16(bytes_times_bytes, _mm256_set1_epi16(static_cast<int16_t>(factor)));
  };
  Ints sum = _mm256_setzero_si256();
  if constexpr (kBound == 255) {
    OUTBOARD_UNROLL
    for (int half = kBegin; half < kEnd; ++half) {
      const Ints w = weights[4 * half + k];
      if constexpr (kBytes) {
        const Ints x = same_piece(group + 16 * half);
        sum =
            add(sum, in_words(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)), 1));
      } else {
        const std::byte* x = group + kWordsAt + 32 * half;
        sum = add(sum, _mm256_madd_epi16(even_bytes(w), same_piece(x)));
        sum = add(sum, _mm256_madd_epi16(odd_bytes(w), same_piece(x + 16)));
      }
    }
  } else {
    OUTBOARD_UNROLL
    for (int plane = 0; plane < (kBytes ? 1 : 2); ++plane) {
      static_assert(4 * 127 * kBound <= 32767);  // two halves' products of pairs
      Ints pairs = _mm256_setzero_si256();
      OUTBOARD_UNROLL
      for (int half = kBegin; half < kEnd; ++half) {
        const Ints products =
            _mm256_maddubs_epi16(weights[4 * half + k], same_piece(group + 32 * plane + 16 * half));
        pairs = half == kBegin ? products : _mm256_add_epi16(pairs, products);
      }
      sum = add(sum, in_words(pairs, kBytes || plane > 0 ? 1 : 255));
    }
  }
  return sum;
}
#endif

}  // namespace
}  // namespace outboard::devices::cpu
