#include "engine/stop_filter.h"

#include <algorithm>
#include <utility>

namespace outboard::engine {

StopFilter::StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopFilter::feed(std::string_view text) {
  if (stopped()) return "";
  waiting_ += text;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_)
    if (const size_t at = waiting_.find(stop); at < first) {
      first = at;
      met_ = stop;
    }
  if (first != std::string::npos) {
    std::string shown = waiting_.substr(0, first);
    waiting_.clear();
    return shown;
  }
  // Hold back the longest end that is the start of a stop string.
  size_t held = 0;
  for (const std::string& stop : stops_)
    for (size_t n = std::min(stop.size() - 1, waiting_.size()); n > held; --n)
      if (waiting_.ends_with(std::string_view(stop).substr(0, n))) {
        held = n;
        break;
      }
  std::string shown = waiting_.substr(0, waiting_.size() - held);
  waiting_.erase(0, shown.size());
  return shown;
}

std::string StopFilter::flush() { return std::exchange(waiting_, {}); }

}  // namespace outboard::engine
