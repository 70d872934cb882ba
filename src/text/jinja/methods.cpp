// The methods of strings, lists and dicts that templates call.
#include <algorithm>
#include <array>

#include "text/jinja/arguments.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

using Given = const Arguments&;
using Method = Value (*)(Interpreter&, const Value&, Given);

Value stripped(const Value& self, Given arguments, Side side) {
  const Value* characters = arguments.find(0, "chars");
  if (characters == nullptr || characters->is_none())
    return Value(std::string(strip(self.string(), side)));
  const std::string_view wanted = needed_argument(arguments, 0, "chars").is_string()
                                      ? std::string_view(characters->string())
                                      : throw Error("strip arg must be None or str");
  return Value(std::string(strip(self.string(), side, &wanted)));
}

Value to_strings(std::vector<std::string> parts) {
  Values values;
  values.reserve(parts.size());
  for (std::string& part : parts) values.emplace_back(std::move(part));
  return make_list(std::move(values));
}

Value splitted(Interpreter& interpreter, const Value& self, Given arguments, bool from_right) {
  const Value* separator = arguments.find(0, "sep");
  const int64_t most = int_argument(arguments, 1, "maxsplit", -1);
  interpreter.spend_steps(self.string().size() / 16);
  interpreter.spend_bytes(self.string().size());
  if (separator == nullptr || separator->is_none())
    return to_strings(split_space(self.string(), most, from_right));
  const std::string by = text_argument(arguments, 0, "sep", "");
  if (by.empty()) fail("empty separator");
  return to_strings(split(self.string(), by, most, from_right));
}

bool affix(const Value& self, Given arguments, bool (*test)(std::string_view, std::string_view)) {
  std::string_view text = self.string();
  const std::vector<size_t> offsets = character_offsets(text);
  const auto count = static_cast<int64_t>(offsets.size()) - 1;
  const auto position = [&](size_t argument, std::string_view name, int64_t fallback) {
    int64_t at = int_argument(arguments, argument, name, fallback);
    if (at < 0) at = std::max<int64_t>(0, at < -count ? 0 : at + count);
    return at;
  };
  const int64_t start = position(1, "start", 0);
  const int64_t end = std::min(count, position(2, "end", count));
  const Value& wanted = needed_argument(arguments, 0, "prefix");
  if (start > count || start > end) return false;
  text = text.substr(offsets[static_cast<size_t>(start)],
                     offsets[static_cast<size_t>(end)] - offsets[static_cast<size_t>(start)]);
  const auto matches = [&](const Value& part) {
    if (!part.is_string())
      fail("first arg must be str or a tuple of str, not {}", part.type_name());
    return test(text, part.string());
  };
  if (wanted.is_list() && wanted.list().kind == List::Kind::kTuple)
    return std::any_of(wanted.list().items.begin(), wanted.list().items.end(), matches);
  return matches(wanted);
}

Value replaced(Interpreter& interpreter, const Value& self, Given arguments) {
  const std::string& old = needed_argument(arguments, 0, "old").is_string()
                               ? arguments.find(0, "old")->string()
                               : throw Error("replace() argument 1 must be str");
  const std::string with = text_argument(arguments, 1, "new", "");
  const int64_t most = int_argument(arguments, 2, "count", -1);
  // An upper bound, before the string is made.
  const uint64_t matches = self.string().size() / std::max<size_t>(1, old.size()) + 1;
  interpreter.spend_bytes(self.string().size());
  if (with.size() > old.size()) {
    uint64_t found = matches;
    if (!old.empty()) {
      found = 0;
      for (size_t at = self.string().find(old); at != std::string::npos;
           at = self.string().find(old, at + old.size()))
        ++found;
    }
    interpreter.spend_bytes(found * with.size());
  }
  return Value(replace(self.string(), old, with, most));
}

Value joined(Interpreter& interpreter, const Value& self, Given arguments) {
  std::string text;
  bool first = true;
  for (const Value& item : iterate(interpreter, needed_argument(arguments, 0, "iterable"))) {
    if (!item.is_string()) fail("sequence item: expected str instance, {} found", item.type_name());
    interpreter.spend_bytes(self.string().size() + item.string().size());
    if (!first) text += self.string();
    first = false;
    text += item.string();
  }
  return Value(std::move(text));
}

Value found(const Value& self, Given arguments, bool from_right, bool must) {
  const std::string wanted = text_argument(arguments, 0, "sub", "");
  const std::string& text = self.string();
  const size_t at = from_right ? text.rfind(wanted) : text.find(wanted);
  if (at == std::string::npos) {
    if (must) fail("substring not found");
    return Value(int64_t{-1});
  }
  return Value(static_cast<int64_t>(character_count(std::string_view(text).substr(0, at))));
}

template <typename Predicate>
Value all_characters(const Value& self, Predicate predicate) {
  const std::string& text = self.string();
  if (text.empty()) return Value(false);
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter character = decode_character(text, at);
    if (!predicate(character.code)) return Value(false);
    at += std::max<size_t>(1, character.length);
  }
  return Value(true);
}

bool is_digit(char32_t code) { return code >= '0' && code <= '9'; }
bool is_alpha(char32_t code) {
  std::string character;
  append_utf8(code, character);
  return to_upper(character) != to_lower(character) || code >= 0x3400;
}

Value padded(Interpreter& interpreter, const Value& self, Given arguments, int left_share) {
  const int64_t width = int_argument(arguments, 0, "width", 0);
  const std::string fill = text_argument(arguments, 1, "fillchar", " ");
  if (character_count(fill) != 1) fail("the fill character must be exactly one character long");
  const int64_t missing = width - static_cast<int64_t>(character_count(self.string()));
  if (missing <= 0) return self;
  interpreter.spend_bytes(static_cast<uint64_t>(missing) * fill.size() + self.string().size());
  // str.center puts the odd one on the left if the width is odd.
  const int64_t left = left_share == 1   ? missing / 2 + (missing & width & 1)
                       : left_share == 2 ? missing
                                         : 0;
  std::string text;
  for (int64_t i = 0; i < left; ++i) text += fill;
  text += self.string();
  for (int64_t i = left; i < missing; ++i) text += fill;
  return Value(std::move(text));
}

Value partitioned(const Value& self, Given arguments, bool from_right) {
  const std::string by = text_argument(arguments, 0, "sep", "");
  if (by.empty()) fail("empty separator");
  const std::string& text = self.string();
  const size_t at = from_right ? text.rfind(by) : text.find(by);
  Values parts;
  if (at == std::string::npos) {
    parts = {self, Value(std::string()), Value(std::string())};
    if (from_right) std::swap(parts[0], parts[2]);
  } else {
    parts = {Value(text.substr(0, at)), Value(by), Value(text.substr(at + by.size()))};
  }
  return make_list(std::move(parts), List::Kind::kTuple);
}

// str.format with {}, {0} and {name}; no format specifications.
Value formatted(Interpreter& interpreter, const Value& self, Given arguments) {
  const std::string& pattern = self.string();
  std::string text;
  size_t next = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if ((c == '{' || c == '}') && i + 1 < pattern.size() && pattern[i + 1] == c) {
      text.push_back(c);
      ++i;
      continue;
    }
    if (c == '}') fail("Single '}}' encountered in format string");
    if (c != '{') {
      text.push_back(c);
      continue;
    }
    const size_t end = pattern.find('}', i);
    if (end == std::string::npos) fail("expected '}}' before end of string");
    const std::string field = pattern.substr(i + 1, end - i - 1);
    const bool number = !field.empty() && field.size() < 6 &&
                        field.find_first_not_of("0123456789") == std::string::npos;
    if (field.find_first_of(".[:!") != std::string::npos)
      fail("format field \"{}\" is not supported", field);
    constexpr size_t kNamed = ~size_t{0};
    const size_t position = field.empty() ? next++ : number ? std::stoul(field) : kNamed;
    text += text_of(interpreter, needed_argument(arguments, position, field));
    i = end;
  }
  interpreter.spend_bytes(text.size());
  return Value(std::move(text));
}

struct Entry {
  std::string_view name;
  Method method;
};

const std::array kStringMethods = {
    Entry{"upper", [](Interpreter&, const Value& s, Given) { return Value(to_upper(s.string())); }},
    Entry{"lower", [](Interpreter&, const Value& s, Given) { return Value(to_lower(s.string())); }},
    Entry{"casefold",
          [](Interpreter&, const Value& s, Given) { return Value(to_lower(s.string())); }},
    Entry{"title",
          [](Interpreter&, const Value& s, Given) { return Value(python_title(s.string())); }},
    Entry{"capitalize",
          [](Interpreter&, const Value& s, Given) { return Value(capitalize(s.string())); }},
    Entry{"swapcase",
          [](Interpreter&, const Value& s, Given) { return Value(swap_case(s.string())); }},
    Entry{"strip",
          [](Interpreter&, const Value& s, Given a) { return stripped(s, a, Side::kBoth); }},
    Entry{"lstrip",
          [](Interpreter&, const Value& s, Given a) { return stripped(s, a, Side::kLeft); }},
    Entry{"rstrip",
          [](Interpreter&, const Value& s, Given a) { return stripped(s, a, Side::kRight); }},
    Entry{"split",
          [](Interpreter& i, const Value& s, Given a) { return splitted(i, s, a, false); }},
    Entry{"rsplit",
          [](Interpreter& i, const Value& s, Given a) { return splitted(i, s, a, true); }},
    Entry{"splitlines",
          [](Interpreter& i, const Value& s, Given a) {
            i.spend_steps(s.string().size() / 16);
            return to_strings(split_lines(s.string(), flag_argument(a, 0, "keepends", false)));
          }},
    Entry{"startswith",
          [](Interpreter&, const Value& s, Given a) {
            return Value(affix(s, a, [](std::string_view text, std::string_view part) {
              return text.starts_with(part);
            }));
          }},
    Entry{"endswith",
          [](Interpreter&, const Value& s, Given a) {
            return Value(affix(s, a, [](std::string_view text, std::string_view part) {
              return text.ends_with(part);
            }));
          }},
    Entry{"replace", replaced},
    Entry{"join", joined},
    Entry{"format", formatted},
    Entry{"find", [](Interpreter&, const Value& s, Given a) { return found(s, a, false, false); }},
    Entry{"rfind", [](Interpreter&, const Value& s, Given a) { return found(s, a, true, false); }},
    Entry{"index", [](Interpreter&, const Value& s, Given a) { return found(s, a, false, true); }},
    Entry{"rindex", [](Interpreter&, const Value& s, Given a) { return found(s, a, true, true); }},
    Entry{"count",
          [](Interpreter&, const Value& s, Given a) {
            const std::string wanted = text_argument(a, 0, "sub", "");
            if (wanted.empty())
              return Value(static_cast<int64_t>(character_count(s.string())) + 1);
            return Value(
                static_cast<int64_t>(split(s.string(), wanted, -1, false).size()) - 1);
          }},
    Entry{"isdigit",
          [](Interpreter&, const Value& s, Given) { return all_characters(s, is_digit); }},
    Entry{"isnumeric",
          [](Interpreter&, const Value& s, Given) { return all_characters(s, is_digit); }},
    Entry{"isalpha",
          [](Interpreter&, const Value& s, Given) { return all_characters(s, is_alpha); }},
    Entry{"isalnum",
          [](Interpreter&, const Value& s, Given) {
            return all_characters(s, [](char32_t c) { return is_digit(c) || is_alpha(c); });
          }},
    Entry{"isspace",
          [](Interpreter&, const Value& s, Given) { return all_characters(s, is_python_space); }},
    Entry{"isupper",
          [](Interpreter&, const Value& s, Given) {
            return Value(to_upper(s.string()) == s.string() && to_lower(s.string()) != s.string());
          }},
    Entry{"islower",
          [](Interpreter&, const Value& s, Given) {
            return Value(to_lower(s.string()) == s.string() && to_upper(s.string()) != s.string());
          }},
    Entry{"ljust", [](Interpreter& i, const Value& s, Given a) { return padded(i, s, a, 0); }},
    Entry{"center", [](Interpreter& i, const Value& s, Given a) { return padded(i, s, a, 1); }},
    Entry{"rjust", [](Interpreter& i, const Value& s, Given a) { return padded(i, s, a, 2); }},
    Entry{"partition", [](Interpreter&, const Value& s, Given a) { return partitioned(s, a, false); }},
    Entry{"rpartition", [](Interpreter&, const Value& s, Given a) { return partitioned(s, a, true); }},
    Entry{"removeprefix",
          [](Interpreter&, const Value& s, Given a) {
            const std::string part = text_argument(a, 0, "prefix", "");
            return s.string().starts_with(part) ? Value(s.string().substr(part.size())) : s;
          }},
    Entry{"removesuffix",
          [](Interpreter&, const Value& s, Given a) {
            const std::string part = text_argument(a, 0, "suffix", "");
            return s.string().ends_with(part)
                       ? Value(s.string().substr(0, s.string().size() - part.size()))
                       : s;
          }},
};

Values dict_part(const Dict& dict, int what) {
  Values values;
  for (const auto& [key, value] : dict.items)
    values.push_back(what == 0 ? key : what == 1 ? value : make_pair(key, value));
  return values;
}

const std::array kDictMethods = {
    Entry{"items",
          [](Interpreter& i, const Value& s, Given) {
            i.spend_steps(s.dict().items.size());
            return make_list(dict_part(s.dict(), 2));
          }},
    Entry{"keys",
          [](Interpreter& i, const Value& s, Given) {
            i.spend_steps(s.dict().items.size());
            return make_list(dict_part(s.dict(), 0));
          }},
    Entry{"values",
          [](Interpreter& i, const Value& s, Given) {
            i.spend_steps(s.dict().items.size());
            return make_list(dict_part(s.dict(), 1));
          }},
    Entry{"get",
          [](Interpreter& i, const Value& s, Given a) {
            i.spend_steps(s.dict().items.size() / 8);
            const Value* value = s.dict().find(needed_argument(a, 0, "key"));
            if (value != nullptr) return *value;
            const Value* fallback = a.find(1, "default");
            return fallback != nullptr ? *fallback : Value::none();
          }},
    Entry{"copy", [](Interpreter&, const Value& s, Given) { return s; }},
};

const std::array kListMethods = {
    Entry{"index",
          [](Interpreter& i, const Value& s, Given a) {
            i.spend_steps(s.list().items.size());
            const Value& wanted = needed_argument(a, 0, "value");
            const Values& items = s.list().items;
            for (size_t at = 0; at < items.size(); ++at)
              if (equal(items[at], wanted)) return Value(static_cast<int64_t>(at));
            fail("{} is not in list", to_repr(wanted));
          }},
    Entry{"count",
          [](Interpreter& i, const Value& s, Given a) {
            i.spend_steps(s.list().items.size());
            const Value& wanted = needed_argument(a, 0, "value");
            return Value(static_cast<int64_t>(
                std::count_if(s.list().items.begin(), s.list().items.end(),
                              [&](const Value& item) { return equal(item, wanted); })));
          }},
    Entry{"copy", [](Interpreter&, const Value& s, Given) { return s; }},
};

template <typename Table>
Value bind(const Table& table, const Value& self, std::string_view name) {
  for (const Entry& entry : table) {
    if (entry.name != name) continue;
    const Method method = entry.method;
    return Value(std::make_shared<const Callable>(
        Callable{std::string(name), [self, method](Interpreter& interpreter, Given arguments) {
                   return method(interpreter, self, arguments);
                 }}));
  }
  return {};
}

}  // namespace

Value find_method(const Value& self, std::string_view name) {
  if (self.is_string()) return bind(kStringMethods, self, name);
  if (self.is_dict()) return bind(kDictMethods, self, name);
  if (self.is_list()) return bind(kListMethods, self, name);
  return {};
}

}  // namespace outboard::text::jinja
