#include "text/word_wrap.h"

#include <gtest/gtest.h>

namespace outboard::text {
namespace {

// Given in one piece, and byte by byte: the same.
std::string wrapped(std::string_view text, size_t columns) {
  std::string whole, pieces;
  WordWrap at_once([&] { return columns; }, [&](std::string_view out) { whole += out; });
  at_once.add(text);
  at_once.finish();
  WordWrap piecewise([&] { return columns; }, [&](std::string_view out) { pieces += out; });
  for (size_t at = 0; at < text.size();) {
    size_t end = at + 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) ++end;
    piecewise.add(text.substr(at, end - at));
    at = end;
  }
  piecewise.finish();
  EXPECT_EQ(whole, pieces);
  return whole;
}

TEST(WordWrap, BreaksBetweenWords) {
  EXPECT_EQ(wrapped("one two three four", 9), "one two\nthree\nfour");
  EXPECT_EQ(wrapped("one two three four", 0), "one two three four");
  EXPECT_EQ(wrapped("exactly10! next", 10), "exactly10!\nnext");
  EXPECT_EQ(wrapped("one  two\n\n  three ", 40), "one  two\n\n  three");
  // One that is too long goes on a line of its own, whole.
  EXPECT_EQ(wrapped("a incomprehensible b", 8), "a\nincomprehensible\nb");
}

TEST(WordWrap, KnowsHowWideCharactersAre) {
  EXPECT_EQ(wrapped("\u4F60\u597D\u4E16\u754C x", 4), "\u4F60\u597D\n\u4E16\u754C\nx");
  EXPECT_EQ(wrapped("e\u0301e\u0301 \u00E9", 4), "e\u0301e\u0301 \u00E9");
}

TEST(WordWrap, LeavesCodeAndTablesAlone) {
  constexpr std::string_view kCode =
      "```cpp with words\nint  main() { return 0; }  // a long line\n\n  ```\n";
  EXPECT_EQ(wrapped(kCode, 10), kCode);
  EXPECT_EQ(wrapped(std::string(kCode) + "one two three four", 10),
            std::string(kCode) + "one two\nthree four");
  EXPECT_EQ(wrapped("| a cell | another one |\none two three four", 10),
            "| a cell | another one |\none two\nthree four");
}

}  // namespace
}  // namespace outboard::text
