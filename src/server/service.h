// Models that are served, and the one thread that runs all their answers.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/conversation.h"
#include "chat/format.h"
#include "engine/engine.h"
#include "machine/open.h"
#include "server/refusal.h"

namespace outboard::server {

// "5m", "1h30m", "30s", plain seconds; "-1" and other negative ones: for ever (-1 s). Throws
// Refusal naming `name`.
std::chrono::seconds read_duration(std::string_view name, std::string_view text);

// ollama's clients write "NAME:latest" for NAME.
std::string without_latest(std::string name);

struct ServiceOptions {
  std::vector<std::string> models;  // files or pulled names, loaded at the start; the first is the
                                    // one for tools that insist on names of their own
  std::string device = "auto";
  machine::OpenOptions open;
  int context = 0;            // positions a sequence; 0: the model's own, or as many as fit
  int parallel = 16;          // sequences in one step
  int cache_positions = 0;    // of all sequences of a model; 0: a context, or 32768 if that is more
                              // and fits
  size_t most_waiting = 512;  // requests beyond `parallel`; more are refused with 503
  std::filesystem::path cache_folder;  // prompts on disk; empty: none
  uint64_t cache_bytes = uint64_t{8} << 30;
  // How long answers wait for a device that has gone, before they end with an error.
  std::chrono::seconds wait_for_device{30};
  int models_max = 1;                                         // models on the device at a time
  std::chrono::seconds keep_alive = std::chrono::minutes(5);  // idle; negative: for ever
  std::optional<engine::Pooling> pooling;  // of embeddings; none: as the model's file says, or mean
  engine::Speculation speculation = engine::Speculation::kAuto;  // while one answer is computed
  bool ignore_unknown = false;
  bool log_prompts = false;  // what is asked and answered
  bool log_cache = false;    // where a prompt differs from the one that it should continue
  std::function<void(std::string_view)> log;       // a line for the person
  std::function<void(std::string_view)> log_work;  // a line for each answer
};

// A model's files, read: what is needed to make a prompt and to read an answer. Immutable.
struct ServedModel {
  std::string name;
  std::filesystem::path path;
  std::shared_ptr<const engine::Model> model;
  chat::Format format;  // of its chat template; the generic one where it has none
  chat::TemplateAbilities abilities;
  int context;    // positions a sequence
  int positions;  // of all sequences
  engine::Pooling pooling;
  uint64_t bytes;      // of its files
  std::string digest;  // of path, size and time: 64 hex digits; not of the content
  std::filesystem::file_time_type modified;
};

// One answer, or the embedding of a text, that is asked for. Its functions are called by the
// service's thread, in this order: started, piece ..., then one of done and failed. They must not
// throw.
struct Job {
  std::shared_ptr<const ServedModel> model;
  engine::Request request;
  bool embeds = false;                             // Completion::states instead of an answer
  std::optional<std::chrono::seconds> keep_alive;  // of the model from now on
  std::function<void()> started;                   // it is in the queue of a loaded model
  std::function<void(const engine::Piece&)> piece;
  std::function<void(engine::Completion&&)> done;
  std::function<void(const Refusal&)> failed;
  std::atomic<bool> cancel{false};
};

struct Counters {
  uint64_t requests = 0;
  uint64_t prompt_tokens = 0;  // computed
  uint64_t cached_tokens = 0;
  uint64_t answer_tokens = 0;
  uint64_t drafted_tokens = 0;   // guesses (engine/speculation.h)
  uint64_t accepted_tokens = 0;  // those that were right
  double prompt_seconds = 0;
  double answer_seconds = 0;
  uint64_t failures = 0;
  uint64_t device_failures = 0;
};

struct LoadedStatus {
  std::string name;
  std::chrono::system_clock::time_point until;  // when it will be unloaded, if idle
  bool for_ever = false;
  devices::MemoryUse memory;
  std::vector<engine::SequenceStatus> sequences;
};

struct Status {
  std::string state;   // "ok", "loading MODEL", "opening the device", "error: ..."
  bool ok = true;      // requests will be answered by and by
  std::string device;  // description; empty before it is open
  std::vector<LoadedStatus> loaded;
  size_t waiting = 0;  // jobs that no session has yet
  Counters counters;
};

class Service {
 public:
  // Reads the files of options.models and opens the device; the models are brought to it by the
  // service's thread. Throws Error where a file is wrong or the device can't be opened.
  explicit Service(ServiceOptions options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // The model of a request's name: one given at the start (its name, or the file's), one that was
  // pulled; "NAME:latest" is NAME. Names of models that tools insist on ("claude-...", "gpt-...",
  // "text-embedding-...") get the first of the start, and so does an empty one. Reads its files
  // when first asked for. Throws Refusal, 404, naming those that are here.
  std::shared_ptr<const ServedModel> find(const std::string& name);
  // Names that find() takes: given, then pulled.
  std::vector<std::string> names() const;
  // Those of the start.
  std::vector<std::string> given() const;
  // Forget what was read of a pulled model whose file has gone or changed.
  void forget(const std::string& name);

  // Queues it. Throws Refusal: 503 when too many wait, or when the service is stopping.
  void submit(std::shared_ptr<Job> job);
  // Loads (or, with 0, unloads) the model for this time without a job; returns at once.
  void keep(std::shared_ptr<const ServedModel> model, std::chrono::seconds keep_alive);

  Status status() const;
  const ServiceOptions& options() const { return options_; }

  // Running answers are cancelled and get their ends, waiting ones are refused, the device is put
  // to rest. Nothing can be submitted from now on.
  void stop();

 private:
  struct State;
  std::shared_ptr<ServedModel> read(const std::string& name,
                                    const std::filesystem::path& path) const;
  void fit(ServedModel& model) const;

  ServiceOptions options_;
  std::vector<std::pair<std::string, std::filesystem::path>> given_;
  mutable std::mutex files_mutex_;
  std::map<std::string, std::shared_ptr<const ServedModel>> files_;
  uint64_t room_ = 0;        // of the device, with nothing on it
  bool own_memory_ = false;  // Device::has_own_memory()
  std::unique_ptr<State> state_;
};

}  // namespace outboard::server
