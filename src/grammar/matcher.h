// Which tokens may come next in a text that a Grammar describes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/lazy_automaton.h"
#include "grammar/vocabulary.h"

namespace outboard::grammar {

// One text on its way. One thread at a time.
class Matcher {
 public:
  Matcher(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const Vocabulary> vocabulary);

  // Bit t % 32 of word t / 32: whether token t may come next; (tokens + 31) / 32 words. Tokens that
  // end a text are allowed exactly where it may end. All zero where the grammar wants bytes that
  // begin no token. Valid until the next call of any function here that is not const.
  std::span<const uint32_t> mask();

  // The token comes next. False, and nothing changes, when it may not.
  bool accept(int32_t token);
  // The same for bytes.
  bool accept_bytes(std::string_view bytes);

  bool can_end() const { return automaton_.can_end(state_); }
  // Only tokens that end the text are allowed.
  bool must_end() const { return automaton_.must_end(state_); }
  bool ended() const { return ended_; }

 private:
  void walk(std::span<uint32_t> mask, size_t& visited);

  std::shared_ptr<const Vocabulary> vocabulary_;
  LazyAutomaton automaton_;
  int32_t state_;
  bool ended_ = false;
  // Masks that took long, by state, for one generation of the automaton's numbers.
  std::unordered_map<int32_t, std::vector<uint32_t>> masks_;
  uint64_t generation_ = 0;
  std::vector<uint32_t> mask_;
  std::vector<int32_t> path_;  // states by depth, for walk()
};

}  // namespace outboard::grammar
