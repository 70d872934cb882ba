// Sessions with a model whose layers keep more of a text than keys and values: its answers are
// those of the same texts computed in one piece, whatever runs beside them, is shared, or fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/tiny_files.h"
#include "machine/sim_device.h"
#include "models/tiny_slot_model.h"
#include "support/error.h"

namespace outboard::engine {
namespace {

std::shared_ptr<const Model> load_slot_model() {
  const std::filesystem::path path = temporary_model_path();
  models::write_tiny_slot_model(path);
  LoadOptions options;
  options.build = models::slot_program;
  const auto model = Model::load(path, options);
  std::filesystem::remove(path);  // it is mapped
  return model;
}

class SlotSessionTest : public ::testing::TestWithParam<std::string> {
 protected:
  SlotSessionTest() {
    if (GetParam() == "cpu") {
      device_ = devices::open_cpu(2);
    } else {
      open_card(nullptr);
    }
  }
  void open_card(const char* faults) {
    simulator::card::CardOptions card;
    card.vram_bytes = card.bar0_bytes = uint64_t{1} << 30;
    card.strict = faults == nullptr;
    if (faults != nullptr) card.faults = simulator::card::FaultPlan::parse(faults, "test");
    devices::amd::AmdOptions options;
    if (faults != nullptr) options.patience = std::chrono::milliseconds(1000);
    auto opened = std::make_unique<machine::SimDevice>(card, options);
    card_ = opened.get();
    device_ = std::move(opened);
  }
  void TearDown() override {
    if (card_ == nullptr || hangs_) return;
    EXPECT_THAT(card_->shut_down(), ::testing::IsEmpty());
  }

  static SessionOptions options(int sequences, int snapshots = 8) {
    SessionOptions o;
    o.context = 256;
    o.max_sequences = sequences;
    o.max_step_tokens = 48;
    o.snapshots = snapshots;
    return o;
  }
  // Of tokens without meaning, `seed` says which.
  static std::vector<int32_t> text(size_t count, int seed) {
    std::vector<int32_t> tokens;
    for (size_t i = 0; i < count; ++i)
      tokens.push_back(
          static_cast<int32_t>((i * 31 + static_cast<size_t>(seed) * 57 + i * i) % 250));
    return tokens;
  }
  static Request request(std::vector<int32_t> prompt, int n = 20) {
    Request r;
    r.prompt = std::move(prompt);
    r.max_tokens = n;
    r.temperature = 0;
    r.ignore_end_of_text = true;
    return r;
  }
  // On the CPU, alone, nothing shared.
  static Completion completed_alone(const Request& r) {
    const auto cpu = devices::open_cpu(1);
    SessionOptions o = options(1);
    o.prefix_cache = false;
    o.max_step_tokens = 256;
    return Session(model(), *cpu, o).generate(r);
  }
  static std::vector<int32_t> alone(const Request& r) { return completed_alone(r).tokens; }
  // The first token's probability tells of a state that is not quite right before words do, if the
  // text that was gone on from is but a token or two away.
  void expect_first_probability(Session& session, Request r, int cached) const {
    r.logprobs = 0;
    const Completion got = session.generate(r), want = completed_alone(r);
    EXPECT_EQ(got.cached_tokens, cached);
    EXPECT_NEAR(got.logprobs.at(0).log_probability, want.logprobs.at(0).log_probability,
                card_ == nullptr ? 1e-4 : 2e-2);
  }
  static const std::shared_ptr<const Model>& model() {
    static const auto kModel = load_slot_model();
    return kModel;
  }
  // The card's logits agree to three digits or so: where two tokens are as good as equal the other
  // may be chosen, and all that follows is another text.
  static void expect_answer(const std::vector<int32_t>& got, const Request& r) {
    const std::vector<int32_t> want = alone(r);
    ASSERT_EQ(got.size(), want.size());
    const auto [mine, theirs] = std::ranges::mismatch(got, want);
    if (mine == got.end()) return;
    const auto cpu = devices::open_cpu(1);
    Session session(model(), *cpu, options(1));
    std::vector<float> last;
    session.evaluate(joined(r.prompt, {want.begin(), theirs}),
                     [&](size_t, std::span<const float> rows) {
                       last.assign(rows.end() - kVocabulary, rows.end());
                     });
    const auto [least, most] = std::ranges::minmax(last);
    EXPECT_NEAR(last[static_cast<size_t>(*mine)], last[static_cast<size_t>(*theirs)],
                0.01F * (most - least))
        << "token " << mine - got.begin();
  }
  static std::vector<int32_t> joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  static constexpr ptrdiff_t kVocabulary = 260;
  std::unique_ptr<devices::Device> device_;
  machine::SimDevice* card_ = nullptr;
  bool hangs_ = false;
};
INSTANTIATE_TEST_SUITE_P(Devices, SlotSessionTest, ::testing::Values("cpu", "sim"),
                         [](const auto& test) { return test.param; });

TEST_P(SlotSessionTest, ABatchGivesEachTheTextItGetsAlone) {
  std::vector<Request> requests;
  for (const size_t length : {3, 70, 33, 64, 5})
    requests.push_back(request(text(length, static_cast<int>(length)), 25));
  Session session(model(), *device_, options(3));
  std::vector<SequenceId> ids;
  for (const Request& r : requests) ids.push_back(session.add(r));
  while (session.step()) {
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto completion = session.take(ids[i]);
    ASSERT_TRUE(completion);
    expect_answer(completion->tokens, requests[i]);
  }
}

// A conversation: each turn goes on from the last snapshot of the answer before.
TEST_P(SlotSessionTest, ALaterTurnGoesOnFromASnapshot) {
  Session session(model(), *device_, options(1));
  const Completion first = session.generate(request(text(50, 1), 60));
  EXPECT_EQ(first.cached_tokens, 0);
  const auto turn = joined(joined(text(50, 1), first.tokens), text(7, 2));
  const Request next = request(turn, 20);
  const Completion second = session.generate(next);
  EXPECT_EQ(second.cached_tokens, 96);  // of 110 that are known, whole pages
  expect_answer(second.tokens, next);
  const std::span<const int32_t> known(turn);
  expect_first_probability(session, request({known.begin(), known.begin() + 97}, 1), 96);
  // The prompt's own snapshot is still there.
  EXPECT_EQ(session.generate(request(text(50, 1), 5)).cached_tokens, 32);
}

// The second text finds pages but no snapshot where the two part; the third goes on from there.
TEST_P(SlotSessionTest, TextsPartWhereASnapshotIsMade) {
  Session session(model(), *device_, options(1));
  const std::vector<int32_t> system = text(64, 3);
  int cached[3];
  for (int i = 0; i < 3; ++i) {
    const Request r = request(joined(system, text(40, 10 + i)), 10);
    const Completion c = session.generate(r);
    cached[i] = c.cached_tokens;
    expect_answer(c.tokens, r);
  }
  EXPECT_THAT(cached, ::testing::ElementsAre(0, 0, 64));
  expect_first_probability(session, request(joined(system, {7}), 1), 64);
}

TEST_P(SlotSessionTest, SnapshotsAreLimited) {
  Session session(model(), *device_, options(1, 1));
  const Request a = request(text(40, 5), 3), b = request(text(40, 6), 3);
  session.generate(a);
  EXPECT_EQ(session.generate(a).cached_tokens, 32);
  session.generate(b);
  const Completion again = session.generate(a);
  EXPECT_EQ(again.cached_tokens, 0);
  expect_answer(again.tokens, a);
}

TEST_P(SlotSessionTest, ATextIsEvaluatedInChunks) {
  const std::vector<int32_t> tokens = text(100, 8);
  const auto logits = [&](Session& session) {
    std::vector<float> all;
    session.evaluate(tokens, [&](size_t, std::span<const float> rows) {
      all.insert(all.end(), rows.begin(), rows.end());
    });
    return all;
  };
  SessionOptions whole = options(1);
  whole.max_rows = whole.max_step_tokens = 128;
  const auto cpu = devices::open_cpu(1);
  Session at_once(model(), *cpu, whole);
  const std::vector<float> want = logits(at_once);
  SessionOptions few = options(1);
  few.max_rows = 7;
  Session session(model(), *device_, few);
  // A snapshot of this one waits to be made while the text is evaluated.
  const Request r = request(text(40, 9), 30);
  const SequenceId id = session.add(r);
  session.step();
  const std::vector<float> got = logits(session);
  ASSERT_EQ(got.size(), want.size());
  double largest = 0;
  for (const float x : want) largest = std::max<double>(largest, std::abs(x));
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 0.01 * largest) << i;
  while (session.step()) {
  }
  expect_answer(session.take(id)->tokens, r);
  EXPECT_EQ(session.generate(r).cached_tokens, 32);
}

// The card's queue stops in the middle: slots and snapshots are lost with the pages.
TEST_P(SlotSessionTest, AnswersGoOnAfterAReset) {
  if (card_ == nullptr) GTEST_SKIP() << "the CPU has no resets";
  hangs_ = true;
  open_card(R"([{"what": "mec.queue-hang", "skip": 1500, "count": 1}])");
  Session session(model(), *device_, options(2));
  const Request a = request(text(50, 1), 60), b = request(text(70, 2), 60);
  const SequenceId first = session.add(a), second = session.add(b);
  while (session.step()) {
  }
  expect_answer(session.take(first)->tokens, a);
  expect_answer(session.take(second)->tokens, b);
  EXPECT_GT(card_->amd().generation(), 0);
}

}  // namespace
}  // namespace outboard::engine
