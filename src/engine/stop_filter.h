// Finds stop strings in text that arrives in pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace outboard::engine {

class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stops);

  // Adds text and returns what may be shown: everything before a stop string, and nothing that may
  // be the start of one.
  std::string feed(std::string_view text);
  // What waited, at the end of an answer that met no stop string.
  std::string flush();

  bool stopped() const { return !met_.empty(); }
  const std::string& met() const { return met_; }

 private:
  std::vector<std::string> stops_;
  std::string waiting_;
  std::string met_;
};

}  // namespace outboard::engine
