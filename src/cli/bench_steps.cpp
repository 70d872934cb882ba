#include "cli/bench_steps.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "machine/launch_watch.h"
#include "simulator/cost/card_work.h"
#include "support/error.h"

namespace outboard::cli {
namespace {

namespace cost = simulator::cost;
using simulator::compute::kBest;
using simulator::compute::kLikely;
using simulator::compute::kWorst;

constexpr int kPageTokens = 32;

// One step: `batch` sequences with `tokens` new ones each, behind `depth` positions whose keys and
// values are whatever lies in memory: what a step costs does not depend on them.
struct StepTest {
  int depth, batch, tokens;

  std::string name() const {
    return tokens > 1 ? fmt::format("prompt of {} at {}", tokens, depth)
                      : fmt::format("decode at {}, batch of {}", depth, batch);
  }
  int pages_each() const { return (depth + tokens + kPageTokens - 1) / kPageTokens; }
};

std::vector<StepTest> tests_of(const BenchStepsOptions& options) {
  std::vector<StepTest> tests;
  for (const int depth : options.depths) {
    for (const int batch : options.batches) tests.push_back({depth, batch, 1});
    if (options.prompt > 0) tests.push_back({depth, 1, options.prompt});
  }
  return tests;
}

// Those that answer: a head for further tokens is a layer of the file, too.
int layers_of(const formats::Model& file) {
  const std::string architecture = file.metadata.get_string("general.architecture");
  return static_cast<int>(file.metadata.get_int(architecture + ".block_count", 0) -
                          file.metadata.get_int(architecture + ".nextn_predict_layers", 0));
}

// The Program compiled for the largest of the tests, without what guesses.
std::unique_ptr<devices::Executable> compile(const LoadedModel& loaded,
                                             const std::vector<StepTest>& tests) {
  const program::Program& program = loaded.model()->program();
  devices::CompileOptions compile;
  compile.max_tokens = compile.max_rows = 1;
  compile.page_tokens = kPageTokens;
  for (const StepTest& test : tests) {
    compile.max_tokens = std::max(compile.max_tokens, test.batch * test.tokens);
    compile.max_rows = std::max(compile.max_rows, test.batch);
    compile.pages = std::max(compile.pages, test.batch * test.pages_each());
    if (test.depth + test.tokens > program.context_length)
      fail("bench: {} does not fit the model's context of {}", test.name(), program.context_length);
  }
  if (!program.slot_states.empty()) compile.slots = compile.max_rows;
  return loaded.device().compile(program::without_drafter(program), loaded.model()->shared_file(),
                                 compile);
}

void run(devices::Executable& executable, const StepTest& test, int64_t vocabulary) {
  std::mt19937 random(1);
  const devices::Sampling greedy;
  std::vector<std::vector<int32_t>> tokens, pages;
  std::vector<devices::Run> runs;
  int32_t page = 0;
  for (int i = 0; i < test.batch; ++i) {
    auto& of_run = tokens.emplace_back();
    for (int t = 0; t < test.tokens; ++t)
      of_run.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary)));
    auto& of_pages = pages.emplace_back();
    for (int p = 0; p < test.pages_each(); ++p) of_pages.push_back(page++);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    devices::Run& run = runs.emplace_back();
    run.tokens = tokens[i];
    run.first_position = test.depth;
    run.pages = pages[i];
    run.logits = devices::Run::Logits::kLast;
    run.sampling = &greedy;
    if (executable.options().slots > 0) run.slot = static_cast<int32_t>(i);
  }
  devices::Step step;
  step.runs = runs;
  executable.wait(executable.submit(step));
}

}  // namespace

void bench_steps(const LoadedModel& loaded, const BenchStepsOptions& options) {
  machine::SimDevice* device = loaded.simulated();
  if (device == nullptr)
    throw Error("bench: only the simulated card counts", "Use --device sim with -d.");
  const program::Program& program = loaded.model()->program();
  const std::vector<StepTest> tests = tests_of(options);
  const std::unique_ptr<devices::Executable> executable = compile(loaded, tests);
  const int layers = layers_of(loaded.model()->file());
  const double stands_for =
      options.layers == 0 || layers == 0 ? 1 : static_cast<double>(options.layers) / layers;
  const auto snapshot = [&] {
    device->card().settle();
    return device->card().counters();
  };

  std::string text = fmt::format("{} on the {}. Times are modelled, not measured.\n", program.name,
                                 loaded.device().description());
  if (options.layers != 0)
    text += fmt::format("The model has {} layers; each launch in them stands for {:g}.\n", layers,
                        stands_for);
  nlohmann::ordered_json json = {
      {"model", program.name},
      {"device", loaded.device().description()},
      {"layers", layers},
      {"stands_for_layers", options.layers == 0 ? layers : options.layers},
      {"steps", nlohmann::ordered_json::array()}};
  for (const StepTest& test : tests) {
    // The first time streams are recorded, and caches hold what earlier tests left.
    if (test.tokens == 1) run(*executable, test, program.tokens);
    machine::LaunchWatch watch(*device);
    const auto before = snapshot();
    run(*executable, test, program.tokens);
    cost::CardWork work = cost::difference(*device->card().options().model, before, snapshot(),
                                           test.batch * test.tokens, 1);
    work.launches = watch.take();
    for (cost::LaunchKind& kind : work.launches)
      if (kind.of_layers) kind.stands_for = stands_for;
    const cost::ModelledTime time = cost::model_time(work);
    const double n = work.tokens;
    text += fmt::format("\n{}: {:.3f} ms ({:.3f} to {:.3f}), {:.1f} tokens/s ({:.1f} to {:.1f})\n",
                        test.name(), time.total() * 1e3, time.total(kBest) * 1e3,
                        time.total(kWorst) * 1e3, n / time.total(), n / time.total(kWorst),
                        n / time.total(kBest));
    text += to_text(work.launches, 1);
    nlohmann::ordered_json step = {{"name", test.name()},
                                   {"depth", test.depth},
                                   {"batch", test.batch},
                                   {"tokens", test.tokens}};
    step["seconds"] = {{"best", time.total(kBest)},
                       {"likely", time.total(kLikely)},
                       {"worst", time.total(kWorst)}};
    step["tokens_per_second"] = {{"best", n / time.total(kBest)},
                                 {"likely", n / time.total(kLikely)},
                                 {"worst", n / time.total(kWorst)}};
    step["launches"] = nlohmann::ordered_json::array();
    for (const cost::LaunchKind& kind : work.launches) step["launches"].push_back(to_json(kind));
    json["steps"].push_back(std::move(step));
  }
  print(options.json ? json.dump(2) + "\n" : text);
}

}  // namespace outboard::cli
