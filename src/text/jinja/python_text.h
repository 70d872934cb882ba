// Python's text rules that differ from C's; characters, not bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/traced_text.h"

namespace outboard::text::jinja {

bool is_python_space(char32_t code);  // str.isspace of one character

enum class Side : uint8_t { kLeft, kRight, kBoth };
// str.strip and its relatives. characters: null for white space.
std::string_view strip(std::string_view text, Side side,
                       const std::string_view* characters = nullptr);

size_t character_count(std::string_view text);
// Where each character begins, and the end of the text.
std::vector<size_t> character_offsets(std::string_view text);

// Case as Python's str has it, with the mappings that make text longer. Each character keeps the
// origin of what it was.
TracedText to_upper(const TracedText& text);
TracedText to_lower(const TracedText& text);
TracedText casefold(const TracedText& text);
TracedText capitalize(const TracedText& text);
TracedText swap_case(const TracedText& text);
TracedText python_title(const TracedText& text);  // str.title
TracedText jinja_title(const TracedText& text);   // the filter: words begin after space ( [ { < -

bool is_decimal(char32_t code);
bool is_digit(char32_t code);
bool is_numeric(char32_t code);
bool is_alpha(char32_t code);
bool is_printable(char32_t code);
bool is_upper(char32_t code);
bool is_lower(char32_t code);
bool is_title(char32_t code);

// str.split() with white space, str.split(separator), str.splitlines(). most < 0: no limit. The
// parts are views into the text.
std::vector<std::string_view> split_space(std::string_view text, int64_t most, bool from_right);
std::vector<std::string_view> split(std::string_view text, std::string_view separator, int64_t most,
                                    bool from_right);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

TracedText replace(const TracedText& text, std::string_view old, const TracedText& with,
                   int64_t most);

// textwrap.wrap of one line, without expanding or replacing white space; parts of the text.
std::vector<TracedText> wrap(const TracedText& line, int64_t width, bool break_long_words,
                             bool break_on_hyphens);

}  // namespace outboard::text::jinja
