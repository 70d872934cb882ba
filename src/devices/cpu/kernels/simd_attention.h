// Attention over the vector type of a vec_*.h, which is included before this file.
//
// Work goes by blocks of kBlock positions at multiples of kBlock. For each block the scores of some
// queries are computed, turned to weights under the running maximum of each query (online softmax),
// and the values are added to the running sums. Many queries: the block's keys are turned to floats
// with positions in lanes, and both products are register-blocked matrix products. Few queries (one
// token, the beams of a search): keys and values are read in place, once for some queries.
#pragma once

#include "devices/cpu/kernels/kernels.h"

namespace outboard::devices::cpu {
namespace {

constexpr int kBlock = 64;         // positions
constexpr int kQueryRows = 60;     // queries at a time, at least a token's
constexpr int kColumnVectors = 4;  // of a product's register block

int round_to_lanes(int n) { return (n + kLanes - 1) / kLanes * kLanes; }
int tile_tokens(int group) { return group >= kQueryRows ? 1 : kQueryRows / group; }

// Scratch of one thread, all float.
struct AttentionScratch {
  float* keys;     // key_dim x kBlock
  float* values;   // kBlock x round_to_lanes(value_dim)
  float* weights;  // queries x kBlock: scores, then their weights
  float* sums;     // queries x round_to_lanes(value_dim)
  float* top;      // queries: largest score yet
  float* total;    // queries: sum of weights yet
  float* shrink;   // queries: what a new maximum makes of the old sums
};

size_t padded_floats(size_t n) { return (n + 15) / 16 * 16; }

AttentionScratch split_scratch(std::byte* scratch, int group, int key_dim, int value_dim,
                               size_t* bytes) {
  const auto queries = static_cast<size_t>(tile_tokens(group)) * static_cast<size_t>(group);
  const auto width = static_cast<size_t>(round_to_lanes(value_dim));
  const auto keys_width = static_cast<size_t>(round_to_lanes(key_dim));
  size_t used = 0;
  const auto take = [&](size_t floats) {
    const size_t at = used;
    used += padded_floats(floats) * sizeof(float);
    return scratch == nullptr ? nullptr : reinterpret_cast<float*>(scratch + at);
  };
  AttentionScratch s{};
  s.keys = take(keys_width * kBlock);
  s.values = take(width * kBlock);
  s.weights = take(queries * kBlock);
  s.sums = take(queries * width);
  s.top = take(queries);
  s.total = take(queries);
  s.shrink = take(queries);
  *bytes = used;
  return s;
}

size_t attention_scratch_bytes(int group, int key_dim, int value_dim) {
  size_t bytes = 0;
  split_scratch(nullptr, group, key_dim, value_dim, &bytes);
  return bytes;
}

// Where the rows of a block's positions [begin, end) lie; those outside repeat the nearest, so that
// a few at a time can be read without a check.
template <typename T>  // of keys and values: uint16_t (f16) or float
void find_rows(const AttentionRun& run, int first, int begin, int end, const T** keys,
               const T** values) {
  const T* all_keys = static_cast<const T*>(run.keys);
  const T* all_values = static_cast<const T*>(run.values);
  int page = (first + begin) / run.page_tokens;
  int slot = (first + begin) % run.page_tokens;
  for (int i = begin; i < end; ++i) {
    keys[i] = all_keys + run.pages[page] * run.key_page_stride + int64_t{slot} * run.key_dim;
    values[i] =
        all_values + run.pages[page] * run.value_page_stride + int64_t{slot} * run.value_row;
    if (++slot == run.page_tokens) {
      slot = 0;
      ++page;
    }
  }
  for (int i = 0; i < begin; ++i) {
    keys[i] = keys[begin];
    values[i] = values[begin];
  }
  for (int i = end; i < kBlock; ++i) {
    keys[i] = keys[end - 1];
    values[i] = values[end - 1];
  }
}
// The rows of a block are far from those of the block before: a page has those of all layers. So
// the next block's are fetched, into the second-level cache, while this one's are in work.
template <typename T>
OUTBOARD_INLINE void prefetch_row(const T* row, int dim) {
  if constexpr (!kPrefetch) return;
  constexpr int kStep = 64 / static_cast<int>(sizeof(T));
  for (int d = 0; d < dim; d += kStep) __builtin_prefetch(row + d, 0, 2);
}
OUTBOARD_INLINE int first_seen(const AttentionRun& run, int token) {
  if (!run.causal || run.window == 0) return 0;
  const int position = run.first_position + token;
  if (run.chunked) return position / run.window * run.window;
  return position >= run.window ? position + 1 - run.window : 0;
}
OUTBOARD_INLINE int end_seen(const AttentionRun& run, int token) {
  return run.causal ? run.first_position + token + 1 : run.context;
}
OUTBOARD_INLINE Vec widen(const uint16_t* p) { return load_half(p); }
OUTBOARD_INLINE Vec widen(const float* p) { return load(p); }
OUTBOARD_INLINE Vec widen_part(const uint16_t* p, int64_t n) { return load_half_part(p, n); }
OUTBOARD_INLINE Vec widen_part(const float* p, int64_t n) { return load_part(p, n); }
template <typename T>
OUTBOARD_INLINE Vec lanes_at(const T* row, int at, int dim) {
  return at + kLanes <= dim ? widen(row + at) : widen_part(row + at, dim - at);
}

// --- many queries ---

// keys[d * kBlock + i] = element d of row i.
template <typename T>
void transpose_keys(const T* const* rows, int dim, float* keys) {
  for (int i = 0; i < kBlock; i += kLanes) {
    for (int d = 0; d < dim; d += kLanes) {
      Vec tile[kLanes];
      OUTBOARD_UNROLL
      for (int lane = 0; lane < kLanes; ++lane) tile[lane] = lanes_at(rows[i + lane], d, dim);
      transpose_tile(tile);
      OUTBOARD_UNROLL
      for (int lane = 0; lane < kLanes; ++lane) store(keys + (d + lane) * kBlock + i, tile[lane]);
    }
  }
}

template <typename T>
void widen_values(const T* const* rows, int dim, float* values) {
  const int width = round_to_lanes(dim);
  for (int i = 0; i < kBlock; ++i) {
    for (int d = 0; d < width; d += kLanes) {
      store(values + i * width + d, lanes_at(rows[i], d, dim));
    }
  }
}

// sums[row][c] = sum over k of a(row)[k] * b[k * width + c], for kRows rows and V vectors of
// columns; finish(row, vector, sum) takes the results.
template <int kRows, int V, typename A, typename Finish>
OUTBOARD_INLINE void product(int depth, A a, const float* b, int width, Finish finish) {
  Vec sums[kRows][V];
  OUTBOARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    OUTBOARD_UNROLL
    for (int v = 0; v < V; ++v) sums[r][v] = all(0.0F);
  }
  const float* rows[kRows];
  OUTBOARD_UNROLL
  for (int r = 0; r < kRows; ++r) rows[r] = a(r);
  for (int k = 0; k < depth; ++k) {
    Vec columns[V];
    OUTBOARD_UNROLL
    for (int v = 0; v < V; ++v) columns[v] = load(b + k * width + v * kLanes);
    OUTBOARD_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Vec x = all(rows[r][k]);
      OUTBOARD_UNROLL
      for (int v = 0; v < V; ++v) sums[r][v] = fma(x, columns[v], sums[r][v]);
    }
  }
  OUTBOARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    OUTBOARD_UNROLL
    for (int v = 0; v < V; ++v) finish(r, v, sums[r][v]);
  }
}

// All columns (a multiple of kLanes) for kRows rows.
template <int kRows, typename A, typename Finish>
OUTBOARD_INLINE void product_columns(int depth, A a, const float* b, int width, Finish finish) {
  int c = 0;
  for (; c + kColumnVectors * kLanes <= width; c += kColumnVectors * kLanes) {
    product<kRows, kColumnVectors>(depth, a, b + c, width,
                                   [&](int r, int v, Vec sum) { finish(r, c + v * kLanes, sum); });
  }
  for (; c < width; c += kLanes) {
    product<kRows, 1>(depth, a, b + c, width,
                      [&](int r, int v, Vec sum) { finish(r, c + v * kLanes, sum); });
  }
}

template <typename A, typename Finish>
OUTBOARD_INLINE void product_rows(int rows, int depth, A a, const float* b, int width,
                                  Finish finish) {
  for (int row = 0; row < rows; row += kProductRows) {
    // The last block repeats its last row, and drops the results.
    product_columns<kProductRows>(
        depth, [&](int r) { return a(row + r < rows ? row + r : rows - 1); }, b, width,
        [&](int r, int c, Vec sum) {
          if (row + r < rows) finish(row + r, c, sum);
        });
  }
}

// --- few queries ---

// Scores and sums of a few queries, reading keys and values where they are.

// Four positions from i.
template <int H, typename T>
void direct_scores(const T* const* keys, int i, const float* const* q, int dim, float* scores) {
  Vec sums[H][4];
  OUTBOARD_UNROLL
  for (int h = 0; h < H; ++h) {
    OUTBOARD_UNROLL
    for (int k = 0; k < 4; ++k) sums[h][k] = all(0.0F);
  }
  int d = 0;
  for (; d + kLanes <= dim; d += kLanes) {
    OUTBOARD_UNROLL
    for (int k = 0; k < 4; ++k) {
      const Vec key = widen(keys[i + k] + d);
      OUTBOARD_UNROLL
      for (int h = 0; h < H; ++h) sums[h][k] = fma(key, load(q[h] + d), sums[h][k]);
    }
  }
  if (d < dim) {
    const int64_t left = dim - d;
    OUTBOARD_UNROLL
    for (int k = 0; k < 4; ++k) {
      const Vec key = widen_part(keys[i + k] + d, left);
      OUTBOARD_UNROLL
      for (int h = 0; h < H; ++h) {
        sums[h][k] = fma(key, load_part(q[h] + d, left), sums[h][k]);
      }
    }
  }
  OUTBOARD_UNROLL
  for (int h = 0; h < H; ++h) {
    sum_lanes(sums[h][0], sums[h][1], sums[h][2], sums[h][3], scores + h * kBlock + i);
  }
}

template <int H, int V, typename T>
OUTBOARD_INLINE void direct_sums(const T* const* values, int begin, int end, int d, int dim,
                                 const float* weights, const float* shrink, float* sums) {
  const int width = round_to_lanes(dim);
  Vec acc[H][V];
  OUTBOARD_UNROLL
  for (int h = 0; h < H; ++h) {
    OUTBOARD_UNROLL
    for (int v = 0; v < V; ++v) {
      acc[h][v] = mul(load(sums + h * width + d + v * kLanes), all(shrink[h]));
    }
  }
  for (int i = begin; i < end; ++i) {
    OUTBOARD_UNROLL
    for (int v = 0; v < V; ++v) {
      const Vec value = V > 1 ? widen(values[i] + d + v * kLanes) : lanes_at(values[i], d, dim);
      OUTBOARD_UNROLL
      for (int h = 0; h < H; ++h) {
        acc[h][v] = fma(value, all(weights[h * kBlock + i]), acc[h][v]);
      }
    }
  }
  OUTBOARD_UNROLL
  for (int h = 0; h < H; ++h) {
    OUTBOARD_UNROLL
    for (int v = 0; v < V; ++v) store(sums + h * width + d + v * kLanes, acc[h][v]);
  }
}

template <int H, typename T>
void direct_sums(const T* const* values, int begin, int end, int dim, const float* weights,
                 const float* shrink, float* sums) {
  int d = 0;
  for (; d + 4 * kLanes <= dim; d += 4 * kLanes) {
    direct_sums<H, 4>(values, begin, end, d, dim, weights, shrink, sums);
  }
  for (; d < dim; d += kLanes) {
    direct_sums<H, 1>(values, begin, end, d, dim, weights, shrink, sums);
  }
}

// Calls body(query, number of queries as a constant) for all queries.
template <typename Body>
OUTBOARD_INLINE void by_queries(int queries, Body body) {
  int row = 0;
  for (; queries - row >= kDirectQueries; row += kDirectQueries) {
    body.template operator()<kDirectQueries>(row);
  }
  if constexpr (kDirectQueries > 3) {
    if (queries - row == 3) return body.template operator()<3>(row);
  }
  if constexpr (kDirectQueries > 2) {
    if (queries - row == 2) return body.template operator()<2>(row);
  }
  if (queries - row == 1) return body.template operator()<1>(row);
}

// --- both ---

// Scores of one query over [begin, end) of the block to weights, under the new maximum; zero
// outside.
void weigh(const AttentionRun& run, int begin, int end, float* row, float* top, float* total,
           float* shrink) {
  constexpr int kVectors = kBlock / kLanes;
  *shrink = 1;
  if (begin >= end) {
    for (int i = 0; i < kBlock; ++i) row[i] = 0;
    return;
  }
  const float lowest = -__builtin_inff();
  Vec scores[kVectors];
  OUTBOARD_UNROLL
  for (int v = 0; v < kVectors; ++v) scores[v] = mul(load(row + v * kLanes), all(run.scale));
  if (run.softcap > 0) {
    for (Vec& s : scores) {
      s = mul(hyperbolic_tangent(mul(s, all(1.0F / run.softcap))), all(run.softcap));
    }
  }
  const bool whole = begin == 0 && end == kBlock;
  if (!whole) {
    for (int v = 0; v < kVectors; ++v) store(row + v * kLanes, scores[v]);
    for (int i = 0; i < begin; ++i) row[i] = lowest;
    for (int i = end; i < kBlock; ++i) row[i] = lowest;
    for (int v = 0; v < kVectors; ++v) scores[v] = load(row + v * kLanes);
  }
  Vec largest = scores[0];
  OUTBOARD_UNROLL
  for (int v = 1; v < kVectors; ++v) largest = larger(largest, scores[v]);
  const float block_top = max_lanes(largest);
  if (block_top > *top) {
    if (*top == lowest) {
      *shrink = 0;
    } else {
      float lanes[kLanes];
      store(lanes, exponential(all(*top - block_top)));
      *shrink = lanes[0];
    }
    *top = block_top;
  }
  OUTBOARD_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    scores[v] = exponential(sub(scores[v], all(*top)));
    store(row + v * kLanes, scores[v]);
  }
  if (!whole) {
    for (int i = 0; i < begin; ++i) row[i] = 0;
    for (int i = end; i < kBlock; ++i) row[i] = 0;
    for (int v = 0; v < kVectors; ++v) scores[v] = load(row + v * kLanes);
  }
  Vec sum = scores[0];
  OUTBOARD_UNROLL
  for (int v = 1; v < kVectors; ++v) sum = add(sum, scores[v]);
  *total = *total * *shrink + sum_lanes(sum);
}

// Tokens [token, token + tokens) of the run.
template <typename T>
void attention_tile(const AttentionRun& run, int token, int tokens, const AttentionScratch& s) {
  const int queries = tokens * run.group;
  const int width = round_to_lanes(run.value_dim);
  for (int i = 0; i < queries * width; ++i) s.sums[i] = 0;
  for (int i = 0; i < queries; ++i) {
    s.top[i] = run.sinks != nullptr ? run.sinks[i % run.group] : -__builtin_inff();
    s.total[i] = run.sinks != nullptr ? 1.0F : 0.0F;
  }
  const auto query = [&](int row) {
    return run.q + (token + row / run.group) * run.q_stride + (row % run.group) * run.key_dim;
  };
  const int end = end_seen(run, token + tokens - 1);
  const int first_block = first_seen(run, token) / kBlock * kBlock;
  for (int first = first_block; first < end; first += kBlock) {
    const int count = end - first < kBlock ? end - first : kBlock;
    const bool direct = tokens == 1 || queries <= 2 * kDirectQueries;
    // Positions before the window of the first token may have left their pages.
    const int skip = first_seen(run, token) > first ? first_seen(run, token) - first : 0;
    const T* keys[kBlock];
    const T* values[kBlock];
    find_rows(run, first, skip, count, keys, values);
    if (direct) {
      const T* next_keys[kBlock];
      const T* next_values[kBlock];
      const int next = first + kBlock;
      const int ahead = end - next < kBlock ? end - next : kBlock;
      if (ahead > 0) find_rows(run, next, 0, ahead, next_keys, next_values);
      by_queries(queries, [&]<int H>(int row) {
        const float* q[H];
        for (int h = 0; h < H; ++h) q[h] = query(row + h);
        for (int i = skip / 4 * 4; i < count; i += 4) {
          if (row == 0) {
            for (int k = i; k < i + 4 && k < ahead; ++k) {
              prefetch_row(next_keys[k], run.key_dim);
              prefetch_row(next_values[k], run.value_dim);
            }
          }
          direct_scores<H>(keys, i, q, run.key_dim, s.weights + row * kBlock);
        }
      });
    } else {
      transpose_keys(keys, run.key_dim, s.keys);
      product_rows(queries, run.key_dim, query, s.keys, kBlock,
                   [&](int row, int c, Vec sum) { store(s.weights + row * kBlock + c, sum); });
    }
    for (int row = 0; row < queries; ++row) {
      const int t = token + row / run.group;
      const int from = first_seen(run, t) - first;
      const int to = end_seen(run, t) - first;
      weigh(run, from > 0 ? from : 0, to < kBlock ? to : kBlock, s.weights + row * kBlock,
            s.top + row, s.total + row, s.shrink + row);
    }
    if (direct) {
      by_queries(queries, [&]<int H>(int row) {
        direct_sums<H>(values, skip, count, run.value_dim, s.weights + row * kBlock, s.shrink + row,
                       s.sums + row * width);
      });
    } else {
      widen_values(values, run.value_dim, s.values);
      product_rows(
          queries, count, [&](int row) { return s.weights + row * kBlock; }, s.values, width,
          [&](int row, int c, Vec sum) {
            float* at = s.sums + row * width + c;
            store(at, fma(load(at), all(s.shrink[row]), sum));
          });
    }
  }
  for (int row = 0; row < queries; ++row) {
    float* out =
        run.out + (token + row / run.group) * run.out_stride + (row % run.group) * run.value_dim;
    const float* sums = s.sums + row * width;
    const float factor = s.total[row] > 0 ? 1.0F / s.total[row] : s.total[row];
    for_vectors(run.value_dim, [&](auto get, auto put) { put(out, mul(get(sums), all(factor))); });
  }
}

void attention(const AttentionRun& run, std::byte* scratch) {
  size_t bytes = 0;
  const AttentionScratch s = split_scratch(scratch, run.group, run.key_dim, run.value_dim, &bytes);
  const int step = tile_tokens(run.group);
  for (int token = 0; token < run.tokens; token += step) {
    const int left = run.tokens - token;
    const int tokens = left < step ? left : step;
    run.float_kv ? attention_tile<float>(run, token, tokens, s)
                 : attention_tile<uint16_t>(run, token, tokens, s);
  }
}

}  // namespace
}  // namespace outboard::devices::cpu
