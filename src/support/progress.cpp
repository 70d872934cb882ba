#include "support/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <utility>

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
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (!terminal_ || !started_) return;
  draw();
  std::fputc('\n', stderr);
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
  const auto show = [&](uint64_t n) {
    return unit_ == "B" ? format_bytes(n) : fmt::format("{} {}", n, unit_);
  };
  std::string line = fmt::format("\r\x1b[K{}  ", label_);
  if (total_ > 0) line += fmt::format("{:3.0f}%  ", 100.0 * done_ / total_);
  line += show(done_);
  if (total_ > 0) line += " / " + show(total_);
  if (rate > 0) line += fmt::format("  {}/s", show(rate));
  constexpr double kWorthTelling = 2;  // seconds; before, the rate says little
  if (rate > 0 && total_ > done_ && seconds > kWorthTelling)
    line += "  " + format_time((total_ - done_) / rate) + " left";
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace outboard
