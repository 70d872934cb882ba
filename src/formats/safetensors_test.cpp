#include "formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "support/error.h"

namespace outboard::formats {
namespace {

using testing::HasSubstr;

std::string file_of(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof(length));
  return file + header + std::string(data_bytes, '\0');
}

std::vector<SafeTensor> parse(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file)));
}

std::string message_of(const std::string& file) {
  try {
    parse(file);
  } catch (const Error& error) {
    return error.message();
  }
  return "no error";
}

const char* const kGood =
    R"({"__metadata__":{"format":"pt"},
        "b":{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]},
        "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

TEST(Safetensors, ReadsTensorsInTheOrderOfTheirBytes) {
  const std::string file = file_of(kGood, 20);
  const std::vector<SafeTensor> tensors = parse(file);
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].type, TensorType::F32);
  EXPECT_EQ(tensors[1].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(tensors[1].offset + tensors[1].bytes, file.size());
}

TEST(Safetensors, ReadsScalarsAndEmptyTensors) {
  const auto tensors = parse(file_of(R"({"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]},
                        "e":{"dtype":"BOOL","shape":[0,4],"data_offsets":[0,0]}})",
                                     8));
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "e");
  EXPECT_FALSE(tensors[0].type.has_value());
  EXPECT_EQ(tensors[1].bytes, 8u);
}

// --- files that are wrong, each in one way ---

TEST(SafetensorsErrors, TruncatedAtEveryByte) {
  const std::string file = file_of(kGood, 20);
  for (size_t length = 0; length < file.size(); ++length) {
    EXPECT_THROW(parse(file.substr(0, length)), Error) << length;
  }
}

TEST(SafetensorsErrors, HeaderLength) {
  std::string file = file_of("{}", 0);
  file.replace(0, 8, 8, '\xff');
  EXPECT_THAT(message_of(file), HasSubstr("header length: found 1844"));
}

TEST(SafetensorsErrors, HeaderNoJson) {
  EXPECT_THAT(message_of(file_of("{oops", 0)),
              HasSubstr("header: no valid JSON: line 1, column 2"));
}

TEST(SafetensorsErrors, HeaderNoObject) {
  EXPECT_THAT(message_of(file_of("[1]", 0)), HasSubstr("header: expected an object"));
}

TEST(SafetensorsErrors, DeepNesting) {
  EXPECT_THAT(message_of(file_of(std::string(200000, '['), 0)), HasSubstr("deeper"));
}

TEST(SafetensorsErrors, DuplicateName) {
  const std::string tensor = R"({"dtype":"I8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_THAT(message_of(file_of("{\"a\":" + tensor + ",\"a\":" + tensor + "}", 1)),
              HasSubstr("column 54: the key \"a\" stands twice in one object"));
}

struct BadTensor {
  const char* entry;
  size_t data_bytes;
  const char* message;
};

class SafetensorsBadTensor : public testing::TestWithParam<BadTensor> {};

TEST_P(SafetensorsBadTensor, IsRefused) {
  const std::string header = std::string("{\"a\":") + GetParam().entry + "}";
  const std::string message = message_of(file_of(header, GetParam().data_bytes));
  EXPECT_THAT(message, HasSubstr("tensor a: "));
  EXPECT_THAT(message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, SafetensorsBadTensor,
    testing::Values(
        BadTensor{"7", 0, "expected an object"},
        BadTensor{R"({"shape":[1],"data_offsets":[0,1]})", 1, "dtype: it is missing"},
        BadTensor{R"({"dtype":"Q4","shape":[1],"data_offsets":[0,1]})", 1, "dtype: found \"Q4\""},
        BadTensor{R"({"dtype":3,"shape":[1],"data_offsets":[0,1]})", 1, "dtype: found 3"},
        BadTensor{R"({"dtype":"I8","data_offsets":[0,1]})", 1, "shape: expected a list"},
        BadTensor{R"({"dtype":"I8","shape":[-1],"data_offsets":[0,1]})", 1, "shape: found"},
        BadTensor{R"({"dtype":"I8","shape":[1.5],"data_offsets":[0,1]})", 1, "shape: found"},
        BadTensor{R"({"dtype":"I8","shape":["1"],"data_offsets":[0,1]})", 1, "shape: found"},
        BadTensor{R"({"dtype":"I8","shape":[18446744073709551615],"data_offsets":[0,1]})", 1,
                  "shape: found"},
        BadTensor{R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})", 0,
                  "shape: the product"},
        BadTensor{R"({"dtype":"I8","shape":[1]})", 1, "data_offsets: expected a list"},
        BadTensor{R"({"dtype":"I8","shape":[1],"data_offsets":[0]})", 1, "found 1 numbers"},
        BadTensor{R"({"dtype":"I8","shape":[1],"data_offsets":[1,0]})", 1, "in order"},
        BadTensor{R"({"dtype":"I8","shape":[9],"data_offsets":[0,9]})", 8, "within the 8 bytes"},
        BadTensor{R"({"dtype":"I8","shape":[3],"data_offsets":[0,4]})", 4,
                  "found 4 bytes, expected 3"}));

TEST(SafetensorsErrors, Overlap) {
  EXPECT_THAT(message_of(file_of(R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},
                                     "b":{"dtype":"I8","shape":[4],"data_offsets":[2,6]}})",
                                 6)),
              HasSubstr("tensor b: data_offsets: found 2, expected 4"));
}

TEST(SafetensorsErrors, Hole) {
  EXPECT_THAT(message_of(file_of(R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[2,6]}})", 6)),
              HasSubstr("tensor a: data_offsets: found 2, expected 0"));
}

TEST(SafetensorsErrors, BytesLeftOver) {
  EXPECT_THAT(message_of(file_of(kGood, 21)), HasSubstr("found 21 bytes after the header"));
}

}  // namespace
}  // namespace outboard::formats
