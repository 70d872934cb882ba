// Attention of 16 tokens of a prompt by one workgroup, with WMMA: float16 in, float32 sums. Each
// wave takes every eighth tile of 16 positions; their results are put together at the end.
//
// Scores are computed transposed, keys times queries, so that a lane's column is one query: its
// maximum and sum need no more than the other half of the wave. Layout of WMMA's matrices: RDNA3
// ISA guide, "Wave Matrix Multiply Accumulate": A and B: lane l holds row (column) l % 16, twice;
// result: lane l holds column l % 16, rows 2i + l / 16.
#pragma once

#include "devices/gpu/kernels/attention_core.h"

namespace outboard::devices::gpu::kernels {

constexpr int kPromptTile = 16;  // queries, and positions at a time
constexpr int kPromptWaves = kThreads / 32;
constexpr int kQueryStride = kMaxHeadDim + 8;  // elements; 8 more for other banks
constexpr int kValueBlock = 64;                // columns of values turned at a time
constexpr int kHalfWords = 32 + 4;  // 8 columns of 4 pairs of positions, 4 more for other banks
constexpr int kMergeColumns = 32;
constexpr int kMergeStride = kMergeColumns + 2;

// In LDS.
struct alignas(16) PromptLds {
  half q[kPromptTile][kQueryStride];  // times query_factor(); zero beyond key_dim
  uint64_t value_row[kPromptWaves][kPromptTile];
  float maximum[kPromptWaves][kPromptTile], sum[kPromptWaves][kPromptTile];
  union {
    // Of each wave, values turned: [column / 8][pair of positions / 4][column % 8][pair % 4].
    uint32_t values[kPromptWaves][kValueBlock / 8][2][kHalfWords];
    float merge[kPromptWaves][kPromptTile][kMergeStride];
  };
};

// LDS that other lanes of this wave wrote is seen; LDS serves a wave in order.
DEVICE void wave_sync() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
  __builtin_amdgcn_wave_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}

DEVICE half16 join(half8 a, half8 b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
DEVICE float8 wmma(half16 a, half16 b, float8 c) {
  return __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(a, b, c);
}
// Nothing else added: the compiler would have zeros in eight registers first.
DEVICE float8 wmma(half16 a, half16 b) {
  float8 out;
  asm("v_wmma_f32_16x16x16_f16 %0, %1, %2, 0" : "=&v"(out) : "v"(a), "v"(b));
  return out;
}
// Through a pointer to void: clang would carry over the alignment of what lies there.
DEVICE half16 load_half16(const void* low, const void* high) {
  return join(*static_cast<const half8*>(low), *static_cast<const half8*>(high));
}

// Scores are logarithms to base 2: with a softcap once it has been applied.
DEVICE float query_factor(const AttentionArgs& a) {
  return a.softcap != 0 ? a.scale : a.scale * kLog2E;
}

// The columns of values that a workgroup takes.
struct Columns {
  static constexpr int kMost = 256;
  int first, count;

  DEVICE explicit Columns(const AttentionArgs& a)
      : first(workgroup_z() * kMost),
        count(__builtin_elementwise_min(a.value_dim - first, kMost)) {}
};

// What a wave has so far of the 16 queries; a lane has that of query lane % 16.
template <int kBlocks>
struct PromptState {
  float8 out[4 * kBlocks];  // 16 columns each
  float maximum = kNoScore;
  float sum = 0;  // of the positions in this half of the wave
};

// Products of 16 keys and the queries: of position 2i + lane / 16 and query lane % 16 in element i.
// kWhole: the dimensions are multiples of 64.
template <bool kWhole>
DEVICE float8 prompt_products(const AttentionArgs& a, const PromptLds& s, Ptr<const uint16_t> key) {
  constexpr int kAtOnce = 4;  // 16 columns each
  const half* q = s.q[lane() & 15];
  float8 products = {};
  for (int column = 0; column < a.key_dim; column += 16 * kAtOnce) {
    half16 k[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      int first = column + j * 16;
      int second = first + 8;
      if (!kWhole) {  // beyond key_dim any other columns will do: q is zero there
        first = __builtin_elementwise_min(first, a.key_dim - 8);
        second = __builtin_elementwise_min(second, a.key_dim - 8);
      }
      k[j] = join(load_half8(key + first), load_half8(key + second));
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j)
      products = wmma(k[j], load_half16(q + column + j * 16, q + column + j * 16 + 8), products);
  }
  return products;
}

// A lane's eight of 16 positions, and the other half's, in order.
DEVICE half16 join_halves(const float8& p) {
  const bool upper = lane() >= 16;
  uint32_t words[8];
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const half2 own = {static_cast<half>(p[2 * k]), static_cast<half>(p[2 * k + 1])};
    const auto mine = bits_as<uint32_t>(own);
    const uint32_t other = other_row(mine);
    const uint32_t even = upper ? other : mine;
    const uint32_t odd = upper ? mine : other;
    words[2 * k] = __builtin_amdgcn_perm(odd, even, 0x05040100);
    words[2 * k + 1] = __builtin_amdgcn_perm(odd, even, 0x07060302);
  }
  const uint4 low = {words[0], words[1], words[2], words[3]};
  const uint4 high = {words[4], words[5], words[6], words[7]};
  return join(bits_as<half8>(low), bits_as<half8>(high));
}

// Columns `block` * 64 on of the tile's values, turned, into the wave's LDS.
template <bool kWhole>
DEVICE void turn_values(const AttentionArgs& a, PromptLds& s, const Columns& columns, int block) {
  const int first = (columns.first + block * kValueBlock) / 8;
  const int chunks = (columns.first + columns.count) / 8 - first;
  const int pair = lane() & 7;
  const uint64_t* rows = &s.value_row[wave()][2 * pair];
  const Ptr<const uint16_t> even = a.cache.values + rows[0];
  const Ptr<const uint16_t> odd = a.cache.values + rows[1];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int chunk = k * 4 + (lane() >> 3);
    int from = chunk;
    if (!kWhole) {
      if (chunk >= (chunks + 1) / 2 * 2) continue;
      // Half of 16 columns may be beyond value_dim: anything will do.
      from = __builtin_elementwise_min(chunk, chunks - 1);
    }
    const uint4 x = *reinterpret_cast<Ptr<const uint4>>(even + (first + from) * 8);
    const uint4 y = *reinterpret_cast<Ptr<const uint4>>(odd + (first + from) * 8);
    uint32_t* to = &s.values[wave()][chunk][pair >> 2][pair & 3];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      to[2 * e * 4] = __builtin_amdgcn_perm(y[e], x[e], 0x05040100);
      to[(2 * e + 1) * 4] = __builtin_amdgcn_perm(y[e], x[e], 0x07060302);
    }
  }
}
// All positions of column lane % 16 of the 16 columns from `column` on.
DEVICE half16 turned_values(const PromptLds& s, int column) {
  const int chunk = column / 8 + (lane() >> 3 & 1);
  const int row = (lane() & 7) * 4;
  const auto& words = s.values[wave()][chunk];
  return load_half16(&words[0][row], &words[1][row]);
}

// Positions tile to tile + 15 of a run, of which those from `first` to `last` are seen by the
// lane's query; end is the position after the run's last.
template <int kBlocks, bool kWhole>
DEVICE void prompt_tile(const AttentionArgs& a, PromptLds& s, const Range& range, int tile,
                        int first, int last, const Columns& columns, PromptState<kBlocks>& state) {
  // Where there is no such position, the last will do: it counts as unseen.
  const int row = __builtin_elementwise_min(tile + (lane() & 15), range.end - 1);
  const uint64_t key = row_in_cache(a, range.pages, range.kv_head, row, a.key_dim);
  s.value_row[wave()][lane() & 15] = row_in_cache(a, range.pages, range.kv_head, row, value_row(a));
  float8 scores = prompt_products<kWhole>(a, s, a.cache.keys + key);

  if (a.softcap != 0) {
#pragma unroll
    for (int i = 0; i < 8; ++i) scores[i] = a.softcap * kLog2E * tanh(scores[i] / a.softcap);
  }
  const int from_first = tile + (lane() >> 4) - first;
  const auto seen = static_cast<uint32_t>(last - first + 1);
  float top = state.maximum;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (static_cast<uint32_t>(from_first + 2 * i) >= seen) scores[i] = kNoScore;
    top = __builtin_fmaxf(top, scores[i]);
  }
  top = __builtin_fmaxf(top, other_row(top));
  const float factor = exp2(state.maximum - top);
  state.sum *= factor;
  state.maximum = top;
  top = __builtin_fmaxf(top, kNoScore / 2);  // so that unseen is zero where nothing was seen yet
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    scores[i] = exp2(scores[i] - top);
    state.sum += scores[i];
  }
  const half16 p = join_halves(scores);
  if (__builtin_amdgcn_ballot_w32(factor != 1) != 0) {
#pragma unroll
    for (int i = 0; i < 4 * kBlocks; ++i) state.out[i] *= factor;
  }
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) {
    // Else the loads of all blocks come first, and need more registers than there are.
    if (kBlocks > 2) __builtin_amdgcn_sched_barrier(0);
    wave_sync();
    turn_values<kWhole>(a, s, columns, block);
    wave_sync();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (!kWhole && block * kValueBlock + i * 16 >= columns.count) continue;
      float8& out = state.out[block * 4 + i];
      out = wmma(turned_values(s, i * 16), p, out);
    }
  }
  wave_sync();
}

// The waves' results and a further score (kNoScore: none) put together; store(query, column, value)
// for each. The query is uniform.
template <int kBlocks, typename Store>
DEVICE void merge_waves(PromptLds& s, PromptState<kBlocks>& state, int columns, float sink,
                        Store store) {
  const int query = lane() & 15;
  s.maximum[wave()][query] = state.maximum;
  s.sum[wave()][query] = state.sum + other_row(state.sum);
  barrier();
  float top = sink;
#pragma unroll
  for (int w = 0; w < kPromptWaves; ++w) top = __builtin_fmaxf(top, s.maximum[w][query]);
  float sum = sink > kNoScore ? exp2(sink - top) : 0;
#pragma unroll
  for (int w = 0; w < kPromptWaves; ++w) sum += s.sum[w][query] * exp2(s.maximum[w][query] - top);
  const float factor = sum > 0 ? exp2(state.maximum - top) / sum : 0;
#pragma unroll
  for (int part = 0; part < 2 * kBlocks; ++part) {
    if (part * kMergeColumns >= columns) break;
    barrier();
#pragma unroll
    for (int i = 0; i < 16; ++i)
      s.merge[wave()][query][i / 8 * 16 + i % 8 * 2 + (lane() >> 4)] =
          state.out[part * 2 + i / 8][i % 8] * factor;
    barrier();
#pragma unroll
    for (int k = 0; k < kPromptTile * kMergeColumns / kThreads; ++k) {
      const int q = k * kPromptWaves + wave();
      float value = 0;
#pragma unroll
      for (int w = 0; w < kPromptWaves; ++w) value += s.merge[w][q][lane()];
      const int column = part * kMergeColumns + lane();
      if (column < columns) store(q, column, value);
    }
  }
}

}  // namespace outboard::devices::gpu::kernels
