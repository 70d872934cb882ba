// outboard bench: prompt and decode speed, with the bound that memory sets.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <utility>

#include "cli/bench_steps.h"
#include "cli/bench_translate.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/recording.h"
#include "cli/sim.h"
#include "machine/launch_watch.h"
#include "program/cost.h"
#include "simulator/cost/card_work.h"
#include "support/bandwidth.h"
#include "support/error.h"
#include "support/machine.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

namespace cost = simulator::cost;

struct BenchOptions {
  ModelOptions model;
  SpeculationOptions speculation;
  int prompt = 512;
  int decode = 128;
  int repetitions = 3;
  bool json = false;
  bool counters = false;
  std::vector<int> depths, batches;    // of single steps
  int layers = 0;                      // that the model stands for there; 0: as many as it has
  std::vector<cost::LinkModel> links;  // to show the cost of
};

struct Row {
  std::string test;
  std::vector<double> rates;   // tokens/s, one a repetition
  double bytes_per_token = 0;  // read from memory; 0 where it does not bound the speed

  double mean() const {
    return std::accumulate(rates.begin(), rates.end(), 0.0) / static_cast<double>(rates.size());
  }
  double deviation() const {
    if (rates.size() < 2) return 0;
    double squares = 0;
    for (const double rate : rates) squares += (rate - mean()) * (rate - mean());
    return std::sqrt(squares / static_cast<double>(rates.size() - 1));
  }
};

engine::Completion measure(const LoadedModel& loaded, const engine::SessionOptions& session_options,
                           int prompt, int decode, unsigned seed) {
  engine::SessionOptions options = session_options;
  options.context = prompt + decode + 1;
  options.prefix_cache = false;
  engine::Session session(loaded.model(), loaded.device(), options);
  std::mt19937 random(seed);
  engine::Request request;
  for (int i = 0; i < prompt; ++i)
    request.prompt.push_back(
        static_cast<int32_t>(random() % loaded.model()->tokenizer().vocabulary_size()));
  request.max_tokens = decode;
  request.temperature = 0;
  request.ignore_end_of_text = true;
  return session.generate(std::move(request));
}

// What was done on the simulated card.
struct Counted {
  cost::CardWork start;   // boot and self-test
  cost::CardWork upload;  // of the weights
  std::optional<cost::CardWork> prompt, decode;
};

// The same work over several links.
std::string link_table(const Counted& work, std::span<const cost::LinkModel> links) {
  const auto cell = [](const std::optional<cost::CardWork>& w, const cost::LinkModel& link,
                       bool rate) {
    if (!w) return std::string();
    const double total = cost::model_time(*w, link).total();
    return rate ? fmt::format("{:.2f}", w->tokens / total) : fmt::format("{:.3f} ms", total * 1e3);
  };
  std::string out = fmt::format("\n| {:<22} | {:>9} | {:>9} | {:>12} | {:>9} | {:<8} |\n", "link",
                                "start", "load", "first token", "tokens/s", "");
  out += fmt::format("| {:-<22} | {:->8}: | {:->8}: | {:->11}: | {:->8}: | {:-<8} |\n", "", "", "",
                     "", "", "");
  for (const cost::LinkModel& link : links)
    out += fmt::format("| {:<22} | {:>9} | {:>9} | {:>12} | {:>9} | modelled |\n", link.title,
                       fmt::format("{:.3f} s", cost::link_seconds(work.start, link)),
                       fmt::format("{:.3f} s", cost::link_seconds(work.upload, link)),
                       cell(work.prompt, link, false), cell(work.decode, link, true));
  return out;
}

nlohmann::ordered_json link_json(const Counted& work, const cost::LinkModel& link) {
  nlohmann::ordered_json modelled = {{"start_seconds", cost::link_seconds(work.start, link)},
                                     {"load_seconds", cost::link_seconds(work.upload, link)}};
  if (work.prompt) modelled["first_token_seconds"] = cost::model_time(*work.prompt, link).total();
  if (work.decode)
    modelled["tokens_per_second"] =
        work.decode->tokens / cost::model_time(*work.decode, link).total();
  return {{"name", link.name},
          {"title", link.title},
          {"to_card_bytes_per_second", link.to_card},
          {"from_card_bytes_per_second", link.from_card},
          {"round_trip_seconds", link.round_trip},
          {"modelled", std::move(modelled)}};
}

// What prompts and tokens cost on the simulated card.
void count(const BenchOptions& options, const engine::SessionOptions& speculation,
           const LoadedModel& loaded) {
  machine::SimDevice* device = loaded.simulated();
  const auto& model = loaded.model();
  if (device == nullptr)
    throw Error("bench: only the simulated card counts",
                "Use --device sim with --counters or --link.");
  const program::Program& program = model->program();
  const simulator::card::CardModel& card = *device->card().options().model;
  const auto snapshot = [&] {
    device->card().settle();
    return device->card().counters();
  };
  const auto weights = program::weight_bytes_per_token(program);
  std::string text = fmt::format("{} on the {}. Times are modelled, not measured.\n", program.name,
                                 loaded.device().description());
  nlohmann::ordered_json json = {{"model", program.name},
                                 {"device", loaded.device().description()},
                                 {"weight_bytes", model->file().tensor_bytes()}};
  engine::SessionOptions session_options = speculation;
  session_options.context = options.prompt + options.decode + 2;
  session_options.max_step_tokens = std::max(1, options.prompt);
  session_options.prefix_cache = false;
  const auto before_upload = snapshot();
  engine::Session session(model, loaded.device(), session_options);
  Counted counted;
  counted.start = cost::difference(card, {}, before_upload, 0, 0);
  counted.upload = cost::difference(card, before_upload, snapshot(), 0, 0);
  const cost::CardWork& upload = counted.upload;
  machine::LaunchWatch watch(*device);
  const auto file_bytes = static_cast<double>(model->file().tensor_bytes());
  text += fmt::format(
      "upload: {} over the link, {:.3f} times the file's tensors; {:.2f} messages a MiB; modelled "
      "{:.3f} s\n",
      format_bytes(upload.dma_bytes()), static_cast<double>(upload.dma_bytes()) / file_bytes,
      static_cast<double>(upload.round_trips + upload.one_way) / (file_bytes / (1 << 20)),
      cost::model_time(upload).link);
  json["upload"] = {{"dma_bytes", upload.dma_bytes()},
                    {"message_bytes", upload.message_bytes},
                    {"round_trips", upload.round_trips},
                    {"one_way_messages", upload.one_way},
                    {"modelled_seconds", cost::model_time(upload).link}};
  const auto request = [&](int prompt, int decode) {
    std::mt19937 random(1);
    engine::Request r;
    for (int i = 0; i < prompt; ++i)
      r.prompt.push_back(
          static_cast<int32_t>(random() % loaded.model()->tokenizer().vocabulary_size()));
    r.max_tokens = decode;
    r.temperature = 0;
    r.ignore_end_of_text = true;
    return r;
  };
  if (options.prompt > 0) {
    const auto before = snapshot();
    session.generate(request(options.prompt, 1));
    cost::CardWork work = cost::difference(card, before, snapshot(), options.prompt, 1);
    work.launches = watch.take();
    counted.prompt = work;
    text += to_text(fmt::format("prompt {}", options.prompt), work, weights);
    json["prompt"] = to_json(work, weights);
  }
  if (options.decode > 0) {
    session.generate(request(1, 1));  // streams are recorded
    const auto before = snapshot();
    watch.take();
    const engine::Completion c = session.generate(request(1, options.decode));
    cost::CardWork work =
        cost::difference(card, before, snapshot(), options.decode, options.decode);
    work.launches = watch.take();
    counted.decode = work;
    const auto wanted = static_cast<uint64_t>(options.decode) *
                        (weights + program::state_bytes_read(program, options.decode / 2));
    text += to_text(fmt::format("decode {}", options.decode), work, wanted);
    json["decode"] = to_json(work, wanted);
    if (c.drafted_tokens > 0) {
      text +=
          fmt::format("{} guesses, of which {} were right\n", c.drafted_tokens, c.accepted_tokens);
      json["decode"]["drafted_tokens"] = c.drafted_tokens;
      json["decode"]["accepted_tokens"] = c.accepted_tokens;
    }
  }
  if (!options.counters) {
    text = fmt::format(
        "{} on the {}.\nstart: boot and self-test, without the pauses of the boot; load: {}; "
        "first token: of a prompt of {}. Link and card in turns, from what was counted: modelled, "
        "not measured.\n",
        program.name, loaded.device().description(), format_bytes(upload.dma_bytes()),
        options.prompt);
  }
  if (!options.links.empty()) text += link_table(counted, options.links);
  for (const cost::LinkModel& link : options.links)
    json["links"].push_back(link_json(counted, link));
  print(options.json ? json.dump(2) + "\n" : text);
}

void bench(BenchOptions options) {
  ModelOptions model_options = options.model;
  // A link's cost is modelled from counts; the run itself need not take that time.
  const std::string link = std::exchange(model_options.open.link, {});
  if (link == "all") {
    const auto all = cost::link_models();
    options.links.assign(all.begin(), all.end());
  } else if (!link.empty()) {
    options.links.push_back(cost::link_model(link));
  }
  model_options.open.counters = options.counters || !options.links.empty();
  const LoadedModel loaded(model_options);
  const auto& model = loaded.model();
  if (model->translates()) {
    if (!options.links.empty())
      throw Error("bench: --link is for models that answer, not for those that translate",
                  "--counters shows what a translation costs on the card.");
    return bench_translation(loaded, {options.repetitions, options.counters, options.json});
  }
  if (!options.depths.empty() || !options.batches.empty()) {
    if (!options.counters)
      throw Error("bench: --depth and --batch are for --counters",
                  "Use them with --device sim --counters.");
    const auto or_one = [](std::vector<int> list, int one) {
      return list.empty() ? std::vector{one} : list;
    };
    return bench_steps(loaded, {options.prompt, or_one(options.depths, 0),
                                or_one(options.batches, 1), options.layers, options.json});
  }
  engine::SessionOptions session;
  apply(options.speculation, model_options.ignore_unknown, engine::Speculation::kOff, session);
  if (model_options.open.counters) return count(options, session, loaded);
  const program::Program& program = model->program();
  if (options.prompt + options.decode + 1 > program.context_length)
    fail("bench: {} + {} tokens do not fit the model's context of {}", options.prompt,
         options.decode, program.context_length);
  Progress bar("bench", static_cast<uint64_t>(options.repetitions) * 2 + 2, "runs");
  // Brings the weights into memory.
  measure(loaded, session, std::clamp(options.prompt, 1, 64), 2, 0);
  bar.update(1);
  Row prompt{fmt::format("prompt {}", options.prompt), {}};
  Row decode{fmt::format("decode {}", options.decode), {}};
  decode.bytes_per_token =
      static_cast<double>(program::weight_bytes_per_token(program) +
                          program::state_bytes_read(program, options.decode / 2));
  uint64_t done = 1;
  int drafted = 0, accepted = 0;
  for (int i = 0; i < options.repetitions; ++i) {
    const auto seed = static_cast<unsigned>(i + 1);
    if (options.prompt > 0)
      prompt.rates.push_back(options.prompt /
                             measure(loaded, session, options.prompt, 1, seed).prompt_seconds);
    bar.update(++done);
    if (options.decode > 0) {
      // The token that the prompt's step gives comes free; the clock runs from there.
      const engine::Completion c = measure(loaded, session, 1, options.decode + 1, seed);
      decode.rates.push_back(per_second(c.decoded_tokens, c.decode_seconds));
      drafted += c.drafted_tokens;
      accepted += c.accepted_tokens;
    }
    bar.update(++done);
  }
  ThreadTeam team(options.model.open.threads);
  const double bandwidth = measure_read_bandwidth(team);
  bar.update(++done);

  std::vector<Row> rows;
  if (options.prompt > 0) rows.push_back(prompt);
  if (options.decode > 0) rows.push_back(decode);
  if (options.json) {
    nlohmann::ordered_json json = {{"model", program.name},
                                   {"architecture", program.architecture},
                                   {"parameters", program::parameters(program)},
                                   {"tensor_bytes", model->file().tensor_bytes()},
                                   {"device", loaded.device().description()},
                                   {"processor", processor_name()},
                                   {"threads", team.size()},
                                   {"read_bandwidth_bytes_per_second", bandwidth},
                                   {"peak_memory_bytes", peak_memory()},
                                   {"drafted_tokens", drafted},
                                   {"accepted_tokens", accepted}};
    for (const Row& row : rows)
      json["tests"].push_back(
          {{"test", row.test},
           {"tokens_per_second", row.mean()},
           {"deviation", row.deviation()},
           {"rates", row.rates},
           {"bytes_per_token", row.bytes_per_token},
           {"bandwidth_fraction", row.bytes_per_token * row.mean() / bandwidth}});
    return print(json.dump(2) + "\n");
  }
  std::string out =
      fmt::format("{} ({}), {:.1f} M parameters, {}\n{} ({}), reads {}/s\n\n", program.name,
                  program.architecture, static_cast<double>(program::parameters(program)) / 1e6,
                  format_bytes(model->file().tensor_bytes()), loaded.device().description(),
                  processor_name(), format_bytes(static_cast<uint64_t>(bandwidth)));
  out += fmt::format("| {:<12} | {:>20} | {:>12} | {:>11} |\n", "test", "tokens/s", "read a token",
                     "bandwidth");
  out += "| ------------ | -------------------: | -----------: | ----------: |\n";
  for (const Row& row : rows)
    out += fmt::format(
        "| {:<12} | {:>20} | {:>12} | {:>11} |\n", row.test,
        fmt::format("{:.2f} ± {:.2f}", row.mean(), row.deviation()),
        row.bytes_per_token > 0 ? format_bytes(static_cast<uint64_t>(row.bytes_per_token)) : "",
        row.bytes_per_token > 0
            ? fmt::format("{:.0f}%", 100 * row.bytes_per_token * row.mean() / bandwidth)
            : "");
  if (drafted > 0) out += fmt::format("\n{} guesses, of which {} were right\n", drafted, accepted);
  print(out);
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
  command->add_option("-p,--prompt", options->prompt, "tokens of the prompt test; 0: none")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("-n,--decode", options->decode, "tokens of the decode test; 0: none")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("-r,--repetitions", options->repetitions, "repetitions of each test")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--counters", options->counters,
                    "--device sim: what a token costs, and a time modelled from it");
  command
      ->add_option("--depth", options->depths,
                   "--counters: single steps behind so many positions, as 0,512,2048")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 20));
  command
      ->add_option("--batch", options->batches,
                   "--counters: single steps of so many sequences, as 1,4,8")
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  command
      ->add_option("--layers", options->layers,
                   "--depth, --batch: the launches of the model's layers stand for those of so "
                   "many; 0: of as many as it has")
      ->check(CLI::Range(0, 1000));
  command->add_flag("--json", options->json, "the result as JSON");
  command->footer("Example: outboard bench smollm2 -p 512 -n 128 -t 2");
  command->callback([options] { recorded(options->model, [&] { bench(*options); }); });
}

}  // namespace outboard::cli
