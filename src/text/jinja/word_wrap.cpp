// Python's textwrap.
#include <algorithm>

#include "support/error.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

struct Character {
  char32_t code;
  size_t begin, length;
};

bool is_space(char32_t c) { return c == ' ' || (c >= 9 && c <= 13); }
bool is_letter(char32_t c) { return c == '_' || is_alpha(c) || (is_numeric(c) && !is_decimal(c)); }
bool is_word(char32_t c) { return is_letter(c) || is_decimal(c); }
bool is_word_or_mark(char32_t c) {
  return is_word(c) || c == '!' || c == '"' || c == '\'' || c == '&' || c == '.' || c == ',' ||
         c == '?';
}

// The pieces between which a line may break (TextWrapper.wordsep_re): runs of white space, dashes
// between words, and words, which end before such dashes and after hyphens between letters.
class Pieces {
 public:
  explicit Pieces(const std::vector<Character>& text) : text_(text) {}

  size_t end_of_piece(size_t at) const {
    if (is_space(text_[at].code)) {
      while (at < text_.size() && is_space(text_[at].code)) ++at;
      return at;
    }
    if (dashes_at(at) != 0) return at + dashes_at(at);
    for (size_t end = at + 1;; ++end) {
      if (end >= text_.size() || is_space(text_[end].code)) return std::min(end, text_.size());
      if (dashes_at(end) != 0) return end;
      if (hyphen_at(end)) return end + 1;
    }
  }

 private:
  char32_t code(size_t at) const { return at < text_.size() ? text_[at].code : U' '; }

  // Two dashes or more after a word and before one.
  size_t dashes_at(size_t at) const {
    if (at == 0 || !is_word_or_mark(code(at - 1)) || code(at) != '-') return 0;
    size_t count = 0;
    while (code(at + count) == '-') ++count;
    return count >= 2 && is_word(code(at + count)) ? count : 0;
  }

  // A hyphen after two letters, or after a letter, a hyphen and a letter; with letters behind it.
  bool hyphen_at(size_t at) const {
    if (code(at) != '-' || at < 2 || !is_letter(code(at - 1))) return false;
    const bool before =
        is_letter(code(at - 2)) || (at >= 3 && code(at - 2) == '-' && is_letter(code(at - 3)));
    const size_t next = code(at + 2) == '-' ? at + 3 : at + 2;
    return before && is_letter(code(at + 1)) && is_letter(code(next));
  }

  const std::vector<Character>& text_;
};

}  // namespace

std::vector<TracedText> wrap(const TracedText& line, int64_t width, bool break_long_words,
                             bool break_on_hyphens) {
  if (width <= 0) fail("invalid width {} (must be > 0)", width);
  std::vector<Character> text;
  for (size_t at = 0; at < line.size();) {
    const DecodedCharacter c = decode_character(line.bytes(), at);
    const size_t length = std::max<size_t>(1, c.length);
    text.push_back({c.length != 0 ? c.code : char32_t{0xFFFD}, at, length});
    at += length;
  }
  struct Piece {
    size_t begin, end;  // characters
  };
  const auto size = [](const Piece& piece) {
    return static_cast<int64_t>(piece.end - piece.begin);
  };
  const auto blank = [&](const Piece& piece) {
    return std::all_of(text.begin() + static_cast<std::ptrdiff_t>(piece.begin),
                       text.begin() + static_cast<std::ptrdiff_t>(piece.end),
                       [](const Character& c) { return is_python_space(c.code); });
  };
  std::vector<Piece> rest;  // the last one comes first
  const Pieces pieces(text);
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    if (break_on_hyphens) {
      end = pieces.end_of_piece(at);
    } else {
      const bool space = is_space(text[at].code);
      while (end < text.size() && is_space(text[end].code) == space) ++end;
    }
    rest.push_back({at, end});
    at = end;
  }
  std::reverse(rest.begin(), rest.end());

  std::vector<TracedText> lines;
  while (!rest.empty()) {
    if (!lines.empty() && blank(rest.back())) rest.pop_back();
    std::vector<Piece> now;
    int64_t length = 0;
    while (!rest.empty() && length + size(rest.back()) <= width) {
      length += size(rest.back());
      now.push_back(rest.back());
      rest.pop_back();
    }
    if (!rest.empty() && size(rest.back()) > width) {  // longer than any line
      Piece& long_one = rest.back();
      const int64_t room = width - length;
      if (break_long_words) {
        size_t end = long_one.begin + static_cast<size_t>(room);
        if (break_on_hyphens) {
          size_t hyphen = end;
          while (hyphen > long_one.begin && text[hyphen - 1].code != '-') --hyphen;
          const bool more = std::any_of(
              text.begin() + static_cast<std::ptrdiff_t>(long_one.begin),
              text.begin() + static_cast<std::ptrdiff_t>(std::max(hyphen, long_one.begin + 1) - 1),
              [](const Character& c) { return c.code != '-'; });
          if (hyphen > long_one.begin + 1 && more) end = hyphen;
        }
        now.push_back({long_one.begin, end});
        long_one.begin = end;
      } else if (now.empty()) {
        now.push_back(long_one);
        rest.pop_back();
      }
    }
    if (!now.empty() && blank(now.back())) now.pop_back();
    if (now.empty()) continue;
    const size_t begin = text[now.front().begin].begin;
    const size_t last = std::max(now.front().begin + 1, now.back().end) - 1;
    const bool nothing = now.back().end == now.front().begin;
    lines.push_back(nothing ? TracedText()
                            : line.part(begin, text[last].begin + text[last].length - begin));
  }
  return lines;
}

}  // namespace outboard::text::jinja
