#include "cli/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace outboard::cli {

std::string Table::text() const {
  std::vector<std::string> headings;
  std::vector<size_t> widths;
  for (const Column& column : columns_) {
    headings.push_back(column.heading);
    widths.push_back(column.heading.size());
  }
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string out;
  const auto put = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i)
      line += columns_[i].is_number ? fmt::format("{:>{}}  ", row[i], widths[i])
                                    : fmt::format("{:<{}}  ", row[i], widths[i]);
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  };
  put(headings);
  for (const auto& row : rows_) put(row);
  return out;
}

std::string short_number(uint64_t count) {
  if (count == 0) return "";
  const auto number = static_cast<double>(count);
  constexpr double kMillion = 1e6, kBillion = 1e9;
  if (number < kBillion) return fmt::format("{:.0f}M", number / kMillion);
  return fmt::format("{:.1f}B", number / kBillion);
}

}  // namespace outboard::cli
