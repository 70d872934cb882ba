#include "grammar/gbnf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "grammar/test_support.h"
#include "support/error.h"
#include "text/unicode.h"

namespace outboard::grammar {
namespace {

using ::testing::HasSubstr;

bool matches(std::string_view grammar, std::string_view text) {
  return accepts(parse_gbnf(grammar), text);
}

std::string error_of(std::string_view grammar) {
  try {
    parse_gbnf(grammar);
  } catch (const Error& e) {
    return e.message();
  }
  return "";
}

TEST(Gbnf, LiteralsAndAlternatives) {
  constexpr auto kGrammar = "root ::= \"yes\" | \"no\" | \"n\\\"\\x41\\u00e9\\U0001F600\\n\"";
  EXPECT_TRUE(matches(kGrammar, "yes"));
  EXPECT_TRUE(matches(kGrammar, "no"));
  EXPECT_TRUE(matches(kGrammar, "n\"Aé😀\n"));
  EXPECT_FALSE(matches(kGrammar, "n"));
  EXPECT_FALSE(matches(kGrammar, "yesno"));
  EXPECT_TRUE(matches("root ::= \"a\" |", ""));
}

TEST(Gbnf, Classes) {
  constexpr auto kGrammar = "root ::= [a-cx\\]\\-é-ë]+";
  EXPECT_TRUE(matches(kGrammar, "abcx]-éêë"));
  EXPECT_FALSE(matches(kGrammar, "d"));
  EXPECT_FALSE(matches(kGrammar, "ì"));
  EXPECT_TRUE(matches("root ::= [^a-c\\n]", "é"));
  EXPECT_TRUE(matches("root ::= [^a-c\\n]", "\xF4\x8F\xBF\xBF"));
  EXPECT_FALSE(matches("root ::= [^a-c\\n]", "b"));
  EXPECT_FALSE(matches("root ::= [^a-c\\n]", "\n"));
  EXPECT_TRUE(matches("root ::= [+-]", "-"));
  EXPECT_TRUE(matches("root ::= .", "\n"));
}

// Every character and nothing else is UTF-8: overlong forms, surrogates and what lies beyond are
// not.
TEST(Gbnf, OnlyWellFormedUtf8) {
  const auto any = parse_gbnf("root ::= .");
  for (const char* good : {"\x01", "\x7f", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF",
                           "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"})
    EXPECT_TRUE(accepts(any, good)) << good;
  for (const char* bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC2\x41", "\xE1\x80"})
    EXPECT_FALSE(accepts(any, bad)) << bad;
}

// Ranges at every border of UTF-8's lengths, against the definition.
TEST(Gbnf, RangesAreExact) {
  const std::vector<uint32_t> borders = {0x7f,    0x80,    0x7ff,   0x800,   0xfff,
                                         0x1000,  0xd7ff,  0xe000,  0xffff,  0x10000,
                                         0x3ffff, 0x40000, 0x12345, 0x10ffff};
  for (const uint32_t low : borders)
    for (const uint32_t high : borders) {
      if (high < low) continue;
      const auto grammar = parse_gbnf(fmt::format("root ::= [\\U{:08x}-\\U{:08x}]", low, high));
      for (const uint32_t border : borders)
        for (const uint32_t c : {border - 1, border, border + 1}) {
          if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) continue;
          std::string text;
          text::append_utf8(c, text);
          EXPECT_EQ(accepts(grammar, text), low <= c && c <= high)
              << low << " " << high << " " << c;
        }
    }
}

TEST(Gbnf, Repetitions) {
  const auto count = [](std::string_view repetition) {
    std::string counts;
    const auto grammar = parse_gbnf(fmt::format("root ::= \"ab\"{} \"c\"", repetition));
    std::string text;
    for (int n = 0; n < 6; ++n, text += "ab")
      if (accepts(grammar, text + "c")) counts += std::to_string(n);
    return counts;
  };
  EXPECT_EQ(count("*"), "012345");
  EXPECT_EQ(count("+"), "12345");
  EXPECT_EQ(count("?"), "01");
  EXPECT_EQ(count("{3}"), "3");
  EXPECT_EQ(count("{2,}"), "2345");
  EXPECT_EQ(count("{0,2}"), "012");
  EXPECT_EQ(count("{ 1 , 3 }"), "123");
  EXPECT_EQ(count("{0}"), "0");
  EXPECT_EQ(count("{2}?"), "02");
  EXPECT_EQ(count("{2}*"), "024");
  EXPECT_TRUE(matches("root ::= (\"a\" | \"b\" [0-9]){2,3}", "b1ab2"));
  EXPECT_FALSE(matches("root ::= (\"a\" | \"b\" [0-9]){2,3}", "b"));
  EXPECT_TRUE(matches("root ::= (\"a\"?)* \"b\"", "aab"));
}

TEST(Gbnf, RulesCommentsAndLines) {
  constexpr auto kGrammar =
      "# a list\n"
      "root ::= item (\n"
      "    \",\" item  # more\n"
      "  | \";\"\n"
      ")*\r\n"
      "\n"
      "item ::= \"x\" |\n"
      "  nested-1\n"
      "nested-1 ::= \"(\" root \")\"";
  EXPECT_TRUE(matches(kGrammar, "x,(x;,x)"));
  EXPECT_FALSE(matches(kGrammar, "x,(x"));
}

TEST(Gbnf, RecursionOnBothSides) {
  constexpr auto kPairs = "root ::= \"(\" root \")\" root | \"\"";
  EXPECT_TRUE(matches(kPairs, "(()())()"));
  EXPECT_FALSE(matches(kPairs, "(()"));
  EXPECT_FALSE(begins(parse_gbnf(kPairs), "())"));
  // A tail call needs no room, however often.
  const auto right = parse_gbnf("root ::= \"a\" root | \"b\"");
  EXPECT_TRUE(accepts(right, std::string(100'000, 'a') + "b"));
}

// Twice as many ways to read the text with every item.
TEST(Gbnf, AmbiguityCostsNothing) {
  const auto grammar = parse_gbnf(
      "root ::= s\n"
      "s ::= \"a\" | \"(\" s s? \")\" | \"(\" t s? \")\"\n"
      "t ::= \"a\" t? | \"(\" s s? \")\"");
  std::string text = "a";
  for (int i = 0; i < 300; ++i) text = "(" + text + "a)";
  EXPECT_TRUE(accepts(grammar, text));
  EXPECT_FALSE(begins(grammar, text + "a"));
}

TEST(Gbnf, NestingEndsSomewhere) {
  const auto grammar = parse_gbnf("root ::= \"(\" root \")\" | \"x\"");
  const std::string deep(1000, '(');
  EXPECT_TRUE(accepts(grammar, deep + "x" + std::string(1000, ')')));
  EXPECT_FALSE(begins(grammar, std::string(5000, '(')));
}

// What can't be brought to an end is no way to go on.
TEST(Gbnf, DeadEndsAreLeftOut) {
  const auto grammar = parse_gbnf("root ::= \"a\" (\"b\" never | \"c\")\nnever ::= \"x\" never");
  EXPECT_TRUE(accepts(grammar, "ac"));
  EXPECT_FALSE(begins(grammar, "ab"));
  EXPECT_EQ(error_of("root ::= \"x\" root"),
            "line 1, column 1: the rule root can never be brought to an end");
}

TEST(Gbnf, ErrorsSayWhere) {
  EXPECT_EQ(error_of("root ::= a\na ::= b \"x\"\nb ::= c\nc ::= a | \"y\"").substr(0, 8),
            "line 2, ");
  EXPECT_THAT(error_of("root ::= root \"x\" | \"y\""),
              HasSubstr("line 1, column 1: the rule root begins with itself (left recursion)"));
  // Over what may be empty, too.
  EXPECT_THAT(error_of("root ::= \"a\"? (\"b\"*)? root | \"x\""), HasSubstr("left recursion"));
  EXPECT_EQ(error_of("root ::= \"é\" item"), "line 1, column 14: there is no rule called item");
  EXPECT_EQ(error_of("a ::= \"x\""), "there is no rule called root, where a text begins");
  EXPECT_EQ(error_of("root ::= \"x\"\nroot ::= \"y\""),
            "line 2, column 1: the rule root is there twice");
  EXPECT_THAT(error_of("root ::= \"x"), HasSubstr("line 1, column 12: expected \", found the end"));
  EXPECT_THAT(error_of("root ::= [a"), HasSubstr("expected ]"));
  EXPECT_THAT(error_of("root ::= (\"a\"\n\n"),
              HasSubstr("line 3, column 1: expected ) or an item"));
  EXPECT_THAT(error_of("root ::= *"), HasSubstr("expected an item to repeat, found `*`"));
  EXPECT_THAT(error_of("root ::= \"a\"{3,2}"), HasSubstr("more times at least than at most"));
  EXPECT_THAT(error_of("root ::= \"a\"{x}"), HasSubstr("expected a number, found `x`"));
  EXPECT_THAT(error_of("root ::= \"a\"{9999999999}"), HasSubstr("more than 100000 times"));
  EXPECT_THAT(error_of("root ::= \"\\q\""), HasSubstr("unknown escape"));
  EXPECT_THAT(error_of("root ::= \"\\xg0\""),
              HasSubstr("expected 2 hexadecimal digits, found `g`"));
  EXPECT_THAT(error_of("root ::= \"\\ud800\""), HasSubstr("U+D800 is no character"));
  EXPECT_THAT(error_of("root ::= [z-a]"), HasSubstr("a range that ends before it begins"));
  EXPECT_THAT(error_of("root ::= \"\xff\""), HasSubstr("no valid UTF-8"));
  EXPECT_THAT(error_of("root = \"a\""), HasSubstr("line 1, column 6: expected ::="));
  EXPECT_THAT(error_of("root ::= <think>"), HasSubstr("tokens by name or number"));
  EXPECT_THAT(error_of("root ::= ![a]"), HasSubstr("tokens by name or number"));
  EXPECT_THAT(error_of(""), HasSubstr("no rule called root"));
  EXPECT_THAT(error_of("root ::= " + std::string(1000, '(')), HasSubstr("nested groups"));
  EXPECT_THAT(error_of("root ::= \"a\"" + std::string(1000, '?')),
              HasSubstr("too many repetitions"));
  EXPECT_THAT(error_of("root ::= ((([a-é]{9999}){9999}){9999})"),
              "");  // rules that call each other
  EXPECT_THAT(
      error_of("root ::= [a] {99999} [b]{99999} [c]{99999} [d]{99999} [e]{99999} [f]{99999}"),
      HasSubstr("more than"));
}

}  // namespace
}  // namespace outboard::grammar
