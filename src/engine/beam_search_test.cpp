#include "engine/beam_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <set>

#include "engine/beam_pages.h"
#include "support/error.h"

namespace outboard::engine {
namespace {

using ::testing::ElementsAre;
constexpr int32_t kStart = 5;
constexpr int32_t kEnd = 0;
constexpr int kVocabulary = 6;

// Log probabilities of the next token after some tokens: a model small enough to search whole.
using Toy = std::function<std::vector<float>(const std::vector<int32_t>&)>;

std::vector<devices::Candidate> best_of(const std::vector<float>& row, int count) {
  std::vector<devices::Candidate> all;
  for (size_t i = 0; i < row.size(); ++i) all.push_back({static_cast<int32_t>(i), row[i]});
  std::ranges::sort(all, {}, [](const auto& a) { return std::pair(-a.log_probability, a.token); });
  all.resize(static_cast<size_t>(count), {-1, -INFINITY});
  return all;
}

std::vector<BeamSearch::Hypothesis> search(const Toy& toy, const BeamOptions& options) {
  BeamSearch beams(options, kStart, kEnd);
  while (!beams.done()) {
    std::vector<devices::Candidate> candidates;
    for (const BeamSearch::Beam& beam : beams.beams()) {
      const auto best = best_of(toy(beam.tokens), beams.candidates());
      candidates.insert(candidates.end(), best.begin(), best.end());
    }
    beams.advance(candidates);
  }
  return beams.hypotheses();
}

// Random, but the same for the same tokens.
Toy random_toy(unsigned seed, float sharpness) {
  return [=](const std::vector<int32_t>& tokens) {
    std::seed_seq sequence(tokens.begin(), tokens.end());
    std::vector<unsigned> mixed(1);
    sequence.generate(mixed.begin(), mixed.end());
    std::mt19937 random(mixed[0] + seed);
    std::normal_distribution<float> normal;
    std::vector<float> row(kVocabulary);
    double sum = 0;
    for (float& x : row) sum += std::exp(x = sharpness * normal(random));
    for (float& x : row) x -= static_cast<float>(std::log(sum));
    return row;
  };
}

// The best of all sequences up to a length, by trying them all.
std::pair<float, std::vector<int32_t>> exhaustive(const Toy& toy, const BeamOptions& options) {
  std::pair<float, std::vector<int32_t>> best{-INFINITY, {}};
  const std::function<void(std::vector<int32_t>, float)> go = [&](std::vector<int32_t> tokens,
                                                                  float sum) {
    const std::vector<float> row = toy(tokens);
    const auto n = static_cast<float>(tokens.size() + 1);
    const float ended = (sum + row[kEnd]) / std::pow(n, options.length_penalty);
    if (ended > best.first) best = {ended, tokens};
    for (int32_t t = 1; t < kVocabulary; ++t) {
      auto longer = tokens;
      longer.push_back(t);
      const float total = sum + row[static_cast<size_t>(t)];
      if (static_cast<int>(longer.size()) == options.max_tokens) {
        const float cut = total / std::pow(n, options.length_penalty);
        if (cut > best.first) best = {cut, longer};
      } else {
        go(longer, total);
      }
    }
  };
  go({}, 0);
  return best;
}

TEST(BeamSearch, WideEnoughItFindsTheBestOfAll) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    BeamOptions options;
    options.beams = 16;
    options.early_stopping = EarlyStopping::kNever;
    options.max_tokens = 3;  // 5 + 25 + 125 sequences; 16 beams can lose some of 25
    options.length_penalty = seed % 2 == 0 ? 1.0F : 0.6F;
    const Toy toy = random_toy(seed, 3);
    const auto want = exhaustive(toy, options);
    const auto got = search(toy, options);
    EXPECT_NEAR(got[0].score, want.first, 1e-5F) << seed;
    EXPECT_EQ(got[0].tokens, want.second) << seed;
  }
}

TEST(BeamSearch, OneBeamTakesTheLikeliestToken) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const Toy toy = random_toy(seed, 2);
    std::vector<int32_t> tokens;
    float sum = 0;
    bool ended = false;
    while (!ended && tokens.size() < 9) {
      const auto best = best_of(toy(tokens), 1)[0];
      sum += best.log_probability;
      ended = best.token == kEnd;
      if (!ended) tokens.push_back(best.token);
    }
    BeamOptions options;
    options.beams = 1;
    options.max_tokens = 9;
    const auto got = search(toy, options);
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].tokens, tokens) << seed;
    EXPECT_EQ(got[0].ended, ended) << seed;
    EXPECT_NEAR(got[0].score, sum / static_cast<float>(tokens.size() + (ended ? 1 : 0)), 1e-5F);
  }
}

// A toy by hand: after nothing 1 (0.5), 2 (0.3), end (0.2); after 1: end 0.4, 3 0.6; after 2: end
// 0.9, 4 0.1; then it ends.
Toy hand_toy() {
  return [](const std::vector<int32_t>& t) {
    std::vector<float> p(kVocabulary, 0);
    if (t.empty()) {
      p = {0.2F, 0.5F, 0.3F, 0, 0, 0};
    } else if (t == std::vector{1}) {
      p = {0.4F, 0, 0, 0.6F, 0, 0};
    } else if (t == std::vector{2}) {
      p = {0.9F, 0, 0, 0, 0.1F, 0};
    } else {
      p = {1, 0, 0, 0, 0, 0};
    }
    for (float& x : p) x = std::log(x);
    return p;
  };
}

TEST(BeamSearch, LengthPenaltyAndEarlyStoppingByHand) {
  BeamOptions options;
  options.beams = 2;
  options.length_penalty = 0;
  options.early_stopping = EarlyStopping::kYes;
  // Two beams: step 1 keeps 1 (0.5), 2 (0.3). Step 2 ranks 1 3 (0.30), 2 end (0.27), 1 end (0.20),
  // 2 4 (0.03): the end of rank 1 counts, the one of rank 2 does not; 1 3 and 2 4 go on. Step 3: 1
  // 3 end (0.30), 2 4 end (0.03): both of rank below 2, and the best two of three are kept.
  const auto got = search(hand_toy(), options);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_THAT(got[0].tokens, ElementsAre(1, 3));
  EXPECT_NEAR(got[0].score, std::log(0.30F), 1e-5F);
  EXPECT_THAT(got[1].tokens, ElementsAre(2));
  EXPECT_NEAR(got[1].score, std::log(0.27F), 1e-5F);
  // The penalty divides by the length, the end included.
  options.length_penalty = 1;
  const auto normalised = search(hand_toy(), options);
  EXPECT_NEAR(normalised[0].score, std::log(0.30F) / 3, 1e-5F);
  EXPECT_NEAR(normalised[1].score, std::log(0.27F) / 2, 1e-5F);
}

TEST(BeamSearch, CutsAtTheLongest) {
  BeamOptions options;
  options.beams = 2;
  options.max_tokens = 1;
  const auto got = search(hand_toy(), options);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_THAT(got[0].tokens, ElementsAre(1));
  EXPECT_FALSE(got[0].ended);
}

TEST(BeamSearch, RefusesTooManyBeams) {
  BeamOptions options;
  options.beams = 17;
  EXPECT_THROW(BeamSearch(options, kStart, kEnd), Error);
}

TEST(BeamPages, CopiesOnlyWhatTwoWouldWrite) {
  BeamPages pool(10, 4);
  std::vector<devices::PageCopy> copies;
  auto a = pool.take(5);
  EXPECT_EQ(pool.free(), 8);
  auto b = pool.share(a);
  EXPECT_EQ(pool.free(), 8);
  pool.extend(a, 5, copies);  // a gets a copy of the second page
  ASSERT_EQ(copies.size(), 1u);
  EXPECT_EQ(copies[0].from, b[1]);
  EXPECT_EQ(copies[0].to, a[1]);
  EXPECT_EQ(a[0], b[0]);
  pool.extend(b, 5, copies);  // b is alone on the old one now
  EXPECT_EQ(copies.size(), 1u);
  pool.extend(b, 8, copies);  // a new page
  EXPECT_EQ(b.size(), 3u);
  EXPECT_EQ(copies.size(), 1u);
  pool.release(a);
  EXPECT_EQ(pool.free(), 7);
  pool.release(b);
  EXPECT_EQ(pool.free(), 10);
}

TEST(BeamPages, SaysWhenAllAreInUse) {
  BeamPages pool(2, 4);
  auto a = pool.take(8);
  EXPECT_THROW(pool.take(1), Error);
}

}  // namespace
}  // namespace outboard::engine
