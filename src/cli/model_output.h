// What commands that write a model share: its type by name, and the file it goes to.
#pragma once

#include <string>

#include "formats/quantize_model.h"

namespace outboard::cli {

// Throws Error that opens with the command and lists the types.
formats::Mix mix_of(std::string_view command, const std::string& type);
// Throws Error when the file is there and is not to be replaced.
void check_output(const std::string& path, bool force);
// The types, a line each, for a command's help.
std::string types_help();

}  // namespace outboard::cli
