#include "documents/document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <random>

#include "support/error.h"

namespace outboard::documents {
namespace {

using Answer = std::function<std::string(const std::string&)>;

std::string translated(const std::vector<Part>& parts, const Answer& answer) {
  std::string out;
  for (const Part& part : parts) {
    std::vector<std::string> answers;
    for (const std::string& question : part.questions) answers.push_back(answer(question));
    out += part.write(answers);
  }
  return out;
}

std::string itself(const std::string& text) { return text; }
std::string capitals(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}
std::vector<std::string> questions(const std::vector<Part>& parts) {
  std::vector<std::string> all;
  for (const Part& part : parts)
    all.insert(all.end(), part.questions.begin(), part.questions.end());
  return all;
}
// A translator that knows these texts.
Answer knowing(std::map<std::string, std::string> known) {
  return [known = std::move(known)](const std::string& text) {
    const auto found = known.find(text);
    return found == known.end() ? "?" + text : found->second;
  };
}

TEST(Document, LinesKeepTabsAndBlanks) {
  EXPECT_EQ(translated({part_of_line("\t Good morning\tand  good night \t")}, capitals),
            "\t GOOD MORNING\tAND  GOOD NIGHT \t");
  EXPECT_TRUE(part_of_line(" \t ").questions.empty());
  const std::vector<std::string> both = {">>fra<< one", ">>fra<< two"};
  EXPECT_EQ(part_of_line(">>fra<< one\ttwo").questions, both);
  EXPECT_EQ(part_of_line(">> a << b\tc").questions[1], "c");
}

TEST(Document, TablesKeepWhatIsNoText) {
  const std::string table = "id\tname\turl\r\n1\tred wine\thttps://a.b/c\r\n\t12.5 %\tlast";
  EXPECT_EQ(translated(parts_of_tsv(table, {}), itself), table);
  EXPECT_EQ(translated(parts_of_tsv(table, {}), capitals),
            "ID\tNAME\tURL\r\n1\tRED WINE\thttps://a.b/c\r\n\t12.5 %\tLAST");
  const std::vector<int> second = {2};
  EXPECT_EQ(translated(parts_of_tsv(table, second), capitals),
            "id\tNAME\turl\r\n1\tRED WINE\thttps://a.b/c\r\n\t12.5 %\tlast");
}

TEST(Document, SubtitlesKeepTimesTagsAndLines) {
  const std::string srt =
      "1\r\n00:00:01,000 --> 00:00:02,500\r\n{\\an8}<i>I was there, and nobody</i>\r\n"
      "<i>has told me of it.</i>\r\n\r\n"
      "2\r\n00:00:03,000 --> 00:00:04,000\r\n- Really?\r\n- Really.\r\n\r\n"
      "3\r\n00:00:05,000 --> 00:00:06,000\r\nOne long line\r\nthat goes on here\r\n";
  EXPECT_EQ(translated(parts_of_srt(srt), itself), srt);
  const std::vector<std::string> asked = questions(parts_of_srt(srt));
  EXPECT_NE(std::ranges::find(asked, "One long line that goes on here"), asked.end());
  EXPECT_NE(std::ranges::find(asked, "Really?"), asked.end());
  const std::string upper = translated(parts_of_srt(srt), capitals);
  EXPECT_NE(
      upper.find("{\\an8}<i>I WAS THERE, AND NOBODY</i>\r\n<i>HAS TOLD ME OF IT.</i>\r\n\r\n"),
      std::string::npos)
      << upper;
  EXPECT_NE(upper.find("- REALLY?\r\n- REALLY.\r\n"), std::string::npos);
  EXPECT_NE(upper.find("ONE LONG LINE\r\nTHAT GOES ON HERE\r\n"), std::string::npos);
}

constexpr std::string_view kPage =
    "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><title>Ab  &amp; c</title>\n"
    "<style>p { color: red }</style><script>if (a<b) alert('Hello <b>x</b>');</script></head>\n"
    "<body class='x'><!-- a <p>comment</p> --><h1>Title</h1>\n<p>This is <b>very</b>\n  good&nbsp;"
    "wine.</p><p>Run <code>ls -l</code> now</p><img src=a.png alt=\"A cat\">\n"
    "<p translate=no>Stay</p><pre>int main</pre><ul><li>One<li>Two</ul> 42 &lt; 43 <br>tail "
    "</stray>end";

TEST(Document, PagesComeOutAsTheyWentIn) {
  EXPECT_EQ(translated(parts_of_html(kPage), itself), kPage);
  for (const std::string_view page :
       {"", "plain", "<p>a", "<b><i>x</b>y</i>", "<table>text<tr><td>cell</table>", "a < b > c",
        "<a href='x>y'>link</a>", "<p title=bare>x", "\xef\xbb\xbf<p>x</p>", "<!-- open", "<p",
        "<svg><title>t</title></svg>z", "<textarea>a<b></textarea>q", "x\r\ny<br>\r\nz"})
    EXPECT_EQ(translated(parts_of_html(page), itself), page);
}

TEST(Document, SoDoPagesThatNobodyWouldWrite) {
  constexpr std::array<std::string_view, 34> kPieces = {"<p>",
                                                        "</p>",
                                                        "<b>",
                                                        "</b>",
                                                        "<i class=x>",
                                                        "</i>",
                                                        "<a title='Go on' href=\"x\">",
                                                        "</a>",
                                                        "<table>",
                                                        "<tr>",
                                                        "<td>",
                                                        "</table>",
                                                        "<br>",
                                                        "<!-- no <b> -->",
                                                        "<!",
                                                        "<",
                                                        ">",
                                                        "&amp;",
                                                        "&nbsp;",
                                                        "&#65;",
                                                        "&",
                                                        "word",
                                                        "two words",
                                                        " ",
                                                        "\n",
                                                        "\r\n",
                                                        "<script>",
                                                        "</script>",
                                                        "<code>x</code>",
                                                        "<title>",
                                                        "</title>",
                                                        "<img alt=cat>",
                                                        "\xc3\xa9",
                                                        "<svg><b>"};
  std::mt19937 random(1);
  constexpr int kPages = 3000;
  for (int i = 0; i < kPages; ++i) {
    std::string page;
    for (unsigned n = random() % 24; n > 0; --n) page += kPieces[random() % kPieces.size()];
    ASSERT_EQ(translated(parts_of_html(page), itself), page);
    translated(parts_of_html(page), capitals);
    ASSERT_EQ(translated(parts_of_srt(page), itself), page);
    ASSERT_EQ(translated(parts_of_tsv(page, {}), itself), page);
  }
}

std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(Document, PagesThatNestTooDeeplyAreRefused) {
  const std::string deep = repeated("<div>", 400'000) + "x";
  try {
    parts_of_html(deep);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr("byte 10000: <div>"));
  }
  // Long pages are not deep, nor is what a script or a comment says.
  for (const std::string& page :
       {repeated("<p><b>one</b><br>", 100'000), repeated("<ul><li>a<li>b</ul>", 50'000),
        repeated("<a title=\"t\">a</a> ", 100'000),
        "<script>" + repeated("'<div>'", 9'000) + "</script>x",
        "<!--" + repeated("<i>", 9'000) + "-->x",
        repeated("<div>", 1'990) + "x" + repeated("</div>", 1'990)})
    EXPECT_EQ(translated(parts_of_html(page), itself), page) << page.substr(0, 40);
}

TEST(Document, OfAPageTextIsTranslated) {
  const std::string upper = translated(parts_of_html(kPage), capitals);
  for (const char* text :
       {"<title>AB &amp; C</title>", "<h1>TITLE</h1>", "THIS IS <b>VERY</b> GOOD", "alt=\"A CAT\"",
        "RUN <code>ls -l</code> NOW", "<li>ONE<li>TWO</ul>", "42 &lt; 43", "<br>TAIL",
        "if (a<b) alert('Hello <b>x</b>');", "<p translate=no>Stay</p>", "<pre>int main</pre>"})
    EXPECT_NE(upper.find(text), std::string::npos) << text << "\n" << upper;
}

TEST(Document, TagsGoWhereTheirTextWent) {
  const std::string page = "<p>The <b>red</b> house is <i>big</i>.</p>";
  // Other order, and a capital.
  EXPECT_EQ(translated(parts_of_html(page),
                       knowing({{"The red house is big.", "Grande est la maison rouge."},
                                {"red", "rouge"},
                                {"big", "grande."}})),
            "<p><i>Grande</i> est la maison <b>rouge</b>.</p>");
  // Not to be found, or twice: in pieces.
  EXPECT_EQ(translated(parts_of_html(page),
                       knowing({{"The red house is big.", "Grande est la maison vermeille."},
                                {"The", "La"},
                                {"red", "rouge"},
                                {"house is", "maison est"},
                                {"big", "grande"},
                                {".", "."}})),
            "<p>La <b>rouge</b> maison est <i>grande</i>.</p>");
  EXPECT_EQ(
      translated(
          parts_of_html("<p>a <b>red</b> one</p>"),
          knowing({{"a red one", "rouge, rouge"}, {"red", "rouge"}, {"a", "un"}, {"one", "cela"}})),
      "<p>un <b>rouge</b> cela</p>");
  // Around all of it, and a link's own attribute.
  EXPECT_EQ(
      translated(
          parts_of_html("<p><a href=x title='Go on'>Read <b>more</b></a></p>"),
          knowing({{"Read more", "Lire plus"}, {"more", "plus"}, {"Go on", "Continuez l'essai"}})),
      "<p><a href=x title='Continuez l&#39;essai'>Lire <b>plus</b></a></p>");
  // What nobody could say stays.
  EXPECT_EQ(translated(parts_of_html(page), [](const std::string&) { return std::string(); }),
            page);
}

}  // namespace
}  // namespace outboard::documents
