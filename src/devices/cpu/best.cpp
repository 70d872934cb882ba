#include "devices/cpu/best.h"

#include <algorithm>
#include <cmath>

#include "devices/sampler.h"

namespace outboard::devices::cpu {
namespace {

bool before(const devices::Candidate& a, const devices::Candidate& b) {
  return a.log_probability != b.log_probability ? a.log_probability > b.log_probability
                                                : a.token < b.token;
}

}  // namespace

size_t best_scratch_bytes(int64_t vocabulary) {
  return static_cast<size_t>((vocabulary + kMaximaBlock - 1) / kMaximaBlock) * sizeof(float);
}

void best_tokens(const Kernels& kernels, std::span<const float> logits,
                 std::span<devices::Candidate> best, std::byte* scratch) {
  const auto n = static_cast<int64_t>(logits.size());
  const std::span maxima(reinterpret_cast<float*>(scratch), best_scratch_bytes(n) / sizeof(float));
  kernels.block_maxima(logits.data(), n, maxima.data());
  float top = -INFINITY;
  for (const float maximum : maxima) top = maximum > top ? maximum : top;

  if (std::isinf(top) || devices::holds_nan(logits)) {
    std::fill(best.begin(), best.end(), devices::Candidate{devices::kNotFinite, -INFINITY});
    return;
  }
  // Kept in order; `best` is short. Only blocks that hold something better than the worst kept are
  // looked into.
  size_t kept = 0;
  for (size_t block = 0; block < maxima.size(); ++block) {
    if (!(maxima[block] > (kept < best.size() ? -INFINITY : best[kept - 1].log_probability)))
      continue;
    const auto first = block * static_cast<size_t>(kMaximaBlock);
    const size_t last = std::min(first + static_cast<size_t>(kMaximaBlock), logits.size());
    for (size_t i = first; i < last; ++i) {
      const devices::Candidate candidate{static_cast<int32_t>(i), logits[i]};
      if (!(logits[i] > -INFINITY)) continue;
      if (kept == best.size()) {
        if (!before(candidate, best[kept - 1])) continue;
        --kept;
      }
      const auto end = best.begin() + static_cast<ptrdiff_t>(kept);
      const auto at = std::upper_bound(best.begin(), end, candidate, before);
      std::copy_backward(at, end, end + 1);
      *at = candidate;
      ++kept;
    }
  }
  std::fill(best.begin() + static_cast<ptrdiff_t>(kept), best.end(),
            devices::Candidate{-1, -INFINITY});
  const float log_sum = top + std::log(kernels.sum_exp(logits.data(), top, n));
  for (devices::Candidate& candidate : best.first(kept)) candidate.log_probability -= log_sum;
}

}  // namespace outboard::devices::cpu
