#include "text/jinja/python_text.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

// Calls visit(code, begin, length) for each character; an ill-formed byte is one U+FFFD.
template <typename Visit>
void each_character(std::string_view text, Visit visit) {
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter character = decode_character(text, at);
    const size_t length = std::max<size_t>(1, character.length);
    visit(character.length != 0 ? character.code : char32_t{0xFFFD}, at, length);
    at += length;
  }
}

struct LongCase {
  char32_t code;
  std::string_view upper, title;
};
struct Range {
  char32_t first, last;
};
#include "text/jinja/python_unicode.inc"

template <size_t kCount>
bool within(const Range (&ranges)[kCount], char32_t code) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [&](const Range& r) { return r.first <= code && code <= r.last; });
}

const LongCase* long_case(char32_t code) {
  if (code < 0xDF) return nullptr;
  for (const LongCase& known : kLongCases)
    if (known.code == code) return &known;
  return nullptr;
}

utf8proc_category_t category_of(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

void append_upper(char32_t code, std::string& out) {
  if (const LongCase* known = long_case(code)) {
    out += known->upper;
  } else {
    append_utf8(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))), out);
  }
}
void append_title(char32_t code, std::string& out) {
  if (const LongCase* known = long_case(code)) {
    out += known->title;
  } else {
    append_utf8(static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code))), out);
  }
}
char32_t lower(char32_t code) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}
bool cased(char32_t code) { return is_upper(code) || is_lower(code) || is_title(code); }

// Where a sigma is the last letter of a word it is written in another way.
bool final_sigma(std::string_view text, size_t at, size_t length) {
  const auto ignorable = [](char32_t code) {
    const auto category = category_of(code);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
           category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_LM ||
           category == UTF8PROC_CATEGORY_SK || code == '\'' || code == '.' || code == ':' ||
           code == 0xB7 || code == 0x2018 || code == 0x2019 || code == 0x2024 || code == 0x2027;
  };
  bool before = false;
  constexpr size_t kFar = 256;  // bytes; no word is longer
  const size_t begin = at > kFar ? at - kFar : 0;
  each_character(text.substr(begin, at - begin), [&](char32_t code, size_t, size_t) {
    if (!ignorable(code)) before = cased(code);
  });
  if (!before) return false;
  bool decided = false, after = false;
  each_character(text.substr(at + length, kFar), [&](char32_t code, size_t, size_t) {
    if (decided || ignorable(code)) return;
    decided = true;
    after = cased(code);
  });
  return !after;
}

void append_lower(std::string_view text, char32_t code, size_t at, size_t length,
                  std::string& out) {
  if (code == 0x130) {
    out += "i\xCC\x87";  // the one character whose lower case is longer
  } else if (code == 0x3A3 && final_sigma(text, at, length)) {
    append_utf8(0x3C2, out);
  } else {
    append_utf8(lower(code), out);
  }
}

// map(code, begin, length, out) appends what a character becomes.
template <typename Map>
TracedText map_characters(const TracedText& text, Map map) {
  TracedText result;
  std::string mapped;
  each_character(text.bytes(), [&](char32_t code, size_t begin, size_t length) {
    mapped.clear();
    map(code, begin, length, mapped);
    result.append(mapped, text.origin(begin));
  });
  return result;
}

size_t last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && text.size() - at < 4 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return decode_character(text, at).length == text.size() - at ? at : text.size() - 1;
}

}  // namespace

bool is_python_space(char32_t code) {
  return (code >= 9 && code <= 13) || (code >= 28 && code <= 32) || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

std::string_view strip(std::string_view text, Side side, const std::string_view* characters) {
  const auto stripped = [&](size_t at, size_t length) {
    if (characters == nullptr) return is_python_space(decode_character(text, at).code);
    const std::string_view wanted = text.substr(at, length);
    bool found = false;
    each_character(*characters, [&](char32_t, size_t begin, size_t size) {
      found = found || characters->substr(begin, size) == wanted;
    });
    return found;
  };
  while (side != Side::kRight && !text.empty()) {
    const size_t length = std::max<size_t>(1, decode_character(text, 0).length);
    if (!stripped(0, length)) break;
    text.remove_prefix(length);
  }
  while (side != Side::kLeft && !text.empty()) {
    const size_t at = last_character(text);
    if (!stripped(at, text.size() - at)) break;
    text.remove_suffix(text.size() - at);
  }
  return text;
}

size_t character_count(std::string_view text) {
  size_t count = 0;
  each_character(text, [&](char32_t, size_t, size_t) { ++count; });
  return count;
}

std::vector<size_t> character_offsets(std::string_view text) {
  std::vector<size_t> offsets;
  offsets.reserve(text.size() + 1);
  each_character(text, [&](char32_t, size_t begin, size_t) { offsets.push_back(begin); });
  offsets.push_back(text.size());
  return offsets;
}

TracedText to_upper(const TracedText& text) {
  return map_characters(
      text, [](char32_t code, size_t, size_t, std::string& out) { append_upper(code, out); });
}

TracedText to_lower(const TracedText& text) {
  return map_characters(text, [&](char32_t code, size_t at, size_t length, std::string& out) {
    append_lower(text.bytes(), code, at, length, out);
  });
}

TracedText casefold(const TracedText& text) {
  return map_characters(text, [](char32_t code, size_t, size_t, std::string& out) {
    utf8proc_int32_t folded[8];
    int last_class = 0;
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(code), folded, 8, UTF8PROC_CASEFOLD, &last_class);
    for (utf8proc_ssize_t i = 0; i < count && count <= 8; ++i)
      append_utf8(static_cast<char32_t>(folded[i]), out);
  });
}

TracedText capitalize(const TracedText& text) {
  return map_characters(text, [&](char32_t code, size_t at, size_t length, std::string& out) {
    if (at == 0) {
      append_title(code, out);
    } else {
      append_lower(text.bytes(), code, at, length, out);
    }
  });
}

TracedText swap_case(const TracedText& text) {
  return map_characters(text, [&](char32_t code, size_t at, size_t length, std::string& out) {
    if (is_upper(code)) {
      append_lower(text.bytes(), code, at, length, out);
    } else if (is_lower(code)) {
      append_upper(code, out);
    } else {
      append_utf8(code, out);
    }
  });
}

TracedText python_title(const TracedText& text) {
  bool after_cased = false;
  return map_characters(text, [&](char32_t code, size_t at, size_t length, std::string& out) {
    if (after_cased) {
      append_lower(text.bytes(), code, at, length, out);
    } else {
      append_title(code, out);
    }
    after_cased = cased(code);
  });
}

TracedText jinja_title(const TracedText& text) {
  // Each word by itself, as the filter does.
  TracedText result;
  const auto finish = [&](const TracedText& word) {
    if (word.empty()) return;
    const size_t first = decode_character(word.bytes(), 0).length;
    result.append(to_upper(word.part(0, std::max<size_t>(1, first))));
    result.append(to_lower(word.part(std::max<size_t>(1, first))));
  };
  size_t begin = 0;
  each_character(text.bytes(), [&](char32_t code, size_t at, size_t length) {
    if (!is_python_space(code) && code != '-' && code != '(' && code != '{' && code != '[' &&
        code != '<')
      return;
    finish(text.part(begin, at - begin));
    result.append(text, at, length);
    begin = at + length;
  });
  finish(text.part(begin));
  return result;
}

bool is_decimal(char32_t code) { return category_of(code) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t code) { return is_decimal(code) || within(kDigits, code); }
bool is_numeric(char32_t code) {
  const auto category = category_of(code);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO || within(kNumeric, code);
}
bool is_alpha(char32_t code) {
  const auto category = category_of(code);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT || category == UTF8PROC_CATEGORY_LM ||
         category == UTF8PROC_CATEGORY_LO;
}
bool is_upper(char32_t code) {
  return category_of(code) == UTF8PROC_CATEGORY_LU || within(kUpper, code);
}
bool is_lower(char32_t code) {
  return category_of(code) == UTF8PROC_CATEGORY_LL || within(kLower, code);
}
bool is_title(char32_t code) { return category_of(code) == UTF8PROC_CATEGORY_LT; }

bool is_printable(char32_t code) {
  if (code == ' ') return true;
  switch (category_of(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

std::vector<std::string_view> split_space(std::string_view text, int64_t most, bool from_right) {
  std::vector<std::string_view> parts;
  const auto space_at = [&](size_t at) { return is_python_space(decode_character(text, at).code); };
  if (!from_right) {
    text = strip(text, Side::kLeft);
    while (!text.empty()) {
      if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
        // The rest keeps the white space at its end, as in Python.
        parts.emplace_back(text);
        break;
      }
      size_t end = 0;
      while (end < text.size() && !space_at(end))
        end += std::max<size_t>(1, decode_character(text, end).length);
      parts.emplace_back(text.substr(0, end));
      text = strip(text.substr(end), Side::kLeft);
    }
    return parts;
  }
  text = strip(text, Side::kRight);
  while (!text.empty()) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.emplace_back(text);
      break;
    }
    size_t begin = text.size();
    while (begin > 0) {
      const size_t at = last_character(text.substr(0, begin));
      if (space_at(at)) break;
      begin = at;
    }
    parts.emplace_back(text.substr(begin));
    text = strip(text.substr(0, begin), Side::kRight);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separator, int64_t most,
                                    bool from_right) {
  std::vector<std::string_view> parts;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) break;
    if (from_right) {
      parts.emplace_back(text.substr(at + separator.size()));
      text = text.substr(0, at);
    } else {
      parts.emplace_back(text.substr(0, at));
      text.remove_prefix(at + separator.size());
    }
  }
  parts.emplace_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  size_t skip_until = 0;
  each_character(text, [&](char32_t code, size_t at, size_t length) {
    const bool ends = (code >= 10 && code <= 13) || (code >= 28 && code <= 30) || code == 0x85 ||
                      code == 0x2028 || code == 0x2029;
    if (!ends || at < skip_until) return;
    size_t end = at + length;
    if (code == '\r' && end < text.size() && text[end] == '\n') ++end;
    lines.emplace_back(text.substr(begin, (keep_ends ? end : at) - begin));
    begin = skip_until = end;
  });
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

TracedText replace(const TracedText& text, std::string_view old, const TracedText& with,
                   int64_t most) {
  TracedText result;
  int64_t done = 0;
  if (old.empty()) {  // between all characters
    each_character(text.bytes(), [&](char32_t, size_t begin, size_t length) {
      if (most < 0 || done < most) result.append(with);
      ++done;
      result.append(text, begin, length);
    });
    if (most < 0 || done < most) result.append(with);
    return result;
  }
  size_t begin = 0;
  while (most < 0 || done < most) {
    const size_t at = text.bytes().find(old, begin);
    if (at == std::string::npos) break;
    result.append(text, begin, at - begin);
    result.append(with);
    begin = at + old.size();
    ++done;
  }
  result.append(text, begin, text.size() - begin);
  return result;
}

}  // namespace outboard::text::jinja
