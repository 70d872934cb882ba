// outboard run: one answer.
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/recording.h"
#include "machine/sim_device.h"
#include "simulator/cost/card_work.h"
#include "support/error.h"
#include "support/notice.h"

namespace outboard::cli {
namespace {

struct RunOptions {
  ModelOptions model;
  SamplingOptions sampling;
  SpeculationOptions speculation;
  GrammarOptions grammar;
  std::vector<std::string> texts;
  std::string prompt;
  std::string file;
  std::string system;
  bool raw = false;
  bool trust_markers = false;
  bool json = false;
  bool stats = false;
  bool ignore_eos = false;
};

nlohmann::ordered_json to_json(const engine::Model& model, const engine::Completion& c) {
  return {
      {"model", model.program().name},
      {"text", c.text},
      {"tokens", c.tokens},
      {"finish", engine::name_of(c.finish)},
      {"stop_string", c.stop_string},
      {"seed", c.seed},
      {"prompt_tokens", c.prompt_tokens},
      {"cached_tokens", c.cached_tokens},
      {"drafted_tokens", c.drafted_tokens},
      {"accepted_tokens", c.accepted_tokens},
      {"answer_tokens", c.tokens.size()},
      {"prompt_seconds", c.prompt_seconds},
      {"answer_seconds", c.decode_seconds},
      {"prompt_tokens_per_second", per_second(c.prompt_tokens - c.cached_tokens, c.prompt_seconds)},
      {"answer_tokens_per_second", per_second(c.decoded_tokens, c.decode_seconds)}};
}

// How the simulated card came up.
void print_boot(machine::SimDevice& device) {
  notice("[{}]\n", device.description());
  for (const auto& stage : device.amd().card().stages())
    notice("[boot  {:<20} {:8.1f} ms]\n", stage.name, stage.milliseconds);
}

// What the answer cost it.
void print_cost(const simulator::cost::CardWork& work) {
  const double tokens = std::max(1, work.tokens);
  notice(
      "[a token: {:.2f} round trips, {:.2f} one-way messages, {:.1f} dispatches, {:.2f} M "
      "instructions]\n",
      static_cast<double>(work.round_trips) / tokens, static_cast<double>(work.one_way) / tokens,
      static_cast<double>(work.compute.dispatches) / tokens,
      static_cast<double>(work.compute.instructions()) / tokens / 1e6);
}

// What is asked: of the command line, of a file, or what a pipe brings. None: there is a person at
// a terminal instead.
std::optional<std::string> prompt_of(const RunOptions& options) {
  std::string prompt = options.prompt;
  for (const std::string& text : options.texts) prompt += (prompt.empty() ? "" : " ") + text;
  if (!options.prompt.empty() && !options.texts.empty())
    throw Error("run: a prompt twice: with -p, and behind MODEL", "Give one of them.");
  std::string file = options.file;
  if (prompt.empty() && file.empty()) {
    const bool asks_person = isatty(STDIN_FILENO) == 1;
    if (asks_person && isatty(STDOUT_FILENO) == 1 && !options.json && !options.raw)
      return std::nullopt;
    if (!asks_person) file = "-";
  }
  if (!file.empty()) {
    const std::string text = read_text(file);
    prompt = prompt.empty() ? text : prompt + "\n\n" + text;
  }
  if (prompt.empty())
    throw Error("run: no prompt",
                "Write it behind MODEL, or give -p TEXT, -f FILE (- for "
                "standard input), or a pipe.");
  return prompt;
}

void talk(const RunOptions& options) {
  if (options.ignore_eos)
    throw Error("run: --ignore-eos has no meaning in a conversation", "Give a prompt with it.");
  ChatOptions chat_options;
  chat_options.model = options.model;
  chat_options.sampling = options.sampling;
  chat_options.speculation = options.speculation;
  chat_options.grammar = options.grammar;
  chat_options.system = options.system;
  chat_options.trust_markers = options.trust_markers;
  chat_options.stats = options.stats;
  if (!chat(std::move(chat_options))) throw CLI::RuntimeError(kInterrupted);
}

void run(const RunOptions& options) {
  const std::optional<std::string> asked = prompt_of(options);
  if (!asked) return talk(options);
  const std::string& prompt = *asked;
  engine::Request request;
  request.grammar = read_grammar(options.grammar);  // its mistakes are told before a model is read
  const bool has_grammar = request.grammar != nullptr;
  if (has_grammar && options.ignore_eos)
    throw Error("run: --ignore-eos has no meaning with a form: what fits it ends by itself",
                "Leave one of them out.");
  const LoadedModel loaded(options.model);
  const auto& model = loaded.model();
  if (options.raw) {
    if (!options.system.empty())
      throw Error("run: --system has no meaning with --raw", "Leave one of them out.");
    if (options.trust_markers)
      throw Error("run: --trust-markers has no meaning with --raw, which trusts them always",
                  "Leave one of them out.");
    request.prompt = model->tokenizer().encode(prompt, true, true);
  } else if (!model->has_chat_template()) {
    // A base model: it continues the text.
    if (!options.system.empty())
      throw Error("run: this model has no chat template, so --system can't be given to it",
                  "Put the instruction into the prompt, or use an instruct model.");
    request.prompt = model->tokenizer().encode(prompt, true, options.trust_markers);
  } else {
    std::vector<text::Message> messages;
    if (!options.system.empty()) messages.push_back({"system", options.system});
    messages.push_back({"user", prompt});
    text::ChatOptions chat;
    chat.trust_markers = options.trust_markers;
    if (!options.trust_markers) tell_of_markers(model->tokenizer(), options.system + "\n" + prompt);
    request.prompt = model->chat_tokens(messages, chat);
  }
  apply(options.sampling, *model, request);
  request.ignore_end_of_text = options.ignore_eos;
  engine::SessionOptions session_options;
  session_options.context = options.model.context;
  apply(options.speculation, options.model.ignore_unknown, engine::Speculation::kAuto,
        session_options);
  engine::Session session(model, loaded.device(), session_options);
  tell_of_context(options.model, session.context(), *model);
  const InterruptGuard guard;
  request.cancel = &InterruptGuard::flag();
  auto* simulated = options.stats ? loaded.simulated() : nullptr;
  std::optional<simulator::card::CardCounters> before;
  if (simulated != nullptr) {
    print_boot(*simulated);
    before = simulated->card().counters();
  }
  if (!options.json) request.on_text = [](std::string_view text) { print(text); };
  const engine::Completion c = session.generate(std::move(request));
  if (options.json) {
    // Text of a token that is no valid UTF-8 has become U+FFFD already.
    print(to_json(*model, c).dump(2) + "\n");
  } else {
    print("\n");
  }
  if (c.finish == engine::Finish::kCancelled) {
    notice("outboard: stopped by Ctrl-C: the answer is cut, {} tokens of it are here\n",
           c.tokens.size());
    throw CLI::RuntimeError(kInterrupted);
  }
  if (has_grammar && c.finish != engine::Finish::kEndOfText)
    notice("outboard: the answer is cut ({}): it is no whole text of what was asked for\n",
           engine::name_of(c.finish));
  if (options.json) return;
  if (c.finish == engine::Finish::kContextFull)
    notice(
        "outboard: the context of {} tokens is full, the answer ends here. Use a larger --ctx "
        "(this model can take {}).\n",
        session.context(), model->program().context_length);
  if (options.stats || isatty(STDERR_FILENO) == 1)
    notice("[{}: {}]\n", loaded.device().description(), speed_line(c));
  if (simulated != nullptr) {
    simulated->card().settle();
    const int tokens = c.prompt_tokens - c.cached_tokens + c.decoded_tokens;
    print_cost(simulator::cost::difference(*simulated->card().options().model, *before,
                                           simulated->card().counters(), tokens, tokens));
  }
}

}  // namespace

void add_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Answer one prompt, or talk on a terminal");
  add_model_options(*command, options->model);
  add_record_option(*command, options->model);
  command->add_option(
      "TEXT", options->texts,
      "the prompt; without it and -p and -f what a pipe brings, and on a terminal a "
      "conversation");
  command->add_option("-p,--prompt", options->prompt, "the prompt");
  command->add_option("-f,--file", options->file,
                      "read the prompt from a file; - for standard input");
  command->add_option("--system", options->system, "system message");
  command->add_flag("--raw", options->raw, "no chat template: continue the text as it is");
  add_trust_option(*command, options->trust_markers);
  command->add_flag("--stats", options->stats,
                    "the line about speed, where standard error is no terminal, too; --device sim: "
                    "the boot's stages, and what a token cost");
  command->add_flag("--json", options->json,
                    "print text, token ids, finish reason, counts, timings");
  add_sampling_options(*command, options->sampling);
  command->add_flag("--ignore-eos", options->ignore_eos,
                    "go on past the token that ends the answer, to -n or a full context");
  add_speculation_options(*command, options->speculation);
  add_grammar_options(*command, options->grammar);
  command->footer("Example: outboard run smollm2 \"Name three rivers.\" --temp 0 -n 64");
  command->callback([options] { recorded(options->model, [&] { run(*options); }); });
}

}  // namespace outboard::cli
