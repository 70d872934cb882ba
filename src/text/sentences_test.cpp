#include "text/sentences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace outboard::text {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(SplitSentences, EndsAtMarksBeforeAStart) {
  EXPECT_THAT(split_sentences("It rains. We stay in!  Do you come? Yes"),
              ElementsAre("It rains.", "We stay in!", "Do you come?", "Yes"));
  EXPECT_THAT(split_sentences("One sentence only."), ElementsAre("One sentence only."));
  EXPECT_THAT(split_sentences("  \t "), IsEmpty());
  EXPECT_THAT(split_sentences("He said \"Stop!\" And we did... Then 3 came."),
              ElementsAre("He said \"Stop!\"", "And we did...", "Then 3 came."));
}

TEST(SplitSentences, LeavesDotsInsideSentences) {
  EXPECT_THAT(split_sentences("Dr. Smith met J. Doe at 3.30 pm. They left."),
              ElementsAre("Dr. Smith met J. Doe at 3.30 pm.", "They left."));
  EXPECT_THAT(split_sentences("See example.com for more. it goes on"),
              ElementsAre("See example.com for more. it goes on"));
}

TEST(SplitSentences, OtherScripts) {
  EXPECT_THAT(split_sentences("今日は雨です。家にいます！"),
              ElementsAre("今日は雨です。", "家にいます！"));
  EXPECT_THAT(split_sentences("Идёт дождь. Мы дома. Ждём."),
              ElementsAre("Идёт дождь.", "Мы дома.", "Ждём."));
  EXPECT_THAT(split_sentences("¿Vienes? ¡Claro!"), ElementsAre("¿Vienes?", "¡Claro!"));
  EXPECT_THAT(split_sentences("bad \xFF bytes. Go on."), ElementsAre("bad \xFF bytes.", "Go on."));
}

TEST(IsBlank, KnowsWhatShowsNothing) {
  for (const std::string_view text :
       {"", " ", "\t\r", "\u00a0", "\u3000\u2009", "\u200b\ufeff", "\u2028", "\u0085", "\f\v",
        "\u00ad", "\x07", "\u202e\u2069", "\u2800", "\u3164", "\u180e\u034f", "\ue000"})
    EXPECT_TRUE(is_blank(text)) << text;
  EXPECT_TRUE(is_blank(std::string_view("\0", 1)));
  for (const std::string_view text : {"a", "-", "...", "\xFF", "。", "😀", "é", " 1", "e\u0301"})
    EXPECT_FALSE(is_blank(text)) << text;
}

TEST(HasWords, LettersAndDigitsOfAnyScript) {
  for (const std::string_view text : {"a", "😀 1", "漢", "ß", "٣"}) EXPECT_TRUE(has_words(text));
  for (const std::string_view text : {"", "-", "😀", "...", "\xFF"}) EXPECT_FALSE(has_words(text));
}

TEST(CutInTwo, PrefersClausesThenSpaces) {
  EXPECT_THAT(cut_in_two("we came early, but nobody was there"),
              Pair("we came early,", "but nobody was there"));
  EXPECT_THAT(cut_in_two("aaaa bbbb cccc"), Pair("aaaa", "bbbb cccc"));
  EXPECT_THAT(cut_in_two("ab"), Pair("a", "b"));
  EXPECT_THAT(cut_in_two("ééé"), Pair("é", "éé"));
  EXPECT_THAT(cut_in_two("x"), Pair("x", ""));
}

// However it starts, repeated cutting ends.
TEST(CutInTwo, AlwaysGetsShorter) {
  for (std::string_view text : {std::string_view("    a     "), std::string_view(" \xFF\xFF "),
                                std::string_view(",,,,"), std::string_view("  ")}) {
    const auto [first, second] = cut_in_two(text);
    EXPECT_LT(first.size(), text.size());
    EXPECT_LT(second.size(), text.size());
  }
}

}  // namespace
}  // namespace outboard::text
