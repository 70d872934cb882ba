// Attention over the vector type of a vec_*.h, which is included before this file.
//
// Work goes by blocks of kBlock positions at multiples of kBlock. For each block the scores of some
// queries are computed, turned to weights under the running maximum of each query (online softmax),
// and the values are added to the running sums. Many queries: the block's keys are turned to floats
// with positions in lanes, and both products are register-blocked matrix products. Few queries (one
// token): keys and values are read once, in place.
#pragma once

#include "devices/cpu/kernels/kernels.h"

namespace outboard::cpu {
namespace {

constexpr int kBlock = 64;         // positions
constexpr int kQueryRows = 64;     // queries at a time, at least a token's
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

OUTBOARD_INLINE const uint16_t* key_at(const AttentionRun& run, int position) {
  return run.keys + run.pages[position / run.page_tokens] * run.key_page_stride +
         static_cast<int64_t>(position % run.page_tokens) * run.key_dim;
}
OUTBOARD_INLINE const uint16_t* value_at(const AttentionRun& run, int position) {
  return run.values + run.pages[position / run.page_tokens] * run.value_page_stride +
         static_cast<int64_t>(position % run.page_tokens) * run.value_dim;
}
OUTBOARD_INLINE int first_seen(const AttentionRun& run, int token) {
  const int end = run.first_position + token + 1;
  return run.causal && run.window > 0 && end > run.window ? end - run.window : 0;
}
OUTBOARD_INLINE int end_seen(const AttentionRun& run, int token) {
  return run.causal ? run.first_position + token + 1 : run.context;
}
OUTBOARD_INLINE Vec half_lanes(const uint16_t* row, int at, int dim) {
  return at + kLanes <= dim ? load_half(row + at) : load_half_part(row + at, dim - at);
}

// --- many queries ---

// keys[d * kBlock + i] = key d of position first + i for i in [skip, count), else zero.
void transpose_keys(const AttentionRun& run, int first, int skip, int count, float* keys) {
  for (int i = 0; i < kBlock; i += kLanes) {
    for (int d = 0; d < run.key_dim; d += kLanes) {
      Vec tile[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) {
        tile[lane] = i + lane >= skip && i + lane < count
                         ? half_lanes(key_at(run, first + i + lane), d, run.key_dim)
                         : all(0.0F);
      }
      transpose_tile(tile);
      for (int lane = 0; lane < kLanes; ++lane) store(keys + (d + lane) * kBlock + i, tile[lane]);
    }
  }
}

void widen_values(const AttentionRun& run, int first, int skip, int count, float* values) {
  const int width = round_to_lanes(run.value_dim);
  for (int i = 0; i < kBlock; ++i) {
    for (int d = 0; d < width; d += kLanes) {
      store(values + i * width + d, i >= skip && i < count
                                        ? half_lanes(value_at(run, first + i), d, run.value_dim)
                                        : all(0.0F));
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
  int row = 0;
  for (; row + kProductRows <= rows; row += kProductRows) {
    product_columns<kProductRows>(
        depth, [&](int r) { return a(row + r); }, b, width,
        [&](int r, int c, Vec sum) { finish(row + r, c, sum); });
  }
  for (; row < rows; ++row) {
    product_columns<1>(
        depth, [&](int) { return a(row); }, b, width,
        [&](int, int c, Vec sum) { finish(row, c, sum); });
  }
}

// --- one token ---

// Scores and sums of up to four heads, reading keys and values where they are.
constexpr int kDirectHeads = 4;

template <int H>
void direct_scores(const AttentionRun& run, const float* q, int first, int count, float* scores) {
  for (int i = 0; i < count; ++i) {
    const uint16_t* key = key_at(run, first + i);
    Vec sums[H];
    for (int h = 0; h < H; ++h) sums[h] = all(0.0F);
    int d = 0;
    for (; d + kLanes <= run.key_dim; d += kLanes) {
      const Vec k = load_half(key + d);
      OUTBOARD_UNROLL
      for (int h = 0; h < H; ++h) sums[h] = fma(k, load(q + h * run.key_dim + d), sums[h]);
    }
    if (d < run.key_dim) {
      const int64_t left = run.key_dim - d;
      const Vec k = load_half_part(key + d, left);
      OUTBOARD_UNROLL
      for (int h = 0; h < H; ++h) {
        sums[h] = fma(k, load_part(q + h * run.key_dim + d, left), sums[h]);
      }
    }
    OUTBOARD_UNROLL
    for (int h = 0; h < H; ++h) scores[h * kBlock + i] = sum_lanes(sums[h]);
  }
}

template <int H>
void direct_sums(const AttentionRun& run, const float* weights, const float* shrink, int first,
                 int count, float* sums) {
  const int width = round_to_lanes(run.value_dim);
  for (int d = 0; d < run.value_dim; d += kLanes) {
    Vec acc[H];
    OUTBOARD_UNROLL
    for (int h = 0; h < H; ++h) acc[h] = mul(load(sums + h * width + d), all(shrink[h]));
    for (int i = 0; i < count; ++i) {
      const Vec v = half_lanes(value_at(run, first + i), d, run.value_dim);
      OUTBOARD_UNROLL
      for (int h = 0; h < H; ++h) acc[h] = fma(v, all(weights[h * kBlock + i]), acc[h]);
    }
    OUTBOARD_UNROLL
    for (int h = 0; h < H; ++h) store(sums + h * width + d, acc[h]);
  }
}

// Calls body(head, number of heads as a constant) for all heads.
template <typename Body>
OUTBOARD_INLINE void by_heads(int group, Body body) {
  int head = 0;
  while (group - head >= kDirectHeads) {
    body.template operator()<kDirectHeads>(head);
    head += kDirectHeads;
  }
  if (group - head == 3) return body.template operator()<3>(head);
  if (group - head == 2) return body.template operator()<2>(head);
  if (group - head == 1) return body.template operator()<1>(head);
}

// --- both ---

// Scores of one query over [begin, end) of the block to weights, under the new maximum.
void weigh(const AttentionRun& run, int begin, int end, float* row, float* top, float* total,
           float* shrink) {
  if (begin >= end) {
    for (int i = 0; i < kBlock; ++i) row[i] = 0;
    *shrink = 1;
    return;
  }
  const float lowest = -__builtin_inff();
  for (int i = 0; i < begin; ++i) row[i] = lowest;
  for (int i = end; i < kBlock; ++i) row[i] = lowest;
  Vec largest = all(lowest);
  for (int i = 0; i < kBlock; i += kLanes) {
    Vec s = mul(load(row + i), all(run.scale));
    if (run.softcap > 0) {
      s = mul(hyperbolic_tangent(mul(s, all(1.0F / run.softcap))), all(run.softcap));
    }
    store(row + i, s);
    largest = larger(largest, s);
  }
  // A masked score that went through scale and cap may be anything: take it out again.
  if (begin > 0 || end < kBlock) {
    for (int i = 0; i < begin; ++i) row[i] = lowest;
    for (int i = end; i < kBlock; ++i) row[i] = lowest;
    largest = all(lowest);
    for (int i = 0; i < kBlock; i += kLanes) largest = larger(largest, load(row + i));
  }
  const float block_top = max_lanes(largest);
  const float new_top = block_top > *top ? block_top : *top;
  float old_part[kLanes];
  store(old_part, exponential(all(*top - new_top)));
  *shrink = *top == lowest ? 0.0F : old_part[0];
  Vec sum = all(0.0F);
  for (int i = 0; i < kBlock; i += kLanes) {
    const Vec w = exponential(sub(load(row + i), all(new_top)));
    store(row + i, w);
  }
  for (int i = 0; i < begin; ++i) row[i] = 0;
  for (int i = end; i < kBlock; ++i) row[i] = 0;
  for (int i = 0; i < kBlock; i += kLanes) sum = add(sum, load(row + i));
  *total = *total * *shrink + sum_lanes(sum);
  *top = new_top;
}

// Tokens [token, token + tokens) of the run.
void attention_tile(const AttentionRun& run, int token, int tokens, const AttentionScratch& s) {
  const int queries = tokens * run.group;
  const int width = round_to_lanes(run.value_dim);
  for (int i = 0; i < queries * width; ++i) s.sums[i] = 0;
  for (int i = 0; i < queries; ++i) {
    s.top[i] = -__builtin_inff();
    s.total[i] = 0;
  }
  const auto query = [&](int row) {
    return run.q + (token + row / run.group) * run.q_stride + (row % run.group) * run.key_dim;
  };
  const int end = end_seen(run, token + tokens - 1);
  const int first_block = first_seen(run, token) / kBlock * kBlock;
  for (int first = first_block; first < end; first += kBlock) {
    const int count = end - first < kBlock ? end - first : kBlock;
    const bool direct = tokens == 1;
    // Positions before the window of the first token may have left their pages.
    const int skip = first_seen(run, token) > first ? first_seen(run, token) - first : 0;
    if (direct) {
      by_heads(run.group, [&]<int H>(int head) {
        direct_scores<H>(run, query(head), first + skip, count - skip,
                         s.weights + head * kBlock + skip);
      });
    } else {
      transpose_keys(run, first, skip, count, s.keys);
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
      by_heads(run.group, [&]<int H>(int head) {
        direct_sums<H>(run, s.weights + head * kBlock + skip, s.shrink + head, first + skip,
                       count - skip, s.sums + head * width);
      });
    } else {
      widen_values(run, first, skip, count, s.values);
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
    attention_tile(run, token, left < step ? left : step, s);
  }
}

}  // namespace
}  // namespace outboard::cpu
