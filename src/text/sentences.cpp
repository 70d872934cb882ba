#include "text/sentences.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "text/unicode.h"

namespace outboard::text {
namespace {

DecodedCharacter character_at(std::string_view text, size_t at) {
  DecodedCharacter c = decode_character(text, at);
  if (c.length == 0) c = {0xFFFD, malformed_length(text, at)};
  return c;
}

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || category(c) == UTF8PROC_CATEGORY_ZS ||
         category(c) == UTF8PROC_CATEGORY_ZL || category(c) == UTF8PROC_CATEGORY_ZP || c == 0x85;
}
// Characters of other kinds that show nothing: joiners, fillers, the empty braille cell.
bool is_invisible(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CO:
      return true;
    default:
      return c == 0x115F || c == 0x1160 || c == 0x2800 || c == 0x3164 || c == 0xFFA0;
  }
}
bool ends_sentence(char32_t c) { return c == '.' || c == '!' || c == '?' || c == 0x2026; }
bool ends_sentence_anywhere(char32_t c) { return c == 0x3002 || c == 0xFF01 || c == 0xFF1F; }
bool closes(char32_t c) {
  return c == '"' || c == '\'' || category(c) == UTF8PROC_CATEGORY_PE ||
         category(c) == UTF8PROC_CATEGORY_PF;
}
bool starts_sentence(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PI:
      return true;
    default:
      return c == '"' || c == '\'' || c == '-' || c == 0xBF || c == 0xA1;
  }
}

// "Dr." or "J." before the dot at text.size().
bool is_abbreviation(std::string_view before_dot) {
  static constexpr std::array<std::string_view, 22> kKnown = {
      "mr",  "mrs", "ms",  "dr",  "prof", "st", "vs", "etc", "e.g", "i.e", "no",
      "vol", "fig", "inc", "ltd", "co",   "jr", "sr", "bzw", "z.b", "nr",  "op"};
  const size_t space = before_dot.find_last_of(" \t(\"'");
  const std::string_view word =
      space == std::string_view::npos ? before_dot : before_dot.substr(space + 1);
  if (word.size() == 1 && word[0] >= 'A' && word[0] <= 'Z') return true;
  std::string lower(word);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return std::ranges::find(kKnown, lower) != kKnown.end();
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(character_at(text, 0).code))
    text.remove_prefix(character_at(text, 0).length);
  while (!text.empty()) {
    size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) --at;
    if (!is_space(character_at(text, at).code)) break;
    text = text.substr(0, at);
  }
  return text;
}

}  // namespace

std::vector<std::string_view> split_sentences(std::string_view line) {
  std::vector<std::string_view> sentences;
  size_t begin = 0;
  const auto cut = [&](size_t end) {
    const std::string_view sentence = trimmed(line.substr(begin, end - begin));
    if (!sentence.empty()) sentences.push_back(sentence);
    begin = end;
  };
  for (size_t at = 0; at < line.size();) {
    const DecodedCharacter c = character_at(line, at);
    const size_t mark = at;
    at += c.length;
    if (!ends_sentence(c.code) && !ends_sentence_anywhere(c.code)) continue;
    // More marks and closing quotes belong to it.
    while (at < line.size()) {
      const DecodedCharacter next = character_at(line, at);
      if (!ends_sentence(next.code) && !ends_sentence_anywhere(next.code) && !closes(next.code))
        break;
      at += next.length;
    }
    if (ends_sentence_anywhere(c.code)) {
      cut(at);
      continue;
    }
    size_t next = at;
    while (next < line.size() && is_space(character_at(line, next).code))
      next += character_at(line, next).length;
    if (next == at || next == line.size()) continue;
    if (!starts_sentence(character_at(line, next).code)) continue;
    if (c.code == '.' && is_abbreviation(line.substr(begin, mark - begin))) continue;
    cut(at);
  }
  cut(line.size());
  return sentences;
}

bool is_blank(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter c = character_at(text, at);
    if (!is_space(c.code) && !is_invisible(c.code)) return false;
    at += c.length;
  }
  return true;
}

bool has_words(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter c = character_at(text, at);
    switch (category(c.code)) {
      case UTF8PROC_CATEGORY_LU:
      case UTF8PROC_CATEGORY_LL:
      case UTF8PROC_CATEGORY_LT:
      case UTF8PROC_CATEGORY_LM:
      case UTF8PROC_CATEGORY_LO:
      case UTF8PROC_CATEGORY_ND:
      case UTF8PROC_CATEGORY_NL:
      case UTF8PROC_CATEGORY_NO:
        return true;
      default:
        at += c.length;
    }
  }
  return false;
}

std::pair<std::string_view, std::string_view> cut_in_two(std::string_view text) {
  const size_t middle = text.size() / 2;
  const auto distance = [&](size_t at) { return at > middle ? at - middle : middle - at; };
  size_t clause = 0, space = 0, any = 0;  // 0: none
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter c = character_at(text, at);
    at += c.length;
    if (at == text.size()) break;
    const auto nearer = [&](size_t& best) {
      if (best == 0 || distance(at) < distance(best)) best = at;
    };
    nearer(any);
    if (is_space(c.code)) nearer(space);
    const bool mark = c.code == ',' || c.code == ';' || c.code == ':' || c.code == 0x3001 ||
                      c.code == 0xFF0C || c.code == 0xFF1B;
    if (mark && distance(at) <= text.size() / 4) nearer(clause);
  }
  const size_t at = clause != 0 ? clause : space != 0 ? space : any != 0 ? any : text.size();
  const std::string_view first = trimmed(text.substr(0, at));
  // Nothing but spaces before the cut: the cut stays, so that the text gets shorter.
  return {first.empty() ? text.substr(0, at) : first, trimmed(text.substr(at))};
}

std::string_view language_token(std::string_view line) {
  if (!line.starts_with(">>")) return {};
  size_t end = 2;
  while (end < line.size() && (std::isalnum(static_cast<unsigned char>(line[end])) != 0 ||
                               line[end] == '_' || line[end] == '-' || line[end] == '.'))
    ++end;
  return end > 2 && line.substr(end).starts_with("<<") ? line.substr(0, end + 2)
                                                       : std::string_view();
}

}  // namespace outboard::text
