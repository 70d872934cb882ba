// Sessions whose layers with windows give pages back: they answer what they do when all pages are
// kept.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "engine/engine.h"
#include "engine/tiny_files.h"
#include "machine/sim_device.h"

namespace outboard::engine {
namespace {

constexpr int kAllPages = 1 << 20;

// Family and device. Gemma 3's two layers both look back over 40 positions, of the others' one.
class WindowSessionTest : public ::testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  WindowSessionTest() {
    if (on_card()) {
      simulator::card::CardOptions card;
      card.vram_bytes = card.bar0_bytes = uint64_t{1} << 30;
      card.strict = true;
      auto opened = std::make_unique<machine::SimDevice>(card, devices::amd::AmdOptions{});
      card_ = opened.get();
      device_ = std::move(opened);
    } else {
      device_ = devices::open_cpu(2);
    }
    std::shared_ptr<const Model>& loaded = models_[GetParam().first];
    if (loaded == nullptr) loaded = Model::load(TinyFile(GetParam().first).path());
    model_ = loaded;
  }
  static void TearDownTestSuite() { models_.clear(); }
  void TearDown() override {
    if (card_ == nullptr) return;
    EXPECT_THAT(card_->shut_down(), ::testing::IsEmpty());
  }

  static bool on_card() { return std::string_view(GetParam().second) == "sim"; }
  // Tokens of an answer: the simulated card takes its time.
  static int many() { return on_card() ? 90 : 300; }

  static SessionOptions options(int kept, int sequences = 1) {
    SessionOptions o;
    o.context = 512;
    o.max_sequences = sequences;
    o.max_step_tokens = 48;
    o.window_positions = kept;
    return o;
  }
  static Request request(size_t prompt, int answer, int seed = 1) {
    Request r;
    for (size_t i = 0; i < prompt; ++i)
      r.prompt.push_back(
          static_cast<int32_t>((i * 31 + static_cast<size_t>(seed) * 57 + i * i) % 250));
    r.max_tokens = answer;
    r.temperature = 0;
    r.ignore_end_of_text = true;
    r.logprobs = 0;
    return r;
  }
  static Request goes_on(const Request& r, const Completion& answer, size_t more) {
    Request next = request(more, r.max_tokens, 9);
    std::vector<int32_t> text = r.prompt;
    text.insert(text.end(), answer.tokens.begin(), answer.tokens.end());
    next.prompt.insert(next.prompt.begin(), text.begin(), text.end());
    return next;
  }
  // Nothing kept from before, all pages.
  Completion whole(const Request& r) {
    SessionOptions o = options(kAllPages);
    o.prefix_cache = false;
    return Session(model_, *device_, o).generate(r);
  }
  static void expect_same(const Completion& got, const Completion& want) {
    EXPECT_EQ(got.tokens, want.tokens);
    ASSERT_EQ(got.logprobs.size(), want.logprobs.size());
    for (size_t i = 0; i < got.logprobs.size(); ++i)
      ASSERT_EQ(got.logprobs[i].log_probability, want.logprobs[i].log_probability) << i;
  }
  // The same text computed in other pieces: sums in another order. A page that is not its own would
  // change far more.
  static void expect_like(const Completion& got, const Completion& want) {
    const float near = on_card() ? 2e-2F : 1e-3F;
    ASSERT_EQ(got.tokens.size(), want.tokens.size());
    for (size_t i = 0; i < got.tokens.size(); ++i) {
      ASSERT_NEAR(got.logprobs[i].log_probability, want.logprobs[i].log_probability, near) << i;
      if (on_card() && got.tokens[i] != want.tokens[i]) return;  // as likely: another text
      ASSERT_EQ(got.tokens[i], want.tokens[i]) << i;
    }
  }

  void answers_in_less_memory();
  void conversation_goes_on();

  std::shared_ptr<const Model> model_;
  std::unique_ptr<devices::Device> device_;
  machine::SimDevice* card_ = nullptr;
  inline static std::map<std::string, std::shared_ptr<const Model>> models_;
};

void WindowSessionTest::answers_in_less_memory() {
  const Request r = request(130, many());
  Session session(model_, *device_, options(0)), all(model_, *device_, options(kAllPages));
  EXPECT_LT(session.memory().kv, all.memory().kv);
  expect_same(session.generate(r), whole(r));
  Request quick = r;  // chosen on the card, eight steps ahead
  quick.logprobs = -1;
  quick.prompt[0] = 7;
  EXPECT_EQ(session.generate(quick).tokens, whole(quick).tokens);
}

TEST_P(WindowSessionTest, AnswersAsWithAllPagesInLessMemory) { answers_in_less_memory(); }

void WindowSessionTest::conversation_goes_on() {
  Session session(model_, *device_, options(0));
  const Request first = request(380, 20);
  const Completion answer = session.generate(first);
  const Request second = goes_on(first, answer, 10);
  const Completion more = session.generate(second);
  EXPECT_EQ(more.cached_tokens, 399);  // the last token chosen was never computed
  expect_like(more, whole(second));
  // What it began with has left the window: all is computed again, and right.
  Request other = first;
  other.prompt.resize(50);
  const Completion again = session.generate(other);
  EXPECT_EQ(again.cached_tokens, 0);
  expect_like(again, whole(other));
  const Request third = goes_on(second, more, 5);
  expect_like(session.generate(third), whole(third));
}

TEST_P(WindowSessionTest, AConversationGoesOnAtItsEnd) { conversation_goes_on(); }

// The rest is the engine's alone: on the card it would only take longer.
class WindowCardTest : public WindowSessionTest {};
TEST_P(WindowCardTest, AnswersAsWithAllPagesInLessMemory) { answers_in_less_memory(); }
TEST_P(WindowCardTest, AConversationGoesOnAtItsEnd) { conversation_goes_on(); }

TEST_P(WindowSessionTest, WhatIsKeptCanBeGoneOnFrom) {
  Session session(model_, *device_, options(100));
  const Request first = request(100, 30);
  expect_like(session.generate(first), whole(first));
  Request retry = first;
  retry.prompt.resize(70);  // inside a page
  const Completion again = session.generate(retry);
  EXPECT_EQ(again.cached_tokens, 69);
  expect_like(again, whole(retry));
}

// With so few pages that they take turns.
TEST_P(WindowSessionTest, SequencesDoNotDisturbEachOther) {
  SessionOptions o = options(0, 3);
  o.cache_positions = 800;
  Session session(model_, *device_, o);
  std::vector<Request> requests;
  for (int i = 0; i < 3; ++i)
    requests.push_back(request(120 + 40 * static_cast<size_t>(i), 200, i));
  requests.push_back(request(150, 20, 0));  // begins like the first
  std::vector<SequenceId> ids;
  for (const Request& r : requests) ids.push_back(session.add(r));
  while (session.step()) {
  }
  for (size_t i = 0; i < ids.size(); ++i) expect_like(*session.take(ids[i]), whole(requests[i]));
}

TEST_P(WindowSessionTest, TheCacheOnDiskHasTheLastWindow) {
  const auto folder =
      std::filesystem::temp_directory_path() /
      fmt::format("outboard_windows_{}_{}_{}", ::getpid(), GetParam().first, GetParam().second);
  SessionOptions o = options(0);
  o.cache_folder = folder;
  const Request first = request(400, 10);
  Completion answer;
  {
    Session session(model_, *device_, o);
    answer = session.generate(first);
    session.save_cache();
  }
  const Request next = goes_on(first, answer, 20);
  {
    Session session(model_, *device_, o);
    const Completion more = session.generate(next);
    EXPECT_EQ(more.cached_tokens, 384);  // whole pages
    expect_like(more, whole(next));
    Request early = first;  // its window is not there
    early.prompt.resize(120);
    const Completion again = session.generate(early);
    EXPECT_EQ(again.cached_tokens, 0);
    expect_like(again, whole(early));
  }
  std::filesystem::remove_all(folder);
}

TEST_P(WindowSessionTest, EvaluationPassesItsPagesToo) {
  const std::vector<int32_t> text = request(500, 0).prompt;
  const auto rows_of = [&](int kept) {
    Session session(model_, *device_, options(kept));
    std::vector<float> all;
    session.evaluate(text, [&](size_t, std::span<const float> rows) {
      all.insert(all.end(), rows.begin(), rows.end());
    });
    return all;
  };
  EXPECT_EQ(rows_of(0), rows_of(kAllPages));
}

TEST_P(WindowSessionTest, GuessesAreTakenBack) {
  SessionOptions o = options(0);
  o.speculation = Speculation::kLookup;
  o.draft_tokens = 7;
  Session session(model_, *device_, o);
  Request r = request(60, many());
  r.logprobs = -1;
  // A text that repeats itself gives guesses, of which not all are right.
  for (int i = 0; i < 3; ++i)
    r.prompt.insert(r.prompt.end(), r.prompt.begin(), r.prompt.begin() + 20);
  const Completion got = session.generate(r);
  EXPECT_GT(got.drafted_tokens, got.accepted_tokens);
  EXPECT_EQ(got.tokens, whole(r).tokens);
}

std::string name_of_case(const ::testing::TestParamInfo<WindowSessionTest::ParamType>& test) {
  std::string name = test.param.first;
  std::erase(name, '-');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Cpu, WindowSessionTest,
                         ::testing::Values(std::pair("gemma3", "cpu"), std::pair("gemma4", "cpu"),
                                           std::pair("gpt-oss", "cpu")),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(Card, WindowCardTest, ::testing::Values(std::pair("gemma4", "sim")),
                         name_of_case);

// Many more positions fit where only some layers keep them.
TEST(WindowFit, TheContextGrowsByWhatOtherLayersKeep) {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  program::Program program = Model::load(TinyFile("gpt-oss").path())->program();
  program.context_length = int64_t{1} << 24;
  const uint64_t kv = program.kv_bytes_per_token(), in_windows = program.window_bytes_per_token();
  ASSERT_EQ(in_windows * 2, kv);
  const int fits = fitting_context(program, kGiB);
  const uint64_t left = kGiB - kGiB / 4;  // at least 256 MiB for all else
  EXPECT_GT(static_cast<uint64_t>(fits) * (kv - in_windows), left * 95 / 100);
  EXPECT_LT(static_cast<uint64_t>(fits) * (kv - in_windows), left);
}

}  // namespace
}  // namespace outboard::engine
