// JSON schemas as Grammars: whatever the grammar lets through is JSON that the schema calls valid.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/char_dfa.h"
#include "grammar/grammar.h"

namespace outboard::grammar {

struct SchemaOptions {
  // Objects whose schema names `properties` and says nothing of others have no others: what people
  // mean, llama.cpp does, and keeps a small model from making names up. true: as the specification
  // says, any.
  bool open_objects = false;
};

struct SchemaGrammar {
  std::shared_ptr<const Grammar> grammar;
  // What was read as an annotation though it may not have been meant so, for the person:
  // "#/properties/a/format: `color` is not checked".
  std::vector<std::string> notes;
};

// Drafts 4 to 2020-12. Done: type, enum, const, properties, required, additionalProperties,
// patternProperties, propertyNames, min/maxProperties, dependentRequired, dependentSchemas,
// dependencies, items, prefixItems, additionalItems, min/maxItems, min/maxLength, pattern, format,
// minimum, maximum, exclusive*, multipleOf, anyOf, allOf, $ref within the file ($defs, recursion,
// $anchor), and
//   oneOf             where no value can be of two of its schemas, as far as that can be proved
//   not               of types, of texts by enum or const, of required
//   unevaluated*      where nothing beside it evaluates: as additional*
//   uniqueItems, contains and others that no automaton can keep: where they say nothing
// Everything else ends in an Error, "#/properties/a/uniqueItems: ...", with JSON pointer and
// keyword, and so does a schema that nothing is valid under. Keywords that the specification does
// not know are annotations, by its own rules; they are noted.
//
// How values are written. Properties come in the order of `properties` (of allOf: the first
// schema's first), required ones that are named nowhere else behind them, then all others in any
// order; optional ones may be left out. Names and the values of enum and const are spelled as
// nlohmann::json would. Strings may use any escape; numbers with bounds or multiples are written
// without exponent, integers have no point. All have at most 15 digits before and behind the point,
// in all where there are bounds, unless these have more: readers that take them as doubles see the
// same numbers. Blanks: see JsonRules. A name beyond `properties` could come twice; both values are
// then valid.
SchemaGrammar compile_schema(const nlohmann::ordered_json& schema,
                             const SchemaOptions& options = {});
// Of a file's text; throws Error also where that is no JSON.
SchemaGrammar compile_schema_text(std::string_view text, const SchemaOptions& options = {});

class JsonRules;

// A schema as part of a grammar that is put together elsewhere. Throws Error as compile_schema
// does, but knows nothing of rules that no value matches (Builder::can_match()).
class SchemaRules {
 public:
  // All have to outlive this. What JSON itself needs, all schemas of one grammar share: `json`.
  SchemaRules(Builder& builder, JsonRules& json, const nlohmann::ordered_json& schema,
              const SchemaOptions& options = {});
  SchemaRules(const SchemaRules&) = delete;
  SchemaRules& operator=(const SchemaRules&) = delete;
  ~SchemaRules();

  // The rule for the JSON of values that are valid under the schema at this place in it: "" for all
  // of it, "/properties/a" ...
  uint32_t json(const std::string& pointer);
  // The strings that are valid there, themselves, not their JSON. Without states where none is.
  CharDfa strings(const std::string& pointer);
  const std::vector<std::string>& notes() const;

 private:
  class Compiler;
  std::unique_ptr<Compiler> compiler_;
};

// Any JSON value; objects_only: any object, as "JSON mode" has it.
std::shared_ptr<const Grammar> any_json(bool objects_only);

}  // namespace outboard::grammar
