#include "support/nearest.h"

#include <gtest/gtest.h>

namespace outboard {
namespace {

TEST(NearestTest, FindsWhatWasMeant) {
  const std::vector<std::string> words = {"run",    "chat",    "pull",    "list",  "translate",
                                          "--temp", "--top-k", "--top-p", "--json"};
  EXPECT_EQ(nearest("rnu", words), "run");  // two swapped
  EXPECT_EQ(nearest("tranlsate", words), "translate");
  EXPECT_EQ(nearest("pul", words), "pull");    // left out
  EXPECT_EQ(nearest("lists", words), "list");  // added
  EXPECT_EQ(nearest("CHAT", words), "chat");
  EXPECT_EQ(nearest("--temo", words), "--temp");    // changed
  EXPECT_EQ(nearest("trans", words), "translate");  // the beginning
  EXPECT_EQ(nearest("--top_k", words), "--top-k");
}

TEST(NearestTest, IsSilentWhereNothingIsNear) {
  const std::vector<std::string> words = {"run", "chat", "ls"};
  EXPECT_EQ(nearest("frobnicate", words), "");
  EXPECT_EQ(nearest("", words), "");
  EXPECT_EQ(nearest("x", words), "");
  EXPECT_EQ(nearest("ab", {"cd"}), "");
  EXPECT_EQ(nearest("run", {}), "");
}

}  // namespace
}  // namespace outboard
