// Rows of text under headings, for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace outboard::cli {

class Table {
 public:
  struct Column {
    std::string heading;
    bool is_number = false;  // right-aligned
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // Lines as wide as their widest cells, without blanks at their ends.
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// "135M", "1.2B"; empty for 0.
std::string short_number(uint64_t count);

}  // namespace outboard::cli
