#include "support/progress.h"

#include <gtest/gtest.h>

namespace outboard {
namespace {

TEST(ProgressTest, SaysAllWhereThereIsRoom) {
  const ProgressState state{"smollm2", "B", 41'200'000, 98'400'000, 12'300'000, true};
  EXPECT_EQ(progress_line(state, 80), "smollm2   42%  41.2 MB / 98.4 MB  12.3 MB/s  4 s left");
  EXPECT_EQ(progress_line({"translate", "lines", 7, 0, 3, false}, 80),
            "translate  7 lines  3 lines/s");
}

TEST(ProgressTest, IsOneLineOfAnyTerminal) {
  for (const size_t columns : {10, 20, 30, 40, 41, 60, 80, 200})
    for (const char* label : {"a", "smollm2", "Llama-3.2-1B-Instruct-Q4_K_M-00001-of-00003.gguf",
                              "Gr\xC3\xBC\xC3\x9F"
                              "e-\xE4\xBD\xA0\xE5\xA5\xBD-model"}) {
      const std::string line =
          progress_line({label, "B", 41'200'000'000, 98'400'000'000, 12'300'000, true}, columns);
      EXPECT_LT(line.size(), columns) << line;
      EXPECT_NE(line.find("42%"), std::string::npos) << line;
    }
  // At 40 columns name, part, bytes, rate and time are there.
  EXPECT_EQ(progress_line({"smollm2", "B", 41'200'000, 98'400'000, 12'300'000, true}, 40),
            "smollm2   42%  41.2 MB  12.3 MB/s  4 s");
}

TEST(ProgressTest, MoreThanWasExpectedIsNoTimeBelowNothing) {
  EXPECT_EQ(progress_line({"x", "B", 200, 100, 10, true}, 80),
            "x  200%  200 B / 100 B  10 B/s  0 s left");
}

}  // namespace
}  // namespace outboard
