#include "grammar/vocabulary.h"

#include <algorithm>
#include <numeric>

#include "grammar/grammar.h"

namespace outboard::grammar {
namespace {

std::string piece_of(const text::Tokenizer& tokenizer, int32_t token) {
  if (tokenizer.is_control(token)) return token_bytes(tokenizer.token_text(token));
  std::string piece = tokenizer.piece(token);
  // Byte tokens could spell a control token otherwise.
  const bool is_text =
      std::ranges::none_of(piece, [](char c) { return static_cast<uint8_t>(c) >= 0xf8; });
  return is_text ? piece : std::string();
}

}  // namespace

Vocabulary::Vocabulary(const text::Tokenizer& tokenizer) {
  for (size_t i = 0; i < tokenizer.vocabulary_size(); ++i) {
    const auto token = static_cast<int32_t>(i);
    pieces_.push_back(piece_of(tokenizer, token));
    if (tokenizer.is_end_of_generation(token)) ends_.push_back(token);
  }
  make_trie();
}

Vocabulary::Vocabulary(std::vector<std::string> pieces, std::vector<int32_t> ends)
    : pieces_(std::move(pieces)), ends_(std::move(ends)) {
  make_trie();
}

bool Vocabulary::is_end(int32_t token) const {
  return std::ranges::find(ends_, token) != ends_.end();
}

void Vocabulary::make_trie() {
  for (int32_t token = 0; token < static_cast<int32_t>(size()); ++token)
    if (!piece(token).empty() && !is_end(token)) tokens_.push_back(token);
  std::ranges::sort(tokens_, [&](int32_t a, int32_t b) {
    const int order = piece(a).compare(piece(b));
    return order != 0 ? order < 0 : a < b;
  });
  std::vector<uint32_t> path;  // nodes from the root to the last one
  const std::string* before = nullptr;
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    const std::string& text = piece(tokens_[i]);
    if (before != nullptr && text == *before) continue;  // more of the last node's tokens
    const size_t same =
        before == nullptr
            ? 0
            : static_cast<size_t>(std::ranges::mismatch(text, *before).in1 - text.begin());
    for (; path.size() > same; path.pop_back())
      nodes_[path.back()].after = static_cast<uint32_t>(nodes_.size());
    for (size_t depth = same; depth < text.size(); ++depth) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({static_cast<uint8_t>(text[depth]), static_cast<uint32_t>(depth) + 1, 0, i});
    }
    longest_ = std::max(longest_, static_cast<uint32_t>(text.size()));
    before = &text;
  }
  for (; !path.empty(); path.pop_back())
    nodes_[path.back()].after = static_cast<uint32_t>(nodes_.size());
  nodes_.push_back(
      {0, 0, static_cast<uint32_t>(nodes_.size()), static_cast<uint32_t>(tokens_.size())});
}

}  // namespace outboard::grammar
