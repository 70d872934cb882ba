#include "cli/bench_counters.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <span>

#include "machine/launch_watch.h"
#include "program/cost.h"
#include "simulator/cost/card_work.h"
#include "support/error.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

namespace cost = simulator::cost;

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

}  // namespace

void bench_counters(const LoadedModel& loaded, const engine::SessionOptions& speculation,
                    const BenchCountersOptions& options) {
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

}  // namespace outboard::cli
