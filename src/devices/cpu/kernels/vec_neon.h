// The vector type of simd_*.h for arm64: 4 floats. See vec_avx512.h.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "devices/cpu/kernels/inline.h"

namespace outboard::devices::cpu {
namespace {

using Vec = float32x4_t;
constexpr int kLanes = 4;
constexpr int kTileRows = 4;  // 24 sums and a few inputs in 32 registers
constexpr int kTileTokens = 6;
constexpr int kProductRows = 6;
constexpr int kDirectQueries = 4;
constexpr bool kPrefetch = false;  // processors see rows that are read in order on their own

OUTBOARD_INLINE Vec load(const float* p) { return vld1q_f32(p); }
OUTBOARD_INLINE void store(float* p, Vec v) { vst1q_f32(p, v); }
OUTBOARD_INLINE Vec load_part(const float* p, int64_t n) {
  float copy[4] = {};
  std::memcpy(copy, reinterpret_cast<const char*>(p), static_cast<size_t>(n) * sizeof(float));
  return vld1q_f32(copy);
}
OUTBOARD_INLINE void store_part(float* p, Vec v, int64_t n) {
  float copy[4];
  vst1q_f32(copy, v);
  std::memcpy(p, copy, static_cast<size_t>(n) * sizeof(float));
}
OUTBOARD_INLINE uint16x4_t first_halves(const uint16_t* p, int64_t n) {
  uint16_t copy[4] = {};
  std::memcpy(copy, reinterpret_cast<const char*>(p), static_cast<size_t>(n) * sizeof(uint16_t));
  return vld1_u16(copy);
}
OUTBOARD_INLINE Vec load_half(const uint16_t* p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
OUTBOARD_INLINE Vec load_half_part(const uint16_t* p, int64_t n) {
  return vcvt_f32_f16(vreinterpret_f16_u16(first_halves(p, n)));
}
OUTBOARD_INLINE void store_half(uint16_t* p, Vec v) {
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}
OUTBOARD_INLINE void store_half_part(uint16_t* p, Vec v, int64_t n) {
  uint16_t copy[4];
  store_half(copy, v);
  std::memcpy(p, copy, static_cast<size_t>(n) * sizeof(uint16_t));
}
OUTBOARD_INLINE Vec bfloat_bits(uint16x4_t x) { return vreinterpretq_f32_u32(vshll_n_u16(x, 16)); }
OUTBOARD_INLINE Vec load_bfloat(const uint16_t* p) { return bfloat_bits(vld1_u16(p)); }
OUTBOARD_INLINE Vec load_bfloat_part(const uint16_t* p, int64_t n) {
  return bfloat_bits(first_halves(p, n));
}
// Two vectors of columns that follow one another, with one load of halves.
constexpr bool kTwoVectors = true;
struct TwoVecs {
  Vec first, second;
};
OUTBOARD_INLINE TwoVecs load_two(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
OUTBOARD_INLINE TwoVecs load_two_halves(const uint16_t* p) {
  const float16x8_t x = vreinterpretq_f16_u16(vld1q_u16(p));
  return {vcvt_f32_f16(vget_low_f16(x)), vcvt_high_f32_f16(x)};
}
OUTBOARD_INLINE TwoVecs load_two_bfloats(const uint16_t* p) {
  const uint16x8_t x = vld1q_u16(p);
  return {bfloat_bits(vget_low_u16(x)), vreinterpretq_f32_u32(vshll_high_n_u16(x, 16))};
}
OUTBOARD_INLINE Vec all(float x) { return vdupq_n_f32(x); }
OUTBOARD_INLINE Vec add(Vec a, Vec b) { return vaddq_f32(a, b); }
OUTBOARD_INLINE Vec sub(Vec a, Vec b) { return vsubq_f32(a, b); }
OUTBOARD_INLINE Vec mul(Vec a, Vec b) { return vmulq_f32(a, b); }
OUTBOARD_INLINE Vec div(Vec a, Vec b) { return vdivq_f32(a, b); }
OUTBOARD_INLINE Vec fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
OUTBOARD_INLINE Vec at_least(Vec x, float low) { return vmaxq_f32(all(low), x); }
OUTBOARD_INLINE Vec at_most(Vec x, float high) { return vminq_f32(all(high), x); }
OUTBOARD_INLINE Vec larger(Vec a, Vec b) { return vmaxq_f32(a, b); }
OUTBOARD_INLINE Vec nearest(Vec x) { return vrndnq_f32(x); }
OUTBOARD_INLINE Vec power_of_two(Vec n) {
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
}
OUTBOARD_INLINE Vec absolute(Vec x) { return vabsq_f32(x); }
OUTBOARD_INLINE Vec with_sign_of(Vec positive, Vec sign) {
  return vbslq_f32(vdupq_n_u32(0x80000000U), sign, positive);
}
OUTBOARD_INLINE Vec select_less(Vec a, Vec b, Vec x, Vec y) {
  return vbslq_f32(vcltq_f32(a, b), x, y);
}
OUTBOARD_INLINE float sum_lanes(Vec v) { return vaddvq_f32(v); }
OUTBOARD_INLINE void sum_lanes(Vec v0, Vec v1, Vec v2, Vec v3, float* out) {
  vst1q_f32(out, vpaddq_f32(vpaddq_f32(v0, v1), vpaddq_f32(v2, v3)));
}
OUTBOARD_INLINE float max_lanes(Vec v) { return vmaxvq_f32(v); }
OUTBOARD_INLINE void transpose_tile(Vec (&v)[kLanes]) {
  const float32x4x2_t a = vtrnq_f32(v[0], v[1]);
  const float32x4x2_t b = vtrnq_f32(v[2], v[3]);
  v[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
  v[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
  v[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
  v[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

// --- whole numbers: see vec_avx512.h ---

using Ints = int32x4_t;
struct alignas(16) Codebook {
  uint8_t at[16];
};
OUTBOARD_INLINE uint8x16_t as_bytes(Ints x) { return vreinterpretq_u8_s32(x); }
OUTBOARD_INLINE Ints from_bytes(uint8x16_t x) { return vreinterpretq_s32_u8(x); }
OUTBOARD_INLINE Ints all_ints(int x) { return vdupq_n_s32(x); }
OUTBOARD_INLINE Ints all_bytes(int x) { return from_bytes(vdupq_n_u8(static_cast<uint8_t>(x))); }
OUTBOARD_INLINE Ints all_64(uint64_t x) { return vreinterpretq_s32_u64(vdupq_n_u64(x)); }
OUTBOARD_INLINE Ints add(Ints a, Ints b) { return vaddq_s32(a, b); }
OUTBOARD_INLINE Ints sub(Ints a, Ints b) { return vsubq_s32(a, b); }
OUTBOARD_INLINE Ints larger(Ints a, Ints b) { return vmaxq_s32(a, b); }
OUTBOARD_INLINE Ints smaller(Ints a, Ints b) { return vminq_s32(a, b); }
OUTBOARD_INLINE Ints bit_and(Ints a, Ints b) { return vandq_s32(a, b); }
OUTBOARD_INLINE Ints bit_or(Ints a, Ints b) { return vorrq_s32(a, b); }
OUTBOARD_INLINE Ints bit_xor(Ints a, Ints b) { return veorq_s32(a, b); }
// `other` has no bit of the mask.
OUTBOARD_INLINE Ints and_or(Ints x, Ints mask, Ints other) {
  return vbslq_s32(vreinterpretq_u32_s32(mask), x, other);
}
OUTBOARD_INLINE Ints left_each(Ints x, Ints n) { return vshlq_s32(x, n); }
// Shifts by operators: known numbers become part of the instruction, and none is no instruction.
OUTBOARD_INLINE Ints left(Ints x, int n) { return x << n; }
OUTBOARD_INLINE Ints right(Ints x, int n) {
  return vreinterpretq_s32_u32(vreinterpretq_u32_s32(x) >> n);
}
OUTBOARD_INLINE Ints turn(Ints x, int n) { return n < 0 ? right(x, -n) : left(x, n); }
OUTBOARD_INLINE Ints right_signed(Ints x, int n) { return x >> n; }
OUTBOARD_INLINE Ints high_nibbles(Ints x) {
  return from_bytes(vshrq_n_u8(as_bytes(x), 4));
}  // of bytes
OUTBOARD_INLINE Vec to_float(Ints x) { return vcvtq_f32_s32(x); }
OUTBOARD_INLINE Ints to_ints(Vec x) { return vcvtnq_s32_f32(x); }
OUTBOARD_INLINE Ints as_ints(Vec x) { return vreinterpretq_s32_f32(x); }
OUTBOARD_INLINE Vec as_floats(Ints x) { return vreinterpretq_f32_s32(x); }
OUTBOARD_INLINE Vec negated(Vec x) { return vnegq_f32(x); }
OUTBOARD_INLINE int largest_lane(Ints x) { return vmaxvq_s32(x); }
OUTBOARD_INLINE int sum_lanes(Ints x) { return vaddvq_s32(x); }
OUTBOARD_INLINE void store_low_bytes(int8_t* p, Ints x) {
  const int16x4_t words = vmovn_s32(x);
  const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
  std::memcpy(p, &bytes, 4);
}

OUTBOARD_INLINE Ints load_pieces(const uint8_t* p, size_t stride, size_t k) {
  return from_bytes(vld1q_u8(p + k * stride));
}
struct Piece {
  uint64_t low, high;
};
template <typename Get>
OUTBOARD_INLINE Ints put_pieces(Get get, size_t k) {
  const Piece bytes = get(k);
  return vreinterpretq_s32_u64(vcombine_u64(vcreate_u64(bytes.low), vcreate_u64(bytes.high)));
}
OUTBOARD_INLINE Ints zip_low_32(Ints a, Ints b) { return vzip1q_s32(a, b); }
OUTBOARD_INLINE Ints zip_high_32(Ints a, Ints b) { return vzip2q_s32(a, b); }
OUTBOARD_INLINE Ints zip_low_64(Ints a, Ints b) {
  return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
OUTBOARD_INLINE Ints zip_high_64(Ints a, Ints b) {
  return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
OUTBOARD_INLINE Ints drop_2_bytes(Ints x) {
  return from_bytes(vextq_u8(as_bytes(x), vdupq_n_u8(0), 2));
}
OUTBOARD_INLINE Ints look_up(Ints index, const Codebook& book) {
  return from_bytes(vqtbl1q_u8(vld1q_u8(book.at), as_bytes(index)));
}
OUTBOARD_INLINE Ints spread_byte(Ints x, int b) {
  constexpr uint8_t kFirst[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
  return from_bytes(
      vqtbl1q_u8(as_bytes(x), vaddq_u8(vld1q_u8(kFirst), vdupq_n_u8(static_cast<uint8_t>(b)))));
}
OUTBOARD_INLINE Ints spread_2_bytes(Ints x, int b) {
  const uint8x8_t first = vdup_n_u8(static_cast<uint8_t>(b));
  const uint8x8_t second = vdup_n_u8(static_cast<uint8_t>(b + 1));
  return from_bytes(vqtbl1q_u8(as_bytes(x), vcombine_u8(first, second)));
}
OUTBOARD_INLINE Ints set_16_where(Ints x, Ints spread, Ints bits) {
  return and_or(from_bytes(vtstq_u8(as_bytes(spread), as_bytes(bits))), all_bytes(16), x);
}
OUTBOARD_INLINE Ints negate_where(Ints x, Ints spread, Ints bits) {
  const uint8x16_t set = vtstq_u8(as_bytes(spread), as_bytes(bits));
  return from_bytes(vsubq_u8(veorq_u8(as_bytes(x), set), set));
}
OUTBOARD_INLINE Vec low_half_to_float(Ints x) {
  return vcvt_f32_f16(vreinterpret_f16_s16(vmovn_s32(x)));
}
OUTBOARD_INLINE Vec load_halves(const uint8_t* p, size_t stride) {
  const auto half = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    return reinterpret_cast<const uint16_t*>(p + row * stride);  // a load that needs no alignment
  };
  uint16x4_t halves = vld1_dup_u16(half(0));
  halves = vld1_lane_u16(half(1), halves, 1);
  halves = vld1_lane_u16(half(2), halves, 2);
  halves = vld1_lane_u16(half(3), halves, 3);
  return vcvt_f32_f16(vreinterpret_f16_u16(halves));
}

OUTBOARD_INLINE Ints load_32_bits(const uint8_t* p, size_t stride) {
  const auto four_bytes = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
    return reinterpret_cast<const int32_t*>(p + row * stride);  // a load that needs no alignment
  };
  Ints x = vld1q_dup_s32(four_bytes(0));
  x = vld1q_lane_s32(four_bytes(1), x, 1);
  x = vld1q_lane_s32(four_bytes(2), x, 2);
  return vld1q_lane_s32(four_bytes(3), x, 3);
}

constexpr bool kReadsPieces = false;
// Multiplications take single lanes of a register: one load for all four.
using FourFloats = Vec;
OUTBOARD_INLINE FourFloats four_floats(const std::byte* p) {
  return vld1q_f32(reinterpret_cast<const float*>(p));
}
template <int kWhich>
OUTBOARD_INLINE Vec copies(FourFloats x) {
  return vdupq_laneq_f32(x, kWhich);
}

// With one token, loads of the next group stay behind this one: a compiler that mixes the groups of
// a block, all unrolled, runs out of registers.
OUTBOARD_INLINE void end_of_group() { asm volatile("" ::: "memory"); }

constexpr int kByteZero = 0;
constexpr size_t kWordsAt = 80;  // bytes of a packed group before the words, if any
constexpr size_t kWordBytes = 0;
#if defined(__ARM_FEATURE_MATMUL_INT8)
// Products of 2 x 8 by 8 x 2 matrices of bytes: two rows by both planes of eight inputs.
constexpr bool kRowPairs = true;
constexpr int token_tile(bool bytes, int) { return bytes ? 4 : 3; }
constexpr int kPanelTile = 2;  // while the inputs of the tokens stay in registers
constexpr int sum_bound(int) { return 255; }
constexpr int panel_bound(int, bool) { return 255; }
constexpr float kMostInput = 127 * 256 + 127;
template <bool kBytes>
OUTBOARD_INLINE void store_inputs(std::byte* group, int i, Ints q) {
  auto* planes = reinterpret_cast<int8_t*>(group);
  if constexpr (kBytes) return store_low_bytes(planes + i * kLanes, q);
  planes += i / 2 * 16 + i % 2 * 4;
  store_low_bytes(planes, right_signed(add(q, all_ints(128)), 8));
  store_low_bytes(planes + 8, q);
}
template <int kBound, bool kBytes>
struct IntegerSum {
  static constexpr int kPlanes = 1;
  // Of rows 0 and 1, rows 2 and 3: each row's sum with hi and with lo, or with halves of the bytes.
  Ints pairs[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};

  OUTBOARD_INLINE void add(int plane, int c, int end, Ints w, const std::byte* group) {
    (void)plane, (void)end;
    const int8x16_t weights = vreinterpretq_s8_s32(w);
    const auto* x = reinterpret_cast<const int8_t*>(group);
    Ints& sum = pairs[c % 2];
    if constexpr (kBytes) {
      int64_t eight;
      std::memcpy(&eight, x + 8 * (c / 2), sizeof(eight));
      sum = vdotq_s32(sum, weights, vreinterpretq_s8_s64(vdupq_n_s64(eight)));
    } else {
      sum = vmmlaq_s32(sum, weights, vld1q_s8(x + 16 * (c / 2)));
    }
  }
  OUTBOARD_INLINE void next_plane() {}
  OUTBOARD_INLINE Ints total() const {
    if constexpr (kBytes) return vpaddq_s32(pairs[0], pairs[1]);
    const Ints hi = vuzp1q_s32(pairs[0], pairs[1]);
    const Ints lo = vuzp2q_s32(pairs[0], pairs[1]);
    return vaddq_s32(vshlq_n_s32(hi, 8), lo);
  }
};
// The same of bytes: two rows by two tokens.
template <int kBegin, int kEnd>
OUTBOARD_INLINE void sums_of_two(const Ints* weights, const std::byte* x0, const std::byte* x1,
                                 Ints& total0, Ints& total1) {
  Ints pairs[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};  // of rows 0 and 1, rows 2 and 3
  OUTBOARD_UNROLL
  for (int c = kBegin; c < kEnd; c += 2) {
    const int64x2_t a = vld1q_s64(reinterpret_cast<const int64_t*>(x0 + c / 4 * 16));
    const int64x2_t b = vld1q_s64(reinterpret_cast<const int64_t*>(x1 + c / 4 * 16));
    const int8x16_t x = vreinterpretq_s8_s64(c % 4 == 0 ? vzip1q_s64(a, b) : vzip2q_s64(a, b));
    pairs[0] = vmmlaq_s32(pairs[0], vreinterpretq_s8_s32(weights[c]), x);
    pairs[1] = vmmlaq_s32(pairs[1], vreinterpretq_s8_s32(weights[c + 1]), x);
  }
  total0 = vuzp1q_s32(pairs[0], pairs[1]);
  total1 = vuzp2q_s32(pairs[0], pairs[1]);
}
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr bool kRowPairs = false;
constexpr int token_tile(bool, int halves) { return halves == 1 ? 8 : 6; }
constexpr int kPanelTile = 1;
constexpr int sum_bound(int) { return 255; }
constexpr int panel_bound(int, bool) { return 255; }
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
  Ints sum = vdupq_n_s32(0);

  OUTBOARD_INLINE void add(int plane, int c, int end, Ints w, const std::byte* group) {
    (void)end;
    const int8x16_t weights = vreinterpretq_s8_s32(w);
    const int8x16_t x =
        vld1q_s8(reinterpret_cast<const int8_t*>(group) + 32 * plane + 16 * (c / 4));
    switch (c % 4) {
      case 0:
        sum = vdotq_laneq_s32(sum, weights, x, 0);
        break;
      case 1:
        sum = vdotq_laneq_s32(sum, weights, x, 1);
        break;
      case 2:
        sum = vdotq_laneq_s32(sum, weights, x, 2);
        break;
      default:
        sum = vdotq_laneq_s32(sum, weights, x, 3);
    }
  }
  OUTBOARD_INLINE void next_plane() { sum = vshlq_n_s32(sum, 8); }
  OUTBOARD_INLINE Ints total() const { return sum; }
};
#else
constexpr bool kRowPairs = false;
constexpr int kPanelTile = 1;
// Products are added up in 16 bits as long as they cannot overflow: q = 255 * hi + lo with both at
// most 127 in size.
constexpr int token_tile(bool, int) { return 4; }
constexpr int sum_bound(int most) {
  return most <= 15 ? 15 : most <= 31 ? 31 : most <= 63 ? 63 : 255;
}
constexpr int panel_bound(int most, bool) { return sum_bound(most); }
constexpr float kMostInput = 127 * 255 + 127;
template <bool kBytes>
OUTBOARD_INLINE void store_inputs(std::byte* group, int i, Ints q) {
  auto* planes = reinterpret_cast<int8_t*>(group) + i * kLanes;
  if constexpr (kBytes) return store_low_bytes(planes, q);
  // 257 / 65536 is so near 1 / 255 that no q is rounded to another hi.
  const Ints hi = right_signed(add(add(left(q, 8), q), all_ints(1 << 15)), 16);
  store_low_bytes(planes, hi);
  store_low_bytes(planes + 32, add(q, hi));  // the low byte of q - 255 * hi
}
template <int kBound, bool kBytes>
struct IntegerSum {
  static constexpr int kPlanes = kBytes ? 1 : 2;
  int16x8_t words[2] = {vdupq_n_s16(0), vdupq_n_s16(0)};
  Ints pairs[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};  // rows 0, 0, 1, 1 and 2, 2, 3, 3

  OUTBOARD_INLINE void add(int plane, int c, int end, Ints w, const std::byte* group) {
    constexpr int kRun = kBound == 255 ? 2 : 32767 / (127 * kBound);
    int32_t four;
    std::memcpy(&four, group + 32 * plane + 4 * c, sizeof(four));
    const int8x8_t x = vreinterpret_s8_s32(vdup_n_s32(four));
    const int8x16_t weights = vreinterpretq_s8_s32(w);
    if (c % kRun == 0) {
      words[0] = vmull_s8(vget_low_s8(weights), x);
      words[1] = vmull_s8(vget_high_s8(weights), x);
    } else {
      words[0] = vmlal_s8(words[0], vget_low_s8(weights), x);
      words[1] = vmlal_s8(words[1], vget_high_s8(weights), x);
    }
    if ((c + 1) % kRun == 0 || c + 1 == end) {
      pairs[0] = vpadalq_s16(pairs[0], words[0]);
      pairs[1] = vpadalq_s16(pairs[1], words[1]);
    }
  }
  OUTBOARD_INLINE void next_plane() {
    for (int i = 0; i < 2; ++i) {
      pairs[i] = vsubq_s32(vshlq_n_s32(pairs[i], 8), pairs[i]);
      words[i] = vdupq_n_s16(0);
    }
  }
  OUTBOARD_INLINE Ints total() const { return vpaddq_s32(pairs[0], pairs[1]); }
};
#endif

}  // namespace
}  // namespace outboard::devices::cpu
