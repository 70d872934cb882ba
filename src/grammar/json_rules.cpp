#include "grammar/json_rules.h"

#include "grammar/number_dfa.h"

namespace outboard::grammar {
namespace {

constexpr size_t kSpaces = 20;
constexpr size_t kTabs = 8;

// Characters that stand in a string as they are.
const CharSet& unescaped() {
  static const CharSet kSet = complement(normalized({{0, 0x1f}, {'"', '"'}, {'\\', '\\'}}));
  return kSet;
}

}  // namespace

uint32_t JsonRules::blanks() {
  if (blanks_) return *blanks_;
  blanks_ = builder_.add_rule();
  const uint32_t start = builder_.start(*blanks_);
  const uint32_t end = builder_.end(*blanks_);
  builder_.free(start, end);
  builder_.literal(start, " ", end);
  const uint32_t line = builder_.state();
  builder_.literal(start, "\n", line);
  builder_.free(line, end);
  for (const auto& [blank, most] : {std::pair(" ", kSpaces), std::pair("\t", kTabs)}) {
    uint32_t at = line;
    for (size_t i = 0; i < most; ++i) {
      const uint32_t next = builder_.state();
      builder_.literal(at, blank, next);
      builder_.free(next, end);
      at = next;
    }
  }
  return *blanks_;
}

uint32_t JsonRules::any_string() {
  if (any_string_) return *any_string_;
  any_string_ = builder_.add_rule();
  const uint32_t inside = builder_.state();
  builder_.literal(builder_.start(*any_string_), "\"", inside);
  string_char(inside, every_char(), inside);
  builder_.literal(inside, "\"", builder_.end(*any_string_));
  return *any_string_;
}

void JsonRules::digits(uint32_t from, size_t least, size_t most, uint32_t to) {
  uint32_t at = from;
  for (size_t i = 0; i < most; ++i) {
    if (i >= least) builder_.free(at, to);
    const uint32_t next = builder_.state();
    builder_.bytes(at, '0', '9', next);
    at = next;
  }
  builder_.free(at, to);
}

void JsonRules::whole(uint32_t from, uint32_t to) {
  const uint32_t unsigned_ = builder_.state();
  builder_.free(from, unsigned_);
  builder_.literal(from, "-", unsigned_);
  builder_.literal(unsigned_, "0", to);
  const uint32_t more = builder_.state();
  builder_.bytes(unsigned_, '1', '9', more);
  digits(more, 0, kWholeDigits - 1, to);
}

uint32_t JsonRules::any_integer() {
  if (any_integer_) return *any_integer_;
  any_integer_ = builder_.add_rule();
  whole(builder_.start(*any_integer_), builder_.end(*any_integer_));
  return *any_integer_;
}

uint32_t JsonRules::any_number() {
  if (any_number_) return *any_number_;
  any_number_ = builder_.add_rule();
  const uint32_t end = builder_.end(*any_number_);
  const uint32_t after_whole = builder_.state();
  whole(builder_.start(*any_number_), after_whole);
  const uint32_t after_fraction = builder_.state();
  builder_.free(after_whole, after_fraction);
  const uint32_t point = builder_.state();
  builder_.literal(after_whole, ".", point);
  digits(point, 1, kFractionDigits, after_fraction);
  builder_.free(after_fraction, end);
  const uint32_t exponent = builder_.state();
  const uint32_t sign = builder_.state();
  for (const char* e : {"e", "E"}) builder_.literal(after_fraction, e, exponent);
  builder_.free(exponent, sign);
  for (const char* s : {"+", "-"}) builder_.literal(exponent, s, sign);
  digits(sign, 1, 2, end);
  return *any_number_;
}

uint32_t JsonRules::any_value() {
  if (any_value_) return *any_value_;
  any_value_ = builder_.add_rule();
  const uint32_t from = builder_.start(*any_value_);
  const uint32_t to = builder_.end(*any_value_);
  for (const char* word : {"null", "true", "false"}) keyword(from, word, to);
  builder_.call(from, any_number(), to);
  builder_.call(from, any_string(), to);
  for (const bool object : {true, false}) {
    const uint32_t first = builder_.state();
    const uint32_t item = builder_.state();
    const uint32_t value = builder_.state();
    const uint32_t after = builder_.state();
    open(from, object ? '{' : '[', first);
    builder_.literal(first, object ? "}" : "]", to);
    builder_.free(first, item);
    if (object) {
      const uint32_t named = builder_.state();
      const uint32_t colon = builder_.state();
      builder_.call(item, any_string(), named);
      builder_.literal(named, ":", colon);
      builder_.call(colon, blanks(), value);
    } else {
      builder_.free(item, value);
    }
    builder_.call(value, *any_value_, after);
    comma(after, item);
    close(after, object ? '}' : ']', to);
  }
  return *any_value_;
}

void JsonRules::open(uint32_t from, char bracket, uint32_t to) {
  const uint32_t inside = builder_.state();
  builder_.literal(from, std::string_view(&bracket, 1), inside);
  builder_.call(inside, blanks(), to);
}

void JsonRules::close(uint32_t from, char bracket, uint32_t to) {
  const uint32_t before = builder_.state();
  builder_.call(from, blanks(), before);
  builder_.literal(before, std::string_view(&bracket, 1), to);
}

void JsonRules::comma(uint32_t from, uint32_t to) {
  const uint32_t after = builder_.state();
  builder_.literal(from, ",", after);
  builder_.call(after, blanks(), to);
}

void JsonRules::name(uint32_t from, std::string_view name, uint32_t to) {
  const uint32_t after = builder_.state();
  builder_.literal(from, nlohmann::json(name).dump() + ":", after);
  builder_.call(after, blanks(), to);
}

void JsonRules::value(uint32_t from, const nlohmann::ordered_json& value, uint32_t to) {
  if (!value.is_structured() || value.empty()) {
    if (!value.is_structured()) return builder_.literal(from, value.dump(), to);
    const uint32_t inside = builder_.state();
    open(from, value.is_object() ? '{' : '[', inside);
    return builder_.literal(inside, value.is_object() ? "}" : "]", to);
  }
  uint32_t at = builder_.state();
  open(from, value.is_object() ? '{' : '[', at);
  bool first = true;
  for (const auto& [key, item] : value.items()) {
    if (!std::exchange(first, false)) {
      const uint32_t next = builder_.state();
      comma(at, next);
      at = next;
    }
    if (value.is_object()) {
      const uint32_t named = builder_.state();
      name(at, key, named);
      at = named;
    }
    const uint32_t next = builder_.state();
    this->value(at, item, next);
    at = next;
  }
  close(at, value.is_object() ? '}' : ']', to);
}

namespace {

// The states of a CharDfa in the grammar, and its edges, those that lead to one state together.
template <typename Edge>
void copy(Builder& builder, uint32_t from, const CharDfa& dfa, uint32_t to, Edge edge) {
  std::vector<uint32_t> states(dfa.states.size());
  for (uint32_t& state : states) state = builder.state();
  if (!states.empty()) builder.free(from, states[0]);
  for (size_t i = 0; i < states.size(); ++i) {
    std::map<uint32_t, std::vector<CharRange>> sets;
    for (const CharDfa::Edge& e : dfa.states[i].edges) sets[e.target].push_back(e.range);
    for (auto& [target, ranges] : sets)
      edge(states[i], normalized(std::move(ranges)), states[target]);
    if (dfa.states[i].accepts) builder.free(states[i], to);
  }
}

std::vector<uint32_t> borders(const CharSet& set) {
  std::vector<uint32_t> all;
  for (const CharRange& r : set) all.insert(all.end(), {r.first, r.last});
  return all;
}

}  // namespace

void JsonRules::string(uint32_t from, const CharDfa& dfa, uint32_t to) {
  const uint32_t inside = builder_.state();
  const uint32_t done = builder_.state();
  builder_.literal(from, "\"", inside);
  copy(builder_, inside, dfa, done,
       [this](uint32_t a, const CharSet& set, uint32_t b) { string_char(a, set, b); });
  builder_.literal(done, "\"", to);
}

void JsonRules::plain(uint32_t from, const CharDfa& dfa, uint32_t to) {
  copy(builder_, from, dfa, to,
       [this](uint32_t a, const CharSet& set, uint32_t b) { plain_char(a, set, b); });
}

void JsonRules::plain_char(uint32_t from, const CharSet& set, uint32_t to) {
  // All but ASCII is a rule, since it takes many states, and an automaton of thousands of states
  // may ask for it in each.
  builder_.chars(from, intersection(set, {{0, 0x7f}}), to);
  const CharSet rest = intersection(set, {{0x80, kLastChar}});
  if (rest.empty()) return;
  const auto [at, is_new] = beyond_ascii_.try_emplace(borders(rest), 0);
  if (is_new) {
    at->second = builder_.add_rule();
    builder_.chars(builder_.start(at->second), rest, builder_.end(at->second));
  }
  builder_.call(from, at->second, to);
}

void JsonRules::string_char(uint32_t from, const CharSet& set, uint32_t to) {
  // Plain ASCII stands as it is; all else is a rule, since it takes many states.
  static const CharSet kPlain = intersection(unescaped(), {{0, 0x7e}});
  const CharSet rest = difference(set, kPlain);
  if (rest.empty())
    builder_.chars(from, set, to);
  else
    builder_.call(from, escaped(set), to);
}

uint32_t JsonRules::escaped(const CharSet& set) {
  const auto [at, is_new] = escaped_.try_emplace(borders(set), 0);
  if (!is_new) return at->second;
  const uint32_t rule = builder_.add_rule();
  at->second = rule;
  const uint32_t from = builder_.start(rule);
  const uint32_t to = builder_.end(rule);
  builder_.chars(from, intersection(set, unescaped()), to);
  const uint32_t backslash = builder_.state();
  builder_.literal(from, "\\", backslash);
  static constexpr std::string_view kEscapes = "\"\"\\\\//\bb\ff\nn\rr\tt";
  for (size_t i = 0; i < kEscapes.size(); i += 2)
    if (contains(set, static_cast<uint8_t>(kEscapes[i])))
      builder_.literal(backslash, kEscapes.substr(i + 1, 1), to);
  const uint32_t number = builder_.state();
  builder_.literal(backslash, "u", number);
  for (const CharRange& r : intersection(set, {{0, 0xffff}})) hex(number, r.first, r.last, 4, to);
  // Characters beyond have two numbers; they are spelled so where all of them may come.
  const CharSet beyond{{0x10000, kLastChar}};
  if (intersection(set, beyond) == beyond) {
    const uint32_t low = builder_.state();
    const uint32_t low_number = builder_.state();
    hex(number, 0xd800, 0xdbff, 4, low);
    builder_.literal(low, "\\u", low_number);
    hex(low_number, 0xdc00, 0xdfff, 4, to);
  }
  return rule;
}

// Numbers first to last in so many hexadecimal digits.
void JsonRules::hex(uint32_t from, uint32_t first, uint32_t last, int digits, uint32_t to) {
  if (digits == 1) return hex_digit(from, first, last, to);
  const int shift = 4 * (digits - 1);
  const uint32_t low = (uint32_t{1} << shift) - 1;
  const auto some = [&](uint32_t f, uint32_t l, uint32_t rest_first, uint32_t rest_last) {
    const uint32_t next = builder_.state();
    hex_digit(from, f, l, next);
    hex(next, rest_first, rest_last, digits - 1, to);
  };
  uint32_t f = first >> shift;
  uint32_t l = last >> shift;
  if (f == l) return some(f, l, first & low, last & low);
  if ((first & low) != 0) some(f, f, first & low, low), ++f;
  if ((last & low) != low) some(l, l, 0, last & low), --l;
  if (f <= l && l != ~uint32_t{0}) some(f, l, 0, low);
}

void JsonRules::hex_digit(uint32_t from, uint32_t first, uint32_t last, uint32_t to) {
  if (first <= 9)
    builder_.bytes(from, static_cast<uint8_t>('0' + first),
                   static_cast<uint8_t>('0' + std::min(last, 9U)), to);
  if (last < 10) return;
  for (const char a : {'a', 'A'})
    builder_.bytes(from, static_cast<uint8_t>(a + (std::max(first, 10U) - 10)),
                   static_cast<uint8_t>(a + (last - 10)), to);
}

}  // namespace outboard::grammar
