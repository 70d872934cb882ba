#include "simulator/card/events.h"

namespace outboard::simulator::card {

void EventLog::record(CardEvent::Kind kind, std::string where, std::string text) {
  const std::lock_guard lock(mutex_);
  const std::string key = fmt::format("{}|{}|{}", static_cast<int>(kind), where, text);
  const auto found = index_.find(key);
  if (found != index_.end()) {
    ++times_[found->second];
    return;
  }
  if (events_.size() >= kLimit) return;
  index_.emplace(key, events_.size());
  events_.push_back({kind, std::move(where), std::move(text)});
  times_.push_back(1);
}

std::vector<CardEvent> EventLog::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<CardEvent> result = events_;
  for (size_t i = 0; i < result.size(); ++i) {
    if (times_[i] > 1) result[i].text += fmt::format(" ({} times)", times_[i]);
  }
  return result;
}

}  // namespace outboard::simulator::card
