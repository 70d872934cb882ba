#include "devices/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

namespace outboard::devices {
namespace {

// How often each token is chosen in n draws spread evenly over [0, 1).
std::map<int32_t, int> draw(const std::vector<float>& logits, Sampling sampling, int n = 10000) {
  Sampler sampler(static_cast<int64_t>(logits.size()));
  std::map<int32_t, int> counts;
  for (int i = 0; i < n; ++i) {
    std::vector<float> row = logits;
    sampling.random = (static_cast<float>(i) + 0.5F) / static_cast<float>(n);
    ++counts[sampler.choose(sampling, row)];
  }
  return counts;
}

Sampling hot() {
  Sampling sampling;
  sampling.temperature = 1;
  return sampling;
}

const std::vector<float> kLogits = {std::log(0.1F), std::log(0.4F), std::log(0.2F), std::log(0.3F)};

TEST(Sampler, GreedyTakesTheFirstOfTheBest) {
  Sampler sampler(1000);
  std::vector<float> row(1000, 0.0F);
  row[517] = row[800] = 3;
  EXPECT_EQ(sampler.choose({}, row), 517);
}

// At any place, greedy or drawn.
TEST(Sampler, ThereMayBeNothingToChoose) {
  Sampler sampler(600);
  Sampling drawn = hot();
  drawn.top_k = 5;
  for (const Sampling& sampling : {Sampling(), hot(), drawn})
    for (const size_t place : {0, 255, 256, 511, 599})
      for (const float value : {NAN, -NAN, INFINITY, -INFINITY}) {
        std::vector<float> row(600, -1.0F);
        row[7] = 20;
        row[place] = value;
        EXPECT_EQ(sampler.choose(sampling, row), value == -INFINITY ? 7 : kNotFinite)
            << value << " at " << place;
        EXPECT_EQ(can_choose(row), value == -INFINITY);
      }
  std::vector<float> none(600, -INFINITY);
  EXPECT_EQ(sampler.choose({}, none), kNotFinite);
  EXPECT_EQ(sampler.choose(hot(), none), kNotFinite);
  none[599] = -1e30F;
  EXPECT_EQ(sampler.choose({}, none), 599);
  EXPECT_EQ(sampler.choose(hot(), none), 599);
}

TEST(Sampler, DrawsByProbability) {
  const auto counts = draw(kLogits, hot());
  EXPECT_NEAR(counts.at(0), 1000, 2);
  EXPECT_NEAR(counts.at(1), 4000, 2);
  EXPECT_NEAR(counts.at(2), 2000, 2);
  EXPECT_NEAR(counts.at(3), 3000, 2);
}

TEST(Sampler, TopKKeepsTheBest) {
  Sampling sampling = hot();
  sampling.top_k = 2;
  const auto counts = draw(kLogits, sampling);
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_NEAR(counts.at(1), 10000 * 4 / 7, 2);
  EXPECT_NEAR(counts.at(3), 10000 * 3 / 7, 2);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  Sampling sampling = hot();
  sampling.top_p = 0.65F;  // 0.4 + 0.3
  EXPECT_EQ(draw(kLogits, sampling).size(), 2u);
  sampling.top_p = 0.75F;
  EXPECT_EQ(draw(kLogits, sampling).size(), 3u);
  sampling.top_p = 0;
  EXPECT_EQ(draw(kLogits, sampling).size(), 1u);
}

TEST(Sampler, MinPDropsTheUnlikely) {
  Sampling sampling = hot();
  sampling.min_p = 0.6F;  // of 0.4: 0.24
  EXPECT_EQ(draw(kLogits, sampling).size(), 2u);
}

TEST(Sampler, TemperatureComesAfterTheFilters) {
  Sampling sampling = hot();
  sampling.temperature = 0.5F;
  const auto counts = draw(kLogits, sampling);  // squares: 1, 16, 4, 9 of 30
  EXPECT_NEAR(counts.at(1), 10000 * 16 / 30, 2);
  EXPECT_NEAR(counts.at(0), 10000 / 30, 2);
}

TEST(Sampler, RepeatPenaltyCountsATokenOnce) {
  Sampler sampler(3);
  const std::vector<int32_t> recent = {0, 0, 0, 1};
  Sampling sampling;
  sampling.repeat_penalty = 2;
  sampling.recent = recent;
  std::vector<float> row = {4, -1, 1.9F};
  EXPECT_EQ(sampler.choose(sampling, row), 0);  // 4 / 2, not 4 / 8
  EXPECT_FLOAT_EQ(row[0], 2);
  EXPECT_FLOAT_EQ(row[1], -2);
  EXPECT_FLOAT_EQ(row[2], 1.9F);
}

TEST(Sampler, TheMaskComesFirst) {
  std::vector<float> logits(70);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i) / 8;
  const std::vector<uint32_t> mask = {1U << 5 | 1U << 31, 1U << 8};  // 5, 31, 40; none beyond 64
  Sampling sampling = hot();
  sampling.mask = mask;
  for (const int top_k : {0, 2, 60}) {
    sampling.top_k = top_k;
    sampling.temperature = 1;
    const auto counts = draw(logits, sampling);
    EXPECT_EQ(counts.size(), top_k == 2 ? 2U : 3U);
    EXPECT_TRUE(counts.contains(31) && counts.contains(40));
    sampling.temperature = 0;
    EXPECT_EQ(draw(logits, sampling, 1).begin()->first, 40);
  }
  // What is left out may be infinite, but NaN is never overlooked.
  logits[50] = INFINITY;
  EXPECT_EQ(draw(logits, sampling, 1).begin()->first, 40);
  logits[50] = NAN;
  EXPECT_EQ(draw(logits, sampling, 1).begin()->first, kNotFinite);
  // Nothing is allowed.
  logits[50] = 0;
  const std::vector<uint32_t> none(3, 0);
  sampling.mask = none;
  EXPECT_EQ(draw(logits, sampling, 1).begin()->first, kNotFinite);
}

}  // namespace
}  // namespace outboard::devices
