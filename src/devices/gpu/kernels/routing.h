// Which experts a token goes to. See Routing.
#pragma once

#include "devices/gpu/kernels/math.h"
#include "devices/gpu/kernels/reduce.h"

namespace outboard::devices::gpu::kernels {

// Ordered as the logits are; NaN counts as minus infinity, and 0 is below all.
DEVICE uint32_t routing_key(float logit) {
  const float x = (logit == logit ? logit : -__builtin_inff()) + 0.0F;
  const uint32_t bits = bits_as<uint32_t>(x);
  return bits ^ (bits >> 31 != 0 ? 0xffffffffU : 0x80000000U);
}

// Calls f(i, expert, exp(logit - greatest logit)) for the token's experts, the best first, and
// returns what the last are to be multiplied with to be its weights. A whole wave.
template <typename F>
DEVICE float choose_experts(const Routing& r, int token, F f) {
  const Ptr<const float> logits = r.logits + static_cast<int64_t>(token) * r.logit_stride;
  uint32_t taken = 0;  // bit n: expert lane() + 32 n
  float top = 0;
  float kept = 0;
  float sum = 0;
  for (int i = 0; i < r.used; ++i) {
    uint32_t best = 0;
    int at = kMaxExperts;
    for (int n = 0; 32 * n < r.experts; ++n) {
      const int expert = lane() + 32 * n;
      if (expert >= r.experts || (taken >> n & 1) != 0) continue;
      const uint32_t key = routing_key(logits[expert]);
      if (key > best) {
        best = key;
        at = expert;
      }
    }
    const uint32_t most =
        wave_reduce(best, [](uint32_t a, uint32_t b) { return __builtin_elementwise_max(a, b); });
    const int first = wave_reduce(best == most ? at : kMaxExperts,
                                  [](int a, int b) { return __builtin_elementwise_min(a, b); });
    const int expert = __builtin_amdgcn_readfirstlane(first);
    if (expert % 32 == lane()) taken |= 1U << (expert / 32);
    const float logit = logits[expert];
    if (i == 0) {
      top = logit;
      for (int e = lane(); e < r.experts; e += 32) sum += exp(logits[e] - top);
      sum = wave_sum(sum);
    }
    const float weight = exp(logit - top);
    kept += weight;
    f(i, expert, weight);
  }
  return reciprocal(r.normalise != 0 ? kept : sum);
}

// A token's row of `chosen` and `weights`. A whole wave.
DEVICE void store_experts(const Routing& r, int token) {
  const int first = token * r.used;
  float mine = 0;  // lane i has weight i
  const float factor = choose_experts(r, token, [&](int i, int expert, float weight) {
    if (lane() == i) mine = weight;
    if (lane() == 0) r.chosen[first + i] = expert;
  });
  if (lane() < r.used) r.weights[first + lane()] = mine * factor;
}

}  // namespace outboard::devices::gpu::kernels
