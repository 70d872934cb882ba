// The filters on text and numbers: value|NAME(...).
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <optional>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

// jinja2's soft_str: Markup stays.
Value soft_text(Interpreter& interpreter, const Value& value) {
  return value.is_string() ? value : Value(text_of(interpreter, value));
}

Value text_method(Interpreter& interpreter, const Value& value, Given arguments,
                  std::string_view method) {
  return interpreter.call(find_method(soft_text(interpreter, value), method), arguments);
}

// Python lets single underscores stand between digits.
bool takes_underscores(std::string& text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') continue;
    const auto digit = [&](size_t at) {
      return at < text.size() && std::isalnum(static_cast<uint8_t>(text[at])) != 0;
    };
    if (i == 0 || !digit(i - 1) || !digit(i + 1)) return false;
  }
  std::erase(text, '_');
  return true;
}

// int(text, base)
std::optional<BigInt> parse_integer(std::string_view given, int64_t base) {
  std::string text(strip(given, Side::kBoth));
  if (base != 0 && (base < 2 || base > 36)) fail("int() base must be >= 2 and <= 36, or 0");
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.erase(0, 1);
  const char letter = text.size() > 1 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : '\0';
  const int64_t prefixed = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  if (prefixed != 0 && (base == 0 || base == prefixed)) {
    text.erase(0, 2);
    if (text.starts_with('_')) text.erase(0, 1);
    base = prefixed;
  } else if (base == 0) {
    if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != std::string::npos)
      return std::nullopt;
    base = 10;
  }
  if (!takes_underscores(text) || text.empty()) return std::nullopt;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9'                     ? c - '0'
                      : (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (c | 0x20) - 'a' + 10
                                                               : 99;
    if (digit >= base) return std::nullopt;
  }
  const BigInt number = BigInt::parse(text, static_cast<int>(base));
  return negative ? -number : number;
}

// float(text)
std::optional<double> parse_float(std::string_view given) {
  std::string text(strip(given, Side::kBoth));
  if (!takes_underscores(text) || text.empty()) return std::nullopt;
  // strtod also reads what Python does not: 0x10, nan(1).
  if (text.find_first_of("xX(") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (end != text.c_str() + text.size()) return std::nullopt;
  return number;
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
Value filter_string(Interpreter& i, const Value& v, Given) { return soft_text(i, v); }
Value filter_replace(Interpreter& i, const Value& v, Given a) {
  // Without autoescape even Markup is replaced as plain text, and so are numbers.
  Arguments arguments;
  for (size_t at = 0; at < 2; ++at)
    arguments.positional.emplace_back(text_of(i, needed_argument(a, at, at == 0 ? "old" : "new")));
  const Value* count = a.find(2, "count");
  if (count != nullptr && !count->is_none()) arguments.positional.push_back(*count);
  return i.call(find_method(Value(text_of(i, v)), "replace"), arguments);
}
Value filter_center(Interpreter& i, const Value& v, Given a) {
  Arguments arguments = a;
  if (arguments.find(0, "width") == nullptr) arguments.positional.push_back(Value(int64_t{80}));
  return text_method(i, v, arguments, "center");
}

Value filter_indent(Interpreter& interpreter, const Value& value, Given arguments) {
  const Value* width = arguments.find(0, "width");
  const bool first = flag_argument(arguments, 1, "first", false);
  const bool blank = flag_argument(arguments, 2, "blank", false);
  if (value.is_undefined()) throw Error(value.undefined_message());
  if (!value.is_string()) fail("indent needs a str, not {}", value.type_name());
  TracedText space;
  if (width != nullptr && width->is_string()) {
    space = width->text();
  } else {
    const int64_t count = int_argument(arguments, 0, "width", 4);
    if (count > 10'000) fail("indent of {}, expected at most 10000", count);
    space = std::string(static_cast<size_t>(std::max<int64_t>(0, count)), ' ');
  }
  const bool markup = value.is_markup();
  TracedText text = text_of(interpreter, value);
  text.append("\n");  // as jinja2 does
  const std::vector<std::string_view> lines = split_lines(text.bytes(), false);
  interpreter.spend_bytes(text.size() + lines.size() * space.size());
  TracedText result;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) result.append("\n");
    if (i == 0 ? first : blank || !lines[i].empty()) result.append(space);
    result.append(text.part(lines[i]));
  }
  return Value(std::move(result), markup);
}

Value filter_truncate(Interpreter& interpreter, const Value& value, Given arguments) {
  if (value.is_undefined()) return value;
  const int64_t length = int_argument(arguments, 0, "length", 255);
  const bool container = value.is_dict() || (value.is_list() && value.list().has_positions());
  if (container && iterate(interpreter, value).size() <= static_cast<size_t>(length)) return value;
  if (!value.is_string()) fail("truncate needs a str, not {}", value.type_name());
  const TracedText text = text_of(interpreter, value);
  const bool kill_words = flag_argument(arguments, 1, "killwords", false);
  TracedText end = traced_argument(arguments, 2, "end", "...");
  const int64_t leeway = int_argument(arguments, 3, "leeway", 5);
  const std::vector<size_t> offsets = character_offsets(text.bytes());
  const auto count = static_cast<int64_t>(offsets.size()) - 1;
  const auto tail = static_cast<int64_t>(character_count(end.bytes()));
  if (length < tail || leeway < 0) fail("truncate: expected length >= {} and leeway >= 0", tail);
  if (leeway > count || length > count || count <= length + leeway)
    return Value(text, value.is_markup());
  TracedText kept = text.part(0, offsets[static_cast<size_t>(length - tail)]);
  if (!kill_words) kept = kept.part(0, kept.bytes().rfind(' '));
  if (value.is_markup()) end = escaped(interpreter, Value(end)).text();
  kept.append(end);
  return Value(std::move(kept), value.is_markup());
}

Value filter_wordcount(Interpreter& interpreter, const Value& value, Given) {
  const TracedText text = text_of(interpreter, value);
  int64_t count = 0;
  bool inside = false;
  for (const size_t at : character_offsets(text.bytes())) {
    if (at == text.size()) break;
    const char32_t code = decode_character(text.bytes(), at).code;
    const bool word = is_alpha(code) || is_numeric(code) || code == '_';
    if (word && !inside) ++count;
    inside = word;
  }
  return Value(count);
}

Value filter_wordwrap(Interpreter& interpreter, const Value& value, Given arguments) {
  const int64_t width = int_argument(arguments, 0, "width", 79);
  const bool break_long_words = flag_argument(arguments, 1, "break_long_words", true);
  const Value* between = arguments.find(2, "wrapstring");
  const bool given = between != nullptr && !between->is_none();
  const TracedText separator = given ? text_of(interpreter, *between) : TracedText("\n");
  const bool break_on_hyphens = flag_argument(arguments, 3, "break_on_hyphens", true);
  if (!value.is_string()) fail("wordwrap needs a str, not {}", value.type_name());
  const TracedText& text = value.text();
  interpreter.spend_bytes(text.size() * (separator.size() + 1));
  interpreter.spend_steps(text.size() / 4);
  TracedText result;
  bool begins = true;
  for (const std::string_view line : split_lines(text.bytes(), false)) {
    if (!begins) result.append(separator);
    begins = false;
    bool first = true;
    for (const TracedText& part :
         wrap(text.part(line), width, break_long_words, break_on_hyphens)) {
      if (!first) result.append(separator);
      first = false;
      result.append(part);
    }
  }
  return Value(std::move(result));
}

Value filter_filesizeformat(Interpreter& interpreter, const Value& value, Given arguments) {
  const bool binary = flag_argument(arguments, 0, "binary", false);
  const Value number = filter_float(interpreter, value, {});
  const bool text =
      value.is_string() && number.number() == 0 && value.string().find('0') == std::string::npos;
  if (text || !(value.is_number() || value.is_string()))
    fail("filesizeformat needs a number, not {}", to_repr(value).bytes());
  const double bytes = number.number();
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return Value(std::string("1 Byte"));
  if (bytes < base) return Value(fmt::format("{} Bytes", static_cast<int64_t>(bytes)));
  double unit = base;
  const std::string_view letters = "kMGTPEZY";
  size_t at = 0;
  while (at + 1 < letters.size() && bytes >= unit * base) {
    unit *= base;
    ++at;
  }
  const char letter = binary && at == 0 ? 'K' : letters[at];
  return Value(fmt::format("{:.1f} {}{}B", bytes / unit, letter, binary ? "i" : ""));
}

// Keys of dicts in order, as Python's pprint has them.
Value filter_pprint(Interpreter& interpreter, const Value& value, Given) {
  const std::function<Value(const Value&)> sorted = [&](const Value& v) -> Value {
    if (v.is_list() && v.list().has_positions()) {
      Values items;
      for (const Value& item : v.list().items) items.push_back(sorted(item));
      return make_list(std::move(items), v.list().kind);
    }
    if (!v.is_dict()) return v;
    auto items = v.dict().items;
    const bool texts = std::all_of(items.begin(), items.end(),
                                   [](const auto& item) { return item.first.is_string(); });
    if (texts)
      std::sort(items.begin(), items.end(),
                [](const auto& x, const auto& y) { return x.first.string() < y.first.string(); });
    for (auto& [key, item] : items) item = sorted(item);
    return make_dict(std::move(items));
  };
  TracedText text = to_repr(sorted(value));
  interpreter.spend_bytes(text.size());
  if (character_count(text.bytes()) > 80)
    fail("pprint of a value of more than 80 characters is not supported; tojson(indent=1) is");
  return Value(std::move(text));
}

Value filter_format(Interpreter& interpreter, const Value& value, Given arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty())
    fail("can't handle positional and keyword arguments at the same time");
  std::vector<std::pair<Value, Value>> named;
  for (const auto& [name, given] : arguments.named) named.emplace_back(Value(name), given);
  const Value values = named.empty() ? make_list(arguments.positional, List::Kind::kTuple)
                                     : make_dict(std::move(named));
  return format_percent(interpreter, soft_text(interpreter, value), values);
}

Value filter_tojson(Interpreter& interpreter, const Value& value, Given arguments) {
  JsonStyle style;
  const Value* ensure_ascii = arguments.find(0, "ensure_ascii");
  style.ensure_ascii = ensure_ascii != nullptr && ensure_ascii->truth();
  const int64_t indent = int_argument(arguments, 1, "indent", -1);
  if (indent > 64) fail("tojson: indent of {}, expected at most 64", indent);
  style.indent = static_cast<int>(std::max<int64_t>(-1, indent));
  if (style.indent >= 0) style.item_separator = std::string(",");
  const Value* separators = arguments.find(2, "separators");
  if (separators != nullptr && !separators->is_none()) {
    if (!separators->is_list() || separators->list().items.size() != 2 ||
        !separators->list().items[0].is_string() || !separators->list().items[1].is_string())
      fail("tojson: separators must be two strings");
    style.item_separator = separators->list().items[0].text();
    style.key_separator = separators->list().items[1].text();
  }
  style.sort_keys = flag_argument(arguments, 3, "sort_keys", false);
  TracedText text = to_json(value, style);
  interpreter.spend_bytes(text.size());
  return Value(std::move(text));
}

Value filter_int(Interpreter&, const Value& value, Given arguments) {
  const Value* given = arguments.find(0, "default");
  const Value fallback = given != nullptr ? *given : Value(int64_t{0});
  const int64_t base = int_argument(arguments, 1, "base", 10);
  if (value.is_undefined()) throw Error(value.undefined_message());
  if (value.is_bool()) return Value(value.integer());
  if (value.is_int()) return value;
  if (value.is_float()) {
    if (std::isinf(value.number())) fail("cannot convert float infinity to integer");
    return std::isnan(value.number()) ? fallback : Value(BigInt::from_double(value.number()));
  }
  if (!value.is_string()) return fallback;
  if (const auto number = parse_integer(value.string(), base)) return Value(*number);
  // As jinja2: "42.7" is 42.
  const std::optional<double> real = parse_float(value.string());
  return real && std::isfinite(*real) ? Value(BigInt::from_double(*real)) : fallback;
}

Value filter_float(Interpreter&, const Value& value, Given arguments) {
  const Value* given = arguments.find(0, "default");
  const Value fallback = given != nullptr ? *given : Value(0.0);
  if (value.is_undefined()) throw Error(value.undefined_message());
  if (value.is_number()) return Value(value.number());
  if (!value.is_string()) return fallback;
  const std::optional<double> number = parse_float(value.string());
  return number ? Value(*number) : fallback;
}

Value filter_abs(Interpreter&, const Value& value, Given) {
  if (value.is_undefined()) throw Error(value.undefined_message());
  if (!value.is_number()) fail("bad operand type for abs(): '{}'", value.type_name());
  if (value.is_float()) return Value(std::abs(value.number()));
  const BigInt number = value.big();
  return Value(number.negative() ? -number : number);
}

Value filter_round(Interpreter&, const Value& value, Given arguments) {
  const int64_t precision = int_argument(arguments, 0, "precision", 0);
  const std::string method = text_argument(arguments, 1, "method", "common");
  if (value.is_undefined()) throw Error(value.undefined_message());
  if (!value.is_number()) fail("round needs a number, not {}", value.type_name());
  if (precision < -300 || precision > 300)
    fail("round: precision {}, expected -300 to 300", precision);
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value(std::ceil(value.number() * scale) / scale);
  if (method == "floor") return Value(std::floor(value.number() * scale) / scale);
  if (method != "common") fail("method must be common, ceil or floor");
  if (value.is_integral() && precision >= 0) return Value(value.big());
  if (value.is_big()) fail("round of so large an integer to {} digits is not supported", precision);
  // Correctly rounded decimals, as Python: through the decimal text.
  if (precision >= 0) {
    const std::string text = fmt::format("{:.{}f}", value.number(), precision);
    return Value(std::strtod(text.c_str(), nullptr));
  }
  const double rounded = std::nearbyint(value.number() * scale) / scale;
  return value.is_integral() ? Value(static_cast<int64_t>(rounded)) : Value(rounded);
}

}  // namespace outboard::text::jinja
