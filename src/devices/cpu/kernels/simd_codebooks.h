// The block formats of 1 to 3 bits, and Q8_K, to the shape of simd_formats.h.
//
// Those of the IQ family name rows of a codebook, of 8 or 4 columns (formats/block_tables.h): these
// are fetched one by one, put together to pieces of 16 columns and transposed as if they had lain
// in the file. Signs are the bits of a 32-bit number for each row and group, element 0 lowest.
#pragma once

#include "devices/cpu/kernels/simd_formats.h"
#include "formats/block_tables.h"

namespace outboard::devices::cpu {
namespace {

OUTBOARD_INLINE uint32_t load_16_bits(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

// entry(row, k): columns 8k..8k+7 of the row.
template <typename Layout, typename Entry>
OUTBOARD_INLINE Weights fetched(Entry entry) {
  Weights w;
  OUTBOARD_UNROLL
  for (size_t half = 0; half < 2; ++half) {
    const auto piece = [&](size_t row) OUTBOARD_INLINE_LAMBDA {
      return Piece{entry(row, 2 * half), entry(row, 2 * half + 1)};
    };
    const Dwords q = Layout::put(piece);
    OUTBOARD_UNROLL
    for (size_t c = 0; c < 4; ++c) w.at[4 * half + c] = q.at[c];
  }
  return w;
}

// The 28 bits of four times seven signs to four times eight: the eighth makes their number even.
OUTBOARD_INLINE Ints eighth_signs(Ints sevens) {
  Ints odd = bit_xor(sevens, right(sevens, 4));
  odd = bit_xor(odd, right(odd, 2));
  odd = bit_and(bit_xor(odd, right(odd, 1)), all_bytes(1));
  return bit_or(sevens, left(odd, 7));
}
OUTBOARD_INLINE Ints packed_signs(Ints x) {
  const Ints low = bit_or(bit_and(x, all_ints(0x7F)), bit_and(left(x, 1), all_ints(0x7F00)));
  return eighth_signs(bit_or(low, bit_or(bit_and(left(x, 2), all_ints(0x7F0000)),
                                         bit_and(left(x, 3), all_ints(0x7F000000)))));
}

// Magnitudes below 128 and their signs, as bytes of which kByteZero stands for 0.
template <typename Layout>
OUTBOARD_INLINE Weights with_signs(Weights w, Ints signs) {
  OUTBOARD_UNROLL
  for (int c = 0; c < 8; ++c)
    w.at[c] = bit_xor(negate_where(w.at[c], Layout::spread(signs, c), Layout::own_bit(c)),
                      all_bytes(kByteZero));
  return w;
}

OUTBOARD_INLINE Ints nibble_of(Ints x, int index) {
  return bit_and(right(x, 4 * index), all_ints(15));
}
// d * (0.5 + level) * step: exact, for d has 11 bits.
OUTBOARD_INLINE Vec half_step_scale(Vec d, Ints level, float step) {
  return mul(d, fma(to_float(level), all(step), all(0.5F * step)));
}

struct FormatIq2Xxs {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 255;
  static constexpr size_t kBytes = 66;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Vec d = load_halves(p, stride);
    for (int pair = 0; pair < 4; ++pair) {
      const Dwords codes = load_dwords(p + 2 + 16 * pair, stride);
      for (int i = 0; i < 2; ++i) {
        const uint8_t* index = p + 2 + 16 * pair + 8 * i;
        const Weights w = fetched<Layout>([&](size_t row, size_t k) OUTBOARD_INLINE_LAMBDA {
          return formats::kIq2XxsGrid[index[row * stride + k]];
        });
        const Ints packed = codes.at[2 * i + 1];
        const Vec scale = half_step_scale(d, right(packed, 28), 0.25F);
        consume(2 * pair + i, with_signs<Layout>(w, packed_signs(packed)),
                Scales<1>{{scale}, {shifted(scale, kByteZero)}});
      }
    }
  }
};

// Of two scales for each group, the nibbles of a byte.
OUTBOARD_INLINE Scales<2> iq2_scales(Vec d, const Ints* levels, int group) {
  Scales<2> s;
  for (int i = 0; i < 2; ++i) {
    s.scale[i] = half_step_scale(d, nibble_of(levels[group / 4], 2 * (group % 4) + i), 0.25F);
    s.minimum[i] = shifted(s.scale[i], kByteZero);
  }
  return s;
}

struct FormatIq2Xs {
  static constexpr int kHalves = 2, kGroups = 8, kMost = 255;
  static constexpr size_t kBytes = 74;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Vec d = load_halves(p, stride);
    const Dwords tail = load_dwords(p + 58, stride);
    for (int pair = 0; pair < 4; ++pair) {
      const Dwords codes = load_dwords(p + 2 + 16 * pair, stride);
      for (int i = 0; i < 2; ++i) {
        const uint8_t* code = p + 2 + 16 * pair + 8 * i;
        const Weights w = fetched<Layout>([&](size_t row, size_t k) OUTBOARD_INLINE_LAMBDA {
          return formats::kIq2XsGrid[load_16_bits(code + row * stride + 2 * k) & 511];
        });
        // The top seven bits of each 16.
        const Ints a = codes.at[2 * i];
        const Ints b = codes.at[2 * i + 1];
        const Ints sevens = bit_or(
            bit_or(bit_and(right(a, 9), all_ints(0x7F)), bit_and(right(a, 17), all_ints(0x7F00))),
            bit_or(bit_and(left(b, 7), all_ints(0x7F0000)),
                   bit_and(right(b, 1), all_ints(0x7F000000))));
        const int group = 2 * pair + i;
        consume(group, with_signs<Layout>(w, eighth_signs(sevens)),
                iq2_scales(d, tail.at + 2, group));
      }
    }
  }
};

struct FormatIq2S {
  static constexpr int kHalves = 2, kGroups = 8, kMost = 255;
  static constexpr size_t kBytes = 82;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Vec d = load_halves(p, stride);
    const Dwords tail = load_dwords(p + 66, stride);
    for (int half = 0; half < 2; ++half) {
      const Dwords signs = load_dwords(p + 34 + 16 * half, stride);
      for (int i = 0; i < 4; ++i) {
        const int group = 4 * half + i;
        const Weights w = fetched<Layout>([&](size_t row, size_t k) OUTBOARD_INLINE_LAMBDA {
          const uint8_t* at = p + row * stride;
          const size_t high = (static_cast<size_t>(at[66 + group]) >> (2 * k)) & 3;
          return formats::kIq2SGrid[at[2 + 4 * static_cast<size_t>(group) + k] | (high << 8)];
        });
        consume(group, with_signs<Layout>(w, signs.at[i]), iq2_scales(d, tail.at + 2, group));
      }
    }
  }
};

struct FormatIq3Xxs {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 255;
  static constexpr size_t kBytes = 98;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Vec d = load_halves(p, stride);
    for (int half = 0; half < 2; ++half) {
      const Dwords codes = load_dwords(p + 66 + 16 * half, stride);
      for (int i = 0; i < 4; ++i) {
        const uint8_t* index = p + 2 + 32 * half + 8 * i;
        const Weights w = fetched<Layout>([&](size_t row, size_t k) OUTBOARD_INLINE_LAMBDA {
          const uint8_t* two = index + row * stride + 2 * k;
          const uint64_t high = formats::kIq3XxsGrid[two[1]];
          return formats::kIq3XxsGrid[two[0]] | (high << 32);
        });
        const Vec scale = half_step_scale(d, right(codes.at[i], 28), 0.5F);
        consume(4 * half + i, with_signs<Layout>(w, packed_signs(codes.at[i])),
                Scales<1>{{scale}, {shifted(scale, kByteZero)}});
      }
    }
  }
};

struct FormatIq3S {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 255;
  static constexpr size_t kBytes = 110;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Vec d = load_halves(p, stride);
    const Ints levels = load_dwords(p + 94, stride).at[3];
    for (int half = 0; half < 2; ++half) {
      const Dwords signs = load_dwords(p + 74 + 16 * half, stride);
      for (int i = 0; i < 4; ++i) {
        const int group = 4 * half + i;
        const Weights w = fetched<Layout>([&](size_t row, size_t k) OUTBOARD_INLINE_LAMBDA {
          const uint8_t* two = p + row * stride + 2 + 8 * static_cast<size_t>(group) + 2 * k;
          const size_t ninth =
              static_cast<size_t>(p[row * stride + 66 + static_cast<size_t>(group)]) << 8 >>
              (2 * k);
          const uint64_t high = formats::kIq3SGrid[two[1] | ((ninth >> 1) & 256)];
          return formats::kIq3SGrid[two[0] | (ninth & 256)] | (high << 32);
        });
        const Ints level = add(left(nibble_of(levels, group), 1), all_ints(1));
        const Vec scale = mul(d, to_float(level));
        consume(group, with_signs<Layout>(w, signs.at[i]),
                Scales<1>{{scale}, {shifted(scale, kByteZero)}});
      }
    }
  }
};

// Digits -1, 0, 1 of bytes plus one.
OUTBOARD_INLINE Ints digits_from_0(Ints x) {
  return bit_and(add(bit_and(x, all_bytes(3)), all_bytes(1)), all_bytes(3));
}

struct FormatIq1S {  // scale * (digit + an eighth, or less it)
  static constexpr int kHalves = 1, kGroups = 8, kMost = 3;
  static constexpr size_t kBytes = 50;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Vec d = load_halves(p, stride);
    const Dwords tail = load_dwords(p + 34, stride);
    for (int group = 0; group < 8; ++group) {
      const uint8_t* index = p + 2 + 4 * group;
      const uint8_t* high = p + 34 + 2 * group;
      Weights w = fetched<Layout>([&](size_t row, size_t k) OUTBOARD_INLINE_LAMBDA {
        const uint32_t bits = load_16_bits(high + row * stride) >> (3 * k);
        return formats::kIq1Grid[index[row * stride + k] | ((bits & 7) << 8)];
      });
      for (Ints& column : w.at) column = digits_from_0(column);
      const Ints bits = right(tail.at[group / 2], 16 * (group % 2));
      const Ints level = bit_or(bit_and(right(bits, 11), all_ints(14)), all_ints(1));
      const Vec scale = mul(d, to_float(level));
      // In eighths: the digits' zero is at 1, and the shift one up or down.
      const Ints eighths = add(bit_and(right(bits, 14), all_ints(2)), all_ints(7));
      consume(group, w, Scales<1>{{scale}, {mul(scale, mul(to_float(eighths), all(-0.125F)))}});
    }
  }
};

struct FormatIq1M {  // the same, but the shift is that of 8 columns: whole numbers of eighths
  static constexpr int kHalves = 2, kGroups = 8, kMost = 18;
  static constexpr size_t kBytes = 56;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Dwords high = load_dwords(p + 32, stride);
    const Dwords tail = load_dwords(p + 40, stride);
    const Ints bits =
        bit_or(bit_or(nibble_of(tail.at[2], 3), left(right(tail.at[2], 28), 4)),
               bit_or(left(nibble_of(tail.at[3], 3), 8), left(right(tail.at[3], 28), 12)));
    const Vec d = mul(low_half_to_float(bits), all(0.125F));
    for (int group = 0; group < 8; ++group) {
      const uint8_t* index = p + 4 * group;
      const uint8_t* top = p + 32 + 2 * group;
      Weights w = fetched<Layout>([&](size_t row, size_t k) OUTBOARD_INLINE_LAMBDA {
        const uint32_t three = (load_16_bits(top + row * stride) >> (4 * k)) & 7;
        return formats::kIq1Grid[index[row * stride + k] | (three << 8)];
      });
      // Of each nibble the top bit, for all 8 columns.
      const Ints shifts = right(high.at[group / 2], 16 * (group % 2) + 3);
      Ints up = bit_and(shifts, all_ints(1));
      for (int k = 1; k < 4; ++k)
        up = bit_or(up, bit_and(left(shifts, 4 * k), all_ints(1 << (8 * k))));
      up = bit_xor(sub(left(up, 8), up), all_ints(-1));
      for (int c = 0; c < 8; ++c) {
        const Ints sixteens = set_16_where(all_ints(0), Layout::spread(up, c), Layout::own_bit(c));
        w.at[c] = bit_or(left(digits_from_0(w.at[c]), 3), right(sixteens, 3));
      }
      Scales<2> s;
      for (int i = 0; i < 2; ++i) {
        const int at = 16 * (group / 2 % 2) + 3 * ((2 * group + i) % 4);
        const Ints three = bit_and(right(tail.at[2 + group / 4], at), all_ints(7));
        s.scale[i] = mul(d, to_float(add(left(three, 1), all_ints(1))));
        s.minimum[i] = shifted(s.scale[i], 9);
      }
      consume(group, w, s);
    }
  }
};

// Five digits in base 3 of each byte, as a fraction of 256: taking three times it, what goes beyond
// is the first digit, and the rest a fraction again. Done for bytes in 16 bits each.
struct Fractions {
  Ints even, odd;
  explicit OUTBOARD_INLINE Fractions(Ints bytes)
      : even(bit_and(bytes, all_ints(0x00FF00FF))),
        odd(bit_and(right(bytes, 8), all_ints(0x00FF00FF))) {}
  OUTBOARD_INLINE Ints next_digits() {
    const Ints mask = all_ints(0x00FF00FF);
    const Ints a = add(even, left(even, 1));
    const Ints b = add(odd, left(odd, 1));
    even = bit_and(a, mask);
    odd = bit_and(b, mask);
    return bit_or(bit_and(right(a, 8), mask), bit_and(b, all_ints(static_cast<int>(0xFF00FF00))));
  }
};

struct FormatTq1_0 {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 3;
  static constexpr size_t kBytes = 54;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Vec d = high_half_to_float(load_dwords(p + 38, stride).at[3]);
    const Scales<1> s{{d}, {shifted(d, 1)}};
    Weights w;
    {  // 32 bytes of five digits: five groups
      const Dwords low = Layout::load(p, stride);
      const Dwords high = Layout::load(p + 16, stride);
      Fractions f[8] = {Fractions(low.at[0]),  Fractions(low.at[1]),  Fractions(low.at[2]),
                        Fractions(low.at[3]),  Fractions(high.at[0]), Fractions(high.at[1]),
                        Fractions(high.at[2]), Fractions(high.at[3])};
      for (int group = 0; group < 5; ++group) {
        for (int c = 0; c < 8; ++c) w.at[c] = f[c].next_digits();
        consume(group, w, s);
      }
    }
    // 16 bytes of five, and four of four.
    const Dwords more = Layout::load(p + 32, stride);
    Fractions f[4] = {Fractions(more.at[0]), Fractions(more.at[1]), Fractions(more.at[2]),
                      Fractions(more.at[3])};
    for (int group = 5; group < 8; ++group) {
      for (int c = 0; c < 4; ++c) w.at[c] = f[c].next_digits();
      if (group == 7) break;
      for (int c = 0; c < 4; ++c) w.at[4 + c] = f[c].next_digits();
      consume(group, w, s);
    }
    Fractions last(load_dwords(p + 36, stride).at[3]);
    Dwords digits;
    for (Ints& four : digits.at) four = last.next_digits();
    digits = Layout::placed(digits);
    for (int c = 0; c < 4; ++c) w.at[4 + c] = digits.at[c];
    consume(7, w, s);
  }
};

struct FormatTq2_0 {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 3;
  static constexpr size_t kBytes = 66;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Vec d = high_half_to_float(load_dwords(p + 50, stride).at[3]);
    for (int half = 0; half < 2; ++half) {
      const Dwords q[2] = {Layout::load(p + 32 * half, stride),
                           Layout::load(p + 16 + 32 * half, stride)};
      for (int k = 0; k < 4; ++k) {
        Weights w;
        for (int c = 0; c < 8; ++c) {
          w.at[c] = bit_and(right(q[c / 4].at[c % 4], 2 * k), all_bytes(3));
        }
        consume(4 * half + k, w, Scales<1>{{d}, {shifted(d, 1)}});
      }
    }
  }
};

struct FormatQ8K {
  static constexpr int kHalves = 1, kGroups = 8, kMost = 255;
  static constexpr size_t kBytes = 292;
  template <typename Layout, typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Vec d = as_floats(load_dwords(p, stride).at[0]);
    for (int group = 0; group < 8; ++group) {
      consume(group, byte_weights<Layout>(p + 4 + 32 * group, stride),
              Scales<1>{{d}, {shifted(d, kByteZero)}});
    }
  }
};

}  // namespace
}  // namespace outboard::devices::cpu
