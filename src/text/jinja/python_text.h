// Python's text rules that differ from C's; characters, not bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace outboard::text::jinja {

bool is_python_space(char32_t code);  // str.isspace of one character

enum class Side : uint8_t { kLeft, kRight, kBoth };
// str.strip and its relatives. characters: null for white space.
std::string_view strip(std::string_view text, Side side,
                       const std::string_view* characters = nullptr);

size_t character_count(std::string_view text);
// Where each character begins, and the end of the text.
std::vector<size_t> character_offsets(std::string_view text);

// Simple case mapping, one character for one.
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string swap_case(std::string_view text);
std::string python_title(std::string_view text);  // str.title
std::string jinja_title(std::string_view text);   // the filter: words begin after space ( [ { < -

// str.split() with white space, str.split(separator), str.splitlines(). most < 0: no limit.
std::vector<std::string> split_space(std::string_view text, int64_t most, bool from_right);
std::vector<std::string> split(std::string_view text, std::string_view separator, int64_t most,
                               bool from_right);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

std::string replace(std::string_view text, std::string_view old, std::string_view with,
                    int64_t most);

}  // namespace outboard::text::jinja
