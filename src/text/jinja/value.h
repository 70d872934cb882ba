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

#include "text/jinja/big_int.h"
#include "text/traced_text.h"

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

struct String {
  TracedText text;
  bool markup = false;  // MarkupSafe's Markup: escapes what is added to it
};

// Immutable and cheap to copy; only a Namespace changes.
class Value {
 public:
  Value() : data_(std::shared_ptr<const Undefined>()) {}
  explicit Value(bool value) : data_(value) {}
  explicit Value(int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(std::string value) : Value(TracedText(std::move(value))) {}
  explicit Value(TracedText text, bool markup = false)
      : data_(std::make_shared<const String>(String{std::move(text), markup})) {}
  explicit Value(const BigInt& value);
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
  // Its strings and keys come from `origin`.
  static Value from_json(const nlohmann::ordered_json& json, Origin origin = Origin::kTemplate);

  bool is_undefined() const {
    return std::holds_alternative<std::shared_ptr<const Undefined>>(data_);
  }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const {  // not bool
    return std::holds_alternative<int64_t>(data_) || is_big();
  }
  bool is_big() const { return std::holds_alternative<std::shared_ptr<const BigInt>>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_integral() const { return is_bool() || is_int(); }
  bool is_string() const { return std::holds_alternative<std::shared_ptr<const String>>(data_); }
  bool is_markup() const { return is_string() && text_data().markup; }
  bool is_list() const { return std::holds_alternative<std::shared_ptr<const List>>(data_); }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<const Dict>>(data_); }
  bool is_namespace() const { return std::holds_alternative<std::shared_ptr<Namespace>>(data_); }
  bool is_callable() const {
    return std::holds_alternative<std::shared_ptr<const Callable>>(data_);
  }

  // The caller has checked the type.
  bool boolean() const { return std::get<bool>(data_); }
  // Throws Error when it does not fit into 64 bits.
  int64_t integer() const;
  BigInt big() const;     // of any integer
  double number() const;  // throws Error for an integer that no double comes near
  const std::string& string() const { return text_data().text.bytes(); }
  const TracedText& text() const { return text_data().text; }
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
  const String& text_data() const { return *std::get<std::shared_ptr<const String>>(data_); }

  std::variant<std::shared_ptr<const Undefined>, None, bool, int64_t, double,
               std::shared_ptr<const BigInt>, std::shared_ptr<const String>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
               std::shared_ptr<const Callable>>
      data_;
};

using Values = std::vector<Value>;

// What a template is rendered with.
struct Variables {
  std::vector<std::pair<std::string, Value>> list;
};

// Containers nest at most so deep, which bounds the recursion over them.
inline constexpr int kDeepestValue = 100;

struct List {
  // The last three are what a dict's methods give.
  enum class Kind : uint8_t { kList, kTuple, kGenerator, kKeys, kValues, kItems };
  Values items;
  Kind kind = Kind::kList;
  int depth = 1;

  bool has_positions() const { return kind == Kind::kList || kind == Kind::kTuple; }
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
  std::vector<std::pair<std::string, Value>> fields = {};  // a macro's name, arguments, ...
};

Value make_list(Values items, List::Kind kind = List::Kind::kList);
Value make_dict(std::vector<std::pair<Value, Value>> items);
Value make_pair(Value first, Value second);

bool equal(const Value& a, const Value& b);
// Negative, 0 or positive; throws Error for types Python does not order.
int compare(const Value& a, const Value& b);

// Python's str() and repr().
TracedText to_text(const Value& value);
TracedText to_repr(const Value& value);
// Python's repr of a float.
std::string float_text(double number);

struct JsonStyle {
  int indent = -1;  // spaces; -1: one line
  TracedText item_separator{", "}, key_separator{": "};
  bool ensure_ascii = false, sort_keys = false;
};
// Python's json.dumps.
TracedText to_json(const Value& value, const JsonStyle& style);

}  // namespace outboard::text::jinja
