// The state of one rendering: scopes, output, limits. Internal to the Jinja engine.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/jinja.h"
#include "text/jinja/value.h"

namespace outboard::text::jinja {

// The variables of one block. Macros keep the scope they were defined in alive.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> variables;

  void set(std::string_view name, Value value);
};

class Interpreter {
 public:
  Interpreter(const Variables& variables, const Limits& limits);
  ~Interpreter();  // breaks the cycles between macros, scopes and namespaces
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // Each evaluated node calls this; throws Error when the template has done too much.
  void step(int line) {
    line_ = line;
    spend_steps(1);
  }
  void spend_steps(uint64_t count);
  // To be called before a string of this size is made.
  void spend_bytes(uint64_t count);
  int line() const { return line_; }

  Value lookup(const std::string& name) const;
  void assign(std::string_view name, Value value) { scope_->set(name, std::move(value)); }
  const std::shared_ptr<Scope>& scope() const { return scope_; }

  void write(const TracedText& text);
  // Runs body with its output going into the returned string.
  template <typename Body>
  TracedText capture(Body body) {
    TracedText captured;
    std::swap(captured, output_);
    try {
      body();
    } catch (...) {
      std::swap(captured, output_);
      throw;
    }
    std::swap(captured, output_);
    return captured;
  }

  Value call(const Value& callee, const Arguments& arguments);
  std::shared_ptr<Namespace> make_namespace();
  // A callable that uses this scope later on.
  void keep_until_end(std::shared_ptr<Scope> scope) { kept_scopes_.push_back(std::move(scope)); }

  TracedText take_output() { return std::move(output_); }

 private:
  friend class ScopeGuard;
  friend class RecursionGuard;

  Limits limits_;
  std::shared_ptr<Scope> scope_;
  TracedText output_;
  int line_ = 0;
  int recursion_ = 0;
  std::vector<std::shared_ptr<Scope>> kept_scopes_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

// A new scope inside the given one (the present one by default) as long as it lives.
class ScopeGuard {
 public:
  explicit ScopeGuard(Interpreter& interpreter) : ScopeGuard(interpreter, interpreter.scope_) {}
  ScopeGuard(Interpreter& interpreter, std::shared_ptr<Scope> parent)
      : interpreter_(interpreter), saved_(interpreter.scope_) {
    interpreter_.scope_ = std::make_shared<Scope>();
    interpreter_.scope_->parent = std::move(parent);
  }
  ~ScopeGuard() { interpreter_.scope_ = std::move(saved_); }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Interpreter& interpreter_;
  std::shared_ptr<Scope> saved_;
};

class RecursionGuard {
 public:
  explicit RecursionGuard(Interpreter& interpreter);
  ~RecursionGuard() { --interpreter_.recursion_; }
  RecursionGuard(const RecursionGuard&) = delete;
  RecursionGuard& operator=(const RecursionGuard&) = delete;

 private:
  Interpreter& interpreter_;
};

// The built-ins, in files of their own. A null function: there is none of this name.
using Filter = Value (*)(Interpreter&, const Value&, const Arguments&);
using Test = bool (*)(Interpreter&, const Value&, const Arguments&);
Filter find_filter(std::string_view name);
Test find_test(std::string_view name);
// A method of a string, list or dict, bound to it; undefined if it has none of this name.
Value find_method(const Value& self, std::string_view name);
// range, namespace, ...; undefined if there is none of this name.
Value find_global(std::string_view name);

// obj.name and obj[key] of Jinja.
Value get_attribute(const Value& object, const std::string& name);
Value get_item(Interpreter& interpreter, const Value& object, const Value& key);
// What `for` goes through; throws Error if the value can not be iterated.
Values iterate(Interpreter& interpreter, const Value& value);
// Python's binary operators by their sign: + - * / // % ** ~.
Value apply_operator(Interpreter& interpreter, std::string_view sign, const Value& a,
                     const Value& b);
bool contains(const Value& container, const Value& item);
// str(value) with its bytes counted.
TracedText text_of(Interpreter& interpreter, const Value& value);

// Part of a string, a view into its bytes; Markup stays Markup.
Value part_of(const Value& string, std::string_view part);
// MarkupSafe's escape: Markup stays, other values become HTML text.
Value escaped(Interpreter& interpreter, const Value& value);
// "..." % values, and "...".format(arguments).
Value format_percent(Interpreter& interpreter, const Value& pattern, const Value& values);
Value format_braces(Interpreter& interpreter, const Value& pattern, const Arguments& arguments);

}  // namespace outboard::text::jinja
