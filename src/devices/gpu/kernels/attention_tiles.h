// Attention of many tokens of prompts by one workgroup, for heads of 64 or 128 elements: heads of a
// group, or neighbouring tokens, share keys and values, which come into LDS once for all of them.
//
// A unit is one head of 16 neighbouring tokens, with its queries and its sums in registers. A
// workgroup has four units and two waves of each, which take 16 of 32 positions at a time. While
// they multiply, the next positions are on their way: there are two of everything in LDS. Matrices
// lie as in attention_prompt.h: scores transposed, a lane's column is one query.
#pragma once

#include "devices/gpu/kernels/attention_prompt.h"

namespace outboard::devices::gpu::kernels {

constexpr int kTilesShares = kPromptWaves / kTilesUnits;  // of positions
constexpr int kTilesStep = kPromptTile * kTilesShares;    // positions at a time
constexpr int kTilesRows = kTilesStep / kPromptWaves;     // of them, a wave brings
static_assert(kTilesRows == 4);

// 32 KiB for heads of 128, so that two workgroups share a compute unit's 64.
template <int kDim>
union alignas(16) TilesLds {
  struct {
    // Eight elements of a key together, then the next position's: what a lane reads lies beside
    // its neighbours'. See key_row().
    half8 keys[2][kDim / 8][kTilesStep];
    // Eight positions of a column together, then the next column's. See value_column().
    half8 values[2][kTilesStep / 8][kDim];
  };
  // What the second waves of units have come to, half of their columns at a time.
  struct {
    float4 out[kTilesUnits][kDim / 16][32];
    float2 stats[kTilesUnits][32];
  };
};

// Where the key of a position lies among those of a step. A product's rows 2i and 2i + 1 are
// positions i and 8 + i: so a half of the wave has the scores of eight neighbours. Odd chunks are
// exchanged in pairs, so that lanes that store different ones meet other banks.
DEVICE int key_row(int position) {
  const int among = position & 15;
  return (position & ~15) + 2 * (among & 7) + (among >> 3);
}
DEVICE int key_place(int row, int chunk) { return row ^ (chunk & 1); }
// Likewise for columns, which a wave stores four apart.
DEVICE int value_column(int column) { return column ^ (column >> 3 & 3); }

// The lane's number; what is made of it is made again each time, as there are not the registers to
// hold it.
DEVICE int lane_again() {
  int l = lane();
  asm volatile("" : "+v"(l));
  return l;
}

// Read by the scalar unit: what is the same for all lanes.
class Scalars {
 public:
  DEVICE explicit Scalars(Ptr<const int> first)
      : first_((Constant) reinterpret_cast<uint64_t>(first)) {}
  DEVICE int operator[](int i) const { return first_[i]; }

 private:
  using Constant = __attribute__((address_space(4))) const int*;
  Constant first_;
};

// What a wave brings of a step: four positions, of keys a lane eight elements or twice as many, of
// values a few columns of each.
template <int kDim>
class Brought {
 public:
  static constexpr int kKeys = kDim / 64;
  static constexpr int kColumns = kDim / 32;
  static constexpr int kWords = kColumns / 2;

  // The step's positions begin at `tile`, a multiple of four like a page's.
  DEVICE void load(const AttentionArgs& a, const Range& range, int tile) {
    // Where there are none of a run, its last will do.
    const int own = tile + wave() * kTilesRows;
    const int position = __builtin_elementwise_min(own, (range.end - 1) & -kTilesRows);
    const uint64_t at = row_in_cache(a, Scalars(range.pages), range.kv_head, position, kDim);
    const Ptr<const uint16_t> keys = a.cache.keys + at;
    const Ptr<const uint16_t> values = a.cache.values + at;
    // A lane's row, and its chunk: all of a line's lanes together.
#pragma unroll
    for (int i = 0; i < kKeys; ++i)
      key_[i] = load_half8(
          keys + static_cast<uint32_t>((lane() & 3) * kDim + ((lane() >> 2) + 8 * i) * 8));
#pragma unroll
    for (int r = 0; r < kTilesRows; ++r)
      value_[r] = *reinterpret_cast<Ptr<const Words>>(
          values + static_cast<uint32_t>(r * kDim + lane() * kColumns));
  }

  DEVICE void store(TilesLds<kDim>& s, int buffer, const Range& range, int tile) {
    const int first = wave() * kTilesRows;
    if (tile + kTilesStep > range.end) {
      // Nobody sees them, but what is there need not be a number.
#pragma unroll
      for (int r = 0; r < kTilesRows; ++r)
        if (tile + first + r >= range.end) value_[r] = Words{};
    }
    const int own = lane_again();
    const int row = key_row(first) + 2 * (own & 3);
#pragma unroll
    for (int i = 0; i < kKeys; ++i) {
      const int chunk = (own >> 2) + 8 * i;
      s.keys[buffer][chunk][key_place(row, chunk)] = key_[i];
    }
#pragma unroll
    for (int e = 0; e < kColumns; ++e) {
      constexpr uint32_t kPick[2] = {0x05040100, 0x07060302};
      const uint32_t pick = kPick[e % 2];
      const uint2 four = {
          __builtin_amdgcn_perm(value_[1][e / 2], value_[0][e / 2], pick),
          __builtin_amdgcn_perm(value_[3][e / 2], value_[2][e / 2], pick),
      };
      const int column = value_column(own * kColumns + e);
      reinterpret_cast<uint2*>(&s.values[buffer][first / 8][column])[first / 4 % 2] = four;
    }
  }

 private:
  typedef uint32_t Words __attribute__((ext_vector_type(kWords)));
  half8 key_[kKeys];
  Words value_[kTilesRows];
};
// A wave's part of a workgroup's work.
template <int kDim>
struct TilesState {
  half16 q[kDim / 16];    // times query_factor(): 16 elements of query lane % 16 each
  float8 out[kDim / 16];  // of 16 columns each
  float maximum = kNoScore;
  float sum = 0;  // of the positions in this half of the wave
};

// The positions of a run that the lane's query sees, and what all of the wave's do.
struct Seen {
  int first, last;          // none: last < first
  int any_first, any_last;  // by one of them
  int all_first, all_last;  // by all; none: all_last < all_first

  DEVICE Seen(bool mine, int from, int to) {
    first = mine ? from : 0;
    last = mine ? to : -1;
    constexpr int kNever = 0x7fffffff;
    const auto least = [](int a, int b) { return __builtin_elementwise_min(a, b); };
    const auto most = [](int a, int b) { return __builtin_elementwise_max(a, b); };
    const auto uniform = [](int x) { return __builtin_amdgcn_readfirstlane(x); };
    any_first = uniform(wave_reduce(mine ? from : kNever, least));
    any_last = uniform(wave_reduce(last, most));
    all_first = uniform(wave_reduce(mine ? from : kNever, most));
    all_last = uniform(wave_reduce(last, least));
  }
};

// 16 positions from `tile` on, the wave's share of what is in LDS.
template <int kDim>
DEVICE void tiles_step(const AttentionArgs& a, const TilesLds<kDim>& s, int buffer, int share,
                       int tile, const Seen& seen, TilesState<kDim>& state) {
  const int row = share * kPromptTile + (lane() & 15);
  const int places[2] = {key_place(row, 0), key_place(row, 1)};
  float8 scores;
#pragma unroll
  for (int k = 0; k < kDim / 16; ++k) {
    const auto& chunks = s.keys[buffer];
    const half16 key = join(chunks[2 * k][places[0]], chunks[2 * k + 1][places[1]]);
    scores = k == 0 ? wmma(key, state.q[k]) : wmma(key, state.q[k], scores);
  }
  if (a.softcap != 0) {
#pragma unroll
    for (int i = 0; i < 8; ++i) scores[i] = a.softcap * kLog2E * tanh(scores[i] / a.softcap);
  }
  float lowest = kNoScore;  // of a maximum: so that unseen is zero where nothing was seen yet
  if (tile < seen.all_first || tile + kPromptTile - 1 > seen.all_last) {
    const int from_first = tile + 8 * (lane_again() >> 4) - seen.first;
    const auto many = static_cast<uint32_t>(seen.last - seen.first + 1);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (static_cast<uint32_t>(from_first + i) >= many) scores[i] = kNoScore;
    lowest = kNoScore / 2;
  }
  float top = scores[0];
#pragma unroll
  for (int i = 1; i < 8; ++i) top = __builtin_fmaxf(top, scores[i]);
  top = __builtin_fmaxf(top, other_row(top));
  if (__builtin_amdgcn_ballot_w32(top > state.maximum) != 0) {
    top = __builtin_fmaxf(top, state.maximum);
    const float factor = exp2(state.maximum - top);
    state.maximum = top;
    state.sum *= factor;
#pragma unroll
    for (int i = 0; i < kDim / 16; ++i) state.out[i] *= factor;
  }
  const float from = __builtin_fmaxf(state.maximum, lowest);
  half2 own[4];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float p = exp2(scores[i] - from);
    state.sum += p;
    own[i / 2][i % 2] = static_cast<half>(p);
  }
  // All 16 positions for both halves of the wave.
  const bool upper = lane() >= 16;
  uint32_t words[8];
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const auto mine = bits_as<uint32_t>(own[k]);
    const uint32_t other = other_row(mine);
    words[k] = upper ? other : mine;
    words[4 + k] = upper ? mine : other;
  }
  const uint4 low = {words[0], words[1], words[2], words[3]};
  const uint4 high = {words[4], words[5], words[6], words[7]};
  const half16 p = join(bits_as<half8>(low), bits_as<half8>(high));
  // Of even and odd i; what is the same in all of them the compiler has as an offset.
  const int columns[2] = {value_column(lane() & 15), value_column(16 + (lane() & 15)) - 16};
#pragma unroll
  for (int i = 0; i < kDim / 16; ++i) {
    const int column = 16 * i + columns[i % 2];
    const half16 value =
        join(s.values[buffer][2 * share][column], s.values[buffer][2 * share + 1][column]);
    state.out[i] = wmma(value, p, state.out[i]);
  }
}

// The tokens of a workgroup, run by run: lane l has those of number l and 32 + l.
class TilesTokens {
 public:
  template <typename Run>
  DEVICE TilesTokens(int first, int end, Run run_of_token) : first_(first), end_(end) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int token = first + 32 * i + lane();
      run_[i] = token < end ? run_of_token(token) : -1;
    }
  }
  DEVICE int first() const { return first_; }
  DEVICE int end() const { return end_; }
  // Of a token, -1: none.
  DEVICE int run_at(int token) const {
    const int at = token - first_;
    return at < 32 ? __builtin_amdgcn_readlane(run_[0], at)
                   : __builtin_amdgcn_readlane(run_[1], at - 32);
  }
  // The token behind those of its run.
  DEVICE int end_of(int token, int run) const {
    const uint64_t same = __builtin_amdgcn_ballot_w32(run_[0] == run) |
                          static_cast<uint64_t>(__builtin_amdgcn_ballot_w32(run_[1] == run)) << 32;
    const uint64_t others = ~(same >> (token - first_));
    return others == 0 ? end_ : __builtin_elementwise_min(token + __builtin_ctzl(others), end_);
  }

 private:
  int first_, end_;
  int run_[2];
};

// The sums of a unit's waves put together, and a further score (kNoScore: none): in the first
// wave's state, which is stored.
template <int kDim>
DEVICE void merge_shares(TilesLds<kDim>& s, int unit, int share, float sink,
                         TilesState<kDim>& state) {
  static_assert(kTilesShares == 2);
  state.sum += other_row(state.sum);
  float own = 0, theirs = 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    constexpr int kEach = kDim / 32;  // float8s of half of the columns
    barrier();
    if (share == 1) {
      s.stats[unit][lane()] = float2{state.maximum, state.sum};
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const float8& out = state.out[half * kEach + i];
        s.out[unit][2 * i][lane()] = float4{out[0], out[1], out[2], out[3]};
        s.out[unit][2 * i + 1][lane()] = float4{out[4], out[5], out[6], out[7]};
      }
    }
    barrier();
    if (share == 1) continue;
    if (half == 0) {
      const float2 other = s.stats[unit][lane()];
      const float top = __builtin_fmaxf(__builtin_fmaxf(state.maximum, other.x), sink);
      own = exp2(state.maximum - top);
      theirs = exp2(other.x - top);
      const float sum =
          own * state.sum + theirs * other.y + (sink > kNoScore ? exp2(sink - top) : 0);
      const float factor = sum > 0 ? 1 / sum : 0;
      own *= factor;
      theirs *= factor;
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      float8& out = state.out[half * kEach + i];
      const float4 low = s.out[unit][2 * i][lane()];
      const float4 high = s.out[unit][2 * i + 1][lane()];
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        out[e] = own * out[e] + theirs * low[e];
        out[4 + e] = own * out[4 + e] + theirs * high[e];
      }
    }
  }
}

}  // namespace outboard::devices::gpu::kernels
