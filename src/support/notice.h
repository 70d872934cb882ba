// What a program says beside its output, on standard error.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace outboard {

// Writes to standard error. Where that is closed, full or gone nothing else changes: the work goes
// on, and its result and status are the same.
void notice_text(std::string_view text);

template <typename... Args>
void notice(fmt::format_string<Args...> format, Args&&... args) {
  notice_text(fmt::format(format, std::forward<Args>(args)...));
}

// From now on notices are not written: the person wants the result and nothing beside it. Errors
// still are, by complain().
void be_quiet();

// What ends the program, on standard error.
void complain(std::string_view text);

// To be called first: a standard stream that was closed before the program began gets a place
// where reading and writing fail (standard error: where all vanishes), or else the first file that
// is opened would take its number, and messages would be written into it.
void hold_standard_streams();

}  // namespace outboard
