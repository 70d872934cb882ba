// Regular languages over Unicode characters, as deterministic automata: what the strings of a JSON
// schema may be, and how its numbers may be written.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "grammar/char_set.h"

namespace outboard::grammar {

// Begins in state 0. From every state an accepting one can be reached, so a Dfa without states
// matches nothing.
struct CharDfa {
  struct Edge {
    CharRange range;
    uint32_t target;
  };
  struct State {
    std::vector<Edge> edges;  // sorted, disjoint; what is in none ends the match
    bool accepts = false;
  };
  std::vector<State> states;

  static constexpr size_t kMaxStates = 50'000;

  bool is_empty() const { return states.empty(); }
  bool matches(std::span<const uint32_t> text) const;
  bool matches(std::string_view utf8) const;
};

// Throws Error where the result would have more than CharDfa::kMaxStates states, as all below.
CharDfa intersection(const CharDfa& a, const CharDfa& b);
CharDfa difference(const CharDfa& a, const CharDfa& b);
CharDfa alternatives(const CharDfa& a, const CharDfa& b);

CharDfa any_text();
// least to most characters of the set; no most: without limit.
CharDfa repeated(const CharSet& set, uint64_t least, std::optional<uint64_t> most);
// These texts and no others.
CharDfa one_of(std::span<const std::vector<uint32_t>> texts);

// With every state that leads nowhere left out, and those alike made one.
CharDfa trimmed(CharDfa dfa);

// An automaton that may be in several states at once, to be made into a CharDfa. begin and end
// edges are free where the text begins or ends.
struct CharNfa {
  struct Edge {
    enum class Kind : uint8_t { kChars, kFree, kBegin, kEnd };
    Kind kind;
    CharSet set;  // kChars
    uint32_t target;
  };
  std::vector<std::vector<Edge>> states;
  uint32_t start = 0, end = 0;

  uint32_t add() {
    states.emplace_back();
    return static_cast<uint32_t>(states.size()) - 1;
  }
  void free(uint32_t from, uint32_t to) { states[from].push_back({Edge::Kind::kFree, {}, to}); }
  void chars(uint32_t from, CharSet set, uint32_t to) {
    states[from].push_back({Edge::Kind::kChars, std::move(set), to});
  }
};
CharDfa determinized(const CharNfa& nfa);

}  // namespace outboard::grammar
