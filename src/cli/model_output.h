// What commands that write or show models share: types by name, and the file one goes to.
#pragma once

#include <string>
#include <string_view>

#include "formats/quantize_model.h"

namespace outboard::cli {

// Throws Error that opens with the command and lists the types.
formats::Mix mix_of(std::string_view command, const std::string& type);
// Before any work: throws Error when the file is there and is not to be replaced, when it is one
// that the command reads, and when nothing can be written there. A character device or a pipe is
// written to without more words.
void check_output(const std::string& path, bool force);
// Throws Error after Ctrl-C (InterruptGuard), so that no half file is left behind.
void stop_if_interrupted(std::string_view command);
// The mix that the file says it is, else the type of most of its bytes: "Q4_K_M".
std::string type_of_model(const formats::Model& model);
// The types, a line each, for a command's help.
std::string types_help();

}  // namespace outboard::cli
