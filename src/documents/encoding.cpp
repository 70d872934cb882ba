#include "documents/encoding.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "support/error.h"
#include "text/unicode.h"

namespace outboard::documents {
namespace {

constexpr std::string_view kMark8 = "\xEF\xBB\xBF", kMarkLittle = "\xFF\xFE", kMarkBig = "\xFE\xFF";

// Bytes 0x80 to 0x9F (Unicode's mapping cp1252.txt; the five that it leaves open are controls, as
// the WHATWG's Encoding Standard has them).
constexpr std::array<char16_t, 32> kWindows1252 = {
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178};
constexpr unsigned char kFirstOfWindows = 0x80;

bool is_of_windows(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= kFirstOfWindows && byte < kFirstOfWindows + kWindows1252.size();
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view mark_of(Encoding encoding) {
  switch (encoding) {
    case Encoding::kUtf8:
      return kMark8;
    case Encoding::kUtf16LittleEndian:
      return kMarkLittle;
    case Encoding::kUtf16BigEndian:
      return kMarkBig;
    default:
      return {};
  }
}

// Zero bytes at even and at odd places.
std::pair<size_t, size_t> zeros(std::string_view bytes) {
  std::pair<size_t, size_t> count;
  for (size_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] == '\0') ++(i % 2 == 0 ? count.first : count.second);
  return count;
}

std::string from_utf16(std::string_view bytes, bool is_big) {
  if (bytes.size() % 2 != 0) fail("no UTF-16: {} bytes, an odd number", bytes.size());
  const auto unit = [&](size_t at) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    const auto second = static_cast<unsigned char>(bytes[at + 1]);
    return static_cast<char32_t>(is_big ? first << 8U | second : second << 8U | first);
  };
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 2) {
    char32_t code = unit(at);
    const bool is_pair = code >= 0xD800 && code < 0xDC00 && at + 2 < bytes.size() &&
                         unit(at + 2) >= 0xDC00 && unit(at + 2) < 0xE000;
    if (is_pair) {
      at += 2;
      code = 0x10000 + ((code - 0xD800) << 10U) + (unit(at) - 0xDC00);
    } else if (code >= 0xD800 && code < 0xE000) {
      fail("no UTF-16: half a surrogate pair at byte {}", at);
    }
    text::append_utf8(code, text);
  }
  return text;
}

void append_utf16(char32_t code, bool is_big, std::string& out) {
  const auto unit = [&](char32_t value) {
    const auto high = static_cast<char>(value >> 8U & 0xFFU);
    const auto low = static_cast<char>(value & 0xFFU);
    out += is_big ? high : low;
    out += is_big ? low : high;
  };
  if (code < 0x10000) return unit(code);
  unit(0xD800 + ((code - 0x10000) >> 10U));
  unit(0xDC00 + ((code - 0x10000) & 0x3FFU));
}

}  // namespace

std::string_view name_of(Encoding encoding) {
  switch (encoding) {
    case Encoding::kUtf8:
      return "UTF-8";
    case Encoding::kLatin1:
      return "Latin-1";
    case Encoding::kWindows1252:
      return "Windows-1252";
    case Encoding::kUtf16LittleEndian:
      return "UTF-16LE";
    case Encoding::kUtf16BigEndian:
      return "UTF-16BE";
  }
  return "";
}

std::optional<Encoding> encoding_by_name(std::string_view name) {
  struct Name {
    std::string_view name;
    Encoding encoding;
  };
  static constexpr std::array kNames = {Name{"utf-8", Encoding::kUtf8},
                                        Name{"utf8", Encoding::kUtf8},
                                        Name{"ascii", Encoding::kUtf8},
                                        Name{"us-ascii", Encoding::kUtf8},
                                        Name{"latin-1", Encoding::kLatin1},
                                        Name{"latin1", Encoding::kLatin1},
                                        Name{"iso-8859-1", Encoding::kLatin1},
                                        Name{"iso8859-1", Encoding::kLatin1},
                                        Name{"windows-1252", Encoding::kWindows1252},
                                        Name{"cp1252", Encoding::kWindows1252},
                                        Name{"utf-16", Encoding::kUtf16LittleEndian},
                                        Name{"utf16", Encoding::kUtf16LittleEndian},
                                        Name{"utf-16le", Encoding::kUtf16LittleEndian},
                                        Name{"utf-16be", Encoding::kUtf16BigEndian}};
  const auto* found = std::ranges::find(kNames, lower(name), &Name::name);
  return found == kNames.end() ? std::nullopt : std::optional(found->encoding);
}

Encoding find_encoding(std::string_view bytes) {
  if (bytes.starts_with(kMark8)) return Encoding::kUtf8;
  if (bytes.starts_with(kMarkLittle)) return Encoding::kUtf16LittleEndian;
  if (bytes.starts_with(kMarkBig)) return Encoding::kUtf16BigEndian;
  const auto [even, odd] = zeros(bytes);
  // Of texts in Latin letters one byte of two is zero.
  constexpr size_t kOften = 4;
  if (bytes.size() % 2 == 0 && std::max(even, odd) > bytes.size() / 2 / kOften &&
      std::min(even, odd) <= std::max(even, odd) / kOften)
    return odd > even ? Encoding::kUtf16LittleEndian : Encoding::kUtf16BigEndian;
  if (text::is_valid_utf8(bytes)) return Encoding::kUtf8;
  return std::ranges::any_of(bytes, is_of_windows) ? Encoding::kWindows1252 : Encoding::kLatin1;
}

std::string declared_charset(std::string_view html) {
  constexpr size_t kLookedAt = 1024;  // as HTML's prescan
  const std::string head = lower(html.substr(0, kLookedAt));
  for (size_t at = 0; (at = head.find("<meta", at)) != std::string::npos; ++at) {
    const std::string tag = head.substr(at, head.find('>', at) - at);
    constexpr std::string_view kCharset = "charset";
    size_t value = tag.find(kCharset);
    if (value == std::string::npos) continue;
    value = tag.find_first_not_of(" \t\r\n=\"'", value + kCharset.size());
    if (value == std::string::npos) continue;
    return tag.substr(value, tag.find_first_of(" \t\r\n\"';/>", value) - value);
  }
  return {};
}

Decoded decode(std::string_view bytes, Encoding encoding) {
  Decoded out{{}, encoding};
  const auto takes = [&](std::string_view mark) {
    if (!bytes.starts_with(mark)) return false;
    bytes.remove_prefix(mark.size());
    return out.has_mark = true;
  };
  switch (encoding) {
    case Encoding::kUtf8:
      takes(kMark8);
      out.text = bytes;
      return out;
    case Encoding::kLatin1:
    case Encoding::kWindows1252:
      for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        text::append_utf8(encoding == Encoding::kWindows1252 && is_of_windows(c)
                              ? char32_t{kWindows1252[byte - kFirstOfWindows]}
                              : char32_t{byte},
                          out.text);
      }
      return out;
    case Encoding::kUtf16LittleEndian:
    case Encoding::kUtf16BigEndian:
      if (takes(kMarkBig)) {
        out.encoding = Encoding::kUtf16BigEndian;
      } else if (takes(kMarkLittle)) {
        out.encoding = Encoding::kUtf16LittleEndian;
      }
      out.text = from_utf16(bytes, out.encoding == Encoding::kUtf16BigEndian);
      return out;
  }
  return out;
}

std::string encode(std::string_view text, Encoding encoding, bool with_mark,
                   const std::function<std::string(char32_t)>& missing) {
  const bool is_big = encoding == Encoding::kUtf16BigEndian;
  const bool is_wide = is_big || encoding == Encoding::kUtf16LittleEndian;
  std::string out(with_mark ? mark_of(encoding) : std::string_view());
  if (encoding == Encoding::kUtf8) return out.append(text);
  for (size_t at = 0; at < text.size();) {
    const text::DecodedCharacter c = text::decode_character(text, at);
    const char32_t code = c.length == 0 ? U'\uFFFD' : c.code;
    at += c.length == 0 ? text::malformed_length(text, at) : c.length;
    if (is_wide) {
      append_utf16(code, is_big, out);
      continue;
    }
    const auto* of_windows = std::ranges::find(kWindows1252, code);
    if (encoding == Encoding::kWindows1252 && of_windows != kWindows1252.end()) {
      out += static_cast<char>(kFirstOfWindows + (of_windows - kWindows1252.begin()));
    } else if (code < kFirstOfWindows ||
               (code <= 0xFF && (encoding == Encoding::kLatin1 || code >= 0xA0))) {
      out += static_cast<char>(code);
    } else {
      out += missing(code);
    }
  }
  return out;
}

}  // namespace outboard::documents
