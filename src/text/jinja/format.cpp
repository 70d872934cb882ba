// Python's two ways to format: "..." % values, and "...".format(values).
#include <algorithm>
#include <cmath>

#include "support/error.h"
#include "text/jinja/arguments.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

constexpr int64_t kWidest = 1 << 20;

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

// [[fill]align][sign][z][#][0][width][grouping][.precision][type]
struct Spec {
  std::string fill = " ";
  char align = '\0';  // < > ^ =
  char sign = '\0';   // as -, but a string may not have been given one
  bool alternate = false;
  bool no_negative_zero = false;
  int64_t width = 0;
  char grouping = '\0';  // , or _
  int64_t precision = -1;
  char type = '\0';
};

int64_t read_number(std::string_view text, size_t& at) {
  int64_t number = 0;
  while (at < text.size() && is_ascii_digit(text[at])) {
    number = number * 10 + (text[at++] - '0');
    if (number > kWidest) fail("a format of more than {} characters", kWidest);
  }
  return number;
}

Spec read_spec(std::string_view text) {
  Spec spec;
  size_t at = 0;
  const auto is_align = [&](size_t i) {
    return i < text.size() && std::string_view("<>^=").find(text[i]) != std::string_view::npos;
  };
  const auto skip = [&](char c) {
    if (at == text.size() || text[at] != c) return false;
    ++at;
    return true;
  };
  const std::vector<size_t> characters = character_offsets(text);
  bool filled = false;
  if (characters.size() > 2 && is_align(characters[1])) {
    spec.fill = std::string(text.substr(0, characters[1]));
    spec.align = text[characters[1]];
    at = characters[1] + 1;
    filled = true;
  } else if (is_align(0)) {
    spec.align = text[at++];
  }
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' '))
    spec.sign = text[at++];
  spec.no_negative_zero = skip('z');
  spec.alternate = skip('#');
  if (!filled && skip('0')) {
    spec.fill = "0";
    if (spec.align == '\0') spec.align = '=';
  }
  spec.width = read_number(text, at);
  if (at < text.size() && (text[at] == ',' || text[at] == '_')) spec.grouping = text[at++];
  if (skip('.')) {
    const size_t begin = at;
    spec.precision = read_number(text, at);
    if (at == begin) fail("Format specifier missing precision");
  }
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) fail("Invalid format specifier \"{}\"", text);
  return spec;
}

// The sign a number is written with.
std::string sign_text(bool negative, char sign) {
  if (negative) return "-";
  return sign == '+' || sign == ' ' ? std::string(1, sign) : std::string();
}

// Digits in groups, zeros in front of them until they fill the width.
std::string grouped(std::string digits, char grouping, size_t group, int64_t width) {
  if (grouping == '\0') {
    const auto missing = width - static_cast<int64_t>(digits.size());
    return missing > 0 ? std::string(static_cast<size_t>(missing), '0') + digits : digits;
  }
  std::string result;
  size_t count = 0;
  while (!digits.empty() || static_cast<int64_t>(result.size()) < width) {
    if (count != 0 && count % group == 0) result.push_back(grouping);
    result.push_back(digits.empty() ? '0' : digits.back());
    if (!digits.empty()) digits.pop_back();
    ++count;
  }
  std::reverse(result.begin(), result.end());
  return result;
}

TracedText aligned(const TracedText& text, const Spec& spec, char fallback, size_t prefix) {
  const int64_t missing = spec.width - static_cast<int64_t>(character_count(text.bytes()));
  if (missing <= 0) return text;
  const char align = spec.align == '\0' ? fallback : spec.align;
  const int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  TracedText result;
  const auto fill = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) result.append(spec.fill);
  };
  if (align == '=') {
    result.append(text, 0, prefix);
    fill(missing);
    result.append(text, prefix, text.size() - prefix);
    return result;
  }
  fill(left);
  result.append(text);
  fill(missing - left);
  return result;
}

// Digits of a finite number without its sign.
std::string float_digits(double number, char type, int64_t precision, bool alternate) {
  // More digits than a double has are zeros, but they are asked for.
  if (precision > 1000) fail("precision {}, expected at most 1000", precision);
  const int digits = static_cast<int>(precision);
  switch (type) {
    case 'e':
      return alternate ? fmt::format("{:#.{}e}", number, digits)
                       : fmt::format("{:.{}e}", number, digits);
    case 'f':
      return alternate ? fmt::format("{:#.{}f}", number, digits)
                       : fmt::format("{:.{}f}", number, digits);
    default:
      return alternate ? fmt::format("{:#.{}g}", number, std::max(1, digits))
                       : fmt::format("{:.{}g}", number, std::max(1, digits));
  }
}

TracedText format_float(double number, Spec spec) {
  const char type = static_cast<char>(spec.type | 0x20);
  const bool upper = spec.type == 'E' || spec.type == 'F' || spec.type == 'G';
  bool negative = std::signbit(number) && !std::isnan(number);
  const double magnitude = std::abs(number);
  std::string digits;
  if (!std::isfinite(number)) {
    digits = std::isnan(number) ? "nan" : "inf";
    if (spec.fill == "0" && spec.align == '=') {
      spec.fill = " ";
      spec.align = '>';
    }
  } else if (spec.type == '\0') {
    if (spec.precision < 0) {
      digits = float_text(magnitude);
    } else {
      // Like g, but never without a digit behind the point.
      digits = float_digits(magnitude, 'g', spec.precision, spec.alternate);
      if (digits.find_first_of(".e") == std::string::npos) {
        if (static_cast<int64_t>(digits.size()) >= std::max<int64_t>(1, spec.precision)) {
          digits = float_digits(magnitude, 'e', std::max<int64_t>(1, spec.precision) - 1, false);
          const size_t e = digits.find('e');
          std::string mantissa = digits.substr(0, e);
          if (mantissa.find('.') != std::string::npos) {
            while (mantissa.ends_with('0')) mantissa.pop_back();
            if (mantissa.ends_with('.')) mantissa.pop_back();
          }
          digits = mantissa + digits.substr(e);
        } else {
          digits += ".0";
        }
      }
    }
  } else if (type == '%') {
    digits = float_digits(magnitude * 100, 'f', spec.precision < 0 ? 6 : spec.precision,
                          spec.alternate) +
             "%";
  } else {
    digits = float_digits(magnitude, spec.type == 'n' ? 'g' : type,
                          spec.precision < 0 ? 6 : spec.precision, spec.alternate);
  }
  if (spec.no_negative_zero && negative && digits.find_first_of("123456789") == std::string::npos &&
      std::isfinite(number))
    negative = false;
  if (upper)
    std::transform(digits.begin(), digits.end(), digits.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 0x20) : c; });
  const std::string sign = sign_text(negative, spec.sign);
  if (std::isfinite(number)) {
    const size_t whole = std::min(digits.size(), digits.find_first_not_of("0123456789"));
    const std::string tail = digits.substr(whole);
    const bool zeros = spec.fill == "0" && spec.align == '=';
    const int64_t room = zeros ? spec.width - static_cast<int64_t>(sign.size() + tail.size()) : 0;
    digits = grouped(digits.substr(0, whole), spec.grouping, 3, room) + tail;
  }
  return aligned(sign + digits, spec, '>', sign.size());
}

TracedText format_integer(const BigInt& number, const Spec& spec) {
  if (spec.precision >= 0) fail("Precision not allowed in integer format specifier");
  if (spec.type == 'c') {
    if (spec.sign != '\0') fail("Sign not allowed with integer format specifier 'c'");
    const int64_t code = number.fits() ? number.small() : -1;
    if (code < 0 || code > 0x10FFFF) fail("%c arg not in range(0x110000)");
    std::string character;
    append_utf8(static_cast<char32_t>(code), character);
    return aligned(character, spec, '<', 0);
  }
  const int base = spec.type == 'b'            ? 2
                   : spec.type == 'o'          ? 8
                   : (spec.type | 0x20) == 'x' ? 16
                                               : 10;
  if (spec.grouping == ',' && base != 10) fail("Cannot specify ',' with '{}'.", spec.type);
  std::string digits = number.negative() ? (-number).text(base) : number.text(base);
  std::string prefix = sign_text(number.negative(), spec.sign);
  if (spec.alternate && base != 10) prefix += std::string("0") + spec.type;
  if (spec.type == 'X')
    std::transform(digits.begin(), digits.end(), digits.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 0x20) : c; });
  const bool zeros = spec.fill == "0" && spec.align == '=';
  digits = grouped(digits, spec.grouping, base == 10 ? 3 : 4,
                   zeros ? spec.width - static_cast<int64_t>(prefix.size()) : 0);
  return aligned(prefix + digits, spec, '>', prefix.size());
}

// format(value, spec)
TracedText format_value(Interpreter& interpreter, const Value& value, std::string_view text) {
  if (text.empty()) return text_of(interpreter, value);
  const Spec spec = read_spec(text);
  interpreter.spend_bytes(static_cast<uint64_t>(spec.width) * spec.fill.size());
  const auto unknown = [&] {
    fail("Unknown format code '{}' for object of type '{}'", spec.type, value.type_name());
  };
  if (value.is_string()) {
    if (spec.type != '\0' && spec.type != 's') unknown();
    if (spec.sign != '\0') fail("Sign not allowed in string format specifier");
    if (spec.alternate) fail("Alternate form (#) not allowed in string format specifier");
    if (spec.grouping != '\0') fail("Cannot specify '{}' with 's'.", spec.grouping);
    // A zero before the width is a fill of zeros here.
    if (spec.align == '=' && text.find('=') != std::string_view::npos)
      fail("'=' alignment not allowed in string format specifier");
    Spec plain = spec;
    if (plain.align == '=') plain.align = '<';
    TracedText shown = value.text();
    if (spec.precision >= 0) {
      const std::vector<size_t> ends = character_offsets(shown.bytes());
      shown = shown.part(0, ends[std::min(ends.size() - 1, static_cast<size_t>(spec.precision))]);
    }
    return aligned(shown, plain, '<', 0);
  }
  if (!value.is_number())
    fail("unsupported format string passed to {}.__format__", value.type_name());
  const bool floating =
      std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos && spec.type != '\0';
  const bool whole =
      std::string_view("bcdoxXn").find(spec.type) != std::string_view::npos && spec.type != '\0';
  if (spec.type != '\0' && !floating && !whole) unknown();
  if (value.is_integral() && !floating) return format_integer(value.big(), spec);
  if (whole && spec.type != 'n') unknown();
  return format_float(value.number(), spec);
}

TracedText converted(Interpreter& interpreter, const Value& value, char conversion) {
  if (conversion == 's') return text_of(interpreter, value);
  TracedText repr = to_repr(value);
  interpreter.spend_bytes(repr.size());
  if (conversion == 'r') return repr;
  // !a and %a: everything outside of ASCII as an escape.
  TracedText ascii;
  const std::vector<size_t> offsets = character_offsets(repr.bytes());
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    const char32_t code = decode_character(repr.bytes(), offsets[i]).code;
    const auto number = static_cast<uint32_t>(code);
    ascii.append(code < 0x80      ? std::string(1, static_cast<char>(code))
                 : code < 0x100   ? fmt::format("\\x{:02x}", number)
                 : code < 0x10000 ? fmt::format("\\u{:04x}", number)
                                  : fmt::format("\\U{:08x}", number),
                 repr.origin(offsets[i]));
  }
  return ascii;
}

}  // namespace

Value format_percent(Interpreter& interpreter, const Value& pattern_value, const Value& values) {
  const TracedText& traced = pattern_value.text();
  const std::string& pattern = traced.bytes();
  const bool markup = pattern_value.is_markup();
  const bool many = values.is_list() && values.list().kind == List::Kind::kTuple;
  size_t next = 0;
  bool by_name = false;
  const auto argument = [&]() -> const Value& {
    if (!many && next++ == 0) return values;
    if (!many || next >= values.list().items.size()) fail("not enough arguments for format string");
    return values.list().items[next++];
  };
  const auto shown = [&](const TracedText& text) {
    return markup ? escaped(interpreter, Value(text)).text() : text;
  };
  TracedText result;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') {
      result.append(traced, i, 1);
      continue;
    }
    const size_t begin = i++;
    const Value* named = nullptr;
    if (i < pattern.size() && pattern[i] == '(') {
      size_t end = i + 1;
      for (int open = 1; end < pattern.size(); ++end) {
        open += pattern[end] == '(' ? 1 : pattern[end] == ')' ? -1 : 0;
        if (open == 0) break;
      }
      if (end >= pattern.size()) fail("incomplete format key");
      if (!values.is_dict()) fail("format requires a mapping");
      const std::string name = pattern.substr(i + 1, end - i - 1);
      named = values.dict().find(name);
      if (named == nullptr) fail("format: there is no key \"{}\"", name);
      by_name = true;
      i = end + 1;
    }
    Spec spec;
    bool left = false, zero = false;
    for (;
         i < pattern.size() && std::string_view("-+ 0#").find(pattern[i]) != std::string_view::npos;
         ++i) {
      left = left || pattern[i] == '-';
      zero = zero || pattern[i] == '0';
      spec.alternate = spec.alternate || pattern[i] == '#';
      if (pattern[i] == '+' || (pattern[i] == ' ' && spec.sign != '+')) spec.sign = pattern[i];
    }
    const auto count = [&] {
      if (i < pattern.size() && pattern[i] == '*') {
        ++i;
        const Value& given = argument();
        if (!given.is_integral()) fail("* wants int");
        if (std::abs(given.integer()) > kWidest)
          fail("a format of more than {} characters", kWidest);
        return given.integer();
      }
      return read_number(pattern, i);
    };
    spec.width = count();
    if (spec.width < 0) {
      left = true;
      spec.width = -spec.width;
    }
    if (i < pattern.size() && pattern[i] == '.') {
      ++i;
      spec.precision = std::max<int64_t>(0, count());
    }
    while (i < pattern.size() && (pattern[i] == 'h' || pattern[i] == 'l' || pattern[i] == 'L')) ++i;
    if (i == pattern.size()) fail("incomplete format");
    const char conversion = pattern[i];
    if (conversion == '%') {
      result.append("%", traced.origin(begin));
      continue;
    }
    if (std::string_view("srcadiuoxXeEfFgG").find(conversion) == std::string_view::npos)
      fail("unsupported format character '{}'", conversion);
    const Value& value = named != nullptr ? *named : argument();
    spec.align = left ? '<' : '>';
    spec.type = conversion;
    interpreter.spend_bytes(static_cast<uint64_t>(spec.width));
    if (conversion == 's' || conversion == 'r' || conversion == 'a') {
      TracedText text = conversion == 's' && markup
                            ? escaped(interpreter, value).text()
                            : shown(converted(interpreter, value, conversion));
      if (spec.precision >= 0) {
        const std::vector<size_t> ends = character_offsets(text.bytes());
        text = text.part(0, ends[std::min(ends.size() - 1, static_cast<size_t>(spec.precision))]);
      }
      result.append(aligned(text, spec, '>', 0));
      continue;
    }
    if (conversion == 'c') {
      if (value.is_string() && character_count(value.string()) == 1) {
        result.append(aligned(value.text(), spec, '>', 0));
        continue;
      }
      if (!value.is_integral()) fail("%c requires int or char");
      spec.precision = -1;
      spec.sign = '\0';
      result.append(format_integer(value.big(), spec));
      continue;
    }
    if (value.is_undefined()) throw Error(value.undefined_message());
    if (!value.is_number())
      fail("%{} format: a real number is required, not {}", conversion, value.type_name());
    if (zero && !left) {
      spec.fill = "0";
      spec.align = '=';
    }
    if (std::string_view("diuoxX").find(conversion) == std::string_view::npos) {
      result.append(format_float(value.number(), spec));
      continue;
    }
    if (value.is_float() && (conversion == 'o' || conversion == 'x' || conversion == 'X'))
      fail("%{} format: an integer is required, not float", conversion);
    if (value.is_float() && !std::isfinite(value.number())) fail("cannot convert float to integer");
    const BigInt number = value.is_float() ? BigInt::from_double(value.number()) : value.big();
    // A precision is the least number of digits.
    Spec digits = spec;
    digits.type = conversion == 'i' || conversion == 'u' ? 'd' : conversion;
    if (spec.precision >= 0) {
      const size_t prefix = (number.negative() || spec.sign != '\0' ? 1u : 0u) +
                            (spec.alternate && digits.type != 'd' ? 2u : 0u);
      digits.width = spec.precision + static_cast<int64_t>(prefix);
      digits.fill = "0";
      digits.align = '=';
      digits.precision = -1;
      const TracedText text = format_integer(number, digits);
      result.append(aligned(text, spec, '>', prefix));
      continue;
    }
    result.append(format_integer(number, digits));
  }
  if (many && !by_name && next < values.list().items.size())
    fail("not all arguments converted during string formatting");
  // A single value that nothing asked for; Python lets mappings and lists pass.
  if (!many && !by_name && next == 0 && !values.is_dict() && !values.is_list())
    fail("not all arguments converted during string formatting");
  interpreter.spend_bytes(result.size());
  return Value(std::move(result), markup);
}

namespace {

// "...".format(): the fields of one pattern, and of the specifications inside it.
class BraceFormatter {
 public:
  BraceFormatter(Interpreter& interpreter, const Arguments& arguments, bool markup)
      : interpreter_(interpreter), arguments_(arguments), markup_(markup) {}

  TracedText run(const TracedText& traced, int deepest) {
    if (deepest < 0) fail("Max string recursion exceeded");
    const std::string& pattern = traced.bytes();
    TracedText result;
    for (size_t i = 0; i < pattern.size(); ++i) {
      const char c = pattern[i];
      if ((c == '{' || c == '}') && i + 1 < pattern.size() && pattern[i + 1] == c) {
        result.append(traced, i, 1);
        ++i;
        continue;
      }
      if (c == '}') fail("Single '}}' encountered in format string");
      if (c != '{') {
        result.append(traced, i, 1);
        continue;
      }
      size_t end = i + 1;
      for (int open = 1; end < pattern.size(); ++end) {
        open += pattern[end] == '{' ? 1 : pattern[end] == '}' ? -1 : 0;
        if (open == 0) break;
      }
      if (end >= pattern.size()) fail("expected '}}' before end of string");
      result.append(field(traced.part(i + 1, end - i - 1), deepest));
      i = end;
    }
    return result;
  }

 private:
  TracedText field(const TracedText& inside, int deepest) {
    const std::string& text = inside.bytes();
    size_t name_end = 0;
    for (int open = 0; name_end < text.size(); ++name_end) {
      const char c = text[name_end];
      open += c == '[' ? 1 : c == ']' ? -1 : 0;
      if (open == 0 && (c == '!' || c == ':')) break;
    }
    Value value = lookup(std::string_view(text).substr(0, name_end));
    size_t at = name_end;
    if (at < text.size() && text[at] == '!') {
      const char conversion = at + 1 < text.size() ? text[at + 1] : '\0';
      if (conversion != 's' && conversion != 'r' && conversion != 'a')
        fail("Unknown conversion specifier \"{}\"", text.substr(at));
      value = Value(converted(interpreter_, value, conversion));
      at += 2;
      if (at < text.size() && text[at] != ':') fail("expected ':' after conversion specifier");
    }
    std::string spec;
    if (at < text.size()) spec = run(inside.part(at + 1), deepest - 1).bytes();
    if (!markup_) return format_value(interpreter_, value, spec);
    if (value.is_markup()) {
      if (!spec.empty()) fail("Unsupported format specification for Markup.");
      return value.text();
    }
    return escaped(interpreter_, Value(format_value(interpreter_, value, spec))).text();
  }

  // name, name.attribute, name[key]: of a position, a number or a keyword.
  Value lookup(std::string_view path) {
    const size_t name_end = std::min(path.size(), path.find_first_of(".["));
    const std::string_view name = path.substr(0, name_end);
    const bool number = !name.empty() && std::all_of(name.begin(), name.end(), is_ascii_digit);
    if (name.empty() || number) {
      if (number_given_ && name.empty())
        fail("cannot switch from manual field specification to automatic field numbering");
      if (automatic_given_ && number)
        fail("cannot switch from automatic field numbering to manual field specification");
      (name.empty() ? automatic_given_ : number_given_) = true;
    }
    size_t digits = 0;
    const Value* found = nullptr;
    if (name.empty() || number) {
      const auto position = name.empty() ? next_++ : static_cast<size_t>(read_number(name, digits));
      if (position >= arguments_.positional.size())
        fail("Replacement index {} out of range for positional args tuple", position);
      found = &arguments_.positional[position];
    } else {
      for (const auto& [key, given] : arguments_.named)
        if (key == name) found = &given;
      if (found == nullptr) fail("format: there is no argument \"{}\"", name);
    }
    Value value = *found;
    for (size_t at = name_end; at < path.size();) {
      if (path[at] == '.') {
        const size_t end = std::min(path.size(), path.find_first_of(".[", at + 1));
        if (end == at + 1) fail("Empty attribute in format string");
        value = get_attribute(value, std::string(path.substr(at + 1, end - at - 1)));
        at = end;
      } else if (path[at] == '[') {
        const size_t end = path.find(']', at);
        if (end == std::string_view::npos || end == at + 1)
          fail("Empty attribute in format string");
        const std::string_view key = path.substr(at + 1, end - at - 1);
        size_t read = 0;
        const bool index = std::all_of(key.begin(), key.end(), is_ascii_digit);
        value = get_item(interpreter_, value,
                         index ? Value(read_number(key, read)) : Value(std::string(key)));
        at = end + 1;
      } else {
        fail("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  Interpreter& interpreter_;
  const Arguments& arguments_;
  bool markup_;
  size_t next_ = 0;
  bool automatic_given_ = false, number_given_ = false;
};

}  // namespace

Value format_braces(Interpreter& interpreter, const Value& pattern, const Arguments& arguments) {
  BraceFormatter formatter(interpreter, arguments, pattern.is_markup());
  TracedText result = formatter.run(pattern.text(), 2);
  interpreter.spend_bytes(result.size());
  return Value(std::move(result), pattern.is_markup());
}

}  // namespace outboard::text::jinja
