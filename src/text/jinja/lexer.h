// Template source to tokens, white space control applied.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace outboard::text::jinja {

struct Token {
  enum class Kind : uint8_t {
    kText,           // outside of tags
    kBlockBegin,     // {%
    kBlockEnd,       // %}
    kVariableBegin,  // {{
    kVariableEnd,    // }}
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd,
  };
  Kind kind;
  std::string text;  // of a string: unescaped
  int line;
};

// Ends with one kEnd. Throws Error "line N: ..." for unclosed tags and stray characters.
std::vector<Token> tokenize(std::string_view source);

}  // namespace outboard::text::jinja
