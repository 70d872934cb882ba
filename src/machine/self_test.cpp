#include "machine/self_test.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

#include <fmt/ranges.h>
#include "devices/device.h"
#include "formats/quantize.h"
#include "models/models.h"
#include "models/tiny_model.h"
#include "program/builder.h"
#include "support/error.h"

namespace outboard::machine {
namespace {

using devices::CompileOptions;
using devices::Executable;
using devices::Run;
using devices::Sampling;
using devices::StepResult;

constexpr std::string_view kAdvice =
    "Run `outboard doctor`. If this repeats after the enclosure was powered off and on, suspect "
    "its "
    "cable or the card's memory; nothing is answered from a card that computes wrong.";

// A model of one matrix, whose logits are a row of it for each token: product of rows of a table
// with a matrix in blocks.
std::shared_ptr<formats::Model> product_model() {
  constexpr int64_t kWidth = 512, kRows = 96;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  auto model = std::make_shared<formats::Model>();
  const auto add = [&](const char* name, int64_t rows, formats::TensorType type) {
    std::vector<float> values(static_cast<size_t>(rows * kWidth));
    for (float& value : values) value = normal(random);
    const auto bytes =
        std::make_shared<std::vector<std::byte>>(formats::storage_bytes(type, rows * kWidth));
    formats::quantize(type, values, bytes->data());
    model->add({name, type, {rows, kWidth}, *bytes});
    model->keep_alive(bytes);
  };
  add("token_embd.weight", kRows, formats::TensorType::F16);
  add("output.weight", kRows, formats::TensorType::Q4_K);
  return model;
}

program::Program product_program(const formats::Model& model) {
  program::Builder b(model, "self-test");
  program::ValueId x =
      b.op("rows of the table", program::Embed{b.tokens(), b.weight("token_embd.weight")});
  x = b.op("rows", program::SelectRows{x});
  return b.finish(b.linear("product", x, "output"), 64);
}

CompileOptions small() {
  CompileOptions options;
  options.max_tokens = 32;
  options.max_rows = 32;
  options.pages = 4;
  options.page_tokens = 32;
  return options;
}

std::vector<float> logits(Executable& executable, std::span<const int32_t> tokens) {
  static constexpr std::array<int32_t, 2> kPages{0, 1};
  const Run run{tokens, 0, kPages, Run::Logits::kAll, nullptr};
  const StepResult result = executable.wait(executable.submit({{&run, 1}, {}, false}));
  return {result.logits.begin(), result.logits.end()};
}

void compare(std::span<const float> got, std::span<const float> want, std::string_view what) {
  if (got.size() != want.size()) fail("{} numbers came back, expected {}", got.size(), want.size());
  double squares = 0;
  for (const float value : want) squares += static_cast<double>(value) * value;
  const double limit = 0.02 * std::sqrt(squares / static_cast<double>(want.size()));
  for (size_t i = 0; i < got.size(); ++i)
    if (!(std::abs(got[i] - want[i]) <= limit))
      throw Error(
          fmt::format("{}: number {} came back as {}, expected {}", what, i, got[i], want[i]),
          std::string(kAdvice));
}

}  // namespace

void test_memory(amd::AmdDevice& device) {
  constexpr size_t kBytes = size_t{20} << 20;
  std::mt19937_64 random(3);
  std::vector<uint64_t> pattern(kBytes / 8), back(kBytes / 8);
  for (uint64_t& word : pattern) word = random();
  const amd::DeviceBuffer buffer(device.card(), kBytes, "memory test");
  device.card().upload(buffer.buffer(), 0, std::as_bytes(std::span(pattern)));
  device.card().download(buffer.buffer(), 0, std::as_writable_bytes(std::span(back)));
  const auto [wrong, expected] = std::ranges::mismatch(back, pattern);
  if (wrong != back.end())
    throw Error(fmt::format("byte {} of {} MiB came back as {:#x}, {:#x} was written",
                            (wrong - back.begin()) * 8, kBytes >> 20, *wrong, *expected),
                std::string(kAdvice));
}

void test_products(amd::AmdDevice& device) {
  const std::shared_ptr<formats::Model> model = product_model();
  const program::Program program = product_program(*model);
  std::vector<int32_t> tokens(32);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(3 * i % 96);
  const auto cpu = devices::open_cpu(1);
  const auto reference = cpu->compile(program, model, small());
  const std::vector<float> want = logits(*reference, tokens);
  const auto executable = device.compile(program, model, small());
  const auto vocabulary = static_cast<size_t>(program.vocabulary);
  compare(logits(*executable, std::span(tokens).first(1)), std::span(want).first(vocabulary),
          "product with one row");
  compare(logits(*executable, tokens), want, "product with 32 rows");
}

void test_decode(amd::AmdDevice& device) {
  const auto model = std::make_shared<formats::Model>(models::tiny_model("llama"));
  const program::Program program = models::build_program(*model);
  const auto cpu = devices::open_cpu(1);
  const auto reference = cpu->compile(program, model, small());
  const auto executable = device.compile(program, model, small());
  std::vector<int32_t> tokens{5, 80, 13, 41};
  compare(logits(*executable, tokens), logits(*reference, tokens), "logits of a tiny model");
  // Greedy, each from its own cache.
  static constexpr std::array<int32_t, 2> kPages{0, 1};
  constexpr int kTokens = 12;
  const Sampling greedy{};
  const auto decode = [&](Executable& e) {
    std::vector<int32_t> out;
    int32_t token = tokens.back();
    for (int i = 0; i < kTokens; ++i) {
      const Run run{
          {&token, 1}, static_cast<int>(tokens.size()) + i, kPages, Run::Logits::kLast, &greedy};
      token = e.wait(e.submit({{&run, 1}, {}, false})).tokens.front();
      out.push_back(token);
    }
    return out;
  };
  const std::vector<int32_t> want = decode(*reference), got = decode(*executable);
  if (got != want)
    throw Error(fmt::format("a tiny model chose tokens {}, expected {}", fmt::join(got, " "),
                            fmt::join(want, " ")),
                std::string(kAdvice));
}

void self_test(amd::AmdDevice& device) {
  const auto part = [](std::string_view name, const std::function<void()>& body) {
    try {
      body();
    } catch (Error& e) {
      e.add_context(fmt::format("the card's self-test, {}", name));
      throw;
    }
  };
  part("doorbells", [&] { device.card().test_doorbells(); });
  part("memory", [&] { test_memory(device); });
  part("matrix products", [&] { test_products(device); });
  part("decoding", [&] { test_decode(device); });
}

}  // namespace outboard::machine
