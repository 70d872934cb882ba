#include "grammar/gbnf.h"

#include <algorithm>
#include <map>

#include "support/error.h"
#include "text/unicode.h"

namespace outboard::grammar {
namespace {

constexpr int kMaxNesting = 200;
constexpr uint32_t kMaxTimes = 100'000;

struct Item;
using Sequence = std::vector<Item>;

struct Item {
  enum class Kind : uint8_t { kLiteral, kChars, kRule, kGroup, kRepeat };
  Kind kind;
  std::string text;                    // kLiteral: bytes, kRule: the name
  size_t where = 0;                    // kRule: where it is named
  CharSet set;                         // kChars
  std::vector<Sequence> alternatives;  // kGroup; kRepeat: of one item
  uint32_t least = 0, most = 0;        // kRepeat
  static constexpr uint32_t kNoMost = ~uint32_t{0};
};

struct Definition {
  size_t where;
  std::vector<Sequence> alternatives;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_of_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-';
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  [[noreturn]] void fail_at(size_t where, const std::string& message) const {
    const std::string_view before = text_.substr(0, where);
    const auto line = std::ranges::count(before, '\n') + 1;
    const size_t start = before.rfind('\n') + 1;  // 0 where there is none
    size_t column = 1;
    for (const char c : before.substr(start)) column += (static_cast<uint8_t>(c) & 0xc0) != 0x80;
    fail("line {}, column {}: {}", line, column, message);
  }

  std::map<std::string, Definition> parse() {
    std::map<std::string, Definition> rules;
    skip(true);
    while (at_ < text_.size()) {
      const size_t where = at_;
      std::string name = read_name();
      skip(false);
      if (!text_.substr(at_).starts_with("::=")) fail_here("expected ::= after a rule's name");
      at_ += 3;
      skip(true);
      std::vector<Sequence> alternatives = read_alternatives(0);
      if (at_ < text_.size() && peek() != '\n' && peek() != '\r')
        fail_here("expected an item of the rule, | or the end of the line");
      skip(true);
      const auto [known, is_new] = rules.try_emplace(name, Definition{where, {}});
      if (!is_new) fail_at(where, fmt::format("the rule {} is there twice", name));
      known->second.alternatives = std::move(alternatives);
    }
    return rules;
  }

 private:
  [[noreturn]] void fail_here(const std::string& message) const {
    std::string found = "the end";
    if (at_ < text_.size()) {
      const size_t length = std::max<size_t>(1, text::decode_character(text_, at_).length);
      found = peek() == '\n' ? "a new line"
                             : fmt::format("`{}`", text::to_valid_utf8(text_.substr(at_, length)));
    }
    fail_at(at_, fmt::format("{}, found {}", message, found));
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  // Blanks and comments; a new line ends a rule unless it stands in parentheses.
  void skip(bool new_lines) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        while (at_ < text_.size() && text_[at_] != '\n' && text_[at_] != '\r') ++at_;
      } else if (c == ' ' || c == '\t' || (new_lines && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::string read_name() {
    const size_t begin = at_;
    while (is_of_name(peek())) ++at_;
    if (at_ == begin) fail_here("expected a rule's name (letters, digits and -)");
    return std::string(text_.substr(begin, at_ - begin));
  }

  uint32_t read_number() {
    if (!is_digit(peek())) fail_here("expected a number");
    const size_t where = at_;
    uint64_t n = 0;
    while (is_digit(peek()))
      n = std::min<uint64_t>(n * 10 + static_cast<uint64_t>(text_[at_++] - '0'), kMaxTimes + 1);
    if (n > kMaxTimes) fail_at(where, fmt::format("more than {} times", kMaxTimes));
    return static_cast<uint32_t>(n);
  }

  uint32_t read_char() {
    if (at_ >= text_.size()) fail_here("expected a character");
    if (peek() != '\\') {
      const auto found = text::decode_character(text_, at_);
      if (found.length == 0) fail_at(at_, "this is no valid UTF-8");
      at_ += found.length;
      return found.code;
    }
    const size_t where = at_++;
    const char escape = peek();
    if (at_ < text_.size()) ++at_;
    switch (escape) {
      case 't':
        return '\t';
      case 'r':
        return '\r';
      case 'n':
        return '\n';
      case 'x':
        return read_hex(where, 2);
      case 'u':
        return read_hex(where, 4);
      case 'U':
        return read_hex(where, 8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<uint8_t>(escape);
      default:
        fail_at(where, R"(unknown escape, expected one of \x \u \U \t \r \n \\ \" \[ \] \- \^)");
    }
  }

  uint32_t read_hex(size_t where, int digits) {
    uint32_t c = 0;
    for (int i = 0; i < digits; ++i) {
      const char digit = peek();
      const int value = is_digit(digit)                ? digit - '0'
                        : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                        : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                       : -1;
      if (value < 0) fail_here(fmt::format("expected {} hexadecimal digits", digits));
      c = c << 4 | static_cast<uint32_t>(value);
      ++at_;
    }
    if (c > kLastChar || (c >= 0xd800 && c <= 0xdfff))
      fail_at(where, fmt::format("U+{:04X} is no character", c));
    return c;
  }

  std::vector<Sequence> read_alternatives(int nesting) {
    if (nesting > kMaxNesting) fail_here(fmt::format("more than {} nested groups", kMaxNesting));
    std::vector<Sequence> alternatives;
    alternatives.push_back(read_sequence(nesting));
    while (take('|')) {
      skip(true);
      alternatives.push_back(read_sequence(nesting));
    }
    return alternatives;
  }

  Sequence read_sequence(int nesting) {
    const bool nested = nesting > 0;
    Sequence items;
    for (;; skip(nested)) {
      const size_t where = at_;
      if (take('"')) {
        items.push_back(read_literal());
      } else if (take('[')) {
        items.push_back(read_class());
      } else if (take('.')) {
        items.push_back({Item::Kind::kChars, {}, where, every_char(), {}});
      } else if (take('(')) {
        skip(true);
        Item group{Item::Kind::kGroup, {}, where, {}, read_alternatives(nesting + 1)};
        if (!take(')')) fail_here("expected ) or an item");
        items.push_back(std::move(group));
      } else if (is_of_name(peek())) {
        items.push_back({Item::Kind::kRule, read_name(), where, {}, {}});
      } else if (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') {
        repeat(items, nesting);
      } else if (peek() == '<' || peek() == '!') {
        fail_here("tokens by name or number (<token>, <[id]>) are not supported here");
      } else {
        return items;
      }
    }
  }

  Item read_literal() {
    Item item{Item::Kind::kLiteral, {}, at_, {}, {}};
    while (!take('"')) {
      if (at_ >= text_.size()) fail_here("expected \"");
      text::append_utf8(read_char(), item.text);
    }
    return item;
  }

  Item read_class() {
    const size_t where = at_;
    const bool negated = take('^');
    std::vector<CharRange> ranges;
    while (!take(']')) {
      if (at_ >= text_.size()) fail_here("expected ]");
      const size_t begin = at_;
      CharRange range{read_char(), 0};
      range.last = range.first;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        range.last = read_char();
        if (range.last < range.first) fail_at(begin, "a range that ends before it begins");
      }
      ranges.push_back(range);
    }
    CharSet set = normalized(std::move(ranges));
    return {Item::Kind::kChars, {}, where, negated ? complement(set) : set, {}};
  }

  void repeat(Sequence& items, int nesting) {
    const bool nested = nesting > 0;
    if (items.empty()) fail_here("expected an item to repeat");
    // Each repetition wraps the ones before.
    if (++repeats_ > 100'000) fail_here("too many repetitions");
    Item item{Item::Kind::kRepeat, {}, at_, {}, {}};
    if (take('*')) {
      item.most = Item::kNoMost;
    } else if (take('+')) {
      item.least = 1;
      item.most = Item::kNoMost;
    } else if (take('?')) {
      item.most = 1;
    } else {
      take('{');
      skip(nested);
      item.least = item.most = read_number();
      skip(nested);
      if (take(',')) {
        skip(nested);
        item.most = is_digit(peek()) ? read_number() : Item::kNoMost;
        skip(nested);
      }
      if (!take('}')) fail_here("expected }");
      if (item.most < item.least) fail_at(item.where, "more times at least than at most");
    }
    // "" ? + * * ... would nest without end.
    int depth = 1;
    for (const Item* i = &items.back(); i->kind == Item::Kind::kRepeat; ++depth)
      i = &i->alternatives[0][0];
    if (depth + nesting > kMaxNesting) fail_here("too many repetitions of repetitions");
    Sequence one;
    one.push_back(std::move(items.back()));
    item.alternatives.push_back(std::move(one));
    items.back() = std::move(item);
  }

  std::string_view text_;
  size_t at_ = 0;
  int repeats_ = 0;
};

class Compiler {
 public:
  Compiler(const Parser& parser, const std::map<std::string, Definition>& rules)
      : parser_(parser), rules_(rules) {}

  std::shared_ptr<const Grammar> compile() {
    const auto root = rules_.find("root");
    if (root == rules_.end()) fail("there is no rule called root, where a text begins");
    for (const auto& [name, definition] : rules_) numbers_[name] = add_rule(definition.where);
    for (const auto& [name, definition] : rules_) {
      const uint32_t rule = numbers_[name];
      add(definition.alternatives, builder_.start(rule), builder_.end(rule));
    }
    if (const auto rule = builder_.left_recursive())
      parser_.fail_at(where_[*rule],
                      fmt::format("the rule{} begins with itself (left recursion); write it as a "
                                  "repetition, or with the recursion at its end",
                                  name_of(*rule)));
    auto grammar = builder_.build(numbers_["root"]);
    if (grammar == nullptr)
      parser_.fail_at(root->second.where, "the rule root can never be brought to an end");
    return grammar;
  }

 private:
  std::string name_of(uint32_t rule) const {
    for (const auto& [name, number] : numbers_)
      if (number == rule) return " " + name;
    return "";  // of a group
  }

  uint32_t add_rule(size_t where) {
    where_.push_back(where);
    return builder_.add_rule();
  }

  void add(const std::vector<Sequence>& alternatives, uint32_t from, uint32_t to) {
    for (const Sequence& items : alternatives) {
      uint32_t at = from;
      for (const Item& item : items) {
        const uint32_t next = builder_.state();
        add(item, at, next);
        at = next;
      }
      builder_.free(at, to);
    }
  }

  void add(const Item& item, uint32_t from, uint32_t to) {
    switch (item.kind) {
      case Item::Kind::kLiteral:
        return builder_.literal(from, item.text, to);
      case Item::Kind::kChars:
        return builder_.chars(from, item.set, to);
      case Item::Kind::kRule: {
        const auto rule = numbers_.find(item.text);
        if (rule == numbers_.end())
          parser_.fail_at(item.where, fmt::format("there is no rule called {}", item.text));
        return builder_.call(from, rule->second, to);
      }
      case Item::Kind::kGroup:
        return add(item.alternatives, from, to);
      case Item::Kind::kRepeat:
        return add_repeat(item, from, to);
    }
  }

  void add_repeat(const Item& item, uint32_t from, uint32_t to) {
    const Item& body = item.alternatives[0][0];
    const bool unlimited = item.most == Item::kNoMost;
    const uint32_t copies = unlimited ? item.least + 1 : item.most;
    // What is copied often, and is more than a few states, becomes a rule.
    const bool is_small = body.kind == Item::Kind::kRule ||
                          (body.kind == Item::Kind::kLiteral && body.text.size() <= 4) ||
                          (body.kind == Item::Kind::kChars && body.set.size() <= 4 &&
                           (body.set.empty() || body.set.back().last < 0x80));
    uint32_t rule = 0;
    const bool called = !is_small && copies > 1;
    if (called) {
      rule = add_rule(body.where);
      add(body, builder_.start(rule), builder_.end(rule));
    }
    const auto once = [&](uint32_t a, uint32_t b) {
      if (called)
        builder_.call(a, rule, b);
      else
        add(body, a, b);
    };
    uint32_t at = from;
    for (uint32_t i = 0; i < item.least; ++i) {
      const uint32_t next = builder_.state();
      once(at, next);
      at = next;
    }
    if (unlimited) {
      const uint32_t loop = builder_.state();
      const uint32_t done = builder_.state();
      builder_.free(at, loop);
      once(loop, done);
      builder_.free(done, loop);
      builder_.free(loop, to);
      return;
    }
    for (uint32_t i = item.least; i < item.most; ++i) {
      builder_.free(at, to);
      const uint32_t next = builder_.state();
      once(at, next);
      at = next;
    }
    builder_.free(at, to);
  }

  const Parser& parser_;
  const std::map<std::string, Definition>& rules_;
  Builder builder_;
  std::map<std::string, uint32_t> numbers_;
  std::vector<size_t> where_;  // by rule
};

}  // namespace

std::shared_ptr<const Grammar> parse_gbnf(std::string_view text) {
  Parser parser(text);
  const std::map<std::string, Definition> rules = parser.parse();
  return Compiler(parser, rules).compile();
}

}  // namespace outboard::grammar
