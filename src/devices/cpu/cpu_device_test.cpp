#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>

#include "devices/device.h"
#include "models/models.h"
#include "models/tiny_model.h"
#include "support/error.h"

namespace outboard::devices {
namespace {

using StepRun = Run;  // Run is a member function inside a test

// A tiny model on the CPU with its own page tables.
class Runner {
 public:
  Runner(const std::string& architecture, int threads, CompileOptions options = default_options())
      : options_(options),
        device_(open_cpu(threads)),
        model_(std::make_shared<formats::Model>(models::tiny_model(architecture))),
        executable_(device_->compile(models::build_program(*model_), model_, options)) {}

  static CompileOptions default_options() {
    CompileOptions options;
    options.max_tokens = 96;
    options.max_rows = 96;
    options.pages = 16;
    options.page_tokens = 32;
    return options;
  }

  // Logits of all tokens, computed in chunks of the given sizes, pages in the given order.
  std::vector<float> logits(const std::vector<int32_t>& tokens, const std::vector<size_t>& chunks,
                            const std::vector<int32_t>& pages) {
    std::vector<float> all;
    size_t done = 0;
    for (const size_t chunk : chunks) {
      const StepRun run{std::span(tokens).subspan(done, chunk), static_cast<int>(done), pages,
                        StepRun::Logits::kAll, nullptr};
      const StepResult result = executable_->wait(executable_->submit({{&run, 1}, {}}));
      all.insert(all.end(), result.logits.begin(), result.logits.end());
      done += chunk;
    }
    return all;
  }

  Executable& executable() { return *executable_; }

 private:
  CompileOptions options_;
  std::unique_ptr<Device> device_;
  std::shared_ptr<formats::Model> model_;
  std::unique_ptr<Executable> executable_;
};

std::vector<int32_t> random_tokens(size_t count, unsigned seed = 7) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 260);
  return tokens;
}

void expect_close(const std::vector<float>& a, const std::vector<float>& b, float tolerance) {
  ASSERT_EQ(a.size(), b.size());
  float worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  EXPECT_LE(worst, tolerance);
}

// The families without an encoder.
std::vector<std::string> decoders() {
  std::vector<std::string> names = models::supported_architectures();
  std::erase(names, "marian");
  return names;
}

class EveryFamily : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Cpu, EveryFamily, ::testing::ValuesIn(decoders()));

TEST_P(EveryFamily, ChunksPagesAndThreadsDoNotMatter) {
  const auto tokens = random_tokens(90);
  Runner one(GetParam(), 1);
  const auto whole = one.logits(tokens, {90}, {0, 1, 2});
  ASSERT_EQ(whole.size(), 90u * 260);
  Runner three(GetParam(), 3);
  expect_close(three.logits(tokens, {90}, {5, 11, 2}), whole, 1e-4F);
  expect_close(three.logits(tokens, {1, 1, 5, 33, 49, 1}, {9, 0, 15}), whole, 1e-3F);
}

TEST_P(EveryFamily, SequencesInOneStepDoNotDisturbOneAnother) {
  Runner runner(GetParam(), 2);
  const auto a = random_tokens(40, 1);
  const auto b = random_tokens(25, 2);
  const auto c = random_tokens(30, 3);
  const std::vector<int32_t> pages_a = {3, 4};
  const std::vector<int32_t> pages_b = {1};
  const std::vector<int32_t> pages_c = {8};
  auto want = runner.logits(a, {40}, pages_a);
  for (const auto& [tokens, pages] : {std::pair(b, pages_b), {c, pages_c}}) {
    const auto more = runner.logits(tokens, {tokens.size()}, pages);
    want.insert(want.end(), more.begin(), more.end());
  }
  const StepRun runs[] = {{a, 0, pages_a, StepRun::Logits::kAll, nullptr},
                          {b, 0, pages_b, StepRun::Logits::kAll, nullptr},
                          {c, 0, pages_c, StepRun::Logits::kAll, nullptr}};
  auto& executable = runner.executable();
  const StepResult result = executable.wait(executable.submit({runs, {}}));
  expect_close({result.logits.begin(), result.logits.end()}, want, 1e-3F);
}

TEST(CpuDevice, CopiedPagesContinueAlike) {
  Runner runner("llama", 2);
  const auto tokens = random_tokens(50);
  const std::vector<int32_t> pages = {0, 1};
  const auto whole = runner.logits(tokens, {50}, pages);
  const std::vector<int32_t> copied = {0, 7};
  const PageCopy copy{1, 7};
  const StepRun run{std::span(tokens).last(5), 45, copied, StepRun::Logits::kAll, nullptr};
  auto& executable = runner.executable();
  const StepResult result = executable.wait(executable.submit({{&run, 1}, {&copy, 1}}));
  expect_close({result.logits.begin(), result.logits.end()}, {whole.end() - 5 * 260, whole.end()},
               1e-3F);
}

// A tiny model with some numbers of one tensor changed.
std::shared_ptr<formats::Model> changed(const std::string& name,
                                        const std::function<void(std::span<float>)>& change) {
  const auto from = std::make_shared<formats::Model>(models::tiny_model("llama"));
  auto made = std::make_shared<formats::Model>();
  made->metadata = from->metadata;
  made->path = from->path;
  made->keep_alive(from);
  for (formats::Tensor tensor : from->tensors()) {
    if (tensor.name == name) {
      const auto values =
          std::make_shared<std::vector<float>>(static_cast<size_t>(tensor.elements()));
      std::memcpy(values->data(), tensor.data.data(), tensor.data.size());
      change(*values);
      tensor.data = std::as_bytes(std::span(*values));
      made->keep_alive(values);
    }
    made->add(tensor);
  }
  return made;
}

struct Choices {
  int32_t greedy, drawn;
  std::vector<Candidate> best;
  std::vector<float> logits;
};
Choices choices_of(const std::shared_ptr<formats::Model>& model, const program::Program& program,
                   const std::vector<int32_t>& tokens) {
  const auto device = open_cpu(2);
  const auto executable = device->compile(program, model, Runner::default_options());
  const std::vector<std::vector<int32_t>> pages = {{0}, {1}, {2}, {3}};
  const Sampling greedy;
  Sampling hot;
  hot.temperature = 50;
  hot.random = 0.999F;
  StepRun runs[] = {{tokens, 0, pages[0], StepRun::Logits::kLast, &greedy},
                    {tokens, 0, pages[1], StepRun::Logits::kLast, &hot},
                    {tokens, 0, pages[2], StepRun::Logits::kLast, nullptr, 4}};
  const StepResult result = executable->wait(executable->submit({runs, {}}));
  return {result.tokens[0],
          result.tokens[1],
          {result.best.begin(), result.best.end()},
          {result.logits.begin(), result.logits.begin() + program.vocabulary}};
}

TEST(CpuDevice, PaddingIsNotChosen) {
  const auto tokens = random_tokens(20);
  // The last 60 rows of the output matrix win by far, or are NaN.
  for (const float factor : {1000.0F, NAN}) {
    const auto model = changed("output.weight", [&](std::span<float> weights) {
      for (float& w : weights.last(60 * 64)) w *= factor;
    });
    program::Program program = models::build_program(*model);
    ASSERT_EQ(program.tokens, 260);
    program.tokens = 200;
    const Choices choices = choices_of(model, program, tokens);
    const auto end = choices.logits.begin() + 200;
    EXPECT_EQ(choices.greedy,
              std::max_element(choices.logits.begin(), end) - choices.logits.begin());
    EXPECT_TRUE(choices.drawn >= 0 && choices.drawn < 200) << choices.drawn;
    double sum = 0;
    for (auto x = choices.logits.begin(); x != end; ++x) sum += std::exp(static_cast<double>(*x));
    EXPECT_EQ(choices.best[0].token, choices.greedy);
    for (const Candidate& candidate : choices.best) {
      ASSERT_TRUE(candidate.token >= 0 && candidate.token < 200);
      EXPECT_NEAR(candidate.log_probability,
                  choices.logits[static_cast<size_t>(candidate.token)] - std::log(sum), 1e-4);
    }
  }
}

TEST(CpuDevice, ThereMayBeNothingToChoose) {
  const auto tokens = random_tokens(20);
  const auto model = changed("output.weight", [](std::span<float> w) { w[77 * 64 + 5] = NAN; });
  const Choices choices = choices_of(model, models::build_program(*model), tokens);
  EXPECT_EQ(choices.greedy, kNotFinite);
  EXPECT_EQ(choices.drawn, kNotFinite);
  ASSERT_EQ(choices.best.size(), 4u);
  for (const Candidate& candidate : choices.best) EXPECT_EQ(candidate.token, kNotFinite);
}

// Every op's rows once, the logits among them as they are given.
TEST(CpuDevice, ALookSeesWhatIsComputed) {
  const auto tokens = random_tokens(20);
  const auto model = std::make_shared<formats::Model>(models::tiny_model("llama"));
  const program::Program program = models::build_program(*model);
  CompileOptions options = Runner::default_options();
  std::vector<float> seen;
  std::vector<int> rows(program.ops.size());
  options.look = [&](size_t op, int row, std::span<const float> values) {
    EXPECT_EQ(row, rows[op]++);
    EXPECT_EQ(values.size(),
              static_cast<size_t>(
                  program.values[static_cast<size_t>(program.ops[op].out)].shape[1].size));
    if (program.ops[op].out == program.logits) seen.assign(values.begin(), values.end());
  };
  const auto device = open_cpu(2);
  const auto executable = device->compile(program, model, options);
  const std::vector<int32_t> pages = {0};
  const StepRun run{tokens, 0, pages, StepRun::Logits::kLast, nullptr};
  const StepResult result = executable->wait(executable->submit({{&run, 1}, {}}));
  EXPECT_THAT(seen, testing::ElementsAreArray(result.logits));
  for (size_t op = 0; op < program.ops.size(); ++op) {
    // Additions to the residual are done by the matrix before them.
    const bool added = std::holds_alternative<program::Add>(program.ops[op].kind);
    const bool of_logits = program.values[static_cast<size_t>(program.ops[op].out)].shape[0].kind ==
                           program::Dim::kRows;
    EXPECT_EQ(rows[op], added ? 0 : of_logits ? 1 : 20) << op;
  }
}

TEST(CpuDevice, OnlyWantedRowsAreGiven) {
  Runner runner("llama", 2);
  const auto tokens = random_tokens(20);
  const std::vector<int32_t> pages = {0};
  const std::vector<int32_t> other = {1};
  const auto all = runner.logits(tokens, {20}, pages);
  const Sampling greedy;
  const StepRun runs[] = {{tokens, 0, pages, StepRun::Logits::kNone, nullptr},
                          {tokens, 0, other, StepRun::Logits::kLast, &greedy}};
  auto& executable = runner.executable();
  const StepResult result = executable.wait(executable.submit({runs, {}}));
  ASSERT_EQ(result.logits.size(), 260u);
  expect_close({result.logits.begin(), result.logits.end()}, {all.end() - 260, all.end()}, 1e-3F);
  const auto best = std::max_element(all.end() - 260, all.end()) - (all.end() - 260);
  ASSERT_EQ(result.tokens.size(), 2u);
  EXPECT_EQ(result.tokens[0], -1);
  EXPECT_EQ(result.tokens[1], best);
}

TEST(CpuDevice, StepsAllocateNoArena) {
  Runner runner("gpt2", 2);
  const MemoryUse before = runner.executable().memory();
  const std::vector<int32_t> pages = {0, 1, 2};
  runner.logits(random_tokens(90), {90}, pages);
  EXPECT_EQ(runner.executable().memory().buffers, before.buffers);
  EXPECT_EQ(before.kv,
            16u * 32 * 2 * 4 * (16 + 16) * 2);  // pages, tokens, layers, heads, dims, halves
}

TEST(CpuDevice, StepsThatBreakTheLimitsAreRefused) {
  Runner runner("llama", 1);
  auto& executable = runner.executable();
  const auto tokens = random_tokens(97);
  const std::vector<int32_t> pages = {0, 1, 2, 3};
  const std::vector<int32_t> wrong_page = {16, 0, 0, 0};
  const std::vector<int32_t> wrong_token = {260};
  const std::vector<int32_t> negative = {-1};
  const auto refused = [&](const StepRun& run) {
    EXPECT_THROW(executable.submit({{&run, 1}, {}}), Error);
  };
  refused({tokens, 0, pages, StepRun::Logits::kNone, nullptr});
  refused(
      {std::span(tokens).first(33), 0, std::span(pages).first(1), StepRun::Logits::kNone, nullptr});
  refused({std::span(tokens).first(0), 0, pages, StepRun::Logits::kNone, nullptr});
  refused({std::span(tokens).first(3), -1, pages, StepRun::Logits::kNone, nullptr});
  refused({std::span(tokens).first(3), 0, wrong_page, StepRun::Logits::kNone, nullptr});
  refused({wrong_token, 0, pages, StepRun::Logits::kNone, nullptr});
  refused({negative, 0, pages, StepRun::Logits::kNone, nullptr});
  const Sampling greedy;
  refused({std::span(tokens).first(3), 0, pages, StepRun::Logits::kNone, &greedy});
  const PageCopy copy{0, 16};
  const StepRun run{std::span(tokens).first(3), 0, pages, StepRun::Logits::kNone, nullptr};
  EXPECT_THROW(executable.submit({{&run, 1}, {&copy, 1}}), Error);
}

TEST(CpuDevice, AContextLargerThanMemoryIsRefusedWithNumbers) {
  CompileOptions options = Runner::default_options();
  options.pages = 1 << 30;
  try {
    Runner runner("llama", 1, options);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), ::testing::HasSubstr("this machine has"));
    EXPECT_THAT(e.hint(), ::testing::HasSubstr("--ctx"));
  }
}

}  // namespace
}  // namespace outboard::devices
