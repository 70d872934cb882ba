// The sampling kernel against devices::Sampler.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "devices/sampler.h"
#include "tests/devices/kernels/test_step.h"

namespace outboard::devices::gpu::kernels {
namespace {

enum class Shape { kNormal, kTies, kPeaked, kConstant, kHoles, kBroken };

class Runs {
 public:
  Runs(int runs, int vocabulary)
      : runs_(runs),
        vocabulary_(vocabulary),
        stride_((vocabulary + 3) / 4 * 4 + 8),
        layout_(make_layout({.tokens = runs, .rows = runs, .runs = runs})),
        record_(runner.allocate<uint8_t>(index(layout_.bytes))),
        logits_(runner.allocate<float>(index(runs * stride_))) {
    choose_from = vocabulary;
    chosen = runner.allocate<int32_t>(index(kSlots * runs));
    results = runner.allocate<int32_t>(chosen.size());
    best = runner.allocate<BestToken>(chosen.size() * kMaxBest);
    ended = runner.allocate<int32_t>(index(runs));
    mask_words_ = (vocabulary + 31) / 32;
    masks_ = runner.allocate<uint32_t>(index(runs * mask_words_));
    alive = runner.allocate<uint32_t>(1);
    std::ranges::fill(record_, uint8_t{0});
    record().header() = {runs, runs, runs, kSlot, runs, {}};
    for (int i = 0; i < runs; ++i) {
      record().choice_row()[index(i)] = i;
      sampling(i).mask = -1;
    }
    reset();
  }

  void reset() {
    std::ranges::fill(ended, 0);
    alive[0] = 1;
  }
  RunSampling& sampling(int run) { return record().sampling()[index(run)]; }
  std::span<float> row(int i) { return logits_.subspan(index(i * stride_), index(vocabulary_)); }
  std::span<uint32_t> mask(int number) {
    return masks_.subspan(index(number * mask_words_), index(mask_words_));
  }
  int result(int run) { return results[index(kSlot * runs_ + run)]; }

  void run() {
    SampleArgs args{};
    args.step = {KernelRunner::const_ptr(record_), layout_};
    args.logits = KernelRunner::ptr(logits_);
    args.chosen = KernelRunner::ptr(chosen);
    args.results = KernelRunner::ptr(results);
    args.best = KernelRunner::ptr(best);
    args.ended = KernelRunner::ptr(ended);
    args.alive = KernelRunner::ptr(alive);
    args.masks = KernelRunner::const_ptr(masks_);
    args.mask_words = mask_words_;
    args.stride = stride_;
    args.vocabulary = choose_from;
    runner.run("sample", args, {static_cast<uint32_t>(runs_), 1, 1});
    for (int i = 0; i < runs_; ++i) ASSERT_EQ(chosen[index(kSlot * runs_ + i)], result(i));
  }

  static constexpr int kSlots = 3, kSlot = 2;
  KernelRunner runner;
  std::span<int32_t> chosen, results, ended;
  std::span<uint32_t> alive;
  std::span<BestToken> best;
  int choose_from;

  TestRecord record() { return {record_, layout_}; }
  std::span<const BestToken> best_of(int run) {
    return best.subspan(index(kSlot * runs_ + run) * kMaxBest, kMaxBest);
  }

 private:
  int runs_, vocabulary_, stride_, mask_words_ = 0;
  StepLayout layout_;
  std::span<uint8_t> record_;
  std::span<float> logits_;
  std::span<uint32_t> masks_;
};

using Random = std::mt19937;

template <typename T>
T one_of(Random& random, std::initializer_list<T> values) {
  return values.begin()[random() % values.size()];
}

void fill_row(Random& random, Shape shape, std::span<float> row) {
  std::normal_distribution<float> normal(0, one_of(random, {0.5F, 3.0F, 8.0F}));
  for (float& x : row) {
    x = shape == Shape::kConstant ? -1.5F : normal(random);
    if (shape == Shape::kTies) x = std::round(x);
    if (shape == Shape::kHoles && random() % 4 == 0) x = one_of(random, {-INFINITY, -0.0F});
  }
  if (shape == Shape::kBroken) row[random() % row.size()] = one_of(random, {NAN, -NAN, INFINITY});
  if (shape == Shape::kPeaked) row[random() % row.size()] += 12;
}

void fill_sampling(Random& random, int vocabulary, RunSampling& s) {
  s.temperature = one_of(random, {0.0F, 0.1F, 0.7F, 1.0F, 1.0F, 2.0F, 10.0F});
  s.top_k = one_of(random, {0, 0, 1, 5, 40, 40, 1000, 2000, vocabulary, vocabulary + 1});
  s.top_p = one_of(random, {1.0F, 1.0F, 0.95F, 0.9F, 0.5F, 0.1F, 0.0F, 1e-6F});
  s.min_p = one_of(random, {0.0F, 0.0F, 0.0F, 0.05F, 0.5F, 1.0F, 2.0F});
  s.repeat_penalty = one_of(random, {1.0F, 1.0F, 1.1F, 0.5F});
  s.random = std::uniform_real_distribution<float>(0, 1)(random);
  s.recent_count = one_of(random, {0, 3, 64, 700, kMaxRecent});
  for (int i = 0; i < s.recent_count; ++i)
    s.recent[i] = static_cast<int>(random() % static_cast<unsigned>(std::min(vocabulary, 500)));
}

int choose_on_host(Sampler& sampler, const RunSampling& s, std::span<const uint32_t> mask,
                   std::vector<float> row, double nudge, double nudge_p, double nudge_min) {
  Sampling sampling;
  sampling.mask = mask;
  sampling.temperature = s.temperature;
  sampling.top_k = s.top_k;
  sampling.top_p = s.top_p < 1 ? static_cast<float>(s.top_p * (1 + nudge_p)) : 1;
  sampling.min_p = static_cast<float>(s.min_p * (1 + nudge_min));
  sampling.repeat_penalty = s.repeat_penalty;
  sampling.recent = {s.recent, index(s.recent_count)};
  sampling.random = std::clamp(static_cast<float>(s.random + nudge), 0.0F, 0x1.fffffep-1F);
  return sampler.choose(sampling, row);
}

// Whether rounding of probabilities explains the choice: within 1e-5 of a limit.
bool is_near(Sampler& sampler, const RunSampling& s, std::span<const uint32_t> mask,
             const std::vector<float>& row, int choice) {
  constexpr double kNear = 1e-5;
  for (double a : {0.0, -kNear, kNear})
    for (double b : {0.0, -kNear, kNear})
      for (double c : {0.0, -kNear, kNear})
        if (choose_on_host(sampler, s, mask, row, a, b, c) == choice) return true;
  return false;
}

struct Case {
  int vocabulary, runs, launches;
};
void PrintTo(const Case& c, std::ostream* out) { *out << "vocabulary " << c.vocabulary; }

class Sample : public testing::TestWithParam<Case> {};

TEST_P(Sample, ChoosesLikeTheHost) {
  const Case c = GetParam();
  Random random(static_cast<unsigned>(c.vocabulary));
  Runs runs(c.runs, c.vocabulary);
  Sampler sampler(c.vocabulary);
  int different = 0;
  for (int launch = 0; launch < c.launches; ++launch) {
    std::vector<std::vector<float>> rows;
    for (int i = 0; i < c.runs; ++i) {
      fill_row(random,
               one_of(random, {Shape::kNormal, Shape::kNormal, Shape::kTies, Shape::kPeaked,
                               Shape::kConstant, Shape::kHoles, Shape::kBroken}),
               runs.row(i));
      fill_sampling(random, c.vocabulary, runs.sampling(i));
      // Every third run has a mask: of few tokens, of most, or of none.
      runs.sampling(i).mask = i % 3 == 0 ? i / 3 : -1;
      if (i % 3 == 0) {
        const unsigned holes = one_of(random, {2U, 40U, 1000U, 0U});
        for (uint32_t& word : runs.mask(i / 3)) word = 0;
        for (unsigned t = 0; t < static_cast<unsigned>(c.vocabulary) && holes != 0; ++t)
          if ((random() % holes == 0) != (holes == 2 || holes == 1000))
            runs.mask(i / 3)[t / 32] |= 1U << (t % 32);
      }
      rows.emplace_back(runs.row(i).begin(), runs.row(i).end());
    }
    runs.run();
    for (int i = 0; i < c.runs; ++i) {
      const RunSampling& s = runs.sampling(i);
      const auto& row = rows[index(i)];
      const auto mask = s.mask < 0 ? std::span<const uint32_t>() : runs.mask(s.mask);
      const int expected = choose_on_host(sampler, s, mask, row, 0, 0, 0);
      if (runs.result(i) == expected) continue;
      ++different;
      ASSERT_TRUE(is_near(sampler, s, mask, row, runs.result(i)))
          << "chose " << runs.result(i) << " for " << expected << " in launch " << launch
          << ", run " << i << ": temperature " << s.temperature << " top_k " << s.top_k << " top_p "
          << s.top_p << " min_p " << s.min_p << " random " << s.random << " penalty "
          << s.repeat_penalty;
    }
  }
  EXPECT_LE(different, 1 + c.runs * c.launches / 50);
}
INSTANTIATE_TEST_SUITE_P(Vocabularies, Sample,
                         testing::Values(Case{1, 4, 5}, Case{7, 64, 8}, Case{999, 64, 16},
                                         Case{3001, 64, 6}, Case{50257, 16, 4}, Case{262144, 8, 2}),
                         [](const auto& test) {
                           return "Of" + std::to_string(test.param.vocabulary);
                         });

TEST(SampleKernel, BestIsOnePass) {
  constexpr int kVocabulary = 128256;
  Runs runs(1, kVocabulary);
  Random random(3);
  fill_row(random, Shape::kNormal, runs.row(0));
  runs.sampling(0).repeat_penalty = 1;
  const auto before = runs.runner.counters().instructions();
  runs.run();
  const auto count = runs.runner.counters().instructions() - before;
  EXPECT_EQ(runs.result(0), std::ranges::max_element(runs.row(0)) - runs.row(0).begin());
  // For every four logits a lane: a load, four maxima, two comparisons that look for NaN and what
  // they come to, and the loop's share.
  EXPECT_LT(count, static_cast<uint64_t>(kVocabulary / 4 / 32 * 16 + 8 * 220));
}

// What is left out is minus infinity, but NaN is found wherever it is; one token may be all there
// is.
TEST(SampleKernel, TheMaskComesFirst) {
  constexpr int kVocabulary = 140'000;  // more than LDS holds the bits of
  for (const int only : {0, 31, 131'071, 131'072, 139'999}) {
    Runs runs(2, kVocabulary);
    for (int i = 0; i < 2; ++i) {
      std::ranges::fill(runs.row(i), 3.0F);
      runs.row(i)[index(only)] = -20;
      runs.row(i)[77] = INFINITY;
      runs.sampling(i).repeat_penalty = 1;
      runs.sampling(i).top_p = 1;
      runs.sampling(i).mask = i;
      std::ranges::fill(runs.mask(i), 0U);
      runs.mask(i)[index(only / 32)] = 1U << (only % 32);
    }
    runs.sampling(1).temperature = 1;
    runs.run();
    EXPECT_EQ(runs.result(0), only);
    EXPECT_EQ(runs.result(1), only);
    runs.row(1)[78] = NAN;
    runs.run();
    EXPECT_EQ(runs.result(0), only);
    EXPECT_EQ(runs.result(1), kNotFinite);
  }
}

// Instructions a logit of choosing with the settings of `set`.
double cost_a_logit(const std::function<void(RunSampling&)>& set) {
  constexpr int kVocabulary = 128256;
  Runs runs(1, kVocabulary);
  Random random(3);
  fill_row(random, Shape::kNormal, runs.row(0));
  RunSampling& s = runs.sampling(0);
  s.repeat_penalty = 1;
  s.temperature = 0.8F;
  s.top_p = 1;
  s.random = 0.3F;
  set(s);
  const auto before = runs.runner.counters().instructions();
  runs.run();
  return static_cast<double>(runs.runner.counters().instructions() - before) * 32 / kVocabulary;
}

// The pass for the maximum takes 2; one that weighs all logits about 30.
TEST(SampleKernel, SettingsCostAFewPasses) {
  EXPECT_LT(cost_a_logit([](RunSampling& s) {
              s.top_k = 40;
              s.top_p = 0.95F;
            }),
            40);
  EXPECT_LT(cost_a_logit([](RunSampling&) {}), 90);
}

TEST(SampleKernel, RunsEndAtTheirStops) {
  Runs runs(3, 100);
  for (int i = 0; i < 3; ++i) {
    std::ranges::fill(runs.row(i), 0.0F);
    runs.row(i)[index(10 + i)] = 1;
    runs.sampling(i).repeat_penalty = 1;
  }
  runs.record().choice_row()[2] = -1;
  runs.sampling(0).stop_count = 2;
  runs.sampling(0).stops[0] = 99;
  runs.sampling(0).stops[1] = 10;
  runs.sampling(0).stops[2] = 11;
  runs.sampling(1).stops[0] = 11;  // beyond stop_count

  runs.run();
  EXPECT_EQ(runs.result(0), 10);
  EXPECT_EQ(runs.result(1), 11);
  EXPECT_EQ(runs.result(2), -1);
  EXPECT_EQ(std::vector<int>(runs.ended.begin(), runs.ended.end()), (std::vector<int>{1, 0, 0}));
  EXPECT_EQ(runs.alive[0], 1U);

  // What has ended stays so, and the last one ends the step.
  runs.row(0)[50] = 2;
  runs.sampling(1).stop_count = 1;
  runs.run();
  EXPECT_EQ(runs.result(0), 50);
  EXPECT_EQ(runs.ended[0], 1);
  EXPECT_EQ(runs.ended[1], 1);
  EXPECT_EQ(runs.alive[0], 0U);
}

// Everything that can be asked of a row, with a value at places that different loops read.
TEST(SampleKernel, ThereMayBeNothingToChoose) {
  constexpr int kVocabulary = 9002;  // two rounds of four quads a thread, one of quads, a rest
  for (const int place : {0, 4097, 8191, 8192, 8999, 9000, 9001})
    for (const float value : {NAN, -NAN, INFINITY, -INFINITY}) {
      Runs runs(4, kVocabulary);
      for (int i = 0; i < 4; ++i) {
        std::ranges::fill(runs.row(i), -1.0F);
        runs.row(i)[7] = 20;
        runs.row(i)[index(place)] = value;
        runs.sampling(i).repeat_penalty = 1;
        runs.sampling(i).top_p = 1;
      }
      runs.sampling(1).temperature = 1;
      runs.record().best()[2] = 3;
      runs.record().choice_row()[3] = -1;
      runs.run();
      const bool fine = value == -INFINITY;
      SCOPED_TRACE(testing::Message() << value << " at " << place);
      const int expected = fine ? 7 : kNotFinite;
      ASSERT_EQ(runs.result(0), expected);
      ASSERT_EQ(runs.result(1), expected);
      ASSERT_EQ(runs.result(2), -1);
      ASSERT_EQ(runs.result(3), -1);
      ASSERT_EQ(runs.best_of(2)[0].token, expected);
      ASSERT_EQ(runs.best_of(2)[2].token, fine ? place == 0 ? 2 : 1 : kNotFinite);
      // Steps that were queued behind it need not run: of the runs here, the third goes on.
      EXPECT_EQ(std::vector<int>(runs.ended.begin(), runs.ended.end()),
                (fine ? std::vector<int>{0, 0, 0, 0} : std::vector<int>{1, 1, 0, 0}));
      runs.record().choice_row()[2] = -1;
      runs.reset();
      runs.run();
      EXPECT_EQ(runs.alive[0], fine ? 1U : 0U);
    }
}

// Choices from rows before a run's last end nothing.
TEST(SampleKernel, FurtherChoicesOfARun) {
  Runs runs(3, 500);
  runs.record().header().runs = 1;
  for (int i = 0; i < 3; ++i) {
    std::ranges::fill(runs.row(i), 0.0F);
    runs.row(i)[index(100 + i)] = 1;
    runs.sampling(i).repeat_penalty = 1;
    runs.sampling(i).stop_count = 1;
    runs.sampling(i).stops[0] = 101 + 2 * (i % 2);
  }
  // The run's own choice is the last row's.
  runs.record().choice_row()[0] = 2;
  runs.record().choice_row()[1] = 0;
  runs.record().choice_row()[2] = 1;
  runs.run();
  EXPECT_EQ(runs.result(0), 102);
  EXPECT_EQ(runs.result(1), 100);
  EXPECT_EQ(runs.result(2), 101) << "a stop";
  EXPECT_EQ(runs.ended[2], 0);
  EXPECT_EQ(runs.alive[0], 1U);
}

TEST(SampleKernel, AllMinusInfinityIsNothingToChoose) {
  Runs runs(3, 999);
  for (int i = 0; i < 3; ++i) {
    std::ranges::fill(runs.row(i), -INFINITY);
    runs.sampling(i).repeat_penalty = 1;
  }
  runs.sampling(1).temperature = 1;
  runs.record().best()[2] = 2;
  runs.run();
  EXPECT_EQ(runs.result(0), kNotFinite);
  EXPECT_EQ(runs.result(1), kNotFinite);
  EXPECT_EQ(runs.best_of(2)[0].token, kNotFinite);
  EXPECT_EQ(runs.best_of(2)[1].token, kNotFinite);
}

// Rows of the output matrix that stand for no token win by far, or are NaN.
TEST(SampleKernel, PaddingIsNotChosen) {
  for (const float value : {1e30F, INFINITY, NAN})
    for (const int tokens : {1, 250, 1021, 1022, 1023}) {
      Runs runs(3, 1030);
      runs.choose_from = tokens;
      for (int i = 0; i < 3; ++i) {
        std::ranges::fill(runs.row(i), value);
        std::ranges::fill(runs.row(i).first(index(tokens)), 1.0F);
        runs.row(i)[index(tokens - 1)] = 9;
        runs.sampling(i).repeat_penalty = 1;
        runs.sampling(i).top_p = 1;
        runs.sampling(i).top_k = tokens + 3;
      }
      runs.sampling(1).temperature = 0.5F;
      runs.record().best()[2] = 2;
      runs.run();
      SCOPED_TRACE(testing::Message() << value << " behind " << tokens);
      ASSERT_EQ(runs.result(0), tokens - 1);
      ASSERT_GE(runs.result(1), 0);
      ASSERT_LT(runs.result(1), tokens);
      ASSERT_EQ(runs.best_of(2)[0].token, tokens - 1);
      ASSERT_NEAR(runs.best_of(2)[0].log_probability, -std::log1p((tokens - 1) * std::exp(-8.0)),
                  5e-6);
      ASSERT_EQ(runs.best_of(2)[1].token, tokens == 1 ? -1 : 0);
    }
}

// A row's order: greater first, then lower tokens; no minus infinity, no NaN.
std::vector<int> sorted(std::span<const float> row) {
  std::vector<int> order;
  for (int i = 0; i < static_cast<int>(row.size()); ++i)
    if (row[index(i)] > -INFINITY) order.push_back(i);
  std::ranges::sort(order, {}, [&](int i) { return std::pair(-row[index(i)], i); });
  return order;
}

void expect_best(Runs& runs, int run, int count) {
  const std::vector<int> order = sorted(runs.row(run));
  double sum = 0;
  for (const float x : runs.row(run)) sum += std::exp(static_cast<double>(x));
  const std::span<const BestToken> best = runs.best_of(run);
  for (int i = 0; i < count; ++i) {
    const BestToken& token = best[index(i)];
    if (order.empty()) {
      ASSERT_EQ(token.token, kNotFinite) << "place " << i;
      continue;
    }
    if (i >= static_cast<int>(order.size())) {
      ASSERT_EQ(token.token, -1) << "place " << i;
      ASSERT_EQ(token.log_probability, -INFINITY);
      continue;
    }
    ASSERT_EQ(token.token, order[index(i)]) << "place " << i;
    ASSERT_NEAR(token.log_probability, runs.row(run)[index(token.token)] - std::log(sum), 5e-6)
        << "place " << i;
  }
  for (int i = count; i < kMaxBest; ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(best[index(i)].token), 0xeeeeeeee);
  ASSERT_EQ(runs.result(run), -1);
}

TEST_P(Sample, FindsTheBest) {
  const Case c = GetParam();
  Random random(static_cast<unsigned>(c.vocabulary) + 1);
  const int count = std::min(c.runs, 8);
  Runs runs(count, c.vocabulary);
  for (int i = 0; i < count; ++i) {
    fill_row(random,
             one_of(random, {Shape::kNormal, Shape::kNormal, Shape::kTies, Shape::kPeaked,
                             Shape::kConstant}),
             runs.row(i));
    for (int k = random() % 3; k > 0; --k) runs.row(i)[random() % index(c.vocabulary)] = -INFINITY;
    runs.record().best()[index(i)] = one_of(random, {1, 2, 8, 31, 32});
  }
  runs.run();
  for (int i = 0; i < count; ++i) {
    SCOPED_TRACE("run " + std::to_string(i));
    ASSERT_NO_FATAL_FAILURE(expect_best(runs, i, runs.record().best()[index(i)]));
  }
}

TEST(SampleKernel, OfEqualsTheFirstAreBest) {
  Runs runs(3, 5000);
  std::ranges::fill(runs.row(0), 1.5F);       // all
  std::ranges::fill(runs.row(1), -INFINITY);  // all but two
  runs.row(1)[4999] = runs.row(1)[77] = -3;
  for (size_t i = 0; i < 5000; ++i) runs.row(2)[i] = static_cast<float>(i % 100) - 0.0F;
  runs.row(2)[3] = -0.0F;
  for (int i = 0; i < 3; ++i) runs.record().best()[index(i)] = 32;
  runs.run();
  for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(expect_best(runs, i, 32));
}

TEST(SampleKernel, TheBestAreTwoPasses) {
  constexpr int kVocabulary = 65004;
  Runs runs(1, kVocabulary);
  Random random(3);
  fill_row(random, Shape::kNormal, runs.row(0));
  runs.record().best()[0] = 8;
  const auto before = runs.runner.counters().instructions();
  runs.run();
  const auto count = runs.runner.counters().instructions() - before;
  ASSERT_NO_FATAL_FAILURE(expect_best(runs, 0, 8));
  RecordProperty("instructions_a_logit",
                 std::to_string(static_cast<double>(count) * 32 / kVocabulary));
  EXPECT_LT(static_cast<double>(count) * 32 / kVocabulary, 20);
}

}  // namespace
}  // namespace outboard::devices::gpu::kernels
