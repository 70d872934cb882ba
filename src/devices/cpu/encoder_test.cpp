// A tiny encoder-decoder on the CPU: what it makes of a source depends on nothing but that source.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "devices/device.h"
#include "models/models.h"
#include "models/tiny_model.h"
#include "support/error.h"

namespace outboard::devices {
namespace {

using ::testing::HasSubstr;
using StepRun = Run;  // Run is a member function inside a test
using Ids = std::vector<int32_t>;

constexpr int kPageTokens = 8;
constexpr int32_t kPad = 259;

Ids random_ids(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  Ids ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % kPad);
  return ids;
}

class Encoder : public ::testing::TestWithParam<int> {  // threads
 protected:
  Encoder() : device_(open_cpu(GetParam())) {
    model_ = std::make_shared<formats::Model>(models::tiny_model("marian"));
    CompileOptions options;
    options.max_tokens = 64;
    options.max_rows = 64;
    options.pages = 40;
    options.page_tokens = kPageTokens;
    executable_ = device_->compile(models::build_program(*model_), model_, options);
  }

  void encode(const std::vector<std::pair<Ids, Ids>>& sources) {  // tokens, pages
    std::vector<StepRun> runs;
    for (const auto& [tokens, pages] : sources)
      runs.push_back({tokens, 0, pages, StepRun::Logits::kNone, nullptr});
    Step step{runs, {}};
    step.encode = true;
    executable_->wait(executable_->submit(step));
  }

  static StepRun run(const Ids& tokens, int first, const Ids& pages, const Ids& source,
                     size_t length) {
    StepRun made{tokens, first, pages, StepRun::Logits::kAll, nullptr};
    made.source_pages = source;
    made.source_tokens = static_cast<int>(length);
    return made;
  }
  std::vector<float> logits(const std::vector<StepRun>& runs) {
    const StepResult result = executable_->wait(executable_->submit({runs, {}}));
    return {result.logits.begin(), result.logits.end()};
  }
  static void expect_close(const std::vector<float>& a, const std::vector<float>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      if (a[i] == b[i]) continue;  // -infinity equals itself
      ASSERT_NEAR(a[i], b[i], 1e-4F) << i;
    }
  }

  std::shared_ptr<formats::Model> model_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Executable> executable_;
};
INSTANTIATE_TEST_SUITE_P(Threads, Encoder, ::testing::Values(1, 3));

TEST_P(Encoder, DecodesAtOnceOrTokenByToken) {
  const Ids source = random_ids(21, 1);
  const Ids target = random_ids(19, 2);
  encode({{source, {7, 3, 30}}});
  const auto whole = logits({run(target, 0, {1, 2, 4}, {7, 3, 30}, 21)});
  std::vector<float> parts;
  for (size_t i = 0; i < target.size(); ++i) {
    const Ids token{target[i]};
    const auto row = logits({run(token, static_cast<int>(i), {9, 8, 5}, {7, 3, 30}, 21)});
    parts.insert(parts.end(), row.begin(), row.end());
  }
  expect_close(parts, whole);
  EXPECT_EQ(whole[kPad], -INFINITY);
}

TEST_P(Encoder, SourcesInOneStepDoNotDisturbOneAnother) {
  const Ids a = random_ids(17, 3);
  const Ids b = random_ids(1, 4);
  const Ids c = random_ids(30, 5);
  const Ids target = random_ids(5, 6);
  std::vector<float> apart;
  for (const Ids& source : {a, b, c}) {
    encode({{source, {0, 1, 2, 3}}});
    const auto rows = logits({run(target, 0, {4}, {0, 1, 2, 3}, source.size())});
    apart.insert(apart.end(), rows.begin(), rows.end());
  }
  encode({{a, {11, 10, 9}}, {b, {20}}, {c, {21, 25, 23, 24}}});
  const Ids pages[] = {{11, 10, 9}, {20}, {21, 25, 23, 24}};
  const Ids own[] = {{30}, {31}, {32}};
  const auto together = logits({run(target, 0, own[0], pages[0], a.size()),
                                run(target, 0, own[1], pages[1], b.size()),
                                run(target, 0, own[2], pages[2], c.size())});
  expect_close(together, apart);
}

TEST_P(Encoder, EverySourceTokenMatters) {
  Ids source = random_ids(20, 7);
  const Ids target{kPad};
  encode({{source, {0, 1, 2}}});
  const auto before = logits({run(target, 0, {5}, {0, 1, 2}, 20)});
  for (const size_t changed : {size_t{0}, size_t{12}, size_t{19}}) {
    Ids other = source;
    other[changed] = (other[changed] + 1) % kPad;
    encode({{other, {0, 1, 2}}});
    EXPECT_NE(logits({run(target, 0, {5}, {0, 1, 2}, 20)}), before) << changed;
  }
}

TEST_P(Encoder, BeamsShareASourceAndCopiedPages) {
  const Ids source = random_ids(25, 8);
  const Ids start = random_ids(9, 9);
  encode({{source, {0, 1, 2, 3}}});
  logits({run(start, 0, {10, 11}, {0, 1, 2, 3}, 25)});
  // Six beams go on from the same nine tokens: page 10 is shared, page 11 copied.
  const Ids tokens = random_ids(6, 10);
  const Ids source_pages{0, 1, 2, 3};
  std::vector<Ids> pages, single;
  std::vector<PageCopy> copies;
  std::vector<StepRun> runs;
  for (int32_t beam = 0; beam < 6; ++beam) {
    pages.push_back({10, 20 + beam});
    single.push_back({tokens[static_cast<size_t>(beam)]});
    copies.push_back({11, 20 + beam});
  }
  for (size_t beam = 0; beam < 6; ++beam) {
    runs.push_back(run(single[beam], 9, pages[beam], source_pages, 25));
    runs.back().logits = StepRun::Logits::kLast;
    runs.back().best = 12;
  }
  const StepResult result = executable_->wait(executable_->submit({runs, copies}));
  const std::vector<float> rows(result.logits.begin(), result.logits.end());
  const std::vector<Candidate> best(result.best.begin(), result.best.end());
  ASSERT_EQ(best.size(), 6u * 12);
  for (size_t beam = 0; beam < 6; ++beam) {
    Ids whole = start;
    whole.push_back(tokens[beam]);
    const auto want = logits({run(whole, 0, {33, 34}, source_pages, 25)});
    const std::vector<float> last(want.end() - 260, want.end());
    expect_close({rows.begin() + static_cast<ptrdiff_t>(beam * 260),
                  rows.begin() + static_cast<ptrdiff_t>(beam * 260 + 260)},
                 last);
    // The candidates against a sort and a softmax in double.
    double sum = 0;
    for (const float logit : last) sum += std::exp(static_cast<double>(logit));
    Ids order(260);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::sort(order, {}, [&](int32_t token) {
      return std::pair(-rows[beam * 260 + static_cast<size_t>(token)], token);
    });
    for (size_t i = 0; i < 12; ++i) {
      const Candidate& candidate = best[beam * 12 + i];
      EXPECT_EQ(candidate.token, order[i]);
      EXPECT_NEAR(candidate.log_probability, last[static_cast<size_t>(order[i])] - std::log(sum),
                  2e-4);
    }
  }
}

TEST_P(Encoder, RefusesWhatBreaksTheRules) {
  const auto message = [&](const StepRun& made, bool encodes) {
    try {
      Step step{{&made, 1}, {}};
      step.encode = encodes;
      executable_->submit(step);
    } catch (const Error& e) {
      return e.message();
    }
    return std::string("no error");
  };
  const Ids ids = random_ids(9, 11);
  const Ids pages{0, 1};
  EXPECT_THAT(message(run(ids, 0, pages, {}, 0), false), HasSubstr("a source of 0 tokens"));
  EXPECT_THAT(message(run(ids, 0, pages, {0}, 9), false), HasSubstr("9 tokens with 1 pages"));
  EXPECT_THAT(message(run(ids, 0, pages, {40}, 8), false), HasSubstr("page 40 of 40"));
  EXPECT_THAT(message(run(ids, 0, pages, {}, 0), true), HasSubstr("wants logits"));
  StepRun greedy = run(ids, 0, pages, pages, 9);
  greedy.best = 4;
  EXPECT_THAT(message(greedy, false), HasSubstr("from its last logits"));
  greedy.logits = StepRun::Logits::kLast;
  greedy.best = kMaxBest + 1;
  EXPECT_THAT(message(greedy, false), HasSubstr("at most 32"));
}

}  // namespace
}  // namespace outboard::devices
