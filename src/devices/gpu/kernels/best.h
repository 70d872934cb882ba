// The best tokens of a row of logits with their log probabilities, in two passes over the row.
#pragma once

#include "devices/gpu/kernels/select.h"

namespace outboard::devices::gpu::kernels {

// Below are minus infinity and NaN.
constexpr uint32_t kLowestFinite = 0x00800000;

// Calls f(four logits, the first one's token) for all, by any threads; where there are no four, the
// rest is minus infinity.
template <typename F>
DEVICE void for_all(Ptr<const float> row, int size, F f) {
  constexpr int kAtOnce = 4;
  const Ptr<const float4> fours = reinterpret_cast<Ptr<const float4>>(row);
  const int quads = size / 4;
  int i = thread();
  for (; i + (kAtOnce - 1) * kThreads < quads; i += kAtOnce * kThreads) {
    float4 x[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) x[k] = fours[i + k * kThreads];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) f(x[k], 4 * (i + k * kThreads));
  }
  for (; i < quads; i += kThreads) f(fours[i], 4 * i);
  const int rest = quads * 4 + thread();
  if (rest < size) {
    constexpr float kNone = -__builtin_inff();
    f(float4{row[rest], kNone, kNone, kNone}, rest);
  }
}

// All threads' maxima: the greatest of all, and the least that `groups` groups of threads have as
// their greatest (8 waves, or 32 quarters of one). At least so many logits are no lower.
struct Maxima {
  uint32_t greatest, least;
};
DEVICE Maxima maxima_of(SelectLds& s, uint32_t key, int groups) {
  const auto max = [](uint32_t a, uint32_t b) { return __builtin_elementwise_max(a, b); };
  const auto min = [](uint32_t a, uint32_t b) { return __builtin_elementwise_min(a, b); };
  uint32_t eight = max(key, dpp<kQuadSwap1>(key));
  eight = max(eight, dpp<kQuadSwap2>(eight));
  eight = max(eight, dpp<kRowXmask + 4>(eight));
  const uint32_t wave_greatest = wave_reduce(eight, max);
  const uint32_t wave_least = groups <= kWaves ? wave_greatest : wave_reduce(eight, min);
  if (lane() == 0) s.wave_sums[wave()] = static_cast<uint64_t>(wave_greatest) << 32 | wave_least;
  barrier();
  Maxima all{0, 0xffffffff};
#pragma unroll
  for (int w = 0; w < kWaves; ++w) {
    all.greatest = max(all.greatest, static_cast<uint32_t>(s.wave_sums[w] >> 32));
    all.least = min(all.least, static_cast<uint32_t>(s.wave_sums[w]));
  }
  return all;
}

// Places 0 to count - 1 of the row to out, by any threads; what there is none of as token -1, all
// as kNotFinite where there is nothing to choose. All threads call it.
DEVICE void find_best_tokens(SelectLds& s, Ptr<const float> row, int vocabulary, int count,
                             Ptr<BestToken> out) {
  static_assert(kMaxBest <= 4 * kWaves);
  const auto write_rest = [&](BestToken token, int first) {
    for (int i = first + thread(); i < count; i += kThreads)
      __hip_atomic_store(reinterpret_cast<Ptr<uint64_t>>(out) + i, bits_as<uint64_t>(token),
                         __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_SYSTEM);
  };
  float top = -__builtin_inff();
  for_all(row, vocabulary, [&](float4 x, int) { top = greater(top, highest_of(x)); });
  const Maxima maxima = maxima_of(s, key_of(top), count);
  const float greatest = logit_of(maxima.greatest);
  const Place bound{__builtin_elementwise_max(maxima.least, kLowestFinite), kNoToken};

  // Those that may be among the best, and the sum of all.
  Candidates c{row, vocabulary, false, bound};
  const float lowest = logit_of(bound.key);
  if (thread() == 0) s.count = 0;
  barrier();
  float sum = 0;
  for_all(row, vocabulary, [&](float4 x, int first) {
#pragma unroll
    for (int e = 0; e < 4; ++e) sum += exp(x[e] - greatest);
    if (!(highest_of(x) >= lowest)) return;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const Place p{key_of(x[e]), first + e};
      if (!within(p, bound)) continue;
      const int i =
          __hip_atomic_fetch_add(&s.count, 1, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_WORKGROUP);
      if (i < kListed) s.listed[i] = p;
    }
  });
  sum = wave_sum(sum);
  if (lane() == 0) s.wave_sums[wave()] = bits_as<uint32_t>(sum);
  barrier();
  float all = 0;
#pragma unroll
  for (int w = 0; w < kWaves; ++w) all += bits_as<float>(static_cast<uint32_t>(s.wave_sums[w]));
  const float log_sum = greatest + log(all);
  int listed = s.count;
  barrier();
  if (!(log_sum - log_sum == 0)) {  // NaN in the row, or an infinite greatest, make it NaN
    write_rest({kNotFinite, -__builtin_inff()}, 0);
    return;
  }
  if (listed > kListed) {  // many equals: the last place is searched for
    Place last = bound;
    if (find_place(
            s, c, vocabulary, true, [](uint32_t) { return uint64_t{1}; },
            [&](uint64_t) { return static_cast<uint64_t>(count); }, last))
      c.last = last;
    list(s, c);
    listed = c.size;
  }
  for (int i = thread(); i < listed; i += kThreads) {
    const Place p = s.listed[i];
    if (!within(p, c.last)) continue;
    int before = 0;
    for (int k = 0; k < listed; ++k)
      if (k != i && within(s.listed[k], p)) ++before;
    if (before < count) {
      const BestToken token{p.token, logit_of(p.key) - log_sum};
      __hip_atomic_store(reinterpret_cast<Ptr<uint64_t>>(out) + before, bits_as<uint64_t>(token),
                         __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_SYSTEM);
    }
  }
  write_rest({-1, -__builtin_inff()}, listed);
}

}  // namespace outboard::devices::gpu::kernels
