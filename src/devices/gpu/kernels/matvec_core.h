// A matrix times a few rows: reads every weight once, and that is what takes the time. See
// MatvecArgs. A wave takes two rows of the matrix at a time; its lanes lie across the columns, a
// unit of 32 weights each. The input rows are in LDS.
#pragma once

#include "devices/gpu/kernels/blocks.h"
#include "devices/gpu/kernels/input.h"

namespace outboard::devices::gpu::kernels {

// The input rows in LDS, or as many columns of them as fit: part i (8 columns) of unit u of row b.
// Neighbouring lanes read neighbouring units, 16 bytes apart. Two units more than are used: the
// prologue writes parts 0 to 3 of a unit from neighbouring lanes, which then meet other banks.
template <int rows, int units = kTileUnits / rows / 32 * 32>
struct Tile {
  static constexpr int kUnits = units;
  half8 part[rows][4][kUnits + 2];
  float2 sums[rows][kUnits];  // of a unit's groups of 16
  float factor[rows];         // 2^exponent: what the rows were divided by; of several
  Scratch scratch;

  // Chunk by number of row b, neighbouring lanes neighbouring chunks; all lanes of a wave. Two
  // lanes write each sum.
  DEVICE void put(int b, uint32_t chunk, half8 h) {
    part[b][chunk % 4][chunk / 4] = h;
    constexpr half2 kOnes = {1, 1};
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kChunk; i += 2) sum = dot2(half2{h[i], h[i + 1]}, kOnes, sum);
    sum += dpp<kQuadSwap1>(sum);
    sums[b][chunk / 4][chunk / 2 % 2] = sum;
  }
};

// Columns [from, to) of the input rows, multiples of 1024, into the tile.
template <int rows>
DEVICE void fill(const InputRow<kWaves / rows>& input, Tile<rows>& tile, int from, int to,
                 bool stores) {
  const int b = rows == 1 ? 0 : static_cast<uint32_t>(wave()) / (kWaves / rows);
  input.each(from, to, [&](int column, float8 v) {
    if (stores) input.store(v, column);
    tile.put(b, static_cast<uint32_t>(column - from) / kChunk, to_half(v, input.exponent()));
  });
  if (rows > 1 && thread() % (kThreads / rows) == 0)
    tile.factor[b] = __builtin_ldexpf(1, input.exponent());
}

// Has two sums lie in neighbouring registers: the card can add to two at once when one's number is
// even and the other's odd, and what is added comes from different registers too.
DEVICE void side_by_side(float& a, float& b) {
  float2 both = {a, b};
  asm("" : "+v"(both));
  a = both.x;
  b = both.y;
}

// Adds two rows' units, which meet the tile's unit u, to the sums. between(): called when the
// weights are taken apart, and their registers free.
template <WeightType type, int rows, int units, typename Between>
DEVICE void multiply_unit(const Format<type> (&weights)[2], const Tile<rows, units>& tile, int u,
                          float (&sum)[2][rows], Between between) {
  using F = Format<type>;
  // Sums of a row: two do not wait for each other as much as one does.
  constexpr int kSums = F::kScales == 2 || (rows == 1 && !F::kPlain) ? 2 : 1;
  if constexpr (F::kPlain && !F::kHalf) {
#pragma unroll
    for (int b = 0; b < rows; ++b) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const half8 x = tile.part[b][i][u];
#pragma unroll
        for (int e = 0; e < 8; ++e) {
#pragma unroll
          for (int r = 0; r < 2; ++r)
            sum[r][b] =
                __builtin_fmaf(weights[r].value(8 * i + e), static_cast<float>(x[e]), sum[r][b]);
        }
      }
    }
    between();
  } else {
    const Pairs pairs[2] = {weights[0].pairs(), weights[1].pairs()};
    Scales scales[2];
    if constexpr (!F::kPlain) {
      scales[0] = weights[0].scales();
      scales[1] = weights[1].scales();
    }
    between();
#pragma unroll
    for (int b = 0; b < rows; ++b) {
      // Of each group, or of both together; less what the codes' offsets come to, which both rows
      // share.
      float dot[2][2];
      float2 s;
      if constexpr (F::kPlain) {
        dot[0][0] = sum[0][b];
        dot[1][0] = sum[1][b];
      } else {
        s = tile.sums[b][u];
        dot[0][0] = -F::kOffset[0] * s.x;
        dot[0][1] = -F::kOffset[1] * s.y;
        if constexpr (kSums == 1)
          dot[0][0] = F::kOffset[0] == F::kOffset[1]
                          ? -F::kOffset[0] * (s.x + s.y)
                          : __builtin_fmaf(-F::kOffset[1], s.y, dot[0][0]);
        dot[1][0] = dot[0][0];
        dot[1][1] = dot[0][1];
      }
      for (int g = 0; g < kSums; ++g) side_by_side(dot[0][g], dot[1][g]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const half8 x = tile.part[b][i][u];
#pragma unroll
        for (int p = 0; p < 4; ++p) {
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            const int q = rows == 1 ? p ^ r : p;  // see side_by_side()
            const half2 xq = {x[2 * q], x[2 * q + 1]};
            float& d = dot[r][kSums == 2 ? i / 2 : 0];
            d = dot2(pairs[r].pair[4 * i + q], xq, d);
          }
        }
      }
      for (int g = 0; g < kSums; ++g) side_by_side(dot[0][g], dot[1][g]);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float& v = sum[r][b];
        if constexpr (F::kPlain) {
          v = dot[r][0];
        } else {
          v = __builtin_fmaf(scales[r].scale[0], dot[r][0], v);
          if constexpr (kSums == 2) v = __builtin_fmaf(scales[r].scale[1], dot[r][1], v);
          if constexpr (F::kMinimums && F::kScales == 1) {
            v = __builtin_fmaf(scales[r].minimum[0], s.x + s.y, v);
          } else if constexpr (F::kMinimums) {
            v = __builtin_fmaf(scales[r].minimum[0], s.x, v);
            v = __builtin_fmaf(scales[r].minimum[1], s.y, v);
          }
        }
      }
    }
  }
}

// Adds two rows of the matrix times the first `count` units of the tile, a multiple of 32:
// unit_at(u) says which of the rows' units the tile's unit u meets; it must be the same modulo 8
// where there are blocks of 256, so that a lane's place in the block never changes.
template <WeightType type, int rows, int units, typename UnitAt>
DEVICE void multiply(const Row (&row)[2], const Tile<rows, units>& tile, UnitAt unit_at, int count,
                     float (&sum)[2][rows]) {
  using F = Format<type>;
  const uint32_t j = lane() % kSuperUnits;
  int at = 0;
  do {
    const int u = at + lane();
    const uint32_t unit = unit_at(u);
    const F weights[2] = {F(row[0], unit, j), F(row[1], unit, j)};
    // All of them are on their way before the first is waited for.
    if constexpr (rows < 8) __builtin_amdgcn_sched_barrier(0);
    multiply_unit<type>(weights, tile, u, sum, [] {});
    at += 32;
  } while (at < count);
}

// The tile's unit u is the row's unit first + u. A lane beyond the row's end, where the tile holds
// zeros, repeats one of the last units.
template <WeightType type>
struct UnitsFrom {
  static constexpr bool kSuper = unit_bytes(type).super_scales > 0;
  DEVICE UnitsFrom(int units, int first_unit)
      : first(first_unit), last(kSuper ? units - kSuperUnits + lane() % kSuperUnits : units - 1) {}
  DEVICE uint32_t operator()(int u) const { return __builtin_elementwise_min(first + u, last); }
  int first;
  int last;
};

// The sums over the wave of all 2 * rows values, one to each of as many groups of lanes: lanes 0 to
// 15 get row 0 of the matrix, 16 to 31 row 1; within them input row b goes to lanes
// [16 / rows * b, 16 / rows * (b + 1)).
template <int rows>
DEVICE float spread_sums(const float (&sum)[2][rows]) {
  float v[rows];
  const bool upper = lane() >= 16;
#pragma unroll
  for (int b = 0; b < rows; ++b)
    v[b] = (upper ? sum[1][b] : sum[0][b]) + other_row(upper ? sum[0][b] : sum[1][b]);
  // Halves the number of values while halving the lanes that each is for.
  const auto halve = [&]<int bit>() {
    if constexpr (rows * bit >= 16) {
      constexpr int kHalf = rows * bit / 16;
      const bool second = (lane() & bit) != 0;
#pragma unroll
      for (int b = 0; b < kHalf; ++b) {
        const float other = dpp<kRowXmask + bit>(second ? v[b] : v[b + kHalf]);
        v[b] = (second ? v[b + kHalf] : v[b]) + other;
      }
    } else {
      v[0] += dpp<kRowXmask + bit>(v[0]);
    }
  };
  halve.template operator()<8>();
  halve.template operator()<4>();
  halve.template operator()<2>();
  halve.template operator()<1>();
  return v[0];
}

// Pairs [from, to) of a part: what a wave multiplies.
struct Share {
  int part;
  int from;
  int to;
};
DEVICE Share share_of(const MatvecArgs& a) {
  const int number = workgroup_x() * kWaves + wave();
  // Comparisons by their sign, which stay in scalar registers.
  const auto reaches = [&](int first) { return static_cast<uint32_t>(first - 1 - number) >> 31; };
  const int part = reaches(a.first_wave[1]) + reaches(a.first_wave[2]) + reaches(a.first_wave[3]);
  const int pairs = a.pairs_a_wave[part];
  const int from = (number - a.first_wave[part]) * pairs;
  return {part, from, __builtin_elementwise_min(from + pairs, matvec_pairs(a, part))};
}

// Two rows of a part that a wave multiplies at a time: neighbours, or the same row of both parts of
// a gate. Goes on to the next by adding to addresses.
template <WeightType type>
class RowPair {
 public:
  template <typename Base>
  DEVICE RowPair(const MatvecArgs& a, int part, int pair, int units, Base base) {
    const Matrix& matrix = a.parts[part].matrix;
    const uint32_t rows = 2 - a.gated;  // of a part
    const uint32_t first = rows * pair;
    rows_[0] = row_of<type>(matrix, base(part) + first, units);
    rows_[1] = row_of<type>(a.parts[part + a.gated].matrix,
                            base(part + a.gated) + first + 1 - a.gated, units);
    // Of an odd number of rows the last has no neighbour; else there is no such pair.
    alone_ = matrix.rows >> (1 - a.gated);
    step_ = row_bytes<type>(units);
    step_.codes *= rows;
    step_.high *= rows;
    step_.scales *= rows;
  }
  // Of pair `pair`, which is where the addresses are.
  DEVICE const Row (&rows(int pair))[2] {
    if (pair == alone_) {
      rows_[1] = rows_[0];
      asm volatile("");  // a branch, rarely taken, is less than six selections each time
    }
    return rows_;
  }
  DEVICE void next() {
    rows_[0].advance(step_);
    rows_[1].advance(step_);
  }

 private:
  Row rows_[2];
  RowBytes step_;
  int alone_;
};

// What a wave has summed up for pairs [from, to) of a part, finished and stored: `v` as spread_sums
// gives it, of input rows as they were (not divided), pair from + i in the i-th lane of each group.
// Without a branch that only some lanes take: those would have the compiler guard every branch
// around them.
template <int rows, typename Base>
DEVICE void store(const MatvecArgs& a, int part, int from, int to, int first_out, Base base,
                  float v) {
  const Part& out = a.parts[part];
  constexpr int kLanesEach = 16 / rows;
  const int b = lane() % 16 / kLanesEach;
  const int upper = lane() / 16;
  const int pair = from + lane() % kLanesEach;
  const int twice = 1 - a.gated;
  const uint32_t row = (pair << twice) + (upper & twice);
  const bool is_there = (pair < to) & (row < static_cast<uint32_t>(out.matrix.rows));
  if (out.bias != nullptr)
    v += FloatBuffer(out.bias + base(part))
             .load((is_there & (upper <= twice)) ? row : FloatBuffer::kNone);
  uint32_t at = is_there ? b * out.stride + row : FloatBuffer::kNone;
  if (a.gated != 0) {
    const Ptr<const float> bias = a.parts[1].bias;
    if (bias != nullptr)
      v += FloatBuffer(bias + base(1)).load((is_there & (upper != 0)) ? row : FloatBuffer::kNone);
    v = gated(a.function, v, other_row(v));
    at = upper != 0 ? FloatBuffer::kNone : at;
  }
  const FloatBuffer to_rows(out.out + static_cast<int64_t>(first_out) * out.stride);
  if (out.accumulate != 0) v += to_rows.load(at);
  // Compared as an integer, which scalar registers can.
  uint32_t softcap = bits_as<uint32_t>(a.softcap);
  asm volatile("" : "+s"(softcap));
  if (softcap != 0) v = a.softcap * tanh(v / a.softcap);
  to_rows.store(at, v);
}

// The share's pairs times `count` units of the input rows from `first` on, which are in the tile;
// added to `sum` except for the first units. When they are complete they are stored, several at
// once: a lane each.
template <WeightType type, int rows, typename Base>
DEVICE void multiply_pairs(const MatvecArgs& a, const Share& share, const Tile<rows>& tile,
                           int units, int first, int count, bool complete, Base base, int first_out,
                           float factor, float (&sum)[2][rows]) {
  constexpr int kLanesEach = 16 / rows;
  RowPair<type> pair(a, share.part, share.from, units, base);
  float kept = 0;
  int kept_from = share.from;
  int kept_to = __builtin_elementwise_min(kept_from + kLanesEach, share.to);
  for (int index = share.from; index < share.to; ++index) {
    // Input rows stay in LDS: there are not the registers to hold them.
    asm volatile("" ::: "memory");
    if (first == 0)
      for (auto& of_row : sum)
        for (float& s : of_row) s = 0;
    multiply<type>(pair.rows(index), tile, UnitsFrom<type>(units, first), count, sum);
    pair.next();
    if (!complete) continue;
    const float total = spread_sums<rows>(sum);
    kept = lane() % kLanesEach == index - kept_from ? total : kept;
    if (index + 1 == kept_to) {
      store<rows>(a, share.part, kept_from, kept_to, first_out, base, kept * factor);
      kept_from = kept_to;
      kept_to = __builtin_elementwise_min(kept_from + kLanesEach, share.to);
    }
  }
}

// Rows of input from first_in, of output from first_out on; base(part) are the matrix's rows before
// those that are meant.
template <int rows, typename Base>
DEVICE void matvec(Tile<rows>& tile, int first_in, int first_out, Base base) {
  const MatvecArgs& all = arguments<MatvecArgs>();
  const int units = units_of(all.input.width);
  const int padded = (units + 31) & -32;
  const bool whole = padded <= Tile<rows>::kUnits;
  const bool stores = workgroup_x() == 0;
  const Share share = share_of(all);
  InputRow<kWaves / rows> input(
      all.input, all.step,
      rows == 1 ? first_in : first_in + static_cast<uint32_t>(wave()) / (kWaves / rows),
      tile.scratch);
  input.measure(stores);

  if (rows == 1 && whole) {
    fill(input, tile, 0, padded * kUnit, stores);
    barrier();
    if (share.from >= share.to) return;
    const float factor = __builtin_ldexpf(1, input.exponent());
    with_format(static_cast<WeightType>(all.parts[share.part].matrix.type), [&]<WeightType type>() {
      float sum[2][rows];
      multiply_pairs<type, rows>(all, share, tile, units, 0, padded, true, base, first_out, factor,
                                 sum);
    });
    return;
  }
  // The input rows come to LDS in pieces, for all waves at once and again for each pair, unless
  // they fit.
  const int turns = whole ? 1 : all.most_pairs_a_wave;
  for (int turn = 0; turn < turns; ++turn) {
    Share now = share;
    if (!whole) {
      now.from += turn;
      now.to = __builtin_elementwise_min(now.from + 1, share.to);
    }
    float sum[2][rows] = {};
    for (int first = 0; first < units; first += Tile<rows>::kUnits) {
      const int count = __builtin_elementwise_min(padded - first, Tile<rows>::kUnits);
      if (turn + first > 0) barrier();
      fill(input, tile, first * kUnit, (first + count) * kUnit, stores && turn == 0);
      barrier();
      if (now.from >= now.to) continue;
      const MatvecArgs& a = arguments<MatvecArgs>();
      const float factor = rows == 1 ? __builtin_ldexpf(1, input.exponent())
                                     : tile.factor[lane() % 16 / (16 / rows)];
      with_format(static_cast<WeightType>(a.parts[now.part].matrix.type), [&]<WeightType type>() {
        multiply_pairs<type, rows>(a, now, tile, units, first, count, first + count >= units, base,
                                   first_out, factor, sum);
      });
    }
  }
}

// A row as is_plain() says, of at most so many chunks a thread, in registers.
template <int chunks>
class PlainRow {
 public:
  DEVICE PlainRow(const Input& in, const Step& step, int row) : width_(in.width), norm_(in.norm) {
    const int token = in.selected ? step_int(step, step.layout.row_token, row) : row;
    const RowBuffer<true> x(in.x + static_cast<int64_t>(token) * in.x_stride, width_);
#pragma unroll
    for (int i = 0; i < chunks; ++i) v_[i] = x.load(column_of(i));
    // Without a norm nothing is read.
    const RowBuffer<true> weight(norm_.weight, norm_.kind == NormKind::kNone ? 0 : width_);
#pragma unroll
    for (int i = 0; i < chunks; ++i) weight_[i] = weight.load(column_of(i));
  }

  // All of the row, as InputRow does it, into the tile.
  template <int units>
  DEVICE void fill(Tile<1, units>& tile) {
    uint32_t largest = 0;
    float squares = 0;
    const bool has_norm = norm_.kind != NormKind::kNone;
#pragma unroll
    for (int i = 0; i < chunks; ++i) {
      if ((i * kWaves + wave()) * (32 * kChunk) >= width_) continue;
      if (has_norm) {
        squares += sum8(v_[i] * v_[i]);
        v_[i] *= weight_[i];
      }
      largest = __builtin_elementwise_max(largest, magnitude(v_[i]));
    }
    all_sum_max<kWaves>(tile.scratch.slot[0], squares, largest);
    float scale = 1;
    if (has_norm)
      scale = reciprocal_root(reciprocal(static_cast<float>(width_)) * squares + norm_.epsilon);
    exponent_ = exponent_for(bits_as<float>(largest) * scale);
    // Up to whole turns of a wave over the units.
    const int end = (width_ + 1023) & -1024;
#pragma unroll
    for (int i = 0; i < chunks; ++i) {
      if ((i * kWaves + wave()) * (32 * kChunk) >= end) continue;
      if (has_norm) v_[i] *= scale;
      tile.put(0, static_cast<uint32_t>(column_of(i)) / kChunk, to_half(v_[i], exponent_));
    }
    barrier();
  }
  DEVICE int exponent() const { return exponent_; }

 private:
  DEVICE static int column_of(int i) {
    return (i * kWaves + wave()) * (32 * kChunk) + lane() * kChunk;
  }

  int width_;
  const Norm& norm_;
  int exponent_ = 0;
  float8 v_[chunks], weight_[chunks];
};

// Whether a wave has registers for a unit's weights while it has others: not where they are whole
// floats.
template <WeightType type>
constexpr bool kAhead = unit_bytes(type).codes <= 32;

// Row first_in of a plain input, all of which fits into the tile; otherwise as matvec(). The first
// weights are asked for before the row is there, and each turn's while the one before is
// multiplied.
template <int units_of_tile, typename Base>
DEVICE void matvec_plain(Tile<1, units_of_tile>& tile, int first_in, int first_out, Base base) {
  constexpr int kChunks = (units_of_tile * kUnit + kThreads * kChunk - 1) / (kThreads * kChunk);
  const MatvecArgs& a = arguments<MatvecArgs>();
  const int units = units_of(a.input.width);
  const int padded = (units + 31) & -32;
  const Share share = share_of(a);
  with_format(static_cast<WeightType>(a.parts[share.part].matrix.type), [&]<WeightType type>() {
    using F = Format<type>;
    const UnitsFrom<type> unit_at(units, 0);
    PlainRow<kChunks> row(a.input, a.step, first_in);
    // A wave without a share loads what another multiplies.
    const int first = __builtin_elementwise_min(share.from, share.to - 1);
    RowPair<type> pair(a, share.part, first, units, base);
    const auto multiply_all = [&](auto multiply_pair) __attribute__((always_inline)) {
      const float factor = __builtin_ldexpf(1, row.exponent());
      float kept = 0;
      int kept_from = share.from;
      for (int index = share.from; index < share.to; ++index) {
        asm volatile("" ::: "memory");
        float sum[2][1] = {};
        multiply_pair(index, sum);
        const float total = spread_sums<1>(sum);
        kept = lane() % 16 == index - kept_from ? total : kept;
        if (index + 1 == share.to || index + 1 == kept_from + 16) {
          store<1>(a, share.part, kept_from, index + 1, first_out, base, kept * factor);
          kept_from = index + 1;
        }
      }
    };
    if constexpr (!kAhead<type>) {
      row.fill(tile);
      multiply_all([&](int index, float(&sum)[2][1]) __attribute__((always_inline)) {
        multiply<type>(pair.rows(index), tile, unit_at, padded, sum);
        pair.next();
      });
      return;
    }
    struct Weights {
      F rows[2];
    };
    const auto load = [&](int index, int at) __attribute__((always_inline)) {
      const auto& rows = pair.rows(index);
      const uint32_t unit = unit_at(at + lane());
      const uint32_t j = lane() % kSuperUnits;
      const Weights loaded{{F(rows[0], unit, j), F(rows[1], unit, j)}};
      __builtin_amdgcn_sched_barrier(0);
      return loaded;
    };
    Weights weights = load(first, 0);
    row.fill(tile);
    asm volatile("; %0" ::"i"(static_cast<int>(type)));
    multiply_all([&](int index, float(&sum)[2][1]) __attribute__((always_inline)) {
      int at = 0;
      do {
        const int u = at + lane();
        at += 32;
        multiply_unit<type>(weights.rows, tile, u, sum, [&]() __attribute__((always_inline)) {
          if (at < padded) {
            weights = load(index, at);
          } else if (index + 1 < share.to) {
            pair.next();
            weights = load(index + 1, 0);
          }
        });
      } while (at < padded);
    });
  });
}

}  // namespace outboard::devices::gpu::kernels
