#include "formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "support/error.h"

namespace outboard::formats {
namespace {

using testing::HasSubstr;

// Builds a file byte by byte, so that a test can be wrong where it wants.
class Bytes {
 public:
  template <typename T>
  Bytes& put(T value) {
    data_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  Bytes& u32(uint32_t value) { return put(value); }
  Bytes& u64(uint64_t value) { return put(value); }
  Bytes& raw(std::string_view text) {
    data_.append(text);
    return *this;
  }
  Bytes& string(std::string_view text) { return u64(text.size()).raw(text); }
  Bytes& type(GgufValueType value) { return u32(static_cast<uint32_t>(value)); }
  Bytes& header(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
    return raw("GGUF").u32(version).u64(tensors).u64(entries);
  }
  // An F32 vector unless told otherwise.
  Bytes& tensor(std::string_view name, const std::vector<uint64_t>& dims, uint64_t offset,
                uint32_t type = 0) {
    string(name).u32(static_cast<uint32_t>(dims.size()));
    for (const uint64_t size : dims) u64(size);
    return u32(type).u64(offset);
  }
  Bytes& pad(size_t data_bytes, size_t alignment = 32) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment + data_bytes);
    return *this;
  }
  std::span<const std::byte> span() const { return std::as_bytes(std::span(data_)); }

 private:
  std::string data_;
};

Bytes good_file() {
  Bytes file;
  file.header(2, 3);
  file.string("general.architecture").type(GgufValueType::String).string("llama");
  file.string("list").type(GgufValueType::Array).type(GgufValueType::U32).u64(2).u32(7).u32(8);
  file.string("flags").type(GgufValueType::Array).type(GgufValueType::Bool).u64(2).raw({"\1\0", 2});
  file.tensor("a", {4, 2}, 0).tensor("b", {3}, 32);
  return file.pad(32 + 12);  // to the last byte of b
}

// The message that parsing this file gives.
std::string message_of(const Bytes& file) {
  try {
    parse_gguf(file.span());
  } catch (const Error& error) {
    return error.message();
  }
  return "no error";
}

TEST(Gguf, ReadsMetadataAndTensors) {
  const Bytes file = good_file();
  const GgufHeader header = parse_gguf(file.span());
  EXPECT_EQ(header.version, 3u);
  EXPECT_EQ(header.metadata.get_string("general.architecture"), "llama");
  EXPECT_EQ(header.metadata.get_ints("list"), (std::vector<int64_t>{7, 8}));
  EXPECT_EQ(header.metadata.get_ints("flags"), (std::vector<int64_t>{1, 0}));
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors[0].shape, (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(header.tensors[0].bytes, 32u);
  EXPECT_EQ(header.tensors[1].offset, header.data_offset + 32);
  EXPECT_EQ(header.data_offset % 32, 0u);
}

TEST(Gguf, ReadsAFileWithoutTensors) {
  const GgufHeader header = parse_gguf(Bytes().header(0, 0).span());
  EXPECT_TRUE(header.tensors.empty());
}

TEST(Gguf, HonoursTheAlignmentKey) {
  Bytes file;
  file.header(1, 1).string("general.alignment").type(GgufValueType::U32).u32(128);
  file.tensor("a", {8}, 0).pad(32, 128);
  EXPECT_EQ(parse_gguf(file.span()).data_offset % 128, 0u);
}

TEST(Gguf, ReadsNestedArrays) {
  Bytes file;
  file.header(0, 1).string("k").type(GgufValueType::Array).type(GgufValueType::Array).u64(2);
  file.type(GgufValueType::U8).u64(1).put<uint8_t>(5);
  file.type(GgufValueType::String).u64(1).string("x");
  const GgufHeader header = parse_gguf(file.span());
  const auto& outer = std::get<MetadataArray>(*header.metadata.find("k"));
  const auto& inner = std::get<std::vector<MetadataArray>>(outer.values);
  EXPECT_EQ(std::get<std::vector<uint8_t>>(inner[0].values).front(), 5);
  EXPECT_EQ(std::get<std::vector<std::string>>(inner[1].values).front(), "x");
}

// --- files that are wrong, each in one way ---

TEST(GgufErrors, TruncatedAtEveryByte) {
  const Bytes file = good_file();
  for (size_t length = 0; length < file.span().size(); ++length) {
    EXPECT_THROW(parse_gguf(file.span().first(length)), Error) << length;
  }
}

TEST(GgufErrors, EveryFlippedBitGivesAHeaderInsideTheFileOrAnError) {
  const Bytes good = good_file();
  std::vector<std::byte> file(good.span().begin(), good.span().end());
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    const std::byte mask{static_cast<uint8_t>(1 << (bit % 8))};
    file[bit / 8] ^= mask;
    try {
      for (const GgufTensor& tensor : parse_gguf(file).tensors) {
        EXPECT_LE(tensor.offset + tensor.bytes, file.size());
      }
    } catch (const Error&) {  // the other allowed outcome
    }
    file[bit / 8] ^= mask;
  }
}

TEST(GgufErrors, Magic) { EXPECT_THAT(message_of(Bytes().raw("GGML....")), HasSubstr("magic")); }

TEST(GgufErrors, Version) {
  EXPECT_THAT(message_of(Bytes().header(0, 0, 1)), HasSubstr("version: found 1, expected 2 or 3"));
  EXPECT_THAT(message_of(Bytes().header(0, 0, 4)), HasSubstr("version: found 4"));
}

TEST(GgufErrors, BigEndian) {
  EXPECT_THAT(message_of(Bytes().header(0, 0, 0x03000000)), HasSubstr("big-endian"));
}

TEST(GgufErrors, MetadataCount) {
  EXPECT_THAT(message_of(Bytes().header(0, UINT64_MAX)), HasSubstr("metadata count: found 1844"));
}

TEST(GgufErrors, TensorCount) {
  EXPECT_THAT(message_of(Bytes().header(UINT64_MAX / 8, 0)), HasSubstr("tensor count: found 2305"));
}

TEST(GgufErrors, KeyLength) {
  EXPECT_THAT(message_of(Bytes().header(0, 1).u64(UINT64_MAX).raw("12345678901234567890")),
              HasSubstr("metadata entry 1 of 1: key: found a string of 1844"));
}

TEST(GgufErrors, EmptyKey) {
  EXPECT_THAT(message_of(Bytes().header(0, 1).string("").type(GgufValueType::U8).raw("xxxxxxx")),
              HasSubstr("key: found an empty string"));
}

TEST(GgufErrors, DuplicateKey) {
  Bytes file;
  file.header(0, 2);
  for (int i = 0; i < 2; ++i) file.string("k").type(GgufValueType::U32).u32(1);
  EXPECT_THAT(message_of(file), HasSubstr("metadata k: found the key twice"));
}

TEST(GgufErrors, ValueType) {
  EXPECT_THAT(message_of(Bytes().header(0, 1).string("k").u32(13).u64(0)),
              HasSubstr("metadata k: value type: found 13"));
}

TEST(GgufErrors, StringLength) {
  EXPECT_THAT(message_of(Bytes().header(0, 1).string("k").type(GgufValueType::String).u64(99)),
              HasSubstr("metadata k: value: found a string of 99 bytes"));
}

TEST(GgufErrors, BoolValue) {
  EXPECT_THAT(
      message_of(Bytes().header(0, 1).string("k").type(GgufValueType::Bool).put<uint8_t>(2)),
      HasSubstr("metadata k: value: found bool 2"));
}

TEST(GgufErrors, ArrayLength) {
  for (const auto element : {GgufValueType::U8, GgufValueType::F64, GgufValueType::Bool,
                             GgufValueType::String, GgufValueType::Array}) {
    Bytes file;
    file.header(0, 1).string("k").type(GgufValueType::Array).type(element).u64(UINT64_MAX / 4);
    EXPECT_THAT(message_of(file), HasSubstr("metadata k: array length: found 4611"));
  }
}

TEST(GgufErrors, ArrayElementType) {
  Bytes file;
  file.header(0, 1).string("k").type(GgufValueType::Array).u32(77).u64(0);
  EXPECT_THAT(message_of(file), HasSubstr("array element type: found 77"));
}

TEST(GgufErrors, ArraysNestedTooDeep) {
  Bytes file;
  file.header(0, 1).string("k").type(GgufValueType::Array);
  for (int i = 0; i < 100000; ++i) file.type(GgufValueType::Array).u64(1);
  EXPECT_THAT(message_of(file), HasSubstr("nested deeper than 8"));
}

TEST(GgufErrors, Alignment) {
  for (const uint32_t alignment : {0u, 3u, 1u << 31}) {
    Bytes file;
    file.header(0, 1).string("general.alignment").type(GgufValueType::U32).u32(alignment);
    EXPECT_THAT(message_of(file), HasSubstr("general.alignment: found")) << alignment;
  }
}

TEST(GgufErrors, AlignmentOfAnotherType) {
  Bytes file;
  file.header(0, 1).string("general.alignment").type(GgufValueType::String).string("32");
  EXPECT_THAT(message_of(file), HasSubstr("general.alignment: found string, expected an integer"));
}

TEST(GgufErrors, TensorName) {
  EXPECT_THAT(message_of(Bytes().header(1, 0).tensor("", {8}, 0).pad(64)),
              HasSubstr("tensor 1 of 1: name: found an empty string"));
}

TEST(GgufErrors, DuplicateTensor) {
  EXPECT_THAT(message_of(Bytes().header(2, 0).tensor("a", {8}, 0).tensor("a", {8}, 32).pad(64)),
              HasSubstr("tensor a: found the name twice"));
}

TEST(GgufErrors, TooManyDimensions) {
  EXPECT_THAT(message_of(Bytes().header(1, 0).tensor("a", {1, 1, 1, 1, 8}, 0).pad(64)),
              HasSubstr("tensor a: dimension count: found 5"));
}

TEST(GgufErrors, HugeDimensionCount) {
  EXPECT_THAT(message_of(Bytes().header(1, 0).string("a").u32(UINT32_MAX).pad(64)),
              HasSubstr("tensor a: dimension count: found 4294967295"));
}

TEST(GgufErrors, DimensionZeroIsLegal) {
  EXPECT_EQ(message_of(Bytes().header(1, 0).tensor("a", {8, 0}, 0).pad(64)), "no error");
  const uint64_t huge = uint64_t{1} << 40;
  EXPECT_THAT(message_of(Bytes().header(1, 0).tensor("a", {0, huge, huge}, 0).pad(64)),
              HasSubstr("overflows 63 bits"));
}

TEST(GgufErrors, NegativeDimension) {
  EXPECT_THAT(message_of(Bytes().header(1, 0).tensor("a", {UINT64_MAX}, 0).pad(64)),
              HasSubstr("tensor a: dimension 0: found 1844"));
}

TEST(GgufErrors, DimensionsOverflow) {
  const uint64_t big = uint64_t{1} << 32;
  EXPECT_THAT(message_of(Bytes().header(1, 0).tensor("a", {big, big}, 0).pad(64)),
              HasSubstr("tensor a: dimensions: their product overflows"));
}

TEST(GgufErrors, BytesOverflow) {
  EXPECT_THAT(message_of(Bytes().header(1, 0).tensor("a", {uint64_t{1} << 62}, 0).pad(64)),
              HasSubstr("tensor a: F32 tensor: 4611"));
}

TEST(GgufErrors, UnknownTensorType) {
  for (const uint32_t type : {4u, 5u, 31u, 38u, 1000u}) {
    EXPECT_THAT(message_of(Bytes().header(1, 0).tensor("a", {32}, 0, type).pad(256)),
                HasSubstr("tensor a: type: found"));
  }
}

TEST(GgufErrors, PartOfABlock) {
  EXPECT_THAT(message_of(Bytes().header(1, 0).tensor("a", {48, 2}, 0, 8).pad(256)),
              HasSubstr("tensor a: dimension 0: found 48, expected a multiple of 32 for Q8_0"));
}

TEST(GgufErrors, OffsetPastTheEnd) {
  EXPECT_THAT(message_of(Bytes().header(1, 0).tensor("a", {8}, 64).pad(64)),
              HasSubstr("tensor a: found 32 bytes at offset"));
}

TEST(GgufErrors, OffsetOverflows) {
  EXPECT_THAT(message_of(Bytes().header(1, 0).tensor("a", {8}, UINT64_MAX - 31).pad(64)),
              HasSubstr("tensor a: found 32 bytes at offset"));
}

TEST(GgufErrors, MisalignedOffset) {
  EXPECT_THAT(message_of(Bytes().header(1, 0).tensor("a", {8}, 4).pad(64)),
              HasSubstr("tensor a: offset: found 4, expected a multiple of the alignment 32"));
}

TEST(GgufErrors, OverlappingTensors) {
  EXPECT_THAT(message_of(Bytes().header(2, 0).tensor("a", {16}, 0).tensor("b", {8}, 32).pad(64)),
              HasSubstr("tensor b: found its bytes at offset"));
}

TEST(GgufErrors, SameBytesTwice) {
  EXPECT_THAT(message_of(Bytes().header(2, 0).tensor("a", {8}, 0).tensor("b", {8}, 0).pad(64)),
              HasSubstr("expected no overlap"));
}

TEST(GgufErrors, FileMissing) {
  try {
    open_gguf("/nonexistent/model.gguf");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("/nonexistent/model.gguf"));
  }
}

}  // namespace
}  // namespace outboard::formats
