// What each statement does.
#include <algorithm>

#include "support/error.h"
#include "text/jinja/ast.h"

namespace outboard::text::jinja {
namespace {

Value run_filters(Interpreter& interpreter, TracedText text,
                  const std::vector<std::unique_ptr<FilterCall>>& filters) {
  Value value(std::move(text));
  for (const auto& filter : filters) value = filter->apply(interpreter, value);
  return value;
}

// The state behind the variable `loop`.
struct LoopState {
  Values items;
  size_t at = 0;
  int level = 0;
  bool has_last_changed = false;
  Value last_changed;
};

Value make_function(std::string name,
                    std::function<Value(Interpreter&, const Arguments&)> function) {
  return Value(
      std::make_shared<const Callable>(Callable{std::move(name), std::move(function), {}}));
}

}  // namespace

Flow run_all(const Nodes& nodes, Interpreter& interpreter) {
  for (const auto& node : nodes) {
    interpreter.step(node->line);
    const Flow flow = node->run(interpreter);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

void Target::assign(Interpreter& interpreter, const Value& value) const {
  if (!parts.empty()) {
    const Values items = iterate(interpreter, value);
    if (items.size() != parts.size())
      fail("{} values to unpack, expected {}", items.size(), parts.size());
    for (size_t i = 0; i < parts.size(); ++i) parts[i].assign(interpreter, items[i]);
    return;
  }
  if (field.empty()) {
    interpreter.assign(name, value);
    return;
  }
  const Value space = interpreter.lookup(name);
  if (!space.is_namespace() || !space.space()->writable)
    fail("cannot assign attribute on non-namespace object \"{}\"", name);
  auto& fields = space.space()->fields;
  const auto same =
      std::find_if(fields.begin(), fields.end(), [&](const auto& f) { return f.first == field; });
  if (same != fields.end()) {
    same->second = value;
  } else {
    fields.emplace_back(field, value);
  }
}

Flow Text::run(Interpreter& interpreter) const {
  interpreter.write(text);
  return Flow::kNext;
}

Flow Output::run(Interpreter& interpreter) const {
  const Value value = expression->evaluate(interpreter);
  if (value.is_string()) {
    interpreter.write(value.text());
  } else {
    interpreter.write(to_text(value));
  }
  return Flow::kNext;
}

Flow Sequence::run(Interpreter& interpreter) const { return run_all(body, interpreter); }

Flow Block::run(Interpreter& interpreter) const {
  const ScopeGuard scope(interpreter);
  return run_all(body, interpreter);
}

Flow If::run(Interpreter& interpreter) const {
  for (const auto& [condition, branch] : branches)
    if (condition->evaluate(interpreter).truth()) return run_all(branch, interpreter);
  return run_all(otherwise, interpreter);
}

Flow For::run(Interpreter& interpreter) const {
  loop(interpreter, over->evaluate(interpreter), 0);
  return Flow::kNext;
}

void For::loop(Interpreter& interpreter, const Value& sequence, int level) const {
  auto state = std::make_shared<LoopState>();
  state->level = level;
  state->items = iterate(interpreter, sequence);
  if (condition != nullptr) {
    Values kept;
    for (const Value& item : state->items) {
      const ScopeGuard scope(interpreter);
      target.assign(interpreter, item);
      if (condition->evaluate(interpreter).truth()) kept.push_back(item);
    }
    state->items = std::move(kept);
  }
  const Values& items = state->items;

  const auto set = [&](Namespace& space, std::string_view name, Value value) {
    for (auto& [key, present] : space.fields) {
      if (key == name) {
        present = std::move(value);
        return;
      }
    }
    space.fields.emplace_back(std::string(name), std::move(value));
  };
  const auto info = std::make_shared<Namespace>();
  info->writable = false;
  const auto count = static_cast<int64_t>(items.size());
  set(*info, "length", Value(count));
  set(*info, "depth", Value(int64_t{level} + 1));
  set(*info, "depth0", Value(int64_t{level}));
  const std::weak_ptr<LoopState> weak = state;  // the fields may outlive the loop
  set(*info, "cycle", make_function("cycle", [weak](Interpreter&, const Arguments& arguments) {
    const auto now = weak.lock();
    if (now == nullptr || arguments.positional.empty()) fail("no items for cycling given");
    return arguments.positional[now->at % arguments.positional.size()];
  }));
  set(*info, "changed", make_function("changed", [weak](Interpreter&, const Arguments& arguments) {
    const auto now = weak.lock();
    if (now == nullptr) fail("the loop is over");
    Value values = make_list(arguments.positional);
    const bool changed = !now->has_last_changed || !equal(values, now->last_changed);
    now->has_last_changed = true;
    now->last_changed = std::move(values);
    return Value(changed);
  }));
  if (recursive) {
    set(*info, "__call__",
        make_function("loop", [this, level](Interpreter& inner, const Arguments& arguments) {
          if (arguments.positional.size() != 1) fail("loop() expects one argument");
          return Value(inner.capture([&] { loop(inner, arguments.positional[0], level + 1); }));
        }));
  }

  for (size_t i = 0; i < items.size(); ++i) {
    interpreter.step(line);
    const ScopeGuard scope(interpreter);
    state->at = i;
    const auto index = static_cast<int64_t>(i);
    set(*info, "index", Value(index + 1));
    set(*info, "index0", Value(index));
    set(*info, "revindex", Value(count - index));
    set(*info, "revindex0", Value(count - index - 1));
    set(*info, "first", Value(i == 0));
    set(*info, "last", Value(i + 1 == items.size()));
    set(*info, "previtem", i > 0 ? items[i - 1] : Value::undefined("there is no previous item"));
    set(*info, "nextitem",
        i + 1 < items.size() ? items[i + 1] : Value::undefined("there is no next item"));
    target.assign(interpreter, items[i]);
    interpreter.assign("loop", Value(info));
    if (run_all(body, interpreter) == Flow::kBreak) break;
  }
  info->fields.clear();
  // jinja2: the else branch is for a sequence without items.
  if (items.empty()) {
    const ScopeGuard scope(interpreter);
    run_all(otherwise, interpreter);
  }
}

Flow Set::run(Interpreter& interpreter) const {
  if (value != nullptr) {
    target.assign(interpreter, value->evaluate(interpreter));
    return Flow::kNext;
  }
  Flow flow = Flow::kNext;
  TracedText text = interpreter.capture([&] {
    const ScopeGuard scope(interpreter);
    flow = run_all(body, interpreter);
  });
  target.assign(interpreter, run_filters(interpreter, std::move(text), filters));
  return flow;
}

Flow FilterBlock::run(Interpreter& interpreter) const {
  Flow flow = Flow::kNext;
  TracedText text = interpreter.capture([&] {
    const ScopeGuard scope(interpreter);
    flow = run_all(body, interpreter);
  });
  interpreter.write(text_of(interpreter, run_filters(interpreter, std::move(text), filters)));
  return flow;
}

Flow With::run(Interpreter& interpreter) const {
  std::vector<Value> evaluated;  // all outside of the new scope
  for (const auto& [target, expression] : values)
    evaluated.push_back(expression->evaluate(interpreter));
  const ScopeGuard scope(interpreter);
  for (size_t i = 0; i < values.size(); ++i) values[i].first.assign(interpreter, evaluated[i]);
  return run_all(body, interpreter);
}

Value MacroBody::make(Interpreter& interpreter) const {
  std::shared_ptr<Scope> outer = interpreter.scope();
  interpreter.keep_until_end(outer);
  const auto call = [this, outer](Interpreter& inner, const Arguments& arguments) {
    Values extra;
    std::vector<std::pair<Value, Value>> extra_named;
    TracedText text = inner.capture([&] {
      const ScopeGuard scope(inner, outer);
      if (arguments.positional.size() > parameters.size()) {
        if (!uses_varargs)
          fail("macro '{}' takes not more than {} argument(s)", name, parameters.size());
        extra.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(parameters.size()),
                     arguments.positional.end());
      }
      const Value* caller = nullptr;
      for (const auto& [key, value] : arguments.named) {
        const auto known =
            std::any_of(parameters.begin(), parameters.end(),
                        [&](const auto& parameter) { return parameter.first == key; });
        if (known) continue;
        if (key == "caller") {
          caller = &value;
        } else if (uses_kwargs) {
          extra_named.emplace_back(Value(key), value);
        } else {
          fail("macro '{}' takes no keyword argument '{}'", name, key);
        }
      }
      inner.assign("caller", caller != nullptr ? *caller : Value::undefined("caller"));
      // A default sees the parameters, not what lies behind their names outside.
      for (const auto& [key, fallback] : parameters) inner.assign(key, Value::undefined(key));
      for (size_t i = 0; i < parameters.size(); ++i) {
        const auto& [key, fallback] = parameters[i];
        if (const Value* given = arguments.find(i, key)) {
          inner.assign(key, *given);
        } else {
          inner.assign(key,
                       fallback != nullptr ? fallback->evaluate(inner) : Value::undefined(key));
        }
      }
      if (uses_varargs) inner.assign("varargs", make_list(std::move(extra), List::Kind::kTuple));
      if (uses_kwargs) inner.assign("kwargs", make_dict(std::move(extra_named)));
      run_all(body, inner);
    });
    return Value(std::move(text));
  };
  Values names;
  for (const auto& [key, fallback] : parameters) names.emplace_back(key);
  Callable callable{name, call, {}};
  callable.fields = {{"name", Value(name)},
                     {"arguments", make_list(std::move(names), List::Kind::kTuple)},
                     {"catch_kwargs", Value(uses_kwargs)},
                     {"catch_varargs", Value(uses_varargs)}};
  return Value(std::make_shared<const Callable>(std::move(callable)));
}

Flow Macro::run(Interpreter& interpreter) const {
  interpreter.assign(macro.name, macro.make(interpreter));
  return Flow::kNext;
}

Flow CallBlock::run(Interpreter& interpreter) const {
  const Value callee = call->callee->evaluate(interpreter);
  Arguments arguments = call->arguments.evaluate(interpreter);
  arguments.named.emplace_back("caller", caller.make(interpreter));
  interpreter.write(text_of(interpreter, interpreter.call(callee, arguments)));
  return Flow::kNext;
}

}  // namespace outboard::text::jinja
