// Integers of any size, for Python's arithmetic. Internal to the Jinja engine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace outboard::text::jinja {

// Sign and magnitude; results of more than 65536 bits are errors.
class BigInt {
 public:
  explicit BigInt(int64_t value = 0);
  // The whole part of a finite number.
  static BigInt from_double(double number);
  static BigInt from_unsigned(uint64_t value);
  // digits: of the base (2 to 36), at least one. Throws Error for more than Python reads (4300).
  static BigInt parse(std::string_view digits, int base);

  bool fits() const;      // into 64 bits
  int64_t small() const;  // if it fits
  double number() const;  // the nearest; infinite if it is too large
  // Throws Error for more decimal digits than Python prints (4300).
  std::string text(int base = 10) const;
  bool negative() const { return negative_; }
  bool zero() const { return parts_.empty(); }
  size_t size() const { return parts_.size(); }  // in 32-bit parts

  BigInt operator-() const;
  static BigInt add(const BigInt& a, const BigInt& b);
  static BigInt multiply(const BigInt& a, const BigInt& b);
  // Rounded down, and the remainder of the divisor's sign. The divisor is not zero.
  static std::pair<BigInt, BigInt> divide(const BigInt& a, const BigInt& divisor);
  // a / b, correctly rounded.
  static double quotient(const BigInt& a, const BigInt& divisor);
  static int compare(const BigInt& a, const BigInt& b);

 private:
  static int compare_magnitudes(const BigInt& a, const BigInt& b);
  static void subtract_magnitude(BigInt& from, const BigInt& less);
  void trim();
  uint32_t divide_small(uint32_t divisor);  // in place; returns the remainder
  void multiply_add(uint32_t factor, uint32_t more);

  bool negative_ = false;
  std::vector<uint32_t> parts_;  // the least significant first, no zeros at the end
};

}  // namespace outboard::text::jinja
