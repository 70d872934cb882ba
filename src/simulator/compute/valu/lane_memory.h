// Memory as 32 lanes see it, compiled with the bodies for their vectors.
#pragma once

#include <cstddef>

#include "simulator/compute/valu/lanes.h"
#include "simulator/compute/valu/operations.h"

namespace outboard::simulator::compute::valu {
namespace {

void join_addresses(uint64_t* out, const uint32_t* low, const uint32_t* high, uint64_t offset) {
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) {
    out[i] = (low[i] | static_cast<uint64_t>(high[i]) << 32) + offset;
  }
}
void add_addresses(uint64_t* out, const uint32_t* low, uint64_t base) {
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) out[i] = base + low[i];
}

template <typename T>
void bounds(const T* a, T* low, T* high) {
  T least = ~T{0}, most = 0;
  for (int i = 0; i < kLanes; ++i) {
    least = a[i] < least ? a[i] : least;
    most = a[i] > most ? a[i] : most;
  }
  *low = least;
  *high = most;
}
void offsets(uint32_t* out, const uint64_t* a, uint64_t low) {
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) out[i] = static_cast<uint32_t>(a[i] - low);
}
void stand_in(uint32_t* out, const uint32_t* a, uint32_t mask) {
  alignas(64) uint32_t select[kLanes];
  spread(mask, select);
  const uint32_t other = a[__builtin_ctz(mask)];
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) out[i] = (a[i] & select[i]) | (other & ~select[i]);
}
bool same(const uint32_t* a, uint32_t mask) {
  alignas(64) uint32_t select[kLanes];
  spread(mask, select);
  const uint32_t one = a[__builtin_ctz(mask)];
  VecU apart{};
  for (int i = 0; i < kLanes; i += kWidth)
    apart |= (load_word(a + i) ^ one) & load_word(select + i);
  return !any(apart);
}
uint32_t above(const uint32_t* a, uint32_t limit) {
  alignas(64) uint32_t flags[kLanes];
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) flags[i] = a[i] > limit ? ~0U : 0U;
  return collect(flags);
}

uint64_t touched_lines(const uint32_t* a, uint32_t low, uint32_t bytes, int shift) {
  uint64_t window = 0;
  for (int i = 0; i < kLanes; ++i) {
    window |= uint64_t{1} << ((a[i] - low) >> shift);
    window |= uint64_t{1} << ((a[i] - low + bytes - 1) >> shift);
  }
  return window;
}

template <typename T>
OUTBOARD_VALU_INLINE T read(const std::byte* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

alignas(64) constexpr uint32_t kNumbers[kLanes] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                                   11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                                   22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
// Lane i's bytes lie at base + a[i]: one lane's after the other's?
OUTBOARD_VALU_INLINE bool side_by_side(const uint32_t* a, uint32_t bytes) {
  VecU apart{};
  for (int i = 0; i < kLanes; i += kWidth)
    apart |= load_word(a + i) ^ (a[0] + load_word(kNumbers + i) * bytes);
  return !any(apart);
}

// Bytes and 16-bit words, extended.
template <typename T>
void load_small(uint32_t* to, const std::byte* base, const uint32_t* a) {
  for (int i = 0; i < kLanes; ++i)
    to[i] = static_cast<uint32_t>(static_cast<int32_t>(read<T>(base + a[i])));
}

OUTBOARD_VALU_INLINE VecU gather(const std::byte* base, VecU index) {
#if defined(__AVX512F__)
  return (VecU)_mm512_i32gather_epi32((__m512i)index, base, 1);
#elif defined(__AVX2__)
  return (VecU)_mm256_i32gather_epi32(reinterpret_cast<const int*>(base), (__m256i)index, 1);
#else
  VecU out;
  for (int i = 0; i < kWidth; ++i) out[i] = read<uint32_t>(base + index[i]);
  return out;
#endif
}

// `to` may be where the offsets are: no vector of them is read after its lanes are written.
template <int kDwords>
void load_dwords(uint32_t* to, const std::byte* base, const uint32_t* a) {
  if constexpr (kDwords == 1) {
    if (side_by_side(a, 4)) {
      __builtin_memcpy(to, base + a[0], kLanes * 4);
      return;
    }
  }
  for (int i = 0; i < kLanes; i += kWidth) {
    const VecU index = load_word(a + i);
    for (int d = 0; d < kDwords; ++d) store(to + kLanes * d + i, gather(base + 4 * d, index));
  }
}

#if defined(__AVX512F__) || defined(__AVX2__)
// Four vectors of whole lanes, 128 bits each, into one of each dword: transposed inside their
// 128-bit parts.
OUTBOARD_VALU_INLINE void transpose(VecU (&v)[4]) {
#if defined(__AVX512F__)
  const __m512i a = (__m512i)v[0], b = (__m512i)v[1], c = (__m512i)v[2], d = (__m512i)v[3];
  const __m512i low01 = _mm512_unpacklo_epi32(a, b), high01 = _mm512_unpackhi_epi32(a, b);
  const __m512i low23 = _mm512_unpacklo_epi32(c, d), high23 = _mm512_unpackhi_epi32(c, d);
  v[0] = (VecU)_mm512_unpacklo_epi64(low01, low23);
  v[1] = (VecU)_mm512_unpackhi_epi64(low01, low23);
  v[2] = (VecU)_mm512_unpacklo_epi64(high01, high23);
  v[3] = (VecU)_mm512_unpackhi_epi64(high01, high23);
#else
  const __m256i a = (__m256i)v[0], b = (__m256i)v[1], c = (__m256i)v[2], d = (__m256i)v[3];
  const __m256i low01 = _mm256_unpacklo_epi32(a, b), high01 = _mm256_unpackhi_epi32(a, b);
  const __m256i low23 = _mm256_unpacklo_epi32(c, d), high23 = _mm256_unpackhi_epi32(c, d);
  v[0] = (VecU)_mm256_unpacklo_epi64(low01, low23);
  v[1] = (VecU)_mm256_unpackhi_epi64(low01, low23);
  v[2] = (VecU)_mm256_unpacklo_epi64(high01, high23);
  v[3] = (VecU)_mm256_unpackhi_epi64(high01, high23);
#endif
}

// Sixteen bytes a lane.
template <>
void load_dwords<4>(uint32_t* to, const std::byte* base, const uint32_t* a) {
  const auto lane = [&](int i) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(base + a[i]));
  };
  const bool together = side_by_side(a, 16);
  const std::byte* const first = base + a[0];
  for (int i = 0; i < kLanes; i += kWidth) {
    VecU v[4];
#if defined(__AVX512F__)
    // Of lanes side by side whole vectors, whose lanes 4 k + n the transposition leaves at
    // 4 n + k: turned back afterwards.
    const __m512i turned = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    if (together) {
      for (int k = 0; k < 4; ++k) v[k] = read<VecU>(first + 16 * i + 64 * k);
      transpose(v);
      for (VecU& each : v) each = (VecU)_mm512_permutexvar_epi32(turned, (__m512i)each);
    } else {
      for (int k = 0; k < 4; ++k) {
        __m512i x = _mm512_castsi128_si512(lane(i + k));
        x = _mm512_inserti32x4(x, lane(i + k + 4), 1);
        x = _mm512_inserti32x4(x, lane(i + k + 8), 2);
        v[k] = (VecU)_mm512_inserti32x4(x, lane(i + k + 12), 3);
      }
      transpose(v);
    }
#else
    const __m256i turned = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    if (together) {
      for (int k = 0; k < 4; ++k) v[k] = read<VecU>(first + 16 * i + 32 * k);
      transpose(v);
      for (VecU& each : v) each = (VecU)_mm256_permutevar8x32_epi32((__m256i)each, turned);
    } else {
      for (int k = 0; k < 4; ++k) v[k] = (VecU)_mm256_set_m128i(lane(i + k + 4), lane(i + k));
      transpose(v);
    }
#endif
    for (int d = 0; d < 4; ++d) store(to + kLanes * d + i, v[d]);
  }
}
#endif

template <int kDwords>
void store_dwords(std::byte* base, const uint32_t* a, const uint32_t* from, uint32_t mask) {
  if (kDwords == 1 && mask == ~0U && side_by_side(a, 4)) {
    __builtin_memcpy(base + a[0], from, kLanes * 4);
    return;
  }
  for (uint32_t left = mask; left != 0; left &= left - 1) {
    const int i = __builtin_ctz(left);
    uint32_t data[kDwords];
    for (int d = 0; d < kDwords; ++d) data[d] = from[kLanes * d + i];
    __builtin_memcpy(base + a[i], data, sizeof(data));
  }
}

// out[i] = in[from[i] / 4 % 32], zero when the lane there is not active (ds_bpermute).
void permute(uint32_t* out, const uint32_t* in, const uint32_t* from, uint32_t offset,
             uint32_t active) {
  alignas(64) uint32_t value[kLanes];
#if defined(__AVX512F__)
  const __m512i low = _mm512_maskz_mov_epi32(static_cast<__mmask16>(active), _mm512_load_si512(in));
  const __m512i high =
      _mm512_maskz_mov_epi32(static_cast<__mmask16>(active >> 16), _mm512_load_si512(in + 16));
  for (int i = 0; i < kLanes; i += kWidth) {
    const VecU index = (load_word(from + i) + offset) >> 2;  // its low five bits count
    store(value + i, (VecU)_mm512_permutex2var_epi32(low, (__m512i)index, high));
  }
#else
  alignas(64) uint32_t mask[kLanes];
  spread(active, mask);
  for (int i = 0; i < kLanes; ++i) {
    const uint32_t lane = (from[i] + offset) / 4 % kLanes;
    value[i] = in[lane] & mask[lane];
  }
#endif
  if (active == ~0U) {
    for (int i = 0; i < kLanes; i += kWidth) store(out + i, load_word(value + i));
  } else {
    blend(out, value, active);
  }
}

constexpr LaneMemory kLaneMemory = {
    join_addresses,
    add_addresses,
    bounds<uint64_t>,
    offsets,
    bounds<uint32_t>,
    stand_in,
    same,
    above,
    touched_lines,
    permute,
    load_small<uint8_t>,
    load_small<int8_t>,
    load_small<uint16_t>,
    load_small<int16_t>,
    {load_dwords<1>, load_dwords<2>, load_dwords<3>, load_dwords<4>},
    {store_dwords<1>, store_dwords<2>, store_dwords<3>, store_dwords<4>}};

}  // namespace
}  // namespace outboard::simulator::compute::valu
