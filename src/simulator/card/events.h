// What a driver did wrong, what the simulator lacks, what was injected.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "simulator/card/card.h"

namespace outboard::simulator::card {

// Keeps one event for each distinct text: a driver that polls a wrong register makes one line, not
// a million. Thread-safe.
class EventLog {
 public:
  void record(CardEvent::Kind kind, std::string where, std::string text);
  template <typename... Args>
  void driver_error(std::string where, fmt::format_string<Args...> format, Args&&... args) {
    record(CardEvent::Kind::kDriverError, std::move(where),
           fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void not_simulated(std::string where, fmt::format_string<Args...> format, Args&&... args) {
    record(CardEvent::Kind::kNotSimulated, std::move(where),
           fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void fault(std::string where, fmt::format_string<Args...> format, Args&&... args) {
    record(CardEvent::Kind::kFault, std::move(where),
           fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void note(std::string where, fmt::format_string<Args...> format, Args&&... args) {
    record(CardEvent::Kind::kNote, std::move(where),
           fmt::format(format, std::forward<Args>(args)...));
  }

  // In the order of their first occurrence; " (N times)" is added to those that came again.
  std::vector<CardEvent> all() const;

 private:
  static constexpr size_t kLimit = 4096;  // distinct events

  mutable std::mutex mutex_;
  std::vector<CardEvent> events_;
  std::vector<uint64_t> times_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace outboard::simulator::card
