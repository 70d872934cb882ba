// Programs with slot states on every device: a sequence's slot goes with it through steps of any
// size, is kept and gone on from, and belongs to nobody else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "models/tiny_slot_model.h"
#include "program/builder.h"
#include "support/error.h"
#include "tests/devices/devices_under_test.h"

namespace outboard::devices {
namespace {

constexpr int kSlots = 8;

CompileOptions slot_options() {
  CompileOptions options;
  options.max_tokens = 96;
  options.max_rows = 96;
  options.pages = 16;
  options.page_tokens = 32;
  options.slots = kSlots;
  return options;
}

std::shared_ptr<const formats::Model> slot_model() {
  return std::make_shared<formats::Model>(models::tiny_slot_model());
}

class Runner {
 public:
  explicit Runner(const std::string& device)
      : Runner(device, models::slot_program(models::tiny_slot_model())) {}
  Runner(const std::string& device, program::Program program)
      : device_(device),
        executable_(device_.device().compile(std::move(program), slot_model(), slot_options())) {}

  // Logits of tokens `done` to the end, in chunks.
  std::vector<float> logits(const Ids& tokens, const std::vector<size_t>& chunks, const Ids& pages,
                            int32_t slot, size_t done = 0) {
    std::vector<float> all;
    for (const size_t chunk : chunks) {
      const StepRun run = run_of(tokens, done, chunk, pages, slot);
      const StepResult result = wait({{&run, 1}, {}});
      all.insert(all.end(), result.logits.begin(), result.logits.end());
      done += chunk;
    }
    return all;
  }
  static StepRun run_of(const Ids& tokens, size_t first, size_t count, const Ids& pages,
                        int32_t slot) {
    StepRun run{std::span(tokens).subspan(first, count), static_cast<int>(first), pages,
                StepRun::Logits::kAll, nullptr};
    run.slot = slot;
    return run;
  }
  StepResult wait(const Step& step) { return executable_->wait(executable_->submit(step)); }
  void expect_close(std::span<const float> got, std::span<const float> want) {
    devices::expect_close(got, want, device_.is_simulated());
    EXPECT_EQ(device_.complaints(), "");
  }
  std::string complaints() const { return device_.complaints(); }
  Executable& executable() { return *executable_; }

 private:
  DeviceUnderTest device_;
  std::unique_ptr<Executable> executable_;
};

Ids tokens_of(size_t count, unsigned seed) {
  return random_ids(count, static_cast<int32_t>(kTinyVocabulary), seed);
}

class EverySlotDevice : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Devices, EverySlotDevice, ::testing::Values("cpu3", "sim"),
                         [](const auto& test) { return test.param; });

// Embedding, convolution, output matrix: what that comes to, in double.
std::vector<float> plain_convolution(const formats::Model& model, const Ids& tokens) {
  const auto values = [&](const char* name) {
    return reinterpret_cast<const float*>(model.get(name).data.data());
  };
  const float* table = values("token_embd.weight");
  const float* weight = values("conv_b.weight");
  const float* output = values("output.weight");
  constexpr size_t kWidth = 64, kTaps = 3;
  std::vector<float> logits;
  for (size_t t = 0; t < tokens.size(); ++t) {
    std::vector<double> row(kWidth, 0.0);
    for (size_t tap = 0; tap < kTaps; ++tap) {
      if (t + tap < kTaps - 1) continue;  // before the beginning
      const auto id = static_cast<size_t>(tokens[t + tap - (kTaps - 1)]);
      for (size_t c = 0; c < kWidth; ++c)
        row[c] += static_cast<double>(weight[c * kTaps + tap]) * table[id * kWidth + c];
    }
    for (size_t r = 0; r < kTinyVocabulary; ++r) {
      double sum = 0;
      for (size_t c = 0; c < kWidth; ++c) sum += row[c] * output[r * kWidth + c];
      logits.push_back(static_cast<float>(sum));
    }
  }
  return logits;
}

// Also a Program without any KV state.
TEST_P(EverySlotDevice, ConvolvesAsDefined) {
  const auto model = slot_model();
  program::Builder b(*model, "convolution");
  const auto x = b.op("embedding", program::Embed{b.tokens(), b.weight("token_embd.weight")});
  const auto y = b.op(
      "conv", program::SsmConv{x, b.weight("conv_b.weight"), program::kNone, b.slot_state(2 * 64)});
  const auto rows = b.op("rows", program::SelectRows{y});
  Runner runner(
      GetParam(),
      b.finish(b.op("logits", program::Linear{rows, b.weight("output.weight"), program::kNone}),
               512));
  const Ids tokens = tokens_of(90, 3);
  const std::vector<float> want = plain_convolution(*model, tokens);
  runner.expect_close(runner.logits(tokens, {90}, {0, 1, 2}, 0), want);
  // Runs shorter than what is kept, then long ones; in a slot that was used before.
  runner.expect_close(runner.logits(tokens, {1, 1, 1, 2, 33, 51, 1}, {0, 1, 2}, 0), want);
}

TEST_P(EverySlotDevice, ChunksAndSlotsDoNotMatter) {
  const Ids tokens = tokens_of(90, 7);
  const auto whole = Runner("cpu").logits(tokens, {90}, {0, 1, 2}, 0);
  Runner other(GetParam());
  other.expect_close(other.logits(tokens, {90}, {5, 11, 2}, 7), whole);
  other.expect_close(other.logits(tokens, {1, 1, 5, 33, 49, 1}, {9, 0, 15}, 7), whole);
}

TEST_P(EverySlotDevice, SequencesInOneStepDoNotDisturbOneAnother) {
  Runner runner(GetParam()), alone("cpu");
  const std::vector<Ids> texts = {tokens_of(34, 1), tokens_of(19, 2), tokens_of(24, 3)};
  const std::vector<Ids> pages = {{3, 4}, {1}, {8}};
  const int32_t slots[] = {6, 0, 3};
  // Prompts of different lengths in one step, then a token of each, twice, in another order.
  std::vector<size_t> done(3);
  const auto step = [&](const std::vector<size_t>& order, bool prompts) {
    std::vector<StepRun> runs;
    std::vector<float> want;
    for (const size_t i : order) {
      const size_t prompt = texts[i].size() - 2;
      const size_t count = prompts ? prompt : 1;
      runs.push_back(Runner::run_of(texts[i], done[i], count, pages[i], slots[i]));
      const auto all = alone.logits(texts[i], {texts[i].size()}, {0, 1}, 0);
      const auto part = std::span(all).subspan(done[i] * kTinyVocabulary, count * kTinyVocabulary);
      want.insert(want.end(), part.begin(), part.end());
      done[i] += count;
    }
    runner.expect_close(runner.wait({runs, {}}).logits, want);
  };
  step({0, 1, 2}, true);
  step({2, 0, 1}, false);
  step({1, 2, 0}, false);
}

// A copy of a slot goes on where the sequence was, whatever became of that since.
TEST_P(EverySlotDevice, CopiesAreGoneOnFrom) {
  const Ids tokens = tokens_of(50, 4), others = tokens_of(50, 5);
  const auto whole = Runner("cpu").logits(tokens, {50}, {0, 1}, 0);
  Runner runner(GetParam());
  runner.logits(tokens, {32}, {0}, 2);
  // Kept in the step that goes on with other tokens, before they are computed.
  const SlotCopy keep{2, 5}, restore{5, 4};
  const Ids other_pages = {0, 7}, pages = {0, 1};
  const StepRun on = Runner::run_of(others, 32, 18, other_pages, 2);
  Step step{{&on, 1}, {}};
  step.slot_copies = {&keep, 1};
  runner.wait(step);
  const StepRun again = Runner::run_of(tokens, 32, 18, pages, 4);
  Step restored{{&again, 1}, {}};
  restored.slot_copies = {&restore, 1};
  runner.expect_close(runner.wait(restored).logits, std::span(whole).last(18 * kTinyVocabulary));
}

// Steps that feed on what the ones before choose.
TEST_P(EverySlotDevice, QueuedStepsCarryTheirSlots) {
  Runner runner(GetParam()), reference("cpu");
  const std::vector<Ids> prompts = {tokens_of(20, 8), tokens_of(7, 9)};
  const std::vector<Ids> pages = {{0, 1}, {2, 3}};
  constexpr size_t kSteps = 8;
  const Sampling greedy;
  // Token by token, as the CPU computes it.
  std::vector<Ids> want;
  for (size_t i = 0; i < 2; ++i) {
    Ids text = prompts[i];
    for (size_t n = 0; n < kSteps; ++n) {
      const auto all = reference.logits(text, {text.size()}, pages[i], static_cast<int32_t>(i));
      const auto last = std::span(all).last(kTinyVocabulary);
      text.push_back(static_cast<int32_t>(std::ranges::max_element(last) - last.begin()));
    }
    want.emplace_back(text.begin() + static_cast<ptrdiff_t>(prompts[i].size()), text.end());
  }
  const size_t ahead = std::min(static_cast<size_t>(runner.executable().lookahead()), kSteps);
  std::vector<Ids> got(2);
  std::vector<Ids> texts = prompts;
  while (got[0].size() < kSteps) {
    const size_t count = std::min(ahead, kSteps - got[0].size());
    std::vector<Ticket> tickets;
    const Ids before = {chosen_before(1)};
    for (size_t n = 0; n < count; ++n) {
      std::vector<StepRun> runs;
      for (size_t i = 0; i < 2; ++i) {
        const size_t first = got[i].empty() && n == 0 ? 0 : texts[i].size() - 1 + n;
        StepRun run{n == 0 ? std::span<const int32_t>(texts[i]).subspan(first)
                           : std::span<const int32_t>(before),
                    static_cast<int>(first), pages[i], StepRun::Logits::kLast, &greedy};
        run.slot = static_cast<int32_t>(i) + 3;
        runs.push_back(run);
      }
      tickets.push_back(runner.executable().submit({runs, {}, n + 1 < count}));
    }
    for (const Ticket ticket : tickets) {
      const StepResult result = runner.executable().wait(ticket);
      for (size_t i = 0; i < 2; ++i) {
        got[i].push_back(result.tokens[i]);
        texts[i].push_back(result.tokens[i]);
      }
    }
  }
  EXPECT_THAT(got, ::testing::ElementsAreArray(want));
  EXPECT_EQ(runner.complaints(), "");
}

TEST_P(EverySlotDevice, StepsThatBreakTheRulesAreRefused) {
  Runner runner(GetParam());
  const Ids tokens = tokens_of(3, 1), pages = {0}, others = {1};
  const auto message = [&](const Step& step) {
    try {
      runner.executable().submit(step);
    } catch (const Error& e) {
      return e.message();
    }
    return std::string("no error");
  };
  for (const int32_t slot : {-1, kSlots}) {
    const StepRun run = Runner::run_of(tokens, 0, 3, pages, slot);
    EXPECT_THAT(message({{&run, 1}, {}}), ::testing::HasSubstr(fmt::format("slot {} of 8", slot)));
  }
  const StepRun two[] = {Runner::run_of(tokens, 0, 3, pages, 4),
                         Runner::run_of(tokens, 0, 3, others, 4)};
  EXPECT_THAT(message({two, {}}), ::testing::HasSubstr("slot 4 is wanted twice"));
  const SlotCopy copy{0, kSlots};
  Step copies{{two, 1}, {}};
  copies.slot_copies = {&copy, 1};
  EXPECT_THAT(message(copies), ::testing::HasSubstr("copies slot 0 to 8 of 8"));
}

}  // namespace
}  // namespace outboard::devices
