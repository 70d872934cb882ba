// An answer on a terminal, its lines broken between words.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace outboard::text {

// Text as it comes: a word waits until it is whole, then goes where it fits. Nothing is drawn
// twice. Code between fences (``` or ~~~) and rows of tables are left as they are. Between wide
// characters (Chinese, Japanese) a line may be broken as well. Text is UTF-8.
class WordWrap {
 public:
  // columns: of the terminal, asked at the beginning of each line; 0: lines are left as they are.
  WordWrap(std::function<size_t()> columns, std::function<void(std::string_view)> out)
      : columns_(std::move(columns)), out_(std::move(out)) {}

  void add(std::string_view text);
  // The last word is whole.
  void finish() { end_word(); }

 private:
  void add_character(std::string_view bytes, char32_t code);
  void end_word();
  void end_line();

  std::function<size_t()> columns_;
  std::function<void(std::string_view)> out_;
  std::string word_, blanks_;
  size_t word_width_ = 0;
  size_t column_ = 0;  // where the next character goes
  size_t width_ = 0;
  bool is_line_new_ = true;    // nothing but blanks so far
  bool is_line_code_ = false;  // this line stays as it is
  bool is_fence_open_ = false;
};

}  // namespace outboard::text
