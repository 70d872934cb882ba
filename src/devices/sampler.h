// Choosing a token from a row of logits on the host.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "devices/device.h"

namespace outboard::devices {

bool holds_nan(std::span<const float> logits);

// Whether there is a token to choose: no NaN, and the greatest a finite number.
bool can_choose(std::span<const float> logits);

// Filters that only the host has, between those of Sampling: top_k, typical_p, top_p, min_p, XTC,
// temperature, the order of llama.cpp's (common/sampling.cpp there).
struct HostFilters {
  // The tokens whose surprise lies nearest to the expected one (the entropy), until their
  // probabilities reach this together (Meister and others 2022); 1: all.
  float typical_p = 1;
  // XTC, "exclude top choices": with this probability, of the tokens at least `xtc_threshold`
  // likely all but the least likely are dropped. 0, or a threshold above 0.5: never.
  float xtc_probability = 0;
  float xtc_threshold = 0.1F;
  float xtc_random = 0;  // uniform in [0, 1)
};

// Mirostat (Basu and others 2021) keeps the surprise of chosen tokens near `tau` bits, instead of
// all filters but the mask, the penalty and the temperature.
struct Mirostat {
  int version = 2;  // 1 estimates Zipf's exponent from the 100 likeliest, 2 cuts by surprise
  float tau = 5;
  float eta = 0.1F;     // how fast `limit` follows
  float limit = 2 * 5;  // bits; begins at 2 tau, changed by every choice
};

// Holds scratch memory for one vocabulary, so that choosing allocates nothing. One thread at a
// time.
class Sampler {
 public:
  explicit Sampler(int64_t vocabulary);

  // The token that Sampling asks for, or kNotFinite. The row is changed by the mask and
  // the repetition penalty.
  int32_t choose(const Sampling& sampling, std::span<float> logits,
                 const HostFilters& filters = {});
  int32_t choose(const Sampling& sampling, std::span<float> logits, Mirostat& mirostat);

 private:
  struct Candidate {
    float logit;
    int32_t token;
  };
  // The finite candidates, at most top_k (0: all), in falling order. False where there is nothing
  // to choose.
  bool rank(int top_k, std::span<float> logits);
  // Into probabilities_, times the sum that is returned.
  double softmax(float temperature);
  int32_t draw(float temperature, float random);
  void keep_typical(float typical_p);
  void exclude_top(const HostFilters& filters);

  size_t count_ = 0;  // of candidates_, and of probabilities_
  std::vector<Candidate> candidates_;
  std::vector<float> probabilities_;
};

}  // namespace outboard::devices
