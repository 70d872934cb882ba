// The filters on text and numbers: value|NAME(...).
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/python_text.h"

namespace outboard::text::jinja {
namespace {

Value text_method(Interpreter& interpreter, const Value& value, Given arguments,
                  std::string_view method) {
  return interpreter.call(find_method(Value(text_of(interpreter, value)), method), arguments);
}

}  // namespace

Value filter_upper(Interpreter& i, const Value& v, Given a) {
  return text_method(i, v, a, "upper");
}
Value filter_lower(Interpreter& i, const Value& v, Given a) {
  return text_method(i, v, a, "lower");
}
Value filter_trim(Interpreter& i, const Value& v, Given a) { return text_method(i, v, a, "strip"); }
Value filter_capitalize(Interpreter& i, const Value& v, Given a) {
  return text_method(i, v, a, "capitalize");
}
Value filter_title(Interpreter& i, const Value& v, Given) {
  return Value(jinja_title(text_of(i, v)));
}
Value filter_string(Interpreter& i, const Value& v, Given) { return Value(text_of(i, v)); }
Value filter_replace(Interpreter& i, const Value& v, Given a) {
  return text_method(i, v, a, "replace");
}
Value filter_center(Interpreter& i, const Value& v, Given a) {
  Arguments arguments = a;
  if (arguments.find(0, "width") == nullptr) arguments.positional.push_back(Value(int64_t{80}));
  return text_method(i, v, arguments, "center");
}

Value filter_escape(Interpreter& interpreter, const Value& value, Given) {
  const std::string text = text_of(interpreter, value);
  interpreter.spend_bytes(text.size() * 5);
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      case '"':
        escaped += "&#34;";
        break;
      default:
        escaped.push_back(c);
    }
  }
  return Value(std::move(escaped));
}

Value filter_indent(Interpreter& interpreter, const Value& value, Given arguments) {
  const Value* width = arguments.find(0, "width");
  const bool first = flag_argument(arguments, 1, "first", false);
  const bool blank = flag_argument(arguments, 2, "blank", false);
  std::string space;
  if (width != nullptr && width->is_string()) {
    space = width->string();
  } else {
    const int64_t count = int_argument(arguments, 0, "width", 4);
    if (count > 10'000) fail("indent of {}, expected at most 10000", count);
    space.assign(static_cast<size_t>(std::max<int64_t>(0, count)), ' ');
  }
  std::string text = text_of(interpreter, value);
  text.push_back('\n');  // as jinja2 does
  std::vector<std::string> lines = split_lines(text, false);
  interpreter.spend_bytes(text.size() + lines.size() * space.size());
  std::string result;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) result.push_back('\n');
    if (i == 0 ? first : blank || !lines[i].empty()) result += space;
    result += lines[i];
  }
  return Value(std::move(result));
}

Value filter_truncate(Interpreter& interpreter, const Value& value, Given arguments) {
  const std::string text = text_of(interpreter, value);
  const int64_t length = int_argument(arguments, 0, "length", 255);
  const bool kill_words = flag_argument(arguments, 1, "killwords", false);
  const std::string end = text_argument(arguments, 2, "end", "...");
  const int64_t leeway = int_argument(arguments, 3, "leeway", 5);
  const std::vector<size_t> offsets = character_offsets(text);
  const auto count = static_cast<int64_t>(offsets.size()) - 1;
  const auto tail = static_cast<int64_t>(character_count(end));
  if (length < tail || leeway < 0) fail("truncate: expected length >= {} and leeway >= 0", tail);
  if (leeway > count || length > count || count <= length + leeway) return Value(text);
  std::string kept = text.substr(0, offsets[static_cast<size_t>(length - tail)]);
  if (!kill_words) kept = kept.substr(0, kept.rfind(' '));
  return Value(kept + end);
}

Value filter_wordcount(Interpreter& interpreter, const Value& value, Given) {
  const std::string text = text_of(interpreter, value);
  int64_t count = 0;
  bool inside = false;
  for (const char c : text) {
    const bool word =
        std::isalnum(static_cast<uint8_t>(c)) != 0 || c == '_' || static_cast<uint8_t>(c) >= 0x80;
    if (word && !inside) ++count;
    inside = word;
  }
  return Value(count);
}

Value filter_format(Interpreter& interpreter, const Value& value, Given arguments) {
  const Value values = make_list(arguments.positional, List::Kind::kTuple);
  return apply_operator(interpreter, "%", Value(text_of(interpreter, value)), values);
}

Value filter_tojson(Interpreter& interpreter, const Value& value, Given arguments) {
  JsonStyle style;
  const Value* ensure_ascii = arguments.find(0, "ensure_ascii");
  style.ensure_ascii = ensure_ascii != nullptr && ensure_ascii->truth();
  const int64_t indent = int_argument(arguments, 1, "indent", -1);
  if (indent > 64) fail("tojson: indent of {}, expected at most 64", indent);
  style.indent = static_cast<int>(std::max<int64_t>(-1, indent));
  if (style.indent >= 0) style.item_separator = ",";
  const Value* separators = arguments.find(2, "separators");
  if (separators != nullptr && !separators->is_none()) {
    if (!separators->is_list() || separators->list().items.size() != 2 ||
        !separators->list().items[0].is_string() || !separators->list().items[1].is_string())
      fail("tojson: separators must be two strings");
    style.item_separator = separators->list().items[0].string();
    style.key_separator = separators->list().items[1].string();
  }
  style.sort_keys = flag_argument(arguments, 3, "sort_keys", false);
  std::string text = to_json(value, style);
  interpreter.spend_bytes(text.size());
  return Value(std::move(text));
}

Value filter_int(Interpreter&, const Value& value, Given arguments) {
  const Value* given = arguments.find(0, "default");
  const Value fallback = given != nullptr ? *given : Value(int64_t{0});
  const int64_t base = int_argument(arguments, 1, "base", 10);
  if (value.is_integral()) return Value(value.integer());
  if (value.is_float()) {
    if (!(std::abs(value.number()) < 9.2e18)) return fallback;
    return Value(static_cast<int64_t>(value.number()));
  }
  if (!value.is_string() || base < 2 || base > 36) return fallback;
  std::string text(strip(value.string(), Side::kBoth));
  std::erase(text, '_');
  if (base == 16 && (text.starts_with("0x") || text.starts_with("0X"))) text.erase(0, 2);
  const char* begin = text.c_str();
  char* end = nullptr;
  errno = 0;
  const long long number = std::strtoll(begin, &end, static_cast<int>(base));
  if (!text.empty() && end == begin + text.size() && errno == 0)
    return Value(static_cast<int64_t>(number));
  // As jinja2: "42.7" is 42.
  const double real = std::strtod(begin, &end);
  const bool whole = !text.empty() && end == begin + text.size() && std::abs(real) < 9.2e18;
  return whole ? Value(static_cast<int64_t>(real)) : fallback;
}

Value filter_float(Interpreter&, const Value& value, Given arguments) {
  const Value* given = arguments.find(0, "default");
  const Value fallback = given != nullptr ? *given : Value(0.0);
  if (value.is_number()) return Value(value.number());
  if (!value.is_string()) return fallback;
  const std::string text(strip(value.string(), Side::kBoth));
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  // strtod also reads what Python does not: 0x10.
  const bool hexadecimal = text.find_first_of("xX") != std::string::npos;
  return !text.empty() && !hexadecimal && end == text.c_str() + text.size() ? Value(number)
                                                                            : fallback;
}

Value filter_abs(Interpreter& interpreter, const Value& value, Given) {
  if (value.is_undefined()) throw Error(value.undefined_message());
  if (!value.is_number()) fail("bad operand type for abs(): '{}'", value.type_name());
  if (value.is_float()) return Value(std::abs(value.number()));
  if (value.integer() >= 0) return Value(value.integer());
  return apply_operator(interpreter, "-", Value(int64_t{0}), value);
}

Value filter_round(Interpreter&, const Value& value, Given arguments) {
  const int64_t precision = int_argument(arguments, 0, "precision", 0);
  const std::string method = text_argument(arguments, 1, "method", "common");
  if (value.is_undefined()) throw Error(value.undefined_message());
  if (!value.is_number()) fail("round needs a number, not {}", value.type_name());
  if (precision < -15 || precision > 15) fail("round: precision {}, expected -15 to 15", precision);
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value(std::ceil(value.number() * scale) / scale);
  if (method == "floor") return Value(std::floor(value.number() * scale) / scale);
  if (method != "common") fail("method must be common, ceil or floor");
  if (value.is_integral() && precision >= 0) return Value(value.integer());
  // Correctly rounded decimals, as Python: through the decimal text.
  if (precision >= 0) {
    const std::string text = fmt::format("{:.{}f}", value.number(), precision);
    return Value(std::strtod(text.c_str(), nullptr));
  }
  const double rounded = std::nearbyint(value.number() * scale) / scale;
  return value.is_integral() ? Value(static_cast<int64_t>(rounded)) : Value(rounded);
}

}  // namespace outboard::text::jinja
