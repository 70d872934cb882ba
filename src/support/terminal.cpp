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

bool can_draw(int file) { return ::isatty(file) == 1 && variable("TERM") != "dumb"; }

bool is_plain() {
  const std::string_view plain = variable("OUTBOARD_PLAIN");
  return !plain.empty() && plain != "0";
}

bool may_redraw() {
  return !is_forbidden && can_draw(STDERR_FILENO) && variable("NO_COLOR").empty() && !is_plain();
}

void forbid_redrawing() { is_forbidden = true; }

}  // namespace outboard
