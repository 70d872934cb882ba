#include "cli/options.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>

#include "cli/sim.h"
#include "devices/amd/driver/firmware.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "hub/firmware.h"
#include "hub/hub.h"
#include "machine/sim_device.h"
#include "simulator/card/card_model.h"
#include "support/error.h"
#include "support/files_in_use.h"
#include "support/mapped_file.h"
#include "support/notice.h"
#include "support/terminal.h"
#include "support/thread_team.h"

namespace outboard::cli {

void add_threads_option(CLI::App& command, int& threads, const std::string& about) {
  constexpr int kMost = 1024;
  command.add_option("--threads,-t", threads, about)
      ->check(CLI::Range(0, kMost))
      ->transform([](const std::string& text) {
        int asked = 0;
        if (!CLI::detail::lexical_cast(text, asked) || asked <= 0 || asked > kMost) return text;
        const int used = ThreadTeam::limited(asked);
        if (used == asked) return text;
        notice("outboard: --threads {}: this process may use {}; {}\n", asked,
               used == 1 ? "1 processor" : fmt::format("{} processors", used),
               used == 1 ? "1 thread" : fmt::format("{} threads", used));
        return std::to_string(used);
      })
      ->capture_default_str();
}

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("MODEL", options.model, "model file, Hugging Face folder or pulled name")
      ->required();
  add_device_options(command, options);
}

void add_device_options(CLI::App& command, ModelOptions& options) {
  command
      .add_option("--device", options.device,
                  "where to run: auto, cpu, amd (the card), remote:HOST:PORT, tinygpu:SOCKET, "
                  "pci:ADDRESS, sim (the simulated card; sim:xt, sim:gre: its sisters)")
      ->capture_default_str();
  add_threads_option(command, options.open.threads);
  command.add_option("--firmware-dir", options.open.firmware,
                     "folder with the card's firmware; else what was pulled, or the system's");
  command.add_flag("--take", options.open.take,
                   "Linux: take the card at pci:ADDRESS from its kernel driver");
  command.add_flag("--strict", options.open.strict,
                   "--device sim: look for rules of the hardware that are broken (slow)");
  command
      .add_option("--link", options.open.link,
                  std::string("--device sim: ") + kLinkHelp + "; default: it takes no time")
      ->type_name("NAME");
  command
      .add_option("--ctx,-c", options.context,
                  "context in tokens; 0: what the model was trained for, or as much as fits")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  add_ignore_option(command, options.ignore_unknown);
}

namespace {

void tell(std::string_view text) { notice("outboard: {}\n", text); }

}  // namespace

void tell_of_context(const ModelOptions& options, int context, const engine::Model& model) {
  if (options.context == 0 && context < model.program().context_length)
    tell(fmt::format("a context of {} of the {} that {} was trained for: more does not fit",
                     context, model.program().context_length, model.program().name));
}

namespace {

void refuse_meaningless(const ModelOptions& options) {
  const bool simulated = simulator::card::simulated_card(options.device) != nullptr;
  const auto refuse = [&](std::string_view option, std::string_view where) {
    throw Error(fmt::format("{} has no meaning with --device {}", option, options.device),
                fmt::format("It is for {}.", where));
  };
  if (options.open.strict && !simulated) refuse("--strict", "the simulated card: --device sim");
  if (options.open.take && !options.device.starts_with("pci:"))
    refuse("--take", "a card in this machine: --device pci:0000:03:00.0");
  if (!options.open.firmware.empty() && (simulated || options.device == "cpu"))
    refuse("--firmware-dir", "a real card");
}

}  // namespace

LoadedModel::LoadedModel(const ModelOptions& options)
    : device_name_(options.device), open_(options.open) {
  refuse_meaningless(options);
  if (open_.firmware.empty()) open_.firmware = firmware_folders();
  open_.on_notice = tell;
  if (may_redraw())
    open_.on_stage = [](std::string_view stage) { notice("\r\033[Kcard: {}", stage); };
  engine::LoadOptions load;
  load.ignore_unknown = options.ignore_unknown;
  load.on_notice = tell;
  const std::filesystem::path path = hub::find_model(options.model);
  model_ = engine::Model::load(path, load);
  hub::note_use(path);
  // Last, so that a wrong file is told of before a card is booted for it.
  open_device();
}

void LoadedModel::open_device() {
  opened_ = machine::open_device(device_name_, open_);
  if (open_.on_stage) notice("\r\033[K");
}

void LoadedModel::reopen_device() {
  opened_ = {};  // the one that failed gives the card back first
  open_device();
}

LoadedModel::~LoadedModel() {
  if (!open_.strict || opened_.simulated == nullptr) return;
  try {
    const std::vector<std::string> rules = opened_.simulated->shut_down();
    for (const std::string& rule : rules) notice("outboard: {}\n", rule);
    notice("outboard: strict: {} rules broken\n", rules.size());
  } catch (const Error& e) {
    notice("outboard: strict: the card could not be put to rest: {}\n", e.message());
  }
}

void add_speculation_options(CLI::App& command, SpeculationOptions& options) {
  command
      .add_option(
          "--speculate", options.speculate,
          "guess tokens and compute several a step, with the same text: off, mtp (by the "
          "model's own head for it), lookup (what followed before in the text), draft (by a "
          "smaller model), auto (mtp where the model has it, else lookup on the processor) "
          "[auto]")
      ->check(CLI::IsMember({"auto", "off", "lookup", "mtp", "draft"}));
  command.add_option("--draft", options.draft,
                     "a smaller model with the same tokens that guesses; file or pulled name");
  command
      .add_option("--draft-tokens", options.tokens,
                  "guesses a step; 0: as many as gain, by what steps took and how many were right")
      ->check(CLI::Range(0, static_cast<int>(engine::kMaxDraft)))
      ->capture_default_str();
}

void apply(const SpeculationOptions& options, bool ignore_unknown, engine::Speculation fallback,
           engine::SessionOptions& session) {
  session.speculation = fallback;
  if (!options.speculate.empty()) session.speculation = *engine::speculation_of(options.speculate);
  if (options.speculate.empty() && !options.draft.empty())
    session.speculation = engine::Speculation::kDraft;
  const bool drafts = session.speculation == engine::Speculation::kDraft;
  if (drafts && options.draft.empty())
    throw Error("--speculate draft: which model guesses is missing", "Give it with --draft MODEL.");
  session.draft_tokens = options.tokens;
  if (options.tokens > 0 && session.speculation == engine::Speculation::kOff)
    throw Error(
        fmt::format("--draft-tokens {} and --speculate off: nothing is guessed", options.tokens),
        "Leave one of them out.");
  if (!drafts && !options.draft.empty())
    throw Error(fmt::format("--draft {} and --speculate {}: the model would guess nothing",
                            options.draft, options.speculate),
                "Leave one of them out.");
  if (!drafts) return;
  engine::LoadOptions load;
  load.ignore_unknown = ignore_unknown;
  load.on_notice = tell;
  session.draft = engine::Model::load(hub::find_model(options.draft), load);
}

void add_sampling_options(CLI::App& command, SamplingOptions& options) {
  command.add_option("-n", options.max_tokens, "most tokens to answer; -1: until the model ends")
      ->check(CLI::Range(-1, 1 << 30))
      ->capture_default_str();
  // Not said here: what the model's file asks for, or these.
  const engine::SamplingSettings usual;
  const auto or_model = [](std::string_view about, auto value) {
    return fmt::format("{} [the model's own, or {:g}]", about, static_cast<double>(value));
  };
  command
      .add_option("--temp", options.temperature,
                  or_model("temperature; 0: always the likeliest token", usual.temperature))
      ->check(CLI::Range(0.0, 100.0));
  command
      .add_option("--top-k", options.top_k,
                  or_model("choose among the K likeliest; 0: all", usual.top_k))
      ->check(CLI::Range(0, 1 << 30));
  command
      .add_option("--top-p", options.top_p,
                  or_model("choose among the likeliest that reach P together", usual.top_p))
      ->check(CLI::Range(0.0, 1.0));
  command
      .add_option("--min-p", options.min_p,
                  or_model("drop tokens less than P times as likely as the best", usual.min_p))
      ->check(CLI::Range(0.0, 1.0));
  command
      .add_option("--repeat-penalty", options.repeat_penalty,
                  or_model("make the last 64 tokens less likely; 1: off", usual.repeat_penalty))
      ->check(CLI::Range(0.01, 100.0));
  command.add_option("--seed", options.seed, "seed of the random choice; -1: a new one each time")
      ->check(CLI::Range(int64_t{-1}, INT64_MAX))
      ->capture_default_str();
  command.add_option("--stop", options.stop, "end the answer before this text (may be repeated)")
      ->take_all();
}

void apply(const SamplingOptions& options, const engine::Model& model, engine::Request& request) {
  engine::SamplingSettings& settings = request;
  settings = engine::sampling_of(model.file().metadata);
  settings.temperature = options.temperature.value_or(settings.temperature);
  settings.top_k = options.top_k.value_or(settings.top_k);
  settings.top_p = options.top_p.value_or(settings.top_p);
  settings.min_p = options.min_p.value_or(settings.min_p);
  settings.repeat_penalty = options.repeat_penalty.value_or(settings.repeat_penalty);
  request.max_tokens = options.max_tokens;
  request.stop = options.stop;
  if (options.seed >= 0) request.seed = static_cast<uint64_t>(options.seed);
}

void add_ignore_option(CLI::App& command, bool& ignore_unknown) {
  command.add_flag("--ignore-unknown", ignore_unknown,
                   "go on with a model that asks for what Outboard does not know");
}

void judge_unknown(const formats::Model& model, bool ignore_unknown,
                   const std::vector<std::string>& more) {
  std::vector<std::string> unknown = model.unknown;
  unknown.insert(unknown.end(), more.begin(), more.end());
  engine::judge_unknown(model, unknown, ignore_unknown, tell);
}

void add_grammar_options(CLI::App& command, GrammarOptions& options) {
  auto* schema = command.add_option("--json-schema", options.schema,
                                    "file with a JSON schema that the answer must fit");
  auto* grammar = command.add_option("--grammar", options.grammar,
                                     "file with a grammar (llama.cpp's GBNF) for the answer");
  auto* object = command.add_flag("--json-object", options.json_object,
                                  "the answer is one JSON object, of any kind");
  schema->excludes(grammar)->excludes(object);
  grammar->excludes(object);
}

std::shared_ptr<const grammar::Grammar> read_grammar(const GrammarOptions& options) {
  if (options.json_object) return grammar::any_json(true);
  const std::string& file = options.schema.empty() ? options.grammar : options.schema;
  if (file.empty()) return nullptr;
  const std::string text = read_text(file);
  try {
    if (options.schema.empty()) return grammar::parse_gbnf(text);
    grammar::SchemaGrammar made = grammar::compile_schema_text(text);
    for (const std::string& note : made.notes) notice("outboard: {}: {}\n", file, note);
    return std::move(made.grammar);
  } catch (Error& e) {
    e.add_context(file == "-" ? "standard input" : file);
    throw;
  }
}

void add_trust_option(CLI::App& command, bool& trust_markers) {
  command.add_flag("--trust-markers", trust_markers,
                   "markers such as <|im_end|> inside messages become control tokens, as if the "
                   "chat template had written them");
}

void tell_of_markers(const text::Tokenizer& tokenizer, std::string_view message) {
  const std::vector<std::string> markers = tokenizer.markers_in(message);
  if (markers.empty()) return;
  constexpr size_t kShown = 5;
  std::string list;
  for (size_t i = 0; i < std::min(kShown, markers.size()); ++i)
    list += (i == 0 ? "" : ", ") + markers[i];
  if (markers.size() > kShown) list += ", ...";
  notice("outboard: {} in the message: taken as text (--trust-markers makes it a marker)\n", list);
}

std::vector<std::filesystem::path> firmware_folders() {
  std::vector<std::filesystem::path> folders = devices::amd::driver::system_firmware_folders();
  // Where nothing says where pulled files lie (a service without HOME), none were pulled.
  if (hub::has_model_folder()) folders.insert(folders.begin(), hub::firmware_folder());
  return folders;
}

namespace {

std::string read(const std::string& path, bool is_only_read) {
  const std::string name = path == "-" ? "standard input" : path;
  const int file = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw system_error("open", name);
  const std::unique_ptr<const int, void (*)(const int*)> closed(&file, [](const int* opened) {
    if (*opened != STDIN_FILENO) ::close(*opened);
  });
  if (is_only_read) note_read(file, name);
  std::string text;
  std::array<char, 1 << 16> bytes;
  for (;;) {
    const ssize_t count = ::read(file, bytes.data(), bytes.size());
    if (count == 0) return text;
    if (count > 0) {
      text.append(bytes.data(), static_cast<size_t>(count));
    } else if (errno == EISDIR) {
      throw Error(fmt::format("{}: this is a folder, expected a text file", name), "Name a file.");
    } else if (errno != EINTR) {
      throw system_error("read", name);
    }
  }
}

}  // namespace

std::string read_text(const std::string& path) { return read(path, true); }
std::string read_whole(const std::string& path) { return read(path, false); }

void print(std::string_view text) {
  MappedFile::check_all();  // what is shown may come from one
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0)
    return;
  if (errno == EPIPE) throw ReaderHasGone();
  throw system_error("write", "standard output");
}

std::string only_model(std::string_view command) {
  std::vector<std::string> names;
  for (const hub::Installed& model : hub::installed()) names.push_back(model.name);
  if (names.size() == 1) return names.front();
  throw Error(fmt::format("{}: which model?", command),
              names.empty() ? "None has been pulled yet. `outboard pull` lists what there is."
                            : fmt::format("Pulled models: {}.", fmt::join(names, ", ")));
}

double per_second(int count, double seconds) { return seconds > 0 ? count / seconds : 0; }

std::string speed_line(const engine::Completion& c) {
  const int computed = c.prompt_tokens - c.cached_tokens;
  std::string line = fmt::format("prompt {} tokens, {:.1f} tokens/s", c.prompt_tokens,
                                 per_second(computed, c.prompt_seconds));
  if (c.cached_tokens > 0) line += fmt::format(" ({} known already)", c.cached_tokens);
  line += fmt::format("; answer {} tokens, {:.1f} tokens/s", c.tokens.size(),
                      per_second(c.decoded_tokens, c.decode_seconds));
  if (c.drafted_tokens > 0)
    line += fmt::format(" ({} of {} guessed right)", c.accepted_tokens, c.drafted_tokens);
  return line;
}

namespace {
void set_flag(int) { InterruptGuard::flag().store(true); }
}  // namespace

InterruptGuard::InterruptGuard() {
  flag().store(false);
  previous_ = std::signal(SIGINT, set_flag);
}

InterruptGuard::~InterruptGuard() { std::signal(SIGINT, previous_); }

std::atomic<bool>& InterruptGuard::flag() {
  static std::atomic<bool> interrupted{false};
  return interrupted;
}

}  // namespace outboard::cli
