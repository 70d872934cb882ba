// Files of what passed over the link: --record, and the traffic in a report of doctor's.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/options.h"
#include "link/recording.h"
#include "support/scrub.h"

namespace outboard::cli {

// This machine's names, and those in what a person calls a card and in a firmware folder's path.
Scrubber scrubber_for(const std::string& device, const std::string& firmware);

// Throws Error when a file could not be put there later. option: the one that names it.
void check_writable(const std::string& path, std::string_view option);

// A ZIP archive with the files and the traffic. Ends the recording.
void write_recording(const std::string& path,
                     std::vector<std::pair<std::string, std::vector<std::byte>>> files,
                     link::Recording& recording);

void add_record_option(CLI::App& command, ModelOptions& options);
// Runs a command's body; with --record, writes the file when the body has ended, well or badly.
void recorded(ModelOptions& options, const std::function<void()>& body);

}  // namespace outboard::cli
