// Attention of a few queries to a range of cached positions by one workgroup, in one pass over keys
// and values (online softmax, arXiv:1805.02867). All sums are float32.
#pragma once

#include "devices/gpu/kernels/device.h"
#include "devices/gpu/kernels/math.h"
#include "devices/gpu/kernels/reduce.h"
#include "devices/gpu/kernels/rope.h"

namespace outboard::devices::gpu::kernels {

constexpr int kMaxQueries = 8;  // one softmax a wave
constexpr int kTile = 128;      // positions at a time
constexpr float kNoScore = -1e30F;
constexpr int kMerged = 2;  // queries whose sums are put together at a time

// In LDS.
struct alignas(16) AttentionLds {
  union {
    struct {
      float q[kMaxQueries][kMaxHeadDim];    // zero beyond key_dim
      float scores[2][kMaxQueries][kTile];  // of this tile and the next
    };
    float4 partial[kMerged * (2 * kThreads + 8)];  // queries' sums of each thread, at the end
  };
  struct Row {
    uint64_t key, value;  // elements from the cache's beginnings
  } row[2][kTile];        // of each position
  float factor[kMaxQueries];
  float maximum[kMaxQueries], sum[kMaxQueries];
  int first[kMaxQueries], last[kMaxQueries];  // positions that each query sees; none: last < first
  uint32_t ended;                             // splits that were done before this one
};

// Positions begin to end - 1 of one run, seen by queries that share a KV head.
struct Range {
  Ptr<const int> pages;
  int begin, end;
  int kv_head;
};

// Elements from a position's value to the next one's.
DEVICE int value_row(const AttentionArgs& a) {
  return a.values_in_keys != 0 ? a.key_dim : a.value_dim;
}
// Of a position's key (dim is key_dim) or value (value_row).
template <typename Pages>
DEVICE uint64_t row_in_cache(const AttentionArgs& a, Pages pages, int kv_head, int position,
                             int dim) {
  const int tokens = a.step.layout.page_tokens;
  const int page = pages[position >> __builtin_ctz(tokens)];
  const int slot = position & (tokens - 1);
  return static_cast<uint64_t>(page) * a.cache.page_stride +
         static_cast<uint64_t>(kv_head * tokens + slot) * dim;
}
DEVICE half8 load_half8(Ptr<const uint16_t> p) {
  return bits_as<half8>(*reinterpret_cast<Ptr<const uint4>>(p));
}

// Scores of `kSets` sets of 8 positions, 64 apart, by one wave (none beyond `last`): four lanes a
// position, which take the key's chunks of 8 elements in turns, kAtOnce each.
template <int kQueries, int kAtOnce, int kSets>
DEVICE void score(const AttentionArgs& a, AttentionLds& s, int last, int buffer) {
  const int chunks = a.key_dim / 8;
  const int quarter = lane() & 3;
  Ptr<const uint16_t> key[kSets];
  int at[kSets];
#pragma unroll
  for (int set = 0; set < kSets; ++set) {
    at[set] = set * 64 + wave() * 8 + (lane() >> 2);
    key[set] = a.cache.keys + s.row[buffer][__builtin_elementwise_min(at[set], last)].key;
  }
  float sums[kQueries][kSets] = {};
  for (int c = 0; c < chunks; c += 4 * kAtOnce) {
    half8 k[kAtOnce][kSets];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      // Where the key has no such chunk, any other will do: q is zero there.
      const int chunk = __builtin_elementwise_min(c + 4 * j + quarter, chunks - 1);
#pragma unroll
      for (int set = 0; set < kSets; ++set) k[j][set] = load_half8(key[set] + chunk * 8);
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      // Of some queries at once: to wait for each alone takes time. Of eight there are not the
      // registers.
      constexpr int kTogether = kQueries < 8 ? kQueries : 1;
#pragma unroll
      for (int first = 0; first < kQueries; first += kTogether) {
        float4 low[kTogether], high[kTogether];
#pragma unroll
        for (int g = 0; g < kTogether; ++g) {
          const float* q = &s.q[first + g][(c + 4 * j + quarter) * 8];
          low[g] = *reinterpret_cast<const float4*>(q);
          high[g] = *reinterpret_cast<const float4*>(q + 4);
        }
        if (kTogether > 1) __builtin_amdgcn_sched_barrier(0);
#pragma unroll
        for (int g = 0; g < kTogether; ++g) {
#pragma unroll
          for (int set = 0; set < kSets; ++set) {
            float& sum = sums[first + g][set];
#pragma unroll
            for (int e = 0; e < 4; ++e)
              sum = __builtin_fmaf(static_cast<float>(k[j][set][e]), low[g][e], sum);
#pragma unroll
            for (int e = 0; e < 4; ++e)
              sum = __builtin_fmaf(static_cast<float>(k[j][set][e + 4]), high[g][e], sum);
          }
        }
      }
    }
  }
#pragma unroll
  for (int g = 0; g < kQueries; ++g)
#pragma unroll
    for (int set = 0; set < kSets; ++set) {
      const float sum = quad_sum(sums[g][set]);
      if (quarter == 0) s.scores[buffer][g][at[set]] = sum;
    }
}

// Wave g: query g's products become exp(score - maximum so far).
DEVICE void soften(const AttentionArgs& a, AttentionLds& s, int g, const Range& range, int tile,
                   int buffer) {
  constexpr int kEach = kTile / 32;
  const int first = __builtin_elementwise_max(s.first[g], range.begin) - tile;
  const int last = __builtin_elementwise_min(s.last[g], range.end - 1) - tile;
  float* row = s.scores[buffer][g];
  float scores[kEach];
  float top = s.maximum[g];
  const float before = top;
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int i = k * 32 + lane();
    scores[k] = kNoScore;
    if (i >= first && i <= last) {
      float x = row[i] * a.scale;
      if (a.softcap != 0) x = a.softcap * tanh(x / a.softcap);
      scores[k] = x;
    }
    top = __builtin_fmaxf(top, scores[k]);
  }
  top = wave_max(top);
  float sum = 0;
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int i = k * 32 + lane();
    const float p = i >= first && i <= last ? exp(scores[k] - top) : 0;
    row[i] = p;
    sum += p;
  }
  sum = wave_sum(sum);
  if (lane() == 0) {
    const float factor = exp(before - top);
    s.factor[g] = factor;
    s.maximum[g] = top;
    s.sum[g] = s.sum[g] * factor + sum;
  }
}

// What the threads have summed up for the queries, put together: of threads that share a chunk of 8
// columns, which are value_dim / 8 apart. kFolds: both halves of a wave take the same chunks, and
// are put together first.
template <int kQueries, bool kFolds, typename Store>
DEVICE void merge_groups(const AttentionArgs& a, AttentionLds& s, float (&sums)[kQueries][8],
                         Store store) {
  constexpr int kParts = kFolds ? kThreads / 2 : kThreads;  // of sums of 8 columns
  // Of some queries after the other. The second halves lie 64 bytes aside, so that reading falls
  // on different banks.
  constexpr int kEach = 2 * kParts + 4;
  constexpr int kMost = kFolds ? 2 * kMerged : kMerged;
  constexpr int kTogether = kQueries < kMost ? kQueries : kMost;
  static_assert(kTogether * kEach <= sizeof(s.partial) / sizeof(s.partial[0]));
  const int chunks = a.value_dim / 8;
  const int groups = kParts / chunks;
  const int part = kFolds ? wave() * 16 + (lane() & 15) : thread();
  for (int first = 0; first < kQueries; first += kTogether) {
    barrier();
#pragma unroll
    for (int q = 0; q < kQueries; ++q)
      if (q >= first && q < first + kTogether) {
        if (kFolds) {
#pragma unroll
          for (int e = 0; e < 8; ++e) sums[q][e] += other_row(sums[q][e]);
          if (lane() >= 16) continue;
        }
        float4* to = s.partial + q % kTogether * kEach;
        to[part] = float4{sums[q][0], sums[q][1], sums[q][2], sums[q][3]};
        to[kParts + 4 + part] = float4{sums[q][4], sums[q][5], sums[q][6], sums[q][7]};
      }
    barrier();
    for (int i = thread(); i < kTogether * a.value_dim; i += kThreads) {
      const int among = static_cast<uint32_t>(i) / static_cast<uint32_t>(a.value_dim);
      const int column = i - among * a.value_dim;
      const float4* from =
          s.partial + among * kEach + ((column & 4) != 0 ? kParts + 4 : 0) + column / 8;
      float sum = 0;
#pragma unroll 8
      for (int group = 0; group < groups; ++group)
        sum += reinterpret_cast<const float*>(&from[group * chunks])[column & 3];
      store(first + among, column, sum);
    }
  }
}

// Queries 0 to kQueries - 1, whose q, first and last lie in LDS before the last barrier. Calls
// store(query, column, sum of exp(score - maximum) * value) once for each; maximum and sum are left
// in LDS. begin < end. kAtOnce: 4-chunk pieces of a key that are loaded together.
template <int kQueries, int kAtOnce, typename Store>
DEVICE void attend(const AttentionArgs& a, AttentionLds& s, const Range& range, Store store) {
  const int chunks = a.value_dim / 8;
  const int groups = kThreads / chunks;  // of threads that share a row of values
  const int group = thread() / chunks;
  const int chunk = thread() - group * chunks;
  float sums[kQueries][8] = {};

  if (thread() < kQueries) {
    s.maximum[thread()] = kNoScore;
    s.sum[thread()] = 0;
  }
  AttentionLds::Row row{};
  const auto find_row = [&](int tile) {
    const int position = tile + thread();
    if (thread() >= kTile || position >= range.end) return;
    row.key = row_in_cache(a, range.pages, range.kv_head, position, a.key_dim);
    row.value = row_in_cache(a, range.pages, range.kv_head, position, value_row(a));
  };
  find_row(range.begin);
  if (thread() < kTile) s.row[0][thread()] = row;
  barrier();

  int buffer = 0;
  for (int tile = range.begin; tile < range.end; tile += kTile, buffer ^= 1) {
    const int count = __builtin_elementwise_min(range.end - tile, kTile);
    find_row(tile + kTile);
    if (wave() * 8 + 64 < count)
      score<kQueries, kAtOnce, 2>(a, s, count - 1, buffer);
    else if (wave() * 8 < count)
      score<kQueries, kAtOnce, 1>(a, s, count - 1, buffer);
    barrier();
    if (wave() < kQueries) soften(a, s, wave(), range, tile, buffer);
    if (thread() < kTile) s.row[buffer ^ 1][thread()] = row;
    barrier();
#pragma unroll
    for (int g = 0; g < kQueries; ++g) {
      const float factor = s.factor[g];
#pragma unroll
      for (int e = 0; e < 8; ++e) sums[g][e] *= factor;
    }
    for (int block = group * 4; block < count && group < groups; block += groups * 4) {
      half8 v[4];
#pragma unroll
      for (int u = 0; u < 4; ++u) {
        // Beyond the last position the factor is zero.
        const int i = __builtin_elementwise_min(block + u, count - 1);
        v[u] = load_half8(a.cache.values + s.row[buffer][i].value + chunk * 8);
      }
#pragma unroll
      for (int g = 0; g < kQueries; ++g) {
        const float4 p = *reinterpret_cast<const float4*>(&s.scores[buffer][g][block]);
#pragma unroll
        for (int u = 0; u < 4; ++u)
#pragma unroll
          for (int e = 0; e < 8; ++e)
            sums[g][e] = __builtin_fmaf(static_cast<float>(v[u][e]), p[u], sums[g][e]);
      }
    }
  }

  if (chunks <= 16 && 16 % static_cast<uint32_t>(chunks) == 0)
    merge_groups<kQueries, true>(a, s, sums, store);
  else
    merge_groups<kQueries, false>(a, s, sums, store);
}

}  // namespace outboard::devices::gpu::kernels
