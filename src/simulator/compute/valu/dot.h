// Dot products of 2, 4 and 8 elements. Source: RDNA3 ISA guide, VOP3P.
#pragma once

#include "simulator/compute/valu/float16.h"
#include "simulator/compute/valu/integer.h"

namespace outboard::simulator::compute::valu {
namespace {

// Vectors of 16-bit elements for the products of bytes.
typedef int16_t VecS16 __attribute__((vector_size(kWidth * 4)));
typedef uint16_t VecU16 __attribute__((vector_size(kWidth * 4)));

// a0 * b0 + a1 * b1 of pairs of int16.
OUTBOARD_VALU_INLINE VecU pair_products(VecS16 a, VecS16 b) {
#if defined(__AVX512F__)
  return (VecU)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (VecU)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (VecU)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
  const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
  const int32x4_t high = vmull_s16(vget_high_s16(a), vget_high_s16(b));
  return (VecU)vpaddq_s32(low, high);
#endif
}
template <bool kSigned>
OUTBOARD_VALU_INLINE VecS16 even_bytes(VecU x) {
  const VecS16 v = (VecS16)x;
  return kSigned ? (v << 8) >> 8 : v & 0xff;
}
template <bool kSigned>
OUTBOARD_VALU_INLINE VecS16 odd_bytes(VecU x) {
  return kSigned ? (VecS16)x >> 8 : (VecS16)((VecU16)x >> 8);
}
template <bool kSignedA, bool kSignedB>
OUTBOARD_VALU_INLINE VecU products4(VecU a, VecU b) {
  return pair_products(even_bytes<kSignedA>(a), even_bytes<kSignedB>(b)) +
         pair_products(odd_bytes<kSignedA>(a), odd_bytes<kSignedB>(b));
}
// Of the 4-bit elements at even places, then at odd ones, spread to bytes.
template <bool kSigned>
OUTBOARD_VALU_INLINE VecU nibbles(VecU x, int odd) {
  x = (odd != 0 ? x >> 4 : x) & 0x0f0f0f0f;
  if constexpr (!kSigned) return x;
  const VecU sign = x & 0x08080808;
  return x | (sign << 1) | (sign << 2) | (sign << 3) | (sign << 4);
}
template <bool kSignedA, bool kSignedB>
OUTBOARD_VALU_INLINE VecU products8(VecU a, VecU b) {
  return products4<kSignedA, kSignedB>(nibbles<kSignedA>(a, 0), nibbles<kSignedB>(b, 0)) +
         products4<kSignedA, kSignedB>(nibbles<kSignedA>(a, 1), nibbles<kSignedB>(b, 1));
}

// kClamp: the sum saturates, as int32 when any factor is signed and in v_dot*_i32, else as uint32.
enum class Clamp { kNone, kSigned, kUnsigned };

template <Clamp kClamp, auto kProducts>
uint32_t dot(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c, uint32_t) {
  for (int i = 0; i < kLanes; i += kWidth) {
    const VecU x = kProducts(load_word(a + i), load_word(b + i)), y = load_word(c + i);
    VecU sum = x + y;
    if constexpr (kClamp == Clamp::kUnsigned) sum |= (VecU)(sum < x);
    if constexpr (kClamp == Clamp::kSigned) {
      const VecI overflow = (VecI)((x ^ sum) & (y ^ sum)) >> 31;
      const VecU limit = (VecU)((VecI)y >> 31) ^ 0x7fffffff;
      sum = select(overflow, limit, sum);
    }
    store(d + i, sum);
  }
  return 0;
}
template <Clamp kClamp, bool kSignedA, bool kSignedB>
constexpr auto dot4 =
    dot<kClamp, [](VecU a, VecU b) { return products4<kSignedA, kSignedB>(a, b); }>;
template <Clamp kClamp, bool kSignedA, bool kSignedB>
constexpr auto dot8 =
    dot<kClamp, [](VecU a, VecU b) { return products8<kSignedA, kSignedB>(a, b); }>;

OUTBOARD_VALU_INLINE VecF low_bfloat(VecU x) { return (VecF)(x << 16); }
OUTBOARD_VALU_INLINE VecF high_bfloat(VecU x) { return (VecF)(x & 0xffff0000); }
// To nearest even.
OUTBOARD_VALU_INLINE uint32_t to_bfloat(uint32_t x) {
  return is_nan(x) ? x >> 16 | 0x40 : (x + 0x7fff + (x >> 16 & 1)) >> 16;
}

// The guide adds the low product, then the high one, to S2. Products of float16s and of bfloat16s
// are exact in float32 (but for overflow and underflow of the latter).
template <bool kBfloat>
OUTBOARD_VALU_INLINE Halves widened(VecU x) {
  if constexpr (kBfloat) {
    return {low_bfloat(x), high_bfloat(x)};
  } else {
    return widen_pairs(x);
  }
}
// In the order of words.
template <bool kBfloat>
OUTBOARD_VALU_INLINE Halves unzipped(Halves x) {
  return kBfloat ? x : unzip(x);
}
template <bool kBfloat>
OUTBOARD_VALU_INLINE VecF dot2_of(VecU a, VecU b, VecF sum, uint32_t extra) {
  const Halves x = widened<kBfloat>(a), y = widened<kBfloat>(b);
  const Halves products = unzipped<kBfloat>({x.a * y.a, x.b * y.b});
  const VecF total = (sum + products.a) + products.b;
  if (!any_nan(total)) [[likely]]
    return total;
  const Halves p = unzipped<kBfloat>(x), q = unzipped<kBfloat>(y);
  const VecF first = settle(sum + settle(products.a, p.a, q.a, p.a, extra), sum, p.a, q.a, extra);
  return settle(first + settle(products.b, p.b, q.b, p.b, extra), first, p.b, q.b, extra);
}
template <bool kBfloat>
uint32_t dot2_f32(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                  uint32_t extra) {
  for (int i = 0; i < kLanes; i += kWidth) {
    store(d + i, dot2_of<kBfloat>(load_word(a + i), load_word(b + i), load_float(c + i), extra));
  }
  return 0;
}
// Results of 16 bits: the sum is kept in float32 and rounded once. The guide leaves open how
// precise the hardware's sum is.
template <bool kBfloat>
uint32_t dot2_half(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                   uint32_t extra) {
  for (int i = 0; i < kLanes; i += kWidth) {
    const VecU z = load_word(c + i);
    const VecF sum = dot2_of<kBfloat>(load_word(a + i), load_word(b + i),
                                      kBfloat ? low_bfloat(z) : widen(z), extra);
    if constexpr (kBfloat) {
      store(d + i, sum);
    } else {
      store(d + i, narrow(sum));
    }
  }
  if constexpr (kBfloat) {
    for (int i = 0; i < kLanes; ++i) d[i] = to_bfloat(d[i]);
  }
  return 0;
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
