// Recurrences over the vector type of a vec_*.h, which is included before this file.
//
// Columns of a state are computed apart from each other and lie in lanes; a few at a time go
// through all tokens of a run, so that their part of the state stays in the first-level cache. The
// order of all sums is that of the rows, whatever the number of columns and tokens: results are the
// same bits.
#pragma once

#include "devices/cpu/kernels/kernels.h"

namespace outboard::devices::cpu {
namespace {

// Whole vectors, or the first `columns` lanes of one.
template <bool kWhole>
struct Lanes {
  int64_t columns;
  OUTBOARD_INLINE Vec get(const float* p) const {
    if constexpr (kWhole) return load(p);
    return load_part(p, columns);
  }
  OUTBOARD_INLINE void put(float* p, Vec v) const {
    if constexpr (kWhole) return store(p, v);
    store_part(p, v, columns);
  }
};

// Sums that grow side by side: row r goes to part r % kParts.
constexpr int kParts = 4;

template <int N>
struct Sums {
  Vec part[kParts][N];

  OUTBOARD_INLINE void clear() {
    OUTBOARD_UNROLL
    for (auto& p : part) {
      OUTBOARD_UNROLL
      for (Vec& v : p) v = all(0.0F);
    }
  }
  OUTBOARD_INLINE Vec total(int i) const {
    return add(add(part[0][i], part[1][i]), add(part[2][i], part[3][i]));
  }
};

// S' k of N vectors of columns.
template <int N, bool kWhole>
OUTBOARD_INLINE void row_sums(const DeltaRun& run, const float* state, const float* k,
                              Lanes<kWhole> lanes, Sums<N>& sums) {
  sums.clear();
  for (int64_t r = 0; r < run.rows; r += kParts) {
    OUTBOARD_UNROLL
    for (int p = 0; p < kParts; ++p) {
      const Vec factor = all(k[r + p]);
      OUTBOARD_UNROLL
      for (int i = 0; i < N; ++i)
        sums.part[p][i] = fma(factor, lanes.get(state + (r + p) * run.state_stride + i * kLanes),
                              sums.part[p][i]);
    }
  }
}

template <int N, bool kWhole>
OUTBOARD_INLINE void delta_columns(const DeltaRun& run, int64_t column, Lanes<kWhole> lanes) {
  float* const state = run.state + column;
  Sums<N> seen;  // S' k of the token that is next
  row_sums(run, state, run.k, lanes, seen);
  for (int t = 0; t < run.tokens; ++t) {
    const DeltaToken& token = run.each[t];
    const float* k = run.k + t * run.k_stride;
    const float* q = run.q + t * run.q_stride;
    const float* v = run.v + t * run.v_stride + column;
    const float* next = t + 1 < run.tokens ? k + run.k_stride : k;
    Vec change[N];
    OUTBOARD_UNROLL
    for (int i = 0; i < N; ++i)
      change[i] = mul(all(token.write),
                      sub(lanes.get(v + i * kLanes), mul(all(token.recall), seen.total(i))));
    const Vec decay = all(token.decay);
    Sums<N> out;
    out.clear();
    seen.clear();
    for (int64_t r = 0; r < run.rows; r += kParts) {
      OUTBOARD_UNROLL
      for (int p = 0; p < kParts; ++p) {
        const Vec kr = all(k[r + p]);
        const Vec qr = all(q[r + p]);
        const Vec nr = all(next[r + p]);
        OUTBOARD_UNROLL
        for (int i = 0; i < N; ++i) {
          float* at = state + (r + p) * run.state_stride + i * kLanes;
          const Vec s = fma(kr, change[i], mul(decay, lanes.get(at)));
          lanes.put(at, s);
          out.part[p][i] = fma(qr, s, out.part[p][i]);
          seen.part[p][i] = fma(nr, s, seen.part[p][i]);
        }
      }
    }
    float* y = run.out + t * run.out_stride + column;
    OUTBOARD_UNROLL
    for (int i = 0; i < N; ++i) lanes.put(y + i * kLanes, mul(all(token.read), out.total(i)));
  }
}

template <int N, bool kWhole>
OUTBOARD_INLINE void scan_columns(const ScanRun& run, int64_t column, Lanes<kWhole> lanes) {
  float* const state = run.state + column;
  const Vec skip = all(run.skip);
  for (int t = 0; t < run.tokens; ++t) {
    const ScanToken& token = run.each[t];
    const float* b = run.b + t * run.b_stride;
    const float* c = run.c + t * run.c_stride;
    const float* x = run.x + t * run.x_stride + column;
    Vec in[N], added[N];
    OUTBOARD_UNROLL
    for (int i = 0; i < N; ++i) {
      in[i] = lanes.get(x + i * kLanes);
      added[i] = mul(all(token.step), in[i]);
    }
    const Vec decay = all(token.decay);
    Sums<N> out;
    out.clear();
    for (int64_t r = 0; r < run.rows; r += kParts) {
      OUTBOARD_UNROLL
      for (int p = 0; p < kParts; ++p) {
        const Vec br = all(b[r + p]);
        const Vec cr = all(c[r + p]);
        OUTBOARD_UNROLL
        for (int i = 0; i < N; ++i) {
          float* at = state + (r + p) * run.state_stride + i * kLanes;
          const Vec s = fma(br, added[i], mul(decay, lanes.get(at)));
          lanes.put(at, s);
          out.part[p][i] = fma(cr, s, out.part[p][i]);
        }
      }
    }
    float* y = run.out + t * run.out_stride + column;
    OUTBOARD_UNROLL
    for (int i = 0; i < N; ++i) lanes.put(y + i * kLanes, fma(skip, in[i], out.total(i)));
  }
}

// body(column, lanes) over the run's columns, kWide vectors at a time, then one, then a part of
// one.
template <typename Wide, typename One, typename Rest>
OUTBOARD_INLINE void for_columns(int64_t columns, Wide wide, One one, Rest rest) {
  constexpr int64_t kWide = 2 * kLanes;
  int64_t c = 0;
  for (; c + kWide <= columns; c += kWide) wide(c);
  for (; c + kLanes <= columns; c += kLanes) one(c);
  if (c < columns) rest(c, columns - c);
}

void gated_delta(const DeltaRun& run) {
  for_columns(
      run.columns, [&](int64_t c) { delta_columns<2>(run, c, Lanes<true>{kLanes}); },
      [&](int64_t c) { delta_columns<1>(run, c, Lanes<true>{kLanes}); },
      [&](int64_t c, int64_t n) { delta_columns<1>(run, c, Lanes<false>{n}); });
}

void selective_scan(const ScanRun& run) {
  for_columns(
      run.columns, [&](int64_t c) { scan_columns<2>(run, c, Lanes<true>{kLanes}); },
      [&](int64_t c) { scan_columns<1>(run, c, Lanes<true>{kLanes}); },
      [&](int64_t c, int64_t n) { scan_columns<1>(run, c, Lanes<false>{n}); });
}

}  // namespace
}  // namespace outboard::devices::cpu
