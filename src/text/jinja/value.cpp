#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/error.h"
#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

int depth_of(const Values& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

void check_depth(int depth) {
  if (depth > kDeepestValue) fail("values nested more than {} deep", kDeepestValue);
}

}  // namespace

Value Value::undefined(std::string name) {
  Value value;
  value.data_ = std::make_shared<const Undefined>(Undefined{std::move(name)});
  return value;
}

Value::Value(const BigInt& value) {
  if (value.fits()) {
    data_ = value.small();
  } else {
    data_ = std::make_shared<const BigInt>(value);
  }
}

int64_t Value::integer() const {
  if (is_bool()) return boolean() ? 1 : 0;
  if (is_big()) fail("the integer {} is too large here", big().text());
  return std::get<int64_t>(data_);
}

BigInt Value::big() const {
  return is_big() ? *std::get<std::shared_ptr<const BigInt>>(data_) : BigInt(integer());
}

double Value::number() const {
  if (is_float()) return std::get<double>(data_);
  if (!is_big()) return static_cast<double>(integer());
  const double nearest = big().number();
  if (std::isinf(nearest)) fail("an integer is too large to become a float");
  return nearest;
}

Value Value::from_json(const nlohmann::ordered_json& json, Origin origin) {
  switch (json.type()) {
    case nlohmann::json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::json::value_t::number_integer:
      return Value(json.get<int64_t>());
    case nlohmann::json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        return Value(BigInt::from_unsigned(json.get<uint64_t>()));
      return Value(json.get<int64_t>());
    case nlohmann::json::value_t::number_float:
      return Value(json.get<double>());
    case nlohmann::json::value_t::string:
      return Value(TracedText(json.get<std::string>(), origin));
    case nlohmann::json::value_t::array: {
      Values items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json(item, origin));
      return make_list(std::move(items));
    }
    case nlohmann::json::value_t::object: {
      std::vector<std::pair<Value, Value>> items;
      items.reserve(json.size());
      for (const auto& [key, item] : json.items())
        items.emplace_back(Value(TracedText(key, origin)), from_json(item, origin));
      return make_dict(std::move(items));
    }
    default:
      return none();
  }
}

const void* Value::identity() const {
  if (is_list()) return &list();
  if (is_dict()) return &dict();
  if (is_namespace()) return space().get();
  if (is_callable()) return &callable();
  return nullptr;
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_bool()) return boolean();
  if (is_big()) return true;
  if (is_int()) return integer() != 0;
  if (is_float()) return number() != 0;
  if (is_string()) return !string().empty();
  if (is_list()) return list().kind == List::Kind::kGenerator || !list().items.empty();
  if (is_dict()) return !dict().items.empty();
  return true;
}

int Value::depth() const {
  if (is_list()) return list().depth;
  if (is_dict()) return dict().depth;
  return 0;
}

std::string_view Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_float()) return "float";
  if (is_string()) return is_markup() ? "Markup" : "str";
  if (is_dict()) return "dict";
  if (is_namespace()) return "Namespace";
  if (is_callable()) return "function";
  switch (list().kind) {
    case List::Kind::kTuple:
      return "tuple";
    case List::Kind::kGenerator:
      return "generator";
    case List::Kind::kKeys:
      return "dict_keys";
    case List::Kind::kValues:
      return "dict_values";
    case List::Kind::kItems:
      return "dict_items";
    default:
      return "list";
  }
}

std::string Value::undefined_message() const {
  const auto& undefined = std::get<std::shared_ptr<const Undefined>>(data_);
  return undefined == nullptr ? "the value is undefined"
                              : fmt::format("'{}' is undefined", undefined->name);
}

const Value* Dict::find(const Value& key) const {
  for (const auto& [name, value] : items)
    if (equal(name, key)) return &value;
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : items)
    if (name.is_string() && name.string() == key) return &value;
  return nullptr;
}

const Value* Namespace::find(std::string_view name) const {
  for (const auto& [key, value] : fields)
    if (key == name) return &value;
  return nullptr;
}

const Value* Arguments::find(size_t position, std::string_view name) const {
  if (position < positional.size()) return &positional[position];
  for (const auto& [key, value] : named)
    if (key == name) return &value;
  return nullptr;
}

Value make_list(Values items, List::Kind kind) {
  const int depth = depth_of(items);
  check_depth(depth);
  return Value(std::make_shared<const List>(List{std::move(items), kind, depth}));
}

Value make_dict(std::vector<std::pair<Value, Value>> items) {
  int depth = 0;
  for (const auto& [key, value] : items) depth = std::max(depth, value.depth());
  check_depth(depth + 1);
  return Value(std::make_shared<const Dict>(Dict{std::move(items), depth + 1}));
}

Value make_pair(Value first, Value second) {
  Values items;
  items.push_back(std::move(first));
  items.push_back(std::move(second));
  return make_list(std::move(items), List::Kind::kTuple);
}

bool equal(const Value& a, const Value& b) {
  if (a.is_big() || b.is_big()) return a.is_number() && b.is_number() && compare(a, b) == 0;
  if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  if (a.is_string() && b.is_string()) return a.string() == b.string();
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.is_list() && b.is_list()) {
    const List& x = a.list();
    const List& y = b.list();
    return x.kind == y.kind &&
           std::equal(x.items.begin(), x.items.end(), y.items.begin(), y.items.end(), equal);
  }
  if (a.is_dict() && b.is_dict()) {
    if (a.dict().items.size() != b.dict().items.size()) return false;
    return std::all_of(a.dict().items.begin(), a.dict().items.end(), [&](const auto& item) {
      const Value* other = b.dict().find(item.first);
      return other != nullptr && equal(item.second, *other);
    });
  }
  return a.identity() != nullptr && a.identity() == b.identity();
}

int compare(const Value& a, const Value& b) {
  const auto order = [](const auto& x, const auto& y) { return x < y ? -1 : (y < x ? 1 : 0); };
  if ((a.is_big() || b.is_big()) && a.is_integral() && b.is_integral())
    return BigInt::compare(a.big(), b.big());
  if (a.is_integral() && b.is_integral()) return order(a.integer(), b.integer());
  if (a.is_big() || b.is_big()) {  // beside a float, or what has no order
    const Value& other = a.is_big() ? b : a;
    if (other.is_float() && std::isfinite(other.number())) {
      const int sign = a.is_big() ? 1 : -1;
      return sign *
             BigInt::compare((a.is_big() ? a : b).big(), BigInt::from_double(other.number()));
    }
    if (other.is_float()) {
      const double big = (a.is_big() ? a : b).big().negative() ? -1 : 1;
      return a.is_big() ? order(big, other.number()) : order(other.number(), big);
    }
  }
  if (a.is_number() && b.is_number()) return order(a.number(), b.number());
  // The order of UTF-8 bytes is the order of code points.
  if (a.is_string() && b.is_string()) return order(a.string(), b.string());
  if (a.is_list() && b.is_list() && a.list().kind == b.list().kind) {
    const Values& x = a.list().items;
    const Values& y = b.list().items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
      if (!equal(x[i], y[i])) return compare(x[i], y[i]);
    return order(x.size(), y.size());
  }
  if (a.is_undefined()) throw Error(a.undefined_message());
  if (b.is_undefined()) throw Error(b.undefined_message());
  fail("'<' not supported between '{}' and '{}'", a.type_name(), b.type_name());
}

}  // namespace outboard::text::jinja
