// JSON's own grammar, in pieces that json_schema.cpp puts together.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "grammar/char_dfa.h"
#include "grammar/grammar.h"

namespace outboard::grammar {

// Rules are made when they are first asked for, and shared. Blanks may stand behind `{ [ , :` and
// before `] }`, never elsewhere: none, one space, or one new line with at most 20 spaces or 8 tabs.
// So a text can be compact, in one line, or set out with indents of any usual kind, and no model
// can go on with blanks for ever. Numbers have at most kWholeDigits before the point,
// kFractionDigits behind it, and an exponent of two digits, for the same reason.
class JsonRules {
 public:
  explicit JsonRules(Builder& builder) : builder_(builder) {}

  uint32_t blanks();
  uint32_t any_value();
  uint32_t any_string();
  uint32_t any_number();
  uint32_t any_integer();

  // Each leads from one state to another.
  void keyword(uint32_t from, std::string_view text, uint32_t to) {
    builder_.literal(from, text, to);
  }
  // A string in quotes, of which the characters (not their escapes) are the automaton's.
  void string(uint32_t from, const CharDfa& dfa, uint32_t to);
  // The automaton's characters as they are.
  void plain(uint32_t from, const CharDfa& dfa, uint32_t to);
  // This value and no other, numbers and strings as nlohmann::json writes them, with blanks.
  void value(uint32_t from, const nlohmann::ordered_json& value, uint32_t to);
  // `{` or `[` and blanks; the same and `}` or `]`; `,` and blanks. A `"name":` and blanks.
  void open(uint32_t from, char bracket, uint32_t to);
  void close(uint32_t from, char bracket, uint32_t to);
  void comma(uint32_t from, uint32_t to);
  void name(uint32_t from, std::string_view name, uint32_t to);

 private:
  // One character of a string, escaped or not.
  void string_char(uint32_t from, const CharSet& set, uint32_t to);
  uint32_t escaped(const CharSet& set);
  // One character of the set as it is.
  void plain_char(uint32_t from, const CharSet& set, uint32_t to);
  void hex(uint32_t from, uint32_t first, uint32_t last, int digits, uint32_t to);
  void hex_digit(uint32_t from, uint32_t first, uint32_t last, uint32_t to);
  void digits(uint32_t from, size_t least, size_t most, uint32_t to);
  void whole(uint32_t from, uint32_t to);

  Builder& builder_;
  std::optional<uint32_t> blanks_, any_value_, any_string_, any_number_, any_integer_;
  // By the borders of the set.
  std::map<std::vector<uint32_t>, uint32_t> escaped_, beyond_ascii_;
};

}  // namespace outboard::grammar
