// What a text may look like: rules over bytes, as an automaton with calls. gbnf.h and json_schema.h
// make Grammars, a Matcher (matcher.h) walks them and says which tokens may come next.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/char_set.h"

namespace outboard::grammar {

// How automata spell a control token: its text between two bytes that UTF-8 never has, so that no
// text, and no rule over characters, can be taken for one.
std::string token_bytes(std::string_view text);

// One automaton a rule, all in one array of states. A rule begins at its start and has matched when
// it is at its end. Edges read a byte, nothing (`free`), or whatever another rule matches
// (`calls`). From every state that can be reached the grammar can be brought to its end. Immutable,
// so any number of threads may use one.
class Grammar {
 public:
  struct ByteEdge {
    uint8_t first, last;  // included
    uint32_t target;
  };
  struct Call {
    uint32_t rule;
    uint32_t target;
  };
  struct Rule {
    uint32_t start, end;
    bool nullable;  // matches the empty text
  };

  size_t states() const { return offsets_.size() - 1; }
  std::span<const ByteEdge> bytes(uint32_t state) const {
    return std::span(bytes_).subspan(offsets_[state].bytes,
                                     offsets_[state + 1].bytes - offsets_[state].bytes);
  }
  std::span<const uint32_t> free(uint32_t state) const {
    return std::span(free_).subspan(offsets_[state].free,
                                    offsets_[state + 1].free - offsets_[state].free);
  }
  std::span<const Call> calls(uint32_t state) const {
    return std::span(calls_).subspan(offsets_[state].calls,
                                     offsets_[state + 1].calls - offsets_[state].calls);
  }
  bool is_end(uint32_t state) const { return flags_[state].is_end; }
  // Nothing can be read from here, and the end is reached: who is called with this as its target
  // need not come back.
  bool only_ends(uint32_t state) const { return flags_[state].only_ends; }

  const std::vector<Rule>& rules() const { return rules_; }
  const Rule& root() const { return rules_[root_]; }
  // The one state of no rule: the whole text has matched.
  uint32_t accepted() const { return static_cast<uint32_t>(states()) - 1; }

  // Bytes that no edge tells apart are one class.
  size_t classes() const { return class_example_.size(); }
  uint8_t class_of(uint8_t byte) const { return class_of_[byte]; }
  uint8_t example_of(size_t byte_class) const { return class_example_[byte_class]; }

 private:
  friend class Builder;
  Grammar() = default;

  struct Offsets {
    uint32_t bytes, free, calls;
  };
  struct Flags {
    bool is_end, only_ends;
  };
  std::vector<Offsets> offsets_;  // [states + 1]
  std::vector<Flags> flags_;      // [states]
  std::vector<ByteEdge> bytes_;
  std::vector<uint32_t> free_;
  std::vector<Call> calls_;
  std::vector<Rule> rules_;
  uint32_t root_ = 0;
  std::array<uint8_t, 256> class_of_{};
  std::vector<uint8_t> class_example_;
};

// Puts a Grammar together. Nothing may leave a rule's end. Every function throws Error when the
// grammar gets larger than kMaxStates states or kMaxEdges edges.
class Builder {
 public:
  static constexpr size_t kMaxStates = 500'000;
  static constexpr size_t kMaxEdges = 1'000'000;

  uint32_t add_rule();
  uint32_t start(uint32_t rule) const { return rules_[rule].start; }
  uint32_t end(uint32_t rule) const { return rules_[rule].end; }
  uint32_t state();

  void free(uint32_t from, uint32_t to);
  void bytes(uint32_t from, uint8_t first, uint8_t last, uint32_t to);
  void literal(uint32_t from, std::string_view bytes, uint32_t to);
  // The control token of this text. Text that is spelled the same does not match.
  void token(uint32_t from, std::string_view text, uint32_t to) {
    literal(from, token_bytes(text), to);
  }
  void call(uint32_t from, uint32_t rule, uint32_t to);
  // One character of the set, as UTF-8.
  void chars(uint32_t from, const CharSet& set, uint32_t to);

  // Whether any text matches the rule.
  bool can_match(uint32_t rule) const { return states_that_end(true)[rules_[rule].start]; }
  // A rule that comes to itself again before it has read anything, if there is one. build() would
  // never end.
  std::optional<uint32_t> left_recursive() const;
  // REQUIRES: !left_recursive(). Null where no text at all matches the root. What leads nowhere is
  // left out.
  std::shared_ptr<const Grammar> build(uint32_t root) const;

 private:
  struct State {
    std::vector<Grammar::ByteEdge> bytes;
    std::vector<uint32_t> free;
    std::vector<Grammar::Call> calls;
  };
  struct Rule {
    uint32_t start, end;
  };
  void count_edge();
  void byte_sequences(uint32_t from, uint32_t first, uint32_t last, int length, uint32_t to,
                      std::array<uint32_t, 3>& rest);
  std::vector<bool> nullable_rules() const;
  // From which their rule's end can be reached: by any edges, or without reading.
  std::vector<bool> states_that_end(bool reading) const;
  void find_ends(Grammar& g) const;

  std::vector<State> states_;
  std::vector<Rule> rules_;
  size_t edges_ = 0;
};

}  // namespace outboard::grammar
