// How the bodies of the vector ALU walk over 32 lanes, and the few things that need the names of an
// instruction set. Included by the files that are compiled once for each set of instructions.
//
// Nothing inline with external linkage may appear in those files (the linker would keep one copy
// for all processors, perhaps the newest one's): hence the unnamed namespace and no std functions.
#pragma once

#include <cstdint>

#include "simulator/compute/valu/operations.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define OUTBOARD_VALU_INLINE inline __attribute__((always_inline))
// In front of a loop over lanes. A destination may be the same register as a source, so that
// iteration i writes what iteration i has read; no iteration depends on another one.
#if defined(__clang__)
#define OUTBOARD_VALU_LANES _Pragma("clang loop vectorize(assume_safety) interleave(disable)")
#else
#define OUTBOARD_VALU_LANES _Pragma("GCC ivdep")
#endif

namespace outboard::simulator::compute::valu {
namespace {

constexpr int kLanes = 32;  // of a register; the second half of a 64-bit one follows it

OUTBOARD_VALU_INLINE uint32_t bits(float x) { return __builtin_bit_cast(uint32_t, x); }
OUTBOARD_VALU_INLINE float as_float(uint32_t x) { return __builtin_bit_cast(float, x); }
OUTBOARD_VALU_INLINE uint64_t bits(double x) { return __builtin_bit_cast(uint64_t, x); }
OUTBOARD_VALU_INLINE double as_double(uint64_t x) { return __builtin_bit_cast(double, x); }
OUTBOARD_VALU_INLINE uint64_t join(const uint32_t* x, int lane) {
  return x[lane] | static_cast<uint64_t>(x[kLanes + lane]) << 32;
}
OUTBOARD_VALU_INLINE void split(uint32_t* out, int lane, uint64_t x) {
  out[lane] = static_cast<uint32_t>(x);
  out[kLanes + lane] = static_cast<uint32_t>(x >> 32);
}

// --- Vectors of the machine's width, for what the compiler does not find by itself ---

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#elif defined(__aarch64__)
constexpr int kWidth = 4;
#else
constexpr int kWidth = 4;
#endif

typedef float VecF __attribute__((vector_size(kWidth * 4)));
typedef uint32_t VecU __attribute__((vector_size(kWidth * 4)));
typedef int32_t VecI __attribute__((vector_size(kWidth * 4)));
typedef int8_t VecB __attribute__((vector_size(kWidth * 4)));

// Registers and buffers are aligned to 64 bytes.
OUTBOARD_VALU_INLINE VecF load_float(const uint32_t* p) {
  VecF v;
  __builtin_memcpy(&v, __builtin_assume_aligned(p, sizeof(v)), sizeof(v));
  return v;
}
OUTBOARD_VALU_INLINE VecU load_word(const uint32_t* p) {
  VecU v;
  __builtin_memcpy(&v, __builtin_assume_aligned(p, sizeof(v)), sizeof(v));
  return v;
}
OUTBOARD_VALU_INLINE void store(uint32_t* p, VecF v) {
  __builtin_memcpy(__builtin_assume_aligned(p, sizeof(v)), &v, sizeof(v));
}
OUTBOARD_VALU_INLINE void store(uint32_t* p, VecU v) {
  __builtin_memcpy(__builtin_assume_aligned(p, sizeof(v)), &v, sizeof(v));
}

// a * b + c, rounded once.
OUTBOARD_VALU_INLINE VecF fused(VecF a, VecF b, VecF c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  VecF r;
  for (int i = 0; i < kWidth; ++i) r[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return r;
#endif
}

#if defined(__AVX2__) || defined(__aarch64__)
// Each byte is that byte of the same sixteen of x; place below 16.
OUTBOARD_VALU_INLINE VecU shuffle_bytes(VecU x, VecU place) {
#if defined(__AVX512F__)
  return (VecU)_mm512_shuffle_epi8((__m512i)x, (__m512i)place);
#elif defined(__AVX2__)
  return (VecU)_mm256_shuffle_epi8((__m256i)x, (__m256i)place);
#else
  return vreinterpretq_u32_u8(vqtbl1q_u8(vreinterpretq_u8_u32(x), vreinterpretq_u8_u32(place)));
#endif
}
#endif

OUTBOARD_VALU_INLINE bool any_nan(VecF x) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0;
#elif defined(__aarch64__)
  return vminvq_u32(vceqq_f32(x, x)) == 0;
#else
  return _mm_movemask_ps(_mm_cmpunord_ps(x, x)) != 0;
#endif
}

OUTBOARD_VALU_INLINE bool any(VecU x) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)x, (__m512i)x) != 0;
#elif defined(__AVX2__)
  return _mm256_testz_si256((__m256i)x, (__m256i)x) == 0;
#elif defined(__aarch64__)
  return vmaxvq_u32(x) != 0;
#else
  uint32_t all = 0;
  for (int i = 0; i < kWidth; ++i) all |= x[i];
  return all != 0;
#endif
}

// Bit i: the sign of word i. Of words that are 0 or ~0.
OUTBOARD_VALU_INLINE uint32_t collect(const uint32_t* flags) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(_mm512_load_si512(flags)) |
         static_cast<uint32_t>(_mm512_movepi32_mask(_mm512_load_si512(flags + 16))) << 16;
#elif defined(__x86_64__)
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; i += 4) {
    const __m128i part = _mm_load_si128(reinterpret_cast<const __m128i*>(flags + i));
    mask |= static_cast<uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(part))) << i;
  }
  return mask;
#else
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= flags[i] & (1U << i);
  return mask;
#endif
}

// out[i] = mask bit i ? ~0 : 0.
OUTBOARD_VALU_INLINE void spread(uint32_t mask, uint32_t* out) {
#if defined(__AVX512F__)
  _mm512_store_si512(out, _mm512_movm_epi32(static_cast<__mmask16>(mask)));
  _mm512_store_si512(out + 16, _mm512_movm_epi32(static_cast<__mmask16>(mask >> 16)));
#else
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) out[i] = 0U - (mask >> i & 1);
#endif
}

// --- Bodies out of a function of one lane ---
//
// F takes words and returns a word, which may also be written as what it is (float, int32_t).

template <auto F>
uint32_t words1(uint32_t* d, const uint32_t* a, const uint32_t*, const uint32_t*, uint32_t) {
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) d[i] = static_cast<uint32_t>(F(a[i]));
  return 0;
}
template <auto F>
uint32_t words2(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t*, uint32_t) {
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) d[i] = static_cast<uint32_t>(F(a[i], b[i]));
  return 0;
}
template <auto F>
uint32_t words3(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c, uint32_t) {
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) d[i] = static_cast<uint32_t>(F(a[i], b[i], c[i]));
  return 0;
}

// A lane mask as result: F returns bool.
template <auto F>
uint32_t test2(uint32_t*, const uint32_t* a, const uint32_t* b, const uint32_t*, uint32_t) {
  alignas(64) uint32_t flags[kLanes];
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) flags[i] = F(a[i], b[i]) ? ~0U : 0U;
  return collect(flags);
}
template <auto F>
uint32_t test2_64(uint32_t*, const uint32_t* a, const uint32_t* b, const uint32_t*, uint32_t) {
  alignas(64) uint32_t flags[kLanes];
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) flags[i] = F(join(a, i), join(b, i)) ? ~0U : 0U;
  return collect(flags);
}

// Registers hold what they held where the bits of `mask` are zero.
OUTBOARD_VALU_INLINE void blend(uint32_t* d, const uint32_t* value, uint32_t mask) {
  alignas(64) uint32_t select[kLanes];
  spread(mask, select);
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) d[i] = (value[i] & select[i]) | (d[i] & ~select[i]);
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
