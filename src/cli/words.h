// What a person types, made into what the commands know: other programs' names, and words that are
// nearly right.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace outboard::cli {

// The words of the command line, without the program's name. Names of llama.cpp's that mean
// something that a command has are replaced by its own; some are taken with a note, since what
// they ask for is done always. Throws Error for a command or an option that there is not, with
// the nearest one that there is, or with why it is not.
std::vector<std::string> understood(const CLI::App& app, std::vector<std::string> words);

// "run", "sim serve": the command that the words name; the program itself where they name none.
const CLI::App* command_of(const CLI::App& app, const std::vector<std::string>& words);

// "outboard sim serve".
std::string name_of(const CLI::App& command);
// "outboard sim serve --help".
std::string help_of(const CLI::App& command);

}  // namespace outboard::cli
