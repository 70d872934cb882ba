// A head's norm and rotary position embedding, by one wave in registers.
#pragma once

#include "devices/gpu/kernels/device.h"
#include "devices/gpu/kernels/math.h"
#include "devices/gpu/kernels/reduce.h"

namespace outboard::devices::gpu::kernels {

constexpr int kMaxHeadDim = 256;

// Elements `a` and `b` of a head; the first rotary / 2 pairs are those that turn together.
struct Pair {
  int a, b;
};
DEVICE Pair pair_of(int i, const Rope& rope) {
  const int half = rope.rotary / 2;
  if (i < half && rope.neox != 0) return {i, i + half};
  return {2 * i, 2 * i + 1};
}

// Turns of position * turns[i], between 0 and 1 or so: exact to float32 at any position.
DEVICE float turns_at(Ptr<const float> turns, int i, int position) {
  const float p = static_cast<float>(position);
  const float high = turns[2 * i];
  const float whole = p * high;
  const float rest = __builtin_fmaf(p, high, -whole) + p * turns[2 * i + 1];
  return __builtin_amdgcn_fractf(whole) + rest;
}

// Calls store(index, value) for each element of the head at x [dim], normed and turned. All lanes
// of a wave together.
template <typename Store>
DEVICE void norm_and_turn(Ptr<const float> x, int dim, int position, const Norm& norm,
                          const Rope& rope, Store store) {
  constexpr int kPairs = kMaxHeadDim / 2 / 32;  // a lane
  float2 v[kPairs];
  float squares = 0;
#pragma unroll
  for (int k = 0; k < kPairs; ++k) {
    const int i = k * 32 + lane();
    v[k] = float2{0, 0};
    if (2 * i >= dim) continue;
    const Pair pair = pair_of(i, rope);
    v[k] = float2{x[pair.a], x[pair.b]};
    squares += v[k].x * v[k].x + v[k].y * v[k].y;
  }
  float factor = 1;
  if (norm.kind == NormKind::kRms) {
    const float mean = wave_sum(squares) / static_cast<float>(dim);
    factor = reciprocal_root(mean + norm.epsilon);
  }
#pragma unroll
  for (int k = 0; k < kPairs; ++k) {
    const int i = k * 32 + lane();
    if (2 * i >= dim) continue;
    const Pair pair = pair_of(i, rope);
    float2 e = v[k] * factor;
    if (norm.kind == NormKind::kRms && norm.weight != nullptr)
      e *= float2{norm.weight[pair.a], norm.weight[pair.b]};
    if (2 * i < rope.rotary) {
      const float turns = turns_at(rope.turns, i, position);
      const float cosine = __builtin_amdgcn_cosf(turns);
      const float sine = __builtin_amdgcn_sinf(turns);
      e = float2{e.x * cosine - e.y * sine, e.x * sine + e.y * cosine};
    }
    store(pair.a, e.x);
    store(pair.b, e.y);
  }
}

}  // namespace outboard::devices::gpu::kernels
