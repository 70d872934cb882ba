#include "cli/translate_input.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "cli/options.h"
#include "support/error.h"
#include "support/notice.h"
#include "text/unicode.h"

namespace outboard::cli {
namespace {

using documents::Encoding;

constexpr std::string_view kMark = "\xEF\xBB\xBF";

bool is_regular(const std::string& path) {
  struct stat status{};
  const int result = path == "-" ? ::fstat(STDIN_FILENO, &status) : ::stat(path.c_str(), &status);
  return result == 0 && S_ISREG(status.st_mode);
}

bool is_utf16(Encoding encoding) {
  return encoding == Encoding::kUtf16LittleEndian || encoding == Encoding::kUtf16BigEndian;
}

Encoding named_encoding(const std::string& name, const std::string& where) {
  if (const auto encoding = documents::encoding_by_name(name)) return *encoding;
  throw Error(fmt::format("{}the encoding \"{}\" is not known", where, name),
              fmt::format("UTF-8, Latin-1, Windows-1252 and UTF-16 are; others go to UTF-8 by "
                          "`iconv -f {} -t UTF-8`.",
                          name));
}

}  // namespace

TranslateInput::TranslateInput(TranslateInputOptions options) : options_(std::move(options)) {
  if (options_.file.empty()) options_.file = "-";
  if (!options_.encoding.empty())
    encoding_ = named_encoding(options_.encoding, "translate: --encoding: ");
  if (!options_.texts.empty()) {
    encoding_ = Encoding::kUtf8;
    for (std::string& text : options_.texts) {
      if (options_.format == TextFormat::kText) {  // one line in, one line out
        std::ranges::replace_if(text, [](char c) { return c == '\n' || c == '\r'; }, ' ');
        items_.push_back(item_of_line(std::move(text)));
      } else {
        add_document(text);
        items_.push_back(item_of(
            documents::Part{{}, [](std::span<const std::string>) { return std::string("\n"); }}));
      }
    }
    return;
  }
  const bool is_whole = options_.format != TextFormat::kText || is_regular(options_.file) ||
                        (encoding_ && is_utf16(*encoding_));
  if (is_whole) {
    read_whole_input(read_text(options_.file));
  } else {
    reader_.emplace(options_.file);
  }
}

std::string TranslateInput::name() const {
  return options_.file == "-" ? "standard input" : options_.file;
}

void TranslateInput::read_whole_input(std::string bytes) {
  const bool was_found = !encoding_;
  if (was_found) {
    encoding_ = documents::find_encoding(bytes);
    // What a page says of itself; a byte order mark goes first.
    const std::string declared =
        options_.format == TextFormat::kHtml ? documents::declared_charset(bytes) : "";
    const bool is_marked = bytes.starts_with(kMark) || is_utf16(*encoding_);
    if (!declared.empty() && !is_marked) {
      encoding_ = named_encoding(declared, name() + ": ");
      // As browsers take it.
      if (*encoding_ == Encoding::kLatin1) encoding_ = Encoding::kWindows1252;
      if (is_utf16(*encoding_)) encoding_ = Encoding::kUtf8;
    }
  }
  documents::Decoded decoded;
  try {
    decoded = documents::decode(bytes, *encoding_);
  } catch (Error& e) {
    e.add_context(name());
    throw;
  }
  encoding_ = decoded.encoding;
  writes_mark_ =
      decoded.has_mark && (*encoding_ == Encoding::kUtf8 || options_.format == TextFormat::kHtml);
  if (*encoding_ != Encoding::kUtf8 && was_found)
    notice("outboard: {} is {}{}\n", name(), documents::name_of(*encoding_),
           options_.format == TextFormat::kHtml ? "" : "; the translation is written as UTF-8");
  if (options_.format != TextFormat::kText) return add_document(decoded.text);
  std::string_view text = decoded.text;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    items_.push_back(item_of_line(std::string(text.substr(0, end))));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  total_ = static_cast<uint64_t>(items_.size());
}

void TranslateInput::add_document(const std::string& text) {
  std::vector<documents::Part> parts;
  if (options_.format == TextFormat::kHtml) parts = documents::parts_of_html(text);
  if (options_.format == TextFormat::kSrt) parts = documents::parts_of_srt(text);
  if (options_.format == TextFormat::kTsv) parts = documents::parts_of_tsv(text, options_.columns);
  for (documents::Part& part : parts) {
    total_ += part.questions.empty() ? 0 : 1;
    items_.push_back(item_of(std::move(part)));
  }
}

std::optional<TranslateItem> TranslateInput::next(bool wait) {
  if (!reader_) {
    if (items_.empty()) return std::nullopt;
    TranslateItem item = std::move(items_.front());
    items_.pop_front();
    return item;
  }
  std::optional<std::string> line = reader_->next(wait);
  if (!line) return std::nullopt;
  return item_of_line(decoded(*line));
}

// A line of a text that comes line by line.
std::string TranslateInput::decoded(std::string_view line) {
  if (encoding_) return documents::decode(line, *encoding_).text;
  if (std::exchange(is_first_, false)) {
    if (line.starts_with("\xFF\xFE") || line.starts_with("\xFE\xFF"))
      throw Error(fmt::format("{} is UTF-16", name()),
                  "Say so with --encoding UTF-16: then it is read as a whole before it is "
                  "translated.");
    if (line.starts_with(kMark)) {
      writes_mark_ = true;
      line.remove_prefix(kMark.size());
    }
  }
  if (text::is_valid_utf8(line)) return std::string(line);
  encoding_ = documents::find_encoding(line);
  if (is_utf16(*encoding_)) encoding_ = Encoding::kLatin1;
  notice("outboard: {} is {}; the translation is written as UTF-8 (--encoding says otherwise)\n",
         name(), documents::name_of(*encoding_));
  return documents::decode(line, *encoding_).text;
}

TranslateItem TranslateInput::item_of_line(std::string line) {
  const bool has_return = line.ends_with('\r');
  if (has_return) line.pop_back();
  if (options_.describe) {
    TranslateItem item;
    item.questions.push_back(std::move(line));
    item.write = [this](std::span<const engine::Translation> translations) {
      return options_.describe(translations.front());
    };
    return item;
  }
  documents::Part part = documents::part_of_line(std::move(line));
  part.write = [write = std::move(part.write), has_return](std::span<const std::string> answers) {
    return write(answers) + (has_return ? "\r\n" : "\n");
  };
  return item_of(std::move(part));
}

TranslateItem TranslateInput::item_of(documents::Part part) {
  TranslateItem item;
  item.questions = std::move(part.questions);
  item.write = [this,
                write = std::move(part.write)](std::span<const engine::Translation> translations) {
    std::vector<std::string> answers;
    for (const engine::Translation& translation : translations) {
      std::string& answer = answers.emplace_back(translation.choices.front().text);
      std::ranges::replace(answer, '\n', ' ');  // one line in, one line out
    }
    return encoded(write(answers), std::exchange(writes_mark_, false));
  };
  return item;
}

// A page stays in its encoding, of which it may tell; all else is written as UTF-8. A byte order
// mark of what is written stays.
std::string TranslateInput::encoded(const std::string& text, bool with_mark) const {
  const Encoding to =
      options_.format == TextFormat::kHtml && encoding_ ? *encoding_ : Encoding::kUtf8;
  return documents::encode(text, to, with_mark, [](char32_t code) {
    return fmt::format("&#{};", static_cast<uint32_t>(code));
  });
}

}  // namespace outboard::cli
