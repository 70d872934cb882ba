#include "engine/host_sampler.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

namespace outboard::engine {

bool needs_host_sampler(const SamplingSettings& s, int logprobs) {
  return logprobs >= 0 || !s.logit_bias.empty() || s.frequency_penalty != 0 ||
         s.presence_penalty != 0 || s.dry_multiplier != 0 || s.mirostat != 0 ||
         (s.temperature > 0 && (s.typical_p < 1 || s.xtc_probability > 0));
}

HostSampler::HostSampler(const SamplingSettings& settings, int logprobs,
                         const text::Tokenizer& tokenizer, devices::Sampler& sampler)
    : settings_(settings), logprobs_(logprobs), tokenizer_(tokenizer), sampler_(sampler) {
  if (settings.mirostat != 0)
    mirostat_ = {settings.mirostat, settings.mirostat_tau, settings.mirostat_eta,
                 2 * settings.mirostat_tau};
}

void HostSampler::bias_and_count(std::span<const int32_t> tokens) {
  for (const auto& [token, bias] : settings_.logit_bias)
    if (token >= 0 && static_cast<size_t>(token) < row_.size())
      row_[static_cast<size_t>(token)] += bias;
  if (settings_.frequency_penalty == 0 && settings_.presence_penalty == 0) return;
  std::map<int32_t, int> counts;
  for (const int32_t token :
       tokens.last(std::min(tokens.size(), static_cast<size_t>(settings_.repeat_last))))
    ++counts[token];
  for (const auto& [token, count] : counts)
    row_[static_cast<size_t>(token)] -=
        static_cast<float>(count) * settings_.frequency_penalty + settings_.presence_penalty;
}

std::vector<std::pair<int32_t, int>> repetitions(std::span<const int32_t> tokens, size_t limit) {
  // From the end backwards, how long the text before each place equals the end (the Z function of
  // the reversed text).
  const size_t n = tokens.size();
  const auto at = [&](size_t i) { return tokens[n - 1 - i]; };
  std::vector<size_t> equal(n);
  size_t left = 0;
  size_t right = 0;
  for (size_t i = 1; i < n; ++i) {
    if (i < right) equal[i] = std::min(right - i, equal[i - left]);
    while (i + equal[i] < n && at(equal[i]) == at(i + equal[i])) ++equal[i];
    if (i + equal[i] > right) {
      left = i;
      right = i + equal[i];
    }
  }
  std::map<int32_t, int> longest;
  for (size_t i = 1; i < n; ++i) {
    const auto length = static_cast<int>(std::min(equal[i], limit));
    if (length == 0) continue;
    int& known = longest[at(i - 1)];  // what followed there
    known = std::max(known, length);
  }
  return {longest.begin(), longest.end()};
}

void HostSampler::keep_from_repeating(std::span<const int32_t> tokens) {
  const size_t window = settings_.dry_last < 0
                            ? tokens.size()
                            : std::min(tokens.size(), static_cast<size_t>(settings_.dry_last));
  tokens = tokens.last(window);
  // Repetitions do not reach back over a breaker.
  size_t limit = 0;
  std::string text;
  size_t longest = 0;
  for (const std::string& breaker : settings_.dry_breakers)
    longest = std::max(longest, breaker.size());
  const auto breaks = [&] {
    return std::ranges::any_of(settings_.dry_breakers, [&](const std::string& breaker) {
      return text.find(breaker) != std::string::npos;
    });
  };
  while (limit < tokens.size()) {
    text = tokenizer_.piece(tokens[tokens.size() - 1 - limit], true) + text;
    if (breaks()) break;
    text.resize(std::min(text.size(), longest));  // a breaker may begin in the token before
    ++limit;
  }
  for (const auto& [token, length] : repetitions(tokens, limit)) {
    if (length < settings_.dry_allowed_length) continue;
    // Beyond, a float would overflow.
    constexpr int kMostPowers = 60;
    const int powers = std::min(length - settings_.dry_allowed_length, kMostPowers);
    row_[static_cast<size_t>(token)] -=
        settings_.dry_multiplier * std::pow(settings_.dry_base, static_cast<float>(powers));
  }
}

TokenLogprob HostSampler::logprob_of(int32_t token, std::span<const float> logits) const {
  const float top = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
  const double all = top + std::log(sum);
  const auto of = [&](int32_t id) {
    return static_cast<float>(logits[static_cast<size_t>(id)] - all);
  };
  TokenLogprob out{token, of(token), {}};
  std::vector<int32_t> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  const auto count =
      static_cast<ptrdiff_t>(std::min(static_cast<size_t>(std::max(0, logprobs_)), ids.size()));
  std::partial_sort(ids.begin(), ids.begin() + count, ids.end(), [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)];
    const float y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (ptrdiff_t i = 0; i < count; ++i)
    out.top.push_back({ids[static_cast<size_t>(i)], of(ids[static_cast<size_t>(i)])});
  return out;
}

HostSampler::Choice HostSampler::choose(devices::Sampling sampling, std::span<const float> logits,
                                        std::span<const int32_t> tokens, std::mt19937_64& random) {
  if (!devices::can_choose(logits)) return {devices::kNotFinite, std::nullopt};
  row_.assign(logits.begin(), logits.end());
  bias_and_count(tokens);
  if (settings_.dry_multiplier != 0) keep_from_repeating(tokens);
  int32_t token = 0;
  if (mirostat_) {
    token = sampler_.choose(sampling, row_, *mirostat_);
  } else {
    devices::HostFilters filters{settings_.typical_p, settings_.xtc_probability,
                                 settings_.xtc_threshold, 0};
    if (filters.xtc_probability > 0)
      filters.xtc_random = static_cast<float>(random() >> 40) * 0x1p-24F;
    token = sampler_.choose(sampling, row_, filters);
  }
  // A mask and biases may leave nothing, though the logits are good: as a device would say.
  if (token < 0 || logprobs_ < 0) return {token, std::nullopt};
  return {token, logprob_of(token, logits)};
}

}  // namespace outboard::engine
