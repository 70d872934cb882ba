// Which experts a token goes to. See Routing.
#pragma once

#include "devices/gpu/kernels/functions.h"
#include "devices/gpu/kernels/math.h"
#include "devices/gpu/kernels/reduce.h"

namespace outboard::devices::gpu::kernels {

// Ordered as the logits are; NaN counts as minus infinity, and 0 is below all.
DEVICE uint32_t routing_key(float logit) {
  const float x = (logit == logit ? logit : -__builtin_inff()) + 0.0F;
  const uint32_t bits = bits_as<uint32_t>(x);
  return bits ^ (bits >> 31 != 0 ? 0xffffffffU : 0x80000000U);
}

// Of a lane's values in a group of experts the best two, over the wave.
struct BestTwo {
  float best = -__builtin_inff(), second = -__builtin_inff();

  DEVICE void add(float x) {
    second = __builtin_fmaxf(second, __builtin_fminf(best, x));
    best = __builtin_fmaxf(best, x);
  }
  DEVICE float sum_over_wave() {
    const float most = wave_max(best);
    const uint32_t holders = __builtin_amdgcn_ballot_w32(best == most);
    // One of those that have it; the others' best is the next.
    const bool mine = lane() == __builtin_ctz(holders | 0x80000000U);
    return most + wave_max(mine ? second : best);
  }
};

// A token's choice of experts. A whole wave.
class Choice {
 public:
  DEVICE Choice(const Routing& r, int token)
      : r_(r), logits_(r.logits + static_cast<int64_t>(token) * r.logit_stride) {
    if (r.selection_bias == nullptr && r.group_used >= r.group_count) return;
    by_weight_ = true;
    if (r.gating == Gating::kSoftmax) sum_up(wave_max(largest_logit()));
    if (r.group_used < r.group_count) keep_groups();
  }

  // Calls f(i, expert, weight) for the token's experts, the best first, and returns what the last
  // are to be multiplied with to be its weights.
  template <typename F>
  DEVICE float each(F f) {
    uint32_t taken = 0;  // bit n: expert lane() + 32 n
    float kept = 0;
    for (int i = 0; i < r_.used; ++i) {
      uint32_t best = 0;
      int at = kMaxExperts;
      for (int n = 0; 32 * n < r_.experts; ++n) {
        const int expert = lane() + 32 * n;
        if (expert >= r_.experts || (taken >> n & 1) != 0 || !is_kept(expert)) continue;
        const uint32_t key = routing_key(by_weight_ ? selection(expert) : logits_[expert]);
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
      const float logit = logits_[expert];
      if (i == 0 && r_.gating != Gating::kSigmoid && sum_ == 0) sum_up(logit);
      const float weight = r_.gating == Gating::kSigmoid ? sigmoid(logit) : exp(logit - top_);
      kept += weight;
      f(i, expert, weight);
    }
    // As small as half floats get, so that weights of nothing do not become infinite.
    constexpr float kLeastSum = 6.103515625e-5F;
    float total = 1;
    if (r_.gating == Gating::kSoftmax) total = sum_;
    if (r_.normalise != 0) total = kept;
    if (r_.gating == Gating::kSigmoid && r_.normalise != 0)
      total = __builtin_fmaxf(kept, kLeastSum);
    if (r_.gating == Gating::kSoftmaxOfChosen) total = kept;
    return r_.scale * reciprocal(total);
  }

 private:
  DEVICE float largest_logit() const {
    float most = -__builtin_inff();
    for (int e = lane(); e < r_.experts; e += 32) most = __builtin_fmaxf(most, logits_[e]);
    return most;
  }
  DEVICE void sum_up(float top) {
    top_ = top;
    float sum = 0;
    for (int e = lane(); e < r_.experts; e += 32) sum += exp(logits_[e] - top);
    sum_ = wave_sum(sum);
  }
  // What an expert is chosen by.
  DEVICE float selection(int expert) const {
    const float logit = logits_[expert];
    float weight = logit;
    if (r_.gating == Gating::kSigmoid) weight = sigmoid(logit);
    if (r_.gating == Gating::kSoftmax) weight = exp(logit - top_) * reciprocal(sum_);
    return r_.selection_bias != nullptr ? weight + r_.selection_bias[expert] : weight;
  }
  DEVICE bool is_kept(int expert) const {
    if (r_.group_used >= r_.group_count) return true;
    const uint32_t size = static_cast<uint32_t>(r_.experts) / static_cast<uint32_t>(r_.group_count);
    return (groups_ >> (static_cast<uint32_t>(expert) / size) & 1) != 0;
  }
  // Lane g: how good group g is.
  DEVICE void keep_groups() {
    const int size = static_cast<uint32_t>(r_.experts) / static_cast<uint32_t>(r_.group_count);
    float mine = -__builtin_inff();
    for (int g = 0; g < r_.group_count; ++g) {
      BestTwo two;
      for (int e = lane(); e < size; e += 32) two.add(selection(g * size + e));
      const float sum = two.sum_over_wave();
      if (lane() == g) mine = sum;
    }
    int better = 0;
    for (int g = 0; g < r_.group_count; ++g) {
      const float other = bits_as<float>(__builtin_amdgcn_readlane(bits_as<int32_t>(mine), g));
      better += other > mine || (other == mine && g < lane()) ? 1 : 0;
    }
    groups_ = __builtin_amdgcn_ballot_w32(lane() < r_.group_count && better < r_.group_used);
  }

  const Routing& r_;
  Ptr<const float> logits_;
  bool by_weight_ = false;
  uint32_t groups_ = 0;
  float top_ = 0, sum_ = 0;
};

// A token's row of `chosen` and `weights`. A whole wave.
DEVICE void store_experts(const Routing& r, int token) {
  const int first = token * r.used;
  float mine = 0;  // lane i has weight i
  const float factor = Choice(r, token).each([&](int i, int expert, float weight) {
    if (r.down_scale != nullptr) weight *= r.down_scale[expert];
    if (lane() == i) mine = weight;
    if (lane() == 0) r.chosen[first + i] = expert;
  });
  if (lane() < r.used) r.weights[first + lane()] = mine * factor;
}

}  // namespace outboard::devices::gpu::kernels
