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

// Holds scratch memory for one vocabulary, so that choosing allocates nothing. One thread at a
// time.
class Sampler {
 public:
  explicit Sampler(int64_t vocabulary);

  // The token that Sampling asks for, or kNotFinite. The row is changed by the mask and
  // the repetition penalty.
  int32_t choose(const Sampling& sampling, std::span<float> logits);

 private:
  struct Candidate {
    float logit;
    int32_t token;
  };
  std::vector<Candidate> candidates_;
  std::vector<float> probabilities_;
};

}  // namespace outboard::devices
