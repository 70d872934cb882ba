// Progress of long work: a line on a terminal, silence in a pipe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace outboard {

// Shows "label  42%  41.2 MB / 98.4 MB  12.3 MB/s  5 s left" on stderr, rewritten in place and
// never longer than the terminal is wide, where that may be (may_redraw()); prints nothing
// otherwise. One thread at a time.
class Progress {
 public:
  // total: units of work in all, 0 when unknown. unit: "B" counts bytes (shown as KB, MB, GB);
  // any other unit is shown as it is.
  Progress(std::string label, uint64_t total, std::string unit = "B");
  ~Progress();  // ends the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void set_total(uint64_t total) { total_ = total; }
  // done: units finished so far, of the total; redraws at most ten times a second.
  void update(uint64_t done);

 private:
  void draw();

  std::string label_;
  std::string unit_;
  uint64_t total_;
  uint64_t done_ = 0;
  uint64_t first_ = 0;
  bool started_ = false;
  bool terminal_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point drawn_;
};

struct ProgressState {
  std::string label, unit;
  uint64_t done, total;  // total 0: unknown
  uint64_t rate;         // a second
  bool tells_time;       // what is left of it
};
// The line, shorter than the columns: what says least is left out, then the name is cut.
std::string progress_line(const ProgressState& state, size_t columns);

// "98.4 MB": bytes in powers of 1000, three or four digits.
std::string format_bytes(uint64_t bytes);
// "42 s", "3 min 5 s", "2 h 10 min".
std::string format_time(uint64_t seconds);

}  // namespace outboard
