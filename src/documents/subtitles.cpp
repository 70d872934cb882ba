// SubRip: a number, a line of times, lines of text, an empty line.
#include <algorithm>
#include <utility>

#include "documents/document.h"
#include "documents/sentence.h"

namespace outboard::documents {
namespace {

using Kind = Fragment::Kind;

struct Line {
  std::string_view text, end;  // without and with what ends it
};

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    const size_t length = newline == std::string_view::npos ? text.size() : newline + 1;
    std::string_view line = text.substr(0, length);
    size_t shown = line.size();
    while (shown > 0 && (line[shown - 1] == '\n' || line[shown - 1] == '\r')) --shown;
    lines.push_back({line.substr(0, shown), line.substr(shown)});
    text.remove_prefix(length);
  }
  return lines;
}

std::string as_it_is(std::string_view text) { return std::string(text); }

// A caption's text: <i>, </font>, {\an8} are markup.
void add_fragments(std::string_view text, std::vector<Fragment>& out) {
  while (!text.empty()) {
    const size_t tag = std::min(text.find('<'), text.find("{\\"));
    const size_t close =
        tag == std::string_view::npos ? tag : text.find(text[tag] == '<' ? '>' : '}', tag);
    if (close == std::string_view::npos) break;
    const std::string_view before = text.substr(0, tag);
    if (!before.empty()) {
      const bool is_blank = blanks_around(before).begin.size() == before.size();
      const Kind kind = is_blank ? Kind::kBlank : has_letters(before) ? Kind::kText : Kind::kKept;
      out.push_back({kind, std::string(before), std::string(before)});
    }
    const std::string_view raw = text.substr(tag, close + 1 - tag);
    const bool closes = raw.starts_with("</");
    const std::string_view inner = raw.substr(closes ? 2 : 1);
    const Kind kind = raw[0] == '{' ? Kind::kOther : closes ? Kind::kClose : Kind::kOpen;
    out.push_back(
        {kind, std::string(raw), {}, std::string(inner.substr(0, inner.find_first_of(" >")))});
    text.remove_prefix(close + 1);
  }
  if (text.empty()) return;
  const bool is_blank = blanks_around(text).begin.size() == text.size();
  const Kind kind = is_blank ? Kind::kBlank : has_letters(text) ? Kind::kText : Kind::kKept;
  out.push_back({kind, std::string(text), std::string(text)});
}

void add_caption(const std::vector<Line>& lines, std::vector<Part>& parts) {
  bool is_dialogue = false;
  for (const Line& line : lines) {
    const Ends ends = blanks_around(line.text);
    is_dialogue |= line.text.substr(ends.begin.size()).starts_with('-');
  }
  std::vector<Fragment> fragments;
  for (size_t i = 0; i < lines.size(); ++i) {
    std::string_view text = lines[i].text;
    if (is_dialogue) {
      const size_t dash = text.find_first_not_of("- \t");
      const size_t begin = std::min(dash, text.size());
      if (begin > 0) parts.push_back(part_as_it_is(std::string(text.substr(0, begin))));
      text.remove_prefix(begin);
    }
    add_fragments(text, fragments);
    const bool goes_on = !is_dialogue && i + 1 < lines.size();
    if (goes_on) {
      fragments.push_back({Kind::kBreak, std::string(lines[i].end)});
      continue;
    }
    parts.push_back(part_of_sentence(std::exchange(fragments, {}), as_it_is));
    parts.push_back(part_as_it_is(std::string(lines[i].end)));
  }
}

}  // namespace

std::vector<Part> parts_of_srt(std::string_view subtitles) {
  std::vector<Part> parts;
  const std::vector<Line> lines = lines_of(subtitles);
  for (size_t i = 0; i < lines.size(); ++i) {
    parts.push_back(part_as_it_is(std::string(lines[i].text) + std::string(lines[i].end)));
    if (lines[i].text.find("-->") == std::string_view::npos) continue;
    std::vector<Line> caption;
    while (i + 1 < lines.size() && !lines[i + 1].text.empty()) caption.push_back(lines[++i]);
    if (!caption.empty()) add_caption(caption, parts);
  }
  return parts;
}

}  // namespace outboard::documents
