#include "support/notice.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace outboard {

namespace {
bool is_quiet = false;
}  // namespace

void be_quiet() { is_quiet = true; }

void notice_text(std::string_view text) {
  if (!is_quiet) complain(text);
}

void complain(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
  std::clearerr(stderr);
}

void hold_standard_streams() {
  for (int stream = 0; stream <= 2; ++stream) {
    if (::fcntl(stream, F_GETFD) != -1) continue;
    // The lowest free number is this one. Input that can only be written, output only read.
    const int opened = ::open("/dev/null", stream == 1 ? O_RDONLY : O_WRONLY);
    if (opened != stream && opened > 2) ::close(opened);
  }
}

}  // namespace outboard
