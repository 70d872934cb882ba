#include "text/word_wrap.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace outboard::text {
namespace {

size_t width_of(char32_t code) {
  const int width = utf8proc_charwidth(static_cast<utf8proc_int32_t>(code));
  return static_cast<size_t>(std::max(width, 0));
}

bool is_fence(std::string_view word) { return word.starts_with("```") || word.starts_with("~~~"); }

}  // namespace

void WordWrap::add(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter c = decode_character(text, at);
    const size_t length = c.length == 0 ? 1 : c.length;
    add_character(text.substr(at, length), c.length == 0 ? U'?' : c.code);
    at += length;
  }
}

void WordWrap::add_character(std::string_view bytes, char32_t code) {
  if (code == U'\n') {
    end_word();
    out_("\n");
    end_line();
    return;
  }
  if (code == U' ' || code == U'\t') {
    end_word();
    if (is_line_code_) return out_(bytes);
    blanks_ += bytes;
    return;
  }
  const size_t width = width_of(code);
  constexpr size_t kWide = 2;
  if (width == kWide) end_word();
  word_ += bytes;
  word_width_ += width;
  if (width == kWide || is_line_code_) end_word();
}

void WordWrap::end_word() {
  if (word_.empty()) return;
  if (std::exchange(is_line_new_, false)) {
    width_ = columns_();
    const bool fences = is_fence(word_);
    is_line_code_ = is_fence_open_ || fences || word_.starts_with('|');
    is_fence_open_ ^= fences;
  }
  if (!is_line_code_ && width_ > 0 && column_ > 0 &&
      column_ + blanks_.size() + word_width_ > width_) {
    out_("\n");
    column_ = 0;
    blanks_.clear();
  }
  out_(blanks_ + word_);
  column_ += blanks_.size() + word_width_;
  if (width_ > 0 && column_ > width_) column_ = (column_ - 1) % width_ + 1;  // by the terminal
  blanks_.clear();
  word_.clear();
  word_width_ = 0;
}

void WordWrap::end_line() {
  blanks_.clear();
  column_ = 0;
  is_line_new_ = true;
  is_line_code_ = false;
}

}  // namespace outboard::text
