// How numbers between bounds are written.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "grammar/char_dfa.h"

namespace outboard::grammar {

// A number as written, exactly.
struct Decimal {
  bool negative = false;  // never of zero
  std::string whole;      // digits without leading zeros; zero: "0"
  std::string fraction;   // digits without trailing zeros

  bool is_integer() const { return fraction.empty(); }
  bool is_zero() const { return whole == "0" && fraction.empty(); }
};
// Of a JSON number. Throws Error for more than a few hundred digits.
Decimal decimal_of(const nlohmann::ordered_json& number);
// Below 0, 0 or above 0, as a is less, equal or more.
int compare(const Decimal& a, const Decimal& b);
// Whether number = n * factor with an integer n; factor > 0. Throws Error where factor has too many
// digits.
bool is_multiple(const Decimal& number, const Decimal& factor);

struct Bound {
  Decimal value;
  bool excluded = false;
};

// Of numbers that could go on for ever. Readers that take numbers as doubles keep 15 digits apart.
constexpr size_t kWholeDigits = 15;
constexpr size_t kFractionDigits = 15;

// Numbers from low to high in plain notation (no exponents, no -0), with at most kWholeDigits
// before the point, or as many as the bounds have; integers: nothing behind it; else 15 digits in
// all, so that none is rounded onto or over a bound, or more where no number between is so short.
CharDfa numbers_between(const std::optional<Bound>& low, const std::optional<Bound>& high,
                        bool integers);
// All numbers in plain notation that are multiples of factor > 0. Throws Error where that takes too
// many states.
CharDfa multiples_of(const Decimal& factor);

}  // namespace outboard::grammar
