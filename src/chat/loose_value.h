// Values in notations near JSON that models write: Python's literals, Gemma's braces.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace outboard::chat {

// Reads what a model wrote, front to back. Every function gives nothing where the text is something
// else; where it stands then is not said.
class LooseReader {
 public:
  // quote: a text that stands around strings, beside ' and "; empty: none. bare_strings: a word in
  // no quotes is a string, otherwise it is an error.
  LooseReader(std::string_view text, std::string_view quote, bool bare_strings)
      : text_(text), quote_(quote), bare_strings_(bare_strings) {}

  // Numbers, strings, lists, objects (names also without quotes), True, true, None, null ...
  std::optional<nlohmann::ordered_json> value() { return value(0); }
  // `key=value, ...` up to `)`, which is read as well.
  std::optional<nlohmann::ordered_json> keywords();
  // Letters, digits and `_-.`, of which there has to be one.
  std::optional<std::string> name();

  // Blanks, then this text, if it is there.
  bool skip(std::string_view text);
  void skip_blanks();
  bool at_end() {
    skip_blanks();
    return at_ == text_.size();
  }

 private:
  static constexpr int kMaxDepth = 100;
  std::optional<nlohmann::ordered_json> value(int depth);
  std::optional<nlohmann::ordered_json> list(char end, int depth);
  std::optional<nlohmann::ordered_json> object(int depth);
  std::optional<std::string> string();
  std::optional<std::string> quoted_key();
  std::optional<nlohmann::ordered_json> word();

  std::string_view text_, quote_;
  bool bare_strings_;
  size_t at_ = 0;
};

}  // namespace outboard::chat
