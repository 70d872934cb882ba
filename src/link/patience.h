// How long a silent server is waited for. Writes are not answered, so a server behind a slow cable
// may be busy for long with what it was sent, before it comes to the request that it answers.
#pragma once

#include <chrono>
#include <cstdint>

namespace outboard::link {

// Slower than any link that can be used: PCIe as it starts (one lane of generation 1) moves 250
// MB/s, USB 2 some 40, a poor wireless network 1.
inline constexpr uint64_t kSlowestBytesPerSecond = 1'000'000;

// The time that so many bytes may take at most.
constexpr std::chrono::milliseconds time_for(uint64_t bytes) {
  return std::chrono::milliseconds(bytes / (kSlowestBytesPerSecond / 1000));
}

class Patience {
 public:
  explicit Patience(std::chrono::milliseconds least) : least_(least) {}

  // A request that takes so many bytes there or brings them back.
  void add(uint64_t bytes) { bytes_ += bytes; }
  // An answer came: all before it is done.
  void answered() { bytes_ = 0; }
  // In whole seconds more than the least, so that it seldom changes.
  std::chrono::milliseconds limit() const {
    return least_ + std::chrono::duration_cast<std::chrono::seconds>(time_for(bytes_));
  }

 private:
  std::chrono::milliseconds least_;
  uint64_t bytes_ = 0;
};

}  // namespace outboard::link
