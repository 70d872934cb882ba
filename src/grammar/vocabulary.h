// The tokens of a model as a trie of their bytes, so that many are looked at in one walk.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace outboard::grammar {

// Immutable, so any number of threads may use one.
class Vocabulary {
 public:
  // What tokens stand for in a text; control tokens for token_bytes() of their own text, so they
  // are allowed where a grammar asks for one (Builder::token()), and those that end a text where it
  // may end. Unknown tokens stand for nothing and are never allowed, nor are bytes that no UTF-8
  // has.
  explicit Vocabulary(const text::Tokenizer& tokenizer);
  // Token i stands for pieces[i]; those of `ends` end a text, whatever their piece.
  Vocabulary(std::vector<std::string> pieces, std::vector<int32_t> ends);

  size_t size() const { return pieces_.size(); }
  const std::string& piece(int32_t token) const { return pieces_[static_cast<size_t>(token)]; }
  std::span<const int32_t> ends() const { return ends_; }
  bool is_end(int32_t token) const;

  // The nodes but the root, each before what is below it.
  struct Node {
    uint8_t byte;          // on the way to it
    uint32_t depth;        // bytes up to and with this one
    uint32_t after;        // the first node that is not below this one
    uint32_t first_token;  // its tokens: tokens()[first_token] up to the next node's
  };
  // One more than there are, whose first_token is the end.
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const int32_t> tokens() const { return tokens_; }
  uint32_t longest() const { return longest_; }  // bytes of the longest token

 private:
  void make_trie();

  std::vector<std::string> pieces_;
  std::vector<int32_t> ends_;
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;
  uint32_t longest_ = 0;
};

}  // namespace outboard::grammar
