// The tests: value is NAME.
#include <algorithm>
#include <array>

#include "text/jinja/arguments.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

using Input = const Value&;
using Given = const Arguments&;

struct Shape {
  bool upper = false, lower = false;  // str.isupper, str.islower
};
Shape shape_of(Input value) {
  const std::string text = to_text(value).bytes();
  bool upper = false, lower = false, title = false;
  for (const size_t at : character_offsets(text)) {
    if (at == text.size()) break;
    const char32_t code = decode_character(text, at).code;
    upper = upper || is_upper(code);
    lower = lower || is_lower(code);
    title = title || is_title(code);
  }
  return {upper && !lower && !title, lower && !upper && !title};
}

// value % 2, which for a float may be neither 0 nor 1.
double parity(Interpreter& interpreter, Input value) {
  if (value.is_undefined()) throw Error(value.undefined_message());
  if (!value.is_number()) fail("a number is needed, not {}", value.type_name());
  return apply_operator(interpreter, "%", value, Value(int64_t{2})).number();
}

bool divisible(Interpreter& interpreter, Input value, Given arguments) {
  const Value rest = apply_operator(interpreter, "%", value, needed_argument(arguments, 0, "num"));
  return equal(rest, Value(int64_t{0}));
}

template <int kSign, bool kOrEqual>
bool ordered(Interpreter&, Input value, Given arguments) {
  const int order = compare(value, needed_argument(arguments, 0, "other"));
  return order * kSign > 0 || (kOrEqual && order == 0);
}

struct Entry {
  std::string_view name;
  Test test;
};

const std::array kTests = {
    Entry{"defined", [](Interpreter&, Input v, Given) { return !v.is_undefined(); }},
    Entry{"undefined", [](Interpreter&, Input v, Given) { return v.is_undefined(); }},
    Entry{"none", [](Interpreter&, Input v, Given) { return v.is_none(); }},
    Entry{"boolean", [](Interpreter&, Input v, Given) { return v.is_bool(); }},
    Entry{"true", [](Interpreter&, Input v, Given) { return v.is_bool() && v.boolean(); }},
    Entry{"false", [](Interpreter&, Input v, Given) { return v.is_bool() && !v.boolean(); }},
    Entry{"integer", [](Interpreter&, Input v, Given) { return v.is_int(); }},
    Entry{"float", [](Interpreter&, Input v, Given) { return v.is_float(); }},
    Entry{"number", [](Interpreter&, Input v, Given) { return v.is_number(); }},
    Entry{"string", [](Interpreter&, Input v, Given) { return v.is_string(); }},
    Entry{"mapping", [](Interpreter&, Input v, Given) { return v.is_dict(); }},
    Entry{"sequence",
          [](Interpreter&, Input v, Given) {
            return v.is_string() || v.is_dict() || v.is_undefined() ||
                   (v.is_list() && v.list().has_positions());
          }},
    Entry{"iterable",
          [](Interpreter&, Input v, Given) {
            return v.is_string() || v.is_dict() || v.is_list() || v.is_undefined();
          }},
    Entry{"callable", [](Interpreter&, Input v, Given) { return v.is_callable(); }},
    Entry{"odd", [](Interpreter& i, Input v, Given) { return parity(i, v) == 1; }},
    Entry{"even", [](Interpreter& i, Input v, Given) { return parity(i, v) == 0; }},
    Entry{"divisibleby", divisible},
    Entry{"in",
          [](Interpreter&, Input v, Given a) { return contains(needed_argument(a, 0, "seq"), v); }},
    Entry{"sameas",
          [](Interpreter&, Input v, Given a) {
            const Value& other = needed_argument(a, 0, "other");
            if (v.identity() != nullptr) return v.identity() == other.identity();
            return v.type_name() == other.type_name() && equal(v, other);
          }},
    Entry{"escaped", [](Interpreter&, Input v, Given) { return v.is_markup(); }},
    Entry{"lower", [](Interpreter&, Input v, Given) { return shape_of(v).lower; }},
    Entry{"upper", [](Interpreter&, Input v, Given) { return shape_of(v).upper; }},
    Entry{"filter", [](Interpreter&, Input v,
                       Given) { return v.is_string() && find_filter(v.string()) != nullptr; }},
    Entry{"test", [](Interpreter&, Input v,
                     Given) { return v.is_string() && find_test(v.string()) != nullptr; }},
    Entry{"eq",
          [](Interpreter&, Input v, Given a) { return equal(v, needed_argument(a, 0, "other")); }},
    Entry{"ne",
          [](Interpreter&, Input v, Given a) { return !equal(v, needed_argument(a, 0, "other")); }},
    Entry{"lt", ordered<-1, false>},
    Entry{"le", ordered<-1, true>},
    Entry{"gt", ordered<1, false>},
    Entry{"ge", ordered<1, true>},
};

constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kAliases = {
    {{"==", "eq"},
     {"equalto", "eq"},
     {"!=", "ne"},
     {"<", "lt"},
     {"lessthan", "lt"},
     {"<=", "le"},
     {">", "gt"},
     {"greaterthan", "gt"},
     {">=", "ge"}}};

}  // namespace

Test find_test(std::string_view name) {
  for (const auto& [alias, real] : kAliases)
    if (alias == name) name = real;
  for (const Entry& entry : kTests)
    if (entry.name == name) return entry.test;
  return nullptr;
}

}  // namespace outboard::text::jinja
