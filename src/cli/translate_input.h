// What `outboard translate` is given: texts, lines as they come, or a document as a whole.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/line_reader.h"
#include "documents/document.h"
#include "documents/encoding.h"
#include "engine/translator.h"

namespace outboard::cli {

enum class TextFormat : uint8_t { kText, kHtml, kSrt, kTsv };

struct TranslateInputOptions {
  std::vector<std::string> texts;  // none: of the file
  std::string file;                // "" or "-": standard input
  TextFormat format = TextFormat::kText;
  std::string encoding;      // a name; empty: found
  std::vector<int> columns;  // of tables; none: all
  // Lines as they are, each with all that is known of its translation.
  std::function<std::string(const engine::Translation&)> describe;
};

// A line, or a part of a document.
struct TranslateItem {
  std::vector<std::string> questions;
  std::function<std::string(std::span<const engine::Translation>)> write;
};

class TranslateInput {
 public:
  // Reads a regular file as a whole, anything else as it comes (of a document all the same whole).
  // Tells of an encoding that is not UTF-8. Throws Error naming the file.
  explicit TranslateInput(TranslateInputOptions options);

  // The next; waits for it when `wait`, else none where it is not there yet. Also none at the end.
  // A signal ends the waiting.
  std::optional<TranslateItem> next(bool wait);
  bool ended() const { return reader_ ? reader_->ended() : items_.empty(); }
  // Of all items those that have something to translate; 0: not known before they have come.
  uint64_t total() const { return total_; }

 private:
  void read_whole_input(std::string bytes);
  void add_document(const std::string& text);
  TranslateItem item_of_line(std::string line);
  TranslateItem item_of(documents::Part part);
  std::string decoded(std::string_view line);
  std::string encoded(const std::string& text, bool with_mark) const;
  std::string name() const;

  TranslateInputOptions options_;
  std::optional<documents::Encoding> encoding_;  // none: to be found
  bool writes_mark_ = false;                     // a byte order mark, before what is written next
  bool is_first_ = true;
  std::optional<LineReader> reader_;  // of what comes line by line
  std::deque<TranslateItem> items_;   // of what is known
  uint64_t total_ = 0;
};

}  // namespace outboard::cli
