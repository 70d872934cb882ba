#include "cli/options.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>

#include "devices/amd/driver/firmware.h"
#include "devices/sim_device.h"
#include "hub/firmware.h"
#include "hub/hub.h"
#include "support/error.h"

namespace outboard::cli {

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("MODEL", options.model, "model file, Hugging Face folder or pulled name")
      ->required();
  command
      .add_option("--device", options.device,
                  "where to run: auto, cpu, amd (the card), remote:HOST:PORT, tinygpu:SOCKET, "
                  "pci:ADDRESS, sim (the simulated card)")
      ->capture_default_str();
  command.add_option("--threads,-t", options.open.threads, "CPU threads; 0: one a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--firmware-dir", options.open.firmware,
                     "folder with the card's firmware; else what was pulled, or the system's");
  command.add_flag("--take", options.open.take,
                   "Linux: take the card at pci:ADDRESS from its kernel driver");
  command.add_flag("--strict", options.open.strict,
                   "--device sim: look for rules of the hardware that are broken (slow)");
  command
      .add_option("--ctx,-c", options.context,
                  "context in tokens; 0: the model's own, at most 8192")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
}

namespace {

// What a strict simulated card has to say at the end.
void report_rules(engine::Model& model) {
  auto* device = dynamic_cast<devices::SimDevice*>(&model.device());
  if (device == nullptr) return;
  try {
    const std::vector<std::string> rules = device->shut_down();
    for (const std::string& rule : rules) fmt::print(stderr, "outboard: {}\n", rule);
    fmt::print(stderr, "outboard: strict: {} rules broken\n", rules.size());
  } catch (const Error& e) {  // called from a destructor
    fmt::print(stderr, "outboard: strict: the card could not be put to rest: {}\n", e.message());
  }
}

}  // namespace

std::shared_ptr<engine::Model> load(const ModelOptions& options) {
  devices::OpenOptions open = options.open;
  if (open.firmware.empty()) open.firmware = firmware_folders();
  open.on_notice = [](std::string_view text) { fmt::print(stderr, "outboard: {}\n", text); };
  if (isatty(STDERR_FILENO) == 1)
    open.on_stage = [](std::string_view stage) { fmt::print(stderr, "\r\033[Kcard: {}", stage); };
  auto model = engine::Model::load(hub::find_model(options.model), {options.device, open});
  if (open.on_stage) fmt::print(stderr, "\r\033[K");
  if (!open.strict) return model;
  // When the last session is gone.
  engine::Model* plain = model.get();
  return {plain, [held = std::move(model)](engine::Model*) mutable { report_rules(*held); }};
}

void add_sampling_options(CLI::App& command, SamplingOptions& options) {
  command.add_option("-n", options.max_tokens, "most tokens to answer; -1: until the model ends")
      ->check(CLI::Range(-1, 1 << 30))
      ->capture_default_str();
  command.add_option("--temp", options.temperature, "temperature; 0: always the likeliest token")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command.add_option("--top-k", options.top_k, "choose among the K likeliest; 0: all")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  command.add_option("--top-p", options.top_p, "choose among the likeliest that reach P together")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--min-p", options.min_p, "drop tokens less than P times as likely as the best")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--repeat-penalty", options.repeat_penalty,
                  "make the last 64 tokens less likely; 1: off")
      ->check(CLI::Range(0.01, 100.0))
      ->capture_default_str();
  command.add_option("--seed", options.seed, "seed of the random choice; -1: a new one each time")
      ->check(CLI::Range(int64_t{-1}, INT64_MAX))
      ->capture_default_str();
  command.add_option("--stop", options.stop, "end the answer before this text (may be repeated)")
      ->take_all();
}

void apply(const SamplingOptions& options, engine::Request& request) {
  request.max_tokens = options.max_tokens;
  request.temperature = options.temperature;
  request.top_k = options.top_k;
  request.top_p = options.top_p;
  request.min_p = options.min_p;
  request.repeat_penalty = options.repeat_penalty;
  request.stop = options.stop;
  if (options.seed >= 0) request.seed = static_cast<uint64_t>(options.seed);
}

std::vector<std::filesystem::path> firmware_folders() {
  std::vector<std::filesystem::path> folders = devices::amd::driver::system_firmware_folders();
  folders.insert(folders.begin(), hub::firmware_folder());
  return folders;
}

std::string read_text(const std::string& path) {
  if (path == "-")
    return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  std::ifstream file(path, std::ios::binary);
  if (!file) throw system_error("open", path);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad()) throw system_error("read", path);
  return text;
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw system_error("write", "standard output");
}

double per_second(int count, double seconds) { return seconds > 0 ? count / seconds : 0; }

std::string speed_line(const engine::Completion& c) {
  const int computed = c.prompt_tokens - c.cached_tokens;
  std::string line = fmt::format("prompt {} tokens, {:.1f} tokens/s", c.prompt_tokens,
                                 per_second(computed, c.prompt_seconds));
  if (c.cached_tokens > 0) line += fmt::format(" ({} known already)", c.cached_tokens);
  return line + fmt::format("; answer {} tokens, {:.1f} tokens/s", c.tokens.size(),
                            per_second(c.decoded_tokens, c.decode_seconds));
}

namespace {
using Handler = void (*)(int);
Handler previous_handler = SIG_DFL;
void set_flag(int) { InterruptGuard::flag().store(true); }
}  // namespace

InterruptGuard::InterruptGuard() {
  flag().store(false);
  previous_handler = std::signal(SIGINT, set_flag);
}

InterruptGuard::~InterruptGuard() { std::signal(SIGINT, previous_handler); }

std::atomic<bool>& InterruptGuard::flag() {
  static std::atomic<bool> interrupted{false};
  return interrupted;
}

}  // namespace outboard::cli
