// The functions every template sees.
#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>

#include "text/jinja/arguments.h"
#include "text/jinja/interpreter.h"

namespace outboard::text::jinja {
namespace {

constexpr int64_t kLongestRange = 100'000;  // jinja2's sandbox has the same

Value range(Interpreter& interpreter, const Arguments& arguments) {
  const size_t count = arguments.positional.size();
  if (count < 1 || count > 3) fail("range expected 1 to 3 arguments, got {}", count);
  int64_t numbers[3] = {0, 0, 1};
  for (size_t i = 0; i < count; ++i) {
    const Value& value = arguments.positional[i];
    if (value.is_undefined()) throw Error(value.undefined_message());
    if (!value.is_integral())
      fail("'{}' object cannot be interpreted as an integer", value.type_name());
    numbers[count == 1 ? 1 : i] = value.integer();
  }
  const auto [start, stop, step] = numbers;
  if (step == 0) fail("range() arg 3 must not be zero");
  Values items;
  for (int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (static_cast<int64_t>(items.size()) >= kLongestRange)
      fail("range too big, at most {} items", kLongestRange);
    items.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  interpreter.spend_steps(items.size());
  return make_list(std::move(items));
}

Value make_space(Interpreter& interpreter, const Arguments& arguments) {
  const auto space = interpreter.make_namespace();
  for (const Value& given : arguments.positional) {
    if (!given.is_dict()) fail("namespace() takes a dict or named values");
    for (const auto& [key, value] : given.dict().items)
      space->fields.emplace_back(to_text(key).bytes(), value);
  }
  for (const auto& named : arguments.named) space->fields.push_back(named);
  return Value(space);
}

Value dict(Interpreter& interpreter, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (!arguments.positional.empty()) {
    const Value& given = arguments.positional[0];
    if (arguments.positional.size() > 1) fail("dict expected at most 1 argument");
    if (given.is_dict()) {
      items = given.dict().items;
    } else {
      for (const Value& pair : iterate(interpreter, given)) {
        const Values parts = iterate(interpreter, pair);
        if (parts.size() != 2)
          fail("dictionary update sequence: {} parts, expected 2", parts.size());
        const auto same = std::find_if(items.begin(), items.end(), [&](const auto& item) {
          return equal(item.first, parts[0]);
        });
        if (same != items.end()) {
          same->second = parts[1];
        } else {
          items.emplace_back(parts[0], parts[1]);
        }
      }
    }
  }
  for (const auto& [name, value] : arguments.named) {
    bool replaced = false;
    for (auto& [key, present] : items) {
      if (!key.is_string() || key.string() != name) continue;
      present = value;
      replaced = true;
    }
    if (!replaced) items.emplace_back(Value(name), value);
  }
  return make_dict(std::move(items));
}

Value raise_exception(Interpreter&, const Arguments& arguments) {
  throw Error(
      fmt::format("the template refuses this conversation: {}",
                  arguments.positional.empty() ? "" : to_text(arguments.positional[0]).bytes()));
}

Value strftime_now(Interpreter&, const Arguments& arguments) {
  const std::string format = text_argument(arguments, 0, "format", "%c");
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm local{};
  localtime_r(&now, &local);
  char text[512];
  // 0 also stands for an empty result, which is no error.
  const size_t length = std::strftime(text, sizeof text, format.c_str(), &local);
  return Value(std::string(text, length));
}

// joiner(', '): a function that gives nothing the first time and the separator from then on.
Value joiner(Interpreter&, const Arguments& arguments) {
  const TracedText separator = traced_argument(arguments, 0, "sep", ", ");
  const auto used = std::make_shared<bool>(false);
  return Value(
      std::make_shared<const Callable>(Callable{"joiner",
                                                [separator, used](Interpreter&, const Arguments&) {
                                                  const bool first = !*used;
                                                  *used = true;
                                                  return Value(first ? TracedText() : separator);
                                                },
                                                {}}));
}

// cycler('a', 'b'): next() goes through the values again and again, current is the present one.
Value cycler(Interpreter& interpreter, const Arguments& arguments) {
  if (arguments.positional.empty()) fail("at least one item has to be provided");
  const auto space = interpreter.make_namespace();
  space->writable = false;
  const auto at = std::make_shared<size_t>(0);
  const std::weak_ptr<Namespace> weak = space;  // the fields hold these functions
  const Values items = arguments.positional;
  const auto go = [weak, at, items](size_t to) {
    *at = to % items.size();
    if (const auto now = weak.lock())
      for (auto& [name, value] : now->fields)
        if (name == "current") value = items[*at];
  };
  const auto method = [](std::string name, auto function) {
    return Value(std::make_shared<const Callable>(Callable{std::move(name), function, {}}));
  };
  space->fields.emplace_back("current", items[0]);
  space->fields.emplace_back("next",
                             method("next", [go, at, items](Interpreter&, const Arguments&) {
                               Value present = items[*at];
                               go(*at + 1);
                               return present;
                             }));
  space->fields.emplace_back("reset", method("reset", [go](Interpreter&, const Arguments&) {
                               go(0);
                               return Value::none();
                             }));
  return Value(space);
}

struct Entry {
  std::string_view name;
  Value (*function)(Interpreter&, const Arguments&);
};

constexpr std::array kGlobals = {
    Entry{"range", range},
    Entry{"namespace", make_space},
    Entry{"dict", dict},
    Entry{"raise_exception", raise_exception},
    Entry{"strftime_now", strftime_now},
    Entry{"joiner", joiner},
    Entry{"cycler", cycler},
};

}  // namespace

Value find_global(std::string_view name) {
  for (const Entry& entry : kGlobals)
    if (entry.name == name)
      return Value(
          std::make_shared<const Callable>(Callable{std::string(name), entry.function, {}}));
  return {};
}

}  // namespace outboard::text::jinja
