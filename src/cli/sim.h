// The subcommands of `outboard sim`.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "simulator/compute/dispatch.h"

namespace outboard::cli {

void add_sim_serve(CLI::App& sim);
void add_sim_run(CLI::App& sim);
void add_sim_disasm(CLI::App& sim);
void add_sim_replay(CLI::App& sim);

inline constexpr const char* kMoodHelp =
    "how the card behaves where nobody knows: a name of `outboard sim moods`, or all; several";

inline constexpr const char* kLinkHelp =
    "what lies between host and card: tb3, tb4, usb4, tb5, oculink, or one such as 5MB/s,200us";

// "256M", "24G", "4096": bytes, powers of 1024. Throws Error.
uint64_t parse_bytes(const std::string& text);

nlohmann::ordered_json compute_json(const simulator::compute::Counters& counters);

}  // namespace outboard::cli
