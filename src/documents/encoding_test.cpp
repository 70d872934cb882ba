#include "documents/encoding.h"

#include <gtest/gtest.h>

#include "support/error.h"

namespace outboard::documents {
namespace {

std::string question(char32_t) { return "?"; }

TEST(Encoding, IsFound) {
  EXPECT_EQ(find_encoding("caf\xC3\xA9"), Encoding::kUtf8);
  EXPECT_EQ(find_encoding("plain"), Encoding::kUtf8);
  EXPECT_EQ(find_encoding(""), Encoding::kUtf8);
  EXPECT_EQ(find_encoding("caf\xE9"), Encoding::kLatin1);
  EXPECT_EQ(find_encoding("\x93quoted\x94 caf\xE9"), Encoding::kWindows1252);
  EXPECT_EQ(find_encoding("\xEF\xBB\xBFx"), Encoding::kUtf8);
  const std::string text = "A line of text.\nDeuxi\xC3\xA8me.\n\xF0\x9F\x98\x80 \xE4\xBD\xA0\n";
  for (const Encoding encoding : {Encoding::kUtf16LittleEndian, Encoding::kUtf16BigEndian})
    for (const bool with_mark : {false, true}) {
      const std::string bytes = encode(text, encoding, with_mark, question);
      EXPECT_EQ(find_encoding(bytes), encoding) << with_mark;
      const Decoded decoded = decode(bytes, Encoding::kUtf16LittleEndian);
      EXPECT_EQ(decoded.has_mark, with_mark);
      if (with_mark) {
        EXPECT_EQ(decoded.encoding, encoding);
      }
      if (with_mark || encoding == Encoding::kUtf16LittleEndian) {
        EXPECT_EQ(decoded.text, text);
      }
    }
  // A zero in a text makes it none.
  EXPECT_EQ(find_encoding(std::string_view("a line\0of text", 14)), Encoding::kUtf8);
}

TEST(Encoding, ThereAndBack) {
  std::string all;
  for (int byte = 1; byte < 256; ++byte) all += static_cast<char>(byte);
  for (const Encoding encoding : {Encoding::kLatin1, Encoding::kWindows1252})
    EXPECT_EQ(encode(decode(all, encoding).text, encoding, false, question), all);
  EXPECT_EQ(decode("\x80\x93", Encoding::kWindows1252).text, "\u20AC\u201C");
  EXPECT_EQ(decode("\xE9", Encoding::kLatin1).text, "\u00E9");
  EXPECT_EQ(encode("\u20AC\u4F60", Encoding::kLatin1, false, question), "??");
  EXPECT_EQ(encode("\u20AC\u4F60", Encoding::kWindows1252, false, question), "\x80?");
  EXPECT_EQ(encode("x", Encoding::kUtf8, true, question), "\xEF\xBB\xBFx");
}

TEST(Encoding, WhatIsNoUtf16IsRefused) {
  EXPECT_THROW(decode("abc", Encoding::kUtf16LittleEndian), Error);
  EXPECT_THROW(decode(std::string_view("\x00\xD8x\0", 4), Encoding::kUtf16LittleEndian), Error);
}

TEST(Encoding, APageSaysIts) {
  EXPECT_EQ(declared_charset("<html><META Charset='ISO-8859-1'>"), "iso-8859-1");
  EXPECT_EQ(declared_charset(
                "<meta name=x><meta http-equiv=Content-Type content=\"text/html; charset=utf-8\">"),
            "utf-8");
  EXPECT_EQ(declared_charset("<p>charset=x</p>"), "");
  EXPECT_EQ(encoding_by_name("ISO-8859-1"), Encoding::kLatin1);
  EXPECT_EQ(encoding_by_name("koi8-r"), std::nullopt);
}

}  // namespace
}  // namespace outboard::documents
