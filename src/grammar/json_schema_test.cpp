#include "grammar/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "grammar/test_support.h"
#include "support/error.h"

namespace outboard::grammar {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Schema {
 public:
  explicit Schema(std::string_view text, bool open = false)
      : made_(compile_schema_text(text, {open})) {}

  Schema& yes(std::initializer_list<std::string_view> texts) {
    for (const std::string_view text : texts) EXPECT_TRUE(accepts(made_.grammar, text)) << text;
    return *this;
  }
  Schema& no(std::initializer_list<std::string_view> texts) {
    for (const std::string_view text : texts) EXPECT_FALSE(accepts(made_.grammar, text)) << text;
    return *this;
  }
  const std::vector<std::string>& notes() const { return made_.notes; }

 private:
  SchemaGrammar made_;
};

std::string error_of(std::string_view schema) {
  try {
    compile_schema_text(schema);
  } catch (const Error& e) {
    return e.message();
  }
  return "";
}

TEST(JsonSchema, Types) {
  Schema(R"({"type": "integer"})")
      .yes({"0", "-7", "123"})
      .no({"1.0", "01", "1e3", "-", "\"1\"", ""});
  Schema(R"({"type": "number"})")
      .yes({"0", "-7", "1.50", "1e5", "-2.5E-10"})
      .no({"01", ".5", "1.", "1e", "1e999"});
  Schema(R"({"type": "boolean"})").yes({"true", "false"}).no({"True", "null"});
  Schema(R"({"type": ["null", "string"]})").yes({"null", "\"\""}).no({"0"});
  Schema("true").yes({"null", "[1, {\"a\": []}]", "\"x\""}).no({"[1,]", "{a: 1}", " 1", "1 "});
  Schema(R"({"type": "array"})").yes({"[]", "[null, [1]]"}).no({"{}"});
  Schema(R"({"type": "object"})").yes({"{}", "{\"a\": 1, \"b\": {}}"}).no({"[]", "{\"a\"}"});
}

TEST(JsonSchema, BlanksAreFew) {
  Schema s(R"({"type": "array", "items": {"type": "integer"}})");
  s.yes({"[1,2]", "[1, 2]", "[ 1, 2 ]", "[\n  1,\n  2\n]", "[\n\t1,\n\t2\n]"});
  s.no({"[1 ,2]", "[1,  2]", "[1,\n\n2]", " [1]", "[1]\n", "[1,\r\n2]"});
  EXPECT_FALSE(begins(any_json(false), "[" + std::string(3, ' ')));
  EXPECT_FALSE(begins(any_json(false), "[\n" + std::string(21, ' ')));
}

TEST(JsonSchema, Strings) {
  Schema(R"({"type": "string"})")
      .yes({R"("")", R"("a\"\\\/\b\f\n\r\t\u00e9é😀")", R"("\ud83d\ude00")"})
      .no({R"("a)", R"("\q")", "\"\n\"", R"("\u12")", R"("\ud83d")", R"("\ud83dx")", R"("\ude00")",
           "\"\x80\""});
  Schema(R"({"type": "string", "minLength": 2, "maxLength": 3})")
      .yes({R"("ab")", R"("é😀x")", R"("\n\u0041")", R"("\ud83d\ude00a")"})
      .no({R"("")", R"("a")", R"("abcd")"});
  Schema(R"({"type": "string", "pattern": "^[a-z]+(-\\d{2})?$"})")
      .yes({R"("ab")", R"("ab-12")"})
      .no({R"("ab-1")", R"("Ab")", R"("")", R"("x-12y")"});
  Schema(R"({"type": "string", "pattern": "b.d"})")
      .yes({R"("abcde")", R"("b\"d")", R"("b\u00e9d")"})
      .no({R"("bd")", R"("b\nd")"});
  Schema(R"({"type": "string", "pattern": "^a|b$"})").yes({R"("ax")", R"("xb")"}).no({R"("xax")"});
  Schema(R"({"type": "string", "pattern": "^x", "maxLength": 2})")
      .yes({R"("xy")"})
      .no({R"("xyz")"});
  EXPECT_EQ(error_of(R"~({"properties": {"a/b": {"type": "string", "pattern": "(?=x)"}}})~"),
            "#/properties/a~1b/pattern: the pattern can't be honoured: character 3: look-ahead is "
            "not supported");
  // Said of what is no text, it does no harm.
  EXPECT_EQ(error_of(R"~({"type": "integer", "pattern": "(?=x)"})~"), "");
  for (const char* bad :
       {"a{2,1}", "(a", "a)", "[b-a]", "[a", "\\", "*", "a**", "\\1", "\\bx", "(?<n>a)\\k<n>",
        "\\p{L}", "(?<!a)b", "\\u12", "x{99999999}", "((((a{99}){99}){99}){99})"})
    EXPECT_NE(error_of(nlohmann::json({{"type", "string"}, {"pattern", bad}}).dump()), "") << bad;
}

TEST(JsonSchema, Formats) {
  Schema(R"({"type": "string", "format": "date"})")
      .yes({R"("2024-02-29")", R"("1999-12-31")", R"("2000-02-29")"})
      .no({R"("2023-02-29")", R"("1900-02-29")", R"("2024-04-31")", R"("2024-13-01")",
           R"("24-1-1")", R"("0000-01-01")"});
  Schema(R"({"type": "string", "format": "date-time"})")
      .yes({R"("2024-02-29T23:59:59.5+01:00")", R"("1985-04-12T23:20:50Z")"})
      .no({R"("2024-02-29 23:59:59Z")", R"("2024-02-29T24:00:00Z")", R"("2024-02-29T23:59:59")"});
  Schema(R"({"type": "string", "format": "ipv4"})")
      .yes({R"("127.0.0.255")"})
      .no({R"("256.0.0.1")", R"("1.2.3")", R"("01.2.3.4")"});
  Schema(R"({"type": "string", "format": "ipv6"})")
      .yes({R"("::")", R"("::1")", R"("1:2:3:4:5:6:7:8")", R"("1::8")", R"("1:2:3:4:5:6:7::")"})
      .no({R"("1:2")", R"("1::2::3")", R"("1:2:3:4:5:6:7:8:9")", R"("12345::")",
           R"("1:2:3:4:5:6:7::8")"});
  Schema(R"({"type": "string", "format": "uuid"})")
      .yes({R"("123e4567-e89b-12d3-a456-426614174000")"})
      .no({R"("123e4567")"});
  Schema(R"({"type": "string", "format": "email"})")
      .yes({R"("joe.bloggs@example.com")"})
      .no({R"("joe")", R"(".a@b.c")"});
  Schema(R"({"type": "string", "format": "uri"})")
      .yes({R"("http://example.com/a?b=c#d")", R"("urn:a:b")"})
      .no({R"("//x")", R"("a b:c")"});
  Schema odd(R"({"type": "string", "format": "color"})");
  odd.yes({R"("red")"});
  EXPECT_THAT(odd.notes(), ElementsAre("#/format: `color` is not checked"));
}

TEST(JsonSchema, NumbersBetweenBounds) {
  Schema(R"({"type": "integer", "minimum": 8, "maximum": 123})")
      .yes({"8", "9", "10", "99", "100", "123"})
      .no({"7", "124", "1234", "-8", "08", "8.0"});
  Schema(R"({"type": "integer", "minimum": -12, "exclusiveMaximum": 3})")
      .yes({"-12", "-1", "0", "2"})
      .no({"-13", "3", "-0", "-120"});
  Schema(R"({"type": "integer", "exclusiveMinimum": 99})")
      .yes({"100", "9999"})
      .no({"99", "0", "-100"});
  Schema(R"({"type": "number", "minimum": 0.5, "exclusiveMaximum": 2})")
      .yes({"0.5", "1", "1.99", "1.0"})
      .no({"0.49", "2", "2.0", "0", "5e-1"});
  Schema(R"({"type": "number", "exclusiveMinimum": -0.25, "maximum": 0})")
      .yes({"-0.2", "0", "0.0", "-0.2499"})
      .no({"-0.25", "-0.250", "0.1", "-0", "-1"});
  Schema(R"({"type": "number", "exclusiveMinimum": 0})").yes({"0.001", "5"}).no({"0", "0.0", "-1"});
  Schema(R"({"type": "integer", "minimum": 1.5, "maximum": 2.5})").yes({"2"}).no({"1", "3"});
  Schema(R"({"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 30})")
      .yes({"0", "7", "28"})
      .no({"1", "35", "27"});
  Schema(R"({"type": "number", "multipleOf": 0.05})")
      .yes({"0.1", "1.25", "-3", "0.150"})
      .no({"0.12", "1.251"});
  EXPECT_THAT(error_of(R"({"type": "integer", "minimum": 3, "maximum": 2})"),
              HasSubstr("no value is valid"));
  EXPECT_THAT(error_of(R"({"type": "integer", "multipleOf": 123456789})"),
              HasSubstr("#/multipleOf: `multipleOf` can't be honoured"));
  // As a double the second would be 2.
  Schema(R"({"type": "number", "exclusiveMaximum": 2})")
      .yes({"1.99999999999999"})
      .no({"1.9999999999999999"});
  Schema(R"({"type": "number", "minimum": 0.30000000000000004, "maximum": 0.30000000000000004})")
      .yes({"0.30000000000000004"});
  // Against arithmetic, at random.
  for (int low = -120; low <= 120; low += 17)
    for (int high = low; high <= 130; high += 23) {
      const auto grammar =
          low == high && low % 3 != 0
              ? nullptr
              : compile_schema(
                    {{"type", "integer"}, {"minimum", low}, {"maximum", high}, {"multipleOf", 3}})
                    .grammar;
      for (int n = -150; n <= 150; ++n)
        EXPECT_EQ(grammar != nullptr && accepts(grammar, std::to_string(n)),
                  low <= n && n <= high && n % 3 == 0)
            << low << " " << high << " " << n;
    }
}

TEST(JsonSchema, EnumAndConst) {
  Schema(R"({"enum": ["a\"b", 1, null, [1, {"x": []}]]})")
      .yes({R"("a\"b")", "1", "null", R"([1,{"x":[]}])", R"([1, {"x": []}])"})
      .no({"2", R"([1])"});
  Schema(R"({"const": {"b": 1, "a": 2}})")
      .yes({R"({"b": 1, "a": 2})"})
      .no({R"({"a": 2, "b": 1})", "{}"});
  // What else is said holds for them, too.
  Schema(R"({"enum": ["a", "bb", 3, 4.5], "type": ["string", "integer"], "minLength": 2})")
      .yes({R"("bb")", "3"})
      .no({R"("a")", "4.5"});
  EXPECT_THAT(error_of(R"({"enum": ["a"], "type": "integer"})"), HasSubstr("no value is valid"));
}

TEST(JsonSchema, PropertiesComeInOrder) {
  Schema s(
      R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}, "c": {"type": "null"}},
               "required": ["b", "z"]})");
  s.yes({R"({"a":1,"b":true,"c":null,"z":[]})", R"({"b": false, "z": 1})",
         "{\n  \"b\": false,\n  \"z\": 1\n}"});
  s.no({R"({"b":true,"a":1,"z":1})", R"({"a":1})", R"({"b":true,"z":1,"y":1})",
        R"({"b":true,"b":true,"z":1})", "{}"});
  Schema(R"({"type": "object", "properties": {"a": {}}})", true)
      .yes({R"({"x":1})", R"({"a":1,"x":2,"y":3})", "{}"})
      .no({R"({"x":1,"a":2})", R"({"a":1,"\u0061":2})", R"({"a":1,"a":2})"});
  Schema(
      R"({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "integer"}})")
      .yes({R"({"a":"x","aa":1,"":2,"\"":3})"})
      .no({R"({"b":"x"})"});
  Schema(R"({"type": "object", "additionalProperties": false})").yes({"{}"}).no({R"({"a":1})"});
}

TEST(JsonSchema, NamesByPattern) {
  Schema s(
      R"({"type": "object", "properties": {"x1": {"const": "p"}}, "patternProperties": {"^x": {"type": "string"}, "1$": {"maxLength": 1}},
               "additionalProperties": {"type": "null"}})");
  s.yes({R"({"x1":"p"})", R"({"x2":"long","y1":[],"x11":"a","b":null})"});
  s.no({R"({"x1":"q"})", R"({"x2":1})", R"({"x11":"ab"})", R"({"b":1})"});
  Schema(
      R"({"type": "object", "propertyNames": {"pattern": "^[ab]$"}, "additionalProperties": {"type": "integer"}})")
      .yes({R"({"a":1,"b":2})"})
      .no({R"({"c":1})"});
  Schema(R"({"type": "object", "propertyNames": {"enum": ["k"]}})")
      .yes({R"({"k":1})", "{}"})
      .no({R"({"l":1})"});
}

TEST(JsonSchema, CountsOfProperties) {
  Schema(
      R"({"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2, "maxProperties": 2})")
      .yes({R"({"a":1,"c":1})", R"({"b":1,"c":1})"})
      .no({R"({"a":1})", R"({"a":1,"b":1,"c":1})", "{}"});
  Schema(R"({"type": "object", "minProperties": 1})").yes({R"({"a":1})"}).no({"{}"});
  Schema(R"({"type": "object", "maxProperties": 1})")
      .yes({R"({"a":1})", "{}"})
      .no({R"({"a":1,"b":1})"});
  EXPECT_THAT(error_of(R"({"type": "object", "minProperties": 2})"),
              HasSubstr("#/minProperties: `minProperties` can't be honoured"));
}

TEST(JsonSchema, Arrays) {
  Schema(R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3})")
      .yes({"[1]", "[1,2,3]"})
      .no({"[]", "[1,2,3,4]", "[true]"});
  Schema(
      R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "null"}})")
      .yes({"[]", "[1]", R"([1,"a",null,null])"})
      .no({R"(["a"])", R"([1,"a",2])"});
  Schema(R"({"type": "array", "items": [{"type": "integer"}], "additionalItems": false})")
      .yes({"[]", "[1]"})
      .no({"[1,2]"});
  Schema(R"({"type": "array", "minItems": 2})").yes({"[1,2]", "[1,2,3,4]"}).no({"[1]"});
  Schema(R"({"type": "array", "uniqueItems": true, "maxItems": 1})").yes({"[1]"});
  EXPECT_EQ(error_of(R"({"properties": {"tags": {"type": "array", "uniqueItems": true}}})"),
            "#/properties/tags/uniqueItems: `uniqueItems` can't be honoured: no automaton can "
            "compare items");
}

TEST(JsonSchema, Recursion) {
  Schema(
      R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["v", "next"]}}})")
      .yes({R"({"v":1,"next":{"v":2,"next":null}})"})
      .no({R"({"v":1,"next":{"v":2}})"});
  EXPECT_THAT(
      error_of(R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})"),
      HasSubstr("none that ends"));
  EXPECT_THAT(error_of(R"({"$ref": "#"})"), HasSubstr("leads to itself"));
  EXPECT_THAT(error_of(R"({"allOf": [{"$ref": "#"}]})"), HasSubstr("leads to itself"));
  // The endless branch is left out.
  Schema(
      R"({"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"}, "minItems": 1}]})")
      .yes({"null", "[[null]]"});
}

TEST(JsonSchema, References) {
  Schema(
      R"({"definitions": {"a/b": {"type": "null"}, "c%d": {"$anchor": "here", "type": "boolean"}},
             "type": "array", "prefixItems": [{"$ref": "#/definitions/a~1b"}, {"$ref": "#/definitions/c%25d"}, {"$ref": "#here"}], "items": false})")
      .yes({"[null,true,false]"})
      .no({"[1]"});
  EXPECT_THAT(error_of(R"({"$ref": "#/$defs/missing"})"),
              HasSubstr("#/$ref: `$ref` #/$defs/missing: there is no such place"));
  // Addresses that would have to be resolved first may not be what they look like.
  EXPECT_THAT(
      error_of(R"({"$id": "http://a/b/", "$ref": "c.json", "$defs": {"c": {"$id": "c.json"}}})"),
      HasSubstr("other files are not read"));
  Schema(
      R"({"$id": "http://a/b", "$ref": "http://a/c", "$defs": {"c": {"$id": "http://a/c", "type": "null"}}})")
      .yes({"null"});
  EXPECT_THAT(error_of(R"({"$ref": "other.json"})"), HasSubstr("other files are not read"));
  // Draft 7 does not look beside a $ref, later ones do.
  Schema(
      R"({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {"type": "integer"}}, "$ref": "#/definitions/a", "maximum": 3})")
      .yes({"5"});
  Schema(R"({"definitions": {"a": {"type": "integer"}}, "$ref": "#/definitions/a", "maximum": 3})")
      .yes({"3"})
      .no({"5"});
}

TEST(JsonSchema, AllOfIsMerged) {
  Schema(
      R"({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"b": {"type": "string"}, "a": {"minimum": 5}}}]})")
      .yes({R"({"a":5,"b":"x"})", R"({"a":7})"})
      .no({R"({"a":4})", R"({"b":"x"})"});
  // additionalProperties looks at its own schema's names only.
  Schema(
      R"({"allOf": [{"properties": {"a": {}}, "additionalProperties": false}, {"type": "object", "properties": {"b": {}}}]})")
      .yes({R"({"a":1})", "{}"})
      .no({R"({"b":1})"});
  Schema(R"({"allOf": [{"enum": [1, 2, "a"]}, {"enum": [2.0, "a"]}, {"type": "number"}]})")
      .yes({"2"})
      .no({"1", R"("a")"});
  Schema(R"({"type": "string", "allOf": [{"pattern": "a"}, {"pattern": "b"}, {"maxLength": 2}]})")
      .yes({R"("ab")", R"("ba")"})
      .no({R"("aab")", R"("a")"});
}

TEST(JsonSchema, OneOfWhereItIsCertain) {
  Schema(R"({"oneOf": [{"type": "string"}, {"type": "null"}]})").yes({"null", R"("")"}).no({"1"});
  Schema(
      R"({"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind"]},
                       {"type": "object", "properties": {"kind": {"const": "b"}, "y": {"type": "integer"}}, "required": ["kind"]}]})")
      .yes({R"({"kind":"a","x":1})", R"({"kind":"b"})"})
      .no({R"({"kind":"b","x":1})", R"({"kind":"c"})", "{}"});
  Schema(
      R"({"oneOf": [{"type": "integer", "maximum": 3}, {"type": "integer", "exclusiveMinimum": 3}]})")
      .yes({"3", "4"});
  Schema(R"({"type": "array", "items": {"oneOf": [{"type": "null"}, {"$ref": "#"}]}})")
      .yes({"[null,[null]]"});
  EXPECT_THAT(
      error_of(R"({"properties": {"p": {"oneOf": [{"type": "integer"}, {"type": "number"}]}}})"),
      HasSubstr("#/properties/p/oneOf: `oneOf` can't be honoured: a value may fit both number 0 "
                "and number 1"));
}

TEST(JsonSchema, NotAndDependencies) {
  Schema(R"({"not": {"type": ["object", "array"]}})").yes({"1", "null"}).no({"{}", "[]"});
  Schema(R"({"type": "string", "not": {"enum": ["a", "b"]}})")
      .yes({R"("ab")", R"("")"})
      .no({R"("a")", R"("\u0062")"});
  Schema(R"({"type": "object", "properties": {"a": {}, "b": {}}, "not": {"required": ["a", "b"]}})")
      .yes({R"({"a":1})", R"({"b":1})", "{}"})
      .no({R"({"a":1,"b":1})"});
  Schema(
      R"({"type": "object", "properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}})")
      .yes({"{}", R"({"b":1})", R"({"a":1,"b":1})"})
      .no({R"({"a":1})"});
  // Neither names what may come.
  Schema(R"({"type": "object", "not": {"required": ["a"]}})")
      .yes({R"({"b":1})"})
      .no({R"({"a":1})"});
  EXPECT_THAT(error_of(R"({"not": {"properties": {"a": {"type": "string"}}}})"),
              HasSubstr("#/not: `not` can't be honoured"));
}

TEST(JsonSchema, WhatCannotBeKeptIsRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"items": {"if": {"type": "integer"}, "then": {"minimum": 1}}})", "#/items/if: `if`"},
      {R"({"type": "array", "contains": {"type": "integer"}})", "#/contains: `contains`"},
      {R"({"$dynamicRef": "#x"})", "#/$dynamicRef: `$dynamicRef`"},
      {R"({"anyOf": [{"required": ["a"]}], "unevaluatedProperties": false})",
       "#/unevaluatedProperties: `unevaluatedProperties`"},
      {R"({"type": "strin"})", "#/type: `type` \"strin\" is no type"},
      {R"({"properties": []})", "#/properties: `properties` is no object"},
      {R"({"required": "a"})", "#/required: `required` holds something that is no list"},
      {R"({"minLength": -1})", "#/minLength: `minLength` is no count"},
      {R"({"minimum": "1"})", "#/minimum: `minimum` is no number"},
      {R"({"multipleOf": 0})", "#/multipleOf: `multipleOf` is not above 0"},
      {R"({"anyOf": [{}, 3]})", "#/anyOf/1: expected a schema"},
      {R"({"type": "array", "maxItems": 10000000})", "#/maxItems: `maxItems` can't be honoured"},
      {R"({"type": "string", "maxLength": 10000000})",
       "#/maxLength: `maxLength` can't be honoured"},
      {"[1]", "#: expected a schema"},
      {"{", "no valid JSON: line 1, column 2: it ends before it is whole"},
      {"false", "#: no value is valid"}};
  for (const auto& [schema, error] : cases)
    EXPECT_THAT(error_of(schema), HasSubstr(error)) << schema;
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "{\"not\":";
  EXPECT_THAT(error_of(deep + "true" + std::string(1000, '}')), HasSubstr("deep"));
}

TEST(JsonSchema, AnnotationsDoNoHarm) {
  Schema s(
      R"({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://x/y", "title": "T", "description": "d", "default": 3,
               "examples": [1], "deprecated": true, "$comment": "c", "x-mine": 1, "type": "integer"})");
  s.yes({"3"});
  EXPECT_THAT(s.notes(), IsEmpty());
  EXPECT_THAT(Schema(R"({"type": "object", "requird": ["a"]})").notes(),
              ElementsAre(HasSubstr("#/requird: JSON schema has no such keyword")));
}

TEST(JsonSchema, AnyJson) {
  EXPECT_TRUE(accepts(any_json(false), "[1, \"a\", {\"b\": null}]"));
  EXPECT_TRUE(accepts(any_json(true), "{\"a\": {}}"));
  EXPECT_FALSE(begins(any_json(true), "["));
}

}  // namespace
}  // namespace outboard::grammar
