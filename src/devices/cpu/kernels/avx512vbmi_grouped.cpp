// Block formats with AVX-512 VBMI and GFNI, for one token.
//
// A register holds four groups of one row, 16 bytes of each, instead of the same bytes of four
// rows: what lies together in the file is one load, and scales of two bytes come along with it. The
// lanes of the sums are exchanged until rows lie in lanes again (integers are exact in any order);
// scales and float sums are then those of simd_grouped.h, in the same order, so that the bits are,
// too. All else is left to the avx512 table: with several tokens the exchange costs more than is
// saved.
// clang-format off
#include "devices/cpu/kernels/vec_avx512.h"
#include "devices/cpu/kernels/simd_grouped.h"
// clang-format on

namespace outboard::devices::cpu {
namespace {

// Columns 0 to 15 of four groups in at[0], in pieces of 16 bytes, columns 16 to 31 in at[1].
struct RowWeights {
  Ints at[2];
};

OUTBOARD_INLINE Ints load_64_bytes(const void* p) { return _mm512_loadu_si512(p); }
// 16 bytes in all pieces.
OUTBOARD_INLINE Ints copies_of_16(const uint8_t* p) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

// --- bits of bytes, by a matrix ---

// Bits [from, from + count) of each byte moved to bit `to`, the others 0, as vgf2p8affineqb wants
// it: byte 7 - i has the bits that make bit i of the result.
constexpr uint64_t bit_matrix(int from, int count, int to) {
  uint64_t matrix = 0;
  for (int i = 0; i < count; ++i) matrix |= uint64_t{1} << (from + i) << 8 * (7 - (to + i));
  return matrix;
}
// A matrix for each piece of 16 bytes.
struct alignas(64) BitMatrices {
  uint64_t at[8];
};
constexpr BitMatrices for_pieces(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  return {{a, a, b, b, c, c, d, d}};
}
// Bits [first + step * k, ... + count) for piece k.
constexpr BitMatrices rising(int first, int step, int count, int to) {
  return for_pieces(bit_matrix(first, count, to), bit_matrix(first + step, count, to),
                    bit_matrix(first + 2 * step, count, to),
                    bit_matrix(first + 3 * step, count, to));
}
constexpr uint64_t kLowNibble = bit_matrix(0, 4, 0);
constexpr uint64_t kHighNibble = bit_matrix(4, 4, 0);
constexpr BitMatrices kHighNibbles = rising(4, 0, 4, 0);

OUTBOARD_INLINE Ints bits_of(Ints x, const BitMatrices& matrices) {
  return _mm512_gf2p8affine_epi64_epi8(x, _mm512_load_si512(matrices.at), 0);
}

// --- bytes of 64, or of two times 64 ---

struct alignas(64) ByteIndexes {
  uint8_t at[64];
};
// Pieces of 16 bytes: a, b, c, d.
constexpr ByteIndexes pieces_at(int a, int b, int c, int d) {
  ByteIndexes indexes{};
  for (int i = 0; i < 16; ++i) {
    indexes.at[i] = static_cast<uint8_t>(a + i);
    indexes.at[16 + i] = static_cast<uint8_t>(b + i);
    indexes.at[32 + i] = static_cast<uint8_t>(c + i);
    indexes.at[48 + i] = static_cast<uint8_t>(d + i);
  }
  return indexes;
}
OUTBOARD_INLINE Ints pick(const ByteIndexes& indexes, Ints x) {
  return _mm512_permutexvar_epi8(_mm512_load_si512(indexes.at), x);
}

OUTBOARD_INLINE Ints with_last_piece(Ints x, const uint8_t* p) {
  return _mm512_inserti32x4(x, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), 3);
}

// Pieces k of q[0] to q[3] become q[k].
OUTBOARD_INLINE void transpose_pieces(Ints (&q)[4]) {
  const Ints a = _mm512_shuffle_i64x2(q[0], q[1], 0x44);
  const Ints b = _mm512_shuffle_i64x2(q[0], q[1], 0xEE);
  const Ints c = _mm512_shuffle_i64x2(q[2], q[3], 0x44);
  const Ints d = _mm512_shuffle_i64x2(q[2], q[3], 0xEE);
  q[0] = _mm512_shuffle_i64x2(a, c, 0x88);
  q[1] = _mm512_shuffle_i64x2(a, c, 0xDD);
  q[2] = _mm512_shuffle_i64x2(b, d, 0x88);
  q[3] = _mm512_shuffle_i64x2(b, d, 0xDD);
}

// --- formats ---

// A block of kLanes rows, or four of them if a block is one group:
//   ByRows(tile, stride)     the tile's blocks
//   row<kStep>(r, p)         the weights of four groups of row r, whose block is at p
//   finish()                 after all rows of a step
//   scales(k)                of the block's group k, or of block k
// A block has kSteps times four groups.
template <typename Format>
struct ByRows {
  static constexpr int kSteps = 0;
};

// Four blocks of kHead bytes and 16 of nibbles.
template <int kHead>
struct FourBlocks {
  static constexpr int kSteps = 1;
  static constexpr int kBlock = kHead + 16;
  static constexpr int kBytes = 4 * kBlock;
  static constexpr ByteIndexes kNibbles = pieces_at(kHead, kBlock + kHead, 2 * kBlock + kHead, 0);

  // `first` are the first 64 bytes, where the nibbles of three blocks are.
  static OUTBOARD_INLINE RowWeights weights(const uint8_t* p, Ints first) {
    const Ints q = with_last_piece(pick(kNibbles, first), p + 3 * kBlock + kHead);
    return {{low_nibbles(q), bits_of(q, kHighNibbles)}};
  }
};
OUTBOARD_INLINE RowWeights look_up(RowWeights w, const Codebook& book) {
  return {{look_up(w.at[0], book), look_up(w.at[1], book)}};
}

// Halves of eight rows each, [k][row], to floats of all rows.
OUTBOARD_INLINE void halves_of_rows(const Ints (&eight)[2], Vec (&of)[4]) {
  const Ints a =
      _mm512_permutex2var_epi64(eight[0], _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), eight[1]);
  const Ints b =
      _mm512_permutex2var_epi64(eight[0], _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4), eight[1]);
  of[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(a));
  of[1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(a, 1));
  of[2] = _mm512_cvtph_ps(_mm512_castsi512_si256(b));
  of[3] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(b, 1));
}

// Blocks that begin with a scale of two bytes.
template <typename Format>
class HalfScales : public FourBlocks<2> {
 public:
  OUTBOARD_INLINE HalfScales(const uint8_t*, size_t) {}
  template <int kStep>
  OUTBOARD_INLINE RowWeights row(int r, const uint8_t* p) {
    const Ints first = load_64_bytes(p);
    // Words 0, 9, 18, 27 go to words r, 8 + r, 16 + r, 24 + r.
    constexpr uint64_t kEach = 0x0009000900090009;
    const Ints from =
        _mm512_set_epi64(3 * kEach, 3 * kEach, 2 * kEach, 2 * kEach, kEach, kEach, 0, 0);
    Ints& eight = eight_[r / 8];
    if (r % 8 == 0) eight = _mm512_setzero_si512();
    eight = _mm512_mask_permutexvar_epi16(eight, 0x01010101U << r % 8, from, first);
    return weights(p, first);
  }
  OUTBOARD_INLINE void finish() { halves_of_rows(eight_, d_); }
  OUTBOARD_INLINE Scales<1> scales(int k) const { return Format::scales(d_[k]); }

 private:
  Ints eight_[2];  // rows' scales: of blocks 0, of blocks 1 ...
  Vec d_[4];
};

template <>
struct ByRows<FormatQ4_0> : HalfScales<FormatQ4_0> {
  using HalfScales::HalfScales;
};

template <>
struct ByRows<FormatIq4Nl> : HalfScales<FormatIq4Nl> {
  using HalfScales::HalfScales;
  template <int kStep>
  OUTBOARD_INLINE RowWeights row(int r, const uint8_t* p) {
    return look_up(HalfScales::row<kStep>(r, p), kIq4Codebook);
  }
};

// Where the bytes i and i + 1 of each block's four of fifth bits are, eight times each, in the
// first and the last 64 bytes of four blocks.
constexpr int kLastOfQ5_0 = 88 - 64;
constexpr ByteIndexes fifth_bits(int i) {
  ByteIndexes indexes{};
  for (int c = 0; c < 64; ++c) {
    const int at = 22 * (c / 16) + 2 + i + c % 16 / 8;
    indexes.at[c] = static_cast<uint8_t>(at < 64 ? at : 64 + at - kLastOfQ5_0);
  }
  return indexes;
}

// The fifth bits of four blocks are spread over two loads, as the scales are.
template <>
class ByRows<FormatQ5_0> {
 public:
  static constexpr int kSteps = 1;
  static constexpr int kBytes = 88;
  OUTBOARD_INLINE ByRows(const uint8_t*, size_t) {}
  template <int kStep>
  OUTBOARD_INLINE RowWeights row(int r, const uint8_t* p) {
    static constexpr ByteIndexes kNibbles = pieces_at(0, 4, 26, 48);
    static constexpr ByteIndexes kBits[2] = {fifth_bits(0), fifth_bits(2)};
    const Ints first = load_64_bytes(p);
    const Ints last = load_64_bytes(p + kLastOfQ5_0);
    const Ints q = _mm512_inserti32x4(pick(kNibbles, last),
                                      _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 6)), 0);
    RowWeights w = {{low_nibbles(q), bits_of(q, kHighNibbles)}};
    OUTBOARD_UNROLL
    for (int half = 0; half < 2; ++half) {
      const Ints eight = _mm512_permutex2var_epi8(first, _mm512_load_si512(kBits[half].at), last);
      w.at[half] = set_16_where(w.at[half], eight, all_64(0x8040201008040201));
    }
    Ints& scales = eight_[r / 8];
    if (r % 8 == 0) scales = _mm512_setzero_si512();
    // Words 0, 11, 22 and word 21 of the last.
    constexpr uint64_t kEach = 0x000B000B000B000B;
    constexpr uint64_t kOfLast = 0x0015001500150015;
    scales = _mm512_mask_permutexvar_epi16(
        scales, 0x00010101U << r % 8,
        _mm512_set_epi64(0, 0, 2 * kEach, 2 * kEach, kEach, kEach, 0, 0), first);
    scales = _mm512_mask_permutexvar_epi16(scales, 0x01000000U << r % 8, all_64(kOfLast), last);
    return w;
  }
  OUTBOARD_INLINE void finish() { halves_of_rows(eight_, d_); }
  OUTBOARD_INLINE Scales<1> scales(int k) const { return FormatQ5_0::scales(d_[k]); }

 private:
  Ints eight_[2];
  Vec d_[4];
};

template <>
class ByRows<FormatQ4_1> : public FourBlocks<4> {
 public:
  OUTBOARD_INLINE ByRows(const uint8_t*, size_t) {}
  template <int kStep>
  OUTBOARD_INLINE RowWeights row(int r, const uint8_t* p) {
    const Ints first = load_64_bytes(p);
    // 32-bit words 0, 5, 10, 15 go to r, 4 + r, 8 + r, 12 + r.
    const Ints from = _mm512_set_epi32(15, 15, 15, 15, 10, 10, 10, 10, 5, 5, 5, 5, 0, 0, 0, 0);
    Ints& four = heads_[r / 4];
    if (r % 4 == 0) four = _mm512_setzero_si512();
    four =
        _mm512_mask_permutexvar_epi32(four, static_cast<__mmask16>(0x1111U << r % 4), from, first);
    return weights(p, first);
  }
  OUTBOARD_INLINE void finish() { transpose_pieces(heads_); }
  OUTBOARD_INLINE Scales<1> scales(int k) const { return FormatQ4_1::scales(heads_[k]); }

 private:
  Ints heads_[4];  // of four rows: those of blocks 0, of blocks 1 ...; after finish() of blocks k
};

// A block of eight groups, whose scales lie together.
template <typename Format>
class EightGroups {
 public:
  static constexpr int kSteps = 2;
  static constexpr int kBytes = static_cast<int>(Format::kBytes);
  OUTBOARD_INLINE EightGroups(const uint8_t* tile, size_t stride) : levels_(tile, stride) {}
  OUTBOARD_INLINE void finish() {}
  OUTBOARD_INLINE Scales<Format::kHalves> scales(int k) const { return levels_.of(k); }

 private:
  typename Format::Levels levels_;
};

template <>
struct ByRows<FormatIq4Xs> : EightGroups<FormatIq4Xs> {
  using EightGroups::EightGroups;
  template <int kStep>
  OUTBOARD_INLINE RowWeights row(int, const uint8_t* p) {
    const Ints q = load_64_bytes(p + 8 + 64 * kStep);
    return look_up(RowWeights{{low_nibbles(q), bits_of(q, kHighNibbles)}}, kIq4Codebook);
  }
};

// 64 bytes of nibbles, of which groups 0 and 1 share the first half: group 1 has the high ones.
OUTBOARD_INLINE RowWeights k_nibbles(const uint8_t* p) {
  static constexpr ByteIndexes kFirst = pieces_at(0, 0, 32, 32),
                               kSecond = pieces_at(16, 16, 48, 48);
  static constexpr BitMatrices kNibbles =
      for_pieces(kLowNibble, kHighNibble, kLowNibble, kHighNibble);
  const Ints q = load_64_bytes(p);
  return {{bits_of(pick(kFirst, q), kNibbles), bits_of(pick(kSecond, q), kNibbles)}};
}
// Adds bits of 32 bytes that all four groups share.
OUTBOARD_INLINE RowWeights add_bits(RowWeights w, const uint8_t* p, const BitMatrices& matrices) {
  return {{bit_or(w.at[0], bits_of(copies_of_16(p), matrices)),
           bit_or(w.at[1], bits_of(copies_of_16(p + 16), matrices))}};
}

template <>
struct ByRows<FormatQ4K> : EightGroups<FormatQ4K> {
  using EightGroups::EightGroups;
  template <int kStep>
  OUTBOARD_INLINE RowWeights row(int, const uint8_t* p) {
    return k_nibbles(p + 16 + 64 * kStep);
  }
};

template <>
struct ByRows<FormatQ5K> : EightGroups<FormatQ5K> {
  using EightGroups::EightGroups;
  template <int kStep>
  OUTBOARD_INLINE RowWeights row(int, const uint8_t* p) {
    static constexpr BitMatrices kFifth = rising(4 * kStep, 1, 1, 4);
    return add_bits(k_nibbles(p + 48 + 64 * kStep), p + 16, kFifth);
  }
};

template <>
struct ByRows<FormatQ6K> : EightGroups<FormatQ6K> {
  using EightGroups::EightGroups;
  template <int kStep>
  OUTBOARD_INLINE RowWeights row(int, const uint8_t* p) {
    // The high nibbles are groups 2 and 3.
    static constexpr ByteIndexes kFirst = pieces_at(0, 32, 0, 32),
                                 kSecond = pieces_at(16, 48, 16, 48);
    static constexpr BitMatrices kNibbles =
        for_pieces(kLowNibble, kLowNibble, kHighNibble, kHighNibble);
    static constexpr BitMatrices kTop = rising(0, 2, 2, 4);
    const Ints q = load_64_bytes(p + 64 * kStep);
    return add_bits({{bits_of(pick(kFirst, q), kNibbles), bits_of(pick(kSecond, q), kNibbles)}},
                    p + 128 + 32 * kStep, kTop);
  }
};

template <>
struct ByRows<FormatQ2K> : EightGroups<FormatQ2K> {
  using EightGroups::EightGroups;
  template <int kStep>
  OUTBOARD_INLINE RowWeights row(int, const uint8_t* p) {
    static constexpr BitMatrices kBits = rising(0, 2, 2, 0);
    p += 16 + 32 * kStep;
    return {{bits_of(copies_of_16(p), kBits), bits_of(copies_of_16(p + 16), kBits)}};
  }
};

template <>
struct ByRows<FormatQ3K> : EightGroups<FormatQ3K> {
  using EightGroups::EightGroups;
  template <int kStep>
  OUTBOARD_INLINE RowWeights row(int, const uint8_t* p) {
    static constexpr BitMatrices kBits = rising(0, 2, 2, 0);
    static constexpr BitMatrices kThird = rising(4 * kStep, 1, 1, 2);
    const uint8_t* q = p + 32 + 32 * kStep;
    return add_bits({{bits_of(copies_of_16(q), kBits), bits_of(copies_of_16(q + 16), kBits)}}, p,
                    kThird);
  }
};

// --- the product ---

// Activations of four groups in the order of RowWeights, a register for each half and plane.
constexpr int kInputs = 4;
OUTBOARD_INLINE void arrange(const std::byte* packed, std::byte* to) {
  OUTBOARD_UNROLL
  for (int i = 0; i < 4 * kInputs; ++i) {
    std::memcpy(to + 16 * i, packed + static_cast<size_t>(i % 4) * kPackedBytes + i / 4 * 16, 16);
  }
}

// The integer sums of four rows: of halves [kBegin, kEnd) of four groups, four lanes each. Step by
// step for all rows, so that no multiplication waits for the one before.
template <int kBegin, int kEnd>
OUTBOARD_INLINE void row_sums(const RowWeights (&w)[4], const std::byte* x, Ints (&z)[4]) {
  OUTBOARD_UNROLL
  for (Ints& sum : z) sum = _mm512_setzero_si512();
  OUTBOARD_UNROLL
  for (int plane = 0; plane < 2; ++plane) {
    if (plane > 0) {
      OUTBOARD_UNROLL
      for (Ints& sum : z) sum = left(sum, 8);
    }
    OUTBOARD_UNROLL
    for (int half = kBegin; half < kEnd; ++half) {
      const Ints inputs = load_64_bytes(x + 64 * (2 * plane + half));
      OUTBOARD_UNROLL
      for (int r = 0; r < 4; ++r) z[r] = _mm512_dpbusd_epi32(z[r], w[r].at[half], inputs);
    }
  }
}

// totals[h][k], lane r: of half h of group k and row r.
template <typename Format, int kStep>
OUTBOARD_INLINE void row_totals(ByRows<Format>& rows, const uint8_t* tile, size_t stride,
                                const std::byte* x, Ints (&totals)[Format::kHalves][4]) {
  constexpr int kHalves = Format::kHalves;
  OUTBOARD_UNROLL
  for (int four = 0; four < 4; ++four) {
    RowWeights w[4];
    OUTBOARD_UNROLL
    for (int r = 0; r < 4; ++r) {
      const int row = 4 * four + r;
      w[r] = rows.template row<kStep>(row, tile + static_cast<size_t>(row) * stride);
    }
    Ints z[kHalves][4];
    if constexpr (kHalves == 1) {
      row_sums<0, 2>(w, x, z[0]);
    } else {
      row_sums<0, 1>(w, x, z[0]);
      row_sums<1, 2>(w, x, z[1]);
    }
    OUTBOARD_UNROLL
    for (int half = 0; half < kHalves; ++half) totals[half][four] = sums_of_pieces(z[half]);
  }
  OUTBOARD_UNROLL
  for (int half = 0; half < kHalves; ++half) transpose_pieces(totals[half]);
}

// Groups 4 * kStep to 4 * kStep + 3 of the tile's blocks.
template <typename Format, int kStep>
OUTBOARD_INLINE void add_step(ByRows<Format>& rows, const uint8_t* tile, size_t stride,
                              const std::byte* x, const std::byte* packed, Vec& sum) {
  constexpr bool kMinimum = has_minimum(Format::kMost);
  Ints totals[Format::kHalves][4];
  row_totals<Format, kStep>(rows, tile, stride, x, totals);
  rows.finish();
  OUTBOARD_UNROLL
  for (int k = 0; k < 4; ++k) {
    const Scales<Format::kHalves> s = rows.scales(4 * kStep + k);
    const FourFloats floats =
        four_floats(packed + static_cast<size_t>(k) * kPackedBytes + offsetof(PackedGroup, scale));
    add_scaled<0, kMinimum>(totals[0][k], s, floats, sum);
    if constexpr (Format::kHalves == 2) add_scaled<1, kMinimum>(totals[1][k], s, floats, sum);
  }
}

template <typename Format, bool kNear>
void rows_tile(const uint8_t* tile, size_t stride, int64_t groups, const std::byte* arranged,
               const std::byte* packed, int64_t row, const Output& out, size_t ahead) {
  using Rows = ByRows<Format>;
  constexpr size_t kPart = static_cast<size_t>(Rows::kBytes) / Rows::kSteps;
  Vec sums[1][1] = {{all(0.0F)}};
  const uint8_t* next = tile + ahead;
  int64_t g = 0;
  for (; g + 4 * Rows::kSteps <= groups; g += 4 * Rows::kSteps) {
    Rows rows(tile, stride);
    const auto step = [&]<int kStep>() OUTBOARD_INLINE_LAMBDA {
      prefetch<kPart, 1, kNear>(next, 0);
      // What the step before asked for once more, since requests get lost: with large blocks that
      // gains more than it costs (measured: 22% with Q6_K, 8% with IQ4_XS).
      if constexpr (Rows::kSteps > 1) prefetch<kPart, 1, kNear>(next - kPart * kLanes, 0);
      next += kPart * kLanes;
      add_step<Format, kStep>(rows, tile, stride, arranged, packed, sums[0][0]);
      arranged += 64 * kInputs;
      packed += 4 * kPackedBytes;
    };
    step.template operator()<0>();
    if constexpr (Rows::kSteps == 2) step.template operator()<1>();
    tile += Rows::kBytes;
  }
  // Up to three blocks of one group are left, which are multiplied one by one.
  if constexpr (Rows::kSteps == 1) {
    for (; g < groups; ++g) {
      prefetch<Format::kBytes, 1, kNear>(next, 0);
      next += Format::kBytes * kLanes;
      Format::template for_each_group<ByPieces>(
          tile, stride, [&](int, const Weights& w, const Scales<1>& s) OUTBOARD_INLINE_LAMBDA {
            add_group<ByPieces, 255, has_minimum(Format::kMost), false>(Tiles<1, 1>{{&w}, {&s}},
                                                                        packed, 0, sums);
          });
      tile += Format::kBytes;
      packed += kPackedBytes;
    }
  }
  out.put(0, row, sums[0][0]);
}

template <typename Format>
void run_rows(const Job& job, const Output& out) {
  const int64_t groups = job.w.columns / kGroup;
  const size_t stride = stride_of<Format>(job.w.columns);
  // In the place of the panel, which is larger.
  std::byte* const arranged = job.scratch + short_tile_bytes(job.w.columns);
  for (int64_t g = 0; g + 4 <= groups; g += 4) {
    arrange(job.packed + static_cast<size_t>(g) * kPackedBytes,
            arranged + static_cast<size_t>(g / 4) * 64 * kInputs);
  }
  each_tile<Format>(
      job, stride, out,
      [&](bool near, const uint8_t* tile, int64_t row, const Output& to, size_t ahead) {
        const auto kernel = near ? rows_tile<Format, true> : rows_tile<Format, false>;
        kernel(tile, stride, groups, arranged, job.packed, row, to, ahead);
      });
}

void linear_by_rows(const Matrix& w, const std::byte* packed, int tokens, float* y,
                    int64_t y_stride, int64_t row_begin, int64_t row_end, const float* bias,
                    bool accumulate, std::byte* scratch) {
  const Job job{w, packed, tokens, row_begin, row_end, scratch};
  const Output out{y, y_stride, bias, accumulate, 0};
  if (tokens == 1 && !w.byte_inputs) {
    switch (w.type) {
      case TensorType::Q4_0:
        return run_rows<FormatQ4_0>(job, out);
      case TensorType::Q4_1:
        return run_rows<FormatQ4_1>(job, out);
      case TensorType::Q5_0:
        return run_rows<FormatQ5_0>(job, out);
      case TensorType::IQ4_NL:
        return run_rows<FormatIq4Nl>(job, out);
      case TensorType::IQ4_XS:
        return run_rows<FormatIq4Xs>(job, out);
      case TensorType::Q2_K:
        return run_rows<FormatQ2K>(job, out);
      case TensorType::Q3_K:
        return run_rows<FormatQ3K>(job, out);
      case TensorType::Q4_K:
        return run_rows<FormatQ4K>(job, out);
      case TensorType::Q5_K:
        return run_rows<FormatQ5K>(job, out);
      case TensorType::Q6_K:
        return run_rows<FormatQ6K>(job, out);
      default:
        break;
    }
  }
  avx512_grouped().linear(w, packed, tokens, y, y_stride, row_begin, row_end, bias, accumulate,
                          scratch);
}

}  // namespace

const Grouped& avx512vbmi_grouped() {
  static const Grouped kTable = {avx512_grouped().row_bytes, avx512_grouped().scratch_bytes,
                                 avx512_grouped().pack, linear_by_rows};
  return kTable;
}

}  // namespace outboard::devices::cpu
