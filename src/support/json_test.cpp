#include "support/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "support/error.h"

namespace outboard {
namespace {

using ::testing::HasSubstr;

std::string error_of(std::string_view text, int max_depth = 64) {
  try {
    parse_json(text, max_depth);
  } catch (const Error& e) {
    return e.message();
  }
  return "no error";
}

TEST(Json, WhatIsWrongIsToldWithItsPlace) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"", "line 1, column 1: there is nothing but blanks"},
      {" \n ", "line 2, column 2: there is nothing but blanks"},
      {"{\"a\": [1", "line 1, column 9: it ends before it is whole"},
      {"{\"a\": \"b", "line 1, column 9: it ends before it is whole"},
      {"{\"a\": 1,}", "line 1, column 8: the comma before } is one too many"},
      {"[1,\n 2 ,\n]", "line 2, column 4: the comma before ] is one too many"},
      {"{\n  \"a\": 1\n  \"bc\\\"d\": 2\n}", "line 3, column 3: expected , or }"},
      {"[1 234]", "line 1, column 4: expected , or ]"},
      {"[1 true]", "line 1, column 4: expected , or ]"},
      {"{\"a\" 1}", "line 1, column 6: expected : behind the key"},
      {"{a: 1}", "line 1, column 2: expected a key in double quotes"},
      {"{1: 1}", "line 1, column 2: expected a key in double quotes"},
      {"{\"a\": }", "line 1, column 7: expected a value"},
      {"{} {}", "line 1, column 4: something stands behind the end"},
      {"[1] \"x\"", "line 1, column 5: something stands behind the end"},
      {"{'a': 1}", "line 1, column 2: JSON writes texts in double quotes, not in single ones"},
      {"{\"a\": None}", "line 1, column 7: JSON writes null for None"},
      {"{\"a\": NaN}", "line 1, column 7: NaN is no number of JSON's"},
      {"// x\n{}", "line 1, column 1: comments are not allowed in JSON"},
      {"[\"\xC3\xA4\xC3\xB6\" x]", "line 1, column 7: invalid literal"},
      {"[\"a\nb\"]", "control character U+000A (LF) must be escaped"},
      {"\"\xff\"", "line 1, column 2: invalid string: ill-formed UTF-8 byte"},
      {"[1e999]", "number overflow"},
      {"[{\"a\":{\"b\":1},\n\"a\":2}]",
       "line 2, column 1: the key \"a\" stands twice in one object"},
  };
  for (const auto& [text, message] : cases)
    EXPECT_THAT(error_of(text), HasSubstr("no valid JSON: ")) << text;
  for (const auto& [text, message] : cases) EXPECT_THAT(error_of(text), HasSubstr(message)) << text;
}

TEST(Json, NestingHasALimit) {
  EXPECT_EQ(error_of("[[[1]]]", 3), "no error");
  EXPECT_EQ(error_of("[[\n[[1]]]]", 2), "no valid JSON: line 2, column 2: nested deeper than 2");
  EXPECT_THAT(error_of(std::string(100000, '[')), HasSubstr("nested deeper than 64"));
}

TEST(Json, KeysKeepTheirOrder) {
  EXPECT_EQ(parse_json("\xEF\xBB\xBF{\"b\": 1, \"a\": [1.5, -2, \"\\u00e4\", null]}").dump(),
            "{\"b\":1,\"a\":[1.5,-2,\"\xC3\xA4\",null]}");
  // The same key in different objects is fine.
  EXPECT_EQ(parse_json("[{\"a\":1},{\"a\":{\"a\":2}}]").size(), 2u);
}

}  // namespace
}  // namespace outboard
