// Attention and what goes before it: norm and rope of each head, and the KV cache.
#include "devices/gpu/kernels/attention_core.h"
#include "devices/gpu/kernels/attention_prompt.h"
#include "devices/gpu/kernels/attention_tiles.h"

namespace outboard::devices::gpu::kernels {
namespace {

template <typename T>
DEVICE Ptr<const T> in_record(const Step& step, int offset) {
  return reinterpret_cast<Ptr<const T>>(step.record + offset);
}
DEVICE int position_of(const Step& step, int token) {
  return in_record<int>(step, step.layout.positions)[token];
}
DEVICE int run_of(const Step& step, int token) {
  return in_record<int>(step, step.layout.token_run)[token];
}
DEVICE Ptr<const int> pages_of(const AttentionArgs& a, int run) {
  return in_record<int>(a.step, a.pages) + run * a.step.layout.pages_per_run;
}
// The run whose source a run shares, and that source.
DEVICE int source_run_of(const Step& step, int run) {
  return in_record<int>(step, step.layout.source_run)[run];
}
DEVICE int source_tokens_of(const Step& step, int run) {
  return in_record<int>(step, step.layout.source_tokens)[run];
}
DEVICE Ptr<const int> source_pages_of(const Step& step, int run) {
  return in_record<int>(step, step.layout.source_pages) + run * step.layout.pages_per_run;
}
// The first position that a token at `position` sees.
DEVICE int first_position(const AttentionArgs& a, int position) {
  return first_seen(a.window, a.chunked, position);
}
DEVICE uint16_t to_half(float x) { return bits_as<uint16_t>(static_cast<half>(x)); }

// Where a KV head of a token is, and where it goes.
struct KvHead {
  Ptr<const float> k, v;
  Ptr<uint16_t> key, value;

  DEVICE KvHead(const AttentionArgs& a, Ptr<const int> pages, int token, int position, int kv_head)
      : k(a.k + token * a.k_stride + kv_head * a.key_dim),
        v(a.v + token * a.v_stride + kv_head * a.value_dim),
        key(a.cache.keys + row_in_cache(a, pages, kv_head, position, a.key_dim)),
        value(a.cache.values + row_in_cache(a, pages, kv_head, position, value_row(a))) {}
};
DEVICE void store_value(const AttentionArgs& a, const KvHead& kv, int position) {
  if (a.values_in_keys != 0) return;
  if (a.v_norm.kind != NormKind::kNone) {
    norm_and_turn(kv.v, a.value_dim, position, a.v_norm, Rope{},
                  [&](int i, float x) { kv.value[i] = to_half(x); });
    return;
  }
  constexpr int kAtOnce = 4;
  for (int from = lane(); from < a.value_dim; from += 32 * kAtOnce) {
    float v[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) v[k] = from + 32 * k < a.value_dim ? kv.v[from + 32 * k] : 0;
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (from + 32 * k < a.value_dim) kv.value[from + 32 * k] = to_half(v[k]);
  }
}
// One KV head of a token, by one wave.
DEVICE void store_kv(const AttentionArgs& a, int token, int position, int kv_head) {
  const KvHead kv(a, pages_of(a, run_of(a.step, token)), token, position, kv_head);
  norm_and_turn(kv.k, a.key_dim, position, a.k_norm, a.k_rope,
                [&](int i, float x) { kv.key[i] = to_half(x); });
  store_value(a, kv, position);
}

// Elements a row of q has in LDS.
DEVICE int padded(int dim, int step) { return (dim + 32 * step - 1) / (32 * step) * (32 * step); }

// What a workgroup of attention_decode does. Its queries are neighbouring heads of a token, or one
// head of neighbouring tokens.
struct Decode {
  Range range;
  int split, token, position;
  int used;  // splits that have positions
  int head, count;
  int next_token, next_head;  // from query to query

  DEVICE int token_of(int query) const { return token + query * next_token; }
  DEVICE int head_of(int query) const { return head + query * next_head; }
};

DEVICE float sink_of(const AttentionArgs& a, int head) {
  return a.sinks != nullptr ? a.sinks[head] : kNoScore;
}
// What each sum of a query over all positions is to be multiplied with.
DEVICE float share_of(float maximum, float sum, float sink) {
  const float top = __builtin_fmaxf(maximum, sink);
  const float factor = exp(maximum - top);
  return factor * reciprocal(factor * sum + exp(sink - top));
}

// Keys are read so many times 32 elements at once; queries are padded to that.
DEVICE int chunks_at_once(int key_dim) {
  if (key_dim <= 32) return 1;
  return key_dim <= 64 || key_dim > 512 ? 2 : 4;  // padded to kMaxHeadDim at most
}
// As many queries as there is code for.
DEVICE int rounded_up(int count) { return count <= 2 ? count : count <= 4 ? 4 : kMaxQueries; }

// The queries, normed and turned, into LDS; head: wave() has its query there already.
DEVICE void bring_queries(const AttentionArgs& a, AttentionLds& s, const Decode& d, bool has_head,
                          const Head& head) {
  const int g = wave();
  if (g >= rounded_up(d.count)) return;
  const auto put = [&](int i, float x) { s.q[g][i] = x; };
  if (g < d.count && has_head)
    head.finish(a.key_dim, d.position, a.q_norm, a.q_rope, put);
  else if (g < d.count)
    norm_and_turn(a.q + d.token_of(g) * a.q_stride + d.head_of(g) * a.key_dim, a.key_dim,
                  d.position, a.q_norm, a.q_rope, put);
  const int end = padded(a.key_dim, chunks_at_once(a.key_dim));
  for (int i = (g < d.count ? a.key_dim : 0) + lane(); i < end; i += 32) s.q[g][i] = 0;
  if (lane() == 0) {
    s.first[g] = d.range.begin;
    s.last[g] = d.range.end - 1;
  }
}

template <int kQueries, int kAtOnce>
DEVICE void decode_heads(const AttentionArgs& a, AttentionLds& s, const Decode& d) {
  attend<kQueries, kAtOnce>(a, s, d.range, [&](int g, int column, float sum) {
    if (g >= d.count) return;
    // Read again: there are not the registers to hold them.
    const AttentionArgs& a = arguments<AttentionArgs>();
    if (d.used == 1) {
      const float share = share_of(s.maximum[g], s.sum[g], sink_of(a, d.head_of(g)));
      a.out[d.token_of(g) * a.out_stride + d.head_of(g) * a.value_dim + column] = sum * share;
      return;
    }
    const int at = (d.token_of(g) * a.heads + d.head_of(g)) * a.splits.splits + d.split;
    a.splits.sums[at * a.value_dim + column] = sum;
    if (column == 0) {
      a.splits.stats[at * 2] = s.maximum[g];
      a.splits.stats[at * 2 + 1] = s.sum[g];
    }
  });
}

// Puts the splits of the queries together.
DEVICE void merge_splits(const AttentionArgs& a, AttentionLds& s, const Decode& d) {
  const auto first_split = [&](int query) {
    return (d.token_of(query) * a.heads + d.head_of(query)) * a.splits.splits;
  };
  // A wave a query, a lane a split.
  if (wave() < d.count) {
    float2 stat = {kNoScore, 0};
    if (lane() < d.used)
      stat = reinterpret_cast<Ptr<const float2>>(a.splits.stats)[first_split(wave()) + lane()];
    const float sink = sink_of(a, d.head_of(wave()));
    const float top = __builtin_fmaxf(wave_max(stat.x), sink);
    const float factor = exp(stat.x - top);
    s.scores[0][wave()][lane()] = factor * reciprocal(wave_sum(factor * stat.y) + exp(sink - top));
  }
  barrier();
  const int chunks = a.value_dim / 4;
  for (int i = thread(); i < d.count * chunks; i += kThreads) {
    const int query = static_cast<uint32_t>(i) / static_cast<uint32_t>(chunks);
    const int chunk = i - query * chunks;
    const Ptr<const float4> sums =
        reinterpret_cast<Ptr<const float4>>(a.splits.sums) + first_split(query) * chunks + chunk;
    const float* shares = s.scores[0][query];
    float4 out = 0;
    // So many reads are under way; beyond the last split shares are zero.
    constexpr int kAtOnce = 16;
    static_assert(kMaxSplits % kAtOnce == 0 && kMaxSplits == 32);  // a lane a split
    for (int split = 0; split < d.used; split += kAtOnce) {
      float4 x[kAtOnce];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k)
        x[k] = sums[__builtin_elementwise_min(split + k, d.used - 1) * chunks];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) out += shares[split + k] * x[k];
    }
    const Ptr<float> to = a.out + d.token_of(query) * a.out_stride + d.head_of(query) * a.value_dim;
    *reinterpret_cast<Ptr<float4>>(to + 4 * chunk) = out;
  }
}

// The tile's tokens: a lane has that of query lane % 16, the first and last position it sees and
// its run, of which those that share a source count as one. -1: no token.
struct PromptTokens {
  int begin;
  int position, run;
  int first = 0;

  DEVICE PromptTokens(const AttentionArgs& a, int from) : begin(from), position(-1), run(-1) {
    const int token = begin + (lane() & 15);
    if (token < a.tokens) position = position_of(a.step, token);
    if (position < 0) return;
    run = run_of(a.step, token);
    if (a.source != 0) {
      run = source_run_of(a.step, run);
      position = source_tokens_of(a.step, run) - 1;
    } else {
      first = first_position(a, position);
    }
  }
  DEVICE int position_at(int query) const { return __builtin_amdgcn_readlane(position, query); }
  DEVICE int first_at(int query) const { return __builtin_amdgcn_readlane(first, query); }
  DEVICE int run_at(int query) const { return __builtin_amdgcn_readlane(run, query); }
  // How many from `query` on are of its run.
  DEVICE int count_from(int query) const {
    const uint32_t same = __builtin_amdgcn_ballot_w32(run == run_at(query)) & 0xffff;
    return __builtin_ctz(~(same >> query));
  }
};

// q of a head of the tile's tokens into LDS.
DEVICE void load_queries(const AttentionArgs& a, PromptLds& s, const PromptTokens& tokens,
                         int head) {
  const int padded_dim = padded(a.key_dim, 2);
  const float factor = query_factor(a);
  for (int g = wave(); g < kPromptTile; g += kPromptWaves) {
    const bool real = tokens.position_at(g) >= 0;
    const Ptr<const float> q = a.q + (tokens.begin + g) * a.q_stride + head * a.key_dim;
    for (int i = lane(); i < padded_dim; i += 32)
      s.q[g][i] = real && i < a.key_dim ? static_cast<half>(q[i] * factor) : 0;
  }
}

template <int kBlocks, bool kWhole>
DEVICE void prompt(const AttentionArgs& a, PromptLds& s, const PromptTokens& tokens, int head,
                   const Columns& columns) {
  PromptState<kBlocks> state;
#pragma unroll
  for (int i = 0; i < 4 * kBlocks; ++i) state.out[i] = float8{};
  const int query = lane() & 15;
  const StepLayout& layout = a.step.layout;
  const Ptr<const int> pages =
      in_record<int>(a.step, a.source != 0 ? layout.source_pages : a.pages);
  int count = 1;
  for (int g = 0; g < kPromptTile; g += count) {  // those of one run at a time
    count = tokens.count_from(g);
    const int run = tokens.run_at(g);
    if (run < 0) continue;
    Range range;
    range.pages = pages + run * a.step.layout.pages_per_run;
    range.kv_head = head / (a.heads / a.kv_heads);
    range.begin = tokens.first_at(g);
    range.end = tokens.position_at(g) + (a.source != 0 ? 1 : count);
    const bool mine = query >= g && query < g + count;
    const int last = mine ? tokens.position : -1;
    const int first = mine ? tokens.first : 0;
    for (int tile = range.begin + wave() * kPromptTile; tile < range.end;
         tile += kPromptWaves * kPromptTile)
      prompt_tile<kBlocks, kWhole>(a, s, range, tile, first, last, columns, state);
  }
  const float sink = a.sinks != nullptr ? a.sinks[head] * kLog2E : kNoScore;
  merge_waves(s, state, columns.count, sink, [&](int g, int column, float value) {
    if (tokens.position_at(g) >= 0)
      a.out[(tokens.begin + g) * a.out_stride + head * a.value_dim + columns.first + column] =
          value;
  });
}

// What a workgroup of attention_tiles does; see AttentionArgs.
template <int kDim>
DEVICE void attend_in_tiles(const AttentionArgs& a, TilesLds<kDim>& s) {
  const int group = a.heads / a.kv_heads;
  const int share = wave() / kTilesUnits;
  const int tiles = (a.tokens + kPromptTile - 1) / kPromptTile;
  // Those that see most come first.
  const int groups = static_cast<uint32_t>(tiles * group + kTilesUnits - 1) / kTilesUnits;
  const int first_unit = (groups - 1 - workgroup_x()) * kTilesUnits;
  const auto tile_of = [&](int unit) {
    return static_cast<int>(static_cast<uint32_t>(unit) / static_cast<uint32_t>(group));
  };
  const int unit = first_unit + wave() % kTilesUnits;
  const int head = workgroup_y() * group + unit - tile_of(unit) * group;

  const auto run_of_token = [&](int token) {
    if (position_of(a.step, token) < 0) return -1;
    const int run = run_of(a.step, token);
    return a.source != 0 ? source_run_of(a.step, run) : run;
  };
  const TilesTokens tokens(tile_of(first_unit) * kPromptTile,
                           __builtin_elementwise_min(
                               (tile_of(first_unit + kTilesUnits - 1) + 1) * kPromptTile, a.tokens),
                           run_of_token);
  // The last position that a token sees, and the first.
  const auto last_of = [&](int token, int run) {
    return a.source != 0 ? source_tokens_of(a.step, run) - 1 : position_of(a.step, token);
  };
  const auto first_of = [&](int last) {
    const AttentionArgs& a = arguments<AttentionArgs>();
    return a.source != 0 ? 0 : first_position(a, last);
  };

  // The lane's query.
  TilesState<kDim> state;
  int run = -1;
  int last = -1;
  int token = tile_of(unit) * kPromptTile + (lane() & 15);
  if (token < a.tokens) run = run_of_token(token);
  if (run >= 0) last = last_of(token, run);
  const float factor = query_factor(a);
#pragma unroll
  for (int k = 0; k < kDim / 16; ++k) {
    half16 q = 0;
    if (run >= 0) {
      const Ptr<const float8> from =
          reinterpret_cast<Ptr<const float8>>(a.q + token * a.q_stride + head * kDim + 16 * k);
#pragma unroll
      for (int e = 0; e < 16; ++e) q[e] = static_cast<half>(from[e / 8][e % 8] * factor);
    }
    state.q[k] = q;
    state.out[k] = float8{};
  }

  const Ptr<const int> pages =
      in_record<int>(a.step, a.source != 0 ? a.step.layout.source_pages : a.pages);
  for (int at = tokens.first(), next; at < tokens.end(); at = next) {
    const int current = tokens.run_at(at);
    next = tokens.end_of(at, current);
    if (current < 0) continue;
    Range range;
    range.pages = pages + current * a.step.layout.pages_per_run;
    range.kv_head = workgroup_y();
    range.begin = first_of(last_of(at, current)) & -kTilesRows;
    range.end = last_of(next - 1, current) + 1;
    const Seen seen(run == current, first_of(last), last);
    Brought<kDim> brought;
    brought.load(a, range, range.begin);
    barrier();  // who reads what an earlier run left there has done
    brought.store(s, 0, range, range.begin);
    barrier();
    int buffer = 0;
    for (int tile = range.begin; tile < range.end; tile += kTilesStep, buffer ^= 1) {
      const int following = tile + kTilesStep;
      if (following < range.end) brought.load(a, range, following);
      const int own = tile + share * kPromptTile;
      if (own <= seen.any_last && own + kPromptTile > seen.any_first)
        tiles_step<kDim>(a, s, buffer, share, own, seen, state);
      if (following >= range.end) break;
      brought.store(s, buffer ^ 1, range, following);
      barrier();
    }
  }

  const float sink = a.sinks != nullptr ? a.sinks[head] * kLog2E : kNoScore;
  merge_shares<kDim>(s, wave() % kTilesUnits, share, sink, state);
  if (share > 0 || last < 0) return;
  token = tile_of(unit) * kPromptTile + (lane_again() & 15);
  const Ptr<float> out = a.out + token * a.out_stride + head * kDim + (lane_again() >> 4);
#pragma unroll
  for (int i = 0; i < kDim / 16; ++i)
#pragma unroll
    for (int e = 0; e < 8; ++e) out[16 * i + 2 * e] = state.out[i][e];
}

template <int kAtOnce>
DEVICE void decode(const AttentionArgs& a, AttentionLds& s, const Decode& d) {
  if (d.count == 1)
    decode_heads<1, kAtOnce>(a, s, d);
  else if (d.count == 2)
    decode_heads<2, kAtOnce>(a, s, d);
  else if (d.count <= 4)
    decode_heads<4, kAtOnce>(a, s, d);
  else
    decode_heads<kMaxQueries, kAtOnce>(a, s, d);
}

// Of neighbours that share a source the first takes all, kMaxQueries at a time.
DEVICE int source_count(const AttentionArgs& a, int token) {
  const int run = source_run_of(a.step, run_of(a.step, token));
  const int other = token + lane();
  const bool same = other < a.tokens && position_of(a.step, other) >= 0 &&
                    source_run_of(a.step, run_of(a.step, other)) == run;
  const uint32_t mask = __builtin_amdgcn_ballot_w32(same);
  const int count = mask == 0xffffffff ? 32 : __builtin_ctz(~mask);
  return __builtin_elementwise_min(count, kMaxQueries);
}

DEVICE void decode_sized(const AttentionArgs& a, AttentionLds& s, const Decode& d) {
  const int chunks = chunks_at_once(a.key_dim);
  if (chunks == 1)
    decode<1>(a, s, d);
  else if (chunks == 2)
    decode<2>(a, s, d);
  else
    decode<4>(a, s, d);
}

}  // namespace

// See AttentionArgs. Registers for 8 waves a SIMD: two workgroups a compute unit.
KERNEL __attribute__((amdgpu_waves_per_eu(8))) void attention_decode(AttentionArgs a) {
  fetch_arguments<AttentionArgs>();
  LDS AttentionLds s;
  Decode d;
  d.split = workgroup_x();
  d.range.kv_head = workgroup_y();
  d.token = workgroup_z();
  d.position = position_of(a.step, d.token);
  const int group = a.heads / a.kv_heads;
  if (d.position < 0) {
    if (d.split > 0) return;
    const int width = group * a.value_dim;
    const Ptr<float> row = a.out + d.token * a.out_stride + d.range.kv_head * width;
    for (int i = thread(); i < width; i += kThreads) row[i] = 0;
    return;
  }
  const bool source = a.source != 0;
  int run = run_of(a.step, d.token);
  int first = 0;
  int end = d.position + 1;
  if (source) {
    run = source_run_of(a.step, run);
    // In decode steps a run has one token, of its number.
    if (static_cast<uint32_t>(d.token - run) % kMaxQueries != 0) return;
    end = source_tokens_of(a.step, run);
    d.range.pages = source_pages_of(a.step, run);
  } else {
    first = first_position(a, d.position);
    d.range.pages = pages_of(a, run);
  }
  const int each = split_positions(end - first, a.splits.splits);
  d.used = static_cast<uint32_t>(end - first + each - 1) / static_cast<uint32_t>(each);
  d.range.begin = first + d.split * each;
  d.range.end = __builtin_elementwise_min(d.range.begin + each, end);
  if (d.range.begin >= d.range.end) return;

  // What the waves turn is on its way before they know where it goes.
  const bool stores = !source && a.k != nullptr && d.range.end == end && wave() == 7;
  const bool loads_head = !source && a.key_dim <= Head::kMost;
  const bool has_query = loads_head && wave() < __builtin_elementwise_min(group, kMaxQueries);
  const bool has_key = loads_head && stores && !has_query;
  Head head;
  if (has_query)
    head.load(a.q + d.token * a.q_stride + (d.range.kv_head * group + wave()) * a.key_dim,
              a.key_dim, a.q_rope);
  else if (has_key)
    head.load(a.k + d.token * a.k_stride + d.range.kv_head * a.key_dim, a.key_dim, a.k_rope);

  // Read back below like all others: it must not matter which step computed a key.
  if (has_key) {
    const KvHead kv(a, d.range.pages, d.token, d.position, d.range.kv_head);
    head.finish(a.key_dim, d.position, a.k_norm, a.k_rope,
                [&](int i, float x) { kv.key[i] = to_half(x); });
    store_value(a, kv, d.position);
  } else if (stores) {
    store_kv(a, d.token, d.position, d.range.kv_head);
  }

  const int tokens = source ? source_count(a, d.token) : 1;
  d.next_token = source ? 1 : 0;
  d.next_head = source ? 0 : 1;
  const int heads_at_once = source ? 1 : kMaxQueries;
  const auto take = [&](int i) __attribute__((always_inline)) {
    d.head = d.range.kv_head * group + i;
    d.count = source ? tokens : __builtin_elementwise_min(group - i, kMaxQueries);
    if (i > 0) barrier();
  };
  take(0);
  bring_queries(a, s, d, has_query, head);
  for (int i = heads_at_once;; i += heads_at_once) {
    decode_sized(a, s, d);
    if (i >= group) break;
    take(i);
    bring_queries(a, s, d, false, Head());
  }
  if (d.used == 1) return;
  const AttentionArgs& again = arguments<AttentionArgs>();
  const Ptr<uint32_t> ended = again.splits.ended + d.token * again.kv_heads + d.range.kv_head;
  if (!is_last(ended, d.used, s.ended)) return;
  for (int i = 0; i < group; i += heads_at_once) {
    take(i);
    merge_splits(again, s, d);
  }
}

// See AttentionArgs.
KERNEL void rope_kv(AttentionArgs a) {
  const int token = workgroup_x();
  const int position = position_of(a.step, token);
  if (position < 0) return;
  const int all = a.heads + (a.k != nullptr ? a.kv_heads : 0);
  for (int i = wave(); i < all; i += kThreads / 32) {
    if (i < a.heads) {
      const Ptr<float> q = a.q + token * a.q_stride + i * a.key_dim;
      norm_and_turn(q, a.key_dim, position, a.q_norm, a.q_rope, [&](int e, float x) { q[e] = x; });
    } else {
      store_kv(a, token, position, i - a.heads);
    }
  }
}

// See AttentionArgs.
KERNEL EIGHT_WAVES void attention_tiles_64(AttentionArgs a) {
  LDS TilesLds<64> s;
  attend_in_tiles<64>(a, s);
}
KERNEL EIGHT_WAVES void attention_tiles_128(AttentionArgs a) {
  LDS TilesLds<128> s;
  attend_in_tiles<128>(a, s);
}

// See AttentionArgs.
KERNEL void attention_prompt(AttentionArgs a) {
  LDS PromptLds s;
  const Columns columns(a);
  const PromptTokens tokens(a, workgroup_x() * kPromptTile);
  const int head = workgroup_y();
  load_queries(a, s, tokens, head);
  barrier();
  const bool whole = a.key_dim % 64 == 0 && columns.count % 64 == 0;
  if (whole && columns.count == 64)
    prompt<1, true>(a, s, tokens, head, columns);
  else if (whole && columns.count == 128)
    prompt<2, true>(a, s, tokens, head, columns);
  else if (whole && columns.count == 256)
    prompt<4, true>(a, s, tokens, head, columns);
  else if (columns.count <= 64)
    prompt<1, false>(a, s, tokens, head, columns);
  else
    prompt<4, false>(a, s, tokens, head, columns);
}

}  // namespace outboard::devices::gpu::kernels
