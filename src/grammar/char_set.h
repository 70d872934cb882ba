// Sets of Unicode characters. Surrogates (D800 to DFFF) are no characters and in no set.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace outboard::grammar {

struct CharRange {
  uint32_t first;
  uint32_t last;  // included
  bool operator==(const CharRange&) const = default;
};

// Sorted ranges that neither overlap nor touch: what every function here returns and expects.
using CharSet = std::vector<CharRange>;

constexpr uint32_t kLastChar = 0x10ffff;

// From ranges in any order, which may overlap.
CharSet normalized(std::vector<CharRange> ranges);
CharSet complement(const CharSet& set);
CharSet intersection(const CharSet& a, const CharSet& b);
CharSet difference(const CharSet& a, const CharSet& b);
bool contains(const CharSet& set, uint32_t c);
const CharSet& every_char();

// The characters of a text of valid UTF-8; throws Error otherwise.
std::vector<uint32_t> chars_of(std::string_view text);

}  // namespace outboard::grammar
