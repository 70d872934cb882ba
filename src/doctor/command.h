// The one place through which other programs are asked (macOS's tools); tests replay their answers.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace outboard::doctor {

struct CommandResult {
  int status = 0;      // 127: no such program; 124: it did not end in time
  std::string output;  // standard output and error
};

using CommandRunner = std::function<CommandResult(const std::vector<std::string>& command)>;

// Runs a program without a shell. Given ten seconds: ioreg hangs where a card vanished badly.
CommandResult run_command(const std::vector<std::string>& command);

}  // namespace outboard::doctor
