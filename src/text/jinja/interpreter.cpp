#include "text/jinja/interpreter.h"

#include <cmath>
#include <limits>

#include "support/error.h"
#include "text/jinja/ast.h"
#include "text/jinja/parser.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

// Calls inside calls stop here; threads of some systems have 512 KiB of stack.
constexpr uintptr_t kMostStack = uintptr_t{300} << 10;

thread_local uintptr_t stack_base = 0;

uintptr_t stack_position() { return reinterpret_cast<uintptr_t>(__builtin_frame_address(0)); }

}  // namespace

void Scope::set(std::string_view name, Value value) {
  for (auto& [key, present] : variables) {
    if (key == name) {
      present = std::move(value);
      return;
    }
  }
  variables.emplace_back(std::string(name), std::move(value));
}

Interpreter::Interpreter(const Variables& variables, const Limits& limits)
    : limits_(limits), scope_(std::make_shared<Scope>()) {
  stack_base = stack_position();
  for (const auto& [name, value] : variables.list) scope_->set(name, value);
  // The template's own variables come and go in front of those it was given.
  auto inner = std::make_shared<Scope>();
  inner->parent = scope_;
  scope_ = std::move(inner);
}

Interpreter::~Interpreter() {
  for (const auto& space : namespaces_) space->fields.clear();
  for (const auto& scope : kept_scopes_) scope->variables.clear();
}

void Interpreter::spend_steps(uint64_t count) {
  if (count > limits_.steps) fail("the template does too much work; it may never end");
  limits_.steps -= count;
}

void Interpreter::spend_bytes(uint64_t count) {
  if (count > limits_.bytes) fail("the template makes too much text");
  limits_.bytes -= count;
}

Value Interpreter::lookup(const std::string& name) const {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get())
    for (const auto& [key, value] : scope->variables)
      if (key == name) return value;
  Value global = find_global(name);
  return global.is_undefined() ? Value::undefined(name) : global;
}

void Interpreter::write(const TracedText& text) {
  if (text.size() > limits_.output || output_.size() > limits_.output - text.size())
    fail("the template writes more than {} bytes", limits_.output);
  spend_bytes(text.size());
  output_.append(text);
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) throw Error(callee.undefined_message());
  if (callee.is_namespace()) {  // loop(...) of a recursive loop
    const Value* function = callee.space()->find("__call__");
    if (function != nullptr) return call(*function, arguments);
  }
  if (!callee.is_callable()) fail("'{}' object is not callable", callee.type_name());
  const RecursionGuard guard(*this);
  return callee.callable().call(*this, arguments);
}

std::shared_ptr<Namespace> Interpreter::make_namespace() {
  spend_bytes(256);
  namespaces_.push_back(std::make_shared<Namespace>());
  return namespaces_.back();
}

RecursionGuard::RecursionGuard(Interpreter& interpreter) : interpreter_(interpreter) {
  const uintptr_t here = stack_position();
  const uintptr_t used = here > stack_base ? here - stack_base : stack_base - here;
  if (interpreter.recursion_ >= interpreter.limits_.recursion || used > kMostStack)
    fail("macros or loops call one another more than {} deep", interpreter.recursion_);
  ++interpreter_.recursion_;
}

Value get_attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) throw Error(object.undefined_message());
  Value method = find_method(object, name);
  if (!method.is_undefined()) return method;
  const Value* field = object.is_dict()        ? object.dict().find(name)
                       : object.is_namespace() ? object.space()->find(name)
                                               : nullptr;
  if (field != nullptr) return *field;
  if (object.is_callable())
    for (const auto& [key, value] : object.callable().fields)
      if (key == name) return value;
  return Value::undefined(name);
}

Value get_item(Interpreter& interpreter, const Value& object, const Value& key) {
  if (object.is_undefined()) throw Error(object.undefined_message());
  if (object.is_dict()) {
    interpreter.spend_steps(object.dict().items.size() / 8);
    if (const Value* found = object.dict().find(key)) return *found;
  } else if (key.is_big()) {
    return Value::undefined(key.big().text());
  } else if (key.is_integral()) {
    int64_t index = key.integer();
    if (object.is_list() && object.list().has_positions()) {
      const Values& items = object.list().items;
      if (index < 0) index += static_cast<int64_t>(items.size());
      if (index >= 0 && static_cast<uint64_t>(index) < items.size())
        return items[static_cast<size_t>(index)];
    } else if (object.is_string()) {
      interpreter.spend_steps(object.string().size() / 64);
      const std::vector<size_t> offsets = character_offsets(object.string());
      const auto count = static_cast<int64_t>(offsets.size()) - 1;
      if (index < 0) index += count;
      if (index >= 0 && index < count) {
        const auto i = static_cast<size_t>(index);
        return part_of(
            object,
            std::string_view(object.string()).substr(offsets[i], offsets[i + 1] - offsets[i]));
      }
    }
    return Value::undefined(std::to_string(key.integer()));
  }
  if (key.is_string()) return get_attribute(object, key.string());
  return Value::undefined(to_text(key).bytes());
}

Values iterate(Interpreter& interpreter, const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_list()) {
    interpreter.spend_steps(value.list().items.size());
    return value.list().items;
  }
  Values items;
  if (value.is_dict()) {
    interpreter.spend_steps(value.dict().items.size());
    for (const auto& [key, item] : value.dict().items) items.push_back(key);
    return items;
  }
  if (value.is_string()) {
    const std::vector<size_t> offsets = character_offsets(value.string());
    interpreter.spend_steps(offsets.size());
    for (size_t i = 0; i + 1 < offsets.size(); ++i)
      items.emplace_back(value.text().part(offsets[i], offsets[i + 1] - offsets[i]));
    return items;
  }
  fail("'{}' object is not iterable", value.type_name());
}

bool contains(const Value& container, const Value& item) {
  if (container.is_undefined()) return false;
  if (container.is_string()) {
    if (item.is_undefined()) throw Error(item.undefined_message());
    if (!item.is_string())
      fail("'in <string>' requires string as left operand, not {}", item.type_name());
    return container.string().find(item.string()) != std::string::npos;
  }
  if (container.is_dict()) return container.dict().find(item) != nullptr;
  if (container.is_list()) {
    for (const Value& candidate : container.list().items)
      if (equal(candidate, item)) return true;
    return false;
  }
  fail("argument of type '{}' is not iterable", container.type_name());
}

Value part_of(const Value& string, std::string_view part) {
  return Value(string.text().part(part), string.is_markup());
}

TracedText text_of(Interpreter& interpreter, const Value& value) {
  TracedText text = to_text(value);
  interpreter.spend_bytes(text.size());
  return text;
}

Template::Template(std::string_view source) : root_(parse(source)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

std::string Template::render(const nlohmann::ordered_json& variables, const Limits& limits) const {
  Variables values;
  for (const auto& [name, value] : variables.items())
    values.list.emplace_back(name, Value::from_json(value));
  return render_traced(values, limits).bytes();
}

TracedText Template::render_traced(const Variables& variables, const Limits& limits) const {
  Interpreter interpreter(variables, limits);
  try {
    root_->run(interpreter);
  } catch (Error& error) {
    error.add_context(fmt::format("line {}", interpreter.line()));
    throw;
  }
  return interpreter.take_output();
}

}  // namespace outboard::text::jinja
