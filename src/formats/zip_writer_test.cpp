#include "formats/zip_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <span>
#include <string_view>

#include "formats/zip_archive.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::vector<ZipInput> members() {
  std::vector<ZipInput> out(2);
  out[0].name = "report.json";
  out[0].bytes = bytes_of("{}");
  out[1].name = "traffic.bin";
  out[1].file = {std::tmpfile(), &std::fclose};
  std::fputs("from a file", out[1].file.get());
  std::rewind(out[1].file.get());
  return out;
}

class ZipWriter : public ::testing::Test {
 protected:
  ZipWriter() { fs::create_directories(folder_); }
  ~ZipWriter() override { fs::remove_all(folder_); }
  const fs::path folder_ =
      fs::temp_directory_path() / ("outboard-zip-" + std::to_string(::getpid()));
};

TEST_F(ZipWriter, WhatIsWrittenIsReadBack) {
  const fs::path path = folder_ / "report";
  write_zip(path, members());
  write_zip(path, members());  // in place of the one before
  const MappedFile file(path);
  const ZipArchive archive(file.bytes());
  ASSERT_EQ(archive.members().size(), 2U);
  EXPECT_EQ(archive.read(*archive.find("report.json")), bytes_of("{}"));
  EXPECT_EQ(archive.read(*archive.find("traffic.bin")), bytes_of("from a file"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

// Every byte that counts is covered by a checksum or a check.
TEST_F(ZipWriter, DamageIsFoundOrHarmless) {
  const fs::path path = folder_ / "report";
  write_zip(path, members());
  const MappedFile file(path);
  size_t refused = 0;
  for (size_t at = 0; at < file.bytes().size(); ++at) {
    std::vector<std::byte> damaged(file.bytes().begin(), file.bytes().end());
    damaged[at] ^= std::byte{0x41};
    try {
      const ZipArchive archive(damaged);
      if (const auto* member = archive.find("traffic.bin")) {
        EXPECT_EQ(archive.read(*member), bytes_of("from a file")) << at;
      }
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 20U);
}

TEST_F(ZipWriter, APlaceThatIsNotThereIsNamed) {
  const fs::path path = folder_ / "none" / "report";
  try {
    write_zip(path, members());
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(e.message().find(path.string()), std::string::npos) << e.message();
  }
}

}  // namespace
}  // namespace outboard::formats
