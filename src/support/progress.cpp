#include "support/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "support/notice.h"
#include "support/terminal.h"

namespace outboard {

std::string format_bytes(uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string format_time(uint64_t seconds) {
  constexpr uint64_t kMinute = 60, kHour = 3600;
  if (seconds < kMinute) return fmt::format("{} s", seconds);
  if (seconds < kHour) return fmt::format("{} min {} s", seconds / kMinute, seconds % kMinute);
  return fmt::format("{} h {} min", seconds / kHour, seconds % kHour / kMinute);
}

Progress::Progress(std::string label, uint64_t total, std::string unit)
    : label_(std::move(label)), unit_(std::move(unit)), total_(total), terminal_(may_redraw()) {}

Progress::~Progress() {
  if (!terminal_ || !started_) return;
  draw();
  notice_text("\n");
}

void Progress::update(uint64_t done) {
  const auto now = std::chrono::steady_clock::now();
  done_ = done;
  if (!started_) {
    started_ = true;
    start_ = now;
    first_ = done;  // resumed work does not count towards the rate
  } else if (now - drawn_ < std::chrono::milliseconds(100)) {
    return;
  }
  drawn_ = now;
  if (terminal_) draw();
}

void Progress::draw() {
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const auto rate =
      seconds > 0 ? static_cast<uint64_t>(static_cast<double>(done_ - first_) / seconds) : 0;
  // Before, the rate says little.
  constexpr double kWorthTelling = 2;
  const bool tells_time = rate > 0 && total_ > done_ && seconds > kWorthTelling;
  const size_t columns = terminal_columns(STDERR_FILENO);
  const std::string line =
      progress_line({label_, unit_, done_, total_, rate, tells_time}, columns == 0 ? 80 : columns);
  notice_text("\r\x1b[K" + line);
}

std::string progress_line(const ProgressState& state, size_t columns) {
  const auto show = [&](uint64_t n) {
    return state.unit == "B" ? format_bytes(n) : fmt::format("{} {}", n, state.unit);
  };
  const std::string percent =
      state.total > 0 ? fmt::format("  {:3.0f}%", 100.0 * static_cast<double>(state.done) /
                                                      static_cast<double>(state.total))
                      : "";
  const std::string done = "  " + show(state.done);
  const std::string total = state.total > 0 ? " / " + show(state.total) : "";
  const std::string rate = state.rate > 0 ? fmt::format("  {}/s", show(state.rate)) : "";
  const uint64_t left =
      state.rate > 0 ? (state.total - std::min(state.total, state.done)) / state.rate : 0;
  const std::string time = state.tells_time ? "  " + format_time(left) + " left" : "";
  const std::string short_time = state.tells_time ? "  " + format_time(left) : "";
  // A line that reaches the last column may wrap. What says least goes first; then the name is cut.
  const size_t most = columns > 1 ? columns - 1 : 1;
  const auto with_name = [&](const std::string& rest) {
    const size_t room = most - std::min(most, rest.size());
    if (state.label.size() <= room) return state.label + rest;
    constexpr std::string_view kCut = "..";
    size_t cut = room - std::min(room, kCut.size());
    while (cut > 0 && (static_cast<unsigned char>(state.label[cut]) & 0xC0U) == 0x80U) --cut;
    return state.label.substr(0, cut) + std::string(kCut.substr(0, room - cut)) + rest;
  };
  constexpr size_t kShortestName = 8;
  const size_t name = std::min(state.label.size(), kShortestName);
  for (const std::string& rest :
       {percent + done + total + rate + time, percent + done + rate + time,
        percent + done + rate + short_time, percent + rate + short_time, percent + done})
    if (rest.size() + name <= most) return with_name(rest);
  return with_name(percent);
}

}  // namespace outboard
