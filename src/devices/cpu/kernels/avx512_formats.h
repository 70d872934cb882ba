// Block formats to one shape, sixteen rows at a time, for AVX-512.
//
// A tile is kRowTile rows of one weight. Format::for_each_group(block, stride, consume) takes the
// tile's blocks at one place along the columns (row r's block is at block + r * stride) and calls
//   consume(group, weights, scales, minima)
// for each group of 32 columns of the block in order, where lane r is row r: byte b of lane r of
// weights[c] is an unsigned integer u of column 4 * c + b, and the value is scale * u + minimum.
// Formats with kHalves = 2 have a scale and a minimum for each 16 columns. Signed formats are
// shifted to unsigned: the shift sits in the minimum. No load leaves the row's block. Layouts:
// formats/blocks.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "devices/cpu/kernels/inline.h"

namespace outboard::cpu {
namespace {

struct Weights {
  __m512i column[8];
};
template <int kHalves>
struct Scales {
  __m512 scale[kHalves];
  __m512 minimum[kHalves];
};

// Four 16-byte pieces to a register: rows k, 4 + k, 8 + k, 12 + k.
OUTBOARD_INLINE __m512i load_rows(const uint8_t* p, size_t stride, size_t k) {
  const auto piece = [&](size_t row) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + row * stride));
  };
  __m512i rows = _mm512_castsi128_si512(piece(k));
  rows = _mm512_inserti32x4(rows, piece(4 + k), 1);
  rows = _mm512_inserti32x4(rows, piece(8 + k), 2);
  return _mm512_inserti32x4(rows, piece(12 + k), 3);
}

struct Dwords {
  __m512i at[4];
};
// 16 bytes of each row at p: at[c], lane r = bytes 4c..4c+3 of row r. (Unused ones cost nothing.)
OUTBOARD_INLINE Dwords transpose(__m512i z0, __m512i z1, __m512i z2, __m512i z3) {
  const __m512i a = _mm512_unpacklo_epi32(z0, z1);
  const __m512i b = _mm512_unpackhi_epi32(z0, z1);
  const __m512i c = _mm512_unpacklo_epi32(z2, z3);
  const __m512i d = _mm512_unpackhi_epi32(z2, z3);
  return {{_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c), _mm512_unpacklo_epi64(b, d),
           _mm512_unpackhi_epi64(b, d)}};
}
OUTBOARD_INLINE Dwords load_dwords(const uint8_t* p, size_t stride) {
  return transpose(load_rows(p, stride, 0), load_rows(p, stride, 1), load_rows(p, stride, 2),
                   load_rows(p, stride, 3));
}

OUTBOARD_INLINE __m512 low_half_to_float(__m512i x) {
  return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x));
}
OUTBOARD_INLINE __m512 high_half_to_float(__m512i x) {
  return low_half_to_float(_mm512_srli_epi32(x, 16));
}
OUTBOARD_INLINE __m512i bytes(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
OUTBOARD_INLINE __m512i low_nibbles(__m512i x) { return _mm512_and_si512(x, bytes(15)); }
OUTBOARD_INLINE __m512i high_nibbles(__m512i x) { return low_nibbles(_mm512_srli_epi32(x, 4)); }
// (x & mask) | other
OUTBOARD_INLINE __m512i and_or(__m512i x, __m512i mask, __m512i other) {
  return _mm512_ternarylogic_epi32(x, mask, other, 0xEA);
}
OUTBOARD_INLINE __m512 shifted(__m512 scale, float zero) {
  return _mm512_mul_ps(scale, _mm512_set1_ps(-zero));
}
OUTBOARD_INLINE __m512 to_float(__m512i x) { return _mm512_cvtepi32_ps(x); }

// Nibbles as in Q4_0: byte i holds element i and element i + 16.
OUTBOARD_INLINE Weights nibble_weights(const Dwords& q) {
  Weights w;
  for (int c = 0; c < 4; ++c) {
    w.column[c] = low_nibbles(q.at[c]);
    w.column[4 + c] = high_nibbles(q.at[c]);
  }
  return w;
}

// Adds 16 where bit i of lane r of `bits` is set, to element i of row r.
OUTBOARD_INLINE void add_fifth_bits(Weights& w, __m512i bits) {
  const __m512i low_bits = _mm512_set1_epi32(0x08040201);
  const __m512i high_bits = _mm512_set1_epi32(static_cast<int>(0x80402010));
  for (int b = 0; b < 4; ++b) {  // byte b of the bits: elements 8b..8b+7
    const __m512i spread = _mm512_shuffle_epi8(
        bits, _mm512_add_epi8(
                  _mm512_broadcast_i32x4(_mm_set_epi32(0x0C0C0C0C, 0x08080808, 0x04040404, 0)),
                  bytes(b)));
    const __mmask64 low = _mm512_test_epi8_mask(spread, low_bits);
    const __mmask64 high = _mm512_test_epi8_mask(spread, high_bits);
    __m512i& first = w.column[2 * b];
    __m512i& second = w.column[2 * b + 1];
    first = _mm512_mask_add_epi8(first, low, first, bytes(16));
    second = _mm512_mask_add_epi8(second, high, second, bytes(16));
  }
}

struct FormatQ4_0 {
  static constexpr int kHalves = 1, kGroups = 1;
  static constexpr size_t kBytes = 18;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = nibble_weights(load_dwords(p + 2, stride));
    const __m512 d = low_half_to_float(load_dwords(p, stride).at[0]);
    consume(0, w, Scales<1>{{d}, {shifted(d, 8)}});
  }
};

struct FormatQ4_1 {
  static constexpr int kHalves = 1, kGroups = 1;
  static constexpr size_t kBytes = 20;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = nibble_weights(load_dwords(p + 4, stride));
    const __m512i dm = load_dwords(p, stride).at[0];
    consume(0, w, Scales<1>{{low_half_to_float(dm)}, {high_half_to_float(dm)}});
  }
};

struct FormatQ5_0 {
  static constexpr int kHalves = 1, kGroups = 1;
  static constexpr size_t kBytes = 22;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    Weights w = nibble_weights(load_dwords(p + 6, stride));
    const Dwords head = load_dwords(p, stride);
    add_fifth_bits(
        w, _mm512_or_si512(_mm512_srli_epi32(head.at[0], 16), _mm512_slli_epi32(head.at[1], 16)));
    const __m512 d = low_half_to_float(head.at[0]);
    consume(0, w, Scales<1>{{d}, {shifted(d, 16)}});
  }
};

struct FormatQ5_1 {
  static constexpr int kHalves = 1, kGroups = 1;
  static constexpr size_t kBytes = 24;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    Weights w = nibble_weights(load_dwords(p + 8, stride));
    const Dwords head = load_dwords(p, stride);
    add_fifth_bits(w, head.at[1]);
    consume(0, w, Scales<1>{{low_half_to_float(head.at[0])}, {high_half_to_float(head.at[0])}});
  }
};

struct FormatQ8_0 {
  static constexpr int kHalves = 1, kGroups = 1;
  static constexpr size_t kBytes = 34;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Dwords low = load_dwords(p + 2, stride);
    const Dwords high = load_dwords(p + 18, stride);
    Weights w;
    for (int c = 0; c < 4; ++c) {
      w.column[c] = _mm512_xor_si512(low.at[c], bytes(128));
      w.column[4 + c] = _mm512_xor_si512(high.at[c], bytes(128));
    }
    const __m512 d = low_half_to_float(load_dwords(p, stride).at[0]);
    consume(0, w, Scales<1>{{d}, {shifted(d, 128)}});
  }
};

// Entries of the two codebooks of 16 numbers, shifted to unsigned.
OUTBOARD_INLINE __m512i look_up(__m512i index, __m128i table) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), index);
}
OUTBOARD_INLINE Weights look_up(Weights w, __m128i table) {
  for (__m512i& column : w.column) column = look_up(column, table);
  return w;
}
OUTBOARD_INLINE __m128i iq4_table() {  // + 128
  return _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129),
                       static_cast<char>(141), static_cast<char>(153), static_cast<char>(166),
                       static_cast<char>(181), static_cast<char>(197), static_cast<char>(217),
                       static_cast<char>(241));
}
OUTBOARD_INLINE __m128i mxfp4_table() {  // + 12
  return _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
}

struct FormatIq4Nl {
  static constexpr int kHalves = 1, kGroups = 1;
  static constexpr size_t kBytes = 18;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = look_up(nibble_weights(load_dwords(p + 2, stride)), iq4_table());
    const __m512 d = low_half_to_float(load_dwords(p, stride).at[0]);
    consume(0, w, Scales<1>{{d}, {shifted(d, 128)}});
  }
};

struct FormatMxfp4 {
  static constexpr int kHalves = 1, kGroups = 1;
  static constexpr size_t kBytes = 17;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Weights w = look_up(nibble_weights(load_dwords(p + 1, stride)), mxfp4_table());
    const __m512i e = _mm512_and_si512(load_dwords(p, stride).at[0], _mm512_set1_epi32(255));
    // 2^(e - 128): the two smallest are denormal.
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __m512i denormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    const __m512 d = _mm512_castsi512_ps(
        _mm512_mask_mov_epi32(normal, _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2)), denormal));
    consume(0, w, Scales<1>{{d}, {shifted(d, 12)}});
  }
};

struct FormatIq4Xs {
  static constexpr int kHalves = 1, kGroups = 8;
  static constexpr size_t kBytes = 136;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Dwords head = load_dwords(p, stride);
    const __m512 d = low_half_to_float(head.at[0]);
    const __m512i high = _mm512_srli_epi32(head.at[0], 16);
    for (int g = 0; g < 8; ++g) {
      const Weights w = look_up(nibble_weights(load_dwords(p + 8 + 16 * g, stride)), iq4_table());
      const __m512i low4 = _mm512_and_si512(_mm512_srlv_epi32(head.at[1], _mm512_set1_epi32(4 * g)),
                                            _mm512_set1_epi32(15));
      const __m512i top2 =
          _mm512_and_si512(_mm512_srlv_epi32(high, _mm512_set1_epi32(2 * g)), _mm512_set1_epi32(3));
      const __m512i level = _mm512_sub_epi32(_mm512_or_si512(low4, _mm512_slli_epi32(top2, 4)),
                                             _mm512_set1_epi32(32));
      const __m512 scale = _mm512_mul_ps(d, to_float(level));
      consume(g, w, Scales<1>{{scale}, {shifted(scale, 128)}});
    }
  }
};

// Scale and minimum of one group of a Q4_K or Q5_K block, from its first 16 bytes.
OUTBOARD_INLINE Scales<1> k_scales(const Dwords& head, __m512 d, __m512 dmin, int g) {
  const __m512i shift = _mm512_set1_epi32(8 * (g & 3));
  const __m512i a = _mm512_srlv_epi32(head.at[1], shift);
  const __m512i b = _mm512_srlv_epi32(head.at[2], shift);
  const __m512i c = _mm512_srlv_epi32(head.at[3], shift);
  const __m512i six = _mm512_set1_epi32(63);
  const __m512i four = _mm512_set1_epi32(15);
  const __m512i top = _mm512_set1_epi32(0x30);
  __m512i scale = _mm512_and_si512(a, six);
  __m512i minimum = _mm512_and_si512(b, six);
  if (g >= 4) {
    scale = and_or(_mm512_srli_epi32(a, 2), top, _mm512_and_si512(c, four));
    minimum = and_or(_mm512_srli_epi32(b, 2), top, _mm512_and_si512(_mm512_srli_epi32(c, 4), four));
  }
  return {{_mm512_mul_ps(d, to_float(scale))},
          {_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(dmin, to_float(minimum)))}};
}

struct FormatQ4K {
  static constexpr int kHalves = 1, kGroups = 8;
  static constexpr size_t kBytes = 144;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Dwords head = load_dwords(p, stride);
    const __m512 d = low_half_to_float(head.at[0]);
    const __m512 dmin = high_half_to_float(head.at[0]);
    for (int pair = 0; pair < 4; ++pair) {
      const Dwords first = load_dwords(p + 16 + 32 * pair, stride);
      const Dwords second = load_dwords(p + 32 + 32 * pair, stride);
      Weights low, high;
      for (int c = 0; c < 4; ++c) {
        low.column[c] = low_nibbles(first.at[c]);
        low.column[4 + c] = low_nibbles(second.at[c]);
        high.column[c] = high_nibbles(first.at[c]);
        high.column[4 + c] = high_nibbles(second.at[c]);
      }
      consume(2 * pair, low, k_scales(head, d, dmin, 2 * pair));
      consume(2 * pair + 1, high, k_scales(head, d, dmin, 2 * pair + 1));
    }
  }
};

struct FormatQ5K {
  static constexpr int kHalves = 1, kGroups = 8;
  static constexpr size_t kBytes = 176;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Dwords head = load_dwords(p, stride);
    const __m512 d = low_half_to_float(head.at[0]);
    const __m512 dmin = high_half_to_float(head.at[0]);
    const Dwords fifth[2] = {load_dwords(p + 16, stride), load_dwords(p + 32, stride)};
    for (int pair = 0; pair < 4; ++pair) {
      const Dwords q[2] = {load_dwords(p + 48 + 32 * pair, stride),
                           load_dwords(p + 64 + 32 * pair, stride)};
      // Bit `group` of each byte turned to bit 4.
      const __m512i turn_low = _mm512_set1_epi32((4 - 2 * pair) & 31);
      const __m512i turn_high = _mm512_set1_epi32((3 - 2 * pair) & 31);
      Weights low, high;
      for (int c = 0; c < 8; ++c) {
        const __m512i nibbles = q[c / 4].at[c % 4];
        const __m512i bits = fifth[c / 4].at[c % 4];
        low.column[c] = and_or(_mm512_rolv_epi32(bits, turn_low), bytes(16), low_nibbles(nibbles));
        high.column[c] =
            and_or(_mm512_rolv_epi32(bits, turn_high), bytes(16), high_nibbles(nibbles));
      }
      consume(2 * pair, low, k_scales(head, d, dmin, 2 * pair));
      consume(2 * pair + 1, high, k_scales(head, d, dmin, 2 * pair + 1));
    }
  }
};

// Signed byte b of each lane.
OUTBOARD_INLINE __m512i signed_byte(__m512i x, int b) {
  return _mm512_srai_epi32(_mm512_sllv_epi32(x, _mm512_set1_epi32(24 - 8 * b)), 24);
}

struct FormatQ6K {
  static constexpr int kHalves = 2, kGroups = 8;
  static constexpr size_t kBytes = 210;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Dwords levels = load_dwords(p + 192, stride);
    const __m512 d = high_half_to_float(load_dwords(p + 194, stride).at[3]);
    for (int half = 0; half < 2; ++half) {
      const Dwords top[2] = {load_dwords(p + 128 + 32 * half, stride),
                             load_dwords(p + 144 + 32 * half, stride)};
      Dwords q[4];
      for (int i = 0; i < 4; ++i) q[i] = load_dwords(p + 64 * half + 16 * i, stride);
      for (int k = 0; k < 4; ++k) {
        const int group = 4 * half + k;
        const __m512i turn = _mm512_set1_epi32((4 - 2 * k) & 31);
        const __m512i down = _mm512_set1_epi32(k < 2 ? 0 : 4);
        Weights w;
        for (int c = 0; c < 8; ++c) {
          const __m512i nibbles = q[2 * (k & 1) + c / 4].at[c % 4];
          const __m512i bits = top[c / 4].at[c % 4];
          w.column[c] = and_or(_mm512_rolv_epi32(bits, turn), bytes(0x30),
                               low_nibbles(_mm512_srlv_epi32(nibbles, down)));
        }
        const __m512i four = levels.at[group / 2];
        const __m512 a = _mm512_mul_ps(d, to_float(signed_byte(four, 2 * (group & 1))));
        const __m512 b = _mm512_mul_ps(d, to_float(signed_byte(four, 2 * (group & 1) + 1)));
        consume(group, w, Scales<2>{{a, b}, {shifted(a, 32), shifted(b, 32)}});
      }
    }
  }
};

struct FormatQ2K {
  static constexpr int kHalves = 2, kGroups = 8;
  static constexpr size_t kBytes = 84;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    const Dwords levels = load_dwords(p, stride);
    const __m512i tail = load_dwords(p + 68, stride).at[3];
    const __m512 d = low_half_to_float(tail);
    const __m512 dmin = _mm512_sub_ps(_mm512_setzero_ps(), high_half_to_float(tail));
    for (int half = 0; half < 2; ++half) {
      const Dwords q[2] = {load_dwords(p + 16 + 32 * half, stride),
                           load_dwords(p + 32 + 32 * half, stride)};
      for (int k = 0; k < 4; ++k) {
        const int group = 4 * half + k;
        Weights w;
        for (int c = 0; c < 8; ++c) {
          w.column[c] = _mm512_and_si512(
              _mm512_srlv_epi32(q[c / 4].at[c % 4], _mm512_set1_epi32(2 * k)), bytes(3));
        }
        Scales<2> s;
        for (int i = 0; i < 2; ++i) {
          const __m512i byte =
              _mm512_srlv_epi32(levels.at[group / 2], _mm512_set1_epi32(16 * (group & 1) + 8 * i));
          const __m512i four = _mm512_set1_epi32(15);
          s.scale[i] = _mm512_mul_ps(d, to_float(_mm512_and_si512(byte, four)));
          s.minimum[i] =
              _mm512_mul_ps(dmin, to_float(_mm512_and_si512(_mm512_srli_epi32(byte, 4), four)));
        }
        consume(group, w, s);
      }
    }
  }
};

struct FormatQ3K {
  static constexpr int kHalves = 2, kGroups = 8;
  static constexpr size_t kBytes = 110;
  template <typename Consume>
  static OUTBOARD_INLINE void for_each_group(const uint8_t* p, size_t stride, Consume consume) {
    // The last 14 bytes: 12 of scales, then d. Four low bits in the first 8 bytes (the low nibbles
    // first), two high bits in the last four.
    const uint8_t* tail_at = p + 94;
    const Dwords tail = transpose(_mm512_bsrli_epi128(load_rows(tail_at, stride, 0), 2),
                                  _mm512_bsrli_epi128(load_rows(tail_at, stride, 1), 2),
                                  _mm512_bsrli_epi128(load_rows(tail_at, stride, 2), 2),
                                  _mm512_bsrli_epi128(load_rows(tail_at, stride, 3), 2));
    const __m512 d = low_half_to_float(tail.at[3]);
    const __m512i top_mask = bytes(0x30);
    const __m512i levels[4] = {
        and_or(_mm512_slli_epi32(tail.at[2], 4), top_mask, low_nibbles(tail.at[0])),
        and_or(_mm512_slli_epi32(tail.at[2], 2), top_mask, low_nibbles(tail.at[1])),
        and_or(tail.at[2], top_mask, high_nibbles(tail.at[0])),
        and_or(_mm512_srli_epi32(tail.at[2], 2), top_mask, high_nibbles(tail.at[1]))};
    const Dwords third[2] = {load_dwords(p, stride), load_dwords(p + 16, stride)};
    for (int half = 0; half < 2; ++half) {
      const Dwords q[2] = {load_dwords(p + 32 + 32 * half, stride),
                           load_dwords(p + 48 + 32 * half, stride)};
      for (int k = 0; k < 4; ++k) {
        const int group = 4 * half + k;
        const __m512i turn = _mm512_set1_epi32((2 - group) & 31);
        Weights w;
        for (int c = 0; c < 8; ++c) {
          const __m512i low = _mm512_and_si512(
              _mm512_srlv_epi32(q[c / 4].at[c % 4], _mm512_set1_epi32(2 * k)), bytes(3));
          w.column[c] = and_or(_mm512_rolv_epi32(third[c / 4].at[c % 4], turn), bytes(4), low);
        }
        Scales<2> s;
        for (int i = 0; i < 2; ++i) {
          const __m512i level = _mm512_sub_epi32(
              _mm512_and_si512(
                  _mm512_srlv_epi32(levels[group / 2], _mm512_set1_epi32(16 * (group & 1) + 8 * i)),
                  _mm512_set1_epi32(63)),
              _mm512_set1_epi32(32));
          s.scale[i] = _mm512_mul_ps(d, to_float(level));
          s.minimum[i] = shifted(s.scale[i], 4);
        }
        consume(group, w, s);
      }
    }
  }
};

}  // namespace
}  // namespace outboard::cpu
