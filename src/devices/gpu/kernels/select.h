// Finds an element by its place in a long row without sorting it: a radix search over the bits of
// the logits with weights summed in LDS. Exact: weights are integers, so no order of summing
// matters.
#pragma once

#include "devices/gpu/kernels/device.h"
#include "devices/gpu/kernels/math.h"
#include "devices/gpu/kernels/reduce.h"

namespace outboard::devices::gpu::kernels {

constexpr int kBins = 2048;
constexpr int kBinsEach = kBins / kThreads;
constexpr int kWaves = kThreads / 32;
constexpr int kListed = 1024;  // candidates that fit in LDS
constexpr int kNoToken = 0x7fffffff;

// Orders like the logit; NaN counts as the lowest, and both zeros are equal.
DEVICE uint32_t key_of(float logit) {
  const float x = (logit == logit ? logit : -__builtin_inff()) + 0.0F;
  const uint32_t bits = bits_as<uint32_t>(x);
  return bits ^ (bits >> 31 != 0 ? 0xffffffffU : 0x80000000U);
}
DEVICE float logit_of(uint32_t key) {
  return bits_as<float>(key ^ (key >> 31 != 0 ? 0x80000000U : 0xffffffffU));
}

// Of the greatest key of a row, whether it is a number: a row that holds NaN has kNaN as its
// greatest.
constexpr uint32_t kNaN = 0xffffffff;
DEVICE bool is_finite(uint32_t key) {
  return key > 0x007fffff && key < 0xff800000;  // the keys of both infinities
}

// A place in the order of candidates: greater logits first, then lower tokens.
struct Place {
  uint32_t key;
  int token;
};
// Whether a comes no later than b.
DEVICE bool within(const Place& a, const Place& b) {
  return a.key > b.key || (a.key == b.key && a.token <= b.token);
}

// In LDS.
struct SelectLds {
  uint64_t bins[kBins];
  int lowest[kBins];  // token of each bin, where the bin is one logit
  uint64_t wave_sums[kWaves];
  uint64_t target, weight;  // what find_bin found
  int bin;
  int count;
  uint32_t best_key[kWaves];
  int best_token[kWaves];
  Place listed[kListed];
};

// What is searched: the row of logits, or the list in LDS.
struct Candidates {
  Ptr<const float> row;
  int size;
  bool listed;
  Place last;  // candidates after this place are out
};

// The greater number; NaN loses. One instruction, where fmaxf takes three.
DEVICE float greater(float a, float b) {
  float out;
  asm("v_max_f32 %0, %1, %2" : "=v"(out) : "v"(a), "v"(b));
  return out;
}

DEVICE float highest_of(float4 x) { return greater(greater(x[0], x[1]), greater(x[2], x[3])); }

// A comparison looks at two at once.
DEVICE bool holds_nan(float4 x) {
  return __builtin_isunordered(x[0], x[1]) | __builtin_isunordered(x[2], x[3]);
}

// Calls f(place) for each candidate, once, from any thread.
template <typename F>
DEVICE void for_each(const SelectLds& s, const Candidates& c, F f) {
  if (c.listed) {
    for (int i = thread(); i < c.size; i += kThreads) {
      const Place p = s.listed[i];
      if (within(p, c.last)) f(p);
    }
    return;
  }
  const int quads = c.size / 4;
  const Ptr<const float4> row = reinterpret_cast<Ptr<const float4>>(c.row);
  const float lowest = logit_of(c.last.key);  // NaN where all are in
  float4 next{};
  if (thread() < quads) next = row[thread()];
  for (int i = thread(); i < quads; i += kThreads) {
    const float4 x = next;
    next = row[i + kThreads < quads ? i + kThreads : i];  // under way meanwhile
    if (highest_of(x) < lowest) continue;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const Place p{key_of(x[e]), 4 * i + e};
      if (within(p, c.last)) f(p);
    }
  }
  const int i = quads * 4 + thread();
  if (i < c.size) {
    const Place p{key_of(c.row[i]), i};
    if (within(p, c.last)) f(p);
  }
}

// The greatest logit, its first token. With a NaN in the row the key is kNaN, and the token any.
DEVICE Place find_best(SelectLds& s, Ptr<const float> row, int size) {
  constexpr int kAtOnce = 8;  // loads; as many of the next turn are under way meanwhile
  constexpr int kTurn = kAtOnce * kThreads;
  const auto resource = __builtin_amdgcn_make_buffer_rsrc(const_cast<float*>((const float*)row), 0,
                                                          4 * size, kRawBuffer);
  const int quads = size / 4;
  const auto load = [&](int first, float4(&x)[kAtOnce]) __attribute__((always_inline)) {
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      x[k] = bits_as<float4>(
          __builtin_amdgcn_raw_buffer_load_b128(resource, 16 * first, 16 * kThreads * k, 0));
    __builtin_amdgcn_sched_barrier(0);
  };
  // Beyond the end the last is looked at again.
  const auto quad_of = [&](int first, int k) {
    return __builtin_elementwise_min(first + k * kThreads, quads - 1);
  };
  const auto load_last = [&](int first, float4(&x)[kAtOnce]) __attribute__((always_inline)) {
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      x[k] = reinterpret_cast<Ptr<const float4>>(row)[quad_of(first, k)];
  };
  float top = -__builtin_inff();
  int at = kNoToken;
  const auto look = [&](float x, int i) {
    if (x > top) {
      top = x;
      at = i;
    }
  };
  int nan = 0;
  const auto look_at_all = [&](const float4(&x)[kAtOnce], int i) __attribute__((always_inline)) {
    float highest = highest_of(x[0]);
    bool broken = holds_nan(x[0]);
#pragma unroll
    for (int k = 1; k < kAtOnce; ++k) {
      highest = greater(highest, highest_of(x[k]));
      broken |= holds_nan(x[k]);
    }
    look(highest, i);
    if (broken) nan = 1;
  };
  int from = 0;
  float4 x[kAtOnce], next[kAtOnce];
  if (kTurn <= quads) load(thread(), x);
  while (from + 2 * kTurn <= quads) {
    load(from + kTurn + thread(), next);
    look_at_all(x, from + thread());
    from += kTurn;
    if (from + 2 * kTurn > quads) {
      look_at_all(next, from + thread());
      from += kTurn;
      break;
    }
    load(from + kTurn + thread(), x);
    look_at_all(next, from + thread());
    from += kTurn;
  }
  if (from + kTurn <= quads) {
    look_at_all(x, from + thread());
    from += kTurn;
  }
  if (from < quads) {
    load_last(from + thread(), x);
    look_at_all(x, from + thread());
  }
  // Which of them: the first that is as great.
  if (at != kNoToken) {
    load_last(at, x);
    int first = kNoToken;
#pragma unroll
    for (int k = kAtOnce - 1; k >= 0; --k)
#pragma unroll
      for (int e = 3; e >= 0; --e)
        if (x[k][e] == top) first = quad_of(at, k) * 4 + e;
    at = first;
  }
  const int rest = quads * 4 + thread();
  if (rest < size) {
    look(row[rest], rest);
    if (row[rest] != row[rest]) nan = 1;
  }

  const uint32_t key = nan != 0 ? kNaN : key_of(top);
  const uint32_t wave_key =
      wave_reduce(key, [](uint32_t a, uint32_t b) { return __builtin_elementwise_max(a, b); });
  const int wave_token = wave_reduce(key == wave_key ? at : kNoToken,
                                     [](int a, int b) { return __builtin_elementwise_min(a, b); });
  if (lane() == 0) {
    s.best_key[wave()] = wave_key;
    s.best_token[wave()] = wave_token;
  }
  barrier();
  Place best{s.best_key[0], s.best_token[0]};
  for (int w = 1; w < kWaves; ++w) {
    const Place p{s.best_key[w], s.best_token[w]};
    if (within(p, best)) best = p;
  }
  if (best.token == kNoToken) best.token = 0;  // nothing above minus infinity
  return best;
}

// Lists the candidates that are left in LDS, if they fit.
DEVICE void list(SelectLds& s, Candidates& c) {
  constexpr int kEach = kListed / kThreads;
  Place listed[kEach] = {};
  if (c.listed) {  // the new list takes the place of the old
#pragma unroll
    for (int k = 0; k < kEach; ++k)
      if (k * kThreads + thread() < c.size) listed[k] = s.listed[k * kThreads + thread()];
  }
  if (thread() == 0) s.count = 0;
  barrier();
  const auto add = [&](const Place& p) __attribute__((always_inline)) {
    const int i =
        __hip_atomic_fetch_add(&s.count, 1, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_WORKGROUP);
    if (i < kListed) s.listed[i] = p;
  };
  if (c.listed) {
#pragma unroll
    for (int k = 0; k < kEach; ++k)
      if (k * kThreads + thread() < c.size && within(listed[k], c.last)) add(listed[k]);
  } else {
    for_each(s, c, add);
  }
  barrier();
  const int count = s.count;
  if (count <= kListed) {
    c.listed = true;
    c.size = count;
  }
  barrier();
}

DEVICE uint64_t from_lane(uint64_t x, int lane) {
  const uint32_t low = __builtin_amdgcn_ds_bpermute(lane * 4, static_cast<uint32_t>(x));
  const uint32_t high = __builtin_amdgcn_ds_bpermute(lane * 4, static_cast<uint32_t>(x >> 32));
  return static_cast<uint64_t>(high) << 32 | low;
}

// Bins are found in their order: bin b of a thread's kBinsEach lies where reading is free of
// conflicts.
DEVICE int place_of_bin(int bin) { return bin % kBinsEach * kThreads + bin / kBinsEach; }

DEVICE void clear_bins(SelectLds& s) {
  for (int i = thread(); i < kBins; i += kThreads) {
    s.bins[i] = 0;
    s.lowest[i] = kNoToken;
  }
  if (thread() == 0) s.bin = -1;
  barrier();
}
DEVICE void add_to_bin(SelectLds& s, int bin, uint64_t weight) {
  __hip_atomic_fetch_add(&s.bins[place_of_bin(bin)], weight, __ATOMIC_RELAXED,
                         __HIP_MEMORY_SCOPE_WORKGROUP);
}

// The first bin at which the sum of weights from bin 0 on reaches target(total), 1 or more; then
// s.bin, s.weight of that bin, and s.target of what is left of the target in it. s.bin stays -1
// when the sum never gets there.
template <typename Target>
DEVICE void find_bin(SelectLds& s, Target target_of) {
  barrier();
  uint64_t own = 0;
#pragma unroll
  for (int k = 0; k < kBinsEach; ++k) own += s.bins[k * kThreads + thread()];
  uint64_t sum = own;  // of the wave's threads up to this one
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint64_t before = from_lane(sum, lane() - distance);
    if (lane() >= distance) sum += before;
  }
  if (lane() == 31) s.wave_sums[wave()] = sum;
  barrier();
  uint64_t total = 0;
  uint64_t before = sum - own;
#pragma unroll
  for (int w = 0; w < kWaves; ++w) {
    if (w < wave()) before += s.wave_sums[w];
    total += s.wave_sums[w];
  }
  const uint64_t target = target_of(total);
  if (before < target && target <= before + own) {
    uint64_t left = target - before;
    int k = 0;
    while (s.bins[k * kThreads + thread()] < left) left -= s.bins[k++ * kThreads + thread()];
    s.bin = thread() * kBinsEach + k;
    s.weight = s.bins[k * kThreads + thread()];
    s.target = left;
  }
  barrier();
}

// Of the candidates with this key, the one with `rank` others of lower token.
DEVICE int find_token(SelectLds& s, const Candidates& c, uint32_t key, int rank, int vocabulary) {
  int shift = 0;
  while ((vocabulary - 1) >> shift >= kBins) ++shift;
  uint64_t target = static_cast<uint64_t>(rank) + 1;
  clear_bins(s);
  for_each(s, c, [&](const Place& p) {
    if (p.key == key) add_to_bin(s, p.token >> shift, 1);
  });
  find_bin(s, [&](uint64_t) { return target; });
  const int block = s.bin;
  target = s.target;
  barrier();
  if (shift == 0) return block;
  clear_bins(s);
  for_each(s, c, [&](const Place& p) {
    if (p.key == key && p.token >> shift == block) add_to_bin(s, p.token & ((1 << shift) - 1), 1);
  });
  find_bin(s, [&](uint64_t) { return target; });
  const int token = block << shift | s.bin;
  barrier();
  return token;
}

// A short list needs no search: each thread sums what comes before its candidate. See find_place.
template <typename Weight, typename Target>
DEVICE bool find_listed(SelectLds& s, const Candidates& c, Weight weight_of, Target target_of,
                        Place& out) {
  const int i = thread();
  const bool mine = i < c.size && within(s.listed[i], c.last);
  if (i < c.size) s.bins[i] = mine ? weight_of(s.listed[i].key) : 0;
  if (i == 0) s.bin = -1;
  barrier();
  if (mine) {
    const Place p = s.listed[i];
    uint64_t total = 0;
    uint64_t sum = 0;
    for (int k = 0; k < c.size; ++k) {
      total += s.bins[k];
      if (within(s.listed[k], p)) sum += s.bins[k];
    }
    const uint64_t target = target_of(total);
    if (sum >= target && sum - s.bins[i] < target) s.bin = i;
  }
  barrier();
  const int found = s.bin;
  if (found >= 0) out = s.listed[found];
  barrier();
  return found >= 0;
}

// The first place at which the sum of weights of candidates, in order, reaches target(sum of all),
// 1 or more. The weight depends on the key alone. False when the sum never gets there. All threads
// get the same. Candidates that come well after the place may be out afterwards. A `bound` has
// kNoToken where all that are equal to it are within.
template <typename Weight, typename Target>
DEVICE bool find_place(SelectLds& s, Candidates& c, int vocabulary, bool bound, Weight weight_of,
                       Target target_of, Place& out) {
  if (c.listed && c.size <= kThreads) return find_listed(s, c, weight_of, target_of, out);
  constexpr int kShift[] = {21, 10, 0};
  constexpr int kBits[] = {11, 11, 10};
  uint32_t key = 0;
  uint64_t target = 0;
  uint64_t bin_weight = 0;
  int lowest = kNoToken;
#pragma unroll
  for (int level = 0; level < 3; ++level) {
    const int shift = kShift[level];
    const int bits = kBits[level];
    const uint32_t mask = (1U << bits) - 1;
    clear_bins(s);
    for_each(s, c, [&](const Place& p) {
      if (level > 0 && (p.key ^ key) >> (shift + bits) != 0) return;
      const int bin = static_cast<int>(mask - (p.key >> shift & mask));
      add_to_bin(s, bin, weight_of(p.key));
      if (level == 2)
        __hip_atomic_fetch_min(&s.lowest[bin], p.token, __ATOMIC_RELAXED,
                               __HIP_MEMORY_SCOPE_WORKGROUP);
    });
    find_bin(s, [&](uint64_t total) { return level == 0 ? target_of(total) : target; });
    const int bin = s.bin;
    target = s.target;
    bin_weight = s.weight;
    if (level == 2 && bin >= 0) lowest = s.lowest[bin];
    barrier();
    if (bin < 0) return false;
    key |= (mask - static_cast<uint32_t>(bin)) << shift;
    if (level == 0 && !c.listed) {
      const Place last{key, kNoToken};  // of this bin
      if (within(last, c.last)) c.last = last;
      list(s, c);
    }
  }
  const uint64_t weight = weight_of(key);
  const auto ties = static_cast<int>(bin_weight / weight);
  const auto rank = static_cast<int>((target - 1) / weight);
  out.key = key;
  if (bound && rank + 1 == ties)
    out.token = kNoToken;
  else
    out.token = rank == 0 ? lowest : find_token(s, c, key, rank, vocabulary);
  return true;
}

}  // namespace outboard::devices::gpu::kernels
