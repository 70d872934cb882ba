#include "grammar/number_dfa.h"

#include <algorithm>
#include <map>

#include "support/error.h"

namespace outboard::grammar {
namespace {

constexpr int kMaxExponent = 400;  // beyond any double

void trim(Decimal& d) {
  d.whole.erase(0, std::min(d.whole.find_first_not_of('0'), d.whole.size()));
  if (d.whole.empty()) d.whole = "0";
  while (d.fraction.ends_with('0')) d.fraction.pop_back();
  if (d.is_zero()) d.negative = false;
}

int compare_sizes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int order = a.whole.compare(b.whole)) return order;
  return a.fraction.compare(b.fraction);
}

// factor = units / 10^places.
struct Factor {
  uint64_t units;
  size_t places;
};
Factor factor_of(const Decimal& d) {
  const std::string digits = d.whole + d.fraction;
  if (digits.size() > 9 || d.fraction.size() > kFractionDigits)
    fail("a factor of more than 9 digits");
  return {std::stoull(digits), d.fraction.size()};
}

void digit(CharNfa& nfa, uint32_t from, int first, int last, uint32_t to) {
  if (first <= last)
    nfa.chars(from, {{static_cast<uint32_t>('0' + first), static_cast<uint32_t>('0' + last)}}, to);
}

// Sizes (numbers without sign) from low to high, written digit by digit beside the bounds': as long
// as all digits are a bound's own, the next may not pass the bound's.
class Sizes {
 public:
  Sizes(CharNfa& nfa, Bound low, std::optional<Bound> high, bool integers)
      : nfa_(nfa),
        low_(std::move(low)),
        has_high_(high.has_value()),
        high_(std::move(high).value_or(Bound{})),
        integers_(integers) {}

  void add(uint32_t from) {
    const size_t most =
        has_high_ ? high_.value.whole.size() : std::max(kWholeDigits, low_.value.whole.size());
    for (size_t length = low_.value.whole.size(); length <= most; ++length) {
      length_ = length;
      states_.clear();
      whole(from, 0, length == low_.value.whole.size(),
            has_high_ && length == high_.value.whole.size());
    }
  }

 private:
  // At digit `at`; whether all before were the bounds' own.
  void whole(uint32_t from, size_t at, bool at_low, bool at_high) {
    if (at == length_) return after_whole(from, at_low, at_high);
    const int least = at_low ? low_.value.whole[at] - '0' : (at == 0 && length_ > 1 ? 1 : 0);
    const int most = at_high ? high_.value.whole[at] - '0' : 9;
    each(from, at, least, most, at_low, at_high,
         [&](uint32_t to, bool low, bool high) { whole(to, at + 1, low, high); });
  }

  void after_whole(uint32_t at, bool at_low, bool at_high) {
    accept(at, at_low, at_high, 0);
    if (integers_) return;
    const uint32_t point = nfa_.add();
    nfa_.chars(at, {{'.', '.'}}, point);
    fraction(point, 0, at_low, at_high);
  }

  void fraction(uint32_t from, size_t at, bool at_low, bool at_high) {
    const size_t places = std::max({kFractionDigits, low_.value.fraction.size() + 1,
                                    has_high_ ? high_.value.fraction.size() + 1 : 0});
    if (at > 0) accept(from, at_low, at_high, at);
    if (at == places) return;
    const auto own = [&](const Bound& bound) {
      return at < bound.value.fraction.size() ? bound.value.fraction[at] - '0' : 0;
    };
    const int least = at_low ? own(low_) : 0;
    const int most = at_high ? own(high_) : 9;
    each(from, length_ + 1 + at, least, most, at_low, at_high,
         [&](uint32_t to, bool low, bool high) { fraction(to, at + 1, low, high); });
  }

  // The number may end here, with so many digits behind the point.
  void accept(uint32_t at, bool at_low, bool at_high, size_t places) {
    if (at_low && (places < low_.value.fraction.size() || low_.excluded)) return;
    if (at_high && places >= high_.value.fraction.size() && high_.excluded) return;
    nfa_.free(at, nfa_.end);
  }

  // Digits least to most, where those equal to a bound's stay at it; go(state, at_low, at_high).
  template <typename Go>
  void each(uint32_t from, size_t at, int least, int most, bool at_low, bool at_high, Go go) {
    const auto step = [&](int first, int last, bool low, bool high) {
      if (first > last) return;
      // The rest of a number is the same for all that come here.
      const auto [known, is_new] = states_.try_emplace({at + 1, low, high}, 0);
      if (is_new) known->second = nfa_.add();
      digit(nfa_, from, first, last, known->second);
      const uint32_t to = known->second;
      if (is_new) go(to, low, high);
    };
    if (at_low && at_high && least == most) return step(least, most, true, true);
    if (at_low) step(least, least, true, false);
    if (at_high && most >= least) step(most, most, false, true);
    step(least + (at_low ? 1 : 0), most - (at_high ? 1 : 0), false, false);
  }

  CharNfa& nfa_;
  Bound low_;
  bool has_high_;
  Bound high_;
  bool integers_;
  size_t length_ = 0;
  std::map<std::tuple<size_t, bool, bool>, uint32_t> states_;
};

const CharDfa& few_digits() {
  static const CharDfa kFew = [] {
    constexpr uint32_t kMost = 15;
    CharDfa dfa;
    for (uint32_t n = 0; n <= kMost; ++n) {
      CharDfa::State state;
      state.edges.push_back({{'-', '.'}, n});
      if (n < kMost) state.edges.push_back({{'0', '9'}, n + 1});
      state.accepts = true;
      dfa.states.push_back(std::move(state));
    }
    return dfa;
  }();
  return kFew;
}

}  // namespace

Decimal decimal_of(const nlohmann::ordered_json& number) {
  const std::string text = number.dump();
  Decimal d;
  size_t at = 0;
  if (text[at] == '-') {
    d.negative = true;
    ++at;
  }
  const auto read = [&](std::string& digits) {
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') digits += text[at++];
  };
  read(d.whole);
  if (at < text.size() && text[at] == '.') {
    ++at;
    read(d.fraction);
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    int exponent = std::stoi(text.substr(at + 1));
    if (std::abs(exponent) > kMaxExponent) fail("the number {} has too many digits", text);
    for (; exponent > 0; --exponent) {
      d.whole += d.fraction.empty() ? '0' : d.fraction[0];
      if (!d.fraction.empty()) d.fraction.erase(0, 1);
    }
    for (; exponent < 0; ++exponent) {
      d.fraction.insert(d.fraction.begin(), d.whole.empty() ? '0' : d.whole.back());
      if (!d.whole.empty()) d.whole.pop_back();
    }
  }
  trim(d);
  return d;
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  return a.negative ? compare_sizes(b, a) : compare_sizes(a, b);
}

bool is_multiple(const Decimal& number, const Decimal& factor) {
  const Factor f = factor_of(factor);
  if (number.fraction.size() > f.places) return false;
  std::string digits = number.whole + number.fraction;
  digits.append(f.places - number.fraction.size(), '0');
  uint64_t rest = 0;
  for (const char c : digits) rest = (rest * 10 + static_cast<uint64_t>(c - '0')) % f.units;
  return rest == 0;
}

CharDfa numbers_between(const std::optional<Bound>& low, const std::optional<Bound>& high,
                        bool integers) {
  if (low && high && compare(low->value, high->value) > 0) return {};
  CharNfa nfa;
  nfa.start = nfa.add();
  nfa.end = nfa.add();
  const Bound zero{decimal_of(0), false};
  const Bound above_zero{decimal_of(0), true};
  const auto size_of = [](Bound bound) {
    bound.value.negative = false;
    return bound;
  };
  if (!high || !high->value.negative)
    Sizes(nfa, low && !low->value.negative ? *low : zero, high, integers).add(nfa.start);
  if (!low || low->value.negative) {
    const uint32_t minus = nfa.add();
    nfa.chars(nfa.start, {{'-', '-'}}, minus);
    Sizes(nfa, high && high->value.negative ? size_of(*high) : above_zero,
          low ? std::optional(size_of(*low)) : std::nullopt, integers)
        .add(minus);
  }
  CharDfa all = determinized(nfa);
  if (integers) return all;
  CharDfa shorter = intersection(all, few_digits());
  return shorter.is_empty() ? all : shorter;
}

// The remainder of all digits so far, taken as one integer, and how many stand behind the point.
CharDfa multiples_of(const Decimal& factor) {
  const Factor f = factor_of(factor);
  CharDfa dfa;
  if (f.units * (f.places + 2) > CharDfa::kMaxStates)
    fail("a factor that takes more than {} states", CharDfa::kMaxStates);
  struct Place {
    uint64_t rest;
    size_t places;  // behind the point; more than f.places: only zeros follow
    bool digits;    // at least one since the sign or the point
    bool point;
    auto operator<=>(const Place&) const = default;
  };
  std::map<Place, uint32_t> numbers;
  std::vector<Place> order;
  const auto number = [&](const Place& place) {
    const auto [at, is_new] = numbers.try_emplace(place, static_cast<uint32_t>(order.size() + 1));
    if (is_new) order.push_back(place);
    return at->second;
  };
  CharDfa::State start;
  const uint32_t first = number({0, 0, false, false});
  start.edges.push_back({{'-', '-'}, first});
  dfa.states.push_back(start);
  for (size_t i = 0; i < order.size(); ++i) {
    const Place p = order[i];
    CharDfa::State state;
    uint64_t whole = p.rest;
    for (size_t k = p.places; k < f.places; ++k) whole = whole * 10 % f.units;
    state.accepts = p.digits && whole == 0;
    if (p.digits && !p.point) state.edges.push_back({{'.', '.'}, number({p.rest, 0, false, true})});
    for (uint32_t d = 0; d < 10; ++d) {
      if (p.point && p.places >= f.places && d > 0) break;
      Place to{p.rest, p.places, true, p.point};
      if (!p.point || p.places < f.places) to.rest = (p.rest * 10 + d) % f.units;
      if (p.point && p.places < f.places) ++to.places;
      state.edges.push_back({{'0' + d, '0' + d}, number(to)});
    }
    dfa.states.push_back(std::move(state));
  }
  // What may stand without a sign.
  for (const CharDfa::Edge& e : dfa.states[first].edges) dfa.states[0].edges.push_back(e);
  return trimmed(std::move(dfa));
}

}  // namespace outboard::grammar
