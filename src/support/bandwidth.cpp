#include "support/bandwidth.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "support/aligned_buffer.h"

namespace outboard {

double measure_read_bandwidth(ThreadTeam& team) {
  constexpr size_t kBytes = size_t{512} << 20;
  constexpr int kPasses = 4;
  const AlignedBuffer buffer(kBytes);
  const auto threads = static_cast<size_t>(team.size());
  const size_t share = kBytes / threads / 128 * 128;
  // Written once, or the system would map every page to the same page of zeros.
  team.run([&](int thread) {
    std::memset(buffer.data() + static_cast<size_t>(thread) * share, 1, share);
  });
  double best = 0;
  std::atomic<uint64_t> sink{0};
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    team.run([&](int thread) {
      const auto* words =
          reinterpret_cast<const uint64_t*>(buffer.data() + static_cast<size_t>(thread) * share);
      std::array<uint64_t, 16> sums{};  // independent sums, so that only memory is waited for
      for (size_t i = 0; i < share / sizeof(uint64_t); i += sums.size())
        for (size_t j = 0; j < sums.size(); ++j) sums[j] += words[i + j];
      for (const uint64_t sum : sums) sink += sum;
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(share * threads) / seconds.count());
  }
  return best;
}

}  // namespace outboard
