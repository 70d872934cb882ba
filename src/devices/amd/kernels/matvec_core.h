// A matrix times a few rows: reads every weight once, and that is what takes the time. See
// MatvecArgs. A wave takes two rows of the matrix at a time; its lanes lie across the columns, a
// unit of 32 weights each. The input rows are in LDS.
#pragma once

#include "devices/amd/kernels/blocks.h"
#include "devices/amd/kernels/input.h"

namespace outboard::devices::amd::kernels {

// The input rows in LDS, or as many columns of them as fit: part i (8 columns) of unit u of row b.
// Neighbouring lanes read neighbouring units, 16 bytes apart. Two units more than are used: the
// prologue writes parts 0 to 3 of a unit from neighbouring lanes, which then meet other banks.
template <int rows, int units = 448 / rows / 32 * 32>
struct Tile {
  static constexpr int kUnits = units;
  half8 part[rows][4][kUnits + 2];
  float2 sums[rows][kUnits];  // of a unit's groups of 16
  float factor[rows];         // 2^exponent: what the rows were divided by
  typename InputRow<kWaves / rows>::Scratch scratch;

  // Chunk by number of row b, neighbouring lanes neighbouring chunks; all lanes of a wave.
  DEVICE void put(int b, uint32_t chunk, half8 h) {
    part[b][chunk % 4][chunk / 4] = h;
    constexpr half2 kOnes = {1, 1};
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kChunk; i += 2) sum = dot2(half2{h[i], h[i + 1]}, kOnes, sum);
    sum += dpp<kQuadSwap1>(sum);
    if (chunk % 2 == 0) sums[b][chunk / 4][chunk / 2 % 2] = sum;
  }
};

// Columns [from, to) of the input rows, multiples of 1024, into the tile.
template <int rows>
DEVICE void fill(const InputRow<kWaves / rows>& input, Tile<rows>& tile, int from, int to,
                 bool stores) {
  const int b = static_cast<uint32_t>(wave()) / (kWaves / rows);
  input.each(from, to, [&](int column, float8 v, float8 normed) {
    if (stores) input.store(v, normed, column);
    tile.put(b, static_cast<uint32_t>(column - from) / kChunk, to_half(normed, input.exponent()));
  });
  if (thread() % (kThreads / rows) == 0) tile.factor[b] = __builtin_ldexpf(1, input.exponent());
}

// Adds two rows of the matrix times the first `count` units of the tile, a multiple of 32:
// unit_at(u) says which of the rows' units the tile's unit u meets; it must be the same modulo 8
// where there are blocks of 256, so that a lane's place in the block never changes.
template <WeightType type, int rows, int units, typename UnitAt>
DEVICE void multiply(const Row (&row)[2], const Tile<rows, units>& tile, UnitAt unit_at, int count,
                     float (&sum)[2][rows]) {
  using F = Format<type>;
  const uint32_t j = lane() % kSuperUnits;
  for (int at = 0; at < count; at += 32) {
    const int u = at + lane();
    const uint32_t unit = unit_at(u);
    const F weights[2] = {F(row[0], unit, j), F(row[1], unit, j)};
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
    } else {
      const Pairs pairs[2] = {weights[0].pairs(), weights[1].pairs()};
      float scale[2][2];
      float minimums[2][2];
      if constexpr (!F::kPlain) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const Scales s = weights[r].scales();
#pragma unroll
          for (int g = 0; g < 2; ++g) {
            scale[r][g] = s.scale[g];
            minimums[r][g] = minimum<F>(s, g);
          }
        }
      }
#pragma unroll
      for (int b = 0; b < rows; ++b) {
        float dot[2][2] = {{0, 0}, {0, 0}};
        if constexpr (F::kPlain) {
          dot[0][0] = sum[0][b];
          dot[1][0] = sum[1][b];
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const half8 x = tile.part[b][i][u];
#pragma unroll
          for (int p = 0; p < 4; ++p) {
            const half2 xp = {x[2 * p], x[2 * p + 1]};
#pragma unroll
            for (int r = 0; r < 2; ++r) {
              float& d = dot[r][F::kScales == 2 ? i / 2 : 0];
              d = dot2(pairs[r].pair[4 * i + p], xp, d);
            }
          }
        }
        if constexpr (F::kPlain) {
          sum[0][b] = dot[0][0];
          sum[1][b] = dot[1][0];
        } else {
          const float2 s = tile.sums[b][u];
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            float v = sum[r][b];
            if constexpr (F::kOffset[0] == F::kOffset[1] && F::kScales == 1) {
              v = __builtin_fmaf(minimums[r][0], s.x + s.y, v);
            } else {
              v = __builtin_fmaf(minimums[r][0], s.x, v);
              v = __builtin_fmaf(minimums[r][1], s.y, v);
            }
            v = __builtin_fmaf(scale[r][0], dot[r][0], v);
            if constexpr (F::kScales == 2) v = __builtin_fmaf(scale[r][1], dot[r][1], v);
            sum[r][b] = v;
          }
        }
      }
    }
  }
}

// The tile's unit u is the row's unit first + u. A lane beyond the row's end, where the tile holds
// zeros, repeats one of the last units.
template <WeightType type>
struct UnitsFrom {
  DEVICE UnitsFrom(int units, int first_unit)
      : first(first_unit),
        last(unit_bytes(type).super_scales > 0 ? units - kSuperUnits + lane() % kSuperUnits
                                               : units - 1) {}
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

// The kernel's arguments. The compiler is kept from seeing that they are the same each time: else
// it would hold all of them in registers throughout, of which there are not enough.
DEVICE const MatvecArgs& arguments() {
  const auto* p = __builtin_amdgcn_kernarg_segment_ptr();
  asm volatile("" : "+s"(p));
  return *(const MatvecArgs*)p;
}

// Two rows of the matrix that a wave multiplies at a time: neighbours, or row `index` of both parts
// of a gate.
template <WeightType type>
struct Pair {
  DEVICE Pair(const MatvecArgs& a, int part, int pair_index, int units, int base)
      : index(pair_index) {
    const Matrix& first = a.parts[part].matrix;
    const Matrix& second = a.gated ? a.parts[1].matrix : first;
    const int first_row = a.gated ? index : 2 * index;
    const int second_row =
        a.gated ? index : __builtin_elementwise_min(first_row + 1, first.rows - 1);
    row[0] = row_of(first, base + first_row, type, units);
    row[1] = row_of(second, base + second_row, type, units);
  }
  Row row[2];
  int index;
};

// What a wave has summed up, finished and stored.
template <int rows>
DEVICE void store(const MatvecArgs& a, int part, int index, const Tile<rows>& tile, int first_out,
                  const float (&sum)[2][rows]) {
  const Part& out = a.parts[part];
  float v = spread_sums<rows>(sum);
  constexpr int kLanesEach = 16 / rows;
  const int b = lane() % 16 / kLanesEach;
  const int which = lane() / 16;
  v *= tile.factor[b];
  const int row = a.gated ? index : 2 * index + which;
  if (a.gated) {
    const Ptr<const float> bias = which == 0 ? a.parts[0].bias : a.parts[1].bias;
    if (bias != nullptr) v += bias[row];
    v = apply(a.function, v) * other_row(v);
  } else if (out.bias != nullptr && row < out.matrix.rows) {
    v += out.bias[row];
  }
  const bool mine = lane() % kLanesEach == 0 && row < out.matrix.rows && !(a.gated && which == 1);
  if (mine) {
    const Ptr<float> to = out.out + static_cast<int64_t>(first_out + b) * out.stride + row;
    if (out.accumulate) v += *to;
    if (a.softcap != 0) v = a.softcap * tanh(v / a.softcap);
    *to = v;
  }
}

// Calls f(part, from, to) for the parts that pairs [begin, end) of all of them lie in, with the
// pairs' numbers in the part.
template <typename F>
DEVICE void for_parts(const MatvecArgs& a, int begin, int end, F f) {
  int before = 0;
  const int parts = a.gated ? 1 : a.part_count;
  for (int part = 0; part < parts; ++part) {
    const int pairs = a.gated ? a.parts[0].matrix.rows : matvec_pairs_of(a.parts[part]);
    const int from = __builtin_elementwise_max(begin - before, 0);
    const int to = __builtin_elementwise_min(end - before, pairs);
    if (from < to) f(part, from, to);
    before += pairs;
  }
}

// Rows of input from first_in, of output from first_out on; base() are the matrices' rows before
// those that are meant, known after the first barrier.
template <int rows, typename Base>
DEVICE void matvec(Tile<rows>& tile, int first_in, int first_out, Base base) {
  const int units = units_of(arguments().input.width);
  const int padded = (units + 31) & -32;
  const bool whole = padded <= Tile<rows>::kUnits;
  const MatvecArgs& all = arguments();
  InputRow<kWaves / rows> input(all.input, all.step,
                                first_in + static_cast<uint32_t>(wave()) / (kWaves / rows),
                                tile.scratch);
  input.measure();

  // This wave's pairs.
  const int pairs = matvec_pairs(all);
  const int turns = matvec_pairs_a_wave(pairs, all.input.width);
  const int begin = (workgroup_x() * kWaves + wave()) * turns;
  const int end = __builtin_elementwise_min(begin + turns, pairs);
  const bool stores = workgroup_x() == 0 && input.stores();
  // Of eight rows, both ways together are too much for the registers.
  if (rows < 8 && whole) {
    fill<rows>(input, tile, 0, padded * kUnit, stores);
    barrier();
    const int base_row = base();
    for_parts(arguments(), begin, end, [&](int part, int from, int to) {
      with_format(static_cast<WeightType>(arguments().parts[part].matrix.type),
                  [&]<WeightType type>() {
                    for (int index = from; index < to; ++index) {
                      const MatvecArgs& a = arguments();
                      // Input rows stay in LDS: there are not the registers to hold them.
                      asm volatile("" ::: "memory");
                      const Pair<type> pair(a, part, index, units, base_row);
                      float sum[2][rows] = {};
                      multiply<type>(pair.row, tile, UnitsFrom<type>(units, 0), padded, sum);
                      store<rows>(a, part, index, tile, first_out, sum);
                    }
                  });
    });
    return;
  }
  // The rows come to LDS in pieces, for all waves at once, and again for each pair, unless they
  // fit.
  for (int turn = 0; turn < turns; ++turn) {
    float sum[2][rows] = {};
    for (int first = 0; first < units; first += Tile<rows>::kUnits) {
      const int count = __builtin_elementwise_min(padded - first, Tile<rows>::kUnits);
      if (!whole || turn == 0) {
        barrier();
        fill<rows>(input, tile, first * kUnit, (first + count) * kUnit, stores && turn == 0);
        barrier();
      }
      for_parts(arguments(), begin + turn, __builtin_elementwise_min(begin + turn + 1, end),
                [&](int part, int index, int) {
                  with_format(static_cast<WeightType>(arguments().parts[part].matrix.type),
                              [&]<WeightType type>() {
                                const Pair<type> pair(arguments(), part, index, units, base());
                                multiply<type>(pair.row, tile, UnitsFrom<type>(units, first), count,
                                               sum);
                              });
                });
    }
    for_parts(arguments(), begin + turn, __builtin_elementwise_min(begin + turn + 1, end),
              [&](int part, int index, int) {
                store<rows>(arguments(), part, index, tile, first_out, sum);
              });
  }
}

}  // namespace outboard::devices::amd::kernels
