#include "formats/gguf_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "formats/gguf.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

namespace fs = std::filesystem;

class GgufWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              fmt::format("outboard-{}-{}", ::getpid(),
                          testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
    path_ = folder_ / "model.gguf";
  }
  void TearDown() override { fs::remove_all(folder_); }

  bool folder_is_empty() const { return fs::is_empty(folder_); }

  fs::path folder_;
  fs::path path_;
};

std::vector<std::byte> bytes(size_t count) { return std::vector<std::byte>(count, std::byte{9}); }

TEST_F(GgufWriterTest, WhatIsWrittenIsRead) {
  Metadata metadata;
  metadata.set("general.architecture", std::string("test"));
  metadata.set("deep", MetadataArray{std::vector<MetadataArray>{{std::vector<bool>{true}}}});
  GgufWriter writer(path_, metadata,
                    {{"a", TensorType::Q8_0, {2, 32}}, {"b", TensorType::I8, {3}}});
  writer.append(bytes(60));
  writer.append(bytes(8));
  writer.append(bytes(3));
  EXPECT_FALSE(fs::exists(path_));  // only finish() gives the name
  writer.finish();
  EXPECT_EQ(writer.bytes_written(), fs::file_size(path_));

  const Model model = open_gguf(path_);
  EXPECT_EQ(model.get("a").shape, (std::vector<int64_t>{2, 32}));
  EXPECT_EQ(model.get("b").data.size(), 3u);
  EXPECT_EQ(model.get("b").data[2], std::byte{9});
  EXPECT_EQ(model.metadata.entries().size(), 2u);
}

TEST_F(GgufWriterTest, AnUnfinishedFileVanishes) {
  {
    GgufWriter writer(path_, {}, {{"a", TensorType::F32, {4}}});
  }
  EXPECT_TRUE(folder_is_empty());
}

TEST_F(GgufWriterTest, RefusesMissingAndSurplusBytes) {
  {
    GgufWriter writer(path_, {}, {{"a", TensorType::F32, {4}}});
    writer.append(bytes(12));
    EXPECT_THROW(writer.finish(), Error);
    EXPECT_THROW(writer.append(bytes(5)), Error);
    writer.append(bytes(4));
    EXPECT_THROW(writer.append(bytes(1)), Error);
  }
  EXPECT_TRUE(folder_is_empty());
}

TEST_F(GgufWriterTest, RefusesBadPlans) {
  const std::vector<std::vector<TensorPlan>> plans = {
      {{"", TensorType::F32, {4}}},
      {{"a", TensorType::F32, {4}}, {"a", TensorType::F32, {4}}},
      {{"a", TensorType::Q8_0, {2, 33}}},
      {{"a", TensorType::F32, {-1}}},
      {{"a", TensorType::F32, {1, 1, 1, 1, 4}}},
      {{"a", TensorType::F32, {int64_t{1} << 40, int64_t{1} << 40}}}};
  for (const auto& plan : plans) EXPECT_THROW(GgufWriter(path_, {}, plan), Error);
  EXPECT_TRUE(folder_is_empty());
}

TEST_F(GgufWriterTest, TensorsOfNoElementsTakeNoBytes) {
  {
    GgufWriter writer(
        path_, {},
        {{"a", TensorType::F32, {0}}, {"b", TensorType::F32, {4}}, {"c", TensorType::F32, {2, 0}}});
    writer.append(bytes(16));
    writer.append({});
    writer.finish();
  }
  const Model model = open_gguf(path_);
  EXPECT_EQ(model.tensors().size(), 3u);
  EXPECT_EQ(model.get("b").data.size(), 16u);
  EXPECT_EQ(model.get("c").elements(), 0);
  EXPECT_EQ(model.get("c").rows(), 0);
  std::filesystem::remove(path_);
}

TEST_F(GgufWriterTest, NamesTheFileThatCannotBeMade) {
  try {
    GgufWriter(folder_ / "missing" / "m.gguf", {}, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("missing/m.gguf"), std::string::npos);
  }
}

}  // namespace
}  // namespace outboard::formats
