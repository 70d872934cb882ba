// How fast copies cross the link, learned from those that were waited for. Nothing is assumed of a
// link before: it may be a cable of 6 GB/s or a network of 6 MB/s.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>

namespace outboard::devices::amd::driver {

class LinkRate {
 public:
  // How much a copy should move: what takes about 50 ms, so that progress is seen and no wait for
  // it is long; a power of two, at most `most`, 2 MiB as long as nothing is known. Links of 160
  // MB/s and more get 8 MiB: the fewer copies, the fewer messages.
  // REQUIRES: most is a power of two of at least 256 KiB.
  uint64_t window(uint64_t most) const {
    constexpr uint64_t kFirst = uint64_t{2} << 20;
    constexpr double kSeconds = 0.05;
    if (rate_ == 0) return std::min(kFirst, most);
    const auto bytes = static_cast<uint64_t>(rate_ * kSeconds);
    return std::bit_floor(std::clamp(bytes, kLeast, most));
  }

  // A copy has ended that took so long on its own.
  void learn(uint64_t bytes, double seconds) {
    if (bytes < kLeast) return;  // its time is that of starting it
    constexpr double kNew = 0.5;
    const double rate = static_cast<double>(bytes) / std::max(seconds, 1e-6);
    rate_ = rate_ == 0 ? rate : kNew * rate + (1 - kNew) * rate_;
  }

  // How long so many bytes may take: four times as long as by the rate, or as at 4 MB/s.
  std::chrono::milliseconds time_for(uint64_t bytes) const {
    constexpr double kUnknown = 4e6;
    const double rate = rate_ == 0 ? kUnknown : rate_ / 4;
    return std::chrono::milliseconds(
        static_cast<int64_t>(1000 * static_cast<double>(bytes) / rate));
  }

 private:
  static constexpr uint64_t kLeast = uint64_t{256} << 10;
  double rate_ = 0;  // bytes a second; 0: not known
};

}  // namespace outboard::devices::amd::driver
