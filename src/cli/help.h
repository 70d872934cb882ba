// How --help looks: lines of 80 columns, words whole.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <string_view>

namespace outboard::cli {

// For CLI::App::formatter(), before commands are added.
std::shared_ptr<CLI::FormatterBase> help_formatter();

// Each line of the text in lines of at most `width` columns that begin with `indent` spaces, the
// first one too. Words longer than that stay whole. Lines that are indented already stay as they
// are: examples, lists.
std::string wrapped(std::string_view text, size_t width, size_t indent = 0);

// `outboard help [COMMAND ...]` and `outboard version`. app: outlives them.
void add_help(CLI::App& app);

}  // namespace outboard::cli
