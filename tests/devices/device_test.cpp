// Programs on every device: what they come to is what one thread of the CPU says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <tuple>

#include "formats/quantize.h"
#include "models/models.h"
#include "models/tiny_model.h"
#include "program/cost.h"
#include "support/error.h"
#include "tests/devices/devices_under_test.h"

namespace outboard::devices {
namespace {

CompileOptions default_options() {
  CompileOptions options;
  options.max_tokens = 96;
  options.max_rows = 96;
  options.pages = 16;
  options.page_tokens = 32;
  return options;
}

Ids random_tokens(size_t count, unsigned seed = 7) { return random_ids(count, 260, seed); }

// A model on one of the devices, with its own page tables.
class Runner {
 public:
  Runner(const std::string& device, std::shared_ptr<const formats::Model> model,
         const CompileOptions& options = default_options(),
         const std::function<program::Program(program::Program)>& part = std::identity())
      : device_(device),
        model_(std::move(model)),
        program_(part(models::build_program(*model_))),
        executable_(device_.device().compile(program_, model_, with_slots(options))) {}
  Runner(const std::string& device, const std::string& family)
      : Runner(device, std::make_shared<formats::Model>(models::tiny_model(family))) {}

  // Logits of all tokens, computed in chunks of the given sizes, pages in the given order.
  std::vector<float> logits(const Ids& tokens, const std::vector<size_t>& chunks,
                            const Ids& pages) {
    std::vector<float> all;
    size_t done = 0;
    for (const size_t chunk : chunks) {
      StepRun run{std::span(tokens).subspan(done, chunk), static_cast<int>(done), pages,
                  StepRun::Logits::kAll, nullptr};
      run.slot = slot(2);
      const StepResult result = wait({{&run, 1}, {}});
      all.insert(all.end(), result.logits.begin(), result.logits.end());
      done += chunk;
    }
    return all;
  }

  StepResult wait(const Step& step) { return executable_->wait(executable_->submit(step)); }
  void expect_close(std::span<const float> got, std::span<const float> want) {
    devices::expect_close(got, want, device_.is_simulated());
    EXPECT_EQ(device_.complaints(), "");
  }
  Executable& executable() { return *executable_; }
  const program::Program& program() const { return program_; }
  // -1 where the Program has none.
  int32_t slot(int32_t n) const { return program_.slot_states.empty() ? -1 : n; }

 private:
  CompileOptions with_slots(CompileOptions options) const {
    if (!program_.slot_states.empty()) options.slots = 4;
    return options;
  }

  DeviceUnderTest device_;
  std::shared_ptr<const formats::Model> model_;
  program::Program program_;
  std::unique_ptr<Executable> executable_;
};

// The families without an encoder.
std::vector<std::string> decoders() {
  std::vector<std::string> names = models::supported_architectures();
  std::erase(names, "marian");
  return names;
}

// Each of them on each device that runs it.
std::vector<std::tuple<std::string, std::string>> decoders_of_devices() {
  std::vector<std::tuple<std::string, std::string>> all;
  for (const char* device : {"cpu3", "sim"})
    for (const std::string& family : decoders())
      if (device != std::string("sim") || family != "llama4") all.emplace_back(device, family);
  return all;
}

class EveryFamily : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  const std::string device = std::get<0>(GetParam());
  const std::string family = std::get<1>(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Devices, EveryFamily, ::testing::ValuesIn(decoders_of_devices()),
                         [](const auto& test) {
                           std::string name =
                               std::get<0>(test.param) + "_" + std::get<1>(test.param);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// One at a time, short prompts, long ones; pages in any order; any number of threads.
TEST_P(EveryFamily, ChunksAndPagesDoNotMatter) {
  const Ids tokens = random_tokens(90);
  const auto whole = Runner("cpu", family).logits(tokens, {90}, {0, 1, 2});
  ASSERT_EQ(whole.size(), 90u * 260);
  Runner other(device, family);
  other.expect_close(other.logits(tokens, {90}, {5, 11, 2}), whole);
  other.expect_close(other.logits(tokens, {1, 1, 5, 33, 49, 1}, {9, 0, 15}), whole);
}

TEST_P(EveryFamily, SequencesInOneStepDoNotDisturbOneAnother) {
  Runner runner(device, family);
  const Ids a = random_tokens(40, 1), b = random_tokens(25, 2), c = random_tokens(30, 3);
  const Ids pages_a = {3, 4}, pages_b = {1}, pages_c = {8};
  Runner alone("cpu", family);
  std::vector<float> want;
  for (const Ids& tokens : {a, b, c}) {
    const auto more = alone.logits(tokens, {tokens.size()}, {0, 1});
    want.insert(want.end(), more.begin(), more.end());
  }
  StepRun runs[] = {{a, 0, pages_a, StepRun::Logits::kAll, nullptr},
                    {b, 0, pages_b, StepRun::Logits::kAll, nullptr},
                    {c, 0, pages_c, StepRun::Logits::kAll, nullptr}};
  for (const int32_t i : {0, 1, 2}) runs[i].slot = runner.slot(2 - i);
  runner.expect_close(runner.wait({runs, {}}).logits, want);
}

// The Program without its output matrix: with that, multiplied here, it gives the whole one's
// logits.
TEST_P(EveryFamily, HiddenStatesAreWhatTheOutputMatrixReads) {
  const auto model = std::make_shared<formats::Model>(models::tiny_model(family));
  const Ids tokens = random_tokens(70);
  const auto want = Runner("cpu", family).logits(tokens, {70}, {0, 1, 2});
  Runner states(device, model, default_options(), program::hidden_states);
  const auto rows = states.logits(tokens, {1, 40, 29}, {4, 2, 9});
  const formats::Tensor* output = model->find("output.weight");
  if (output == nullptr) output = &model->get("token_embd.weight");
  ASSERT_EQ(output->type, formats::TensorType::F32);
  const auto* weights = reinterpret_cast<const float*>(output->data.data());
  const auto width = static_cast<size_t>(output->columns());
  const auto vocabulary = static_cast<size_t>(output->rows());
  ASSERT_EQ(rows.size(), tokens.size() * width);
  // What some families do to logits.
  const auto finish = [ops = models::build_program(*model).ops](double logit) {
    for (auto op = std::ranges::find_if(
             ops.end() - 3, ops.end(),
             [](const program::Op& o) { return std::holds_alternative<program::Linear>(o.kind); });
         op != ops.end(); ++op) {
      if (const auto* scale = std::get_if<program::Scale>(&op->kind)) logit *= scale->factor;
      if (const auto* cap = std::get_if<program::Softcap>(&op->kind))
        logit = cap->cap * std::tanh(logit / cap->cap);
    }
    return logit;
  };
  std::vector<float> got;
  for (size_t token = 0; token < tokens.size(); ++token)
    for (size_t row = 0; row < vocabulary; ++row) {
      double sum = 0;
      for (size_t i = 0; i < width; ++i)
        sum += static_cast<double>(rows[token * width + i]) * weights[row * width + i];
      got.push_back(static_cast<float>(finish(sum)));
    }
  states.expect_close(got, want);
}

class EveryDevice : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Devices, EveryDevice, ::testing::Values("cpu3", "sim"),
                         [](const auto& test) { return test.param; });

// Files hold gate, up and down of experts in different types.
TEST_P(EveryDevice, TakesExpertsOfMixedTypes) {
  const formats::Model tiny = models::tiny_model("qwen3moe");
  const auto model = std::make_shared<formats::Model>();
  model->metadata = tiny.metadata;
  model->path = tiny.path;
  for (const formats::Tensor& tensor : tiny.tensors()) {
    formats::Tensor added = tensor;
    if (tensor.name.ends_with("gate_exps.weight")) added.type = formats::TensorType::Q8_0;
    if (tensor.name.ends_with("up_exps.weight")) added.type = formats::TensorType::Q4_1;
    if (tensor.name.ends_with("down_exps.weight")) added.type = formats::TensorType::Q5_0;
    const auto bytes = std::make_shared<std::vector<std::byte>>(
        formats::storage_bytes(added.type, tensor.elements()));
    formats::quantize(added.type,
                      {reinterpret_cast<const float*>(tensor.data.data()),
                       static_cast<size_t>(tensor.elements())},
                      bytes->data());
    added.data = *bytes;
    model->keep_alive(bytes);
    model->add(std::move(added));
  }
  const Ids tokens = random_tokens(90);
  const auto want = Runner("cpu", model).logits(tokens, {90}, {0, 1, 2});
  Runner other(GetParam(), model);
  other.expect_close(other.logits(tokens, {1, 3, 86}, {5, 11, 2}), want);
}

TEST_P(EveryDevice, CopiedPagesContinueAlike) {
  const Ids tokens = random_tokens(50);
  const auto whole = Runner("cpu", "llama").logits(tokens, {50}, {0, 1});
  Runner runner(GetParam(), "llama");
  runner.logits(tokens, {50}, {0, 1});
  const Ids copied = {0, 7};
  const PageCopy copy{1, 7};
  const StepRun run{std::span(tokens).last(5), 45, copied, StepRun::Logits::kAll, nullptr};
  runner.expect_close(runner.wait({{&run, 1}, {&copy, 1}}).logits,
                      std::span(whole).last(5 * kTinyVocabulary));
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
};
Choices choices_of(Executable& executable, const Ids& tokens) {
  const std::vector<Ids> pages = {{0}, {1}, {2}};
  const Sampling greedy;
  Sampling hot;
  hot.temperature = 50;
  hot.random = 0.999F;
  const StepRun runs[] = {{tokens, 0, pages[0], StepRun::Logits::kLast, &greedy},
                          {tokens, 0, pages[1], StepRun::Logits::kLast, &hot},
                          {tokens, 0, pages[2], StepRun::Logits::kLast, nullptr, 4}};
  const StepResult result = executable.wait(executable.submit({runs, {}}));
  return {result.tokens[0], result.tokens[1], {result.best.begin(), result.best.end()}};
}

TEST_P(EveryDevice, PaddingIsNotChosen) {
  const Ids tokens = random_tokens(20);
  // The last 60 rows of the output matrix win by far, or are NaN.
  for (const float factor : {1000.0F, NAN}) {
    const auto model = changed("output.weight", [&](std::span<float> weights) {
      for (float& w : weights.last(60 * 64)) w *= factor;
    });
    program::Program program = models::build_program(*model);
    ASSERT_EQ(program.tokens, 260);
    program.tokens = 200;
    DeviceUnderTest device(GetParam());
    const auto executable = device.device().compile(program, model, default_options());
    const Choices choices = choices_of(*executable, tokens);
    const Ids pages = {3};
    const StepRun run{tokens, 0, pages, StepRun::Logits::kLast, nullptr};
    const StepResult result = executable->wait(executable->submit({{&run, 1}, {}}));
    const auto logits = result.logits.first(200);
    EXPECT_EQ(choices.greedy, std::ranges::max_element(logits) - logits.begin());
    EXPECT_TRUE(choices.drawn >= 0 && choices.drawn < 200) << choices.drawn;
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x));
    EXPECT_EQ(choices.best[0].token, choices.greedy);
    for (const Candidate& candidate : choices.best) {
      ASSERT_TRUE(candidate.token >= 0 && candidate.token < 200);
      EXPECT_NEAR(candidate.log_probability,
                  logits[static_cast<size_t>(candidate.token)] - std::log(sum), 1e-4);
    }
    EXPECT_EQ(device.complaints(), "");
  }
}

TEST_P(EveryDevice, ThereMayBeNothingToChoose) {
  const auto model = changed("output.weight", [](std::span<float> w) { w[77 * 64 + 5] = NAN; });
  Runner runner(GetParam(), model);
  const Choices choices = choices_of(runner.executable(), random_tokens(20));
  EXPECT_EQ(choices.greedy, kNotFinite);
  EXPECT_EQ(choices.drawn, kNotFinite);
  ASSERT_EQ(choices.best.size(), 4u);
  for (const Candidate& candidate : choices.best) EXPECT_EQ(candidate.token, kNotFinite);
}

// Devices that choose themselves hand over logits only where those were asked for.
TEST_P(EveryDevice, OnlyWantedRowsAreGiven) {
  const Ids tokens = random_tokens(20);
  const auto all = Runner("cpu", "llama").logits(tokens, {20}, {0});
  const auto last = std::span(all).last(kTinyVocabulary);
  Runner runner(GetParam(), "llama");
  const Ids pages = {0}, other = {1}, third = {2};
  const Sampling greedy;
  const StepRun runs[] = {{tokens, 0, pages, StepRun::Logits::kNone, nullptr},
                          {tokens, 0, other, StepRun::Logits::kLast, &greedy},
                          {tokens, 0, third, StepRun::Logits::kLast, nullptr}};
  const StepResult result = runner.wait({runs, {}});
  ASSERT_EQ(result.logits.size(), 2 * kTinyVocabulary);
  runner.expect_close(result.logits.first(kTinyVocabulary), last);
  runner.expect_close(result.logits.last(kTinyVocabulary), last);
  ASSERT_EQ(result.tokens.size(), 3u);
  EXPECT_EQ(result.tokens[0], -1);
  EXPECT_EQ(result.tokens[1], std::ranges::max_element(last) - last.begin());
  EXPECT_EQ(result.tokens[2], -1);
}

TEST_P(EveryDevice, StepsThatBreakTheLimitsAreRefused) {
  Runner runner(GetParam(), "llama");
  auto& executable = runner.executable();
  const Ids tokens = random_tokens(97);
  const Ids pages = {0, 1, 2, 3};
  const auto message = [&](const Step& step) {
    try {
      executable.submit(step);
    } catch (const Error& e) {
      return e.message();
    }
    return std::string("no error");
  };
  const auto refused = [&](const StepRun& run, const char* text) {
    EXPECT_THAT(message({{&run, 1}, {}}), ::testing::HasSubstr(text));
  };
  constexpr auto kNone = StepRun::Logits::kNone;
  const auto some = [&](size_t count) { return std::span(tokens).first(count); };
  refused({tokens, 0, pages, kNone, nullptr}, "more than 96 tokens");
  refused({some(33), 0, std::span(pages).first(1), kNone, nullptr}, "33 tokens at position 0");
  refused({some(0), 0, pages, kNone, nullptr}, "a run of 0 tokens");
  refused({some(3), -1, pages, kNone, nullptr}, "at position -1");
  const Ids wrong_page = {16, 0, 0, 0};
  refused({some(3), 0, wrong_page, kNone, nullptr}, "page 16 of 16");
  const Ids wrong_token = {260}, long_ago = {-100};
  refused({wrong_token, 0, pages, kNone, nullptr}, "token 260 outside");
  refused({long_ago, 0, pages, kNone, nullptr}, "token -100 outside");
  const Sampling greedy;
  refused({some(3), 0, pages, kNone, &greedy}, "without logits");
  const StepRun run{some(3), 0, pages, kNone, nullptr};
  const PageCopy copy{0, 16};
  EXPECT_THAT(message({{&run, 1}, {&copy, 1}}), ::testing::HasSubstr("page 0 to 16 of 16"));
  Step encode{{&run, 1}, {}};
  encode.encode = true;
  EXPECT_THAT(message(encode), ::testing::HasSubstr("has no encoder"));
}

// --- the CPU alone ---

// Every op's rows once, the logits among them as they are given.
// The table of Gemma 4's embeddings by layer, and the same Program with it in VRAM.
TEST(HostTables, TakeNoVideoMemory) {
  const auto model = std::make_shared<formats::Model>(models::tiny_model("gemma4"));
  const program::Program program = models::build_program(*model);
  const size_t table = program::host_table_bytes(program);
  ASSERT_EQ(table, model->get("per_layer_token_embd.weight").data.size());
  program::Program plain = program;
  for (program::Op& op : plain.ops)
    if (auto* embed = std::get_if<program::Embed>(&op.kind)) embed->by_host = false;
  EXPECT_EQ(program::host_table_bytes(plain), 0U);

  CompileOptions options = default_options();
  options.max_tokens = options.max_rows = 8;
  const Ids tokens = random_tokens(12), pages{5, 0};
  struct Outcome {
    uint64_t room, used;
    int lookahead;
    std::vector<float> logits;
  };
  const auto outcome_of = [&](const program::Program& p) {
    DeviceUnderTest sim("sim");
    const Device& device = sim.device();
    const uint64_t empty = device.room(nullptr, nullptr), room = device.room(model.get(), &p);
    EXPECT_TRUE(device.has_own_memory());
    Outcome outcome{room, 0, 0, {}};
    const auto executable = sim.device().compile(p, model, options);
    // Weights are there: what is left is left beside them.
    outcome.used = empty - device.room(model.get(), &p);
    outcome.lookahead = executable->lookahead();
    size_t done = 0;
    for (const size_t chunk : {8, 3, 1}) {  // a prompt's kernels, and a token's
      const StepRun run{std::span(tokens).subspan(done, chunk), static_cast<int>(done), pages,
                        StepRun::Logits::kAll, nullptr};
      const StepResult result = executable->wait(executable->submit({{&run, 1}, {}}));
      outcome.logits.insert(outcome.logits.end(), result.logits.begin(), result.logits.end());
      done += chunk;
    }
    EXPECT_EQ(sim.complaints(), "");
    return outcome;
  };
  const Outcome by_host = outcome_of(program), in_vram = outcome_of(plain);
  EXPECT_EQ(by_host.room, in_vram.room + table);
  constexpr uint64_t kRows = 4 << 10, kPage = 4 << 10;  // those of a step, and what pages round up
  EXPECT_LE(by_host.used + table, in_vram.used + kRows + kPage);
  EXPECT_EQ(by_host.lookahead, 1);
  EXPECT_GT(in_vram.lookahead, 1);
  EXPECT_EQ(by_host.logits, in_vram.logits);  // to the bit
}

TEST(Cpu, ALookSeesWhatIsComputed) {
  const Ids tokens = random_tokens(20);
  const auto model = std::make_shared<formats::Model>(models::tiny_model("llama"));
  const program::Program program = models::build_program(*model);
  CompileOptions options = default_options();
  std::vector<float> seen;
  std::vector<int> rows(program.ops.size());
  options.look = [&](size_t op, int row, std::span<const float> values) {
    EXPECT_EQ(row, rows[op]++);
    EXPECT_EQ(values.size(),
              static_cast<size_t>(
                  program.values[static_cast<size_t>(program.ops[op].out)].shape[1].size));
    if (program.ops[op].out == program.logits) seen.assign(values.begin(), values.end());
  };
  Runner runner("cpu3", model, options);
  const Ids pages = {0};
  const StepRun run{tokens, 0, pages, StepRun::Logits::kLast, nullptr};
  const StepResult result = runner.wait({{&run, 1}, {}});
  EXPECT_THAT(seen, ::testing::ElementsAreArray(result.logits));
  for (size_t op = 0; op < program.ops.size(); ++op) {
    // Additions to the residual are done by the matrix before them.
    const bool added = std::holds_alternative<program::Add>(program.ops[op].kind);
    const bool of_logits = program.values[static_cast<size_t>(program.ops[op].out)].shape[0].kind ==
                           program::Dim::kRows;
    EXPECT_EQ(rows[op], added ? 0 : of_logits ? 1 : 20) << op;
  }
}

TEST(Cpu, StepsAllocateNoArena) {
  Runner runner("cpu3", "gpt2");
  const MemoryUse before = runner.executable().memory();
  runner.logits(random_tokens(90), {90}, {0, 1, 2});
  EXPECT_EQ(runner.executable().memory().buffers, before.buffers);
  EXPECT_EQ(before.kv,
            16u * 32 * 2 * 4 * (16 + 16) * 2);  // pages, tokens, layers, heads, dims, halves
}

TEST(Cpu, AContextLargerThanMemoryIsRefusedWithNumbers) {
  CompileOptions options = default_options();
  options.pages = 1 << 30;
  try {
    Runner runner("cpu", std::make_shared<formats::Model>(models::tiny_model("llama")), options);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), ::testing::HasSubstr("this machine has"));
    EXPECT_THAT(e.hint(), ::testing::HasSubstr("--ctx"));
  }
}

}  // namespace
}  // namespace outboard::devices
