// Options that several subcommands share, and small helpers for what they print.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace outboard::cli {

struct ModelOptions {
  std::string model;
  std::string device = "auto";
  devices::OpenOptions open;
  int context = 0;
};
void add_model_options(CLI::App& command, ModelOptions& options);
// Finds and loads; errors name the file.
std::shared_ptr<engine::Model> load(const ModelOptions& options);

struct SamplingOptions {
  int max_tokens = -1;
  float temperature = 0.8F;
  int top_k = 40;
  float top_p = 0.95F;
  float min_p = 0.05F;
  float repeat_penalty = 1;
  int64_t seed = -1;
  std::vector<std::string> stop;
};
void add_sampling_options(CLI::App& command, SamplingOptions& options);
void apply(const SamplingOptions& options, engine::Request& request);

// Where the card's firmware is looked for: what was pulled, then the system's folders.
std::vector<std::filesystem::path> firmware_folders();

// A whole file, or standard input for "-". Throws Error naming the path.
std::string read_text(const std::string& path);

// Writes to standard output; throws Error when that fails (a full disk, a closed pipe).
void print(std::string_view text);

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
};

}  // namespace outboard::cli
