#include "formats/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/error.h"

namespace outboard::formats {
namespace {

using testing::HasSubstr;

template <typename Body>
std::string message_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error.message();
  }
  return "no error";
}

TEST(Metadata, KeepsTheOrderAndReplacesEqualKeys) {
  Metadata metadata;
  metadata.set("b", uint32_t{1});
  metadata.set("a", uint32_t{2});
  metadata.set("b", uint32_t{3});
  ASSERT_EQ(metadata.entries().size(), 2u);
  EXPECT_EQ(metadata.entries()[0].first, "b");
  EXPECT_EQ(metadata.get_int("b"), 3);
}

TEST(Metadata, ConvertsNumbersThatFit) {
  Metadata metadata;
  metadata.set("u8", uint8_t{200});
  metadata.set("i64", int64_t{-5});
  metadata.set("f32", 3.0f);
  EXPECT_EQ(metadata.get_int("u8"), 200);
  EXPECT_EQ(metadata.get_float("i64"), -5.0);
  EXPECT_EQ(metadata.get_int("f32"), 3);
  EXPECT_EQ(metadata.get_int("absent", 7), 7);
  EXPECT_EQ(metadata.get_string("absent", "x"), "x");
}

TEST(Metadata, ConvertsArrays) {
  Metadata metadata;
  metadata.set("ints", MetadataArray{std::vector<uint16_t>{1, 2}});
  metadata.set("bools", MetadataArray{std::vector<bool>{true, false}});
  metadata.set("floats", MetadataArray{std::vector<double>{0.5}});
  metadata.set("texts", MetadataArray{std::vector<std::string>{"a", "b"}});
  EXPECT_EQ(metadata.get_ints("ints"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(metadata.get_ints("bools"), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(metadata.get_floats_or_empty("floats"), (std::vector<float>{0.5f}));
  EXPECT_EQ(metadata.get_strings("texts").size(), 2u);
  EXPECT_TRUE(metadata.get_ints_or_empty("absent").empty());
  EXPECT_TRUE(metadata.get_floats_or_empty("absent").empty());
}

TEST(MetadataErrors, NameKeyFoundAndExpected) {
  Metadata metadata;
  metadata.set("text", std::string("x"));
  metadata.set("half", 0.5f);
  metadata.set("big", uint64_t{1} << 63);
  metadata.set("list", MetadataArray{std::vector<float>{1.0f, 0.5f}});
  EXPECT_THAT(message_of([&] { metadata.get_int("text"); }),
              HasSubstr("metadata text: found string, expected an integer"));
  EXPECT_THAT(message_of([&] { metadata.get_int("half"); }), HasSubstr("found f32 0.5"));
  EXPECT_THAT(message_of([&] { metadata.get_int("big"); }),
              HasSubstr("found u64 9223372036854775808"));
  EXPECT_THAT(message_of([&] { metadata.get_int("absent"); }), HasSubstr("the key is missing"));
  EXPECT_THAT(message_of([&] { metadata.get_strings("list"); }), HasSubstr("found array of 2 f32"));
  EXPECT_THAT(message_of([&] { metadata.get_ints("list"); }), HasSubstr("element 1 is 0.5"));
  EXPECT_THAT(message_of([&] { metadata.get_ints("text"); }), HasSubstr("an array of integers"));
  EXPECT_THAT(message_of([&] { metadata.get_string("half"); }), HasSubstr("a string"));
  EXPECT_THAT(message_of([&] { metadata.get_bool("text", true); }), HasSubstr("true or false"));
  EXPECT_THAT(message_of([&] { metadata.get_float("text"); }), HasSubstr("a number"));
}

TEST(MetadataErrors, FloatsThatAreNoIntegers) {
  Metadata metadata;
  metadata.set("nan", std::nan(""));
  metadata.set("huge", 1e300);
  metadata.set("edge", 9223372036854775808.0);
  for (const char* key : {"nan", "huge", "edge"}) EXPECT_THROW(metadata.get_int(key), Error) << key;
}

}  // namespace
}  // namespace outboard::formats
