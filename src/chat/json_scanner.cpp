#include "chat/json_scanner.h"

#include <cstdint>
#include <string_view>

namespace outboard::chat {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
// Of numbers, true, false and null.
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == 'E' || c == '+' || c == '-' ||
         c == '.';
}

}  // namespace

JsonScanner::State JsonScanner::feed(char c) {
  if (in_string_) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x20) {
      static constexpr std::string_view kHex = "0123456789abcdef";
      if (escaped_) return State::kBroken;
      text_ += "\\u00";
      text_ += kHex[byte >> 4];
      text_ += kHex[byte & 15];
      return State::kMore;
    }
    text_ += c;
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
      if (!is_key_) return ended();
      is_key_ = false;
      expect_ = Expect::kColon;
    }
    return State::kMore;
  }
  if (in_word_) {
    if (is_word(c)) {
      text_ += c;
      return State::kMore;
    }
    in_word_ = false;
  }
  text_ += c;
  if (is_blank(c)) return State::kMore;
  switch (expect_) {
    case Expect::kValueOrEnd:
      if (c == ']') return close(c);
      [[fallthrough]];
    case Expect::kValue:
      return value(c);
    case Expect::kKeyOrEnd:
      if (c == '}') return close(c);
      [[fallthrough]];
    case Expect::kKey:
      if (c != '"') return State::kBroken;
      in_string_ = is_key_ = true;
      return State::kMore;
    case Expect::kColon:
      if (c != ':') return State::kBroken;
      expect_ = Expect::kValue;
      return State::kMore;
    case Expect::kMoreOrEnd:
      if (c == ',') {
        expect_ = open_.back() == '}' ? Expect::kKey : Expect::kValue;
        return State::kMore;
      }
      return close(c);
  }
  return State::kBroken;
}

JsonScanner::State JsonScanner::value(char c) {
  if (c == '{' || c == '[') {
    if (open_.size() == kMaxDepth) return State::kBroken;
    open_.push_back(c == '{' ? '}' : ']');
    expect_ = c == '{' ? Expect::kKeyOrEnd : Expect::kValueOrEnd;
    return State::kMore;
  }
  if (c == '"') {
    in_string_ = true;
    return State::kMore;
  }
  if (open_.empty() || !is_word(c)) return State::kBroken;
  in_word_ = true;
  return ended();
}

JsonScanner::State JsonScanner::close(char bracket) {
  if (open_.empty() || open_.back() != bracket) return State::kBroken;
  open_.pop_back();
  return ended();
}

JsonScanner::State JsonScanner::ended() {
  expect_ = Expect::kMoreOrEnd;
  return open_.empty() ? State::kDone : State::kMore;
}

}  // namespace outboard::chat
