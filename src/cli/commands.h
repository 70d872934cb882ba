// The subcommands: each adds itself to the program's command line; its callback does the work and
// throws Error when that fails.
#pragma once

#include <CLI/CLI.hpp>

namespace outboard::cli {

void add_run(CLI::App& app);
void add_chat(CLI::App& app);
void add_serve(CLI::App& app);
void add_ps(CLI::App& app);
void add_translate(CLI::App& app);
void add_pull(CLI::App& app);
void add_list(CLI::App& app);
void add_show(CLI::App& app);
void add_cp(CLI::App& app);
void add_rm(CLI::App& app);
void add_inspect(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_perplexity(CLI::App& app);
void add_bench(CLI::App& app);
void add_quantize(CLI::App& app);
void add_imatrix(CLI::App& app);
void add_convert(CLI::App& app);
void add_sim(CLI::App& app);
void add_doctor(CLI::App& app);
void add_guard(CLI::App& app);
// After all others: of them it tells.
void add_describe(CLI::App& app);

}  // namespace outboard::cli
