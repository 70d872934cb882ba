#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "support/error.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

// Line breaks of any system become "\n", and one at the very end is dropped, as jinja2 does.
std::string normalize_lines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      text.push_back('\n');
    } else {
      text.push_back(source[i]);
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<uint8_t>(c) >= 0x80;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : text_(normalize_lines(source)) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) {
      const size_t tag = find_tag(at_);
      add_text(tag);
      if (tag == std::string::npos) break;
      at_ = tag;
      lex_tag();
    }
    add(Token::Kind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  size_t find_tag(size_t from) const {
    for (size_t at = text_.find('{', from); at != std::string::npos; at = text_.find('{', at + 1))
      if (at + 1 < text_.size() &&
          (text_[at + 1] == '%' || text_[at + 1] == '{' || text_[at + 1] == '#'))
        return at;
    return std::string::npos;
  }

  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

  void add(Token::Kind kind, std::string text) {
    tokens_.push_back({kind, std::move(text), line_});
  }

  void advance(size_t count) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(at_ + count),
                                         '\n'));
    at_ += count;
  }

  // The text before a tag, less the white space that the tag takes away.
  void add_text(size_t tag) {
    const size_t end = std::min(tag, text_.size());
    std::string_view text = std::string_view(text_).substr(at_, end - at_);
    const size_t raw_size = text.size();
    if (tag != std::string::npos) {
      const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
      if (sign == '-') {
        text = strip(text, Side::kRight);
      } else if (sign != '+' && text_[tag + 1] != '{') {  // lstrip_blocks
        const size_t line_begin = text.rfind('\n') + 1;   // npos + 1 is 0
        if ((line_begin > 0 || line_starts_) && strip(text.substr(line_begin), Side::kBoth).empty())
          text = text.substr(0, line_begin);
      }
    }
    if (!text.empty()) add(Token::Kind::kText, std::string(text));
    advance(raw_size);
  }

  void lex_tag() {
    const char kind = text_[at_ + 1];
    const int line = line_;
    at_ += 2;
    if (kind == '#') {
      const size_t end = text_.find("#}", at_);
      if (end == std::string::npos) fail("line {}: comment is not closed", line);
      const bool strips = end > at_ && text_[end - 1] == '-';
      const bool keeps = end > at_ && text_[end - 1] == '+';
      advance(end + 2 - at_);
      after_tag(strips, !keeps);
      return;
    }
    if (peek() == '-' || peek() == '+') ++at_;
    if (kind == '%' && lex_raw(line)) return;
    add(kind == '%' ? Token::Kind::kBlockBegin : Token::Kind::kVariableBegin, {});
    lex_expression(kind, line);
  }

  // Whether a closing tag of this kind begins here, with a sign or without.
  bool at_tag_end(char kind) const {
    const char close = kind == '%' ? '%' : '}';
    const bool sign = peek() == '-' || (peek() == '+' && kind == '%');
    return peek(sign ? 1 : 0) == close && peek(sign ? 2 : 1) == '}';
  }

  void end_tag(char kind) {
    const bool strips = peek() == '-';
    const bool keeps = peek() == '+';
    at_ += strips || keeps ? 3 : 2;
    after_tag(strips, kind == '%' && !keeps);
  }

  // White space behind a tag; trim takes one line break.
  void after_tag(bool strips, bool trim) {
    const size_t begin = at_;
    if (strips) {
      const std::string_view rest = std::string_view(text_).substr(at_);
      advance(rest.size() - strip(rest, Side::kLeft).size());
    } else if (trim && peek() == '\n') {
      advance(1);
    }
    line_starts_ = at_ > begin && text_[at_ - 1] == '\n';
  }

  // {% raw %}: everything up to {% endraw %} is text.
  bool lex_raw(int line) {
    const size_t saved = at_;
    skip_space();
    if (std::string_view(text_).substr(at_, 3) != "raw" || is_name_start(peek(3)) ||
        is_digit(peek(3))) {
      at_ = saved;
      return false;
    }
    at_ += 3;
    skip_space();
    if (!at_tag_end('%')) {
      at_ = saved;
      return false;
    }
    end_tag('%');
    for (size_t tag = text_.find("{%", at_); tag != std::string::npos;
         tag = text_.find("{%", tag + 2)) {
      const size_t begin = at_;
      const bool starts = line_starts_;
      const int begin_line = line_;
      const size_t count = tokens_.size();
      add_text(tag);
      at_ += 2;
      if (peek() == '-' || peek() == '+') ++at_;
      skip_space();
      if (std::string_view(text_).substr(at_, 6) == "endraw") {
        at_ += 6;
        skip_space();
        if (at_tag_end('%')) {
          end_tag('%');
          return true;
        }
      }
      at_ = begin;  // some other tag, part of the text
      line_ = begin_line;
      line_starts_ = starts;
      tokens_.resize(count, Token{});
    }
    fail("line {}: raw block is not closed", line);
  }

  void skip_space() {
    while (at_ < text_.size()) {
      const DecodedCharacter character = decode_character(text_, at_);
      if (character.length == 0 || !is_python_space(character.code)) return;
      advance(character.length);
    }
  }

  void lex_expression(char kind, int line) {
    int open = 0;  // brackets; inside them }} and %} are not the end of the tag
    for (;;) {
      skip_space();
      if (at_ >= text_.size()) fail("line {}: tag {}{} is not closed", line, '{', kind);
      if (open == 0 && at_tag_end(kind)) {
        add(kind == '%' ? Token::Kind::kBlockEnd : Token::Kind::kVariableEnd, {});
        end_tag(kind);
        return;
      }
      const char c = peek();
      if (is_digit(c)) {
        lex_number();
      } else if (is_name_start(c)) {
        const size_t begin = at_;
        while (is_name_start(peek()) || is_digit(peek())) ++at_;
        add(Token::Kind::kName, text_.substr(begin, at_ - begin));
      } else if (c == '"' || c == '\'') {
        lex_string();
      } else {
        lex_operator(open);
      }
    }
  }

  void lex_number() {
    const size_t begin = at_;
    const auto digits = [&] {
      while (is_digit(peek()) || (peek() == '_' && is_digit(peek(1)))) ++at_;
    };
    bool is_float = false;
    if (peek() == '0' && (peek(1) == 'x' || peek(1) == 'X' || peek(1) == 'b' || peek(1) == 'B' ||
                          peek(1) == 'o' || peek(1) == 'O')) {
      at_ += 2;
      while (std::isxdigit(static_cast<uint8_t>(peek())) != 0 || peek() == '_') ++at_;
    } else {
      digits();
      if (peek() == '.' && is_digit(peek(1))) {
        is_float = true;
        ++at_;
        digits();
      }
      const size_t sign = peek(1) == '+' || peek(1) == '-' ? 2 : 1;
      if ((peek() == 'e' || peek() == 'E') && is_digit(peek(sign))) {
        is_float = true;
        at_ += sign;
        digits();
      }
    }
    std::string number = text_.substr(begin, at_ - begin);
    std::erase(number, '_');
    add(is_float ? Token::Kind::kFloat : Token::Kind::kInteger, std::move(number));
  }

  void lex_string() {
    const char quote = peek();
    const int line = line_;
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) fail("line {}: string is not closed", line);
    const std::string_view body = std::string_view(text_).substr(at_ + 1, end - at_ - 1);
    add(Token::Kind::kString, unescape(body));
    advance(end + 1 - at_);
  }

  std::string unescape(std::string_view body) const {
    std::string result;
    for (size_t i = 0; i < body.size(); ++i) {
      if (body[i] != '\\' || i + 1 == body.size()) {
        result.push_back(body[i]);
        continue;
      }
      const char c = body[++i];
      constexpr std::string_view kFrom = "ntr\\'\"abfv";
      constexpr std::string_view kTo = "\n\t\r\\'\"\a\b\f\v";
      if (const size_t known = kFrom.find(c); known != std::string_view::npos) {
        result.push_back(kTo[known]);
      } else if (c == '\n') {
        continue;  // a line continued
      } else if (c >= '0' && c <= '7') {
        char32_t code = 0;
        size_t digits = 0;
        while (digits < 3 && i + digits < body.size() && body[i + digits] >= '0' &&
               body[i + digits] <= '7')
          code = code * 8 + static_cast<char32_t>(body[i + digits++] - '0');
        i += digits - 1;
        append_utf8(code, result);
      } else if (c == 'N' && i + 1 < body.size() && body[i + 1] == '{') {
        fail("line {}: \\N{{...}} in a string, expected the character itself or \\u and its number",
             line_);
      } else if (c == 'x' || c == 'u' || c == 'U') {
        i += append_hex(body.substr(i + 1), c == 'x' ? 2 : c == 'u' ? 4 : 8, result);
      } else {
        result.push_back('\\');
        result.push_back(c);
      }
    }
    return result;
  }

  size_t append_hex(std::string_view digits, size_t count, std::string& result) const {
    char32_t code = 0;
    for (size_t i = 0; i < count; ++i) {
      const char c = i < digits.size() ? digits[i] : '\0';
      if (std::isxdigit(static_cast<uint8_t>(c)) == 0)
        fail("line {}: escape in a string needs {} hexadecimal digits", line_, count);
      code = code * 16 + static_cast<char32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
      fail("line {}: escape in a string names no character", line_);
    append_utf8(code, result);
    return count;
  }

  void lex_operator(int& open) {
    constexpr std::array<std::string_view, 6> kLong = {"//", "**", "==", "!=", ">=", "<="};
    const std::string_view rest = std::string_view(text_).substr(at_);
    for (const std::string_view op : kLong) {
      if (!rest.starts_with(op)) continue;
      add(Token::Kind::kOperator, std::string(op));
      at_ += 2;
      return;
    }
    const char c = peek();
    if (std::string_view("+-/*%~[](){}<>=.:|,;").find(c) == std::string_view::npos)
      fail("line {}: unexpected character \"{}\"", line_,
           to_valid_utf8(rest.substr(0, std::max<size_t>(1, decode_character(rest, 0).length))));
    if (c == '(' || c == '[' || c == '{') ++open;
    if ((c == ')' || c == ']' || c == '}') && open > 0) --open;
    add(Token::Kind::kOperator, std::string(1, c));
    ++at_;
  }

  std::string text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  if (source.size() > size_t{4} << 20)
    fail("template of {} bytes, expected at most 4 MiB", source.size());
  return Lexer(source).run();
}

}  // namespace outboard::text::jinja
