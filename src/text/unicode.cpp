#include "text/unicode.h"

#include <algorithm>

namespace outboard::text {
namespace {

uint8_t byte_at(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

// Table 3-7 of the Unicode standard: length by first byte, and the range of the second byte.
struct Form {
  size_t length;
  uint8_t second_low, second_high;
};

Form form_of(uint8_t first) {
  if (first < 0x80) return {1, 0, 0};
  if (first < 0xC2) return {0, 0, 0};
  if (first < 0xE0) return {2, 0x80, 0xBF};
  if (first == 0xE0) return {3, 0xA0, 0xBF};
  if (first == 0xED) return {3, 0x80, 0x9F};
  if (first < 0xF0) return {3, 0x80, 0xBF};
  if (first == 0xF0) return {4, 0x90, 0xBF};
  if (first < 0xF4) return {4, 0x80, 0xBF};
  if (first == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

DecodedCharacter decode_character(std::string_view text, size_t at) {
  const uint8_t first = byte_at(text, at);
  if (first < 0x80) return {first, 1};
  const Form form = form_of(first);
  if (form.length == 0 || text.size() - at < form.length) return {};
  const uint8_t second = byte_at(text, at + 1);
  if (second < form.second_low || second > form.second_high) return {};
  char32_t code = first & (0x7Fu >> form.length);
  code = code << 6 | (second & 0x3Fu);
  for (size_t i = 2; i < form.length; ++i) {
    const uint8_t next = byte_at(text, at + i);
    if ((next & 0xC0) != 0x80) return {};
    code = code << 6 | (next & 0x3Fu);
  }
  return {code, form.length};
}

size_t malformed_length(std::string_view text, size_t at, bool* truncated) {
  if (truncated != nullptr) *truncated = false;
  const Form form = form_of(byte_at(text, at));
  if (form.length < 2) return 1;
  size_t good = 1;
  while (good < form.length) {
    if (at + good == text.size()) {
      if (truncated != nullptr) *truncated = true;
      return good;
    }
    const uint8_t next = byte_at(text, at + good);
    const uint8_t low = good == 1 ? form.second_low : 0x80;
    const uint8_t high = good == 1 ? form.second_high : 0xBF;
    if (next < low || next > high) return good;
    ++good;
  }
  return good;
}

bool is_valid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = decode_character(text, at).length;
    if (length == 0) return false;
    at += length;
  }
  return true;
}

void append_utf8(char32_t code, std::string& text) {
  const auto put = [&](char32_t value) { text.push_back(static_cast<char>(value)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

std::string to_valid_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    size_t length = decode_character(text, at).length;
    if (length != 0) {
      valid.append(text.substr(at, length));
    } else {
      length = malformed_length(text, at);
      valid.append(kReplacementCharacter);
    }
    at += length;
  }
  return valid;
}

}  // namespace outboard::text
