// The methods of strings, lists and dicts that templates call.
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

using Method = Value (*)(Interpreter&, const Value&, Given);

Value stripped(const Value& self, Given arguments, Side side) {
  const Value* characters = arguments.find(0, "chars");
  if (characters == nullptr || characters->is_none())
    return part_of(self, strip(self.string(), side));
  if (!characters->is_string()) fail("strip arg must be None or str");
  const std::string_view wanted = characters->string();
  return part_of(self, strip(self.string(), side, &wanted));
}

Value to_strings(const Value& self, const std::vector<std::string_view>& parts) {
  Values values;
  values.reserve(parts.size());
  for (const std::string_view part : parts)
    values.push_back(part.empty() ? Value(TracedText(), self.is_markup()) : part_of(self, part));
  return make_list(std::move(values));
}

Value splitted(Interpreter& interpreter, const Value& self, Given arguments, bool from_right) {
  const Value* separator = arguments.find(0, "sep");
  const int64_t most = int_argument(arguments, 1, "maxsplit", -1);
  interpreter.spend_steps(self.string().size() / 16);
  interpreter.spend_bytes(self.string().size());
  if (separator == nullptr || separator->is_none())
    return to_strings(self, split_space(self.string(), most, from_right));
  const std::string by = text_argument(arguments, 0, "sep", "");
  if (by.empty()) fail("empty separator");
  return to_strings(self, split(self.string(), by, most, from_right));
}

// The part of the text that the arguments start and end (characters) name; none: start is behind
// the end of the text. first: where it begins, in characters.
std::optional<std::string_view> range_of(const Value& self, Given arguments, int64_t& first) {
  const std::string_view text = self.string();
  const std::vector<size_t> offsets = character_offsets(text);
  const auto count = static_cast<int64_t>(offsets.size()) - 1;
  const auto position = [&](size_t argument, std::string_view name, int64_t fallback) {
    int64_t at = int_argument(arguments, argument, name, fallback);
    if (at < 0) at = std::max<int64_t>(0, at < -count ? 0 : at + count);
    return at;
  };
  first = position(1, "start", 0);
  const int64_t end = std::min(count, position(2, "end", count));
  if (first > count || first > end) return std::nullopt;
  return text.substr(offsets[static_cast<size_t>(first)],
                     offsets[static_cast<size_t>(end)] - offsets[static_cast<size_t>(first)]);
}

bool affix(const Value& self, Given arguments, bool (*test)(std::string_view, std::string_view)) {
  const Value& wanted = needed_argument(arguments, 0, "prefix");
  int64_t first = 0;
  const std::optional<std::string_view> text = range_of(self, arguments, first);
  if (!text) return false;
  const auto matches = [&](const Value& part) {
    if (!part.is_string())
      fail("first arg must be str or a tuple of str, not {}", part.type_name());
    return test(*text, part.string());
  };
  if (wanted.is_list() && wanted.list().kind == List::Kind::kTuple)
    return std::any_of(wanted.list().items.begin(), wanted.list().items.end(), matches);
  return matches(wanted);
}

Value replaced(Interpreter& interpreter, const Value& self, Given arguments) {
  const std::string& old = needed_argument(arguments, 0, "old").is_string()
                               ? arguments.find(0, "old")->string()
                               : throw Error("replace() argument 1 must be str");
  needed_argument(arguments, 1, "new");
  TracedText with = traced_argument(arguments, 1, "new", "");
  if (self.is_markup()) with = escaped(interpreter, *arguments.find(1, "new")).text();
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
  return Value(replace(self.text(), old, with, most), self.is_markup());
}

Value joined(Interpreter& interpreter, const Value& self, Given arguments) {
  TracedText text;
  bool first = true;
  for (const Value& item : iterate(interpreter, needed_argument(arguments, 0, "iterable"))) {
    const Value part = self.is_markup() ? escaped(interpreter, item) : item;
    if (!part.is_string()) fail("sequence item: expected str instance, {} found", part.type_name());
    interpreter.spend_bytes(self.string().size() + part.string().size());
    if (!first) text.append(self.text());
    first = false;
    text.append(part.text());
  }
  return Value(std::move(text), self.is_markup());
}

Value found(const Value& self, Given arguments, bool from_right, bool must) {
  if (needed_argument(arguments, 0, "sub").is_undefined()) fail("must be str, not Undefined");
  const std::string wanted = text_argument(arguments, 0, "sub", "");
  int64_t first = 0;
  const std::optional<std::string_view> text = range_of(self, arguments, first);
  const size_t at = !text        ? std::string::npos
                    : from_right ? text->rfind(wanted)
                                 : text->find(wanted);
  if (at == std::string::npos) {
    if (must) fail("substring not found");
    return Value(int64_t{-1});
  }
  return Value(first + static_cast<int64_t>(character_count(text->substr(0, at))));
}

Value counted(const Value& self, Given arguments) {
  needed_argument(arguments, 0, "sub");
  const std::string wanted = text_argument(arguments, 0, "sub", "");
  int64_t first = 0;
  const std::optional<std::string_view> text = range_of(self, arguments, first);
  if (!text) return Value(int64_t{0});
  if (wanted.empty()) return Value(static_cast<int64_t>(character_count(*text)) + 1);
  return Value(static_cast<int64_t>(split(*text, wanted, -1, false).size()) - 1);
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

bool is_cased(char32_t code) { return is_upper(code) || is_lower(code) || is_title(code); }

// Cased characters, and all of them of one kind.
Value all_cased(const Value& self, bool (*wanted)(char32_t)) {
  bool any = false;
  for (const size_t at : character_offsets(self.string())) {
    if (at == self.string().size()) break;
    const char32_t code = decode_character(self.string(), at).code;
    if (!is_cased(code)) continue;
    if (!wanted(code)) return Value(false);
    any = true;
  }
  return Value(any);
}

Value is_titled(const Value& self) {
  bool any = false, after_cased = false;
  for (const size_t at : character_offsets(self.string())) {
    if (at == self.string().size()) break;
    const char32_t code = decode_character(self.string(), at).code;
    if ((is_upper(code) || is_title(code)) == after_cased && is_cased(code)) return Value(false);
    after_cased = is_cased(code);
    any = any || after_cased;
  }
  return Value(any);
}

Value is_identifier(const Value& self) {
  bool begins = true;
  for (const size_t at : character_offsets(self.string())) {
    if (at == self.string().size()) break;
    const char32_t code = decode_character(self.string(), at).code;
    const bool number_letter =
        utf8proc_category(static_cast<utf8proc_int32_t>(code)) == UTF8PROC_CATEGORY_NL;
    if (code != '_' && !is_alpha(code) && !number_letter && (begins || !is_decimal(code)))
      return Value(false);
    begins = false;
  }
  return Value(!begins);
}

Value zero_filled(Interpreter& interpreter, const Value& self, Given arguments) {
  const Value& given = needed_argument(arguments, 0, "width");
  if (!given.is_integral()) fail("zfill needs an integer, not {}", given.type_name());
  const int64_t width = given.integer();
  const int64_t missing = width - static_cast<int64_t>(character_count(self.string()));
  if (missing <= 0) return self;
  interpreter.spend_bytes(static_cast<uint64_t>(missing) + self.string().size());
  const bool sign = self.string().starts_with('+') || self.string().starts_with('-');
  TracedText text = self.text().part(0, sign ? 1 : 0);
  text.append(std::string(static_cast<size_t>(missing), '0'));
  text.append(self.text().part(sign ? 1 : 0));
  return Value(std::move(text), self.is_markup());
}

Value tabs_expanded(Interpreter& interpreter, const Value& self, Given arguments) {
  const int64_t size = std::max<int64_t>(0, int_argument(arguments, 0, "tabsize", 8));
  if (size > 1000) fail("tabs of {} characters, expected at most 1000", size);
  interpreter.spend_bytes(self.string().size() * static_cast<uint64_t>(size + 1));
  TracedText text;
  int64_t column = 0;
  const std::vector<size_t> offsets = character_offsets(self.string());
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    const char c = self.string()[offsets[i]];
    if (c == '\t') {
      const int64_t count = size > 0 ? size - column % size : 0;
      text.append(std::string(static_cast<size_t>(count), ' '));
      column += count;
      continue;
    }
    text.append(self.text(), offsets[i], offsets[i + 1] - offsets[i]);
    column = c == '\n' || c == '\r' ? 0 : column + 1;
  }
  return Value(std::move(text), self.is_markup());
}

Value padded(Interpreter& interpreter, const Value& self, Given arguments, int left_share) {
  const int64_t width = int_argument(arguments, 0, "width", 0);
  TracedText fill = traced_argument(arguments, 1, "fillchar", " ");
  if (self.is_markup()) fill = escaped(interpreter, Value(fill)).text();
  needed_argument(arguments, 0, "width");
  if (character_count(fill.bytes()) != 1)
    fail("the fill character must be exactly one character long");
  const int64_t missing = width - static_cast<int64_t>(character_count(self.string()));
  if (missing <= 0) return self;
  interpreter.spend_bytes(static_cast<uint64_t>(missing) * fill.size() + self.string().size());
  // str.center puts the odd one on the left if the width is odd.
  const int64_t left = left_share == 1   ? missing / 2 + (missing & width & 1)
                       : left_share == 2 ? missing
                                         : 0;
  TracedText text;
  for (int64_t i = 0; i < left; ++i) text.append(fill);
  text.append(self.text());
  for (int64_t i = left; i < missing; ++i) text.append(fill);
  return Value(std::move(text), self.is_markup());
}

Value partitioned(const Value& self, Given arguments, bool from_right) {
  const std::string by = text_argument(arguments, 0, "sep", "");
  if (by.empty()) fail("empty separator");
  const std::string_view text = self.string();
  const size_t at = from_right ? text.rfind(by) : text.find(by);
  Values parts;
  if (at == std::string::npos) {
    const Value nothing(TracedText(), self.is_markup());
    parts = {self, nothing, nothing};
    if (from_right) std::swap(parts[0], parts[2]);
  } else {
    parts = {part_of(self, text.substr(0, at)), part_of(self, text.substr(at, by.size())),
             part_of(self, text.substr(at + by.size()))};
  }
  return make_list(std::move(parts), List::Kind::kTuple);
}

struct Entry {
  std::string_view name;
  Method method;
};

// A method that maps the text, without arguments.
template <TracedText (*kMap)(const TracedText&)>
Value mapped(Interpreter& interpreter, const Value& self, Given) {
  interpreter.spend_bytes(self.string().size());
  return Value(kMap(self.text()), self.is_markup());
}

template <bool (*kPredicate)(char32_t)>
Value all_are(Interpreter&, const Value& self, Given) {
  return all_characters(self, kPredicate);
}

Value without_affix(const Value& self, Given arguments, bool prefix) {
  const std::string part = text_argument(arguments, 0, prefix ? "prefix" : "suffix", "");
  const std::string_view text = self.string();
  if (prefix && text.starts_with(part)) return part_of(self, text.substr(part.size()));
  if (!prefix && text.ends_with(part))
    return part_of(self, text.substr(0, text.size() - part.size()));
  return self;
}

const std::array kStringMethods = {
    Entry{"upper", mapped<to_upper>},
    Entry{"lower", mapped<to_lower>},
    Entry{"casefold", mapped<casefold>},
    Entry{"title", mapped<python_title>},
    Entry{"capitalize", mapped<capitalize>},
    Entry{"swapcase", mapped<swap_case>},
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
            return to_strings(s, split_lines(s.string(), flag_argument(a, 0, "keepends", false)));
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
    Entry{"format", format_braces},
    Entry{"format_map",
          [](Interpreter& i, const Value& s, Given a) {
            const Value& map = needed_argument(a, 0, "mapping");
            if (!map.is_dict()) fail("format_map() needs a mapping, not {}", map.type_name());
            Arguments named;
            for (const auto& [key, value] : map.dict().items)
              named.named.emplace_back(to_text(key).bytes(), value);
            return format_braces(i, s, named);
          }},
    Entry{"find", [](Interpreter&, const Value& s, Given a) { return found(s, a, false, false); }},
    Entry{"rfind", [](Interpreter&, const Value& s, Given a) { return found(s, a, true, false); }},
    Entry{"index", [](Interpreter&, const Value& s, Given a) { return found(s, a, false, true); }},
    Entry{"rindex", [](Interpreter&, const Value& s, Given a) { return found(s, a, true, true); }},
    Entry{"count", [](Interpreter&, const Value& s, Given a) { return counted(s, a); }},
    Entry{"isdecimal", all_are<is_decimal>},
    Entry{"isdigit", all_are<is_digit>},
    Entry{"isnumeric", all_are<is_numeric>},
    Entry{"isalpha", all_are<is_alpha>},
    Entry{"isalnum",
          [](Interpreter&, const Value& s, Given) {
            return all_characters(s, [](char32_t c) { return is_numeric(c) || is_alpha(c); });
          }},
    Entry{"isspace", all_are<is_python_space>},
    Entry{"isprintable",
          [](Interpreter&, const Value& s, Given) {
            return Value(s.string().empty() || all_characters(s, is_printable).boolean());
          }},
    Entry{"isascii",
          [](Interpreter&, const Value& s, Given) {
            return Value(std::all_of(s.string().begin(), s.string().end(),
                                     [](char c) { return static_cast<uint8_t>(c) < 0x80; }));
          }},
    Entry{"isidentifier", [](Interpreter&, const Value& s, Given) { return is_identifier(s); }},
    Entry{"istitle", [](Interpreter&, const Value& s, Given) { return is_titled(s); }},
    Entry{"isupper", [](Interpreter&, const Value& s, Given) { return all_cased(s, is_upper); }},
    Entry{"islower", [](Interpreter&, const Value& s, Given) { return all_cased(s, is_lower); }},
    Entry{"ljust", [](Interpreter& i, const Value& s, Given a) { return padded(i, s, a, 0); }},
    Entry{"center", [](Interpreter& i, const Value& s, Given a) { return padded(i, s, a, 1); }},
    Entry{"rjust", [](Interpreter& i, const Value& s, Given a) { return padded(i, s, a, 2); }},
    Entry{"zfill", zero_filled},
    Entry{"expandtabs", tabs_expanded},
    Entry{"partition",
          [](Interpreter&, const Value& s, Given a) { return partitioned(s, a, false); }},
    Entry{"rpartition",
          [](Interpreter&, const Value& s, Given a) { return partitioned(s, a, true); }},
    Entry{"removeprefix",
          [](Interpreter&, const Value& s, Given a) { return without_affix(s, a, true); }},
    Entry{"removesuffix",
          [](Interpreter&, const Value& s, Given a) { return without_affix(s, a, false); }},
};

// Of Markup alone.
const std::array kMarkupMethods = {
    Entry{"striptags", filter_striptags},
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
            return make_list(dict_part(s.dict(), 2), List::Kind::kItems);
          }},
    Entry{"keys",
          [](Interpreter& i, const Value& s, Given) {
            i.spend_steps(s.dict().items.size());
            return make_list(dict_part(s.dict(), 0), List::Kind::kKeys);
          }},
    Entry{"values",
          [](Interpreter& i, const Value& s, Given) {
            i.spend_steps(s.dict().items.size());
            return make_list(dict_part(s.dict(), 1), List::Kind::kValues);
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

const std::array kIntegerMethods = {
    Entry{"bit_length",
          [](Interpreter&, const Value& s, Given) {
            const BigInt number = s.big();
            const std::string bits = (number.negative() ? -number : number).text(2);
            return Value(number.zero() ? int64_t{0} : static_cast<int64_t>(bits.size()));
          }},
};

const std::array kFloatMethods = {
    Entry{"is_integer",
          [](Interpreter&, const Value& s, Given) {
            return Value(std::isfinite(s.number()) && std::floor(s.number()) == s.number());
          }},
};

const std::array kListMethods = {
    Entry{"index",
          [](Interpreter& i, const Value& s, Given a) {
            i.spend_steps(s.list().items.size());
            const Value& wanted = needed_argument(a, 0, "value");
            const Values& items = s.list().items;
            const auto count = static_cast<int64_t>(items.size());
            const auto position = [&](size_t argument, std::string_view name, int64_t fallback) {
              const int64_t at = int_argument(a, argument, name, fallback);
              return static_cast<size_t>(std::clamp<int64_t>(at < 0 ? at + count : at, 0, count));
            };
            const size_t end = position(2, "stop", count);
            for (size_t at = position(1, "start", 0); at < end; ++at)
              if (equal(items[at], wanted)) return Value(static_cast<int64_t>(at));
            fail("{} is not in list", to_repr(wanted).bytes());
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
        Callable{std::string(name),
                 [self, method](Interpreter& interpreter, Given arguments) {
                   return method(interpreter, self, arguments);
                 },
                 {}}));
  }
  return {};
}

}  // namespace

Value find_method(const Value& self, std::string_view name) {
  if (self.is_markup()) {
    const Value method = bind(kMarkupMethods, self, name);
    if (!method.is_undefined()) return method;
  }
  if (self.is_string()) return bind(kStringMethods, self, name);
  if (self.is_integral()) return bind(kIntegerMethods, self, name);
  if (self.is_float()) return bind(kFloatMethods, self, name);
  if (self.is_dict()) return bind(kDictMethods, self, name);
  if (self.is_list() && self.list().has_positions()) return bind(kListMethods, self, name);
  return {};
}

}  // namespace outboard::text::jinja
