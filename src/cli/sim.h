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

// "256M", "24G", "4096": bytes, powers of 1024. Throws Error.
uint64_t parse_bytes(const std::string& text);

nlohmann::ordered_json compute_json(const simulator::compute::Counters& counters);

}  // namespace outboard::cli
