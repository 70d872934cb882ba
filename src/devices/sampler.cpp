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

void penalize(const Sampling& sampling, std::span<float> logits) {
  if (!sampling.mask.empty()) leave_out(sampling.mask, logits);
  if (sampling.repeat_penalty == 1) return;
  for (size_t i = 0; i < sampling.recent.size(); ++i) {
    const int32_t token = sampling.recent[i];
    const auto seen = sampling.recent.first(i);
    if (std::find(seen.begin(), seen.end(), token) != seen.end()) continue;  // once a token
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / sampling.repeat_penalty : logit * sampling.repeat_penalty;
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

bool Sampler::rank(int top_k, std::span<float> logits) {
  if (holds_nan(logits)) return false;
  const auto higher = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  count_ = logits.size();
  for (size_t i = 0; i < count_; ++i) candidates_[i] = {logits[i], static_cast<int32_t>(i)};
  const auto begin = candidates_.begin();
  if (top_k > 0 && static_cast<size_t>(top_k) < count_) {
    std::nth_element(begin, begin + top_k - 1, begin + static_cast<ptrdiff_t>(count_), higher);
    count_ = static_cast<size_t>(top_k);
  }
  std::sort(begin, begin + static_cast<ptrdiff_t>(count_), higher);
  if (std::isinf(candidates_[0].logit)) return false;
  while (std::isinf(candidates_[count_ - 1].logit)) --count_;  // these can't be chosen
  return true;
}

double Sampler::softmax(float temperature) {
  double sum = 0;
  for (size_t i = 0; i < count_; ++i) {
    probabilities_[i] = std::exp((candidates_[i].logit - candidates_[0].logit) / temperature);
    sum += probabilities_[i];
  }
  return sum;
}

int32_t Sampler::draw(float temperature, float random) {
  const double target = softmax(temperature) * random;
  double sum = 0;
  for (size_t i = 0; i < count_; ++i) {
    sum += probabilities_[i];
    if (sum > target) return candidates_[i].token;
  }
  return candidates_[count_ - 1].token;  // rounding
}

void Sampler::keep_typical(float typical_p) {
  const double sum = softmax(1);
  double entropy = 0;
  for (size_t i = 0; i < count_; ++i)
    if (const double p = probabilities_[i] / sum; p > 0) entropy -= p * std::log(p);
  std::vector<std::pair<double, size_t>> odd(count_);  // how far from the expected surprise
  for (size_t i = 0; i < count_; ++i)
    odd[i] = {std::abs(-std::log(probabilities_[i] / sum) - entropy), i};
  std::ranges::sort(odd);
  std::vector<bool> kept(count_);
  double reached = 0;
  for (const auto& [distance, i] : odd) {
    kept[i] = true;
    reached += probabilities_[i] / sum;
    if (reached > typical_p) break;
  }
  size_t count = 0;
  for (size_t i = 0; i < count_; ++i)
    if (kept[i]) candidates_[count++] = candidates_[i];
  count_ = count;
}

void Sampler::exclude_top(const HostFilters& filters) {
  if (filters.xtc_threshold > 0.5F || filters.xtc_random >= filters.xtc_probability) return;
  const double least = softmax(1) * filters.xtc_threshold;
  size_t likely = 0;
  while (likely < count_ && probabilities_[likely] >= least) ++likely;
  if (likely < 2) return;
  std::move(candidates_.begin() + static_cast<ptrdiff_t>(likely) - 1,
            candidates_.begin() + static_cast<ptrdiff_t>(count_), candidates_.begin());
  count_ -= likely - 1;
}

int32_t Sampler::choose(const Sampling& sampling, std::span<float> logits,
                        const HostFilters& filters) {
  penalize(sampling, logits);
  if (sampling.temperature <= 0) return best(logits);
  if (!rank(sampling.top_k, logits)) return kNotFinite;
  if (filters.typical_p < 1) keep_typical(filters.typical_p);
  if (sampling.top_p < 1) {
    const double target = softmax(1) * std::max(0.0F, sampling.top_p);
    double sum = 0;
    size_t kept = 0;
    while (kept < count_ && (kept == 0 || sum < target)) sum += probabilities_[kept++];
    count_ = kept;
  }
  if (sampling.min_p > 0) {
    const float lowest = candidates_[0].logit + std::log(sampling.min_p);
    while (count_ > 1 && candidates_[count_ - 1].logit < lowest) --count_;
  }
  if (filters.xtc_probability > 0) exclude_top(filters);
  return draw(sampling.temperature, sampling.random);
}

int32_t Sampler::choose(const Sampling& sampling, std::span<float> logits, Mirostat& mirostat) {
  penalize(sampling, logits);
  if (sampling.temperature <= 0) return best(logits);
  if (!rank(0, logits)) return kNotFinite;
  const double sum = softmax(sampling.temperature);
  const auto surprise = [&](size_t i) { return -std::log2(probabilities_[i] / sum); };
  size_t kept = 1;
  if (mirostat.version == 1) {
    constexpr size_t kSeen = 100;
    double products = 0;
    double squares = 0;
    for (size_t i = 0; i + 1 < std::min(count_, kSeen) && probabilities_[i + 1] > 0; ++i) {
      const double t = std::log(static_cast<double>(i + 2) / static_cast<double>(i + 1));
      products += t * std::log(static_cast<double>(probabilities_[i]) /
                               static_cast<double>(probabilities_[i + 1]));
      squares += t * t;
    }
    const double exponent = squares > 0 ? products / squares : 1;
    const double epsilon = exponent - 1;
    const double k = std::pow(epsilon * std::exp2(mirostat.limit) /
                                  (1 - std::pow(static_cast<double>(logits.size()), -epsilon)),
                              1 / exponent);
    kept = std::isfinite(k) ? static_cast<size_t>(std::clamp(k, 1.0, static_cast<double>(count_)))
                            : count_;
  } else {
    while (kept < count_ && surprise(kept) <= mirostat.limit) ++kept;
  }
  count_ = kept;
  const int32_t token = draw(sampling.temperature, sampling.random);
  // Its surprise among those that were left, as llama.cpp measures it.
  const double left = softmax(sampling.temperature);
  for (size_t i = 0; i < count_; ++i)
    if (candidates_[i].token == token)
      mirostat.limit -=
          mirostat.eta * static_cast<float>(-std::log2(probabilities_[i] / left) - mirostat.tau);
  return token;
}

}  // namespace outboard::devices
