#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <mutex>
#include <thread>

#include "cli/commands.h"
#include "cli/options.h"
#include "server/server.h"
#include "support/notice.h"
#include "support/terminal.h"

namespace outboard::cli {
namespace {

struct ServeOptions {
  ModelOptions model;  // without `model`
  server::ServerOptions server;
  std::string keep_alive = "5m";
  std::string pooling;
  std::string wait_for_device = "30s";
  std::string key_file;
  std::string speculate = "auto";
};

// Lines that stay, and below them one that tells how it goes.
class Terminal {
 public:
  explicit Terminal(bool live) : live_(live) {}
  void line(std::string_view text) {
    const std::lock_guard lock(mutex_);
    if (live_) notice("\r\033[K");
    notice("{}\n", text);
    if (live_) notice("{}", shown_);
  }
  void show(std::string text) {
    if (!live_) return;
    const std::lock_guard lock(mutex_);
    if (text == shown_) return;
    shown_ = std::move(text);
    notice("\r\033[K{}", shown_);
  }

 private:
  bool live_;
  std::mutex mutex_;
  std::string shown_;
};

volatile std::sig_atomic_t interrupts = 0;
void count_interrupt(int) {
  interrupts = interrupts + 1;
  constexpr int kPatience = 3;  // then the person means it
  if (interrupts >= kPatience) _exit(kInterrupted);
}

void greet(const server::Server& server, const server::ServerOptions& options) {
  const std::string address = server.address();
  const std::string model =
      options.service.models.empty() ? "MODEL" : options.service.models.front();
  const std::string key = options.api_keys.empty() ? "none" : "YOUR_KEY";
  notice(
      "Outboard serves on {0}. Ctrl-C ends it.\n\n"
      "  a browser    {0}\n"
      "  Open WebUI   Settings, Connections, OpenAI API: {0}/v1, key {2}\n"
      "  Claude Code  ANTHROPIC_BASE_URL={0} ANTHROPIC_AUTH_TOKEN={2} claude --model {1}\n"
      "  Codex        codex -c model_provider=outboard -c model={1}\n"
      "               -c 'model_providers.outboard={{name=\"Outboard\",base_url=\"{0}/v1\","
      "wire_api=\"responses\"}}'\n"
      "  Zed          settings.json: \"language_models\": {{\"ollama\": {{\"api_url\": "
      "\"{0}\"}}}}\n\n",
      address, model, key);
}

std::string state_line(const server::Status& now, const server::Status& before, double seconds) {
  size_t answering = 0;
  size_t waiting = now.waiting;
  for (const server::LoadedStatus& loaded : now.loaded)
    for (const auto& sequence : loaded.sequences) ++(sequence.waits ? waiting : answering);
  if (now.state != "ok") return now.state;
  if (answering == 0 && waiting == 0) return "";
  const auto answered = [](const server::Status& status) {
    uint64_t tokens = status.counters.answer_tokens;
    for (const server::LoadedStatus& loaded : status.loaded)
      for (const auto& sequence : loaded.sequences)
        tokens += static_cast<uint64_t>(sequence.answered);
    return static_cast<double>(tokens);
  };
  return fmt::format("{} answering, {} waiting, {:.1f} tokens/s, {} prompt tokens cached so far",
                     answering, waiting, std::max(0.0, answered(now) - answered(before)) / seconds,
                     now.counters.cached_tokens);
}

void read_keys(const std::string& file, std::vector<std::string>& keys) {
  if (file.empty()) return;
  const std::string text = read_text(file);
  const size_t before = keys.size();
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty() && !line.starts_with('#')) keys.push_back(line);
    at = end + 1;
  }
  if (keys.size() == before)
    throw Error(fmt::format("{}: holds no key", file), "Write one a line into it.");
}

void serve(ServeOptions options) {
  const bool live = may_redraw();
  Terminal terminal(live);
  server::ServiceOptions& service = options.server.service;
  service.device = options.model.device;
  service.open = options.model.open;
  if (service.open.firmware.empty()) service.open.firmware = firmware_folders();
  service.context = options.model.context;
  service.ignore_unknown = options.model.ignore_unknown;
  service.models_max = std::max(service.models_max, 1);
  service.log = [&](std::string_view text) { terminal.line(fmt::format("outboard: {}", text)); };
  if (live) service.log_work = [&](std::string_view text) { terminal.line(text); };
  service.open.on_notice = service.log;
  if (live)
    service.open.on_stage = [&](std::string_view stage) {
      terminal.show(fmt::format("card: {}", stage));
    };
  service.speculation = *engine::speculation_of(options.speculate);
  service.keep_alive = server::read_duration("--keep-alive", options.keep_alive);
  service.wait_for_device = server::read_duration("--wait-for-device", options.wait_for_device);
  for (const auto pooling : {engine::Pooling::kNone, engine::Pooling::kMean,
                             engine::Pooling::kFirst, engine::Pooling::kLast})
    if (options.pooling == engine::name_of(pooling)) service.pooling = pooling;
  for (const std::string& key : options.server.api_keys)
    if (key.empty()) throw Error("serve: --api-key is empty", "Leave it out, or give a key.");
  read_keys(options.key_file, options.server.api_keys);

  interrupts = 0;
  const auto previous_int = std::signal(SIGINT, count_interrupt);
  const auto previous_term = std::signal(SIGTERM, count_interrupt);
  {
    server::Server server(options.server);
    if (live) {
      greet(server, options.server);
    } else {
      notice("outboard: serving on {}\n", server.address());
    }
    constexpr auto kTick = std::chrono::milliseconds(100);
    constexpr int kTicksALine = 10;
    server::Status before = server.status();
    for (int tick = 1; interrupts == 0; ++tick) {
      std::this_thread::sleep_for(kTick);
      if (!live || tick % kTicksALine != 0) continue;
      server::Status now = server.status();
      terminal.show(state_line(now, before, 1.0));
      before = std::move(now);
    }
    terminal.show("");
    if (live) terminal.line("Ending: running answers are told so. (Ctrl-C twice more: at once.)");
  }
  std::signal(SIGINT, previous_int);
  std::signal(SIGTERM, previous_term);
}

}  // namespace

void add_serve(CLI::App& app) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand(
      "serve", "Serve models over HTTP: OpenAI's, Anthropic's, ollama's and llama.cpp's routes");
  server::ServerOptions& server = options->server;
  server::ServiceOptions& service = server.service;
  command->add_option(
      "MODEL", service.models,
      "model files or pulled names to load at the start; others that were pulled are "
      "loaded when they are asked for");
  command->add_option("--host", server.http.host, "address to listen on")->capture_default_str();
  command->add_option("--port", server.http.port, "port; 0: any that is free")
      ->capture_default_str();
  add_device_options(*command, options->model);
  command->add_option("--parallel", service.parallel, "answers at a time, of a model")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command
      ->add_option("--cache-tokens", service.cache_positions,
                   "tokens that all answers and the prefix cache hold together; 0: a context, at "
                   "least 32768")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  command->add_option("--cache-dir", service.cache_folder,
                      "folder where prompts are kept between runs: a beginning that was computed "
                      "once is read from there. Whoever can read it can read them.");
  command->add_option("--cache-size", service.cache_bytes, "most bytes kept there (8GB, 500MB)")
      ->transform(CLI::AsSizeValue(true))
      ->default_str("8GB");
  command
      ->add_option("--pooling", options->pooling,
                   "what embeddings are made of: mean, cls, last or none (a row a token); without "
                   "it what the model's file says, else mean")
      ->check(CLI::IsMember({"none", "mean", "cls", "last"}));
  command->add_option("--queue", service.most_waiting, "requests that may wait; more get 503")
      ->capture_default_str();
  command
      ->add_option("--connections", server.http.most_connections, "open connections; more get 503")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command
      ->add_option("--keep-alive", options->keep_alive,
                   "unload a model that nobody asks for after this time (30s, 5m, 2h; -1: never)")
      ->capture_default_str();
  command
      ->add_option("--wait-for-device", options->wait_for_device,
                   "where the device has gone, answers wait so long for it and then go on; after "
                   "that they end with an error")
      ->capture_default_str();
  command
      ->add_option(
          "--speculate", options->speculate,
          "while one answer alone is computed, guess its tokens and compute several a "
          "step, with the same text: off, mtp (by the model's own head for it), lookup (what "
          "followed before in the text), auto (mtp where a model has it, else lookup on the "
          "processor)")
      ->check(CLI::IsMember({"auto", "off", "lookup", "mtp"}))
      ->capture_default_str();
  command->add_option("--models-max", service.models_max, "models on the device at a time")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command
      ->add_option("--api-key", server.api_keys, "key that requests must carry (may be repeated)")
      ->take_all();
  command->add_option("--api-key-file", options->key_file, "file with keys, one a line");
  command->add_flag("--no-auth", server.no_auth,
                    "no key, though others can reach the address: all of them may use it");
  command->add_option("--tls-cert", server.http.tls_certificate, "certificate chain (PEM): HTTPS");
  command->add_option("--tls-key", server.http.tls_key, "its private key (PEM)");
  command
      ->add_option("--allow-origin", server.allowed_origins,
                   "origin of web pages that may ask, beside localhost's (may be repeated; *: any)")
      ->take_all();
  command->add_flag("--log-prompts", service.log_prompts, "prompts and answers in the log");
  command->add_flag("--log-cache", service.log_cache,
                    "tell where a prompt differs from the one that it should continue");
  command->footer(
      "Exit status: 0 when it is ended by Ctrl-C or SIGTERM, 130 when that was said three times.\n"
      "Example: outboard serve smollm2");
  command->callback([options] { serve(*options); });
}

}  // namespace outboard::cli
