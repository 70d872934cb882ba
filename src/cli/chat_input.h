// What a conversation is told: by a person at a terminal, or through a pipe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cli/line_editor.h"
#include "cli/line_reader.h"
#include "cli/options.h"

namespace outboard::cli {

class ChatInput {
 public:
  ChatInput(bool keeps_history, LineEditor::Completions completions);

  // There is a person, who sees what is written and can be asked.
  bool has_person() const { return editor_ || guard_; }

  using End = LineEditor::End;
  using Typed = LineEditor::Typed;
  // A message, of one line or of several: those that were pasted together, or between """ and """.
  // begin: what stands in the line already, where it can be edited.
  Typed read_message(std::string_view begin = {});
  // Whether the person says yes. REQUIRES: has_person().
  bool asks(const std::string& question);
  bool can_edit() const { return editor_.has_value(); }

 private:
  Typed read(const std::string& prompt, std::string_view begin = {}, bool remembers = true);
  Typed read_plain(const std::string& prompt);

  std::optional<LineEditor> editor_;
  std::optional<InterruptGuard> guard_;  // of a terminal without the editor
  LineReader reader_{"-"};
};

}  // namespace outboard::cli
