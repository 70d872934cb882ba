#include "grammar/matcher.h"

#include <algorithm>

namespace outboard::grammar {
namespace {

constexpr size_t kSlow = 500;            // nodes of the trie
constexpr size_t kMaxMasks = 32U << 20;  // bytes

void allow(std::span<uint32_t> mask, int32_t token) {
  mask[static_cast<size_t>(token) / 32] |= uint32_t{1} << (token % 32);
}

}  // namespace

Matcher::Matcher(std::shared_ptr<const Grammar> grammar,
                 std::shared_ptr<const Vocabulary> vocabulary)
    : vocabulary_(std::move(vocabulary)),
      automaton_(std::move(grammar)),
      state_(automaton_.start()),
      mask_((vocabulary_->size() + 31) / 32),
      path_(vocabulary_->longest() + 1) {}

std::span<const uint32_t> Matcher::mask() {
  if (generation_ != automaton_.generation() || masks_.size() * mask_.size() * 4 > kMaxMasks) {
    masks_.clear();
    generation_ = automaton_.generation();
  }
  const auto known = masks_.find(state_);
  if (known != masks_.end()) return known->second;
  std::ranges::fill(mask_, 0);
  size_t visited = 0;
  if (!ended_) walk(mask_, visited);
  if (can_end())
    for (const int32_t end : vocabulary_->ends()) allow(mask_, end);
  if (visited > kSlow) masks_[state_] = mask_;
  return mask_;
}

void Matcher::walk(std::span<uint32_t> mask, size_t& visited) {
  const auto nodes = vocabulary_->nodes();
  const auto tokens = vocabulary_->tokens();
  path_[0] = state_;
  for (size_t i = 0; i + 1 < nodes.size();) {
    const Vocabulary::Node& node = nodes[i];
    ++visited;
    const int32_t to = automaton_.next(path_[node.depth - 1], node.byte);
    if (to == LazyAutomaton::kDead) {
      i = node.after;
      continue;
    }
    path_[node.depth] = to;
    ++i;
    for (uint32_t t = node.first_token; t < nodes[i].first_token; ++t) allow(mask, tokens[t]);
  }
}

bool Matcher::accept(int32_t token) {
  if (ended_ || token < 0 || token >= static_cast<int32_t>(vocabulary_->size())) return false;
  if (vocabulary_->is_end(token)) {
    ended_ = can_end();
    return ended_;
  }
  const std::string& piece = vocabulary_->piece(token);
  return !piece.empty() && accept_bytes(piece);
}

bool Matcher::accept_bytes(std::string_view bytes) {
  if (ended_) return false;
  int32_t state = state_;
  for (const char byte : bytes) {
    state = automaton_.next(state, static_cast<uint8_t>(byte));
    if (state == LazyAutomaton::kDead) return false;
  }
  state_ = automaton_.forget_others(state);
  return true;
}

}  // namespace outboard::grammar
