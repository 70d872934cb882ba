// What each expression evaluates to.
#include <algorithm>
#include <limits>

#include "support/error.h"
#include "text/jinja/ast.h"
#include "text/jinja/python_text.h"

namespace outboard::text::jinja {

Value Constant::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  return value;
}

Value Name::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  return interpreter.lookup(name);
}

Value ListDisplay::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  Values values;
  values.reserve(items.size());
  for (const ExpressionPtr& item : items) values.push_back(item->evaluate(interpreter));
  return make_list(std::move(values), tuple ? List::Kind::kTuple : List::Kind::kList);
}

Value DictDisplay::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  std::vector<std::pair<Value, Value>> values;
  for (const auto& [key, item] : items) {
    Value name = key->evaluate(interpreter);
    if (name.is_dict() || (name.is_list() && name.list().kind == List::Kind::kList))
      fail("unhashable type: '{}'", name.type_name());
    Value value = item->evaluate(interpreter);
    const auto same = std::find_if(values.begin(), values.end(),
                                   [&](const auto& entry) { return equal(entry.first, name); });
    if (same != values.end()) {
      same->second = std::move(value);
    } else {
      values.emplace_back(std::move(name), std::move(value));
    }
  }
  return make_dict(std::move(values));
}

Value Attribute::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  const Value value = object->evaluate(interpreter);
  if (value.is_dict()) interpreter.spend_steps(value.dict().items.size() / 8);
  return get_attribute(value, name);
}

Value Subscript::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  const Value value = object->evaluate(interpreter);
  return get_item(interpreter, value, key->evaluate(interpreter));
}

Value Slice::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  const Value value = object->evaluate(interpreter);
  if (value.is_undefined()) throw Error(value.undefined_message());
  const bool text = value.is_string();
  if (!text && !(value.is_list() && value.list().has_positions()))
    return Value::undefined("slice");  // as jinja2's getitem does with what it can not subscript
  const std::vector<size_t> offsets =
      text ? character_offsets(value.string()) : std::vector<size_t>();
  const auto size = static_cast<int64_t>(text ? offsets.size() - 1 : value.list().items.size());
  interpreter.spend_steps(static_cast<uint64_t>(size) / (text ? 64 : 8));

  const auto index = [&](const ExpressionPtr& expression, int64_t fallback) {
    if (expression == nullptr) return fallback;
    const Value given = expression->evaluate(interpreter);
    if (given.is_none()) return fallback;
    if (given.is_undefined()) throw Error(given.undefined_message());
    if (!given.is_integral()) fail("slice indices must be integers or None");
    if (given.is_big())  // as far as it goes
      return given.big().negative() ? std::numeric_limits<int64_t>::min() + 1
                                    : std::numeric_limits<int64_t>::max();
    return given.integer();
  };
  const int64_t stride = index(step, 1);
  if (stride == 0) fail("slice step cannot be zero");
  // Python's rules: negative positions count from the end, then all are clamped.
  const int64_t low = stride > 0 ? 0 : -1;
  const int64_t high = stride > 0 ? size : size - 1;
  const auto position = [&](int64_t at) {
    if (at < 0) at = at < -size ? -1 - size : at;
    return std::clamp(at < 0 ? at + size : at, low, high);
  };
  const bool has_start = start != nullptr;
  const bool has_stop = stop != nullptr;
  constexpr int64_t kUnset = std::numeric_limits<int64_t>::min();
  const int64_t given_start = has_start ? index(start, kUnset) : kUnset;
  const int64_t given_stop = has_stop ? index(stop, kUnset) : kUnset;
  const int64_t first = given_start == kUnset ? (stride > 0 ? low : high) : position(given_start);
  const int64_t last = given_stop == kUnset ? (stride > 0 ? high : low) : position(given_stop);

  TracedText part;
  Values items;
  int64_t at = first;
  while (stride > 0 ? at < last : at > last) {
    const auto i = static_cast<size_t>(at);
    if (text) {
      part.append(value.text(), offsets[i], offsets[i + 1] - offsets[i]);
    } else {
      items.push_back(value.list().items[i]);
    }
    if (__builtin_add_overflow(at, stride, &at)) break;
  }
  if (!text) return make_list(std::move(items), value.list().kind);
  interpreter.spend_bytes(part.size());
  return Value(std::move(part), value.is_markup());
}

Arguments CallArguments::evaluate(Interpreter& interpreter) const {
  Arguments arguments;
  for (const ExpressionPtr& value : positional)
    arguments.positional.push_back(value->evaluate(interpreter));
  for (const auto& [name, value] : named)
    arguments.named.emplace_back(name, value->evaluate(interpreter));
  if (star != nullptr) {
    for (Value& value : iterate(interpreter, star->evaluate(interpreter)))
      arguments.positional.push_back(std::move(value));
  }
  if (double_star != nullptr) {
    const Value more = double_star->evaluate(interpreter);
    if (!more.is_dict()) fail("argument after ** must be a mapping, not {}", more.type_name());
    for (const auto& [key, value] : more.dict().items) {
      if (!key.is_string()) fail("keywords must be strings");
      arguments.named.emplace_back(key.string(), value);
    }
  }
  return arguments;
}

Value Call::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  const Value function = callee->evaluate(interpreter);
  return interpreter.call(function, arguments.evaluate(interpreter));
}

Value FilterCall::apply(Interpreter& interpreter, const Value& value) const {
  interpreter.step(line);
  if (filter == nullptr) fail("unknown filter \"{}\"", name);
  return filter(interpreter, value, arguments.evaluate(interpreter));
}

Value FilterCall::evaluate(Interpreter& interpreter) const {
  return apply(interpreter, input->evaluate(interpreter));
}

Value TestCall::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  const Value value = input->evaluate(interpreter);
  if (test == nullptr) fail("unknown test \"{}\"", name);
  return Value(test(interpreter, value, arguments.evaluate(interpreter)) != negated);
}

Value Unary::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  const Value value = operand->evaluate(interpreter);
  if (sign == "not") return Value(!value.truth());
  if (value.is_undefined()) throw Error(value.undefined_message());
  if (!value.is_number()) fail("bad operand type for unary {}: '{}'", sign, value.type_name());
  if (sign == "+") return value.is_bool() ? Value(value.integer()) : value;
  if (value.is_float()) return Value(-value.number());
  if (value.is_integral()) return Value(-value.big());
  fail("bad operand type for unary -: '{}'", value.type_name());
}

Value Binary::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  Value first = left->evaluate(interpreter);
  if (sign == "and") return first.truth() ? right->evaluate(interpreter) : first;
  if (sign == "or") return first.truth() ? first : right->evaluate(interpreter);
  const Value second = right->evaluate(interpreter);
  interpreter.step(line);
  return apply_operator(interpreter, sign, first, second);
}

Value Comparison::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  Value left = first->evaluate(interpreter);
  for (const auto& [sign, operand] : rest) {
    Value right = operand->evaluate(interpreter);
    interpreter.step(line);
    // Long containers are walked.
    if (right.is_list()) interpreter.spend_steps(right.list().items.size() / 4);
    if (right.is_string()) interpreter.spend_steps(right.string().size() / 256);
    bool holds = false;
    if (sign == "==") {
      holds = equal(left, right);
    } else if (sign == "!=") {
      holds = !equal(left, right);
    } else if (sign == "in") {
      holds = contains(right, left);
    } else if (sign == "not in") {
      holds = !contains(right, left);
    } else {
      const int order = compare(left, right);
      holds = sign == "<"    ? order < 0
              : sign == "<=" ? order <= 0
              : sign == ">"  ? order > 0
                             : order >= 0;
    }
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Conditional::evaluate(Interpreter& interpreter) const {
  interpreter.step(line);
  if (condition->evaluate(interpreter).truth()) return yes->evaluate(interpreter);
  return no != nullptr ? no->evaluate(interpreter)
                       : Value::undefined("the inline if-expression without else");
}

}  // namespace outboard::text::jinja
