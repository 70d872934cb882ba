#include "cli/chat_input.h"

#include <unistd.h>

#include <chrono>
#include <thread>

#include "support/notice.h"
#include "support/terminal.h"

namespace outboard::cli {

namespace {

constexpr std::string_view kQuotes = "\"\"\"";

}  // namespace

ChatInput::ChatInput(bool keeps_history, LineEditor::Completions completions) {
  if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1) return;
  if (is_plain()) {  // the terminal's own lines: the editor draws them again and again
    choose_utf8_locale();
    guard_.emplace();
  } else {
    editor_.emplace(keeps_history ? history_file() : std::filesystem::path(),
                    std::move(completions));
  }
}

ChatInput::Typed ChatInput::read(const std::string& prompt, std::string_view begin,
                                 bool remembers) {
  if (editor_) return editor_->read(prompt, begin, remembers);
  if (guard_) return read_plain(prompt);
  std::optional<std::string> line;
  while (!line && !reader_.ended()) line = reader_.next(true);
  if (!line) return {End::kEndOfInput, {}};
  if (line->ends_with('\r')) line->pop_back();
  return {End::kLine, std::move(*line)};
}

ChatInput::Typed ChatInput::read_plain(const std::string& prompt) {
  print(prompt);
  InterruptGuard::flag() = false;
  std::optional<std::string> line;
  while (!line && !reader_.ended() && !InterruptGuard::flag()) line = reader_.next(true);
  if (InterruptGuard::flag()) {
    print("\n");
    return {End::kInterrupt, {}};
  }
  if (!line) return {End::kEndOfInput, {}};
  // The terminal gives no more than this of a line, and drops the rest.
  constexpr size_t kLongest = 4095;
  if (line->size() >= kLongest)
    notice("outboard: {} bytes are the most that the terminal takes in a line: it may be cut\n",
           kLongest);
  // Lines that come at once were pasted.
  constexpr auto kAtOnce = std::chrono::milliseconds(20);
  for (std::this_thread::sleep_for(kAtOnce); const auto more = reader_.next(false);
       std::this_thread::sleep_for(kAtOnce))
    *line += "\n" + *more;
  return {End::kLine, std::move(*line)};
}

ChatInput::Typed ChatInput::read_message(std::string_view begin) {
  Typed typed = read(">>> ", begin);
  if (typed.end != End::kLine || !typed.line.starts_with(kQuotes)) return typed;
  std::string message = typed.line.substr(kQuotes.size());
  while (!message.ends_with(kQuotes)) {
    const Typed next = read("... ");
    if (next.end == End::kInterrupt) return next;
    if (next.end == End::kEndOfInput) return {End::kLine, std::move(message)};
    message += (message.empty() ? "" : "\n") + next.line;
  }
  message.resize(message.size() - kQuotes.size());
  return {End::kLine, std::move(message)};
}

bool ChatInput::asks(const std::string& question) {
  notice("{}\n", question);
  const Typed typed = read("[y/N] ", {}, false);
  return typed.end == End::kLine && (typed.line == "y" || typed.line == "Y" || typed.line == "yes");
}

}  // namespace outboard::cli
