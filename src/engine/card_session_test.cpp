// Sessions on the simulated card: what the CPU answers, for few messages, and in spite of a hang.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/tiny_files.h"
#include "grammar/json_schema.h"
#include "hardware/amd/navi31/gc.h"
#include "machine/self_test.h"
#include "machine/sim_device.h"
#include "support/error.h"

namespace outboard::engine {
namespace {

class CardSessionTest : public ::testing::Test {
 protected:
  // Null faults: none.
  void open_card(const char* faults, std::chrono::milliseconds patience,
                 std::function<void(devices::amd::AmdDevice&)> self_test = nullptr) {
    simulator::card::CardOptions card;
    card.vram_bytes = card.bar0_bytes = uint64_t{1} << 30;
    card.strict = faults == nullptr;
    if (faults != nullptr) card.faults = simulator::card::FaultPlan::parse(faults, "test");
    devices::amd::AmdOptions options;
    options.patience = patience;
    options.self_test = std::move(self_test);
    options.boot.wait = std::chrono::duration_cast<std::chrono::milliseconds>(patience);
    card_ = std::make_unique<machine::SimDevice>(card, options);
  }

  Request request(const std::string& prompt, int n) const {
    Request r;
    r.prompt = model_->tokenizer().encode(prompt, true, false);
    r.max_tokens = n;
    r.temperature = 0;
    r.ignore_end_of_text = true;
    return r;
  }
  static SessionOptions options(int sequences) {
    SessionOptions o;
    o.context = 256;
    o.max_sequences = sequences;
    o.max_step_tokens = 48;
    return o;
  }
  std::vector<int32_t> answer(devices::Device& device, Request r) {
    Session session(model_, device, options(1));
    return session.generate(std::move(r)).tokens;
  }

  std::shared_ptr<const Model> model_ = Model::load(TinyFile("llama").path());
  std::unique_ptr<devices::Device> cpu_ = devices::open_cpu(0);
  std::unique_ptr<machine::SimDevice> card_;
};

constexpr std::chrono::hours kNoHurry(1);

TEST_F(CardSessionTest, AnswersLikeTheCpu) {
  open_card(nullptr, kNoHurry);
  const Request greedy = request("the thing in the inn", 41);
  EXPECT_EQ(answer(*card_, greedy), answer(*cpu_, greedy));
  // Penalty and draws too, though tokens are queued before they are known.
  Request drawn = request("an inn on the rain", 41);
  drawn.temperature = 0.7F;
  drawn.top_k = 30;
  drawn.top_p = 0.9F;
  drawn.repeat_penalty = 1.3F;
  drawn.repeat_last = 5;
  drawn.seed = 11;
  // Logits agree to three digits or so: a draw may fall the other way now and then, and all that
  // follows with it. Most of an answer stands for the whole.
  const std::vector<int32_t> want = answer(*cpu_, drawn), got = answer(*card_, drawn);
  const auto differs = std::ranges::mismatch(want, got).in1 - want.begin();
  EXPECT_GE(differs, 20);
  EXPECT_THAT(card_->shut_down(), ::testing::IsEmpty());
}

TEST_F(CardSessionTest, AnswersUnderAGrammarLikeTheCpu) {
  open_card(nullptr, kNoHurry);
  Request greedy = request("the thing in the inn", 60);
  greedy.grammar = grammar::compile_schema_text(R"({"type": "array", "minItems": 3, "maxItems": 4,
    "items": {"enum": ["rain", "inn", 12, null]}})")
                       .grammar;
  const std::vector<int32_t> want = answer(*cpu_, greedy);
  EXPECT_EQ(answer(*card_, greedy), want);
  const std::string text = model_->tokenizer().decode(want);
  EXPECT_TRUE(text.starts_with('[') && text.ends_with(']')) << text;
  // A free one beside it.
  Request drawn = greedy, free = request("an inn on the rain", 12);
  drawn.temperature = 1;
  drawn.seed = 5;
  {
    Session together(model_, *card_, options(2));
    const SequenceId first = together.add(drawn), second = together.add(free);
    while (together.step()) {
    }
    EXPECT_EQ(together.take(first)->tokens, answer(*cpu_, drawn));
    EXPECT_EQ(together.take(second)->tokens, answer(*cpu_, free));
  }
  EXPECT_THAT(card_->shut_down(), ::testing::IsEmpty());
}

// Chosen by the host from rows of logits that the card sends, beside one that the card chooses.
TEST_F(CardSessionTest, TheHostChoosesWhereTheCardCanNot) {
  open_card(nullptr, kNoHurry);
  Request told = request("the thing in the inn", 12), free = request("an inn on the rain", 12);
  told.logprobs = 2;
  told.presence_penalty = 0.5F;
  Session on_cpu(model_, *cpu_, options(1));
  const Completion want = on_cpu.generate(told);
  {
    Session together(model_, *card_, options(2));
    const SequenceId first = together.add(free), second = together.add(told);
    while (together.step()) {
    }
    EXPECT_EQ(together.take(first)->tokens, answer(*cpu_, free));
    const auto got = together.take(second);
    EXPECT_EQ(got->tokens, want.tokens);
    ASSERT_EQ(got->logprobs.size(), want.logprobs.size());
    for (size_t i = 0; i < want.logprobs.size(); ++i) {
      EXPECT_EQ(got->logprobs[i].token, want.logprobs[i].token);
      EXPECT_NEAR(got->logprobs[i].log_probability, want.logprobs[i].log_probability, 0.02);
      EXPECT_EQ(got->logprobs[i].top.size(), 2u);
    }
  }
  EXPECT_THAT(card_->shut_down(), ::testing::IsEmpty());
}

TEST_F(CardSessionTest, EightTokensCostOneMessage) {
  open_card(nullptr, kNoHurry);
  Session session(model_, *card_, options(1));
  session.generate(request("the", 9));  // streams are recorded
  const auto before = card_->card().counters();
  const Completion c = session.generate(request("in", 33));
  const auto after = card_->card().counters();
  EXPECT_EQ(c.tokens.size(), 33U);
  // Two prompt tokens, then 32 more in eights.
  EXPECT_EQ(after.doorbells - before.doorbells, 5U);
  for (int bar = 0; bar < 6; ++bar) EXPECT_EQ(after.mmio_reads[bar], before.mmio_reads[bar]) << bar;
  EXPECT_EQ(after.mmio_writes[0] + after.mmio_writes[5],
            before.mmio_writes[0] + before.mmio_writes[5]);
  EXPECT_EQ(after.config_reads, before.config_reads);
}

TEST_F(CardSessionTest, ManySequencesAtOnce) {
  open_card(nullptr, kNoHurry);
  Session together(model_, *card_, options(4));
  std::vector<SequenceId> ids;
  std::vector<std::vector<int32_t>> want;
  for (const char* prompt :
       {"the thing", "in", "an inn on the rain in the", "er", "on the other"}) {
    const Request r = request(prompt, 12 + static_cast<int>(ids.size()));
    want.push_back(answer(*cpu_, r));
    ids.push_back(together.add(r));
  }
  while (together.step()) {
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto completion = together.take(ids[i]);
    ASSERT_TRUE(completion);
    EXPECT_EQ(completion->tokens, want[i]) << i;
  }
}

TEST_F(CardSessionTest, StopsAtTheEnd) {
  open_card(nullptr, kNoHurry);
  // What the model says third becomes a stop string: the steps queued behind are for nothing.
  const Request plain = request("the thing in the inn", 30);
  const std::vector<int32_t> tokens = answer(*cpu_, plain);
  Request stopped = plain;
  stopped.stop = {model_->tokenizer().piece(tokens[2])};
  Session on_card(model_, *card_, options(1)), on_cpu(model_, *cpu_, options(1));
  const Completion want = on_cpu.generate(stopped), got = on_card.generate(stopped);
  EXPECT_EQ(got.text, want.text);
  EXPECT_EQ(got.finish, want.finish);
  // The next answer begins with a clean slate.
  EXPECT_EQ(on_card.generate(plain).tokens, tokens);
}

// The compute queue stops in the middle of an answer: one reset, and the answer goes on, but not
// from a card that is not tested, or fails its test.
TEST_F(CardSessionTest, GoesOnAfterAHang) {
  int tests = 0;
  open_card(R"([{"what": "mec.queue-hang", "skip": 2500, "count": 1}])",
            std::chrono::milliseconds(1000), [&](devices::amd::AmdDevice& device) {
              machine::test_products(device);
              ++tests;
            });
  EXPECT_EQ(tests, 1);
  const Request r = request("the thing in the inn", 60);
  const uint64_t resets = card_->card().counters().resets;
  EXPECT_EQ(answer(*card_, r), answer(*cpu_, r));
  EXPECT_GT(card_->amd().generation(), 0);
  EXPECT_GE(card_->card().counters().resets, resets);
  EXPECT_EQ(tests, 2);
}

// Every row is told once, and right.
TEST_F(CardSessionTest, ATextIsEvaluatedAcrossAHang) {
  open_card(R"([{"what": "mec.queue-hang", "skip": 600, "count": 1}])",
            std::chrono::milliseconds(1000));
  const auto tokens = request("the thing in the inn, the rain in the den", 1).prompt;
  SessionOptions few = options(1);
  few.max_rows = 7;
  const auto logits = [&](devices::Device& device) {
    Session session(model_, device, few);
    std::vector<float> all;
    for (int round = 0; round < 3; ++round) {
      all.clear();
      session.evaluate(tokens, [&](size_t first, std::span<const float> rows) {
        EXPECT_EQ(first * static_cast<size_t>(model_->program().vocabulary), all.size());
        all.insert(all.end(), rows.begin(), rows.end());
      });
    }
    return all;
  };
  const std::vector<float> want = logits(*cpu_), got = logits(*card_);
  EXPECT_GT(card_->amd().generation(), 0);
  EXPECT_THAT(got, ::testing::Pointwise(::testing::FloatNear(0.05F), want));
}

TEST_F(CardSessionTest, NothingIsAnsweredByACardThatFailsItsTest) {
  int tests = 0;
  open_card(R"([{"what": "mec.queue-hang", "skip": 2500, "count": 1}])",
            std::chrono::milliseconds(1000), [&](devices::amd::AmdDevice&) {
              if (++tests > 1) throw Error("wrong numbers");
            });
  try {
    answer(*card_, request("the thing in the inn", 60));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "wrong numbers");
  }
}

TEST_F(CardSessionTest, GivesUpOnACardThatFailsAgain) {
  open_card(R"([{"what": "mec.queue-hang", "skip": 2500}])", std::chrono::milliseconds(500));
  EXPECT_THROW(answer(*card_, request("the thing in the inn", 60)), Error);
}

// A copy engine that polls its write pointer besides hearing doorbells: a late one would move it
// back, and it would run old packets again. It is found before such a card answers anything,
// however late doorbells are.
TEST(SelfTest, ACopyEngineThatPollsIsNotBelieved) {
  for (const char* faults : {"[]", R"([{"what": "doorbell.late"}])",
                             R"([{"what": "doorbell.late", "milliseconds": 250}])"}) {
    simulator::card::CardOptions card;
    card.vram_bytes = card.bar0_bytes = uint64_t{1} << 30;
    card.strict = false;
    card.faults = simulator::card::FaultPlan::parse(faults, "test");
    devices::amd::AmdOptions options;
    options.patience = std::chrono::seconds(5);
    machine::SimDevice device(card, options);
    device.amd().card().test_doorbells();
    using Control = hardware::amd::navi31::gc::SDMA0_QUEUE0_RB_CNTL;
    uint32_t control = 0;
    device.card().bar_read(5, bar_offset(hardware::RegisterAddress{Control::kAddress}),
                           std::as_writable_bytes(std::span(&control, 1)));
    control = Control::F32_WPTR_POLL_ENABLE.put(control, 1);
    device.card().bar_write(5, bar_offset(hardware::RegisterAddress{Control::kAddress}),
                            std::as_bytes(std::span(&control, 1)));
    try {
      machine::self_test(device.amd());
      FAIL() << faults;
    } catch (const Error& e) {
      EXPECT_THAT(e.message(), ::testing::HasSubstr("no doorbell had told of")) << faults;
    }
  }
}

}  // namespace
}  // namespace outboard::engine
