#include "grammar/regex.h"

#include <algorithm>

#include "support/error.h"

namespace outboard::grammar {
namespace {

constexpr int kMaxNesting = 100;
constexpr size_t kMaxNfa = 100'000;

const CharSet& digits() {
  static const CharSet kSet{{'0', '9'}};
  return kSet;
}
const CharSet& word() {
  static const CharSet kSet = normalized({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
  return kSet;
}
// ECMA-262's WhiteSpace and LineTerminator.
const CharSet& space() {
  static const CharSet kSet = normalized({{'\t', '\r'},
                                          {' ', ' '},
                                          {0xa0, 0xa0},
                                          {0x1680, 0x1680},
                                          {0x2000, 0x200a},
                                          {0x2028, 0x2029},
                                          {0x202f, 0x202f},
                                          {0x205f, 0x205f},
                                          {0x3000, 0x3000},
                                          {0xfeff, 0xfeff}});
  return kSet;
}
const CharSet& no_line_end() {
  static const CharSet kSet =
      complement(normalized({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
  return kSet;
}

class Regex {
 public:
  explicit Regex(std::string_view pattern) : text_(chars_of(pattern)) {}

  CharDfa compile() {
    nfa_.start = nfa_.add();
    nfa_.end = nfa_.add();
    const uint32_t found = nfa_.add();
    nfa_.chars(nfa_.start, every_char(), nfa_.start);
    nfa_.chars(nfa_.end, every_char(), nfa_.end);
    const uint32_t last = alternatives(found, 0);
    if (at_ < text_.size()) refuse("a ) that closes nothing");
    nfa_.free(nfa_.start, found);
    nfa_.free(last, nfa_.end);
    return determinized(nfa_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const { fail("character {}: {}", at_ + 1, what); }
  bool more() const { return at_ < text_.size(); }
  uint32_t peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : 0;
  }
  bool take(char c) {
    if (!more() || text_[at_] != static_cast<uint8_t>(c)) return false;
    ++at_;
    return true;
  }
  uint32_t add() {
    if (nfa_.states.size() >= kMaxNfa) refuse("the pattern is too large");
    return nfa_.add();
  }

  // Each reads a part of the pattern, puts it behind `from` and returns the state where it ends.
  uint32_t alternatives(uint32_t from, int nesting) {
    if (nesting > kMaxNesting) refuse("too many nested groups");
    const uint32_t to = add();
    do {
      const uint32_t begin = add();
      nfa_.free(from, begin);
      nfa_.free(sequence(begin, nesting), to);
    } while (take('|'));
    return to;
  }

  uint32_t sequence(uint32_t at, int nesting) {
    while (more() && peek() != '|' && peek() != ')') {
      const size_t begin = at_;
      at = repeated(begin, at, nesting);
    }
    return at;
  }

  uint32_t repeated(size_t begin, uint32_t from, int nesting) {
    const bool is_anchor = peek() == '^' || peek() == '$';
    const uint32_t first = add();
    nfa_.free(from, first);
    uint32_t last = item(first, nesting);
    uint64_t least = 1, most = 1;
    bool unlimited = false;
    if (take('*')) {
      least = 0;
      unlimited = true;
    } else if (take('+')) {
      unlimited = true;
    } else if (take('?')) {
      least = 0;
    } else if (peek() == '{') {
      take('{');
      least = most = number();
      if (take(',')) {
        unlimited = peek() == '}';
        if (!unlimited) most = number();
      }
      if (!take('}')) refuse("expected }");
      if (!unlimited && most < least) refuse("more times at least than at most");
    } else {
      return last;
    }
    take('?');  // lazy: the same texts
    if (is_anchor) refuse("^ or $ that is repeated");
    if (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{')
      refuse("a repetition of nothing");
    const size_t after = at_;
    // The item is read again for every further copy.
    const auto copy = [&](uint32_t at) {
      at_ = begin;
      const uint32_t to = item(at, nesting);
      at_ = after;
      return to;
    };
    if (unlimited) {
      uint32_t loop = first;
      for (uint64_t i = 1; i < least; ++i) {
        const uint32_t next = add();
        nfa_.free(last, next);
        loop = next;
        last = copy(next);
      }
      const uint32_t out = add();
      nfa_.free(last, loop);
      nfa_.free(last, out);
      if (least == 0) nfa_.free(first, out);
      return out;
    }
    const uint32_t out = add();
    if (most == 0) {
      // Read, and of no use: nothing leads on from it.
      nfa_.free(from, out);
      return out;
    }
    if (least == 0) nfa_.free(first, out);
    for (uint64_t i = 1; i < most; ++i) {
      if (i >= least) nfa_.free(last, out);
      const uint32_t next = add();
      nfa_.free(last, next);
      last = copy(next);
    }
    nfa_.free(last, out);
    return out;
  }

  uint64_t number() {
    if (peek() < '0' || peek() > '9') refuse("expected a number");
    uint64_t n = 0;
    while (peek() >= '0' && peek() <= '9') {
      n = n * 10 + (text_[at_++] - '0');
      if (n > CharDfa::kMaxStates) refuse("too many repetitions");
    }
    return n;
  }

  uint32_t item(uint32_t from, int nesting) {
    if (take('(')) return group(from, nesting);
    if (take('^')) return anchor(from, CharNfa::Edge::Kind::kBegin);
    if (take('$')) return anchor(from, CharNfa::Edge::Kind::kEnd);
    if (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{')
      refuse("a repetition of nothing");
    CharSet set;
    if (take('.')) {
      set = no_line_end();
    } else if (take('[')) {
      set = char_class();
    } else if (take('\\')) {
      set = escape(false);
    } else {
      const uint32_t c = text_[at_++];
      set = {{c, c}};
    }
    const uint32_t to = add();
    nfa_.chars(from, std::move(set), to);
    return to;
  }

  uint32_t anchor(uint32_t from, CharNfa::Edge::Kind kind) {
    const uint32_t to = add();
    nfa_.states[from].push_back({kind, {}, to});
    return to;
  }

  uint32_t group(uint32_t from, int nesting) {
    if (take('?')) {
      if (take('<')) {
        if (peek() == '=' || peek() == '!') refuse("look-behind is not regular here");
        while (more() && peek() != '>') ++at_;
        if (!take('>')) refuse("expected >");
      } else if (!take(':')) {
        refuse(peek() == '=' || peek() == '!' ? "look-ahead is not supported"
                                              : "an unknown kind of group");
      }
    }
    const uint32_t to = alternatives(from, nesting + 1);
    if (!take(')')) refuse("expected )");
    return to;
  }

  CharSet char_class() {
    const bool negated = take('^');
    std::vector<CharRange> ranges;
    while (!take(']')) {
      if (!more()) refuse("expected ]");
      const CharSet low = class_item();
      const bool one = low.size() == 1 && low[0].first == low[0].last;
      if (peek() == '-' && at_ + 1 < text_.size() && peek(1) != ']') {
        ++at_;
        const CharSet high = class_item();
        if (!one || high.size() != 1 || high[0].first != high[0].last)
          refuse("a range between classes");
        if (high[0].first < low[0].first) refuse("a range that ends before it begins");
        ranges.push_back({low[0].first, high[0].first});
      } else {
        ranges.insert(ranges.end(), low.begin(), low.end());
      }
    }
    const CharSet set = normalized(std::move(ranges));
    return negated ? complement(set) : set;
  }

  CharSet class_item() {
    if (take('\\')) return escape(true);
    if (!more()) refuse("expected ]");
    const uint32_t c = text_[at_++];
    return {{c, c}};
  }

  CharSet escape(bool in_class) {
    if (!more()) refuse("a \\ at the end");
    const uint32_t c = text_[at_++];
    switch (c) {
      case 'd':
        return digits();
      case 'D':
        return complement(digits());
      case 'w':
        return word();
      case 'W':
        return complement(word());
      case 's':
        return space();
      case 'S':
        return complement(space());
      case 't':
        return one('\t');
      case 'n':
        return one('\n');
      case 'v':
        return one('\v');
      case 'f':
        return one('\f');
      case 'r':
        return one('\r');
      case '0':
        if (peek() >= '0' && peek() <= '9') refuse("an octal escape");
        return one(0);
      case 'c':
        if ((peek() | 0x20) < 'a' || (peek() | 0x20) > 'z') refuse("expected a letter after \\c");
        return one(text_[at_++] % 32);
      case 'x':
        return one(hex(2));
      case 'u':
        return one(unicode());
      case 'b':
        if (in_class) return one('\b');
        refuse("\\b is not supported");
      case 'B':
        refuse("\\B is not supported");
      case 'p':
      case 'P':
        refuse("\\p{...}, classes by Unicode's properties, are not supported");
      case 'k':
        refuse("back references are not regular");
      default:
        if (c >= '1' && c <= '9') refuse("back references are not regular");
        if (contains(word(), c) && c != '_') refuse("an unknown escape");
        return one(c);
    }
  }

  static CharSet one(uint32_t c) { return {{c, c}}; }

  uint32_t hex(int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; ++i) {
      const uint32_t c = peek();
      const bool is_digit = c >= '0' && c <= '9';
      const uint32_t lower = c | 0x20;
      if (!is_digit && (lower < 'a' || lower > 'f')) refuse("expected hexadecimal digits");
      value = value << 4 | (is_digit ? c - '0' : lower - 'a' + 10);
      ++at_;
    }
    return value;
  }

  uint32_t unicode() {
    uint32_t c = 0;
    if (take('{')) {
      while (more() && peek() != '}') {
        c = c << 4 | hex(1);
        if (c > kLastChar) refuse("no character has such a number");
      }
      if (!take('}')) refuse("expected }");
    } else {
      c = hex(4);
      if (c >= 0xd800 && c < 0xdc00 && peek() == '\\' && peek(1) == 'u') {
        at_ += 2;
        const uint32_t low = hex(4);
        if (low < 0xdc00 || low > 0xdfff) refuse("half of a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
      }
    }
    if (c >= 0xd800 && c <= 0xdfff) refuse("half of a surrogate pair");
    return c;
  }

  std::vector<uint32_t> text_;
  size_t at_ = 0;
  CharNfa nfa_;
};

}  // namespace

CharDfa compile_pattern(std::string_view pattern) { return Regex(pattern).compile(); }

}  // namespace outboard::grammar
