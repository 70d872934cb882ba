#include "support/scratch_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/error.h"

namespace outboard {
namespace {

namespace fs = std::filesystem;

// With TMPDIR another folder.
class ScratchMemoryTest : public ::testing::Test {
 protected:
  ScratchMemoryTest()
      : folder_(fs::path(::testing::TempDir()) /
                (std::string("scratch_memory_") +
                 ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::create_directory(folder_);
    if (const char* old = std::getenv("TMPDIR")) old_ = old;
    ::setenv("TMPDIR", folder_.c_str(), 1);
  }
  ~ScratchMemoryTest() override {
    old_.empty() ? ::unsetenv("TMPDIR") : ::setenv("TMPDIR", old_.c_str(), 1);
    fs::remove_all(folder_);
  }
  fs::path folder_;
  std::string old_;
};

TEST_F(ScratchMemoryTest, HoldsWhatIsWrittenAndLeavesNoFile) {
  ScratchMemory empty(0), some(3 << 20);
  EXPECT_TRUE(empty.bytes().empty());
  ASSERT_EQ(some.bytes().size(), size_t{3} << 20);
  EXPECT_TRUE(std::ranges::all_of(some.bytes(), [](std::byte b) { return b == std::byte{0}; }));
  std::ranges::fill(some.bytes(), std::byte{7});
  EXPECT_TRUE(fs::is_empty(folder_));
  EXPECT_EQ(some.bytes().back(), std::byte{7});
}

TEST_F(ScratchMemoryTest, SaysWhereRoomIsMissing) {
  try {
    const ScratchMemory much(size_t{1} << 60);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), ::testing::HasSubstr(folder_.string()));
    EXPECT_THAT(e.hint(), ::testing::HasSubstr("TMPDIR"));
  }
  EXPECT_TRUE(fs::is_empty(folder_));
  ::setenv("TMPDIR", (folder_ / "none").c_str(), 1);
  EXPECT_ANY_THROW(ScratchMemory(1));
}

}  // namespace
}  // namespace outboard
