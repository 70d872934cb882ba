// Options that several subcommands share, and small helpers for what they print.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "machine/open.h"
#include "support/error.h"

namespace outboard::cli {

// --threads: no more than the processors that this process may use, told if more are asked for.
void add_threads_option(CLI::App& command, int& threads,
                        const std::string& about = "CPU threads; 0: one a core");

struct ModelOptions {
  std::string model;
  std::string device = "auto";
  machine::OpenOptions open;
  int context = 0;
  std::string record;  // file for what passes over the card's link; empty: none
  bool ignore_unknown = false;
};
// --ignore-unknown of commands that take models.
void add_ignore_option(CLI::App& command, bool& ignore_unknown);
// In one line, where --ctx was not given: that the context is shorter than the model's own.
void tell_of_context(const ModelOptions& options, int context, const engine::Model& model);
// For commands that read a model's file and do not run it: refuses what the file asks for and
// nobody knows, or tells of it where that is to be ignored, and tells of the notes. `more` comes
// from whatever else has read the file.
void judge_unknown(const formats::Model& model, bool ignore_unknown,
                   const std::vector<std::string>& more = {});
void add_model_options(CLI::App& command, ModelOptions& options);
// All of those but MODEL.
void add_device_options(CLI::App& command, ModelOptions& options);
// A model and the device that it runs on.
class LoadedModel {
 public:
  // Finds the model, loads it, opens the device; errors name the file.
  explicit LoadedModel(const ModelOptions& options);
  // A strict simulated card says which rules were broken. REQUIRES: nothing runs on the device.
  ~LoadedModel();
  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;

  const std::shared_ptr<const engine::Model>& model() const { return model_; }
  devices::Device& device() const { return *opened_.device; }
  machine::SimDevice* simulated() const { return opened_.simulated; }  // null on other devices
  // After the device failed for good: opens it again. Throws Error. REQUIRES: nothing runs on it,
  // and nobody holds device().
  void reopen_device();

 private:
  void open_device();

  std::shared_ptr<const engine::Model> model_;
  std::string device_name_;
  machine::OpenOptions open_;
  machine::Opened opened_;
};

// What the person did not say is the model's to say, then the engine's.
struct SamplingOptions {
  int max_tokens = -1;
  std::optional<float> temperature;
  std::optional<int> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repeat_penalty;
  int64_t seed = -1;
  std::vector<std::string> stop;
};
void add_sampling_options(CLI::App& command, SamplingOptions& options);
void apply(const SamplingOptions& options, const engine::Model& model, engine::Request& request);

// How a text's next tokens are guessed (engine/speculation.h).
struct SpeculationOptions {
  std::string speculate;  // empty: not said
  std::string draft;      // model
  int tokens = 0;         // guesses a step; 0: as many as gain
};
void add_speculation_options(CLI::App& command, SpeculationOptions& options);
// fallback: where nothing is said. Loads the draft model.
void apply(const SpeculationOptions& options, bool ignore_unknown, engine::Speculation fallback,
           engine::SessionOptions& session);

// What an answer must look like; at most one is given.
struct GrammarOptions {
  std::string schema;   // file
  std::string grammar;  // file
  bool json_object = false;
};
void add_grammar_options(CLI::App& command, GrammarOptions& options);
// Null: anything. Errors name the file.
std::shared_ptr<const grammar::Grammar> read_grammar(const GrammarOptions& options);

// --trust-markers of commands that have conversations.
void add_trust_option(CLI::App& command, bool& trust_markers);
// Says which markers of turns a message spells, since they stay text there.
void tell_of_markers(const text::Tokenizer& tokenizer, std::string_view message);

// Where the card's firmware is looked for: what was pulled, then the system's folders.
std::vector<std::filesystem::path> firmware_folders();

// A whole file, or standard input for "-", as something that this command reads and must not write
// (files_in_use.h). Throws Error naming the path.
std::string read_text(const std::string& path);
// The same for a file that the command may write as well.
std::string read_whole(const std::string& path);

// Nobody reads standard output any more (| head): thrown by print(), it ends the program as the
// signal for that would, after what is open is closed in order.
class ReaderHasGone : public std::exception {
 public:
  const char* what() const noexcept override { return "nobody reads standard output any more"; }
};
// Ctrl-C ended the work.
class Interrupted : public Error {
 public:
  using Error::Error;
};
inline constexpr int kInterrupted = 130;  // status, 128 + SIGINT, as shells have it

// Writes to standard output; throws Error when that fails (a full disk, a stream that was closed
// before the program began), ReaderHasGone when it is a pipe without a reader.
void print(std::string_view text);

// The only model that was pulled, for a command that was given none. Throws Error that begins with
// the command and lists those that there are.
std::string only_model(std::string_view command);

// "prompt 12 tokens, 345.6 tokens/s; answer 64 tokens, 78.9 tokens/s".
std::string speed_line(const engine::Completion& completion);
double per_second(int count, double seconds);

// While one lives, Ctrl-C sets flag() instead of ending the program.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  static std::atomic<bool>& flag();

 private:
  void (*previous_)(int);
};

}  // namespace outboard::cli
