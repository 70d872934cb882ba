// The values a template works on, with Python's meaning.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace outboard::text::jinja {

class Interpreter;
struct List;
struct Dict;
struct Namespace;
struct Callable;

// Holds what evaluates to jinja2's Undefined: prints as nothing, most other uses are errors.
struct Undefined {
  std::string name;  // for messages
};

// Immutable and cheap to copy; only a Namespace changes.
class Value {
 public:
  Value() : data_(std::shared_ptr<const Undefined>()) {}
  explicit Value(bool value) : data_(value) {}
  explicit Value(int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(std::string value)
      : data_(std::make_shared<const std::string>(std::move(value))) {}
  explicit Value(std::shared_ptr<const List> list) : data_(std::move(list)) {}
  explicit Value(std::shared_ptr<const Dict> dict) : data_(std::move(dict)) {}
  explicit Value(std::shared_ptr<Namespace> space) : data_(std::move(space)) {}
  explicit Value(std::shared_ptr<const Callable> callable) : data_(std::move(callable)) {}
  static Value none() {
    Value value;
    value.data_ = None{};
    return value;
  }
  static Value undefined(std::string name);
  static Value from_json(const nlohmann::ordered_json& json);

  bool is_undefined() const {
    return std::holds_alternative<std::shared_ptr<const Undefined>>(data_);
  }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }  // not bool
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_integral() const { return is_bool() || is_int(); }
  bool is_string() const {
    return std::holds_alternative<std::shared_ptr<const std::string>>(data_);
  }
  bool is_list() const { return std::holds_alternative<std::shared_ptr<const List>>(data_); }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<const Dict>>(data_); }
  bool is_namespace() const { return std::holds_alternative<std::shared_ptr<Namespace>>(data_); }
  bool is_callable() const {
    return std::holds_alternative<std::shared_ptr<const Callable>>(data_);
  }

  // The caller has checked the type.
  bool boolean() const { return std::get<bool>(data_); }
  int64_t integer() const { return is_bool() ? boolean() : std::get<int64_t>(data_); }
  double number() const {
    return is_float() ? std::get<double>(data_) : static_cast<double>(integer());
  }
  const std::string& string() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  const List& list() const { return *std::get<std::shared_ptr<const List>>(data_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  const std::shared_ptr<Namespace>& space() const {
    return std::get<std::shared_ptr<Namespace>>(data_);
  }
  const Callable& callable() const { return *std::get<std::shared_ptr<const Callable>>(data_); }
  const void* identity() const;  // of a shared value

  bool truth() const;
  int depth() const;  // of nested containers

  // Python's type name, for messages.
  std::string_view type_name() const;
  // "'x' is undefined".
  std::string undefined_message() const;

 private:
  struct None {};
  std::variant<std::shared_ptr<const Undefined>, None, bool, int64_t, double,
               std::shared_ptr<const std::string>, std::shared_ptr<const List>,
               std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
               std::shared_ptr<const Callable>>
      data_;
};

using Values = std::vector<Value>;

// Containers nest at most so deep, which bounds the recursion over them.
inline constexpr int kDeepestValue = 100;

struct List {
  enum class Kind : uint8_t { kList, kTuple, kGenerator };
  Values items;
  Kind kind = Kind::kList;
  int depth = 1;
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;  // in order of insertion
  int depth = 1;

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

// {% set ns = namespace() %}: the one thing templates can change.
struct Namespace {
  std::vector<std::pair<std::string, Value>> fields;
  bool writable = true;  // false: the variable `loop`
  const Value* find(std::string_view name) const;
};

struct Arguments {
  Values positional;
  std::vector<std::pair<std::string, Value>> named;

  // The argument at this position or of this name; null if neither is given.
  const Value* find(size_t position, std::string_view name) const;
};

struct Callable {
  std::string name;
  std::function<Value(Interpreter&, const Arguments&)> call;
};

Value make_list(Values items, List::Kind kind = List::Kind::kList);
Value make_dict(std::vector<std::pair<Value, Value>> items);
Value make_pair(Value first, Value second);

bool equal(const Value& a, const Value& b);
// Negative, 0 or positive; throws Error for types Python does not order.
int compare(const Value& a, const Value& b);

// Python's str() and repr().
std::string to_text(const Value& value);
std::string to_repr(const Value& value);
// Python's repr of a float.
std::string float_text(double number);

struct JsonStyle {
  int indent = -1;  // spaces; -1: one line
  std::string item_separator = ", ", key_separator = ": ";
  bool ensure_ascii = false, sort_keys = false;
};
// Python's json.dumps.
std::string to_json(const Value& value, const JsonStyle& style);

}  // namespace outboard::text::jinja
