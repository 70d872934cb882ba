#include "support/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace outboard {
namespace {

bool is_forbidden = false;

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : value;
}

}  // namespace

size_t terminal_columns(int file) {
  winsize size{};
  if (::isatty(file) != 1 || ::ioctl(file, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

bool may_redraw() {
  const std::string_view plain = variable("OUTBOARD_PLAIN");
  return !is_forbidden && ::isatty(STDERR_FILENO) == 1 && variable("TERM") != "dumb" &&
         variable("NO_COLOR").empty() && (plain.empty() || plain == "0");
}

void forbid_redrawing() { is_forbidden = true; }

}  // namespace outboard
