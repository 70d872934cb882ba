// The filters on sequences, and the table of all.
#include "text/jinja/filters.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <random>

#include "text/jinja/arguments.h"
#include "text/jinja/python_text.h"

namespace outboard::text::jinja {
namespace {

// "a.b.0" applied to each item, as the attribute arguments of filters mean it.
Value attribute_path(Interpreter& interpreter, const Value& item, const Value& path) {
  if (!path.is_string()) return get_item(interpreter, item, path);
  Value value = item;
  for (const std::string_view part : split(path.string(), ".", -1, false)) {
    int64_t index = 0;
    const auto result = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool number =
        !part.empty() && result.ec == std::errc() && result.ptr == part.data() + part.size();
    value = get_item(interpreter, value, number ? Value(index) : Value(std::string(part)));
  }
  return value;
}

// The key by which an item is ordered or told from others.
Value sort_key(Interpreter& interpreter, const Value& item, const Value* attribute,
               bool case_sensitive) {
  Value key = attribute != nullptr && !attribute->is_none()
                  ? attribute_path(interpreter, item, *attribute)
                  : item;
  if (!case_sensitive && key.is_string()) return Value(to_lower(key.text()));
  return key;
}

Value length(Interpreter&, const Value& value, Given) {
  if (value.is_undefined()) return Value(int64_t{0});
  if (value.is_string()) return Value(static_cast<int64_t>(character_count(value.string())));
  if (value.is_dict()) return Value(static_cast<int64_t>(value.dict().items.size()));
  if (value.is_list() && value.list().kind != List::Kind::kGenerator)
    return Value(static_cast<int64_t>(value.list().items.size()));
  fail("object of type '{}' has no len()", value.type_name());
}

Value first(Interpreter& interpreter, const Value& value, Given) {
  const Values items = iterate(interpreter, value);
  return items.empty() ? Value::undefined("the first item of an empty sequence") : items.front();
}

Value last(Interpreter& interpreter, const Value& value, Given) {
  if (value.is_markup() && !value.string().empty())
    return get_item(interpreter, value, Value(int64_t{-1}));
  const Values items = iterate(interpreter, value);
  return items.empty() ? Value::undefined("the last item of an empty sequence") : items.back();
}

Value list(Interpreter& interpreter, const Value& value, Given) {
  return make_list(iterate(interpreter, value));
}

Value reverse(Interpreter& interpreter, const Value& value, Given) {
  Values items = iterate(interpreter, value);
  std::reverse(items.begin(), items.end());
  if (!value.is_string()) return make_list(std::move(items), List::Kind::kGenerator);
  TracedText text;
  for (const Value& item : items) text.append(item.text());
  interpreter.spend_bytes(text.size());
  return Value(std::move(text), value.is_markup());
}

Value join(Interpreter& interpreter, const Value& value, Given arguments) {
  const Value* given = arguments.find(0, "d");
  const TracedText separator = given != nullptr ? text_of(interpreter, *given) : TracedText();
  const Value* attribute = arguments.find(1, "attribute");
  TracedText text;
  bool begins = true;
  for (const Value& item : iterate(interpreter, value)) {
    if (!begins) text.append(separator);
    begins = false;
    interpreter.spend_bytes(separator.size());
    const bool path = attribute != nullptr && !attribute->is_none();
    text.append(text_of(interpreter, path ? attribute_path(interpreter, item, *attribute) : item));
  }
  return Value(std::move(text));
}

Value default_value(Interpreter&, const Value& value, Given arguments) {
  const Value* fallback = arguments.find(0, "default_value");
  const bool also_false = flag_argument(arguments, 1, "boolean", false);
  if (!value.is_undefined() && (!also_false || value.truth())) return value;
  return fallback != nullptr ? *fallback : Value(std::string());
}

Value items(Interpreter& interpreter, const Value& value, Given) {
  if (value.is_undefined()) return make_list({}, List::Kind::kGenerator);
  if (!value.is_dict()) fail("Can only get item pairs from a mapping.");
  Values pairs;
  interpreter.spend_steps(value.dict().items.size());
  for (const auto& [key, item] : value.dict().items) pairs.push_back(make_pair(key, item));
  return make_list(std::move(pairs), List::Kind::kGenerator);
}

// A stable merge sort. Not the standard one: NaN makes an order that std::sort may not be given.
template <typename Less>
void checked_sort(Interpreter& interpreter, Values& values, Less less) {
  Values merged(values.size());
  for (size_t width = 1; width < values.size(); width *= 2) {
    interpreter.spend_steps(values.size());
    for (size_t begin = 0; begin < values.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, values.size());
      const size_t end = std::min(begin + 2 * width, values.size());
      size_t left = begin;
      size_t right = middle;
      for (size_t to = begin; to < end; ++to) {
        const bool take_right =
            left == middle || (right < end && less(values[right], values[left]));
        merged[to] = values[take_right ? right++ : left++];
      }
    }
    values.swap(merged);
  }
}

Value dictsort(Interpreter& interpreter, const Value& value, Given arguments) {
  const bool case_sensitive = flag_argument(arguments, 0, "case_sensitive", false);
  const std::string by = text_argument(arguments, 1, "by", "key");
  const bool reversed = flag_argument(arguments, 2, "reverse", false);
  if (by != "key" && by != "value") fail("You can only sort by either \"key\" or \"value\"");
  if (!value.is_dict()) fail("dictsort needs a mapping, not {}", value.type_name());
  Values pairs;
  for (const auto& [key, item] : value.dict().items) {
    const Value order = sort_key(interpreter, by == "key" ? key : item, nullptr, case_sensitive);
    pairs.push_back(make_pair(order, make_pair(key, item)));
  }
  checked_sort(interpreter, pairs, [&](const Value& a, const Value& b) {
    const int order = compare(a.list().items[0], b.list().items[0]);
    return reversed ? order > 0 : order < 0;
  });
  for (Value& pair : pairs) pair = Value(pair.list().items[1]);
  return make_list(std::move(pairs));
}

Value sort(Interpreter& interpreter, const Value& value, Given arguments) {
  const bool reversed = flag_argument(arguments, 0, "reverse", false);
  const bool case_sensitive = flag_argument(arguments, 1, "case_sensitive", false);
  const Value* attribute = arguments.find(2, "attribute");
  Values keyed;
  for (const Value& item : iterate(interpreter, value))
    keyed.push_back(make_pair(sort_key(interpreter, item, attribute, case_sensitive), item));
  checked_sort(interpreter, keyed, [&](const Value& a, const Value& b) {
    const int order = compare(a.list().items[0], b.list().items[0]);
    return reversed ? order > 0 : order < 0;
  });
  for (Value& pair : keyed) pair = Value(pair.list().items[1]);
  return make_list(std::move(keyed));
}

Value unique(Interpreter& interpreter, const Value& value, Given arguments) {
  const bool case_sensitive = flag_argument(arguments, 0, "case_sensitive", false);
  const Value* attribute = arguments.find(1, "attribute");
  Values seen;
  Values kept;
  for (const Value& item : iterate(interpreter, value)) {
    Value key = sort_key(interpreter, item, attribute, case_sensitive);
    interpreter.spend_steps(seen.size());
    const bool known = std::any_of(seen.begin(), seen.end(),
                                   [&](const Value& other) { return equal(other, key); });
    if (known) continue;
    seen.push_back(std::move(key));
    kept.push_back(item);
  }
  return make_list(std::move(kept), List::Kind::kGenerator);
}

Value extreme(Interpreter& interpreter, const Value& value, Given arguments, int sign) {
  const bool case_sensitive = flag_argument(arguments, 0, "case_sensitive", false);
  const Value* attribute = arguments.find(1, "attribute");
  const Values all = iterate(interpreter, value);
  if (all.empty()) return Value::undefined("the extreme of an empty sequence");
  const Value* best = &all[0];
  Value best_key = sort_key(interpreter, all[0], attribute, case_sensitive);
  for (const Value& item : all) {
    Value key = sort_key(interpreter, item, attribute, case_sensitive);
    if (compare(key, best_key) * sign <= 0) continue;
    best = &item;
    best_key = std::move(key);
  }
  return *best;
}

Value sum(Interpreter& interpreter, const Value& value, Given arguments) {
  const Value* attribute = arguments.find(0, "attribute");
  const Value* start = arguments.find(1, "start");
  Value total = start != nullptr ? *start : Value(int64_t{0});
  for (const Value& item : iterate(interpreter, value)) {
    const bool path = attribute != nullptr && !attribute->is_none();
    total = apply_operator(interpreter, "+", total,
                           path ? attribute_path(interpreter, item, *attribute) : item);
  }
  return total;
}

Value map(Interpreter& interpreter, const Value& value, Given arguments) {
  Values results;
  if (!value.truth()) return make_list({}, List::Kind::kGenerator);  // also 0 and False
  const Value* attribute = nullptr;
  const Value* fallback = nullptr;
  for (const auto& [name, given] : arguments.named) {
    if (name == "attribute") attribute = &given;
    if (name == "default") fallback = &given;
  }
  if (arguments.positional.empty() && attribute != nullptr) {
    for (const Value& item : iterate(interpreter, value)) {
      Value result = attribute_path(interpreter, item, *attribute);
      results.push_back(result.is_undefined() && fallback != nullptr ? *fallback : result);
    }
    return make_list(std::move(results), List::Kind::kGenerator);
  }
  const std::string name = text_argument(arguments, 0, "filter", "");
  const Filter filter = find_filter(name);
  if (filter == nullptr) fail("map: unknown filter \"{}\"", name);
  const RecursionGuard guard(interpreter);
  const Arguments rest = rest_arguments(arguments, 1);
  for (const Value& item : iterate(interpreter, value))
    results.push_back(filter(interpreter, item, rest));
  return make_list(std::move(results), List::Kind::kGenerator);
}

// select, reject, selectattr and rejectattr.
Value choose(Interpreter& interpreter, const Value& value, Given arguments, bool wanted,
             bool by_attribute) {
  const size_t first_argument = by_attribute ? 1 : 0;
  const Value* attribute = by_attribute ? &needed_argument(arguments, 0, "attribute") : nullptr;
  Test test = nullptr;
  if (arguments.positional.size() > first_argument) {
    const Value& name = arguments.positional[first_argument];
    if (name.is_string()) test = find_test(name.string());
    if (test == nullptr) fail("unknown test {}", to_repr(name).bytes());
  }
  const Arguments rest = rest_arguments(arguments, first_argument + 1);
  Values kept;
  if (!value.truth()) return make_list({}, List::Kind::kGenerator);  // also 0 and False
  for (const Value& item : iterate(interpreter, value)) {
    const Value subject =
        attribute != nullptr ? attribute_path(interpreter, item, *attribute) : item;
    const bool holds = test != nullptr ? test(interpreter, subject, rest) : subject.truth();
    if (holds == wanted) kept.push_back(item);
  }
  return make_list(std::move(kept), List::Kind::kGenerator);
}

Value groupby(Interpreter& interpreter, const Value& value, Given arguments) {
  const Value& attribute = needed_argument(arguments, 0, "attribute");
  const Value* fallback = arguments.find(1, "default");
  const bool case_sensitive = flag_argument(arguments, 2, "case_sensitive", false);
  Values keyed;
  for (const Value& item : iterate(interpreter, value)) {
    Value key = attribute_path(interpreter, item, attribute);
    if (key.is_undefined() && fallback != nullptr) key = *fallback;
    keyed.push_back(
        make_pair(sort_key(interpreter, key, nullptr, case_sensitive), make_pair(key, item)));
  }
  checked_sort(interpreter, keyed, [](const Value& a, const Value& b) {
    return compare(a.list().items[0], b.list().items[0]) < 0;
  });
  Values groups;
  for (size_t i = 0; i < keyed.size();) {
    Values members;
    const size_t begin = i;
    while (i < keyed.size() && equal(keyed[i].list().items[0], keyed[begin].list().items[0]))
      members.push_back(keyed[i++].list().items[1].list().items[1]);
    groups.push_back(
        make_pair(keyed[begin].list().items[1].list().items[0], make_list(std::move(members))));
  }
  return make_list(std::move(groups));
}

Value batch(Interpreter& interpreter, const Value& value, Given arguments) {
  const int64_t size = int_argument(arguments, 0, "linecount", 0);
  const Value* fill = arguments.find(1, "fill_with");
  if (size < 1) fail("batch: {} items, expected at least 1", size);
  Values rows;
  Values row;
  const auto finish = [&] { rows.push_back(make_list(std::exchange(row, {}))); };
  for (const Value& item : iterate(interpreter, value)) {
    if (static_cast<int64_t>(row.size()) == size) finish();
    row.push_back(item);
  }
  if (!row.empty()) {
    if (fill != nullptr && !fill->is_none()) {
      interpreter.spend_steps(static_cast<uint64_t>(size));
      while (static_cast<int64_t>(row.size()) < size) row.push_back(*fill);
    }
    finish();
  }
  return make_list(std::move(rows), List::Kind::kGenerator);
}

Value slice(Interpreter& interpreter, const Value& value, Given arguments) {
  const int64_t given = int_argument(arguments, 0, "slices", 0);
  const Value* fill = arguments.find(1, "fill_with");
  if (given == 0) fail("integer division or modulo by zero");
  const Values items = iterate(interpreter, value);
  const auto slices = static_cast<size_t>(std::max<int64_t>(0, given));
  interpreter.spend_steps(slices);
  Values columns;
  size_t at = 0;
  for (size_t i = 0; i < slices; ++i) {
    const bool longer = i < items.size() % slices;
    const size_t end = at + items.size() / slices + (longer ? 1 : 0);
    Values column(items.begin() + static_cast<std::ptrdiff_t>(at),
                  items.begin() + static_cast<std::ptrdiff_t>(end));
    if (fill != nullptr && !fill->is_none() && !longer) column.push_back(*fill);
    columns.push_back(make_list(std::move(column)));
    at = end;
  }
  return make_list(std::move(columns), List::Kind::kGenerator);
}

Value random_item(Interpreter& interpreter, const Value& value, Given) {
  const Values items = iterate(interpreter, value);
  if (items.empty()) return Value::undefined("a random item of an empty sequence");
  static thread_local std::minstd_rand engine{std::random_device{}()};
  return items[std::uniform_int_distribution<size_t>(0, items.size() - 1)(engine)];
}

Value attribute(Interpreter&, const Value& value, Given arguments) {
  const std::string name = text_argument(arguments, 0, "name", "");
  // Unlike a dot, not an item of a dict.
  return value.is_dict() ? find_method(value, name) : get_attribute(value, name);
}

struct Entry {
  std::string_view name;
  Filter filter;
};

const std::array kFilters = {
    Entry{"abs", filter_abs},
    Entry{"attr", attribute},
    Entry{"batch", batch},
    Entry{"capitalize", filter_capitalize},
    Entry{"center", filter_center},
    Entry{"count", length},
    Entry{"d", default_value},
    Entry{"default", default_value},
    Entry{"dictsort", dictsort},
    Entry{"e", filter_escape},
    Entry{"escape", filter_escape},
    Entry{"first", first},
    Entry{"filesizeformat", filter_filesizeformat},
    Entry{"float", filter_float},
    Entry{"forceescape", filter_forceescape},
    Entry{"format", filter_format},
    Entry{"groupby", groupby},
    Entry{"indent", filter_indent},
    Entry{"int", filter_int},
    Entry{"items", items},
    Entry{"join", join},
    Entry{"last", last},
    Entry{"length", length},
    Entry{"list", list},
    Entry{"lower", filter_lower},
    Entry{"map", map},
    Entry{"max", [](Interpreter& i, const Value& v, Given a) { return extreme(i, v, a, 1); }},
    Entry{"min", [](Interpreter& i, const Value& v, Given a) { return extreme(i, v, a, -1); }},
    Entry{"pprint", filter_pprint},
    Entry{"random", random_item},
    Entry{"reject",
          [](Interpreter& i, const Value& v, Given a) { return choose(i, v, a, false, false); }},
    Entry{"rejectattr",
          [](Interpreter& i, const Value& v, Given a) { return choose(i, v, a, false, true); }},
    Entry{"replace", filter_replace},
    Entry{"reverse", reverse},
    Entry{"round", filter_round},
    Entry{"safe", filter_safe},
    Entry{"select",
          [](Interpreter& i, const Value& v, Given a) { return choose(i, v, a, true, false); }},
    Entry{"selectattr",
          [](Interpreter& i, const Value& v, Given a) { return choose(i, v, a, true, true); }},
    Entry{"slice", slice},
    Entry{"sort", sort},
    Entry{"string", filter_string},
    Entry{"striptags", filter_striptags},
    Entry{"sum", sum},
    Entry{"title", filter_title},
    Entry{"tojson", filter_tojson},
    Entry{"trim", filter_trim},
    Entry{"truncate", filter_truncate},
    Entry{"unique", unique},
    Entry{"upper", filter_upper},
    Entry{"urlencode", filter_urlencode},
    Entry{"wordcount", filter_wordcount},
    Entry{"wordwrap", filter_wordwrap},
    Entry{"xmlattr", filter_xmlattr},
};

}  // namespace

Filter find_filter(std::string_view name) {
  for (const Entry& entry : kFilters)
    if (entry.name == name) return entry.filter;
  return nullptr;
}

}  // namespace outboard::text::jinja
