// Beam search over one sentence, as Hugging Face's generate defines it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "devices/device.h"

namespace outboard::engine {

// When a search with as many finished hypotheses as beams ends.
enum class EarlyStopping : uint8_t {
  kYes,    // at once
  kNo,     // when the best running beam, at its present length, can't beat the worst of them
  kNever,  // when it can't at the best length it could still reach
};

struct BeamOptions {
  int beams = 4;  // 1: greedy; at most devices::kMaxBest / 2
  // A hypothesis of n tokens (the one that ends it counts) scores log probability /
  // n^length_penalty.
  float length_penalty = 1;
  EarlyStopping early_stopping = EarlyStopping::kNo;
  int max_tokens = 511;  // of a hypothesis, with the one that ends it
};

// Knows nothing of models and pages: takes each beam's best next tokens and says which beams go on.
// Source: transformers' generation/utils.py, _beam_search.
class BeamSearch {
 public:
  // A beam that goes on: its newest token, and the beam of the step before that it continues.
  struct Beam {
    int parent;
    int32_t token;
    float log_probability;        // of all its tokens
    std::vector<int32_t> tokens;  // without the start token, `token` included
  };
  struct Hypothesis {
    std::vector<int32_t> tokens;  // without the token that ends it
    float score;
    bool ended;  // false: cut at max_tokens
  };

  BeamSearch(const BeamOptions& options, int32_t start, int32_t end);

  // Beams to run next, best first; one at the start, none once done.
  const std::vector<Beam>& beams() const { return beams_; }
  bool done() const { return beams_.empty(); }
  // Candidates wanted of each beam.
  int candidates() const { return 2 * options_.beams; }

  // One step: `candidates` of every beam, run by run in the order of beams(), as
  // devices::StepResult::best has them.
  void advance(std::span<const devices::Candidate> candidates);

  // Best first, at most as many as beams. Valid once done.
  const std::vector<Hypothesis>& hypotheses() const { return finished_; }

 private:
  struct Next {
    float log_probability;
    int beam;
    int32_t token;
  };

  std::vector<Next> merge(std::span<const devices::Candidate> candidates) const;
  void finish(const Next& next, bool ended);
  bool can_improve() const;
  float score(float log_probability, int tokens) const;

  BeamOptions options_;
  int32_t end_;
  int length_ = 0;  // tokens of the running beams
  std::vector<Beam> beams_;
  std::vector<Hypothesis> finished_;  // sorted, at most `beams`
};

}  // namespace outboard::engine
