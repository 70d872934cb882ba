// JSON schemas as Grammars: whatever the grammar lets through is JSON that the schema calls valid.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

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

// Any JSON value; objects_only: any object, as "JSON mode" has it.
std::shared_ptr<const Grammar> any_json(bool objects_only);

}  // namespace outboard::grammar
