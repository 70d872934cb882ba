#include "engine/stop_filter.h"

#include <gtest/gtest.h>

namespace outboard::engine {
namespace {

// Feeds a text one character at a time.
std::string shown(StopFilter& filter, std::string_view text) {
  std::string out;
  for (const char c : text) out += filter.feed(std::string_view(&c, 1));
  return out;
}

TEST(StopFilter, PassesTextThrough) {
  StopFilter filter({});
  EXPECT_EQ(filter.feed("abc"), "abc");
  EXPECT_EQ(filter.flush(), "");
}

TEST(StopFilter, EndsBeforeTheStopString) {
  StopFilter filter({"END", "###"});
  EXPECT_EQ(shown(filter, "one END two"), "one ");
  EXPECT_TRUE(filter.stopped());
  EXPECT_EQ(filter.met(), "END");
  EXPECT_EQ(filter.feed("more"), "");
}

TEST(StopFilter, HoldsBackWhatMayBecomeOne) {
  StopFilter filter({"abab"});
  EXPECT_EQ(filter.feed("xaba"), "x");
  EXPECT_EQ(filter.feed("c"), "abac");
  EXPECT_EQ(filter.feed("aba"), "");
  EXPECT_EQ(filter.flush(), "aba");
}

TEST(StopFilter, FirstMatchWins) {
  StopFilter filter({"later", "ear"});
  EXPECT_EQ(filter.feed("an early later"), "an ");
  EXPECT_EQ(filter.met(), "ear");
}

TEST(StopFilter, IgnoresEmptyStops) {
  StopFilter filter({""});
  EXPECT_EQ(filter.feed("text"), "text");
  EXPECT_FALSE(filter.stopped());
}

}  // namespace
}  // namespace outboard::engine
