#include "support/output_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <thread>

#include "support/error.h"
#include "support/files_in_use.h"
#include "support/lost_mappings.h"
#include "support/mapped_file.h"

namespace outboard {
namespace {

namespace fs = std::filesystem;

class OutputFileTest : public testing::Test {
 protected:
  OutputFileTest() { fs::create_directories(folder_); }
  ~OutputFileTest() override { fs::remove_all(folder_); }

  fs::path file(const char* name, std::string_view text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  static std::string text(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static void write(const fs::path& path, std::string_view content) {
    OutputFile out(path);
    out.write(content);
    out.finish();
  }

  const fs::path folder_ =
      fs::temp_directory_path() / ("outboard-output-" + std::to_string(::getpid()));
};

TEST_F(OutputFileTest, TheOldFileStandsUntilTheNewOneIsWhole) {
  const fs::path path = file("out", "old");
  ::chmod(path.c_str(), 0640);
  OutputFile out(path);
  out.write("new");
  EXPECT_EQ(text(path), "old");
  out.finish();
  EXPECT_EQ(text(path), "new");
  EXPECT_EQ(fs::status(path).permissions(), fs::perms(0640));
  EXPECT_EQ(files(), 1u);
}

TEST_F(OutputFileTest, WhatIsNotFinishedVanishes) {
  const fs::path path = file("out", "old");
  {
    OutputFile out(path);
    out.write("new");
  }
  EXPECT_EQ(text(path), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(OutputFileTest, KeptWorkLiesUnderItsNameOrBesideAnother) {
  OutputFile first(folder_ / "a");
  first.write("one\ntwo\nthr");
  EXPECT_EQ(first.keep(8), folder_ / "a");
  EXPECT_EQ(text(folder_ / "a"), "one\ntwo\n");
  OutputFile second(folder_ / "a");
  second.write("uno\n");
  const fs::path kept = second.keep(4);
  EXPECT_NE(kept, folder_ / "a");
  EXPECT_EQ(text(kept), "uno\n");
  EXPECT_EQ(text(folder_ / "a"), "one\ntwo\n");
}

TEST_F(OutputFileTest, FollowsLinksToWhatIsThereAndWhatIsNot) {
  const fs::path target = file("target", "old");
  fs::create_symlink("target", folder_ / "link");
  fs::create_symlink(folder_ / "link", folder_ / "link to a link");
  write(folder_ / "link to a link", "new");
  EXPECT_TRUE(fs::is_symlink(folder_ / "link to a link"));
  EXPECT_EQ(text(target), "new");
  fs::create_symlink("nothing yet", folder_ / "dangling");
  write(folder_ / "dangling", "made");
  EXPECT_TRUE(fs::is_symlink(folder_ / "dangling"));
  EXPECT_EQ(text(folder_ / "nothing yet"), "made");
  fs::create_symlink("circle", folder_ / "circle");
  EXPECT_THROW(OutputFile(folder_ / "circle"), Error);
}

TEST_F(OutputFileTest, APipeIsWrittenTo) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::string read;
  std::thread reader([&] { read = text(pipe); });
  write(pipe, "through");
  reader.join();
  EXPECT_EQ(read, "through");
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST_F(OutputFileTest, ADeviceStaysADevice) {
  write("/dev/null", "gone");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
#if defined(__linux__)
  try {
    write("/dev/full", "nowhere");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("/dev/full"), std::string::npos);
  }
#endif
}

// Opened again it would be written from its front, and replaced it would be lost to its opener.
TEST_F(OutputFileTest, AnOpenDescriptorIsWrittenWhereItStands) {
  const fs::path path = file("log", "before ");
  const int log = ::open(path.c_str(), O_WRONLY | O_APPEND);
  write("/dev/fd/" + std::to_string(log), "after");
  ::close(log);
  EXPECT_EQ(text(path), "before after");
  EXPECT_EQ(files(), 1u);
}

TEST_F(OutputFileTest, RefusesByName) {
  for (const fs::path& path : {folder_, folder_ / "none" / "out", fs::path()}) {
    try {
      const OutputFile out(path);
      FAIL() << path;
    } catch (const Error& e) {
      EXPECT_NE(e.message().find(path.string()), std::string::npos) << e.message();
      EXPECT_FALSE(e.hint().empty());
    }
  }
}

// The rest needs the whole program's watch, which nothing turns off again: in processes of their
// own.
using FilesInUseDeathTest = OutputFileTest;

void expect_refused(const std::function<void()>& body, std::string_view part) {
  try {
    body();
  } catch (const Error& e) {
    if (e.message().find(part) != std::string::npos) std::exit(0);
    std::fputs(e.what(), stderr);
  }
  std::exit(1);
}

TEST_F(FilesInUseDeathTest, NoneIsReadAndWritten) {
  GTEST_FLAG_SET(death_test_style, "fast");
  const fs::path path = file("in", "text");
  fs::create_symlink("in", folder_ / "link");
  fs::create_hard_link(path, folder_ / "hard");
  for (const char* name : {"in", "link", "hard", "./in"}) {
    EXPECT_EXIT(expect_refused(
                    [&] {
                      watch_files();
                      const MappedFile in(path);
                      const OutputFile out(folder_ / name);
                    },
                    "can't be written too"),
                testing::ExitedWithCode(0), "");
    EXPECT_EXIT(expect_refused(
                    [&] {
                      watch_files();
                      claim_output(folder_ / name, "OUT");
                      const MappedFile in(path);
                    },
                    "can't be written too"),
                testing::ExitedWithCode(0), "");
  }
  EXPECT_EXIT(expect_refused(
                  [&] {
                    watch_files();
                    claim_output(folder_ / "new", "--logits");
                    claim_output(folder_ / "." / "new", "--record");
                  },
                  "both write to it"),
              testing::ExitedWithCode(0), "");
  EXPECT_EQ(text(path), "text");
}

TEST_F(FilesInUseDeathTest, AFileThatIsCutIsToldOfAndNotASignal) {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const fs::path path = file("model", std::string(5 * page, 'x'));
  EXPECT_EXIT(
      {
        survive_lost_mappings();
        const MappedFile in(path);
        if (::truncate(path.c_str(), static_cast<off_t>(page)) != 0) std::exit(2);
        size_t sum = 0;
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i)
          threads.emplace_back([&, i] {
            for (size_t p = 1; p < 5; ++p)
              if (in.bytes()[p * page + static_cast<size_t>(i)] != std::byte{0}) std::exit(3);
          });
        for (std::thread& thread : threads) thread.join();
        sum += static_cast<size_t>(in.bytes()[0]);
        if (sum != 'x') std::exit(4);
        expect_refused([] { MappedFile::check_all(); }, "was cut");
      },
      testing::ExitedWithCode(0), "");
}

// A cut within a page gives zeros without a signal; other bytes in place give no sign at all.
TEST_F(FilesInUseDeathTest, ASmallCutAndOtherBytesAreSeen) {
  const fs::path path = file("model", "0123456789");
  const MappedFile in(path);
  MappedFile::check_all();
  struct timespec times[2] = {{1, 0}, {1, 0}};
  ::utimensat(AT_FDCWD, path.c_str(), times, 0);
  EXPECT_THROW(MappedFile::check_all(), Error);
  const MappedFile again(path);
  ASSERT_EQ(::truncate(path.c_str(), 5), 0);
  EXPECT_THROW(MappedFile::check_all(), Error);
}

// Whoever is not watched keeps his signals.
TEST_F(FilesInUseDeathTest, OtherSignalsTakeTheirWay) {
  const fs::path path = file("other", std::string(20000, 'x'));
  EXPECT_EXIT(
      {
        survive_lost_mappings();
        std::signal(SIGBUS, SIG_DFL);
        survive_lost_mappings();
        ::raise(SIGBUS);
        ::raise(SIGBUS);
      },
      testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace outboard
