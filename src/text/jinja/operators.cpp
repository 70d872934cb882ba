// Python's arithmetic.
#include <cmath>
#include <limits>

#include "support/error.h"
#include "text/jinja/interpreter.h"

namespace outboard::text::jinja {
namespace {

[[noreturn]] void unsupported(std::string_view sign, const Value& a, const Value& b) {
  if (a.is_undefined()) throw Error(a.undefined_message());
  if (b.is_undefined()) throw Error(b.undefined_message());
  fail("unsupported operand type(s) for {}: '{}' and '{}'", sign, a.type_name(), b.type_name());
}

Value big_integers(Interpreter& interpreter, std::string_view sign, const BigInt& a,
                   const BigInt& b) {
  interpreter.spend_steps(a.size() * b.size() / 4);
  if (sign == "+") return Value(BigInt::add(a, b));
  if (sign == "-") return Value(BigInt::add(a, -b));
  if (sign == "*") return Value(BigInt::multiply(a, b));
  if (sign == "**") {
    if (b.negative()) return Value(std::pow(Value(a).number(), Value(b).number()));
    // Python's results may be too large for any memory; these are too large for BigInt.
    if (!b.fits()) {
      if (a.zero() || (a.fits() && a.small() == 1)) return Value(a);
      if (a.fits() && a.small() == -1)
        return Value(BigInt::divide(b, BigInt(2)).second.zero() ? int64_t{1} : int64_t{-1});
      fail("the power of an integer is too large");
    }
    BigInt result(1);
    BigInt base = a;
    for (int64_t rest = b.small(); rest > 0; rest >>= 1) {
      interpreter.spend_steps(base.size() * base.size() / 4);
      if ((rest & 1) != 0) result = BigInt::multiply(result, base);
      if (rest > 1) base = BigInt::multiply(base, base);
    }
    return Value(result);
  }
  if (b.zero()) fail("division by zero");
  interpreter.spend_steps((a.size() + b.size()) * (a.size() + b.size()) * 8);
  if (sign == "/") {
    const double quotient = BigInt::quotient(a, b);
    if (std::isinf(quotient)) fail("integer division result too large for a float");
    return Value(quotient);
  }
  const auto [quotient, remainder] = BigInt::divide(a, b);
  return Value(sign == "//" ? quotient : remainder);
}

Value integers(Interpreter& interpreter, std::string_view sign, int64_t a, int64_t b) {
  const auto large = [&] { return big_integers(interpreter, sign, BigInt(a), BigInt(b)); };
  int64_t result = 0;
  if (sign == "+") {
    if (__builtin_add_overflow(a, b, &result)) return large();
  } else if (sign == "-") {
    if (__builtin_sub_overflow(a, b, &result)) return large();
  } else if (sign == "*") {
    if (__builtin_mul_overflow(a, b, &result)) return large();
  } else if (sign == "**") {
    if (a == 0 && b < 0) fail("0.0 cannot be raised to a negative power");
    if (b < 0) return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
    result = 1;
    int64_t base = a;
    for (int64_t rest = b; rest > 0; rest >>= 1) {
      if ((rest & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return large();
      if (rest > 1 && __builtin_mul_overflow(base, base, &base)) return large();
    }
  } else {
    if (b == 0) fail("division by zero");
    if (sign == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
    if (b == -1) {  // the one division that can overflow
      if (sign == "%") return Value(int64_t{0});
      if (a == std::numeric_limits<int64_t>::min()) return large();
      return Value(-a);
    }
    // Python rounds down and gives the remainder the divisor's sign.
    const int64_t quotient = a / b;
    const int64_t remainder = a % b;
    const bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
    result = sign == "//" ? quotient - (adjust ? 1 : 0) : remainder + (adjust ? b : 0);
  }
  return Value(result);
}

Value floats(std::string_view sign, double a, double b) {
  if (sign == "+") return Value(a + b);
  if (sign == "-") return Value(a - b);
  if (sign == "*") return Value(a * b);
  if (sign == "**") {
    if (a == 0 && b < 0) fail("0.0 cannot be raised to a negative power");
    if (a < 0 && b != std::floor(b))
      fail("a negative number to the power of a fraction is complex");
    const double power = std::pow(a, b);
    if (std::isinf(power) && std::isfinite(a) && std::isfinite(b)) fail("the power is too large");
    return Value(power);
  }
  if (b == 0) fail("float division by zero");
  if (sign == "/") return Value(a / b);
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
  if (sign == "%") return Value(remainder == 0 ? std::copysign(0.0, b) : remainder);
  const double quotient = (a - remainder) / b;
  return Value(quotient == 0 ? std::copysign(0.0, a / b) : std::round(quotient));
}

Value repeat(Interpreter& interpreter, const Value& sequence, int64_t times) {
  const auto count = static_cast<uint64_t>(std::max<int64_t>(0, times));
  const auto size = sequence.is_string() ? sequence.string().size() : sequence.list().items.size();
  if (size != 0 && count > std::numeric_limits<uint32_t>::max() / size)
    fail("a repetition of {} items is too long", size);
  if (sequence.is_string()) {
    interpreter.spend_bytes(count * size);
    TracedText text;
    for (uint64_t i = 0; size != 0 && i < count; ++i) text.append(sequence.text());
    return Value(std::move(text), sequence.is_markup());
  }
  interpreter.spend_steps(count * size);
  Values items;
  for (uint64_t i = 0; size != 0 && i < count; ++i)
    items.insert(items.end(), sequence.list().items.begin(), sequence.list().items.end());
  return make_list(std::move(items), sequence.list().kind);
}

}  // namespace

Value apply_operator(Interpreter& interpreter, std::string_view sign, const Value& a,
                     const Value& b) {
  if (sign == "~") {
    TracedText text = to_text(a);
    text.append(to_text(b));
    interpreter.spend_bytes(text.size());
    return Value(std::move(text));
  }
  if (a.is_integral() && b.is_integral()) {
    if (a.is_big() || b.is_big()) return big_integers(interpreter, sign, a.big(), b.big());
    return integers(interpreter, sign, a.integer(), b.integer());
  }
  if (a.is_number() && b.is_number()) return floats(sign, a.number(), b.number());
  if (sign == "+" && a.is_string() && b.is_string()) {
    const bool markup = a.is_markup() || b.is_markup();
    TracedText text = (markup ? escaped(interpreter, a) : a).text();
    text.append((markup ? escaped(interpreter, b) : b).text());
    interpreter.spend_bytes(text.size());
    return Value(std::move(text), markup);
  }
  if (sign == "+" && a.is_list() && b.is_list() && a.list().kind == b.list().kind &&
      a.list().has_positions()) {
    interpreter.spend_steps(a.list().items.size() + b.list().items.size());
    Values items = a.list().items;
    items.insert(items.end(), b.list().items.begin(), b.list().items.end());
    return make_list(std::move(items), a.list().kind);
  }
  const auto repeatable = [](const Value& value) {
    return value.is_string() || (value.is_list() && value.list().has_positions());
  };
  if (sign == "*" && repeatable(a) && b.is_integral()) return repeat(interpreter, a, b.integer());
  if (sign == "*" && repeatable(b) && a.is_integral()) return repeat(interpreter, b, a.integer());
  if (sign == "%" && a.is_string()) return format_percent(interpreter, a, b);
  unsupported(sign, a, b);
}

}  // namespace outboard::text::jinja
