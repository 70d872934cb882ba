#include "support/mapped_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/error.h"

namespace outboard {
namespace {

std::filesystem::path temp_file(const char* name, std::string_view content) {
  const auto path = std::filesystem::temp_directory_path() / name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST(MappedFile, ShowsTheBytes) {
  const auto path = temp_file("outboard_mapped", "abc");
  const MappedFile file(path);
  ASSERT_EQ(file.bytes().size(), 3u);
  EXPECT_EQ(static_cast<char>(file.bytes()[2]), 'c');
}

TEST(MappedFile, RefusesByName) {
  EXPECT_THROW(MappedFile("/nonexistent/model.gguf"), Error);
  try {
    MappedFile file(temp_file("outboard_empty", ""));
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("the file is empty"), std::string::npos);
  }
  try {
    MappedFile file(std::filesystem::temp_directory_path());
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("is a folder"), std::string::npos);
  }
}

}  // namespace
}  // namespace outboard
