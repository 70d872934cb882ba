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

char32_t upper(char32_t code) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code)));
}
char32_t lower(char32_t code) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}
char32_t title(char32_t code) {
  return static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code)));
}
bool cased(char32_t code) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
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

std::string to_upper(std::string_view text) {
  std::string result;
  each_character(text, [&](char32_t code, size_t, size_t) {
    if (code == 0xDF) {
      result += "SS";  // the one common character whose upper case is longer
    } else {
      append_utf8(upper(code), result);
    }
  });
  return result;
}

std::string to_lower(std::string_view text) {
  std::string result;
  each_character(text, [&](char32_t code, size_t, size_t) { append_utf8(lower(code), result); });
  return result;
}

std::string capitalize(std::string_view text) {
  std::string result;
  each_character(text, [&](char32_t code, size_t begin, size_t) {
    append_utf8(begin == 0 ? title(code) : lower(code), result);
  });
  return result;
}

std::string swap_case(std::string_view text) {
  std::string result;
  each_character(text, [&](char32_t code, size_t, size_t) {
    append_utf8(lower(code) != code ? lower(code) : upper(code), result);
  });
  return result;
}

std::string python_title(std::string_view text) {
  std::string result;
  bool after_cased = false;
  each_character(text, [&](char32_t code, size_t, size_t) {
    append_utf8(after_cased ? lower(code) : title(code), result);
    after_cased = cased(code);
  });
  return result;
}

std::string jinja_title(std::string_view text) {
  std::string result;
  bool begins = true;
  each_character(text, [&](char32_t code, size_t, size_t) {
    const bool breaks = is_python_space(code) || code == '-' || code == '(' || code == '{' ||
                        code == '[' || code == '<';
    append_utf8(begins ? upper(code) : lower(code), result);
    begins = breaks;
  });
  return result;
}

std::vector<std::string> split_space(std::string_view text, int64_t most, bool from_right) {
  std::vector<std::string> parts;
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

std::vector<std::string> split(std::string_view text, std::string_view separator, int64_t most,
                               bool from_right) {
  std::vector<std::string> parts;
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

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
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

std::string replace(std::string_view text, std::string_view old, std::string_view with,
                    int64_t most) {
  std::string result;
  int64_t done = 0;
  if (old.empty()) {  // between all characters
    each_character(text, [&](char32_t, size_t begin, size_t length) {
      if (most < 0 || done < most) result += with;
      ++done;
      result += text.substr(begin, length);
    });
    if (most < 0 || done < most) result += with;
    return result;
  }
  size_t begin = 0;
  while (most < 0 || done < most) {
    const size_t at = text.find(old, begin);
    if (at == std::string_view::npos) break;
    result += text.substr(begin, at - begin);
    result += with;
    begin = at + old.size();
    ++done;
  }
  result += text.substr(begin);
  return result;
}

}  // namespace outboard::text::jinja
