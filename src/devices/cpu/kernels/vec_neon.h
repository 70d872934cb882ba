// The vector type of simd_*.h for arm64: 4 floats. See vec_avx512.h.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "devices/cpu/kernels/inline.h"

namespace outboard::cpu {
namespace {

using Vec = float32x4_t;
constexpr int kLanes = 4;
constexpr int kTileRows = 4;  // 24 sums and a few inputs in 32 registers
constexpr int kTileTokens = 6;
constexpr int kProductRows = 6;
constexpr int kDirectQueries = 4;

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
OUTBOARD_INLINE float half_to_float(uint16_t bits) {
  return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))), 0);
}
OUTBOARD_INLINE Vec bytes_to_float(const uint8_t* p) {
  uint32_t four;
  std::memcpy(&four, p, sizeof(four));
  const uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
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

}  // namespace
}  // namespace outboard::cpu
