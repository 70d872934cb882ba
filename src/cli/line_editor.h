// Lines typed on a terminal: edited, and remembered from one session to the next.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace outboard::cli {

// Where the history of conversations lies: $XDG_STATE_HOME/outboard/history, else
// ~/.local/state/outboard/history, on macOS ~/Library/Application Support/outboard/history. Empty
// when there is no home.
std::filesystem::path history_file();

// The locale's characters become those of UTF-8, where the system has such a locale.
void choose_utf8_locale();

// One at a time. Text is UTF-8 in any locale. While one lives, Ctrl-C ends no program. What is
// pasted goes into the line as it is, newlines too (the terminal must know bracketed paste).
class LineEditor {
 public:
  // Whole lines that one may go on to.
  using Completions = std::function<std::vector<std::string>(std::string_view line)>;

  // history: read now, and every line added at once (only its owner can read it; a newline within
  // one is kept as a vertical tab); empty: none is kept. A history that can't be kept is told once,
  // on standard error.
  LineEditor(std::filesystem::path history, Completions completions);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class End { kLine, kInterrupt, kEndOfInput };
  struct Typed {
    End end;
    std::string line;  // without its newline; with kInterrupt: what was thrown away
  };
  // prompt: ASCII. begin: what stands in the line already. remembers: in the history.
  Typed read(const std::string& prompt, std::string_view begin = {}, bool remembers = true);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outboard::cli
