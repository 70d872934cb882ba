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

void bounds(const uint64_t* a, uint64_t* low, uint64_t* high) {
  uint64_t least = ~uint64_t{0}, most = 0;
  for (int i = 0; i < kLanes; ++i) {
    least = a[i] < least ? a[i] : least;
    most = a[i] > most ? a[i] : most;
  }
  *low = least;
  *high = most;
}

uint64_t touched_lines(const uint64_t* a, uint64_t bytes, int shift, uint64_t first) {
  uint64_t window = 0;
  for (int i = 0; i < kLanes; ++i) {
    window |= uint64_t{1} << ((a[i] >> shift) - first);
    window |= uint64_t{1} << (((a[i] + bytes - 1) >> shift) - first);
  }
  return window;
}

template <typename T>
OUTBOARD_VALU_INLINE T read(const std::byte* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

// Bytes and 16-bit words, extended.
template <typename T>
void load_small(uint32_t* to, const std::byte* base, uint64_t start, const uint64_t* a) {
  for (int i = 0; i < kLanes; ++i) {
    to[i] = static_cast<uint32_t>(static_cast<int32_t>(read<T>(base + (a[i] - start))));
  }
}

void load1(uint32_t* to, const std::byte* base, uint64_t start, const uint64_t* a) {
  uint64_t apart = 0;  // lanes side by side: none is anywhere else
  for (int i = 0; i < kLanes; ++i) apart |= a[i] ^ (a[0] + static_cast<uint64_t>(i) * 4);
  if (apart == 0) {
    __builtin_memcpy(to, base + (a[0] - start), kLanes * 4);
    return;
  }
  for (int i = 0; i < kLanes; ++i) to[i] = read<uint32_t>(base + (a[i] - start));
}

template <int kDwords>
void load_many(uint32_t* to, const std::byte* base, uint64_t start, const uint64_t* a) {
  for (int i = 0; i < kLanes; ++i) {
    for (int d = 0; d < kDwords; ++d)
      to[kLanes * d + i] = read<uint32_t>(base + (a[i] - start) + 4 * d);
  }
}

#if defined(__AVX512F__) || defined(__AVX2__)
// Sixteen bytes a lane: vectors of every fourth lane, transposed inside their 128-bit parts.
void load4(uint32_t* to, const std::byte* base, uint64_t start, const uint64_t* a) {
  const auto lane = [&](int i) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(base + (a[i] - start)));
  };
  for (int i = 0; i < kLanes; i += kWidth) {
#if defined(__AVX512F__)
    __m512i v[4];
    for (int k = 0; k < 4; ++k) {
      v[k] = _mm512_castsi128_si512(lane(i + k));
      v[k] = _mm512_inserti32x4(v[k], lane(i + k + 4), 1);
      v[k] = _mm512_inserti32x4(v[k], lane(i + k + 8), 2);
      v[k] = _mm512_inserti32x4(v[k], lane(i + k + 12), 3);
    }
    const __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]),
                  high01 = _mm512_unpackhi_epi32(v[0], v[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(v[2], v[3]),
                  high23 = _mm512_unpackhi_epi32(v[2], v[3]);
    store(to + i, (VecU)_mm512_unpacklo_epi64(low01, low23));
    store(to + kLanes + i, (VecU)_mm512_unpackhi_epi64(low01, low23));
    store(to + 2 * kLanes + i, (VecU)_mm512_unpacklo_epi64(high01, high23));
    store(to + 3 * kLanes + i, (VecU)_mm512_unpackhi_epi64(high01, high23));
#else
    __m256i v[4];
    for (int k = 0; k < 4; ++k) v[k] = _mm256_set_m128i(lane(i + k + 4), lane(i + k));
    const __m256i low01 = _mm256_unpacklo_epi32(v[0], v[1]),
                  high01 = _mm256_unpackhi_epi32(v[0], v[1]);
    const __m256i low23 = _mm256_unpacklo_epi32(v[2], v[3]),
                  high23 = _mm256_unpackhi_epi32(v[2], v[3]);
    store(to + i, (VecU)_mm256_unpacklo_epi64(low01, low23));
    store(to + kLanes + i, (VecU)_mm256_unpackhi_epi64(low01, low23));
    store(to + 2 * kLanes + i, (VecU)_mm256_unpacklo_epi64(high01, high23));
    store(to + 3 * kLanes + i, (VecU)_mm256_unpackhi_epi64(high01, high23));
#endif
  }
}
#else
constexpr auto load4 = load_many<4>;
#endif

// out[i] = in[from[i] / 4 % 32], zero when the lane there is not active (ds_bpermute).
void permute(uint32_t* out, const uint32_t* in, const uint32_t* from, uint32_t offset,
             uint32_t active) {
  alignas(64) uint32_t mask[kLanes], value[kLanes];
  spread(active, mask);
#if defined(__AVX512F__)
  const __m512i low = _mm512_and_si512(_mm512_load_si512(in), _mm512_load_si512(mask));
  const __m512i high = _mm512_and_si512(_mm512_load_si512(in + 16), _mm512_load_si512(mask + 16));
  for (int i = 0; i < kLanes; i += kWidth) {
    const VecU index = (load_word(from + i) + offset) >> 2;  // its low five bits count
    store(value + i, (VecU)_mm512_permutex2var_epi32(low, (__m512i)index, high));
  }
#else
  for (int i = 0; i < kLanes; ++i) {
    const uint32_t lane = (from[i] + offset) / 4 % kLanes;
    value[i] = in[lane] & mask[lane];
  }
#endif
  blend(out, value, active);
}

constexpr LaneMemory kLaneMemory = {join_addresses,
                                    add_addresses,
                                    bounds,
                                    touched_lines,
                                    permute,
                                    load_small<uint8_t>,
                                    load_small<int8_t>,
                                    load_small<uint16_t>,
                                    load_small<int16_t>,
                                    {load1, load_many<2>, load_many<3>, load4}};

}  // namespace
}  // namespace outboard::simulator::compute::valu
