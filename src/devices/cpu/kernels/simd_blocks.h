// The common block formats over the vector type of a vec_*.h, for processors whose table works in
// floats. A group of 32 is unpacked to bytes, then widened: value = scale * byte + minimum, with a
// scale and a minimum for each 16 columns. With one or two tokens the values go straight to the
// sums, in the order that simd_float.h adds them. Layouts: formats/blocks.h.
#pragma once

#include <cstring>

#include "devices/cpu/kernels/tables.h"

namespace outboard::cpu {
namespace {

using formats::TensorType;

constexpr int kGroup = 32;
constexpr int kGroupVectors = kGroup / kLanes;
constexpr int kFusedTokens = 2;

struct Unpacked {
  alignas(64) uint8_t q[kGroup];
  float scale[2];
  float minimum[2];

  OUTBOARD_INLINE void set(float s, float m) {
    scale[0] = scale[1] = s;
    minimum[0] = minimum[1] = m;
  }
};

OUTBOARD_INLINE float half_at(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  return half_to_float(bits);
}
// Sixteen bytes, with the compilers' own vector arithmetic: plain loops over bytes end up scalar.
using Bytes = uint8_t __attribute__((vector_size(16)));
OUTBOARD_INLINE Bytes load_bytes(const uint8_t* p) {
  Bytes b;
  std::memcpy(&b, p, sizeof(b));
  return b;
}
OUTBOARD_INLINE void store_bytes(uint8_t* p, Bytes b) { std::memcpy(p, &b, sizeof(b)); }

OUTBOARD_INLINE void unpack_nibbles(const uint8_t* from, uint8_t* q) {
  const Bytes b = load_bytes(from);
  store_bytes(q, b & 15);
  store_bytes(q + 16, b >> 4);
}
// Adds 16 to q[i] where bit i of the four bytes is set.
OUTBOARD_INLINE void add_fifth_bits(const uint8_t* from, uint8_t* q) {
  const Bytes mask = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  for (int part = 0; part < 2; ++part) {
    const uint64_t spread[2] = {from[2 * part] * 0x0101010101010101U,
                                from[2 * part + 1] * 0x0101010101010101U};
    Bytes bits;
    std::memcpy(&bits, spread, sizeof(bits));
    const Bytes set = reinterpret_cast<Bytes>((bits & mask) == mask);
    store_bytes(q + 16 * part, load_bytes(q + 16 * part) | (set & 16));
  }
}

// Each: unpack(block, group) of a block of kBytes with kGroups groups.
struct BlockQ4_0 {
  static constexpr int kGroups = 1;
  static constexpr size_t kBytes = 18;
  static OUTBOARD_INLINE void unpack(const uint8_t* p, int, Unpacked& u) {
    unpack_nibbles(p + 2, u.q);
    const float d = half_at(p);
    u.set(d, -8 * d);
  }
};
struct BlockQ4_1 {
  static constexpr int kGroups = 1;
  static constexpr size_t kBytes = 20;
  static OUTBOARD_INLINE void unpack(const uint8_t* p, int, Unpacked& u) {
    unpack_nibbles(p + 4, u.q);
    u.set(half_at(p), half_at(p + 2));
  }
};
struct BlockQ5_0 {
  static constexpr int kGroups = 1;
  static constexpr size_t kBytes = 22;
  static OUTBOARD_INLINE void unpack(const uint8_t* p, int, Unpacked& u) {
    unpack_nibbles(p + 6, u.q);
    add_fifth_bits(p + 2, u.q);
    const float d = half_at(p);
    u.set(d, -16 * d);
  }
};
struct BlockQ5_1 {
  static constexpr int kGroups = 1;
  static constexpr size_t kBytes = 24;
  static OUTBOARD_INLINE void unpack(const uint8_t* p, int, Unpacked& u) {
    unpack_nibbles(p + 8, u.q);
    add_fifth_bits(p + 4, u.q);
    u.set(half_at(p), half_at(p + 2));
  }
};
struct BlockQ8_0 {
  static constexpr int kGroups = 1;
  static constexpr size_t kBytes = 34;
  static OUTBOARD_INLINE void unpack(const uint8_t* p, int, Unpacked& u) {
    store_bytes(u.q, load_bytes(p + 2) ^ 128);
    store_bytes(u.q + 16, load_bytes(p + 18) ^ 128);
    const float d = half_at(p);
    u.set(d, -128 * d);
  }
};

OUTBOARD_INLINE void k_scales(const uint8_t* p, int g, Unpacked& u) {
  const uint8_t* s = p + 4;
  int scale = s[g & 3] & 63;
  int minimum = s[4 + (g & 3)] & 63;
  if (g >= 4) {
    scale = (s[g + 4] & 15) | ((s[g - 4] >> 6) << 4);
    minimum = (s[g + 4] >> 4) | ((s[g] >> 6) << 4);
  }
  u.set(half_at(p) * static_cast<float>(scale), -half_at(p + 2) * static_cast<float>(minimum));
}
struct BlockQ4K {
  static constexpr int kGroups = 8;
  static constexpr size_t kBytes = 144;
  static OUTBOARD_INLINE void unpack(const uint8_t* p, int g, Unpacked& u) {
    const uint8_t* q = p + 16 + 32 * (g / 2);
    const int shift = 4 * (g & 1);
    for (int i = 0; i < kGroup; i += 16) {
      store_bytes(u.q + i, (load_bytes(q + i) >> static_cast<uint8_t>(shift)) & 15);
    }
    k_scales(p, g, u);
  }
};
struct BlockQ5K {
  static constexpr int kGroups = 8;
  static constexpr size_t kBytes = 176;
  static OUTBOARD_INLINE void unpack(const uint8_t* p, int g, Unpacked& u) {
    const uint8_t* fifth = p + 16;
    const uint8_t* q = p + 48 + 32 * (g / 2);
    const int shift = 4 * (g & 1);
    for (int i = 0; i < kGroup; i += 16) {
      const Bytes low = (load_bytes(q + i) >> static_cast<uint8_t>(shift)) & 15;
      const Bytes top = (load_bytes(fifth + i) >> static_cast<uint8_t>(g)) & 1;
      store_bytes(u.q + i, low | (top << 4));
    }
    k_scales(p, g, u);
  }
};
struct BlockQ6K {
  static constexpr int kGroups = 8;
  static constexpr size_t kBytes = 210;
  static OUTBOARD_INLINE void unpack(const uint8_t* p, int g, Unpacked& u) {
    const int half = g / 4;
    const int k = g % 4;
    const uint8_t* low = p + 64 * half + 32 * (k & 1);
    const uint8_t* top = p + 128 + 32 * half;
    const int shift = 4 * (k / 2);
    for (int i = 0; i < kGroup; i += 16) {
      const Bytes four = (load_bytes(low + i) >> static_cast<uint8_t>(shift)) & 15;
      const Bytes two = (load_bytes(top + i) >> static_cast<uint8_t>(2 * k)) & 3;
      store_bytes(u.q + i, four | (two << 4));
    }
    const float d = half_at(p + 208);
    for (int i = 0; i < 2; ++i) {
      int8_t level;
      std::memcpy(&level, p + 192 + 2 * g + i, 1);
      u.scale[i] = d * static_cast<float>(level);
      u.minimum[i] = -32 * u.scale[i];
    }
  }
};

OUTBOARD_INLINE Vec group_vector(const Unpacked& u, int v) {
  const int half = v * kLanes / 16;
  return fma(bytes_to_float(u.q + v * kLanes), all(u.scale[half]), all(u.minimum[half]));
}

template <typename Block>
void decode_blocks(const std::byte* from, int64_t n, float* to) {
  const auto* p = reinterpret_cast<const uint8_t*>(from);
  for (int64_t c = 0; c < n; c += kGroup * Block::kGroups) {
    for (int g = 0; g < Block::kGroups; ++g) {
      Unpacked u;
      Block::unpack(p, g, u);
      OUTBOARD_UNROLL
      for (int v = 0; v < kGroupVectors; ++v) store(to + v * kLanes, group_vector(u, v));
      to += kGroup;
    }
    p += Block::kBytes;
  }
}

template <typename Block, int R, int T>
void block_tile(const uint8_t* w, size_t stride, const float* x, size_t x_stride, int64_t blocks,
                float (&out)[T][R]) {
  Vec sums[R][T];
  OUTBOARD_UNROLL
  for (int r = 0; r < R; ++r) {
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) sums[r][t] = all(0.0F);
  }
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t* block = w + static_cast<size_t>(b) * Block::kBytes;
    for (int g = 0; g < Block::kGroups; ++g) {
      OUTBOARD_UNROLL
      for (int r = 0; r < R; ++r) {
        const uint8_t* at = block + static_cast<size_t>(r) * stride;
        // Rows lie back to back: the bytes four rows on are read next.
        __builtin_prefetch(at + R * stride + 64 * static_cast<size_t>(g), 0, 2);
        Unpacked u;
        Block::unpack(at, g, u);
        OUTBOARD_UNROLL
        for (int v = 0; v < kGroupVectors; ++v) {
          const Vec weight = group_vector(u, v);
          OUTBOARD_UNROLL
          for (int t = 0; t < T; ++t) {
            sums[r][t] =
                fma(weight, load(x + static_cast<size_t>(t) * x_stride + v * kLanes), sums[r][t]);
          }
        }
      }
      x += kGroup;
    }
  }
  OUTBOARD_UNROLL
  for (int r = 0; r < R; ++r) {
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) out[t][r] = sum_lanes(sums[r][t]);
  }
}

// Rows [begin, end) for T tokens; put(token, row, sum) takes the results.
template <typename Block, int T, typename Put>
void block_rows(const Matrix& w, const float* x, size_t x_stride, int64_t begin, int64_t end,
                Put put) {
  const int64_t blocks = w.columns / (kGroup * Block::kGroups);
  const size_t stride = static_cast<size_t>(blocks) * Block::kBytes;
  const auto* data = reinterpret_cast<const uint8_t*>(w.data);
  int64_t row = begin;
  const auto tile = [&]<int R>() {
    float sums[T][R];
    block_tile<Block, R, T>(data + static_cast<size_t>(row) * stride, stride, x, x_stride, blocks,
                            sums);
    for (int t = 0; t < T; ++t) {
      for (int r = 0; r < R; ++r) put(t, row + r, sums[t][r]);
    }
  };
  for (; row + 4 <= end; row += 4) tile.template operator()<4>();
  for (; row < end; ++row) tile.template operator()<1>();
}

// Calls use.operator()<Block>() for a type that has one here.
template <typename Use>
bool with_block(TensorType type, Use use) {
  switch (type) {
    case TensorType::Q4_0:
      return use.template operator()<BlockQ4_0>(), true;
    case TensorType::Q4_1:
      return use.template operator()<BlockQ4_1>(), true;
    case TensorType::Q5_0:
      return use.template operator()<BlockQ5_0>(), true;
    case TensorType::Q5_1:
      return use.template operator()<BlockQ5_1>(), true;
    case TensorType::Q8_0:
      return use.template operator()<BlockQ8_0>(), true;
    case TensorType::Q4_K:
      return use.template operator()<BlockQ4K>(), true;
    case TensorType::Q5_K:
      return use.template operator()<BlockQ5K>(), true;
    case TensorType::Q6_K:
      return use.template operator()<BlockQ6K>(), true;
    default:
      return false;
  }
}

bool decode_fast(TensorType type, const std::byte* from, int64_t n, float* to) {
  return with_block(type, [&]<typename Block>() { decode_blocks<Block>(from, n, to); });
}

// True when it has done the work: few tokens of a type that is here.
template <typename Put>
bool block_linear(const Matrix& w, const float* x, size_t x_stride, int tokens, int64_t begin,
                  int64_t end, Put put) {
  if (tokens > kFusedTokens) return false;
  return with_block(w.type, [&]<typename Block>() {
    if (tokens == 1) {
      block_rows<Block, 1>(w, x, x_stride, begin, end, put);
    } else {
      block_rows<Block, 2>(w, x, x_stride, begin, end, put);
    }
  });
}

}  // namespace
}  // namespace outboard::cpu
