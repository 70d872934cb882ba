// The little UTF-8 that tokenizers and templates need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace outboard::text {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// One character at text[at]: its length in bytes, or 0 when the bytes there are not well-formed
// UTF-8 (overlong forms, surrogates and values above U+10FFFF included). at < text.size().
struct DecodedCharacter {
  char32_t code = 0;
  size_t length = 0;
};
DecodedCharacter decode_character(std::string_view text, size_t at);

// How many bytes of an ill-formed sequence at text[at] one U+FFFD stands for: the longest prefix
// of some well-formed character, at least 1 (Unicode's "maximal subpart"; Python and WHATWG agree).
// truncated: the text ends inside what may still become a character.
size_t malformed_length(std::string_view text, size_t at, bool* truncated = nullptr);

bool is_valid_utf8(std::string_view text);

void append_utf8(char32_t code, std::string& text);

// Every ill-formed part replaced by U+FFFD.
std::string to_valid_utf8(std::string_view text);

}  // namespace outboard::text
