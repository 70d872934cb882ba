// A head's norm and rotary position embedding, by one wave in registers.
#pragma once

#include "devices/gpu/kernels/device.h"
#include "devices/gpu/kernels/math.h"
#include "devices/gpu/kernels/reduce.h"

namespace outboard::devices::gpu::kernels {

constexpr int kMaxHeadDim = kMaxKeyDim;

// Elements `a` and `b` of a head; the first rotary / 2 pairs are those that turn together.
struct Pair {
  int a, b;
};
DEVICE Pair pair_of(int i, const Rope& rope) {
  const int half = rope.rotary / 2;
  if (i < half && rope.neox != 0) return {i, i + half};
  return {2 * i, 2 * i + 1};
}

// Turns of position * turns, between 0 and 1 or so: exact to float32 at any position.
DEVICE float turns_at(float2 turns, int position) {
  const float p = static_cast<float>(position);
  const float whole = p * turns.x;
  const float rest = __builtin_fmaf(p, turns.x, -whole) + p * turns.y;
  return __builtin_amdgcn_fractf(whole) + rest;
}
// Of pair i; none turns by nothing.
DEVICE float2 turns_of(const Rope& rope, int i) {
  if (2 * i >= rope.rotary) return float2{0, 0};
  return reinterpret_cast<Ptr<const float2>>(rope.turns)[i];
}

// program::PositionScale.
DEVICE float position_factor(float scale, float length, float offset, int position) {
  const float steps = __builtin_floorf((static_cast<float>(position) + offset) / length);
  return 1 + scale * log(1 + steps);
}

// A head's norm and turn, but for where its elements come from and go to.
class HeadTurn {
 public:
  // squares: of all elements of the head.
  DEVICE HeadTurn(int dim, int position, const Norm& norm, const Rope& rope, float squares)
      : norm_(norm), rope_(rope), position_(position) {
    if (norm.kind == NormKind::kRms)
      factor_ = reciprocal_root(squares / static_cast<float>(dim) + norm.epsilon);
    if (rope.position_scale != 0)
      factor_ *= position_factor(rope.position_scale, rope.position_length, rope.position_offset,
                                 position);
  }

  // Pair i, whose elements are e; turns: turns_of(i).
  DEVICE float2 of(int i, const Pair& pair, float2 e, float2 turns_a_position) const {
    e *= factor_;
    const bool weighted = norm_.kind == NormKind::kRms && norm_.weight != nullptr;
    if (weighted && rope_.norm_after == 0) e *= weight(pair);
    if (2 * i < rope_.rotary) {
      const float turns = turns_at(turns_a_position, position_);
      const float cosine = __builtin_amdgcn_cosf(turns) * rope_.magnitude;
      const float sine = __builtin_amdgcn_sinf(turns) * rope_.magnitude;
      e = float2{e.x * cosine - e.y * sine, e.x * sine + e.y * cosine};
    }
    if (weighted && rope_.norm_after != 0) e *= weight(pair);
    return e;
  }

 private:
  DEVICE float2 weight(const Pair& pair) const {
    return float2{norm_.weight[pair.a], norm_.weight[pair.b]};
  }

  const Norm& norm_;
  const Rope& rope_;
  int position_;
  float factor_ = 1;
};

// A head of up to kMost elements in a wave's registers: asked for before it is known what becomes
// of it.
class Head {
 public:
  static constexpr int kPairs = 4;  // a lane
  static constexpr int kMost = 2 * 32 * kPairs;

  DEVICE void load(Ptr<const float> x, int dim, const Rope& rope) {
#pragma unroll
    for (int k = 0; k < kPairs; ++k) {
      const int i = k * 32 + lane();
      v_[k] = float2{0, 0};
      turns_[k] = float2{0, 0};
      if (2 * i >= dim) continue;
      const Pair pair = pair_of(i, rope);
      v_[k] = float2{x[pair.a], x[pair.b]};
      turns_[k] = turns_of(rope, i);
    }
  }

  // Calls store(index, value) for each element, normed and turned. All lanes of a wave together.
  template <typename Store>
  DEVICE void finish(int dim, int position, const Norm& norm, const Rope& rope, Store store) const {
    float squares = 0;
    if (norm.kind == NormKind::kRms) {
#pragma unroll
      for (int k = 0; k < kPairs; ++k) squares += v_[k].x * v_[k].x + v_[k].y * v_[k].y;
      squares = wave_sum(squares);
    }
    const HeadTurn turn(dim, position, norm, rope, squares);
#pragma unroll
    for (int k = 0; k < kPairs; ++k) {
      const int i = k * 32 + lane();
      if (2 * i >= dim) continue;
      const Pair pair = pair_of(i, rope);
      const float2 e = turn.of(i, pair, v_[k], turns_[k]);
      store(pair.a, e.x);
      store(pair.b, e.y);
    }
  }

 private:
  float2 v_[kPairs], turns_[kPairs];
};

// Calls store(index, value) for each element of the head at x [dim], normed and turned. All lanes
// of a wave together. Heads of up to Head::kMost elements are read once; of larger ones, which are
// rare, twice, so that nobody needs registers for them.
template <typename Store>
DEVICE void norm_and_turn(Ptr<const float> x, int dim, int position, const Norm& norm,
                          const Rope& rope, Store store) {
  if (dim > Head::kMost) {
    float squares = 0;
    if (norm.kind == NormKind::kRms) {
      for (int i = lane(); i < dim; i += 32) squares += x[i] * x[i];
      squares = wave_sum(squares);
    }
    const HeadTurn turn(dim, position, norm, rope, squares);
#pragma unroll 1
    for (int i = lane(); 2 * i < dim; i += 32) {
      const Pair pair = pair_of(i, rope);
      const float2 e = turn.of(i, pair, float2{x[pair.a], x[pair.b]}, turns_of(rope, i));
      store(pair.a, e.x);
      store(pair.b, e.y);
    }
    return;
  }
  Head head;
  head.load(x, dim, rope);
  head.finish(dim, position, norm, rope, store);
}

}  // namespace outboard::devices::gpu::kernels
