#include "hub/firmware.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "hub/download.h"
#include "support/error.h"

namespace outboard::hub {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A mirror in a folder, and a place to pull to.
struct FirmwareTest : ::testing::Test {
  FirmwareTest() {
    fs::create_directories(mirror);
    write(mirror / "a.bin", "first image");
    write(mirror / "b.bin", "second image");
    source.url = "file://" + mirror.string();
    source.files = {{"a.bin", sha256_of(mirror / "a.bin")}, {"b.bin", sha256_of(mirror / "b.bin")}};
  }
  ~FirmwareTest() override { fs::remove_all(root); }
  static void write(const fs::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  static std::string read(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  fs::path root = fs::temp_directory_path() / fmt::format("outboard-firmware-{}", ::getpid());
  fs::path mirror = root / "mirror", folder = root / "pulled";
  FirmwareSource source;
};

TEST_F(FirmwareTest, GetsAllFiles) {
  EXPECT_EQ(pull_firmware(source, folder), folder);
  EXPECT_EQ(read(folder / "a.bin"), "first image");
  EXPECT_EQ(read(folder / "b.bin"), "second image");
}

TEST_F(FirmwareTest, GetsOnlyWhatIsMissingOrDamaged) {
  pull_firmware(source, folder);
  write(folder / "b.bin", "damaged");
  fs::remove(mirror / "a.bin");  // is not asked for again
  pull_firmware(source, folder);
  EXPECT_EQ(read(folder / "b.bin"), "second image");
}

TEST_F(FirmwareTest, AWrongImageGetsNoName) {
  write(mirror / "b.bin", "something else");
  try {
    pull_firmware(source, folder);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("SHA-256 is"));
  }
  EXPECT_TRUE(fs::exists(folder / "a.bin"));
  EXPECT_FALSE(fs::exists(folder / "b.bin"));
}

// The table names each of the driver's files with a whole hash.
TEST(LinuxFirmware, HasSixFiles) {
  const FirmwareSource source = linux_firmware();
  EXPECT_EQ(source.files.size(), 6U);
  for (const auto& file : source.files) {
    EXPECT_EQ(file.sha256.size(), 64U) << file.name;
    EXPECT_EQ(file.sha256.find_first_not_of("0123456789abcdef"), std::string::npos) << file.name;
  }
}

}  // namespace
}  // namespace outboard::hub
