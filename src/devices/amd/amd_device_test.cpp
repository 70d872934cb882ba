// Programs on the simulated card, its strict checks on, against the CPU.
#include "devices/amd/amd_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "devices/amd/executable.h"
#include "devices/sim_device.h"
#include "formats/quantize.h"
#include "models/models.h"
#include "models/tiny_model.h"
#include "support/error.h"

namespace outboard::devices {
namespace {

using StepRun = Run;  // Run is a member function inside a test

CompileOptions compile_options() {
  CompileOptions options;
  options.max_tokens = 96;
  options.max_rows = 96;
  options.pages = 16;
  options.page_tokens = 32;
  return options;
}

std::unique_ptr<SimDevice> open_simulated() {
  simulator::CardOptions card;
  card.vram_bytes = uint64_t{1} << 30;
  card.bar0_bytes = uint64_t{1} << 30;
  card.strict = true;
  return std::make_unique<SimDevice>(card, amd::AmdOptions{});
}

std::string complaints(const simulator::Card& card) {
  std::string out;
  for (const simulator::CardEvent& event : card.events())
    if (event.kind == simulator::CardEvent::Kind::kDriverError ||
        event.kind == simulator::CardEvent::Kind::kNotSimulated)
      out += event.where + ": " + event.text + "\n";
  for (const auto& violation : card.violations()) out += violation.text() + "\n";
  return out.substr(0, 4000);
}

std::vector<int32_t> random_tokens(size_t count, unsigned seed = 7) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 260);
  return tokens;
}

// Logits of all tokens, computed in chunks of the given sizes.
std::vector<float> logits(Executable& executable, const std::vector<int32_t>& tokens,
                          const std::vector<size_t>& chunks, const std::vector<int32_t>& pages) {
  std::vector<float> all;
  size_t done = 0;
  for (const size_t chunk : chunks) {
    const StepRun run{std::span(tokens).subspan(done, chunk), static_cast<int>(done), pages,
                      StepRun::Logits::kAll, nullptr};
    const StepResult result = executable.wait(executable.submit({{&run, 1}, {}}));
    all.insert(all.end(), result.logits.begin(), result.logits.end());
    done += chunk;
  }
  return all;
}

// Of the distribution that `got` means from the one that `want` means, a row of logits each.
double divergence(std::span<const float> got, std::span<const float> want) {
  const auto log_sum = [](std::span<const float> row) {
    double sum = 0;
    for (const float v : row) sum += std::exp(static_cast<double>(v));
    return std::log(sum);
  };
  const double got_sum = log_sum(got), want_sum = log_sum(want);
  double kl = 0;
  for (size_t i = 0; i < want.size(); ++i)
    kl += std::exp(want[i] - want_sum) * ((want[i] - want_sum) - (got[i] - got_sum));
  return kl;
}

// Weights and sums are as exact as on the CPU; inputs of matrices, keys and values are float16.
void expect_close(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  double squares = 0, worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    squares += static_cast<double>(want[i]) * want[i];
    const double error = std::abs(static_cast<double>(got[i]) - want[i]);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  EXPECT_LE(worst, 0.01 * std::sqrt(squares / static_cast<double>(want.size())));
  constexpr size_t kVocabulary = 260;
  for (size_t row = 0; row < want.size() / kVocabulary; ++row)
    EXPECT_LE(divergence(std::span(got).subspan(row * kVocabulary, kVocabulary),
                         std::span(want).subspan(row * kVocabulary, kVocabulary)),
              1e-3)
        << "position " << row;
}

// The families without an encoder.
std::vector<std::string> decoders() {
  std::vector<std::string> names = models::supported_architectures();
  std::erase(names, "marian");
  return names;
}

class EveryFamily : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Simulated, EveryFamily, ::testing::ValuesIn(decoders()),
                         [](const auto& test) { return test.param; });

// Whether what the model says on the strict card is what it says on the CPU.
void expect_agreement(const std::shared_ptr<const formats::Model>& model) {
  const program::Program program = models::build_program(*model);
  const auto cpu = open_cpu(1);
  const auto reference = cpu->compile(program, model, compile_options());
  const auto tokens = random_tokens(90);
  const auto want = logits(*reference, tokens, {90}, {0, 1, 2});
  const auto device = open_simulated();
  const auto executable = device->compile(program, model, compile_options());
  // One at a time, short prompts, long ones; pages in any order.
  expect_close(logits(*executable, tokens, {90}, {5, 11, 2}), want);
  EXPECT_EQ(complaints(device->card()), "");
  expect_close(logits(*executable, tokens, {1, 1, 5, 33, 49, 1}, {9, 0, 15}), want);
  EXPECT_EQ(complaints(device->card()), "");
}

TEST_P(EveryFamily, AgreesWithTheCpu) {
  expect_agreement(std::make_shared<formats::Model>(models::tiny_model(GetParam())));
}

// Files hold gate, up and down of experts in different types.
TEST(Simulated, ExpertsOfMixedTypesAgreeWithTheCpu) {
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
  expect_agreement(model);
}

}  // namespace
}  // namespace outboard::devices
