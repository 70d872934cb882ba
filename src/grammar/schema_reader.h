// What a JSON schema asks for, keyword by keyword, put in a form that a grammar can be made from.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "grammar/char_dfa.h"
#include "grammar/number_dfa.h"

namespace outboard::grammar {

using Json = nlohmann::ordered_json;

// A schema in its file. The JSON stays where it is, so its address stands for it.
struct SchemaPlace {
  const Json* json;
  std::string pointer;  // "#/properties/a"
};
// Schemas that a value must fit all of.
using Schemas = std::vector<SchemaPlace>;

enum Type : uint8_t {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kFraction = 8,  // numbers that are no integers
  kString = 16,
  kArray = 32,
  kObject = 64,
  kNumber = kInteger | kFraction,
  kAnyType = 127,
};

// The part of one schema that speaks of objects. Others beside it (allOf) have their own, since
// additionalProperties looks at the names of its own schema only.
struct ObjectPart {
  std::vector<std::pair<std::string, SchemaPlace>> properties;
  std::vector<std::pair<std::string, SchemaPlace>> patterns;
  std::optional<SchemaPlace> additional;
  bool names_some = false;  // it has `properties`
};
struct ArrayPart {
  std::vector<SchemaPlace> first;
  std::optional<SchemaPlace> rest;
};

// A conjunction of all that is said about a value, without alternatives.
struct Demands {
  uint8_t types = kAnyType;
  std::optional<std::vector<const Json*>> values;  // enum and const
  std::optional<Bound> low, high;
  std::vector<Decimal> factors;
  std::shared_ptr<const CharDfa> text;  // null: any
  std::vector<ArrayPart> arrays;
  uint64_t least_items = 0;
  std::optional<uint64_t> most_items;
  std::vector<ObjectPart> objects;
  std::vector<std::string> required;  // once each
  uint64_t least_properties = 0;
  std::optional<uint64_t> most_properties;
  std::shared_ptr<const CharDfa> names;  // of all properties; null: any
  // What can't be kept: an error where a value of these types would be made. The message has the
  // pointer and the keyword.
  struct Refusal {
    uint8_t types;
    std::string message;
    bool only_many_items = false;  // says something of two items and more only
  };
  std::vector<Refusal> refusals;
};

// One schema file. Throws Error naming pointer and keyword.
class SchemaReader {
 public:
  explicit SchemaReader(const Json& root);

  // A value fits the schemas when it fits one of these.
  std::vector<Demands> alternatives(const Schemas& schemas);
  bool fits(const Json& value, const Schemas& schemas);
  bool fits(const Json& value, const Demands& demands);
  // The schemas that a property of this name must fit, of all parts together.
  Schemas of_property(const std::vector<ObjectPart>& parts, const std::string& name);
  static Schemas of_item(const std::vector<ArrayPart>& parts, size_t index);
  const CharDfa& pattern(const std::string& text, const std::string& pointer);

  const std::vector<std::string>& notes() const { return notes_; }

 private:
  class Inside;
  void spend(size_t work);
  std::vector<Demands> read(const SchemaPlace& place);
  std::vector<Demands> keywords(const SchemaPlace& place);
  Demands simple(const SchemaPlace& place);
  void read_types(const SchemaPlace& place, Demands& out);
  void read_numbers(const SchemaPlace& place, Demands& out);
  void read_text(const SchemaPlace& place, Demands& out);
  void read_array(const SchemaPlace& place, Demands& out);
  void read_object(const SchemaPlace& place, Demands& out);
  void read_names(const SchemaPlace& place, Demands& out);
  void refuse_rest(const SchemaPlace& place, Demands& out);
  void note_unknown(const SchemaPlace& place);
  std::vector<Demands> one_of(const SchemaPlace& list, const std::vector<Demands>& beside);
  std::vector<Demands> read_not(const SchemaPlace& place);
  std::vector<Demands> dependencies(const SchemaPlace& place);
  SchemaPlace target(const SchemaPlace& place, const std::string& reference);
  std::vector<Demands> both(const std::vector<Demands>& a, const std::vector<Demands>& b,
                            const std::string& pointer);
  // Whether it is certain that no value fits both.
  bool apart(const Demands& a, const Demands& b, int depth);
  bool apart(const Schemas& a, const Schemas& b, int depth);
  bool says_nothing(const SchemaPlace& place) const;

  const Json& root_;
  bool old_;  // draft 7 or before: what stands beside $ref is not looked at
  std::map<std::string, SchemaPlace> addresses_;  // by $id
  // Of each place the schema around it that has an $id, or the root; and the anchors within that.
  std::map<const Json*, const Json*> resources_;
  std::map<std::pair<const Json*, std::string>, SchemaPlace> anchors_;
  std::set<const Json*> under_way_;
  size_t spent_ = 0;              // schemas read and pairs compared
  std::set<const Json*> proven_;  // lists of oneOf whose schemas are apart, or are being proven so
  std::map<std::string, CharDfa> patterns_;
  std::map<std::string, std::optional<CharDfa>> formats_;
  std::vector<std::string> notes_;
  std::set<std::string> noted_;
};

}  // namespace outboard::grammar
