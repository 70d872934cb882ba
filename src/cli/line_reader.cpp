#include "cli/line_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "support/error.h"
#include "support/files_in_use.h"

namespace outboard::cli {

LineReader::LineReader(const std::string& path)
    : path_(path == "-" ? "standard input" : path),
      file_(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (file_ < 0) throw system_error("open", path_);
  try {
    note_read(file_, path_);
  } catch (...) {  // the destructor of a half-made object does not run
    if (file_ != STDIN_FILENO) ::close(file_);
    throw;
  }
}

LineReader::~LineReader() {
  if (file_ != STDIN_FILENO) ::close(file_);
}

bool LineReader::fill(bool wait) {
  // Unlike read(), poll() ends at every signal.
  pollfd poll{file_, POLLIN, 0};
  if (::poll(&poll, 1, wait ? -1 : 0) <= 0) return false;
  std::array<char, 1 << 16> bytes;
  const ssize_t count = ::read(file_, bytes.data(), bytes.size());
  if (count < 0) {
    if (errno == EINTR || errno == EAGAIN) return false;
    if (errno == EISDIR)
      throw Error(path_ + ": this is a folder, expected a text file", "Name a file.");
    throw system_error("read", path_);
  }
  if (count == 0) ended_ = true;
  buffer_.append(bytes.data(), static_cast<size_t>(count));
  return true;
}

std::optional<std::string> LineReader::next(bool wait) {
  size_t end;
  while ((end = buffer_.find('\n', searched_)) == std::string::npos && !ended_) {
    searched_ = buffer_.size();
    if (!fill(wait)) return std::nullopt;
  }
  searched_ = 0;
  if (end == std::string::npos) {  // the last line may lack its newline
    if (buffer_.empty()) return std::nullopt;
    return std::exchange(buffer_, {});
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  return line;
}

}  // namespace outboard::cli
