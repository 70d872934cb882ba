#include "grammar/schema_reader.h"

#include <algorithm>
#include <array>

#include "grammar/formats.h"
#include "grammar/regex.h"
#include "support/error.h"

namespace outboard::grammar {
namespace {

constexpr size_t kMaxAlternatives = 2000;
constexpr int kProofDepth = 4;
constexpr int kMaxNesting = 200;
constexpr size_t kMaxReferences = 200;

const Json kTrue = true;
const Json kFalse = false;

std::string escaped(std::string_view key) {
  std::string out;
  for (const char c : key) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

SchemaPlace under(const SchemaPlace& place, std::string_view keyword) {
  return {&(*place.json)[std::string(keyword)],
          fmt::format("{}/{}", place.pointer, escaped(keyword))};
}

[[noreturn]] void refuse(const SchemaPlace& place, std::string_view keyword, std::string_view why) {
  fail("{}/{}: `{}` {}", place.pointer, escaped(keyword), keyword, why);
}

const Json* find(const SchemaPlace& place, std::string_view keyword) {
  const auto at = place.json->find(keyword);
  return at == place.json->end() ? nullptr : &*at;
}

void check_schema(const SchemaPlace& place) {
  if (!place.json->is_object() && !place.json->is_boolean())
    fail("{}: expected a schema (an object, true or false), found {}", place.pointer,
         place.json->type_name());
}

std::optional<uint64_t> count_of(const SchemaPlace& place, std::string_view keyword) {
  const Json* value = find(place, keyword);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || value->get<double>() < 0 || value->get<double>() > 1e15 ||
      value->get<double>() != static_cast<double>(value->get<uint64_t>()))
    refuse(place, keyword, "is no count");
  return value->get<uint64_t>();
}

const Json& object_of(const SchemaPlace& place, std::string_view keyword) {
  const Json* value = find(place, keyword);
  if (!value->is_object()) refuse(place, keyword, "is no object");
  return *value;
}

const Json& list_of(const SchemaPlace& place, std::string_view keyword) {
  const Json* value = find(place, keyword);
  if (!value->is_array()) refuse(place, keyword, "is no list");
  return *value;
}

std::vector<std::string> names_in(const SchemaPlace& place, std::string_view keyword,
                                  const Json& list) {
  if (!list.is_array()) refuse(place, keyword, "holds something that is no list of names");
  std::vector<std::string> names;
  for (const Json& name : list) {
    if (!name.is_string()) refuse(place, keyword, "holds something that is no name");
    if (std::ranges::find(names, name.get<std::string>()) == names.end())
      names.push_back(name.get<std::string>());
  }
  return names;
}

uint8_t type_named(const SchemaPlace& place, const Json& name) {
  static const std::map<std::string, uint8_t, std::less<>> kTypes = {
      {"null", kNull},     {"boolean", kBoolean}, {"integer", kInteger}, {"number", kNumber},
      {"string", kString}, {"array", kArray},     {"object", kObject}};
  const auto at = name.is_string() ? kTypes.find(name.get<std::string>()) : kTypes.end();
  if (at == kTypes.end()) refuse(place, "type", fmt::format("{} is no type", name.dump()));
  return at->second;
}

uint8_t type_of(const Json& value) {
  if (value.is_null()) return kNull;
  if (value.is_boolean()) return kBoolean;
  if (value.is_string()) return kString;
  if (value.is_array()) return kArray;
  if (value.is_object()) return kObject;
  return decimal_of(value).is_integer() ? kInteger : kFraction;
}

// As JSON schema compares: numbers by value, objects whatever their order.
bool equal(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) return compare(decimal_of(a), decimal_of(b)) == 0;
  if (a.type() != b.type() || a.size() != b.size()) return false;
  if (a.is_array()) {
    for (size_t i = 0; i < a.size(); ++i)
      if (!equal(a[i], b[i])) return false;
    return true;
  }
  if (!a.is_object()) return a == b;
  return std::ranges::all_of(a.items(), [&](const auto& entry) {
    const auto other = b.find(entry.key());
    return other != b.end() && equal(entry.value(), *other);
  });
}

Demands nothing() {
  Demands d;
  d.types = 0;
  return d;
}

// Of objects, that they lack this property.
ObjectPart without(const std::string& name, const std::string& pointer) {
  ObjectPart part;
  part.properties.emplace_back(name, SchemaPlace{&kFalse, pointer});
  return part;
}

void restrict_text(std::shared_ptr<const CharDfa>& text, CharDfa more) {
  text = std::make_shared<const CharDfa>(text == nullptr ? std::move(more)
                                                         : intersection(*text, more));
}

void raise(std::optional<Bound>& low, const Bound& bound) {
  const int order = low ? compare(bound.value, low->value) : 1;
  if (order > 0 || (order == 0 && bound.excluded)) low = bound;
}
void lower(std::optional<Bound>& high, const Bound& bound) {
  const int order = high ? compare(bound.value, high->value) : -1;
  if (order < 0 || (order == 0 && bound.excluded)) high = bound;
}

// Both demands at once.
Demands both_of(const Demands& a, const Demands& b) {
  Demands out = a;
  out.types &= b.types;
  if (b.values) {
    if (!out.values) {
      out.values = b.values;
    } else {
      std::erase_if(*out.values, [&](const Json* value) {
        return std::ranges::none_of(*b.values,
                                    [&](const Json* other) { return equal(*value, *other); });
      });
    }
  }
  if (b.low) raise(out.low, *b.low);
  if (b.high) lower(out.high, *b.high);
  out.factors.insert(out.factors.end(), b.factors.begin(), b.factors.end());
  if (b.text != nullptr) {
    if (out.text == nullptr)
      out.text = b.text;
    else
      restrict_text(out.text, *b.text);
  }
  if (b.names != nullptr) {
    if (out.names == nullptr)
      out.names = b.names;
    else
      restrict_text(out.names, *b.names);
  }
  out.arrays.insert(out.arrays.end(), b.arrays.begin(), b.arrays.end());
  out.objects.insert(out.objects.end(), b.objects.begin(), b.objects.end());
  out.least_items = std::max(out.least_items, b.least_items);
  out.least_properties = std::max(out.least_properties, b.least_properties);
  const auto least_of = [](std::optional<uint64_t>& to, const std::optional<uint64_t>& from) {
    if (from) to = to ? std::min(*to, *from) : *from;
  };
  least_of(out.most_items, b.most_items);
  least_of(out.most_properties, b.most_properties);
  for (const std::string& name : b.required)
    if (std::ranges::find(out.required, name) == out.required.end()) out.required.push_back(name);
  out.refusals.insert(out.refusals.end(), b.refusals.begin(), b.refusals.end());
  return out;
}

// That say nothing about which values are valid.
constexpr std::array kAnnotations = {
    "title",  "description", "default",  "examples",    "$schema",         "$id",
    "id",     "$comment",    "readOnly", "writeOnly",   "deprecated",      "contentMediaType",
    "$defs",  "definitions", "$anchor",  "$vocabulary", "contentEncoding", "contentSchema",
    "example"};
// Those that are read somewhere here.
constexpr std::array kKnown = {"type",
                               "enum",
                               "const",
                               "properties",
                               "required",
                               "additionalProperties",
                               "patternProperties",
                               "propertyNames",
                               "minProperties",
                               "maxProperties",
                               "dependentRequired",
                               "dependentSchemas",
                               "dependencies",
                               "items",
                               "prefixItems",
                               "additionalItems",
                               "minItems",
                               "maxItems",
                               "minLength",
                               "maxLength",
                               "pattern",
                               "format",
                               "minimum",
                               "maximum",
                               "exclusiveMinimum",
                               "exclusiveMaximum",
                               "multipleOf",
                               "anyOf",
                               "allOf",
                               "oneOf",
                               "not",
                               "$ref",
                               "unevaluatedProperties",
                               "unevaluatedItems",
                               "uniqueItems",
                               "contains",
                               "minContains",
                               "maxContains",
                               "if",
                               "then",
                               "else",
                               "$dynamicRef",
                               "$dynamicAnchor",
                               "$recursiveRef",
                               "$recursiveAnchor"};
// Keywords of later drafts, which draft 7 does not know.
constexpr std::array kNew = {"prefixItems",           "dependentRequired", "dependentSchemas",
                             "unevaluatedProperties", "unevaluatedItems",  "minContains",
                             "maxContains",           "$dynamicRef",       "$recursiveRef"};

template <typename List>
bool in(const List& list, std::string_view name) {
  return std::ranges::find(list, name) != list.end();
}

// Whether an address begins with a scheme.
bool is_absolute(std::string_view address) {
  const size_t colon = address.find(':');
  return colon != std::string_view::npos && colon > 0 && address.find('/') > colon;
}

std::string decoded(std::string_view fragment) {
  std::string out;
  for (size_t i = 0; i < fragment.size(); ++i) {
    unsigned value = 0;
    if (fragment[i] == '%' && i + 2 < fragment.size() &&
        std::sscanf(std::string(fragment.substr(i + 1, 2)).c_str(), "%2x", &value) == 1) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += fragment[i];
    }
  }
  return out;
}

}  // namespace

SchemaReader::SchemaReader(const Json& root) : root_(root), old_(false) {
  if (root.is_object() && root.contains("$schema") && root["$schema"].is_string()) {
    const std::string draft = root["$schema"];
    for (const char* old : {"draft-03", "draft-04", "draft-06", "draft-07"})
      old_ |= draft.find(old) != std::string::npos;
  }
  // Anchors and addresses; enum and const hold no schemas.
  struct Visit {
    SchemaPlace place;
    const Json* resource;
    int depth;
  };
  std::vector<Visit> work{{{&root_, "#"}, &root_, 0}};
  while (!work.empty()) {
    const auto [place, above, depth] = work.back();
    work.pop_back();
    if (depth > kMaxNesting) fail("{}: nested more than {} deep", place.pointer, kMaxNesting);
    const Json* resource = above;
    const Json& json = *place.json;
    if (json.is_object()) {
      for (const char* keyword : {"$id", "id"})
        if (const auto id = json.find(keyword);
            id != json.end() && id->is_string() && !(old_ && json.contains("$ref"))) {
          const std::string name = id->get<std::string>();
          if (name.starts_with('#')) {  // before 2019-09
            anchors_.try_emplace({resource, name.substr(1)}, place);
          } else {
            // Relative ones would have to be resolved; the file's own name is its own.
            if (is_absolute(name) || place.json == &root_) addresses_.try_emplace(name, place);
            resource = place.json;
          }
        }
      for (const char* keyword : {"$anchor", "$dynamicAnchor"})
        if (const auto anchor = json.find(keyword); anchor != json.end() && anchor->is_string())
          anchors_.try_emplace({resource, anchor->get<std::string>()}, place);
      for (const auto& [key, value] : json.items())
        if (key == "enum" ? !value.is_array() : key != "const")
          work.push_back({{&value, place.pointer + "/" + escaped(key)}, resource, depth + 1});
    } else if (json.is_array()) {
      for (size_t i = 0; i < json.size(); ++i)
        work.push_back({{&json[i], fmt::format("{}/{}", place.pointer, i)}, resource, depth + 1});
    }
    resources_[place.json] = resource;
  }
}

SchemaPlace SchemaReader::target(const SchemaPlace& place, const std::string& reference) {
  const auto refuse_it = [&](std::string_view why) {
    refuse(place, "$ref", fmt::format("{}: {}", reference, why));
  };
  const size_t hash = reference.find('#');
  const std::string address = reference.substr(0, hash);
  const std::string fragment =
      hash == std::string::npos ? "" : decoded(std::string_view(reference).substr(hash + 1));
  // What a fragment is looked up in: the schema that has the address, or the one around.
  const auto around = resources_.find(place.json);
  SchemaPlace at{around == resources_.end() ? &root_ : around->second, "#"};
  if (!address.empty()) {
    const auto known = addresses_.find(address);
    if (known == addresses_.end() || (!is_absolute(address) && at.json != &root_))
      refuse_it("other files are not read");
    at = known->second;
  } else if (at.json != &root_) {
    for (const auto& [name, place_of] : addresses_)
      if (place_of.json == at.json) at = place_of;
  }
  if (fragment.empty()) return at;
  if (fragment[0] != '/') {
    const auto anchor = anchors_.find({at.json, fragment});
    if (anchor == anchors_.end()) refuse_it("there is no such anchor");
    return anchor->second;
  }
  for (size_t begin = 1; begin <= fragment.size();) {
    const size_t end = std::min(fragment.find('/', begin), fragment.size());
    std::string key = fragment.substr(begin, end - begin);
    begin = end + 1;
    const std::string step = "/" + key;
    for (size_t i = 0; (i = key.find('~', i)) != std::string::npos; ++i)
      if (key.compare(i, 2, "~1") == 0)
        key.replace(i, 2, "/");
      else if (key.compare(i, 2, "~0") == 0)
        key.replace(i, 2, "~");
    const Json* next = nullptr;
    if (at.json->is_object()) {
      const auto found = at.json->find(key);
      if (found != at.json->end()) next = &*found;
    } else if (at.json->is_array() && !key.empty() && key.size() < 9 &&
               key.find_first_not_of("0123456789") == std::string::npos &&
               std::stoul(key) < at.json->size()) {
      next = &(*at.json)[std::stoul(key)];
    }
    if (next == nullptr) refuse_it("there is no such place in the file");
    at = {next, at.pointer + step};
  }
  return at;
}

std::vector<Demands> SchemaReader::alternatives(const Schemas& schemas) {
  std::vector<Demands> out(1);
  for (const SchemaPlace& place : schemas) out = both(out, read(place), place.pointer);
  return out;
}

std::vector<Demands> SchemaReader::both(const std::vector<Demands>& a,
                                        const std::vector<Demands>& b, const std::string& pointer) {
  if (a.size() * b.size() > kMaxAlternatives)
    fail("{}: more than {} combinations of alternatives", pointer, kMaxAlternatives);
  spend(a.size() * b.size());
  std::vector<Demands> out;
  for (const Demands& x : a)
    for (const Demands& y : b) {
      Demands z = both_of(x, y);
      if (z.types != 0 && (!z.values || !z.values->empty())) out.push_back(std::move(z));
    }
  return out;
}

// References and alternatives multiply: what would take minutes is refused.
void SchemaReader::spend(size_t work) {
  constexpr size_t kMaxWork = 300'000;
  spent_ += work;
  if (spent_ > kMaxWork) fail("#: the schema is too large, or its alternatives too many");
}

std::vector<Demands> SchemaReader::read(const SchemaPlace& place) {
  check_schema(place);
  spend(1);
  if (place.json->is_boolean())
    return place.json->get<bool>() ? std::vector<Demands>(1) : std::vector<Demands>();
  if (under_way_.size() > kMaxReferences)
    fail("{}: more than {} schemas that lead to each other", place.pointer, kMaxReferences);
  if (!under_way_.insert(place.json).second)
    fail("{}: this schema leads to itself without a value between", place.pointer);
  struct Done {
    std::set<const Json*>& set;
    const Json* json;
    ~Done() { set.erase(json); }
  } const done{under_way_, place.json};
  return keywords(place);
}

std::vector<Demands> SchemaReader::keywords(const SchemaPlace& place) {
  const auto follow = [&] {
    const Json* reference = find(place, "$ref");
    if (!reference->is_string()) refuse(place, "$ref", "is no text");
    return read(target(place, reference->get<std::string>()));
  };
  const bool has_ref = find(place, "$ref") != nullptr;
  if (old_ && has_ref) return follow();
  std::vector<Demands> out{simple(place)};
  const auto also = [&](const std::vector<Demands>& more) { out = both(out, more, place.pointer); };
  if (has_ref) also(follow());
  if (find(place, "allOf") != nullptr) {
    const SchemaPlace list = under(place, "allOf");
    for (size_t i = 0; i < list_of(place, "allOf").size(); ++i)
      also(read({&(*list.json)[i], fmt::format("{}/{}", list.pointer, i)}));
  }
  if (find(place, "anyOf") != nullptr) {
    const SchemaPlace list = under(place, "anyOf");
    std::vector<Demands> any;
    for (size_t i = 0; i < list_of(place, "anyOf").size(); ++i)
      for (Demands& d : read({&(*list.json)[i], fmt::format("{}/{}", list.pointer, i)}))
        any.push_back(std::move(d));
    also(any);
  }
  if (find(place, "not") != nullptr) also(read_not(place));
  also(dependencies(place));
  if (find(place, "oneOf") != nullptr) {
    list_of(place, "oneOf");
    also(one_of(under(place, "oneOf"), out));
  }
  return out;
}

Demands SchemaReader::simple(const SchemaPlace& place) {
  Demands out;
  read_types(place, out);
  read_numbers(place, out);
  read_text(place, out);
  read_array(place, out);
  read_object(place, out);
  refuse_rest(place, out);
  note_unknown(place);
  return out;
}

void SchemaReader::read_types(const SchemaPlace& place, Demands& out) {
  if (const Json* type = find(place, "type")) {
    if (type->is_array()) {
      out.types = 0;
      for (const Json& name : *type) out.types |= type_named(place, name);
    } else {
      out.types = type_named(place, *type);
    }
  }
  if (find(place, "enum") != nullptr) {
    out.values.emplace();
    for (const Json& value : list_of(place, "enum")) out.values->push_back(&value);
  }
  if (const Json* value = find(place, "const")) {
    Demands one;
    one.values = {value};
    out = both_of(out, one);
  }
}

void SchemaReader::read_numbers(const SchemaPlace& place, Demands& out) {
  const auto number = [&](const char* keyword) -> std::optional<Decimal> {
    const Json* value = find(place, keyword);
    if (value == nullptr || value->is_boolean()) return std::nullopt;
    if (!value->is_number()) refuse(place, keyword, "is no number");
    return decimal_of(*value);
  };
  // Draft 4: true beside the bound.
  const auto excluded = [&](const char* keyword) {
    const Json* value = find(place, keyword);
    return value != nullptr && value->is_boolean() && value->get<bool>();
  };
  if (const auto n = number("minimum")) raise(out.low, {*n, excluded("exclusiveMinimum")});
  if (const auto n = number("exclusiveMinimum")) raise(out.low, {*n, true});
  if (const auto n = number("maximum")) lower(out.high, {*n, excluded("exclusiveMaximum")});
  if (const auto n = number("exclusiveMaximum")) lower(out.high, {*n, true});
  if (const auto n = number("multipleOf")) {
    if (n->negative || n->is_zero()) refuse(place, "multipleOf", "is not above 0");
    try {
      multiples_of(*n);
      out.factors.push_back(*n);
    } catch (const Error& e) {
      out.refusals.push_back(
          {kNumber, fmt::format("{}/multipleOf: `multipleOf` can't be honoured: {}", place.pointer,
                                e.message())});
    }
  }
}

const CharDfa& SchemaReader::pattern(const std::string& text, const std::string& pointer) {
  const auto known = patterns_.find(text);
  if (known != patterns_.end()) return known->second;
  try {
    return patterns_.emplace(text, compile_pattern(text)).first->second;
  } catch (Error& e) {
    e.add_context(fmt::format("{}: the pattern can't be honoured", pointer));
    throw;
  }
}

void SchemaReader::read_text(const SchemaPlace& place, Demands& out) {
  // Where no text can be, a pattern that nobody could honour does no harm.
  const auto honour = [&](const char* keyword, const auto& body) {
    try {
      body();
    } catch (const Error& e) {
      out.refusals.push_back(
          {kString, e.message().starts_with("#")
                        ? e.message()
                        : fmt::format("{}/{}: `{}` can't be honoured: {}", place.pointer, keyword,
                                      keyword, e.message())});
    }
  };
  const auto least = count_of(place, "minLength");
  const auto most = count_of(place, "maxLength");
  if (least || most)
    honour(least ? "minLength" : "maxLength",
           [&] { restrict_text(out.text, repeated(every_char(), least.value_or(0), most)); });
  if (const Json* text = find(place, "pattern")) {
    if (!text->is_string()) refuse(place, "pattern", "is no text");
    honour("pattern", [&] {
      restrict_text(out.text, pattern(text->get<std::string>(), place.pointer + "/pattern"));
    });
  }
  if (const Json* format = find(place, "format")) {
    if (!format->is_string()) refuse(place, "format", "is no text");
    const std::string name = format->get<std::string>();
    auto known = formats_.find(name);
    if (known == formats_.end()) known = formats_.emplace(name, compile_format(name)).first;
    if (known->second)
      honour("format", [&] { restrict_text(out.text, *known->second); });
    else if (noted_.insert(place.pointer + "/format").second)
      notes_.push_back(fmt::format("{}/format: `{}` is not checked", place.pointer, name));
  }
}

void SchemaReader::read_array(const SchemaPlace& place, Demands& out) {
  out.least_items = count_of(place, "minItems").value_or(0);
  out.most_items = count_of(place, "maxItems");
  ArrayPart part;
  const auto add_list = [&](const SchemaPlace& list) {
    for (size_t i = 0; i < list.json->size(); ++i)
      part.first.push_back({&(*list.json)[i], fmt::format("{}/{}", list.pointer, i)});
  };
  const Json* items = find(place, "items");
  const bool is_list = items != nullptr && items->is_array();  // before 2020-12
  if (is_list) add_list(under(place, "items"));
  if (!is_list && !old_ && find(place, "prefixItems") != nullptr) {
    list_of(place, "prefixItems");
    add_list(under(place, "prefixItems"));
  }
  if (items != nullptr && !is_list) part.rest = under(place, "items");
  if (is_list && find(place, "additionalItems") != nullptr)
    part.rest = under(place, "additionalItems");
  if (!old_ && !part.rest && find(place, "unevaluatedItems") != nullptr) {
    bool alone = true;  // nothing else looks at items
    for (const char* other : {"allOf", "anyOf", "oneOf", "$ref", "if", "contains",
                              "dependentSchemas", "not", "$dynamicRef"})
      alone &= find(place, other) == nullptr;
    if (alone)
      part.rest = under(place, "unevaluatedItems");
    else if (!says_nothing(under(place, "unevaluatedItems")))
      out.refusals.push_back(
          {kArray, fmt::format("{}/unevaluatedItems: `unevaluatedItems` can't be honoured beside "
                               "keywords that evaluate items",
                               place.pointer)});
  }
  if (part.rest || !part.first.empty()) out.arrays.push_back(std::move(part));
}

void SchemaReader::read_object(const SchemaPlace& place, Demands& out) {
  out.least_properties = count_of(place, "minProperties").value_or(0);
  out.most_properties = count_of(place, "maxProperties");
  if (const Json* required = find(place, "required"))
    if (!required->is_boolean())  // draft 3's
      out.required = names_in(place, "required", *required);
  ObjectPart part;
  if (find(place, "properties") != nullptr) {
    const SchemaPlace list = under(place, "properties");
    for (const auto& [name, schema] : object_of(place, "properties").items())
      part.properties.emplace_back(name, under(list, name));
    part.names_some = !part.properties.empty();
  }
  if (find(place, "patternProperties") != nullptr) {
    const SchemaPlace list = under(place, "patternProperties");
    for (const auto& [name, schema] : object_of(place, "patternProperties").items()) {
      part.patterns.emplace_back(name, under(list, name));
      try {
        pattern(name, under(list, name).pointer);
      } catch (const Error& e) {
        out.refusals.push_back({kObject, e.message()});
        part.patterns.pop_back();
      }
    }
  }
  if (find(place, "additionalProperties") != nullptr)
    part.additional = under(place, "additionalProperties");
  if (!old_ && !part.additional && find(place, "unevaluatedProperties") != nullptr) {
    bool alone = true;
    for (const char* other :
         {"allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas", "not", "$dynamicRef"})
      alone &= find(place, other) == nullptr;
    if (alone)
      part.additional = under(place, "unevaluatedProperties");
    else if (!says_nothing(under(place, "unevaluatedProperties")))
      out.refusals.push_back(
          {kObject, fmt::format("{}/unevaluatedProperties: `unevaluatedProperties` can't "
                                "be honoured beside keywords that evaluate properties",
                                place.pointer)});
  }
  if (part.additional || !part.properties.empty() || !part.patterns.empty())
    out.objects.push_back(std::move(part));
  read_names(place, out);
}

void SchemaReader::read_names(const SchemaPlace& place, Demands& out) {
  if (find(place, "propertyNames") == nullptr) return;
  const SchemaPlace names = under(place, "propertyNames");
  CharDfa all;
  for (const Demands& d : alternatives({names})) {
    if ((d.types & kString) == 0) continue;
    for (const Demands::Refusal& refusal : d.refusals)
      if ((refusal.types & kString) != 0) fail("{}", refusal.message);
    CharDfa some = d.text == nullptr ? any_text() : *d.text;
    if (d.values) {
      std::vector<std::vector<uint32_t>> texts;
      for (const Json* value : *d.values)
        if (value->is_string()) texts.push_back(chars_of(value->get<std::string>()));
      some = intersection(some, grammar::one_of(texts));
    }
    all = grammar::alternatives(all, some);
  }
  out.names = std::make_shared<const CharDfa>(std::move(all));
}

bool SchemaReader::says_nothing(const SchemaPlace& place) const {
  return (place.json->is_boolean() && place.json->get<bool>()) ||
         (place.json->is_object() && place.json->empty());
}

void SchemaReader::refuse_rest(const SchemaPlace& place, Demands& out) {
  const auto cannot = [&](uint8_t types, const char* keyword, const char* why,
                          bool only_many_items = false) {
    out.refusals.push_back(
        {types,
         fmt::format("{}/{}: `{}` can't be honoured: {}", place.pointer, keyword, keyword, why),
         only_many_items});
  };
  if (const Json* unique = find(place, "uniqueItems"))
    if (!unique->is_boolean() || unique->get<bool>())
      cannot(kArray, "uniqueItems", "no automaton can compare items", true);
  if (find(place, "contains") != nullptr) {
    const Json* least = find(place, "minContains");
    if (old_ || least == nullptr || *least != 0 || find(place, "maxContains") != nullptr)
      cannot(kArray, "contains", "not supported");
  }
  if (find(place, "if") != nullptr)
    for (const char* keyword : {"then", "else"})
      if (find(place, keyword) != nullptr && !says_nothing(under(place, keyword)))
        cannot(kAnyType, "if", "not supported");
  for (const char* keyword : {"$dynamicRef", "$recursiveRef"})
    if (!old_ && find(place, keyword) != nullptr) cannot(kAnyType, keyword, "not supported");
}

void SchemaReader::note_unknown(const SchemaPlace& place) {
  for (const auto& [key, value] : place.json->items()) {
    if (in(kAnnotations, key) || key.starts_with("x-")) continue;
    const bool unknown = old_ && in(kNew, key);
    if (in(kKnown, key) && !unknown) continue;
    if (noted_.insert(place.pointer + "/" + key).second)
      notes_.push_back(fmt::format("{}/{}: JSON schema has no such keyword{}: taken as a note",
                                   place.pointer, escaped(key), unknown ? " in this draft" : ""));
  }
}

// One of them: any of them, if no value fits two.
std::vector<Demands> SchemaReader::one_of(const SchemaPlace& list,
                                          const std::vector<Demands>& beside) {
  // Within a proof the same list may come again; the proof that is under way holds for it.
  const bool prove = proven_.insert(list.json).second;
  std::vector<std::vector<Demands>> each;
  for (size_t i = 0; i < list.json->size(); ++i) {
    const std::string pointer = fmt::format("{}/{}", list.pointer, i);
    each.push_back(read({&(*list.json)[i], pointer}));
    if (!prove) continue;
    const std::vector<Demands> here = both(beside, each.back(), pointer);
    for (size_t k = 0; k < i; ++k) {
      const std::vector<Demands> there = both(beside, each[k], pointer);
      for (const Demands& a : there)
        for (const Demands& b : here)
          if (!apart(a, b, kProofDepth))
            fail(
                "{}: `oneOf` can't be honoured: a value may fit both number {} and number {} of "
                "its schemas; use anyOf, or give them a required property with different const "
                "values",
                list.pointer, k, i);
    }
  }
  std::vector<Demands> out;
  for (std::vector<Demands>& some : each)
    for (Demands& d : some) out.push_back(std::move(d));
  return out;
}

std::vector<Demands> SchemaReader::read_not(const SchemaPlace& place) {
  const SchemaPlace inner = under(place, "not");
  check_schema(inner);
  const auto cannot = [&](std::string_view why) -> std::vector<Demands> {
    Demands d;
    d.refusals.push_back(
        {kAnyType, fmt::format("{}/not: `not` can't be honoured: {}", place.pointer, why)});
    return {d};
  };
  if (says_nothing(inner)) return {nothing()};
  if (inner.json->is_boolean()) return std::vector<Demands>(1);
  std::vector<std::string> keys;
  for (const auto& [key, value] : inner.json->items())
    if (!in(kAnnotations, key)) keys.push_back(key);
  if (keys.empty()) return {nothing()};
  if (keys.size() > 1) return cannot("of more than one keyword");
  Demands said;
  if (keys[0] == "type") {
    read_types(inner, said);
    Demands d;
    d.types = static_cast<uint8_t>(kAnyType & ~said.types);
    return {d};
  }
  if (keys[0] == "required") {
    // An object that lacks one of them.
    std::vector<Demands> out;
    for (const std::string& name : names_in(inner, "required", *find(inner, "required"))) {
      Demands d;
      d.types = kObject;
      d.objects.push_back(without(name, inner.pointer));
      out.push_back(std::move(d));
    }
    return out;
  }
  if (keys[0] == "enum" || keys[0] == "const") {
    read_types(inner, said);
    Demands d;
    std::vector<std::vector<uint32_t>> texts;
    for (const Json* value : *said.values) {
      if (value->is_null())
        d.types &= static_cast<uint8_t>(~kNull);
      else if (value->is_string())
        texts.push_back(chars_of(value->get<std::string>()));
      else
        return cannot("of values that are neither text nor null");
    }
    if (!texts.empty())
      d.text = std::make_shared<const CharDfa>(difference(any_text(), grammar::one_of(texts)));
    return {d};
  }
  return cannot("only of type, required, enum or const");
}

// If a property is there, so must others be: it is not there, or they are.
std::vector<Demands> SchemaReader::dependencies(const SchemaPlace& place) {
  std::vector<Demands> out(1);
  for (const char* keyword : {"dependentRequired", "dependentSchemas", "dependencies"}) {
    if (find(place, keyword) == nullptr || (old_ && in(kNew, keyword))) continue;
    const SchemaPlace list = under(place, keyword);
    for (const auto& [name, value] : object_of(place, keyword).items()) {
      const SchemaPlace at = under(list, name);
      Demands lacks;
      lacks.objects.push_back(without(name, at.pointer));
      Demands has;
      has.types = kObject;
      has.required = {name};
      std::vector<Demands> with{has};
      if (value.is_array()) {
        for (const std::string& other : names_in(list, name, value))
          if (other != name) with[0].required.push_back(other);
      } else if (value.is_string()) {  // draft 3's
        with[0].required.push_back(value.get<std::string>());
      } else {
        with = both(with, read(at), at.pointer);
      }
      with.insert(with.begin(), std::move(lacks));
      out = both(out, with, at.pointer);
    }
  }
  return out;
}

Schemas SchemaReader::of_property(const std::vector<ObjectPart>& parts, const std::string& name) {
  Schemas out;
  for (const ObjectPart& part : parts) {
    bool named = false;
    for (const auto& [property, schema] : part.properties)
      if (property == name) {
        out.push_back(schema);
        named = true;
      }
    for (const auto& [text, schema] : part.patterns)
      if (pattern(text, schema.pointer).matches(name)) {
        out.push_back(schema);
        named = true;
      }
    if (!named && part.additional) out.push_back(*part.additional);
  }
  return out;
}

Schemas SchemaReader::of_item(const std::vector<ArrayPart>& parts, size_t index) {
  Schemas out;
  for (const ArrayPart& part : parts)
    if (index < part.first.size())
      out.push_back(part.first[index]);
    else if (part.rest)
      out.push_back(*part.rest);
  return out;
}

// What is asked of a value inside another one may be what is being read.
class SchemaReader::Inside {
 public:
  explicit Inside(SchemaReader& reader) : reader_(reader) { under_way_.swap(reader.under_way_); }
  ~Inside() { under_way_.swap(reader_.under_way_); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  SchemaReader& reader_;
  std::set<const Json*> under_way_;
};

bool SchemaReader::fits(const Json& value, const Schemas& schemas) {
  const Inside inside(*this);
  const std::vector<Demands> all = alternatives(schemas);
  return std::ranges::any_of(all, [&](const Demands& d) { return fits(value, d); });
}

bool SchemaReader::fits(const Json& value, const Demands& d) {
  const uint8_t type = type_of(value);
  if ((d.types & type) == 0) return false;
  for (const Demands::Refusal& refusal : d.refusals)
    if ((refusal.types & type) != 0 && !(refusal.only_many_items && value.size() < 2))
      fail("{}", refusal.message);
  if (d.values && std::ranges::none_of(*d.values, [&](const Json* v) { return equal(*v, value); }))
    return false;
  if ((type & kNumber) != 0) {
    const Decimal n = decimal_of(value);
    const int above = d.low ? compare(n, d.low->value) : 1;
    const int below = d.high ? compare(n, d.high->value) : -1;
    if (above < 0 || (above == 0 && d.low->excluded)) return false;
    if (below > 0 || (below == 0 && d.high->excluded)) return false;
    return std::ranges::all_of(d.factors, [&](const Decimal& f) { return is_multiple(n, f); });
  }
  if (type == kString) return d.text == nullptr || d.text->matches(value.get<std::string>());
  if (type == kArray) {
    if (value.size() < d.least_items || value.size() > d.most_items.value_or(value.size()))
      return false;
    for (size_t i = 0; i < value.size(); ++i)
      if (!fits(value[i], of_item(d.arrays, i))) return false;
  }
  if (type == kObject) {
    if (value.size() < d.least_properties ||
        value.size() > d.most_properties.value_or(value.size()))
      return false;
    for (const std::string& name : d.required)
      if (!value.contains(name)) return false;
    for (const auto& [name, item] : value.items()) {
      if (d.names != nullptr && !d.names->matches(name)) return false;
      if (!fits(item, of_property(d.objects, name))) return false;
    }
  }
  return true;
}

bool SchemaReader::apart(const Schemas& a, const Schemas& b, int depth) {
  const Inside inside(*this);
  const std::vector<Demands> all_a = alternatives(a);
  const std::vector<Demands> all_b = alternatives(b);
  return std::ranges::all_of(all_a, [&](const Demands& x) {
    return std::ranges::all_of(all_b, [&](const Demands& y) { return apart(x, y, depth); });
  });
}

bool SchemaReader::apart(const Demands& a, const Demands& b, int depth) {
  spend(1);
  if (a.values || b.values) {
    const Demands& with = a.values ? a : b;
    const Demands& other = a.values ? b : a;
    return std::ranges::none_of(
        *with.values, [&](const Json* value) { return fits(*value, with) && fits(*value, other); });
  }
  uint8_t types = a.types & b.types;
  const Demands d = both_of(a, b);
  if ((types & kNumber) != 0 && d.low && d.high) {
    const int order = compare(d.low->value, d.high->value);
    if (order > 0 || (order == 0 && (d.low->excluded || d.high->excluded)))
      types &= static_cast<uint8_t>(~kNumber);
  }
  if ((types & kString) != 0 && d.text != nullptr && d.text->is_empty())
    types &= static_cast<uint8_t>(~kString);
  if ((types & kArray) != 0) {
    bool none = d.most_items && *d.most_items < d.least_items;
    for (size_t i = 0; i < std::min<uint64_t>(d.least_items, 100) && depth > 0 && !none; ++i)
      none = apart(of_item(a.arrays, i), of_item(b.arrays, i), depth - 1);
    if (none) types &= static_cast<uint8_t>(~kArray);
  }
  if ((types & kObject) != 0) {
    bool none = d.most_properties &&
                *d.most_properties < std::max<uint64_t>(d.least_properties, d.required.size());
    // A property that must be there and can't be both.
    for (const std::string& name : d.required)
      if (depth > 0 && !none)
        none = (d.names != nullptr && !d.names->matches(name)) ||
               apart(of_property(a.objects, name), of_property(b.objects, name), depth - 1);
    if (none) types &= static_cast<uint8_t>(~kObject);
  }
  return types == 0;
}

}  // namespace outboard::grammar
