// WMMA: D = A B + C of 16 x 16 matrices (guide, 7.9). A's rows and B's columns lie in lanes 0 to 15
// (and again in 16 to 31), 16 elements from low to high bits of consecutive registers. C and D are
// row-major here: 16 words a row, which is how wave32 holds them in 8 registers.
//
// Each element is C plus the products for k = 0, 1, ... 15, in this order, each addition fused with
// its product and rounded to float32 (int32: exact). The guide gives no order. A NaN result is the
// default one.
#pragma once

#include "simulator/compute/valu/dot.h"

namespace outboard::simulator::compute::valu {
namespace {

constexpr int kSize = 16;

// Element k of all 16 rows (columns): registers hold two each.
template <bool kBfloat>
OUTBOARD_VALU_INLINE void elements(const uint32_t* registers, float (*out)[kSize]) {
  for (int r = 0; r < kSize / 2; ++r) {
    for (int i = 0; i < kSize; i += kWidth) {
      const VecU x = load_word(registers + kLanes * r + i);
      const VecF low = kBfloat ? low_bfloat(x) : widen(x);
      const VecF high = kBfloat ? high_bfloat(x) : widen(x >> 16);
      __builtin_memcpy(out[2 * r] + i, &low, sizeof(low));
      __builtin_memcpy(out[2 * r + 1] + i, &high, sizeof(high));
    }
  }
}

OUTBOARD_VALU_INLINE VecF broadcast(float x) { return VecF{} + x; }

// sum += A B.
template <bool kBfloat>
OUTBOARD_VALU_INLINE void multiply(const uint32_t* a, const uint32_t* b, uint32_t* sum) {
  alignas(64) float x[kSize][kSize], y[kSize][kSize];
  elements<kBfloat>(a, x);
  elements<kBfloat>(b, y);
  constexpr int kRows = 8;  // at a time, so that their sums stay in registers
  for (int column = 0; column < kSize; column += kWidth) {
    for (int row = 0; row < kSize; row += kRows) {
      VecF sums[kRows];
      for (int i = 0; i < kRows; ++i) sums[i] = load_float(sum + kSize * (row + i) + column);
      for (int k = 0; k < kSize; ++k) {
        VecF right;
        __builtin_memcpy(&right, y[k] + column, sizeof(right));
        for (int i = 0; i < kRows; ++i) sums[i] = fused(broadcast(x[k][row + i]), right, sums[i]);
      }
      for (int i = 0; i < kRows; ++i) store(sum + kSize * (row + i) + column, sums[i]);
    }
  }
  for (int i = 0; i < kSize * kSize; ++i) sum[i] = is_nan(sum[i]) ? kDefaultNan : sum[i];
}

template <bool kBfloat>
uint32_t matrix_f32(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                    uint32_t) {
  alignas(64) uint32_t sum[kSize * kSize];
  for (int i = 0; i < kSize * kSize; ++i) sum[i] = c[i];
  multiply<kBfloat>(a, b, sum);
  for (int i = 0; i < kSize * kSize; ++i) d[i] = sum[i];
  return 0;
}
// C and D in the low halves of words. The sum is kept in float32 and rounded once.
template <bool kBfloat>
uint32_t matrix_half(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                     uint32_t) {
  alignas(64) uint32_t sum[kSize * kSize];
  for (int i = 0; i < kSize * kSize; i += kWidth) {
    const VecU x = load_word(c + i);
    store(sum + i, kBfloat ? low_bfloat(x) : widen(x));
  }
  multiply<kBfloat>(a, b, sum);
  for (int i = 0; i < kSize * kSize; i += kWidth) {
    if constexpr (!kBfloat) store(d + i, narrow(load_float(sum + i)));
  }
  if constexpr (kBfloat) {
    for (int i = 0; i < kSize * kSize; ++i) d[i] = to_bfloat(sum[i]);
  }
  return 0;
}

// kRegisters of bytes (4) or of 4-bit elements (2), multiplied by kProducts.
template <Clamp kClamp, int kRegisters, auto kProducts>
uint32_t matrix_int(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                    uint32_t) {
  alignas(64) uint32_t sum[kSize * kSize];
  for (int row = 0; row < kSize; ++row) {
    for (int column = 0; column < kSize; column += kWidth) {
      VecU products = {};
      for (int r = 0; r < kRegisters; ++r) {
        const VecU left = VecU{} + a[kLanes * r + row];
        products += kProducts(left, load_word(b + kLanes * r + column));
      }
      store(sum + kSize * row + column, products);
    }
  }
  for (int i = 0; i < kSize * kSize; ++i) {
    const int64_t total = int64_t{static_cast<I>(sum[i])} + static_cast<I>(c[i]);
    sum[i] = static_cast<U>(kClamp == Clamp::kNone ? static_cast<I>(total)
                                                   : within(total, kMin32, kMax32));
  }
  for (int i = 0; i < kSize * kSize; ++i) d[i] = sum[i];
  return 0;
}
template <Clamp kClamp, bool kSignedA, bool kSignedB>
constexpr auto matrix_iu8 =
    matrix_int<kClamp, 4, [](VecU a, VecU b) { return products4<kSignedA, kSignedB>(a, b); }>;
template <Clamp kClamp, bool kSignedA, bool kSignedB>
constexpr auto matrix_iu4 =
    matrix_int<kClamp, 2, [](VecU a, VecU b) { return products8<kSignedA, kSignedB>(a, b); }>;

}  // namespace
}  // namespace outboard::simulator::compute::valu
