// outboard bench: prompt and decode speed, with the bound that memory sets.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <map>
#include <numeric>
#include <random>
#include <utility>

#include "cli/bench_counters.h"
#include "cli/bench_rows.h"
#include "cli/bench_steps.h"
#include "cli/bench_translate.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/recording.h"
#include "cli/sim.h"
#include "program/cost.h"
#include "support/bandwidth.h"
#include "support/error.h"
#include "support/machine.h"
#include "support/progress.h"
#include "support/thread_team.h"

namespace outboard::cli {
namespace {

namespace cost = simulator::cost;

struct BenchOptions {
  ModelOptions model;
  SpeculationOptions speculation;
  std::vector<int> prompts = {512}, decodes = {128}, depths = {0};
  std::vector<int> batches = {1};  // sequences that decode together
  int repetitions = 3;
  std::string format_name = "md";
  BenchFormat format = BenchFormat::kMarkdown;
  bool json = false;
  bool counters = false;
  int layers = 0;  // that the model stands for there; 0: as many as it has
  // What was said on the command line.
  std::function<bool(const char* option)> is_given;
};

// A prompt, or some answers at once, behind so many tokens.
struct Test {
  int prompt = 0, decode = 0, depth = 0;
  int sequences = 1;

  // As llama-bench has them: "pp512", "tg128 @ d4096"; and "tg128 x8" for eight sequences.
  std::string name() const {
    std::string name = prompt > 0 ? fmt::format("pp{}", prompt) : fmt::format("tg{}", decode);
    if (sequences > 1) name += fmt::format(" x{}", sequences);
    return depth > 0 ? fmt::format("{} @ d{}", name, depth) : name;
  }
  int tokens() const { return std::max(prompt, decode * sequences); }
};

struct Result {
  Test test;
  std::vector<double> seconds;  // one a repetition
  double bytes_per_token = 0;   // read from memory; 0 where it does not bound the speed
  devices::MemoryUse memory;
  int drafted = 0, accepted = 0;

  std::vector<double> rates() const {
    std::vector<double> rates;
    for (const double s : seconds) rates.push_back(per_second(test.tokens(), s));
    return rates;
  }
};

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  double squares = 0;
  for (const double value : values) squares += (value - mean(values)) * (value - mean(values));
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

std::vector<int32_t> random_tokens(const engine::Model& model, int count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random() % model.tokenizer().vocabulary_size()));
  return tokens;
}

// Seconds in which the sequences decode so many tokens each, from where all have their first.
double decode_together(engine::Session& session, const std::vector<engine::Request>& requests,
                       Result& result) {
  using Clock = std::chrono::steady_clock;
  std::vector<engine::SequenceId> ids;
  for (const engine::Request& request : requests) ids.push_back(session.add(request));
  const auto answered = [&] {
    int least = requests.front().max_tokens, all = 0;
    for (const engine::SequenceStatus& status : session.status()) {
      least = std::min(least, status.answered);
      all += status.answered;
    }
    return std::pair(least, all);
  };
  while (answered().first == 0 && session.step()) {
  }
  const int before = answered().second;
  const Clock::time_point begin = Clock::now();
  while (session.step()) {
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  int after = 0;
  for (const engine::SequenceId id : ids) {
    const std::optional<engine::Completion> c = session.take(id);
    if (!c || c->error) throw c && c->error ? *c->error : Error("bench: an answer is missing", "");
    after += static_cast<int>(c->tokens.size());
    result.drafted += c->drafted_tokens;
    result.accepted += c->accepted_tokens;
  }
  return seconds * result.test.tokens() / std::max(1, after - before);
}

// One test, several times. What stands before it is computed once and kept.
Result measure(const LoadedModel& loaded, engine::SessionOptions options, const Test& test,
               int repetitions, const std::function<void()>& on_run) {
  const engine::Model& model = *loaded.model();
  Result result{test, {}, 0, {}};
  options.context = test.depth + test.prompt + test.decode + 2;
  options.prefix_cache = test.depth > 0;
  options.max_sequences = test.sequences;
  engine::Session session(loaded.model(), loaded.device(), options);
  const std::vector<int32_t> before = random_tokens(model, test.depth, 0);
  const auto request_of = [&](int prompt, int decode, unsigned seed) {
    engine::Request request;
    request.prompt = before;
    const std::vector<int32_t> tokens = random_tokens(model, prompt, seed);
    request.prompt.insert(request.prompt.end(), tokens.begin(), tokens.end());
    request.max_tokens = decode;
    request.temperature = 0;
    request.ignore_end_of_text = true;
    return request;
  };
  const auto run = [&](int prompt, int decode, unsigned seed) {
    return session.generate(request_of(prompt, decode, seed));
  };
  if (test.depth > 0) run(0, 1, 0);
  // Brings the weights into memory; on a card streams are recorded.
  run(test.prompt > 0 ? std::min(test.prompt, 64) : 1, 2, 0);
  for (int i = 0; i < repetitions; ++i) {
    const auto seed = static_cast<unsigned>(i + 1);
    if (test.sequences > 1) {
      std::vector<engine::Request> requests;
      for (int s = 0; s < test.sequences; ++s)
        requests.push_back(request_of(1, test.decode + 1, seed * 1000 + static_cast<unsigned>(s)));
      result.seconds.push_back(decode_together(session, requests, result));
      on_run();
      continue;
    }
    // The token that the prompt's step gives comes free; the clock runs from there.
    const engine::Completion c =
        test.prompt > 0 ? run(test.prompt, 1, seed) : run(1, test.decode + 1, seed);
    if (c.cached_tokens < test.depth)
      throw Error(fmt::format("bench: {}: of {} tokens before the test {} were kept", test.name(),
                              test.depth, c.cached_tokens),
                  "Use a smaller depth.");
    result.seconds.push_back(test.prompt > 0
                                 ? c.prompt_seconds
                                 : c.decode_seconds * test.decode / std::max(1, c.decoded_tokens));
    result.drafted += c.drafted_tokens;
    result.accepted += c.accepted_tokens;
    on_run();
  }
  result.memory = session.memory();
  if (test.decode > 0)
    result.bytes_per_token = static_cast<double>(
        program::weight_bytes_per_token(model.program(), test.sequences) +
        program::state_bytes_read(model.program(), test.depth + test.decode / 2));
  return result;
}

std::vector<Test> tests_of(const BenchOptions& options, const program::Program& program) {
  std::vector<Test> tests;
  for (const int depth : options.depths) {
    for (const int prompt : options.prompts)
      if (prompt > 0) tests.push_back({prompt, 0, depth});
    for (const int sequences : options.batches) {
      for (const int decode : options.decodes)
        if (decode > 0) tests.push_back({0, decode, depth, sequences});
    }
  }
  if (tests.empty()) throw Error("bench: nothing to measure", "Give -p or -n more than 0.");
  for (const Test& test : tests)
    if (test.depth + std::max(test.prompt, test.decode) + 2 > program.context_length)
      fail("bench: {} does not fit the model's context of {}", test.name(), program.context_length);
  return tests;
}

BenchRow to_row(const LoadedModel& loaded, int threads, const Result& result, size_t memory,
                double bandwidth) {
  BenchRow row = describe_for_bench(loaded, threads);
  const std::vector<double> rates = result.rates();
  std::vector<int64_t> nanoseconds;
  std::vector<double> as_double;
  for (const double s : result.seconds) {
    nanoseconds.push_back(std::llround(s * 1e9));
    as_double.push_back(s * 1e9);
  }
  row.update({{"test", result.test.name()},
              {"n_prompt", result.test.prompt},
              {"n_gen", result.test.decode},
              {"n_depth", result.test.depth},
              {"n_seq", result.test.sequences},
              {"avg_ns", std::llround(mean(as_double))},
              {"stddev_ns", std::llround(deviation(as_double))},
              {"avg_ts", mean(rates)},
              {"stddev_ts", deviation(rates)},
              {"samples_ns", nanoseconds},
              {"samples_ts", rates},
              {"bytes_per_token", result.bytes_per_token},
              {"read_bandwidth", bandwidth},
              {"bandwidth_fraction", result.bytes_per_token * mean(rates) / bandwidth},
              {"kv_bytes", result.memory.kv},
              {"buffer_bytes", result.memory.buffers},
              {"peak_memory", memory},
              {"drafted_tokens", result.drafted},
              {"accepted_tokens", result.accepted}});
  return row;
}

std::string table(const LoadedModel& loaded, int threads, const std::vector<Result>& results,
                  size_t memory, double bandwidth) {
  std::vector<std::vector<BenchColumn>> rows;
  int drafted = 0, accepted = 0;
  for (const Result& result : results) {
    std::vector<BenchColumn>& row = rows.emplace_back(model_columns(loaded, threads));
    const std::vector<double> rates = result.rates();
    const double bytes = result.bytes_per_token;
    row.push_back({"test", result.test.name(), true});
    row.push_back({"t/s", fmt::format("{:.2f} ± {:.2f}", mean(rates), deviation(rates)), true});
    row.push_back(
        {"read a token", bytes > 0 ? format_bytes(static_cast<uint64_t>(bytes)) : "", true});
    row.push_back({"bandwidth",
                   bytes > 0 ? fmt::format("{:.0f}%", 100 * bytes * mean(rates) / bandwidth) : "",
                   true});
    drafted += result.drafted;
    accepted += result.accepted;
  }
  std::string out =
      fmt::format("{}: {} ({}), reads {}/s; memory at most {}\n\n", loaded.model()->program().name,
                  loaded.device().description(), processor_name(),
                  format_bytes(static_cast<uint64_t>(bandwidth)), format_bytes(memory));
  out += markdown(rows);
  if (drafted > 0) out += fmt::format("\n{} guesses, of which {} were right\n", drafted, accepted);
  return out;
}

void bench_speeds(const BenchOptions& options, const engine::SessionOptions& session,
                  const LoadedModel& loaded) {
  const std::vector<Test> tests = tests_of(options, loaded.model()->program());
  Progress bar("bench", tests.size() * static_cast<uint64_t>(options.repetitions), "runs");
  bar.update(0);
  uint64_t done = 0;
  std::vector<Result> results;
  for (const Test& test : tests)
    results.push_back(
        measure(loaded, session, test, options.repetitions, [&] { bar.update(++done); }));
  // Before the bandwidth is measured, which takes memory of its own that run never has.
  const size_t memory = peak_memory();
  ThreadTeam team(options.model.open.threads);
  const double bandwidth = measure_read_bandwidth(team);
  if (options.format == BenchFormat::kMarkdown)
    return print(table(loaded, team.size(), results, memory, bandwidth));
  std::vector<BenchRow> rows;
  for (const Result& result : results)
    rows.push_back(to_row(loaded, team.size(), result, memory, bandwidth));
  print(formatted(options.format, rows));
}

// Options that say nothing where they stand are refused by name.
void refuse(const BenchOptions& options, std::initializer_list<const char*> names,
            std::string_view where, const std::string& hint) {
  for (const char* name : names)
    if (options.is_given(name))
      throw Error(fmt::format("bench: {} has no meaning {}", name, where), hint);
}

void only_one(const std::vector<int>& list, const char* option) {
  if (list.size() == 1) return;
  throw Error(fmt::format("bench: {} with several values and what is counted", option),
              "Give one.");
}

bool are_single_steps(const BenchOptions& options) {
  return options.is_given("-d") || options.is_given("--batch");
}

// Before a model is loaded.
void refuse_meaningless(const BenchOptions& options, bool counts) {
  if (!counts)
    return refuse(options, {"--layers"}, "without --counters",
                  "Use it with --device sim --counters.");
  refuse(options, {"-r"}, "where work is counted", "It is the same each time; leave it out.");
  if (options.format == BenchFormat::kCsv || options.format == BenchFormat::kJsonLines)
    throw Error("bench: --format: what is counted is no list of tests", "Use md or json.");
  only_one(options.prompts, "-p");
  if (!are_single_steps(options)) {
    only_one(options.decodes, "-n");
    return refuse(options, {"--layers"}, "without -d or --batch", "It is for single steps.");
  }
  refuse(options, {"-n"}, "with -d and --batch",
         "Each single step is of so many sequences as --batch says.");
  refuse(options, {"--speculate", "--draft", "--draft-tokens"}, "with -d and --batch",
         "Single steps guess nothing.");
  refuse(options, {"--link"}, "with -d and --batch", "It is for whole prompts and answers.");
}

void bench_simulated(const BenchOptions& options, const std::string& link,
                     const engine::SessionOptions& session, const LoadedModel& loaded) {
  const bool json = options.format == BenchFormat::kJson;
  if (are_single_steps(options))
    return bench_steps(
        loaded, {options.prompts.front(), options.depths, options.batches, options.layers, json});
  BenchCountersOptions counted{
      options.prompts.front(), options.decodes.front(), options.counters, {}, json};
  if (link == "all") {
    const auto all = cost::link_models();
    counted.links.assign(all.begin(), all.end());
  } else if (!link.empty()) {
    counted.links.push_back(cost::link_model(link));
  }
  bench_counters(loaded, session, counted);
}

void bench(BenchOptions options) {
  const std::map<std::string, BenchFormat> formats = {{"md", BenchFormat::kMarkdown},
                                                      {"csv", BenchFormat::kCsv},
                                                      {"json", BenchFormat::kJson},
                                                      {"jsonl", BenchFormat::kJsonLines}};
  options.format = options.json ? BenchFormat::kJson : formats.at(options.format_name);
  ModelOptions model_options = options.model;
  // A link's cost is modelled from counts; the run itself need not take that time.
  const std::string link = std::exchange(model_options.open.link, {});
  if (!link.empty() && link != "all") cost::link_model(link);  // a wrong name is told at once
  model_options.open.counters = options.counters || !link.empty();
  refuse_meaningless(options, model_options.open.counters);
  const LoadedModel loaded(model_options);
  if (loaded.model()->translates()) {
    refuse(options,
           {"-p", "-n", "-d", "--batch", "--layers", "--speculate", "--draft", "--draft-tokens",
            "--link", "--ignore-eos"},
           "with a model that translates",
           "Lines are translated, alone and 32 together; --counters shows what one costs.");
    return bench_translation(loaded, {options.repetitions, options.counters, options.format,
                                      ThreadTeam(model_options.open.threads).size()});
  }
  engine::SessionOptions session;
  apply(options.speculation, model_options.ignore_unknown, engine::Speculation::kOff, session);
  if (model_options.open.counters) return bench_simulated(options, link, session, loaded);
  bench_speeds(options, session, loaded);
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Measure prompt and decode speed");
  add_model_options(*command, options->model);
  add_record_option(*command, options->model);
  command->remove_option(command->get_option("--ctx"));
  add_speculation_options(*command, options->speculation);
  command->get_option("--speculate")
      ->description(
          "guess tokens and compute several a step: off, mtp, lookup, draft, auto, as run has them "
          "[off]");
  command->get_option("--link")->description(
      std::string("--device sim: what a link would make of it, modelled; ") + kLinkHelp +
      ", or all");
  constexpr int kMost = 1 << 20;
  command
      ->add_option("-p,--prompt", options->prompts,
                   "tokens of the prompt tests, as 16,512; 0: none [512]")
      ->delimiter(',')
      ->check(CLI::Range(0, kMost));
  command
      ->add_option("-n,--decode", options->decodes,
                   "tokens of the decode tests, as 64,128; 0: none [128]")
      ->delimiter(',')
      ->check(CLI::Range(0, kMost));
  command
      ->add_option("-d,--depth", options->depths,
                   "each test behind so many tokens, as 0,4096; with --counters single steps there "
                   "[0]")
      ->delimiter(',')
      ->check(CLI::Range(0, kMost));
  command->add_option("-r,--repetitions", options->repetitions, "repetitions of each test")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  CLI::Option* format = command
                            ->add_option("--format", options->format_name,
                                         "md (a table), csv, json, jsonl (a JSON object a test)")
                            ->check(CLI::IsMember({"md", "csv", "json", "jsonl"}))
                            ->capture_default_str();
  command->add_flag("--json", options->json, "as --format json")->excludes(format);
  command->add_flag_callback(
      "--ignore-eos", [] {}, "answers go on past their end, as they always do here");
  command->add_flag("--counters", options->counters,
                    "--device sim: what a token costs, and a time modelled from it");
  command
      ->add_option("--batch", options->batches,
                   "so many sequences decode together, as 1,4,8; with --counters single steps of "
                   "them [1]")
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  command
      ->add_option("--layers", options->layers,
                   "-d, --batch: the launches of the model's layers stand for those of so many; 0: "
                   "of as many as it has")
      ->check(CLI::Range(0, 1000));
  command->footer("Example: outboard bench smollm2 -p 512 -n 128 -t 2");
  options->is_given = [command](const char* option) {
    return command->get_option(option)->count() > 0;
  };
  command->callback([options] { recorded(options->model, [&] { bench(*options); }); });
}

}  // namespace outboard::cli
