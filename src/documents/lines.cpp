// Plain text, tables.
#include <algorithm>
#include <utility>

#include "documents/document.h"
#include "documents/sentence.h"
#include "text/sentences.h"

namespace outboard::documents {
namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> list;
  for (;;) {
    const size_t end = text.find(at);
    list.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return list;
    text.remove_prefix(end + 1);
  }
}

bool is_address(std::string_view cell) {
  return cell.find("://") != std::string_view::npos && cell.find(' ') == std::string_view::npos;
}

// A line of cells, of which those that are `wanted` are asked for.
template <typename Wanted>
Part part_of_cells(std::string line, const Wanted& wanted, bool keeps_unsaid) {
  struct Cell {
    std::string begin, text, end;
    bool is_asked;
  };
  std::vector<Cell> cells;
  Part part;
  const std::string_view token = text::language_token(line);  // counts for the whole line
  int column = 0;
  for (const std::string_view raw : split(line, '\t')) {
    const Ends ends = blanks_around(raw);
    const std::string_view text =
        raw.substr(ends.begin.size(), raw.size() - ends.begin.size() - ends.end.size());
    ++column;
    const bool is_asked = !text.empty() && wanted(column, text);
    cells.push_back({std::string(ends.begin), std::string(text), std::string(ends.end), is_asked});
    if (!is_asked) continue;
    const bool needs_token = !token.empty() && !text.starts_with(token);
    part.questions.push_back((needs_token ? std::string(token) + " " : "") + std::string(text));
  }
  part.write = [cells = std::move(cells), keeps_unsaid](std::span<const std::string> answers) {
    std::string out;
    size_t next = 0;
    for (const Cell& cell : cells) {
      if (&cell != &cells.front()) out += '\t';
      out += cell.begin;
      if (!cell.is_asked) {
        out += cell.text;
      } else {
        const std::string& answer = answers[next++];
        out += answer.empty() && keeps_unsaid ? cell.text : answer;
      }
      out += cell.end;
    }
    return out;
  };
  return part;
}

}  // namespace

Part part_of_line(std::string line) {
  return part_of_cells(std::move(line), [](int, std::string_view) { return true; }, false);
}

std::vector<Part> parts_of_tsv(std::string_view table, std::span<const int> columns) {
  std::vector<Part> parts;
  const auto wanted = [&](int column, std::string_view cell) {
    const bool is_chosen = columns.empty() || std::ranges::find(columns, column) != columns.end();
    return is_chosen && has_letters(cell) && !is_address(cell);
  };
  while (!table.empty()) {
    const size_t newline = table.find('\n');
    const size_t end = newline == std::string_view::npos ? table.size() : newline + 1;
    // A line's end is a blank at the end of its last cell.
    parts.push_back(part_of_cells(std::string(table.substr(0, end)), wanted, true));
    table.remove_prefix(end);
  }
  return parts;
}

}  // namespace outboard::documents
