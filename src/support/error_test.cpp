#include "support/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace outboard {
namespace {

TEST(Error, ContextReadsFromOutsideToInside) {
  try {
    try {
      fail("tensor {}: {} rows, expected {}", "output.weight", 3, 4);
    } catch (Error& e) {
      e.add_context("model.gguf");
      throw;
    }
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "model.gguf: tensor output.weight: 3 rows, expected 4");
  }
}

TEST(Error, SystemErrorNamesActionPathAndReason) {
  errno = ENOENT;
  EXPECT_EQ(system_error("open", "/nowhere").message(), "open /nowhere: No such file or directory");
}

}  // namespace
}  // namespace outboard
