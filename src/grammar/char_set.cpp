#include "grammar/char_set.h"

#include <algorithm>

#include "support/error.h"
#include "text/unicode.h"

namespace outboard::grammar {
namespace {
constexpr uint32_t kFirstSurrogate = 0xd800;
constexpr uint32_t kLastSurrogate = 0xdfff;
}  // namespace

CharSet normalized(std::vector<CharRange> ranges) {
  std::vector<CharRange> parts;
  for (const CharRange& r : ranges) {
    const CharRange below{r.first, std::min(r.last, kFirstSurrogate - 1)};
    const CharRange above{std::max(r.first, kLastSurrogate + 1), std::min(r.last, kLastChar)};
    for (const CharRange& part : {below, above})
      if (part.first <= part.last) parts.push_back(part);
  }
  std::ranges::sort(parts, {}, &CharRange::first);
  CharSet out;
  for (const CharRange& r : parts)
    if (!out.empty() && r.first <= out.back().last + 1)
      out.back().last = std::max(out.back().last, r.last);
    else
      out.push_back(r);
  return out;
}

const CharSet& every_char() {
  static const CharSet kEvery = normalized({{0, kLastChar}});
  return kEvery;
}

CharSet intersection(const CharSet& a, const CharSet& b) {
  CharSet out;
  for (size_t i = 0, k = 0; i < a.size() && k < b.size();) {
    const CharRange both{std::max(a[i].first, b[k].first), std::min(a[i].last, b[k].last)};
    if (both.first <= both.last) out.push_back(both);
    if (a[i].last < b[k].last)
      ++i;
    else
      ++k;
  }
  return out;
}

CharSet complement(const CharSet& set) {
  std::vector<CharRange> gaps;
  uint32_t next = 0;
  for (const CharRange& r : set) {
    if (r.first > next) gaps.push_back({next, r.first - 1});
    next = r.last + 1;
  }
  if (next <= kLastChar) gaps.push_back({next, kLastChar});
  return normalized(std::move(gaps));
}

CharSet difference(const CharSet& a, const CharSet& b) { return intersection(a, complement(b)); }

bool contains(const CharSet& set, uint32_t c) {
  return std::ranges::any_of(set, [c](const CharRange& r) { return r.first <= c && c <= r.last; });
}

std::vector<uint32_t> chars_of(std::string_view text) {
  std::vector<uint32_t> out;
  for (size_t at = 0; at < text.size();) {
    const auto found = text::decode_character(text, at);
    if (found.length == 0) fail("byte {}: this is no valid UTF-8", at);
    out.push_back(static_cast<uint32_t>(found.code));
    at += found.length;
  }
  return out;
}

}  // namespace outboard::grammar
