// A tiny encoder-decoder on every device: what it makes of a source depends on nothing but that
// source, and is what one thread of the CPU makes of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/models.h"
#include "models/tiny_model.h"
#include "support/error.h"
#include "tests/devices/devices_under_test.h"

namespace outboard::devices {
namespace {

using ::testing::HasSubstr;

constexpr int kPageTokens = 8;
constexpr int32_t kPad = 259;

Ids some_ids(size_t count, unsigned seed) { return random_ids(count, kPad, seed); }

struct Result {
  std::vector<float> logits;
  std::vector<Candidate> best;
};

class Encoder : public ::testing::TestWithParam<std::string> {
 protected:
  Encoder() : device_(GetParam()), reference_device_("cpu") {
    const auto model = std::make_shared<formats::Model>(models::tiny_model("marian"));
    const program::Program program = models::build_program(*model);
    CompileOptions options;
    options.max_tokens = 96;
    options.max_rows = 64;
    options.pages = 60;
    options.page_tokens = kPageTokens;
    executable_ = device_.device().compile(program, model, options);
    reference_ = reference_device_.device().compile(program, model, options);
  }

  static Result run(Executable& executable, const Step& step) {
    const StepResult result = executable.wait(executable.submit(step));
    return {{result.logits.begin(), result.logits.end()}, {result.best.begin(), result.best.end()}};
  }

  // Runs the step on both and compares what comes of it.
  Result expect_agreement(const Step& step) {
    const Result want = run(*reference_, step);
    const Result got = run(*executable_, step);
    EXPECT_EQ(device_.complaints(), "");
    const bool has_logits = std::ranges::any_of(step.runs, [](const StepRun& made) {
      return made.logits != StepRun::Logits::kNone && made.best == 0;
    });
    if (has_logits) expect_close(got.logits, want.logits, device_.is_simulated());
    EXPECT_EQ(got.best.size(), want.best.size());
    if (got.best.size() != want.best.size()) return want;
    for (size_t i = 0; i < want.best.size(); ++i) {
      // Where two are nearly as likely the order may differ; the place's probability may not.
      EXPECT_NEAR(got.best[i].log_probability, want.best[i].log_probability, 0.02) << i;
      if (is_apart(want.best, i)) {
        EXPECT_EQ(got.best[i].token, want.best[i].token) << i;
      }
    }
    return want;
  }

  static bool is_apart(const std::vector<Candidate>& best, size_t i) {
    // The last of a run's list may be as likely as the next, which is not in it.
    if (i + 1 == best.size() || best[i + 1].log_probability > best[i].log_probability) return false;
    const auto gap = [&](size_t j) {
      return j >= best.size() || std::abs(best[i].log_probability - best[j].log_probability) > 0.04;
    };
    return gap(i + 1) && gap(i - 1);  // i - 1 wraps
  }

  void encode(const std::vector<std::pair<Ids, Ids>>& sources,
              bool more = false) {  // tokens, pages
    std::vector<StepRun> runs;
    for (const auto& [tokens, pages] : sources)
      runs.push_back({tokens, 0, pages, StepRun::Logits::kNone, nullptr});
    Step step{runs, {}};
    step.encode = true;
    step.more = more;
    expect_agreement(step);
  }

  static StepRun run_of(const Ids& tokens, int first, const Ids& pages, const Ids& source,
                        size_t length) {
    StepRun made{tokens, first, pages, StepRun::Logits::kAll, nullptr};
    made.source_pages = source;
    made.source_tokens = static_cast<int>(length);
    return made;
  }

  struct Traffic {
    uint64_t reads = 0, writes = 0;  // over the link
    uint64_t launches = 0;
  };
  Traffic traffic() const {
    const simulator::card::CardCounters c = device_.simulated().card().counters();
    Traffic t{c.config_reads, c.config_writes, c.compute.dispatches};
    for (const uint64_t n : c.mmio_reads) t.reads += n;
    for (const uint64_t n : c.mmio_writes) t.writes += n;
    return t;
  }

  DeviceUnderTest device_, reference_device_;
  std::unique_ptr<Executable> executable_, reference_;
};
INSTANTIATE_TEST_SUITE_P(Devices, Encoder, ::testing::Values("cpu3", "sim"),
                         [](const auto& test) { return test.param; });

TEST_P(Encoder, WholeTargetsAndTokenByToken) {
  const Ids source = some_ids(45, 1);
  const Ids source_pages{7, 3, 30, 9, 11, 2};
  const Ids target = some_ids(19, 2);
  const Ids pages{1, 4, 5};
  encode({{source, source_pages}});
  const StepRun whole = run_of(target, 0, pages, source_pages, source.size());
  expect_agreement({{&whole, 1}, {}});
  const Ids again{20, 21, 22};
  for (size_t i = 0; i < 5; ++i) {
    const StepRun one = run_of({target[i]}, 0, again, source_pages, source.size());
    Ids token{target[i]};
    StepRun next = one;
    next.tokens = token;
    next.first_position = static_cast<int>(i);
    expect_agreement({{&next, 1}, {}});
  }
}

TEST_P(Encoder, FewAndManySourcesInOneStep) {
  const Ids a = some_ids(17, 3), b = some_ids(1, 4), c = some_ids(30, 5);
  const Ids pages[] = {{11, 10, 9}, {20}, {21, 25, 23, 24}};
  encode({{b, pages[1]}});  // fewer tokens than WMMA wants
  encode({{a, pages[0]}, {b, pages[1]}, {c, pages[2]}}, true);
  const Ids target = some_ids(5, 6);
  const Ids own[] = {{30}, {31}, {32}};
  const StepRun runs[] = {run_of(target, 0, own[0], pages[0], a.size()),
                          run_of(target, 0, own[1], pages[1], b.size()),
                          run_of(target, 0, own[2], pages[2], c.size())};
  expect_agreement({runs, {}});
}

// As a search does: beams of a source share its pages, what they have in common, and go on from
// copies.
TEST_P(Encoder, BeamsOfSeveralSources) {
  for (const size_t sources : {size_t{1}, size_t{6}}) {
    constexpr size_t kBeams = 4;
    std::vector<std::pair<Ids, Ids>> encoded;
    int32_t page = 0;
    const auto take = [&](int pages) {
      Ids taken;
      for (int i = 0; i < pages; ++i) taken.push_back(page++);
      return taken;
    };
    for (size_t s = 0; s < sources; ++s)
      encoded.emplace_back(some_ids(9 + s, static_cast<unsigned>(20 + s)), take(2));
    encode(encoded);
    // Nine tokens that all beams of a source have in common.
    std::vector<Ids> starts, start_pages;
    for (size_t s = 0; s < sources; ++s) {
      starts.push_back(some_ids(9, static_cast<unsigned>(30 + s)));
      start_pages.push_back(take(2));
    }
    std::vector<StepRun> runs;
    for (size_t s = 0; s < sources; ++s) {
      runs.push_back(
          run_of(starts[s], 0, start_pages[s], encoded[s].second, encoded[s].first.size()));
      runs.back().logits = StepRun::Logits::kLast;
    }
    expect_agreement({runs, {}});

    const Ids tokens = some_ids(sources * kBeams, 40);
    std::vector<Ids> pages;
    std::vector<PageCopy> copies;
    for (size_t s = 0; s < sources; ++s)
      for (size_t beam = 0; beam < kBeams; ++beam) {
        pages.push_back({start_pages[s][0], page++});
        copies.push_back({start_pages[s][1], pages.back()[1]});
      }
    runs.clear();
    for (size_t i = 0; i < tokens.size(); ++i) {
      const auto& [source, source_pages] = encoded[i / kBeams];
      runs.push_back(run_of({}, 9, pages[i], source_pages, source.size()));
      runs.back().tokens = std::span(tokens).subspan(i, 1);
      runs.back().logits = StepRun::Logits::kLast;
      runs.back().best = 2 * kBeams;
    }
    expect_agreement({runs, copies});
    if (!device_.is_simulated()) continue;
    // From now on a step, copies included, is one message, and no round trip.
    const Traffic before = traffic();
    run(*executable_, {runs, copies});
    const Traffic after = traffic();
    EXPECT_EQ(after.writes - before.writes, 1u);
    EXPECT_EQ(after.reads - before.reads, 0u);
    // Of few rows: begin, embedding, eight a layer (q, k, v; attention; output; cross q; cross
    // attention; its output; up; down), logits, best, and the copies.
    RecordProperty(fmt::format("launches_of_{}", runs.size()),
                   std::to_string(after.launches - before.launches));
    if (sources == 1) {
      EXPECT_LE(after.launches - before.launches, 2u * 8 + 5);
    }
  }
}

TEST_P(Encoder, EverySourceTokenMatters) {
  const Ids source = some_ids(20, 7);
  const Ids target{kPad}, pages{0, 1, 2}, own{5};
  const StepRun one = run_of(target, 0, own, pages, source.size());
  encode({{source, pages}});
  const std::vector<float> before = expect_agreement({{&one, 1}, {}}).logits;
  EXPECT_EQ(before[kPad], -INFINITY);
  for (const size_t changed : {size_t{0}, size_t{12}, size_t{19}}) {
    Ids other = source;
    other[changed] = (other[changed] + 1) % kPad;
    encode({{other, pages}});
    EXPECT_NE(expect_agreement({{&one, 1}, {}}).logits, before) << changed;
  }
}

// The candidates against a sort and a softmax in double.
TEST_P(Encoder, TheBestAreTheLikeliest) {
  const Ids source = some_ids(25, 8), source_pages{0, 1, 2, 3};
  encode({{source, source_pages}});
  const Ids target = some_ids(10, 9), pages{10, 11}, others{12, 13};
  StepRun runs[] = {run_of(target, 0, pages, source_pages, source.size()),
                    run_of(target, 0, others, source_pages, source.size())};
  for (StepRun& made : runs) made.logits = StepRun::Logits::kLast;
  runs[1].best = 12;
  const Result result = run(*executable_, {runs, {}});
  const auto row = std::span(result.logits).first(kTinyVocabulary);
  double sum = 0;
  for (const float logit : row) sum += std::exp(static_cast<double>(logit));
  Ids order(kTinyVocabulary);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(
      order, {}, [&](int32_t token) { return std::pair(-row[static_cast<size_t>(token)], token); });
  ASSERT_EQ(result.best.size(), 12u);
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(result.best[i].token, order[i]);
    EXPECT_NEAR(result.best[i].log_probability, row[static_cast<size_t>(order[i])] - std::log(sum),
                2e-4);
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
  const Ids ids = some_ids(9, 11);
  const Ids pages{0, 1};
  const Ids one{0}, wrong{60};
  EXPECT_THAT(message(run_of(ids, 0, pages, {}, 0), false), HasSubstr("a source of 0 tokens"));
  EXPECT_THAT(message(run_of(ids, 0, pages, one, 9), false), HasSubstr("9 tokens with 1 pages"));
  EXPECT_THAT(message(run_of(ids, 0, pages, wrong, 8), false), HasSubstr("page 60 of 60"));
  EXPECT_THAT(message(run_of(ids, 0, pages, {}, 0), true), HasSubstr("wants logits"));
  StepRun greedy = run_of(ids, 0, pages, pages, 9);
  greedy.best = 4;
  EXPECT_THAT(message(greedy, false), HasSubstr("from its last logits"));
  greedy.logits = StepRun::Logits::kLast;
  greedy.best = kMaxBest + 1;
  EXPECT_THAT(message(greedy, false), HasSubstr("at most 32"));
}

}  // namespace
}  // namespace outboard::devices
