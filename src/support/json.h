// JSON from outside: parsed with limits, and what is wrong with it told in words.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace outboard {

// Parses a whole text. Throws Error "no valid JSON: line 3, column 7: what is wrong" for bad
// syntax, invalid UTF-8, a key that stands twice in one object, or nesting deeper than max_depth.
// Columns count characters from 1. Keys keep their order.
nlohmann::ordered_json parse_json(std::string_view text, int max_depth = 64);

}  // namespace outboard
