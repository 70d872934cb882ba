#include "formats/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "formats/torch_file.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

using namespace std::string_literals;  // NOLINT: pickles hold zero bytes

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(Pickle, ReadsValues) {
  // {"a": [1, -2, 300, 2.5, True, None], "b": ("x", 1 << 40)}
  const std::string data =
      "\x80\x02}(X\x01\0\0\0a](K\x01J\xfe\xff\xff\xffM\x2c\x01G\x40\x04\0\0\0\0\0\0\x88Ne"s
      "X\x01\0\0\0bX\x01\0\0\0x\x8a\x06\0\0\0\0\0\x01\x86u.rest"s;
  const Pickle pickle(bytes_of(data));
  EXPECT_EQ(pickle.size(), data.size() - 4);
  const PickleValue& root = pickle.value();
  ASSERT_EQ(root.kind, PickleKind::kDict);
  ASSERT_EQ(root.items.size(), 4u);
  EXPECT_EQ(root.items[0]->text, "a");
  const auto& list = root.items[1]->items;
  ASSERT_EQ(list.size(), 6u);
  EXPECT_EQ(list[0]->number, 1);
  EXPECT_EQ(list[1]->number, -2);
  EXPECT_EQ(list[2]->number, 300);
  EXPECT_EQ(list[3]->real, 2.5);
  EXPECT_EQ(list[4]->number, 1);
  EXPECT_EQ(list[5]->kind, PickleKind::kNone);
  EXPECT_EQ(root.items[3]->kind, PickleKind::kTuple);
  EXPECT_EQ(root.items[3]->items[1]->number, int64_t{1} << 40);
}

TEST(Pickle, RemembersValues) {
  const std::string data = "\x80\x04\x95\x10\0\0\0\0\0\0\0](\x8c\x02hi\x94h\0h\0e."s;
  const Pickle pickle(bytes_of(data));
  ASSERT_EQ(pickle.value().items.size(), 3u);
  EXPECT_EQ(pickle.value().items[0], pickle.value().items[2]);
  EXPECT_EQ(pickle.value().items[1]->text, "hi");
}

TEST(Pickle, AListMayHoldItself) {
  const Pickle pickle(bytes_of("\x80\x02]q\0h\0a."s));
  EXPECT_EQ(pickle.value().items.at(0), &pickle.value());
}

// The message of the refusal, empty when the pickle was read.
std::string refusal(const std::string& data) {
  try {
    // A copy of its own size, so that the sanitizers see every byte read past it.
    const std::vector<char> exact(data.begin(), data.end());
    const Pickle pickle(std::as_bytes(std::span(exact)));
  } catch (const Error& error) {
    return error.message();
  }
  return {};
}

TEST(PickleErrors, NamesWhatItRefuses) {
  using testing::HasSubstr;
  EXPECT_THAT(refusal("\x80\x02"
                      "cposix\nsystem\n."s),
              HasSubstr("posix.system"));
  EXPECT_THAT(refusal("\x80\x04\x8c\x02os\x8c\x06system\x93."s), HasSubstr("os.system"));
  EXPECT_THAT(refusal("\x80\x02(ios\nsystem\n."s), HasSubstr("INST"));
  EXPECT_THAT(refusal("\x80\x02"
                      "ctorch\nFloatStorage\n)R."s),
              HasSubstr("a call of FloatStorage"));
  EXPECT_THAT(refusal("\x80\x02"
                      "cos\nsys\x1b[2Jtem\n."s),
              HasSubstr("os.sys?[2Jtem"));
  EXPECT_THAT(refusal("\x80\x02Nt."s), HasSubstr("byte 3: "));
}

TEST(PickleErrors, CutAnywhere) {
  const std::string data =
      "\x80\x02}(X\x01\0\0\0a](K\x01J\xfe\xff\xff\xffM\x2c\x01G\x40\x04\0\0\0\0\0\0\x88Neu."s;
  EXPECT_EQ(refusal(data), "");
  for (size_t size = 0; size < data.size(); ++size) {
    EXPECT_NE(refusal(data.substr(0, size)), "") << size;
  }
}

TEST(PickleErrors, ValuesHaveALimit) {
  EXPECT_THAT(refusal("\x80\x02("s + std::string(1'000'001, 'N') + "t."s),
              testing::HasSubstr("more than 1000000 values"));
}

TEST(TorchFileErrors, WhatIsNoFileOfTorch) {
  for (const std::string& data : {""s, "PK"s, "\x80\x02}."s, "PK\5\6"s + std::string(18, '\0')}) {
    EXPECT_THROW(read_torch_file(bytes_of(data)), Error);
  }
}

}  // namespace
}  // namespace outboard::formats
