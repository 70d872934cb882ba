// Lines from a file or a pipe, as they arrive.
#pragma once

#include <optional>
#include <string>

namespace outboard::cli {

class LineReader {
 public:
  // A path, or "-" for standard input. Throws Error when it can't be opened.
  explicit LineReader(const std::string& path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // The next line without its newline (a carriage return before it is kept). Waits for it when
  // `wait`; else none where it is not there yet. Also none at the end: see ended(). Throws Error
  // when reading fails. A signal ends the waiting.
  std::optional<std::string> next(bool wait);
  bool ended() const { return ended_ && buffer_.empty(); }

 private:
  bool fill(bool wait);  // false: nothing more now

  std::string path_;
  int file_;
  std::string buffer_;
  size_t searched_ = 0;  // bytes of the buffer that hold no newline
  bool ended_ = false;
};

}  // namespace outboard::cli
