#include "text/jinja/big_int.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "support/error.h"

namespace outboard::text::jinja {
namespace {

constexpr size_t kMostParts = 2048;
constexpr size_t kMostDigits = 4300;  // sys.int_info.default_max_str_digits

[[noreturn]] void too_many_digits() { fail("an integer of more than {} digits", kMostDigits); }

uint32_t low(uint64_t value) { return static_cast<uint32_t>(value & 0xFFFFFFFFu); }

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return (c | 0x20) - 'a' + 10;
}

}  // namespace

BigInt::BigInt(int64_t value) : negative_(value < 0) {
  // Unsigned, since the least value has no positive twin.
  for (uint64_t rest = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
       rest != 0; rest >>= 32)
    parts_.push_back(low(rest));
}

BigInt BigInt::from_unsigned(uint64_t value) {
  BigInt made;
  for (; value != 0; value >>= 32) made.parts_.push_back(low(value));
  return made;
}

BigInt BigInt::from_double(double number) {
  int exponent = 0;
  const double fraction = std::frexp(std::trunc(number), &exponent);
  // 53 bits and zeros behind them.
  if (exponent <= 53) return BigInt(static_cast<int64_t>(std::trunc(number)));
  BigInt made(static_cast<int64_t>(std::ldexp(fraction, 53)));
  for (int i = 53; i < exponent; ++i) made.multiply_add(2, 0);
  return made;
}

BigInt BigInt::parse(std::string_view digits, int base) {
  const bool power_of_two = (base & (base - 1)) == 0;
  if (digits.size() > kMostDigits && !power_of_two) too_many_digits();
  BigInt made;
  for (const char c : digits)
    made.multiply_add(static_cast<uint32_t>(base), static_cast<uint32_t>(digit_of(c)));
  return made;
}

bool BigInt::fits() const {
  if (parts_.size() > 2) return false;
  if (parts_.size() < 2) return true;
  const uint64_t magnitude = uint64_t{parts_[1]} << 32 | parts_[0];
  return magnitude <= uint64_t{1} << 63 && (negative_ || magnitude < uint64_t{1} << 63);
}

int64_t BigInt::small() const {
  uint64_t magnitude = 0;
  for (size_t i = parts_.size(); i-- > 0;) magnitude = magnitude << 32 | parts_[i];
  return static_cast<int64_t>(negative_ ? 0 - magnitude : magnitude);
}

double BigInt::number() const {
  // Through decimal text, which the library rounds correctly.
  if (parts_.size() > 33) return negative_ ? -HUGE_VAL : HUGE_VAL;
  return std::strtod(text().c_str(), nullptr);
}

std::string BigInt::text(int base) const {
  if (zero()) return "0";
  std::string digits;
  BigInt rest = *this;
  while (!rest.zero()) {
    if (base != 10) {
      digits.push_back(
          "0123456789abcdefghijklmnopqrstuvwxyz"[rest.divide_small(static_cast<uint32_t>(base))]);
      continue;
    }
    uint32_t nine = rest.divide_small(1'000'000'000);
    for (int i = 0; i < 9 && (nine != 0 || !rest.zero()); ++i, nine /= 10)
      digits.push_back(static_cast<char>('0' + nine % 10));
    if (digits.size() > kMostDigits) too_many_digits();
  }
  if (negative_) digits.push_back('-');
  std::reverse(digits.begin(), digits.end());
  return digits;
}

BigInt BigInt::operator-() const {
  BigInt made = *this;
  made.negative_ = !negative_ && !zero();
  return made;
}

int BigInt::compare_magnitudes(const BigInt& a, const BigInt& b) {
  if (a.parts_.size() != b.parts_.size()) return a.parts_.size() < b.parts_.size() ? -1 : 1;
  for (size_t i = a.parts_.size(); i-- > 0;)
    if (a.parts_[i] != b.parts_[i]) return a.parts_[i] < b.parts_[i] ? -1 : 1;
  return 0;
}

int BigInt::compare(const BigInt& a, const BigInt& b) {
  if (a.negative_ != b.negative_) return a.negative_ ? -1 : 1;
  const int order = compare_magnitudes(a, b);
  return a.negative_ ? -order : order;
}

void BigInt::trim() {
  while (!parts_.empty() && parts_.back() == 0) parts_.pop_back();
  if (parts_.empty()) negative_ = false;
  if (parts_.size() > kMostParts) fail("an integer of more than {} bits", kMostParts * 32);
}

// from's magnitude is not the smaller one.
void BigInt::subtract_magnitude(BigInt& from, const BigInt& less) {
  uint64_t borrow = 0;
  for (size_t i = 0; i < from.parts_.size(); ++i) {
    const uint64_t take = (i < less.parts_.size() ? less.parts_[i] : 0) + borrow;
    borrow = from.parts_[i] < take ? 1 : 0;
    from.parts_[i] = low((borrow << 32) + from.parts_[i] - take);
  }
  from.trim();
}

BigInt BigInt::add(const BigInt& a, const BigInt& b) {
  const bool a_larger = compare_magnitudes(a, b) >= 0;
  BigInt sum = a_larger ? a : b;
  const BigInt& other = a_larger ? b : a;
  if (a.negative_ != b.negative_) {
    subtract_magnitude(sum, other);
    return sum;
  }
  uint64_t carry = 0;
  for (size_t i = 0; i < sum.parts_.size(); ++i) {
    carry += uint64_t{sum.parts_[i]} + (i < other.parts_.size() ? other.parts_[i] : 0);
    sum.parts_[i] = low(carry);
    carry >>= 32;
  }
  if (carry != 0) sum.parts_.push_back(low(carry));
  sum.trim();
  return sum;
}

BigInt BigInt::multiply(const BigInt& a, const BigInt& b) {
  BigInt product;
  if (a.zero() || b.zero()) return product;
  if (a.parts_.size() + b.parts_.size() > kMostParts + 1)
    fail("an integer of more than {} bits", kMostParts * 32);
  product.parts_.assign(a.parts_.size() + b.parts_.size(), 0);
  for (size_t i = 0; i < a.parts_.size(); ++i) {
    uint64_t carry = 0;
    for (size_t j = 0; j < b.parts_.size(); ++j) {
      carry += uint64_t{a.parts_[i]} * b.parts_[j] + product.parts_[i + j];
      product.parts_[i + j] = low(carry);
      carry >>= 32;
    }
    product.parts_[i + b.parts_.size()] = low(carry);
  }
  product.negative_ = a.negative_ != b.negative_;
  product.trim();
  return product;
}

std::pair<BigInt, BigInt> BigInt::divide(const BigInt& a, const BigInt& divisor) {
  // Bit by bit: numbers here are short, and simple is safe.
  BigInt quotient, remainder;
  BigInt magnitude = divisor;
  magnitude.negative_ = false;
  quotient.parts_.assign(a.parts_.size(), 0);
  for (size_t bit = a.parts_.size() * 32; bit-- > 0;) {
    remainder.multiply_add(2, (a.parts_[bit / 32] >> (bit % 32)) & 1);
    if (compare_magnitudes(remainder, magnitude) < 0) continue;
    subtract_magnitude(remainder, magnitude);
    quotient.parts_[bit / 32] |= uint32_t{1} << (bit % 32);
  }
  quotient.negative_ = a.negative_ != divisor.negative_;
  quotient.trim();
  if (remainder.zero()) return {quotient, remainder};
  remainder.negative_ = a.negative_;
  if (a.negative_ == divisor.negative_) return {quotient, remainder};
  return {add(quotient, BigInt(-1)), add(remainder, divisor)};
}

double BigInt::quotient(const BigInt& a, const BigInt& divisor) {
  // At least 64 bits of the quotient, and one more that says whether something is left.
  const auto shift = static_cast<size_t>(std::max<int64_t>(
      0, static_cast<int64_t>(divisor.size()) - static_cast<int64_t>(a.size()) + 4));
  BigInt scaled = a;
  scaled.negative_ = false;
  scaled.parts_.insert(scaled.parts_.begin(), shift, 0);
  scaled.trim();
  BigInt magnitude = divisor;
  magnitude.negative_ = false;
  auto [whole, rest] = divide(scaled, magnitude);
  whole.multiply_add(2, rest.zero() ? 0 : 1);
  const double result = std::ldexp(whole.number(), -static_cast<int>(shift * 32 + 1));
  return a.negative_ != divisor.negative_ ? -result : result;
}

uint32_t BigInt::divide_small(uint32_t divisor) {
  uint64_t rest = 0;
  for (size_t i = parts_.size(); i-- > 0;) {
    rest = rest << 32 | parts_[i];
    parts_[i] = low(rest / divisor);
    rest %= divisor;
  }
  trim();
  return low(rest);
}

void BigInt::multiply_add(uint32_t factor, uint32_t more) {
  uint64_t carry = more;
  for (uint32_t& part : parts_) {
    carry += uint64_t{part} * factor;
    part = low(carry);
    carry >>= 32;
  }
  if (carry != 0) parts_.push_back(low(carry));
  trim();
}

}  // namespace outboard::text::jinja
