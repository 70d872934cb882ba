// Block formats to one shape, over the vectors of a vec_*.h, which is included before this file.
//
// A tile is kLanes rows of one weight. Format::for_each_group(block, stride, consume) takes the
// tile's blocks at one place along the columns (row r's block is at block + r * stride) and calls
//   consume(group, weights, scales)
// for each group of 32 columns of the block in order, where lane r is row r: byte b of lane r of
// weights[c] is an integer u of column 4 * c + b, from 0 to kMost, and the value is
// scale * u + minimum. Formats with kHalves = 2 have a scale and a minimum for each 16 columns.
// Signed formats are shifted to unsigned: the shift sits in the minimum. Only integers that fill a
// byte (kMost = 255) stay signed on sets of instructions that multiply signed bytes by signed ones
// (kByteZero = 0); such have no minimum. With kRowPairs, weights of 2k and 2k + 1 hold columns 8k
// to 8k + 7 instead, the one of rows 0 and 1, the other of rows 2 and 3 (kLanes is 4). No load
// leaves the row's block. Layouts: formats/blocks.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "devices/cpu/kernels/inline.h"

namespace outboard::cpu {
namespace {

struct Weights {
  Ints column[8];
};
template <int kHalves>
struct Scales {
  Vec scale[kHalves];
  Vec minimum[kHalves];
};

struct Dwords {
  Ints at[4];
};
// Each holds 16 bytes of some rows, in the order of load_pieces(): at[c], lane r = bytes 4c..4c+3
// of row r. (Unused ones cost nothing.)
OUTBOARD_INLINE Dwords transpose(Ints z0, Ints z1, Ints z2, Ints z3) {
  const Ints a = zip_low_32(z0, z1);
  const Ints b = zip_high_32(z0, z1);
  const Ints c = zip_low_32(z2, z3);
  const Ints d = zip_high_32(z2, z3);
  return {{zip_low_64(a, c), zip_high_64(a, c), zip_low_64(b, d), zip_high_64(b, d)}};
}
OUTBOARD_INLINE Dwords load_dwords(const uint8_t* p, size_t stride) {
  return transpose(load_pieces(p, stride, 0), load_pieces(p, stride, 1), load_pieces(p, stride, 2),
                   load_pieces(p, stride, 3));
}

// The same of weights, in their order.
OUTBOARD_INLINE Dwords load_weights(const uint8_t* p, size_t stride) {
  if constexpr (kRowPairs) {
    const Ints z[4] = {load_pieces(p, stride, 0), load_pieces(p, stride, 1),
                       load_pieces(p, stride, 2), load_pieces(p, stride, 3)};
    return {{zip_low_64(z[0], z[1]), zip_low_64(z[2], z[3]), zip_high_64(z[0], z[1]),
             zip_high_64(z[2], z[3])}};
  }
  return load_dwords(p, stride);
}

OUTBOARD_INLINE Ints low_nibbles(Ints x) { return bit_and(x, all_bytes(15)); }
OUTBOARD_INLINE Vec shifted(Vec scale, float zero) { return mul(scale, all(-zero)); }
OUTBOARD_INLINE Vec high_half_to_float(Ints x) { return low_half_to_float(right(x, 16)); }

// Nibbles as in Q4_0: byte i holds element i and element i + 16.
OUTBOARD_INLINE Weights nibble_weights(const Dwords& q) {
  Weights w;
  OUTBOARD_UNROLL
  for (int c = 0; c < 4; ++c) {
    w.column[c] = low_nibbles(q.at[c]);
    w.column[4 + c] = high_nibbles(q.at[c]);
  }
  return w;
}

// Adds 16 where bit i of lane r of `bits` is set, to element i of row r.
OUTBOARD_INLINE void add_fifth_bits(Weights& w, Ints bits) {
  OUTBOARD_UNROLL
  for (int b = 0; b < 4; ++b) {  // byte b of the bits: elements 8b..8b+7
    const Ints spread = spread_byte(bits, b);
    Ints& first = w.column[2 * b];
    Ints& second = w.column[2 * b + 1];
    constexpr int kFirst = 0x08040201, kSecond = static_cast<int>(0x80402010);
    if constexpr (kRowPairs) {
      const Ints four = set_16_where(all_ints(0), spread, kFirst);
      const Ints next = set_16_where(all_ints(0), spread, kSecond);
      first = bit_or(first, zip_low_32(four, next));
      second = bit_or(second, zip_high_32(four, next));
    } else {
      first = set_16_where(first, spread, kFirst);
      second = set_16_where(second, spread, kSecond);
    }
  }
}

struct FormatQ4_0 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 15;
  static constexpr size_t kBytes = 18;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = nibble_weights(load_weights(p + 2, stride));
    const Vec d = load_halves(p, stride);
    consume(0, w, Scales<1>{{d}, {shifted(d, 8)}});
  }
};

struct FormatQ4_1 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 15;
  static constexpr size_t kBytes = 20;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = nibble_weights(load_weights(p + 4, stride));
    const Ints dm = load_dwords(p, stride).at[0];
    consume(0, w, Scales<1>{{low_half_to_float(dm)}, {high_half_to_float(dm)}});
  }
};

struct FormatQ5_0 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 31;
  static constexpr size_t kBytes = 22;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    Weights w = nibble_weights(load_weights(p + 6, stride));
    const Dwords head = load_dwords(p, stride);
    add_fifth_bits(w, bit_or(right(head.at[0], 16), left(head.at[1], 16)));
    const Vec d = low_half_to_float(head.at[0]);
    consume(0, w, Scales<1>{{d}, {shifted(d, 16)}});
  }
};

struct FormatQ5_1 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 31;
  static constexpr size_t kBytes = 24;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    Weights w = nibble_weights(load_weights(p + 8, stride));
    const Dwords head = load_dwords(p, stride);
    add_fifth_bits(w, head.at[1]);
    consume(0, w, Scales<1>{{low_half_to_float(head.at[0])}, {high_half_to_float(head.at[0])}});
  }
};

struct FormatQ8_0 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 255;
  static constexpr size_t kBytes = 34;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Dwords low = load_weights(p + 2, stride);
    const Dwords high = load_weights(p + 18, stride);
    Weights w;
    for (int c = 0; c < 4; ++c) {
      w.column[c] = bit_xor(low.at[c], all_bytes(kByteZero));
      w.column[4 + c] = bit_xor(high.at[c], all_bytes(kByteZero));
    }
    const Vec d = load_halves(p, stride);
    consume(0, w, Scales<1>{{d}, {shifted(d, kByteZero)}});
  }
};

// The two codebooks of 16 numbers.
constexpr Codebook iq4_codebook() {
  constexpr int kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};
  Codebook book{};
  for (int i = 0; i < 16; ++i) book.at[i] = static_cast<uint8_t>(kValues[i] + kByteZero);
  return book;
}
constexpr Codebook kIq4Codebook = iq4_codebook();
constexpr Codebook kMxfp4Codebook = {{12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0}};

OUTBOARD_INLINE Weights look_up(Weights w, const Codebook& book) {
  for (Ints& column : w.column) column = look_up(column, book);
  return w;
}

struct FormatIq4Nl {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 255;
  static constexpr size_t kBytes = 18;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = look_up(nibble_weights(load_weights(p + 2, stride)), kIq4Codebook);
    const Vec d = load_halves(p, stride);
    consume(0, w, Scales<1>{{d}, {shifted(d, kByteZero)}});
  }
};

struct FormatMxfp4 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 24;
  static constexpr size_t kBytes = 17;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = look_up(nibble_weights(load_weights(p + 1, stride)), kMxfp4Codebook);
    const Ints e = bit_and(load_dwords(p, stride).at[0], all_ints(255));
    // 2^(e - 128): the two smallest are denormal.
    const Ints normal = left(sub(e, all_ints(1)), 23);
    const Ints denormal = left_each(all_ints(0x00200000), smaller(e, all_ints(2)));
    const Vec d = as_floats(larger(normal, denormal));
    consume(0, w, Scales<1>{{d}, {shifted(d, 12)}});
  }
};

struct FormatIq4Xs {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 255;
  static constexpr size_t kBytes = 136;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Dwords head = load_dwords(p, stride);
    const Vec d = low_half_to_float(head.at[0]);
    const Ints high = right(head.at[0], 16);
    OUTBOARD_UNROLL_GROUPS
    for (int g = 0; g < 8; ++g) {
      const Weights w = look_up(nibble_weights(load_weights(p + 8 + 16 * g, stride)), kIq4Codebook);
      const Ints low4 = bit_and(right(head.at[1], 4 * g), all_ints(15));
      const Ints top2 = bit_and(right(high, 2 * g), all_ints(3));
      const Ints level = sub(bit_or(low4, left(top2, 4)), all_ints(32));
      const Vec scale = mul(d, to_float(level));
      consume(g, w, Scales<1>{{scale}, {shifted(scale, kByteZero)}});
    }
  }
};

// Byte b of each lane.
OUTBOARD_INLINE Ints byte_of(Ints x, int b) {
  return b == 3 ? right(x, 24) : bit_and(right(x, 8 * b), all_ints(255));
}

// Scales and minima of a Q4_K or Q5_K block, from its first 16 bytes: bytes of four groups each.
struct KScales {
  Ints scales[2];
  Ints minima[2];
  Vec d;
  Vec minus_dmin;

  explicit OUTBOARD_INLINE KScales(const Dwords& head)
      : scales{bit_and(head.at[1], all_bytes(63)),
               and_or(right(head.at[1], 2), all_bytes(0x30), low_nibbles(head.at[3]))},
        minima{bit_and(head.at[2], all_bytes(63)),
               and_or(right(head.at[2], 2), all_bytes(0x30), high_nibbles(head.at[3]))},
        d(low_half_to_float(head.at[0])),
        minus_dmin(negated(high_half_to_float(head.at[0]))) {}
  OUTBOARD_INLINE Scales<1> of(int g) const {
    return {{mul(d, to_float(byte_of(scales[g / 4], g % 4)))},
            {mul(minus_dmin, to_float(byte_of(minima[g / 4], g % 4)))}};
  }
};

struct FormatQ4K {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 15;
  static constexpr size_t kBytes = 144;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const KScales scales(load_dwords(p, stride));
    OUTBOARD_UNROLL_GROUPS
    for (int pair = 0; pair < 4; ++pair) {
      const Dwords first = load_weights(p + 16 + 32 * pair, stride);
      const Dwords second = load_weights(p + 32 + 32 * pair, stride);
      Weights low, high;
      for (int c = 0; c < 4; ++c) {
        low.column[c] = low_nibbles(first.at[c]);
        low.column[4 + c] = low_nibbles(second.at[c]);
        high.column[c] = high_nibbles(first.at[c]);
        high.column[4 + c] = high_nibbles(second.at[c]);
      }
      consume(2 * pair, low, scales.of(2 * pair));
      consume(2 * pair + 1, high, scales.of(2 * pair + 1));
    }
  }
};

struct FormatQ5K {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 31;
  static constexpr size_t kBytes = 176;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const KScales scales(load_dwords(p, stride));
    const Dwords fifth[2] = {load_weights(p + 16, stride), load_weights(p + 32, stride)};
    OUTBOARD_UNROLL_GROUPS
    for (int pair = 0; pair < 4; ++pair) {
      const Dwords q[2] = {load_weights(p + 48 + 32 * pair, stride),
                           load_weights(p + 64 + 32 * pair, stride)};
      // Bit `group` of each byte turned to bit 4.
      const int turn_low = 4 - 2 * pair;
      const int turn_high = 3 - 2 * pair;
      Weights low, high;
      for (int c = 0; c < 8; ++c) {
        const Ints nibbles = q[c / 4].at[c % 4];
        const Ints bits = fifth[c / 4].at[c % 4];
        low.column[c] = and_or(turn(bits, turn_low), all_bytes(16), low_nibbles(nibbles));
        high.column[c] = and_or(turn(bits, turn_high), all_bytes(16), high_nibbles(nibbles));
      }
      consume(2 * pair, low, scales.of(2 * pair));
      consume(2 * pair + 1, high, scales.of(2 * pair + 1));
    }
  }
};

// Signed byte b of each lane.
OUTBOARD_INLINE Ints signed_byte(Ints x, int b) { return right_signed(left(x, 24 - 8 * b), 24); }

struct FormatQ6K {
  static constexpr int kHalves = 2, kGroups = 8, kMost = 63;
  static constexpr size_t kBytes = 210;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Dwords levels = load_dwords(p + 192, stride);
    const Vec d = high_half_to_float(load_dwords(p + 194, stride).at[3]);
    OUTBOARD_UNROLL_GROUPS
    for (int half = 0; half < 2; ++half) {
      const Dwords top[2] = {load_weights(p + 128 + 32 * half, stride),
                             load_weights(p + 144 + 32 * half, stride)};
      Dwords q[4];
      for (int i = 0; i < 4; ++i) q[i] = load_weights(p + 64 * half + 16 * i, stride);
      OUTBOARD_UNROLL_GROUPS
      for (int k = 0; k < 4; ++k) {
        const int group = 4 * half + k;
        const int places = 4 - 2 * k;
        Weights w;
        for (int c = 0; c < 8; ++c) {
          const Ints nibbles = q[2 * (k & 1) + c / 4].at[c % 4];
          const Ints bits = top[c / 4].at[c % 4];
          w.column[c] = and_or(turn(bits, places), all_bytes(0x30),
                               k < 2 ? low_nibbles(nibbles) : high_nibbles(nibbles));
        }
        const Ints four = levels.at[group / 2];
        const Vec a = mul(d, to_float(signed_byte(four, 2 * (group & 1))));
        const Vec b = mul(d, to_float(signed_byte(four, 2 * (group & 1) + 1)));
        consume(group, w, Scales<2>{{a, b}, {shifted(a, 32), shifted(b, 32)}});
      }
    }
  }
};

struct FormatQ2K {
  static constexpr int kHalves = 2, kGroups = 8, kMost = 3;
  static constexpr size_t kBytes = 84;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Dwords levels = load_dwords(p, stride);
    const Ints tail = load_dwords(p + 68, stride).at[3];
    const Vec d = low_half_to_float(tail);
    const Vec dmin = negated(high_half_to_float(tail));
    OUTBOARD_UNROLL_GROUPS
    for (int half = 0; half < 2; ++half) {
      const Dwords q[2] = {load_weights(p + 16 + 32 * half, stride),
                           load_weights(p + 32 + 32 * half, stride)};
      OUTBOARD_UNROLL_GROUPS
      for (int k = 0; k < 4; ++k) {
        const int group = 4 * half + k;
        Weights w;
        for (int c = 0; c < 8; ++c) {
          w.column[c] = bit_and(right(q[c / 4].at[c % 4], 2 * k), all_bytes(3));
        }
        Scales<2> s;
        for (int i = 0; i < 2; ++i) {
          const Ints byte = right(levels.at[group / 2], 16 * (group & 1) + 8 * i);
          const Ints four = all_ints(15);
          s.scale[i] = mul(d, to_float(bit_and(byte, four)));
          s.minimum[i] = mul(dmin, to_float(bit_and(right(byte, 4), four)));
        }
        consume(group, w, s);
      }
    }
  }
};

struct FormatQ3K {
  static constexpr int kHalves = 2, kGroups = 8, kMost = 7;
  static constexpr size_t kBytes = 110;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    // The last 14 bytes: 12 of scales, then d. Four low bits in the first 8 bytes (the low nibbles
    // first), two high bits in the last four.
    const uint8_t* tail_at = p + 94;
    const Dwords tail = transpose(drop_2_bytes(load_pieces(tail_at, stride, 0)),
                                  drop_2_bytes(load_pieces(tail_at, stride, 1)),
                                  drop_2_bytes(load_pieces(tail_at, stride, 2)),
                                  drop_2_bytes(load_pieces(tail_at, stride, 3)));
    const Vec d = low_half_to_float(tail.at[3]);
    const Ints top_mask = all_bytes(0x30);
    const Ints levels[4] = {and_or(left(tail.at[2], 4), top_mask, low_nibbles(tail.at[0])),
                            and_or(left(tail.at[2], 2), top_mask, low_nibbles(tail.at[1])),
                            and_or(tail.at[2], top_mask, high_nibbles(tail.at[0])),
                            and_or(right(tail.at[2], 2), top_mask, high_nibbles(tail.at[1]))};
    const Dwords third[2] = {load_weights(p, stride), load_weights(p + 16, stride)};
    OUTBOARD_UNROLL_GROUPS
    for (int half = 0; half < 2; ++half) {
      const Dwords q[2] = {load_weights(p + 32 + 32 * half, stride),
                           load_weights(p + 48 + 32 * half, stride)};
      OUTBOARD_UNROLL_GROUPS
      for (int k = 0; k < 4; ++k) {
        const int group = 4 * half + k;
        const int places = 2 - group;
        Weights w;
        for (int c = 0; c < 8; ++c) {
          const Ints low = bit_and(right(q[c / 4].at[c % 4], 2 * k), all_bytes(3));
          w.column[c] = and_or(turn(third[c / 4].at[c % 4], places), all_bytes(4), low);
        }
        Scales<2> s;
        for (int i = 0; i < 2; ++i) {
          const Ints level =
              sub(bit_and(right(levels[group / 2], 16 * (group & 1) + 8 * i), all_ints(63)),
                  all_ints(32));
          s.scale[i] = mul(d, to_float(level));
          s.minimum[i] = shifted(s.scale[i], 4);
        }
        consume(group, w, s);
      }
    }
  }
};

}  // namespace
}  // namespace outboard::cpu
