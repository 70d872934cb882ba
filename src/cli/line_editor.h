// Lines typed on a terminal: edited, and remembered from one session to the next.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace outboard::cli {

// Where the history of conversations lies: $XDG_STATE_HOME/outboard/history, else
// ~/.local/state/outboard/history, on macOS ~/Library/Application Support/outboard/history. Empty
// when there is no home.
std::filesystem::path history_file();

// One at a time. Text is UTF-8 in any locale. While one lives, Ctrl-C ends
// no program.
class LineEditor {
 public:
  // history: read now, and every line added at once (only its owner can read it); empty: none is
  // kept. A history that can't be kept is told once, on standard error.
  explicit LineEditor(std::filesystem::path history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class End { kLine, kInterrupt, kEndOfInput };
  struct Typed {
    End end;
    std::string line;  // without its newline; with kInterrupt: what was thrown away
  };
  // prompt: ASCII
  Typed read(const std::string& prompt);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outboard::cli
