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

[[noreturn]] void too_large() { fail("a number is outside of 64 bits"); }

Value integers(std::string_view sign, int64_t a, int64_t b) {
  int64_t result = 0;
  if (sign == "+") {
    if (__builtin_add_overflow(a, b, &result)) too_large();
  } else if (sign == "-") {
    if (__builtin_sub_overflow(a, b, &result)) too_large();
  } else if (sign == "*") {
    if (__builtin_mul_overflow(a, b, &result)) too_large();
  } else if (sign == "**") {
    if (b < 0) return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
    result = 1;
    for (int64_t base = a; b > 0; b >>= 1) {
      if ((b & 1) != 0 && __builtin_mul_overflow(result, base, &result)) too_large();
      if (b > 1 && __builtin_mul_overflow(base, base, &base)) too_large();
    }
  } else {
    if (b == 0) fail("division by zero");
    if (sign == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
    if (b == -1) {  // the one division that can overflow
      if (sign == "%") return Value(int64_t{0});
      if (a == std::numeric_limits<int64_t>::min()) too_large();
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
  if (sign == "**") return Value(std::pow(a, b));
  if (b == 0) fail("float division by zero");
  if (sign == "/") return Value(a / b);
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
  if (sign == "%") return Value(remainder);
  return Value(std::floor(a / b));
}

Value repeat(Interpreter& interpreter, const Value& sequence, int64_t times) {
  const auto count = static_cast<uint64_t>(std::max<int64_t>(0, times));
  const auto size = sequence.is_string() ? sequence.string().size() : sequence.list().items.size();
  if (size != 0 && count > std::numeric_limits<uint32_t>::max() / size)
    fail("a repetition of {} items is too long", size);
  if (sequence.is_string()) {
    interpreter.spend_bytes(count * size);
    std::string text;
    text.reserve(count * size);
    for (uint64_t i = 0; size != 0 && i < count; ++i) text += sequence.string();
    return Value(std::move(text));
  }
  interpreter.spend_steps(count * size);
  Values items;
  for (uint64_t i = 0; size != 0 && i < count; ++i)
    items.insert(items.end(), sequence.list().items.begin(), sequence.list().items.end());
  return make_list(std::move(items), sequence.list().kind);
}

// "..." % values, with the conversions templates use.
Value format(Interpreter& interpreter, const std::string& pattern, const Value& values) {
  const bool many = values.is_list() && values.list().kind == List::Kind::kTuple;
  size_t next = 0;
  const auto argument = [&]() -> const Value& {
    if (!many && next++ == 0) return values;
    if (!many || next >= values.list().items.size()) fail("not enough arguments for format string");
    return values.list().items[next++];
  };
  std::string text;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') {
      text.push_back(pattern[i]);
      continue;
    }
    std::string spec = "%";
    ++i;
    while (i < pattern.size() &&
           std::string_view("-+ 0#.123456789").find(pattern[i]) != std::string_view::npos &&
           spec.size() < 8)
      spec.push_back(pattern[i++]);
    if (i == pattern.size()) fail("incomplete format");
    const char conversion = pattern[i];
    if (conversion == '%') {
      text.push_back('%');
      continue;
    }
    const Value& value = argument();
    char buffer[512];
    if (conversion == 's' || conversion == 'r') {
      if (spec != "%") fail("format \"{}{}\" is not supported", spec, conversion);
      text += conversion == 's' ? text_of(interpreter, value) : to_repr(value);
      continue;
    }
    int length = -1;
    if (!value.is_number())
      fail("%{} format: a number is required, not {}", conversion, value.type_name());
    // Widths have at most 7 digits and flags here; snprintf reports what would not fit.
    if (conversion == 'd' || conversion == 'i' || conversion == 'x') {
      if (value.is_float() && std::abs(value.number()) > 9e18) too_large();
      const int64_t number =
          value.is_float() ? static_cast<int64_t>(value.number()) : value.integer();
      spec += conversion == 'x' ? "llx" : "lld";
      length = std::snprintf(buffer, sizeof buffer, spec.c_str(), static_cast<long long>(number));
    } else if (conversion == 'f' || conversion == 'e' || conversion == 'g') {
      spec.push_back(conversion);
      length = std::snprintf(buffer, sizeof buffer, spec.c_str(), value.number());
    } else {
      fail("format character \"{}\" is not supported", conversion);
    }
    if (length < 0 || static_cast<size_t>(length) >= sizeof buffer)
      fail("a formatted number is too long");
    text.append(buffer, static_cast<size_t>(length));
  }
  if (many && next < values.list().items.size())
    fail("not all arguments converted during string formatting");
  interpreter.spend_bytes(text.size());
  return Value(std::move(text));
}

}  // namespace

Value apply_operator(Interpreter& interpreter, std::string_view sign, const Value& a,
                     const Value& b) {
  if (sign == "~") {
    std::string text = to_text(a);
    text += to_text(b);
    interpreter.spend_bytes(text.size());
    return Value(std::move(text));
  }
  if (a.is_integral() && b.is_integral()) return integers(sign, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return floats(sign, a.number(), b.number());
  if (sign == "+" && a.is_string() && b.is_string()) {
    interpreter.spend_bytes(a.string().size() + b.string().size());
    return Value(a.string() + b.string());
  }
  if (sign == "+" && a.is_list() && b.is_list() && a.list().kind == b.list().kind &&
      a.list().kind != List::Kind::kGenerator) {
    interpreter.spend_steps(a.list().items.size() + b.list().items.size());
    Values items = a.list().items;
    items.insert(items.end(), b.list().items.begin(), b.list().items.end());
    return make_list(std::move(items), a.list().kind);
  }
  const auto repeatable = [](const Value& value) {
    return value.is_string() || (value.is_list() && value.list().kind != List::Kind::kGenerator);
  };
  if (sign == "*" && repeatable(a) && b.is_integral()) return repeat(interpreter, a, b.integer());
  if (sign == "*" && repeatable(b) && a.is_integral()) return repeat(interpreter, b, a.integer());
  if (sign == "%" && a.is_string()) return format(interpreter, a.string(), b);
  unsupported(sign, a, b);
}

}  // namespace outboard::text::jinja
