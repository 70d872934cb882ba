#include "grammar/json_schema.h"

#include <algorithm>
#include <map>

#include "grammar/char_set.h"
#include "grammar/json_rules.h"
#include "grammar/schema_reader.h"
#include "support/error.h"
#include "support/json.h"

namespace outboard::grammar {
namespace {

constexpr size_t kMaxPatterns = 8;  // of one object, told apart by all their combinations
constexpr uint64_t kMaxCount = 100'000;

}  // namespace

class SchemaRules::Compiler {
 public:
  Compiler(Builder& builder, JsonRules& json, const Json& schema, const SchemaOptions& options)
      : schema_(schema), options_(options), reader_(schema), builder_(builder), json_(json) {}

  uint32_t json(const std::string& pointer) {
    const uint32_t root = rule_of({place(pointer)});
    // Not by recursion: schemas may be nested as deep as they like.
    while (!waiting_.empty()) {
      const auto [rule, schemas] = waiting_.back();
      waiting_.pop_back();
      for (const Demands& d : reader_.alternatives(schemas))
        add(d, schemas.empty() ? "#" : schemas[0].pointer, builder_.start(rule),
            builder_.end(rule));
    }
    return root;
  }

  CharDfa strings(const std::string& pointer) {
    CharDfa all;
    for (const Demands& d : reader_.alternatives({place(pointer)})) {
      CharDfa some;
      if (d.values) {
        Demands rest = d;
        rest.values.reset();
        std::vector<std::vector<uint32_t>> texts;
        for (const Json* value : *d.values)
          if (value->is_string() && reader_.fits(*value, rest))
            texts.push_back(chars_of(value->get_ref<const std::string&>()));
        some = one_of(texts);
      } else {
        if ((d.types & kString) == 0) continue;
        refuse(d, kString);
        some = d.text == nullptr ? any_text() : *d.text;
      }
      all = all.is_empty() ? std::move(some) : grammar::alternatives(all, some);
    }
    return all;
  }

  const std::vector<std::string>& notes() const { return reader_.notes(); }

 private:
  SchemaPlace place(const std::string& pointer) const {
    return {&schema_.at(Json::json_pointer(pointer)), "#" + pointer};
  }

  // The rule for values that fit all of these.
  uint32_t rule_of(const Schemas& schemas) {
    Schemas wanted;
    std::vector<const Json*> key;
    for (const SchemaPlace& place : schemas) {
      const bool anything = (place.json->is_boolean() && place.json->get<bool>()) ||
                            (place.json->is_object() && place.json->empty());
      if (anything || std::ranges::find(key, place.json) != key.end()) continue;
      key.push_back(place.json);
      wanted.push_back(place);
    }
    if (wanted.empty()) return json_.any_value();
    std::ranges::sort(key);
    const auto [at, is_new] = rules_.try_emplace(key, 0);
    if (is_new) {
      at->second = builder_.add_rule();
      waiting_.emplace_back(at->second, std::move(wanted));
    }
    return at->second;
  }

  void refuse(const Demands& d, uint8_t type) {
    for (const Demands::Refusal& refusal : d.refusals)
      if ((refusal.types & type) != 0 &&
          !(refusal.only_many_items && d.most_items && *d.most_items < 2))
        fail("{}", refusal.message);
  }

  void add(const Demands& d, const std::string& pointer, uint32_t from, uint32_t to) {
    if (d.values) {
      Demands rest = d;
      rest.values.reset();
      for (const Json* value : *d.values)
        if (reader_.fits(*value, rest)) json_.value(from, *value, to);
      return;
    }
    for (const uint8_t type : {kNull, kBoolean, kNumber, kString, kArray, kObject}) {
      if ((d.types & type) == 0) continue;
      refuse(d, type & d.types);
      switch (type) {
        case kNull:
          json_.keyword(from, "null", to);
          break;
        case kBoolean:
          for (const char* word : {"true", "false"}) json_.keyword(from, word, to);
          break;
        case kNumber:
          add_number(d, pointer, from, to);
          break;
        case kString:
          if (d.text == nullptr)
            builder_.call(from, json_.any_string(), to);
          else
            json_.string(from, *d.text, to);
          break;
        case kArray:
          add_array(d, pointer, from, to);
          break;
        default:
          add_object(d, pointer, from, to);
      }
    }
  }

  void add_number(const Demands& d, const std::string& pointer, uint32_t from, uint32_t to) {
    if ((d.types & kInteger) == 0)
      fail("{}: numbers that may not be integers can't be honoured", pointer);
    const bool integers = (d.types & kFraction) == 0;
    if (!d.low && !d.high && d.factors.empty())
      return builder_.call(from, integers ? json_.any_integer() : json_.any_number(), to);
    CharDfa numbers = numbers_between(d.low, d.high, integers);
    try {
      for (const Decimal& factor : d.factors) numbers = intersection(numbers, multiples_of(factor));
    } catch (Error& e) {
      e.add_context(fmt::format("{}/multipleOf", pointer));
      throw;
    }
    json_.plain(from, numbers, to);
  }

  static void check_count(const std::string& pointer, const char* keyword, uint64_t count) {
    if (count > kMaxCount)
      fail("{}/{}: `{}` can't be honoured: more than {}", pointer, keyword, keyword, kMaxCount);
  }

  void add_array(const Demands& d, const std::string& pointer, uint32_t from, uint32_t to) {
    if (d.most_items && *d.most_items < d.least_items) return;
    check_count(pointer, "minItems", d.least_items);
    if (d.most_items) check_count(pointer, "maxItems", *d.most_items);
    size_t first = 0;  // so many have schemas of their own
    for (const ArrayPart& part : d.arrays) first = std::max(first, part.first.size());
    const uint64_t apart = d.most_items.value_or(std::max<uint64_t>(first, d.least_items));
    const uint32_t begin = builder_.state();
    json_.open(from, '[', begin);
    const uint32_t end = builder_.state();  // before the ]
    json_.close(end, ']', to);
    uint32_t at = begin;
    // Behind the open bracket there were blanks already.
    if (d.least_items == 0) builder_.literal(begin, "]", to);
    for (uint64_t i = 0; i < apart; ++i) {
      if (i > 0 && i >= d.least_items) builder_.free(at, end);
      at = add_item(d, at, i);
    }
    if (apart > 0) builder_.free(at, end);
    if (d.most_items) return;
    const uint32_t loop = builder_.state();
    builder_.free(add_item(d, at, apart), loop);
    builder_.free(loop, end);
    builder_.free(add_item(d, loop, apart + 1), loop);
  }

  uint32_t add_item(const Demands& d, uint32_t from, uint64_t index) {
    uint32_t at = from;
    if (index > 0) {
      at = builder_.state();
      json_.comma(from, at);
    }
    const uint32_t after = builder_.state();
    builder_.call(at, rule_of(SchemaReader::of_item(d.arrays, index)), after);
    return after;
  }

  // A way to write one property, or one of many.
  struct Property {
    uint32_t rule;
    bool required;
  };

  void add_object(const Demands& d, const std::string& pointer, uint32_t from, uint32_t to) {
    if (d.most_properties) check_count(pointer, "maxProperties", *d.most_properties);
    std::vector<Property> named;
    std::vector<std::vector<uint32_t>> names;
    const auto add_name = [&](const std::string& name, bool required) {
      const std::vector<uint32_t> chars = chars_of(name);
      if (std::ranges::find(names, chars) != names.end()) return;
      names.push_back(chars);
      if (d.names != nullptr && !d.names->matches(chars)) {
        // Not a name that may be: an object that must have it can't be.
        if (required) named.push_back({builder_.add_rule(), true});
        return;
      }
      const uint32_t rule = builder_.add_rule();
      const uint32_t value = builder_.state();
      json_.name(builder_.start(rule), name, value);
      builder_.call(value, rule_of(reader_.of_property(d.objects, name)), builder_.end(rule));
      named.push_back({rule, required});
    };
    for (const ObjectPart& part : d.objects)
      for (const auto& [name, schema] : part.properties)
        add_name(name, std::ranges::find(d.required, name) != d.required.end());
    for (const std::string& name : d.required) add_name(name, true);
    const std::optional<uint32_t> others = other_properties(d, pointer, names);

    // Which property comes next, and how many came: as far as it matters.
    const uint64_t most = d.most_properties.value_or(0);
    const bool least_matters = d.least_properties > d.required.size();
    uint64_t counted = 1;
    if (least_matters) counted = std::max(counted, d.least_properties);
    if (d.most_properties) counted = std::max(counted, most + 1);
    const uint64_t possible = named.size() + (others ? 1 : 0);
    if (d.least_properties > possible) {
      if (!others) return;
      fail(
          "{}/minProperties: `minProperties` can't be honoured: so many names can't be told apart "
          "from each other",
          pointer);
    }
    counted = std::min(counted, named.size() + 2);
    const uint32_t end = builder_.state();
    json_.close(end, '}', to);
    std::vector<uint32_t> row(counted + 1);
    for (uint32_t& state : row) state = builder_.state();
    json_.open(from, '{', row[0]);
    const auto full = [&](uint64_t count) { return d.most_properties && count >= most; };
    const auto add_one = [&](uint32_t at, uint64_t count, uint32_t rule, uint32_t after) {
      uint32_t begin = at;
      if (count > 0) {
        begin = builder_.state();
        json_.comma(at, begin);
      }
      builder_.call(begin, rule, after);
    };
    for (const Property& property : named) {
      std::vector<uint32_t> next(counted + 1);
      for (uint32_t& state : next) state = builder_.state();
      for (uint64_t count = 0; count <= counted; ++count) {
        if (!property.required) builder_.free(row[count], next[count]);
        if (!full(count))
          add_one(row[count], count, property.rule, next[std::min(count + 1, counted)]);
      }
      row = std::move(next);
    }
    for (uint64_t count = 0; count <= counted; ++count) {
      if (count >= d.least_properties || count == counted) {
        if (count == 0)
          builder_.literal(row[count], "}", to);  // behind the open bracket were blanks already
        else
          builder_.free(row[count], end);
      }
      // Of others only the first is surely new.
      if (!others || full(count) || (least_matters && count + 1 < d.least_properties)) continue;
      uint32_t at = builder_.state();
      add_one(row[count], count, *others, at);
      builder_.free(at, end);
      if (!d.most_properties) {
        add_one(at, 1, *others, at);
        continue;
      }
      for (uint64_t n = count + 1; n < most; ++n) {
        const uint32_t next = builder_.state();
        add_one(at, 1, *others, next);
        builder_.free(next, end);
        at = next;
      }
    }
  }

  // A rule for properties with names that are not listed; none where there are none. Names are
  // parted by the patterns that they match.
  std::optional<uint32_t> other_properties(const Demands& d, const std::string& pointer,
                                           const std::vector<std::vector<uint32_t>>& listed) {
    bool says_something = false;
    bool lists = false;
    std::vector<std::pair<std::string, std::string>> patterns;  // with a pointer
    for (const ObjectPart& part : d.objects) {
      says_something |= part.additional || !part.patterns.empty();
      lists |= part.names_some;
      for (const auto& [text, schema] : part.patterns)
        if (std::ranges::find(patterns, text, &std::pair<std::string, std::string>::first) ==
            patterns.end())
          patterns.emplace_back(text, schema.pointer);
    }
    if (lists && !says_something && !options_.open_objects) return std::nullopt;
    if (patterns.size() > kMaxPatterns)
      fail("{}/patternProperties: `patternProperties` can't be honoured: more than {} patterns",
           pointer, kMaxPatterns);
    struct Class {
      CharDfa names;
      std::vector<bool> matches;  // by pattern
    };
    CharDfa all = d.names == nullptr ? any_text() : *d.names;
    if (!listed.empty()) all = difference(all, one_of(listed));
    std::vector<Class> classes{{std::move(all), {}}};
    for (const auto& [text, where] : patterns) {
      std::vector<Class> parted;
      for (const Class& c : classes)
        for (const bool match : {true, false}) {
          const CharDfa& pattern = reader_.pattern(text, where);
          Class part{match ? intersection(c.names, pattern) : difference(c.names, pattern),
                     c.matches};
          part.matches.push_back(match);
          if (!part.names.is_empty()) parted.push_back(std::move(part));
        }
      classes = std::move(parted);
    }
    const uint32_t rule = builder_.add_rule();
    bool any = false;
    for (const Class& c : classes) {
      const bool none = std::ranges::find(c.matches, true) == c.matches.end();
      bool has_additional = false;
      Schemas schemas;
      for (const ObjectPart& part : d.objects) {
        bool named = false;
        for (const auto& [text, schema] : part.patterns)
          for (size_t i = 0; i < patterns.size(); ++i)
            if (patterns[i].first == text && c.matches[i]) {
              schemas.push_back(schema);
              named = true;
            }
        has_additional |= part.additional.has_value();
        if (!named && part.additional) schemas.push_back(*part.additional);
      }
      // Beside properties or patterns, nobody asked for names that are in neither.
      if (none && !has_additional && (lists || !patterns.empty()) && !options_.open_objects)
        continue;
      if (std::ranges::any_of(schemas, [](const SchemaPlace& s) {
            return s.json->is_boolean() && !s.json->get<bool>();
          }))
        continue;
      any = true;
      const uint32_t named = builder_.state();
      const uint32_t colon = builder_.state();
      const uint32_t value = builder_.state();
      json_.string(builder_.start(rule), c.names, named);
      builder_.literal(named, ":", colon);
      builder_.call(colon, json_.blanks(), value);
      builder_.call(value, rule_of(schemas), builder_.end(rule));
    }
    return any ? std::optional(rule) : std::nullopt;
  }

  const Json& schema_;
  SchemaOptions options_;
  SchemaReader reader_;
  Builder& builder_;
  JsonRules& json_;
  std::map<std::vector<const Json*>, uint32_t> rules_;
  std::vector<std::pair<uint32_t, Schemas>> waiting_;
};

SchemaRules::SchemaRules(Builder& builder, JsonRules& json, const nlohmann::ordered_json& schema,
                         const SchemaOptions& options)
    : compiler_(std::make_unique<Compiler>(builder, json, schema, options)) {}
SchemaRules::~SchemaRules() = default;

uint32_t SchemaRules::json(const std::string& pointer) { return compiler_->json(pointer); }
CharDfa SchemaRules::strings(const std::string& pointer) { return compiler_->strings(pointer); }
const std::vector<std::string>& SchemaRules::notes() const { return compiler_->notes(); }

SchemaGrammar compile_schema(const nlohmann::ordered_json& schema, const SchemaOptions& options) {
  Builder builder;
  JsonRules json(builder);
  SchemaRules rules(builder, json, schema, options);
  auto grammar = builder.build(rules.json(""));
  if (grammar == nullptr) throw Error("#: no value is valid under this schema, or none that ends");
  return {std::move(grammar), rules.notes()};
}

SchemaGrammar compile_schema_text(std::string_view text, const SchemaOptions& options) {
  constexpr int kDeepest = 512;
  return compile_schema(parse_json(text, kDeepest), options);
}

std::shared_ptr<const Grammar> any_json(bool objects_only) {
  static const nlohmann::ordered_json kObject = {{"type", "object"}};
  static const nlohmann::ordered_json kAnything = true;
  return compile_schema(objects_only ? kObject : kAnything).grammar;
}

}  // namespace outboard::grammar
