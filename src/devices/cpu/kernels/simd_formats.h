// Block formats to one shape, over the vectors of a vec_*.h, which is included before this file.
//
// A tile is kLanes rows of one weight. Format::for_each_group<Layout>(block, stride, consume) takes
// the tile's blocks at one place along the columns (row r's block is at block + r * stride) and
// calls
//   consume(group, weights, scales)
// for each group of 32 columns of the block in order. Weights are bytes, integers u from 0 to
// kMost; where they lie is the Layout's. Lane r of the scales is row r: the value is scale * u +
// minimum. Formats with kHalves = 2 have a scale and a minimum for each 16 columns. Signed formats
// are shifted to unsigned: the shift sits in the minimum. Only integers that fill a byte (kMost =
// 255) stay signed on sets of instructions that multiply signed bytes by signed ones (kByteZero =
// 0); such have no minimum. No load leaves the row's block. Layouts: formats/blocks.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "devices/cpu/kernels/inline.h"

namespace outboard::devices::cpu {
namespace {

struct Weights {
  Ints at[8];
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

// Byte b of lane r of at[c]: column 4 * c + b of row r.
struct ByColumns {
  static OUTBOARD_INLINE Dwords load(const uint8_t* p, size_t stride) {
    return load_dwords(p, stride);
  }
  template <typename Get>
  static OUTBOARD_INLINE Dwords put(Get get) {
    return transpose(put_pieces(get, 0), put_pieces(get, 1), put_pieces(get, 2),
                     put_pieces(get, 3));
  }
  static OUTBOARD_INLINE Dwords placed(Dwords columns) { return columns; }
  // Of 32 bits in lane r for the columns of row r: in each byte of at[c] those of its 8 columns,
  // and which of them is its own.
  static OUTBOARD_INLINE Ints spread(Ints bits, int c) { return spread_byte(bits, c / 2); }
  static OUTBOARD_INLINE Ints own_bit(int c) {
    return all_ints(c % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010));
  }
};

// As they lie in the file: byte b of piece i of at[4 * half + k] is column 16 * half + b of row
// 4 * i + k.
struct ByPieces {
  static OUTBOARD_INLINE Dwords load(const uint8_t* p, size_t stride) {
    return {{load_pieces(p, stride, 0), load_pieces(p, stride, 1), load_pieces(p, stride, 2),
             load_pieces(p, stride, 3)}};
  }
  template <typename Get>
  static OUTBOARD_INLINE Dwords put(Get get) {
    return {{put_pieces(get, 0), put_pieces(get, 1), put_pieces(get, 2), put_pieces(get, 3)}};
  }
  static OUTBOARD_INLINE Dwords placed(Dwords columns) {
    return transpose(columns.at[0], columns.at[1], columns.at[2], columns.at[3]);
  }
  static OUTBOARD_INLINE Ints spread(Ints bits, int c) {
    return spread_2_bytes(bits, 4 * (c % 4) + 2 * (c / 4));
  }
  static OUTBOARD_INLINE Ints own_bit(int) { return all_64(0x8040201008040201); }
};

// Columns 8k to 8k + 7 of rows 0 and 1 in at[2k], of rows 2 and 3 in at[2k + 1]; for four lanes.
struct ByRowPairs {
  static OUTBOARD_INLINE Dwords load(const uint8_t* p, size_t stride) {
    return pairs(load_pieces(p, stride, 0), load_pieces(p, stride, 1), load_pieces(p, stride, 2),
                 load_pieces(p, stride, 3));
  }
  template <typename Get>
  static OUTBOARD_INLINE Dwords put(Get get) {
    return pairs(put_pieces(get, 0), put_pieces(get, 1), put_pieces(get, 2), put_pieces(get, 3));
  }
  static OUTBOARD_INLINE Dwords placed(Dwords columns) {
    const Ints* at = columns.at;
    return {{zip_low_32(at[0], at[1]), zip_high_32(at[0], at[1]), zip_low_32(at[2], at[3]),
             zip_high_32(at[2], at[3])}};
  }
  static OUTBOARD_INLINE Ints spread(Ints bits, int c) {
    const Ints eight = spread_byte(bits, c / 2);
    return c % 2 == 0 ? zip_low_32(eight, eight) : zip_high_32(eight, eight);
  }
  static OUTBOARD_INLINE Ints own_bit(int) { return all_64(0x8040201008040201); }

 private:
  static OUTBOARD_INLINE Dwords pairs(Ints z0, Ints z1, Ints z2, Ints z3) {
    return {{zip_low_64(z0, z1), zip_low_64(z2, z3), zip_high_64(z0, z1), zip_high_64(z2, z3)}};
  }
};
// What is unpacked for many tokens.
using PanelLayout = std::conditional_t<kRowPairs, ByRowPairs, ByColumns>;

OUTBOARD_INLINE Ints low_nibbles(Ints x) { return bit_and(x, all_bytes(15)); }
OUTBOARD_INLINE Vec shifted(Vec scale, float zero) { return mul(scale, all(-zero)); }
OUTBOARD_INLINE Vec high_half_to_float(Ints x) { return low_half_to_float(right(x, 16)); }

// Nibbles as in Q4_0: byte i holds element i and element i + 16.
OUTBOARD_INLINE Weights nibble_weights(const Dwords& q) {
  Weights w;
  OUTBOARD_UNROLL
  for (int c = 0; c < 4; ++c) {
    w.at[c] = low_nibbles(q.at[c]);
    w.at[4 + c] = high_nibbles(q.at[c]);
  }
  return w;
}

// Adds 16 where bit i of lane r of `bits` is set, to element i of row r.
template <typename Layout>
OUTBOARD_INLINE void add_fifth_bits(Weights& w, Ints bits) {
  OUTBOARD_UNROLL
  for (int c = 0; c < 8; ++c)
    w.at[c] = set_16_where(w.at[c], Layout::spread(bits, c), Layout::own_bit(c));
}

struct FormatQ4_0 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 15;
  static constexpr size_t kBytes = 18;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = nibble_weights(Layout::load(p + 2, stride));
    consume(0, w, scales(load_halves(p, stride)));
  }
  static OUTBOARD_INLINE Scales<1> scales(Vec d) { return {{d}, {shifted(d, 8)}}; }
};

struct FormatQ4_1 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 15;
  static constexpr size_t kBytes = 20;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = nibble_weights(Layout::load(p + 4, stride));
    consume(0, w, scales(load_32_bits(p, stride)));
  }
  static OUTBOARD_INLINE Scales<1> scales(Ints dm) {
    return {{low_half_to_float(dm)}, {high_half_to_float(dm)}};
  }
};

struct FormatQ5_0 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 31;
  static constexpr bool kByColumns = true;  // bits are spread for two registers at once
  static constexpr size_t kBytes = 22;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    Weights w = nibble_weights(Layout::load(p + 6, stride));
    add_fifth_bits<Layout>(w, load_32_bits(p + 2, stride));
    consume(0, w, scales(load_halves(p, stride)));
  }
  static OUTBOARD_INLINE Scales<1> scales(Vec d) { return {{d}, {shifted(d, 16)}}; }
};

struct FormatQ5_1 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 31;
  static constexpr bool kByColumns = true;  // bits are spread for two registers at once
  static constexpr size_t kBytes = 24;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    Weights w = nibble_weights(Layout::load(p + 8, stride));
    const Dwords head = load_dwords(p, stride);
    add_fifth_bits<Layout>(w, head.at[1]);
    consume(0, w, Scales<1>{{low_half_to_float(head.at[0])}, {high_half_to_float(head.at[0])}});
  }
};

// 32 signed bytes.
template <typename Layout>
OUTBOARD_INLINE Weights byte_weights(const uint8_t* p, size_t stride) {
  const Dwords low = Layout::load(p, stride);
  const Dwords high = Layout::load(p + 16, stride);
  Weights w;
  for (int c = 0; c < 4; ++c) {
    w.at[c] = bit_xor(low.at[c], all_bytes(kByteZero));
    w.at[4 + c] = bit_xor(high.at[c], all_bytes(kByteZero));
  }
  return w;
}

struct FormatQ8_0 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 255;
  static constexpr size_t kBytes = 34;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = byte_weights<Layout>(p + 2, stride);
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
  for (Ints& bytes : w.at) bytes = look_up(bytes, book);
  return w;
}

struct FormatIq4Nl {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 255;
  static constexpr size_t kBytes = 18;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = look_up(nibble_weights(Layout::load(p + 2, stride)), kIq4Codebook);
    consume(0, w, scales(load_halves(p, stride)));
  }
  static OUTBOARD_INLINE Scales<1> scales(Vec d) { return {{d}, {shifted(d, kByteZero)}}; }
};

struct FormatMxfp4 {
  static constexpr int kHalves = 1, kGroups = 1, kMost = 24;
  static constexpr size_t kBytes = 17;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = look_up(nibble_weights(Layout::load(p + 1, stride)), kMxfp4Codebook);
    consume(0, w, scales(bit_and(load_dwords(p, stride).at[0], all_ints(255))));
  }
  // 2^(e - 128): the two smallest are denormal.
  static OUTBOARD_INLINE Scales<1> scales(Ints e) {
    const Ints normal = left(sub(e, all_ints(1)), 23);
    const Ints denormal = left_each(all_ints(0x00200000), smaller(e, all_ints(2)));
    const Vec d = as_floats(larger(normal, denormal));
    return {{d}, {shifted(d, 12)}};
  }
};

struct FormatIq4Xs {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 255;
  static constexpr size_t kBytes = 136;
  class Levels {  // the scales of a block
   public:
    OUTBOARD_INLINE Levels(const uint8_t* p, size_t stride) : Levels(load_dwords(p, stride)) {}
    OUTBOARD_INLINE Scales<1> of(int g) const {
      const Ints low4 = bit_and(right(low_, 4 * g), all_ints(15));
      const Ints top2 = bit_and(right(high_, 2 * g), all_ints(3));
      const Vec scale = mul(d_, to_float(sub(bit_or(low4, left(top2, 4)), all_ints(32))));
      return {{scale}, {shifted(scale, kByteZero)}};
    }

   private:
    explicit OUTBOARD_INLINE Levels(const Dwords& head)
        : d_(low_half_to_float(head.at[0])), high_(right(head.at[0], 16)), low_(head.at[1]) {}
    Vec d_;
    Ints high_, low_;
  };
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Levels levels(p, stride);
    OUTBOARD_UNROLL
    for (int g = 0; g < 8; ++g) {
      consume(g, look_up(nibble_weights(Layout::load(p + 8 + 16 * g, stride)), kIq4Codebook),
              levels.of(g));
    }
  }
};

// Byte b of each lane.
OUTBOARD_INLINE Ints byte_of(Ints x, int b) {
  return b == 3 ? right(x, 24) : bit_and(right(x, 8 * b), all_ints(255));
}

// Scales and minima of a Q4_K or Q5_K block, from its first 16 bytes: bytes of four groups each.
class KLevels {
 public:
  OUTBOARD_INLINE KLevels(const uint8_t* p, size_t stride) : KLevels(load_dwords(p, stride)) {}
  OUTBOARD_INLINE Scales<1> of(int g) const {
    return {{mul(d_, to_float(byte_of(scales_[g / 4], g % 4)))},
            {mul(minus_dmin_, to_float(byte_of(minima_[g / 4], g % 4)))}};
  }

 private:
  explicit OUTBOARD_INLINE KLevels(const Dwords& head)
      : scales_{bit_and(head.at[1], all_bytes(63)),
                and_or(right(head.at[1], 2), all_bytes(0x30), low_nibbles(head.at[3]))},
        minima_{bit_and(head.at[2], all_bytes(63)),
                and_or(right(head.at[2], 2), all_bytes(0x30), high_nibbles(head.at[3]))},
        d_(low_half_to_float(head.at[0])),
        minus_dmin_(negated(high_half_to_float(head.at[0]))) {}
  Ints scales_[2];
  Ints minima_[2];
  Vec d_;
  Vec minus_dmin_;
};

struct FormatQ4K {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 15;
  static constexpr size_t kBytes = 144;
  using Levels = KLevels;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Levels levels(p, stride);
    OUTBOARD_UNROLL
    for (int pair = 0; pair < 4; ++pair) {
      const Dwords first = Layout::load(p + 16 + 32 * pair, stride);
      const Dwords second = Layout::load(p + 32 + 32 * pair, stride);
      Weights low, high;
      for (int c = 0; c < 4; ++c) {
        low.at[c] = low_nibbles(first.at[c]);
        low.at[4 + c] = low_nibbles(second.at[c]);
        high.at[c] = high_nibbles(first.at[c]);
        high.at[4 + c] = high_nibbles(second.at[c]);
      }
      consume(2 * pair, low, levels.of(2 * pair));
      consume(2 * pair + 1, high, levels.of(2 * pair + 1));
    }
  }
};

struct FormatQ5K {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 31;
  static constexpr size_t kBytes = 176;
  using Levels = KLevels;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Levels levels(p, stride);
    const Dwords fifth[2] = {Layout::load(p + 16, stride), Layout::load(p + 32, stride)};
    OUTBOARD_UNROLL
    for (int pair = 0; pair < 4; ++pair) {
      const Dwords q[2] = {Layout::load(p + 48 + 32 * pair, stride),
                           Layout::load(p + 64 + 32 * pair, stride)};
      // Bit `group` of each byte turned to bit 4.
      const int turn_low = 4 - 2 * pair;
      const int turn_high = 3 - 2 * pair;
      Weights low, high;
      for (int c = 0; c < 8; ++c) {
        const Ints nibbles = q[c / 4].at[c % 4];
        const Ints bits = fifth[c / 4].at[c % 4];
        low.at[c] = and_or(turn(bits, turn_low), all_bytes(16), low_nibbles(nibbles));
        high.at[c] = and_or(turn(bits, turn_high), all_bytes(16), high_nibbles(nibbles));
      }
      consume(2 * pair, low, levels.of(2 * pair));
      consume(2 * pair + 1, high, levels.of(2 * pair + 1));
    }
  }
};

// Signed byte b of each lane.
OUTBOARD_INLINE Ints signed_byte(Ints x, int b) { return right_signed(left(x, 24 - 8 * b), 24); }

struct FormatQ6K {
  static constexpr int kHalves = 2, kGroups = 8, kMost = 63;
  static constexpr size_t kBytes = 210;
  class Levels {
   public:
    OUTBOARD_INLINE Levels(const uint8_t* p, size_t stride)
        : levels_(load_dwords(p + 192, stride)),
          d_(high_half_to_float(load_dwords(p + 194, stride).at[3])) {}
    OUTBOARD_INLINE Scales<2> of(int g) const {
      const Ints four = levels_.at[g / 2];
      const Vec a = mul(d_, to_float(signed_byte(four, 2 * (g & 1))));
      const Vec b = mul(d_, to_float(signed_byte(four, 2 * (g & 1) + 1)));
      return {{a, b}, {shifted(a, 32), shifted(b, 32)}};
    }

   private:
    Dwords levels_;
    Vec d_;
  };
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Levels levels(p, stride);
    OUTBOARD_UNROLL_GROUPS
    for (int half = 0; half < 2; ++half) {
      const Dwords top[2] = {Layout::load(p + 128 + 32 * half, stride),
                             Layout::load(p + 144 + 32 * half, stride)};
      Dwords q[4];
      for (int i = 0; i < 4; ++i) q[i] = Layout::load(p + 64 * half + 16 * i, stride);
      OUTBOARD_UNROLL
      for (int k = 0; k < 4; ++k) {
        const int group = 4 * half + k;
        const int places = 4 - 2 * k;
        Weights w;
        for (int c = 0; c < 8; ++c) {
          const Ints nibbles = q[2 * (k & 1) + c / 4].at[c % 4];
          const Ints bits = top[c / 4].at[c % 4];
          w.at[c] = and_or(turn(bits, places), all_bytes(0x30),
                           k < 2 ? low_nibbles(nibbles) : high_nibbles(nibbles));
        }
        consume(group, w, levels.of(group));
      }
    }
  }
};

struct FormatQ2K {
  static constexpr int kHalves = 2, kGroups = 8, kMost = 3;
  static constexpr size_t kBytes = 84;
  class Levels {
   public:
    OUTBOARD_INLINE Levels(const uint8_t* p, size_t stride)
        : Levels(load_dwords(p, stride), load_dwords(p + 68, stride).at[3]) {}
    OUTBOARD_INLINE Scales<2> of(int g) const {
      Scales<2> s;
      for (int i = 0; i < 2; ++i) {
        const Ints byte = right(levels_.at[g / 2], 16 * (g & 1) + 8 * i);
        const Ints four = all_ints(15);
        s.scale[i] = mul(d_, to_float(bit_and(byte, four)));
        s.minimum[i] = mul(minus_dmin_, to_float(bit_and(right(byte, 4), four)));
      }
      return s;
    }

   private:
    OUTBOARD_INLINE Levels(const Dwords& levels, Ints tail)
        : levels_(levels),
          d_(low_half_to_float(tail)),
          minus_dmin_(negated(high_half_to_float(tail))) {}
    Dwords levels_;
    Vec d_;
    Vec minus_dmin_;
  };
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Levels levels(p, stride);
    OUTBOARD_UNROLL_GROUPS
    for (int half = 0; half < 2; ++half) {
      const Dwords q[2] = {Layout::load(p + 16 + 32 * half, stride),
                           Layout::load(p + 32 + 32 * half, stride)};
      OUTBOARD_UNROLL_GROUPS
      for (int k = 0; k < 4; ++k) {
        const int group = 4 * half + k;
        Weights w;
        for (int c = 0; c < 8; ++c) {
          w.at[c] = bit_and(right(q[c / 4].at[c % 4], 2 * k), all_bytes(3));
        }
        consume(group, w, levels.of(group));
      }
    }
  }
};

struct FormatQ3K {
  static constexpr int kHalves = 2, kGroups = 8, kMost = 7;
  static constexpr size_t kBytes = 110;
  class Levels {
   public:
    OUTBOARD_INLINE Levels(const uint8_t* p, size_t stride)
        : Levels(transpose(drop_2_bytes(load_pieces(p + kTail, stride, 0)),
                           drop_2_bytes(load_pieces(p + kTail, stride, 1)),
                           drop_2_bytes(load_pieces(p + kTail, stride, 2)),
                           drop_2_bytes(load_pieces(p + kTail, stride, 3)))) {}
    OUTBOARD_INLINE Scales<2> of(int g) const {
      Scales<2> s;
      for (int i = 0; i < 2; ++i) {
        const Ints level =
            sub(bit_and(right(levels_[g / 2], 16 * (g & 1) + 8 * i), all_ints(63)), all_ints(32));
        s.scale[i] = mul(d_, to_float(level));
        s.minimum[i] = shifted(s.scale[i], 4);
      }
      return s;
    }

   private:
    // The last 14 bytes of a block: 12 of scales, then d. Four low bits in the first 8 bytes (the
    // low nibbles first), two high bits in the last four.
    static constexpr size_t kTail = 94;
    explicit OUTBOARD_INLINE Levels(const Dwords& tail)
        : levels_{and_or(left(tail.at[2], 4), all_bytes(0x30), low_nibbles(tail.at[0])),
                  and_or(left(tail.at[2], 2), all_bytes(0x30), low_nibbles(tail.at[1])),
                  and_or(tail.at[2], all_bytes(0x30), high_nibbles(tail.at[0])),
                  and_or(right(tail.at[2], 2), all_bytes(0x30), high_nibbles(tail.at[1]))},
          d_(low_half_to_float(tail.at[3])) {}
    Ints levels_[4];
    Vec d_;
  };
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Levels levels(p, stride);
    const Dwords third[2] = {Layout::load(p, stride), Layout::load(p + 16, stride)};
    OUTBOARD_UNROLL_GROUPS
    for (int half = 0; half < 2; ++half) {
      const Dwords q[2] = {Layout::load(p + 32 + 32 * half, stride),
                           Layout::load(p + 48 + 32 * half, stride)};
      OUTBOARD_UNROLL_GROUPS
      for (int k = 0; k < 4; ++k) {
        const int group = 4 * half + k;
        const int places = 2 - group;
        Weights w;
        for (int c = 0; c < 8; ++c) {
          const Ints low = bit_and(right(q[c / 4].at[c % 4], 2 * k), all_bytes(3));
          w.at[c] = and_or(turn(third[c / 4].at[c % 4], places), all_bytes(4), low);
        }
        consume(group, w, levels.of(group));
      }
    }
  }
};

}  // namespace
}  // namespace outboard::devices::cpu
