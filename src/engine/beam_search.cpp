#include "engine/beam_search.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "support/error.h"

namespace outboard::engine {

BeamSearch::BeamSearch(const BeamOptions& options, int32_t start, int32_t end)
    : options_(options), end_(end) {
  if (options.beams < 1 || 2 * options.beams > devices::kMaxBest)
    fail("beam search: {} beams, expected 1 to {}", options.beams, devices::kMaxBest / 2);
  if (options.max_tokens < 1)
    fail("beam search: at most {} tokens, expected a positive number", options.max_tokens);
  beams_.push_back({0, start, 0, {}});
}

float BeamSearch::score(float log_probability, int tokens) const {
  return log_probability / std::pow(static_cast<float>(tokens), options_.length_penalty);
}

// The best 2 * beams continuations of all beams: enough that `beams` remain when some end here.
std::vector<BeamSearch::Next> BeamSearch::merge(
    std::span<const devices::Candidate> candidates) const {
  const auto each = static_cast<size_t>(this->candidates());
  if (candidates.size() != each * beams_.size())
    fail("beam search: {} candidates for {} beams", candidates.size(), beams_.size());
  std::vector<Next> all;
  all.reserve(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].token < 0) continue;  // a vocabulary of few tokens
    const size_t beam = i / each;
    all.push_back({beams_[beam].log_probability + candidates[i].log_probability,
                   static_cast<int>(beam), candidates[i].token});
  }
  const auto better = [](const Next& a, const Next& b) {
    if (a.log_probability != b.log_probability) return a.log_probability > b.log_probability;
    return std::pair(a.beam, a.token) < std::pair(b.beam, b.token);
  };
  const size_t kept = std::min(all.size(), each);
  std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(kept), all.end(), better);
  all.resize(kept);
  return all;
}

void BeamSearch::finish(const Next& next, bool ended) {
  Hypothesis made;
  made.tokens = beams_[static_cast<size_t>(next.beam)].tokens;
  if (!ended) made.tokens.push_back(next.token);
  made.score = score(next.log_probability, length_);
  made.ended = ended;
  const auto at =
      std::upper_bound(finished_.begin(), finished_.end(), made,
                       [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  finished_.insert(at, std::move(made));
  if (finished_.size() > static_cast<size_t>(options_.beams)) finished_.pop_back();
}

bool BeamSearch::can_improve() const {
  // One beam is a greedy search, which its first end ends.
  if (options_.early_stopping == EarlyStopping::kYes || options_.beams == 1) return false;
  const bool longest =
      options_.early_stopping == EarlyStopping::kNever && options_.length_penalty > 0;
  return score(beams_.front().log_probability, longest ? options_.max_tokens : length_) >
         finished_.back().score;
}

void BeamSearch::advance(std::span<const devices::Candidate> candidates) {
  const std::vector<Next> next = merge(candidates);
  ++length_;
  const bool last = length_ == options_.max_tokens;
  const auto beams = static_cast<size_t>(options_.beams);
  std::vector<Beam> running;
  for (size_t rank = 0; rank < next.size(); ++rank) {
    const bool ends = next[rank].token == end_;
    // An end counts only where a beam would have gone on.
    if (rank < beams && (ends || last)) finish(next[rank], ends);
    if (ends || last || running.size() == beams) continue;
    Beam beam{next[rank].beam, next[rank].token, next[rank].log_probability,
              beams_[static_cast<size_t>(next[rank].beam)].tokens};
    beam.tokens.push_back(beam.token);
    running.push_back(std::move(beam));
  }
  beams_ = std::move(running);
  if (beams_.empty() || (finished_.size() == beams && !can_improve())) beams_.clear();
}

}  // namespace outboard::engine
