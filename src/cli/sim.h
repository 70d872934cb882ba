// The subcommands of `outboard sim`.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

namespace outboard::cli {

void add_sim_serve(CLI::App& sim);

// "256M", "24G", "4096": bytes, powers of 1024. Throws Error.
uint64_t parse_bytes(const std::string& text);

}  // namespace outboard::cli
