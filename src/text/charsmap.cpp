#include "text/charsmap.h"

#include "support/error.h"

namespace outboard::text {
namespace {

constexpr const char* kKey = "tokenizer.ggml.precompiled_charsmap";

// The bit fields of one darts_clone unit.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t label(uint32_t unit) { return unit & (1u << 31 | 0xFF); }
uint32_t offset(uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }
uint32_t value(uint32_t unit) { return unit & ~(1u << 31); }

uint32_t read_u32(std::string_view bytes, size_t at) {
  uint32_t number = 0;
  for (size_t i = 0; i < 4; ++i) number |= uint32_t{static_cast<uint8_t>(bytes[at + i])} << (8 * i);
  return number;
}

}  // namespace

Charsmap::Charsmap(const formats::Metadata& metadata) {
  if (!metadata.contains(kKey)) return;
  const std::vector<int64_t> numbers = metadata.get_ints(kKey);
  if (numbers.empty()) return;
  std::string bytes;
  bytes.reserve(numbers.size());
  for (const int64_t number : numbers) {
    if (number < -128 || number > 255) fail("{}: value {}, expected bytes", kKey, number);
    bytes.push_back(static_cast<char>(number));
  }
  if (bytes.size() < 4) fail("{}: {} bytes, expected at least 4", kKey, bytes.size());
  const size_t trie = read_u32(bytes, 0);
  if (trie % 4 != 0 || trie > bytes.size() - 4)
    fail("{}: trie of {} bytes, expected a multiple of 4 of at most {}", kKey, trie,
         bytes.size() - 4);
  for (size_t at = 4; at < 4 + trie; at += 4) units_.push_back(read_u32(bytes, at));
  replacements_ = bytes.substr(4 + trie);
  if (!replacements_.empty() && replacements_.back() != '\0')
    fail("{}: the last replacement is not terminated", kKey);
}

Charsmap::Match Charsmap::longest(std::string_view text, size_t at) const {
  Match match;
  if (units_.empty()) return match;
  uint32_t position = offset(units_[0]);
  for (size_t i = at; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    position ^= byte;
    if (byte == 0 || position >= units_.size() || label(units_[position]) != byte) break;
    const uint32_t unit = units_[position];
    position ^= offset(unit);
    if (!has_leaf(unit)) continue;
    if (position >= units_.size()) break;
    const size_t begin = value(units_[position]);
    if (begin >= replacements_.size()) continue;
    const size_t end = replacements_.find('\0', begin);  // the constructor saw the last one
    match = {i + 1 - at, std::string_view(replacements_).substr(begin, end - begin)};
  }
  return match;
}

}  // namespace outboard::text
