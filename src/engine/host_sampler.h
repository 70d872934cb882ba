// What devices do not do when a token is chosen: more penalties and filters, log probabilities.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "devices/sampler.h"
#include "engine/engine.h"

namespace outboard::engine {

// Whether the choice needs the row of logits on the host. Others are made on the device.
bool needs_host_sampler(const SamplingSettings& settings, int logprobs);

// For one sequence. The order: logit_bias, frequency and presence penalty, DRY, then
// devices::Sampler (mask, repetition penalty, filters, draw), as llama.cpp's (common/sampling.cpp
// there; its repetition penalty comes before the other two).
class HostSampler {
 public:
  // REQUIRES: the settings, the tokenizer and the sampler outlive this. piece(id): a token's text.
  HostSampler(const SamplingSettings& settings, int logprobs, const text::Tokenizer& tokenizer,
              devices::Sampler& sampler);

  struct Choice {
    int32_t token;  // or devices::kNotFinite
    std::optional<TokenLogprob> logprob;
  };
  // sampling: what a device would be asked for. logits: of the tokens of the vocabulary. tokens:
  // the sequence so far, prompt and answer.
  Choice choose(devices::Sampling sampling, std::span<const float> logits,
                std::span<const int32_t> tokens, std::mt19937_64& random);

 private:
  void bias_and_count(std::span<const int32_t> tokens);
  void keep_from_repeating(std::span<const int32_t> tokens);
  TokenLogprob logprob_of(int32_t token, std::span<const float> logits) const;

  const SamplingSettings& settings_;
  int logprobs_;
  const text::Tokenizer& tokenizer_;
  devices::Sampler& sampler_;
  std::optional<devices::Mirostat> mirostat_;
  std::vector<float> row_;
};

// The penalty of "don't repeat yourself" (DRY, by p-e-w, as llama.cpp has it), for tests: for every
// token that would make the end of `tokens` repeat what stood before, how long the repetition is
// without it. Only the last `limit` tokens of the end count.
std::vector<std::pair<int32_t, int>> repetitions(std::span<const int32_t> tokens, size_t limit);

}  // namespace outboard::engine
