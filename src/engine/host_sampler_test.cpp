#include "engine/host_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

namespace outboard::engine {
namespace {

using devices::HostFilters;
using devices::Mirostat;
using devices::Sampling;

const std::vector<float> kLogits = {std::log(0.1F), std::log(0.4F), std::log(0.2F), std::log(0.3F)};

std::map<int32_t, int> draw(HostFilters filters, Sampling sampling = {}) {
  sampling.temperature = 1;
  devices::Sampler sampler(static_cast<int64_t>(kLogits.size()));
  std::map<int32_t, int> counts;
  for (int i = 0; i < 1000; ++i) {
    std::vector<float> row = kLogits;
    sampling.random = (static_cast<float>(i) + 0.5F) / 1000;
    filters.xtc_random = static_cast<float>(i % 10) / 10;
    ++counts[sampler.choose(sampling, row, filters)];
  }
  return counts;
}

// The entropy is 1.28 nats; the surprises 2.30, 0.92, 1.61, 1.20: the fourth lies nearest, then the
// third, the second, the first.
TEST(HostFilters, TypicalKeepsTheLeastSurprisingSurprises) {
  HostFilters filters;
  filters.typical_p = 0.25F;
  EXPECT_EQ(draw(filters), (std::map<int32_t, int>{{3, 1000}}));
  filters.typical_p = 0.35F;
  const auto two = draw(filters);
  EXPECT_EQ(two.size(), 2u);
  EXPECT_NEAR(two.at(3), 600, 1);
  EXPECT_NEAR(two.at(2), 400, 1);
  filters.typical_p = 0.95F;
  EXPECT_EQ(draw(filters).size(), 4u);
}

TEST(HostFilters, XtcDropsAllButTheLeastOfTheLikely) {
  HostFilters filters;
  filters.xtc_probability = 1;
  filters.xtc_threshold = 0.15F;  // three reach it: 0.2 stays, and what lies below
  const auto counts = draw(filters);
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_NEAR(counts.at(2), 667, 1);
  EXPECT_NEAR(counts.at(0), 333, 1);
  filters.xtc_threshold = 0.35F;  // one alone is not excluded
  EXPECT_EQ(draw(filters).size(), 4u);
  filters.xtc_threshold = 0.15F;
  filters.xtc_probability = 0.5F;  // every second time
  const auto half = draw(filters);
  EXPECT_GT(half.at(1), 150);
  EXPECT_LT(half.at(1), 250);
}

TEST(Mirostat, TheLimitFollowsTheSurprise) {
  std::vector<float> wide(1000);
  for (size_t i = 0; i < wide.size(); ++i)
    wide[i] = -1.1F * std::log(static_cast<float>(i + 1));  // Zipf's law
  double whole = 0;
  for (const float logit : wide) whole += std::exp(logit);
  for (const int version : {1, 2})
    for (const float tau : {2.0F, 4.0F}) {
      devices::Sampler sampler(1000);
      Mirostat mirostat{version, tau, 0.1F, 2 * tau};
      std::mt19937_64 random(7);
      double surprise = 0;
      constexpr int kDraws = 4000;
      for (int i = 0; i < kDraws; ++i) {
        std::vector<float> row = wide;
        Sampling sampling;
        sampling.temperature = 1;
        sampling.random = static_cast<float>(random() >> 40) * 0x1p-24F;
        const int32_t token = sampler.choose(sampling, row, mirostat);
        ASSERT_GE(token, 0);
        surprise -= std::log2(std::exp(wide[static_cast<size_t>(token)]) / whole);
      }
      // It is the surprise within what is left of the vocabulary that is steered: the whole one
      // lies a little above.
      EXPECT_GT(surprise / kDraws, tau - 0.3) << version;
      EXPECT_LT(surprise / kDraws, tau + 1.6) << version;
    }
}

// Against the definition: for every place, how much of the text before it equals the end.
TEST(Dry, FindsWhatWouldRepeat) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> tokens(1 + random() % 40);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 3);
    const size_t limit = random() % 12;
    std::map<int32_t, int> expected;
    for (size_t next = 1; next < tokens.size(); ++next) {
      size_t length = 0;
      while (length < next && tokens[next - 1 - length] == tokens[tokens.size() - 1 - length])
        ++length;
      const auto counted = static_cast<int>(std::min(length, limit));
      if (counted > 0) expected[tokens[next]] = std::max(expected[tokens[next]], counted);
    }
    const auto found = repetitions(tokens, limit);
    EXPECT_EQ((std::map<int32_t, int>(found.begin(), found.end())), expected);
  }
}

TEST(SamplingSettings, WhatIsOutOfRangeIsNamed) {
  SamplingSettings settings;
  settings.check();
  settings.typical_p = 1.5F;
  try {
    settings.check();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "typical_p: 1.5, expected 0 to 1");
  }
}

}  // namespace
}  // namespace outboard::engine
