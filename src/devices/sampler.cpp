#include "devices/sampler.h"

#include <algorithm>
#include <cmath>

namespace outboard::devices {
namespace {

// The first of the greatest logits, or kNotFinite.
int32_t best(std::span<const float> logits) {
  // Blocks first: the maximum of a block vectorises where the index of the maximum does not.
  constexpr size_t kBlock = 256;
  float top = -INFINITY;
  size_t where = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const size_t end = std::min(begin + kBlock, logits.size());
    float block_top = -INFINITY;
    for (size_t i = begin; i < end; ++i) block_top = logits[i] > block_top ? logits[i] : block_top;
    if (block_top > top) {
      top = block_top;
      where = begin;
    }
  }
  if (std::isinf(top) || holds_nan(logits)) return kNotFinite;
  while (logits[where] != top) ++where;
  return static_cast<int32_t>(where);
}

void leave_out(std::span<const uint32_t> mask, std::span<float> logits) {
  for (size_t begin = 0; begin < logits.size(); begin += 32) {
    const uint32_t word = begin / 32 < mask.size() ? mask[begin / 32] : 0;
    if (word == ~uint32_t{0}) continue;
    const size_t count = std::min<size_t>(32, logits.size() - begin);
    for (size_t i = 0; i < count; ++i) {
      float& logit = logits[begin + i];
      if ((word >> i & 1) == 0 && !std::isnan(logit)) logit = -INFINITY;
    }
  }
}

}  // namespace

// A comparison tells of two numbers at once; an int, which vectorises.
bool holds_nan(std::span<const float> logits) {
  const size_t half = logits.size() / 2;
  int nan = 0;
  for (size_t i = 0; i < half; ++i)
    nan |= static_cast<int>(std::isunordered(logits[i], logits[half + i]));
  return nan != 0 || (!logits.empty() && std::isnan(logits.back()));
}

bool can_choose(std::span<const float> logits) { return best(logits) != kNotFinite; }

Sampler::Sampler(int64_t vocabulary)
    : candidates_(static_cast<size_t>(vocabulary)),
      probabilities_(static_cast<size_t>(vocabulary)) {}

int32_t Sampler::choose(const Sampling& sampling, std::span<float> logits) {
  if (!sampling.mask.empty()) leave_out(sampling.mask, logits);
  if (sampling.repeat_penalty != 1) {
    for (size_t i = 0; i < sampling.recent.size(); ++i) {
      const int32_t token = sampling.recent[i];
      const auto seen = sampling.recent.first(i);
      if (std::find(seen.begin(), seen.end(), token) != seen.end()) continue;  // once a token
      float& logit = logits[static_cast<size_t>(token)];
      logit = logit > 0 ? logit / sampling.repeat_penalty : logit * sampling.repeat_penalty;
    }
  }
  if (sampling.temperature <= 0) return best(logits);
  if (holds_nan(logits)) return kNotFinite;

  const auto higher = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  size_t count = logits.size();
  for (size_t i = 0; i < count; ++i) candidates_[i] = {logits[i], static_cast<int32_t>(i)};
  const auto begin = candidates_.begin();
  if (sampling.top_k > 0 && static_cast<size_t>(sampling.top_k) < count) {
    std::nth_element(begin, begin + sampling.top_k - 1, begin + static_cast<ptrdiff_t>(count),
                     higher);
    count = static_cast<size_t>(sampling.top_k);
  }
  std::sort(begin, begin + static_cast<ptrdiff_t>(count), higher);
  if (std::isinf(candidates_[0].logit)) return kNotFinite;
  while (std::isinf(candidates_[count - 1].logit)) --count;  // these can't be chosen

  const auto softmax = [&](float temperature) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
      probabilities_[i] = std::exp((candidates_[i].logit - candidates_[0].logit) / temperature);
      sum += probabilities_[i];
    }
    return sum;
  };
  if (sampling.top_p < 1) {
    const double target = softmax(1) * std::max(0.0F, sampling.top_p);
    double sum = 0;
    size_t kept = 0;
    while (kept < count && (kept == 0 || sum < target)) sum += probabilities_[kept++];
    count = kept;
  }
  if (sampling.min_p > 0) {
    const float lowest = candidates_[0].logit + std::log(sampling.min_p);
    while (count > 1 && candidates_[count - 1].logit < lowest) --count;
  }
  const double target = softmax(sampling.temperature) * sampling.random;
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    sum += probabilities_[i];
    if (sum > target) return candidates_[i].token;
  }
  return candidates_[count - 1].token;  // rounding
}

}  // namespace outboard::devices
