// Mixtures of experts. Few tokens: the matrices of each token's experts times its row, with those
// experts' numbers read on the way. Many tokens: sorted by expert for `expert_matmul`.
#include "devices/gpu/kernels/matvec_core.h"
#include "devices/gpu/kernels/routing.h"

namespace outboard::devices::gpu::kernels {
namespace {

constexpr int kDownUnits = 384;

// Rows of all of a token's experts side by side, each from a unit on.
struct DownTile {
  Tile<1, kDownUnits> tile;
  uint32_t source[kDownUnits];  // of the matrix's units, the one that meets unit u of the tile
  float largest[kWaves];
};

// The token's row of experts, weighted.
class DownInput {
 public:
  DEVICE DownInput(const ExpertDownArgs& a, int token)
      : a_(a), first_(token * a.used), units_(units_of(a.matrix.columns)) {}

  DEVICE int units() const { return units_ * a_.used; }

  // Columns [column, column + 8) of those side by side, and the unit of the matrix they meet.
  DEVICE float8 load(uint32_t chunk, uint32_t& source) const {
    const uint32_t unit = chunk / 4;
    const bool is_there = unit < static_cast<uint32_t>(units());
    const uint32_t slot = is_there ? unit / units_ : 0;
    // Those beyond the end, which are 0, repeat one of the last units at the same place in a block.
    const uint32_t within = is_there ? unit - slot * units_
                                     : units_ - __builtin_elementwise_min(units_, kSuperUnits) +
                                           unit % kSuperUnits % units_;
    const uint32_t expert = a_.chosen[first_ + slot];
    source = expert * a_.matrix.rows * units_ + within;
    float8 v = 0;
    if (!is_there) return v;
    const int column = static_cast<int>(within * kUnit + chunk % 4 * kChunk);
    const int64_t at = static_cast<int64_t>(first_ + slot) * a_.stride + column;
    const float weight = a_.weights[first_ + slot];
    v = eight(a_.x + at);
    v = a_.y != nullptr ? gated8(a_.function, v, eight(a_.y + at)) : apply8(a_.function, v);
#pragma unroll
    for (int i = 0; i < kChunk; ++i) v[i] = column + i < a_.matrix.columns ? v[i] * weight : 0;
    return v;
  }

 private:
  DEVICE static float8 eight(Ptr<const float> p) {
    const Ptr<const float4> fours = reinterpret_cast<Ptr<const float4>>(p);
    return join(fours[0], fours[1]);
  }

  const ExpertDownArgs& a_;
  int first_;
  int units_;
};

// What the row is divided by to be float16: 2^exponent (InputRow::exponent).
DEVICE int measure(const DownInput& input, DownTile& s) {
  uint32_t largest = 0;
  const int chunks = input.units() * 4;
  for (int c = thread(); c < chunks; c += kThreads) {
    uint32_t source;
    largest = __builtin_elementwise_max(largest, magnitude(input.load(c, source)));
  }
  largest =
      wave_reduce(largest, [](uint32_t a, uint32_t b) { return __builtin_elementwise_max(a, b); });
  if (lane() == 0) s.largest[wave()] = bits_as<float>(largest);
  barrier();
  uint32_t all = 0;
#pragma unroll
  for (int i = 0; i < kWaves; ++i)
    all = __builtin_elementwise_max(all, bits_as<uint32_t>(s.largest[i]));
  const int e = __builtin_amdgcn_frexp_expf(bits_as<float>(all));
  return __builtin_elementwise_max(__builtin_amdgcn_readfirstlane(e), -100) - 13;
}

// Which row of the input a workgroup of expert_matvec multiplies, and with which expert.
struct ExpertRow {
  int out, token, expert;

  DEVICE explicit ExpertRow(const ExpertMatvecArgs& a) : out(workgroup_y()), token(out), expert(0) {
    if (a.chosen != nullptr) {
      token = static_cast<uint32_t>(out) / static_cast<uint32_t>(a.used);
      expert = a.chosen[out];
    } else if (a.heads > 0) {
      expert = static_cast<uint32_t>(out) % static_cast<uint32_t>(a.heads);
    }
  }
  // Of a part: the rows before the expert's.
  DEVICE int operator()(int part) const {
    const Part& p = arguments<MatvecArgs>().parts[part];
    return expert * p.expert_rows + p.expert_first;
  }
};

DEVICE void make_choice(const ExpertMatvecArgs& a, int token, uint32_t& told) {
  if (a.routing.experts == 0 || !is_last(a.ended + token, a.workgroups, told)) return;
  if (wave() == 0) store_experts(a.routing, token);
}

DEVICE void put_tile(const ExpertSlotsArgs& a, int number, ExpertTile tile) {
  reinterpret_cast<Ptr<uint4>>(a.tiles)[number] = bits_as<uint4>(tile);
}

}  // namespace

// See ExpertMatvecArgs. The matvec's arguments come first, where arguments() looks for them.
KERNEL EIGHT_WAVES void expert_matvec(ExpertMatvecArgs a) {
  static LDS Tile<1> tile;
  static LDS uint32_t told;
  const ExpertRow row(a);
  matvec<1>(tile, row.token, row.out, row);
  make_choice(a, row.token, told);
}
KERNEL SIXTEEN_WAVES void expert_matvec_narrow(ExpertMatvecArgs a) {
  static LDS Tile<1, kNarrowUnits> tile;
  static LDS uint32_t told;
  const ExpertRow row(a);
  matvec_plain(tile, row.token, row.out, row);
  make_choice(a, row.token, told);
}

// See ExpertDownArgs.
KERNEL void expert_down(ExpertDownArgs a) {
  static LDS DownTile s;
  const int token = workgroup_y();
  const DownInput input(a, token);
  const int units = units_of(a.matrix.columns);
  const int padded = (input.units() + 31) & -32;
  const bool whole = padded <= kDownUnits;
  const int exponent = measure(input, s);
  const float factor = __builtin_ldexpf(1, exponent);

  const int pairs = static_cast<uint32_t>(a.matrix.rows + 1) / 2;
  const int turns = expert_down_pairs_a_wave(a);
  const int begin = (workgroup_x() * kWaves + wave()) * turns;
  for (int turn = 0; turn < turns; ++turn) {
    const int index = begin + turn;
    float sum[2][1] = {};
    for (int first = 0; first < padded; first += kDownUnits) {
      const int count = __builtin_elementwise_min(padded - first, kDownUnits);
      if (!whole || turn == 0) {
        barrier();
        for (int c = thread(); c < 4 * count; c += kThreads) {
          uint32_t source;
          const float8 v = input.load(4 * first + c, source);
          s.tile.put(0, c, to_half(v, exponent));
          if (c % 4 == 0) s.source[c / 4] = source;
        }
        barrier();
      }
      if (index >= pairs) continue;
      with_format(static_cast<WeightType>(a.matrix.type), [&]<WeightType type>() {
        const int second = __builtin_elementwise_min(2 * index + 1, a.matrix.rows - 1);
        const Row row[2] = {row_of<type>(a.matrix, 2 * index, units),
                            row_of<type>(a.matrix, second, units)};
        multiply<type>(row, s.tile, [&](int u) { return s.source[u]; }, count, sum);
      });
    }
    const float v = spread_sums<1>(sum) * factor;
    const int out = 2 * index + lane() / 16;
    if (lane() % 16 == 0 && out < a.matrix.rows) {
      const Ptr<float> to = a.out + static_cast<int64_t>(token) * a.out_stride + out;
      float all = a.accumulate != 0 ? *to + v : v;
      if (a.bias != nullptr)
        for (int i = token * a.used; i < (token + 1) * a.used; ++i)
          all += a.weights[i] * a.bias[static_cast<int64_t>(a.chosen[i]) * a.matrix.rows + out];
      *to = all;
    }
  }
}

// See RouteArgs. A wave a token.
KERNEL void route(RouteArgs a) {
  const int token = workgroup_x() * kWaves + wave();
  if (token < a.tokens) store_experts(a.routing, token);
}

// See ExpertSlotsArgs. In what order an expert's slots come does not matter: each is a row of its
// own in all that follows.
KERNEL void expert_slots(ExpertSlotsArgs a) {
  static LDS int count[kMaxExperts];
  static LDS int next[kMaxExperts];
  const int pairs = a.tokens * a.used;
  for (int e = thread(); e < kMaxExperts; e += kThreads) count[e] = 0;
  barrier();
  for (int p = thread(); p < pairs; p += kThreads)
    __hip_atomic_fetch_add(&count[a.chosen[p]], 1, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_WORKGROUP);
  barrier();
  const uint32_t size = a.tile_slots;
  for (int e = thread(); e < a.experts; e += kThreads) {
    int slot = 0;
    int tile = 0;
    for (int other = 0; other < e; ++other) {
      slot += count[other];
      tile += (static_cast<uint32_t>(count[other]) + size - 1) / size;
    }
    next[e] = slot;
    const int end = slot + count[e];
    for (; slot < end; slot += a.tile_slots)
      put_tile(a, tile++, {e, slot, __builtin_elementwise_min(end - slot, a.tile_slots), 0});
    if (e == a.experts - 1)
      for (; tile < a.max_tiles; ++tile) put_tile(a, tile, {});
  }
  barrier();
  for (int p = thread(); p < pairs; p += kThreads) {
    const int slot = __hip_atomic_fetch_add(&next[a.chosen[p]], 1, __ATOMIC_RELAXED,
                                            __HIP_MEMORY_SCOPE_WORKGROUP);
    a.slot_of[p] = slot;
    a.token_of[slot] = static_cast<uint32_t>(p) / static_cast<uint32_t>(a.used);
  }
}

// See ExpertSumArgs.
KERNEL void expert_sum(ExpertSumArgs a) {
  const int token = workgroup_x();
  const Ptr<float> out = a.out + static_cast<int64_t>(token) * a.out_stride;
  for (int c = thread(); c < a.width; c += kThreads) {
    float sum = a.accumulate != 0 ? out[c] : 0;
    for (int i = token * a.used; i < (token + 1) * a.used; ++i)
      sum += a.weights[i] * a.part[static_cast<int64_t>(a.slot_of[i]) * a.stride + c];
    out[c] = sum;
  }
}

}  // namespace outboard::devices::gpu::kernels
