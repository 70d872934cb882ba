// Choosing the next token: what devices::Sampler does on the host, in the same order.
#include "devices/gpu/kernels/best.h"
#include "devices/gpu/kernels/select.h"

namespace outboard::devices::gpu::kernels {
namespace {

// Each token of `recent` once: positive logits are divided, others multiplied. seen: a set of
// tokens in LDS, with twice as many places as there can be tokens.
constexpr int kPlaces = 2 * kMaxRecent;
DEVICE void penalise(Ptr<const RunSampling> sampling, Ptr<float> row, int vocabulary, int* seen) {
  for (int i = thread(); i < kPlaces; i += kThreads) seen[i] = -1;
  barrier();
  const int count = __builtin_elementwise_min(sampling->recent_count, kMaxRecent);
  const float penalty = sampling->repeat_penalty;
  for (int i = thread(); i < count; i += kThreads) {
    const int token = sampling->recent[i];
    if (token < 0 || token >= vocabulary) continue;
    int place = token % kPlaces;
    int there = -1;
    while (!__hip_atomic_compare_exchange_strong(&seen[place], &there, token, __ATOMIC_RELAXED,
                                                 __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_WORKGROUP) &&
           there != token) {
      place = (place + 1) % kPlaces;
      there = -1;
    }
    if (there == token) continue;  // another thread has it
    const float logit = row[token];
    row[token] = logit > 0 ? logit / penalty : logit * penalty;
  }
  barrier();
}

// The mask is read once, as much of it at a time as LDS holds: it lies beyond the link.
constexpr int kMaskWords = 2 * kBins;
DEVICE void leave_out(Ptr<const uint32_t> mask, Ptr<float> row, int vocabulary, uint32_t* words) {
  for (int first = 0; first < vocabulary; first += 32 * kMaskWords) {
    const int count = __builtin_elementwise_min(vocabulary - first, 32 * kMaskWords);
    for (int i = thread(); i < (count + 31) / 32; i += kThreads) words[i] = mask[first / 32 + i];
    barrier();
    for (int i = thread(); i < count; i += kThreads) {
      if ((words[i / 32] >> (i & 31) & 1) != 0) continue;
      const float logit = row[first + i];
      if (logit == logit) row[first + i] = -__builtin_inff();
    }
    barrier();
  }
}

// exp((logit - top) * factor / log2(e)) in units of 2^-44: so that 2^18 of them fit in 64 bits, and
// what rounding loses of them all is below 2^-26 of the greatest.
struct Weight {
  float top, factor;
  DEVICE uint64_t operator()(uint32_t key) const {
    const float e = exp2((logit_of(key) - top) * factor) * 0x1p12F;
    const float whole = __builtin_floorf(e);
    const auto high = static_cast<uint32_t>(whole);
    const auto low = static_cast<uint32_t>((e - whole) * 0x1p32F);
    return static_cast<uint64_t>(high) << 32 | low;
  }
};

// floor(total * fraction) + 1: a sum reaches this when it exceeds the product.
DEVICE uint64_t beyond(uint64_t total, float fraction) {
  const float clamped = __builtin_fminf(__builtin_fmaxf(fraction, 0), 0x1.fffffep-1F);
  const auto share = static_cast<uint32_t>(clamped * 0x1p32F);
  return (total >> 32) * share + ((total & 0xffffffffU) * share >> 32) + 1;
}

DEVICE int choose(SelectLds& s, Ptr<const RunSampling> sampling, Ptr<const float> row,
                  int vocabulary) {
  const Place best = find_best(s, row, vocabulary);
  if (!is_finite(best.key)) return kNotFinite;
  const float temperature = sampling->temperature;
  if (!(temperature > 0)) return best.token;

  const float top = logit_of(best.key);
  Candidates c{row, vocabulary, false, Place{0, kNoToken}};
  const int top_k = sampling->top_k;
  const auto narrow = [&](const Place& last) __attribute__((always_inline)) {
    if (within(last, c.last)) c.last = last;
  };
  if (vocabulary <= kListed) list(s, c);
  Place place = best;
  if (top_k > 0 && top_k < vocabulary) {
    if (find_place(
            s, c, vocabulary, true, [](uint32_t) { return uint64_t{1}; },
            [&](uint64_t) { return static_cast<uint64_t>(top_k); }, place))
      narrow(place);
    list(s, c);
  }
  const float top_p = sampling->top_p;
  if (top_p < 1 && find_place(
                       s, c, vocabulary, true, Weight{top, kLog2E},
                       [&](uint64_t total) { return beyond(total, top_p); }, place))
    narrow(place);
  const float min_p = sampling->min_p;
  if (min_p > 0) {
    const float lowest = top + log(min_p);
    narrow(lowest <= top ? Place{key_of(lowest), kNoToken} : best);
  }
  if (top_p < 1 || min_p > 0) list(s, c);
  const float factor = __builtin_fminf(kLog2E / temperature, 0x1p100F);
  const float random = sampling->random;
  if (find_place(
          s, c, vocabulary, false, Weight{top, factor},
          [&](uint64_t total) { return beyond(total, random); }, place))
    return place.token;
  return best.token;  // not reached: the best one's weight alone is more than 0
}

// Thread 0 of each run. `ended` of all runs is read after this run's own was written for all to
// see, so the last run that ends sees that all have.
DEVICE void end_run(const SampleArgs& a, Ptr<const int> rows, int runs, int run) {
  __hip_atomic_fetch_or(&a.ended[run], 1, __ATOMIC_SEQ_CST, __HIP_MEMORY_SCOPE_AGENT);
  for (int other = 0; other < runs; ++other)
    if (rows[other] >= 0 &&
        __hip_atomic_load(&a.ended[other], __ATOMIC_SEQ_CST, __HIP_MEMORY_SCOPE_AGENT) == 0)
      return;
  // Several may come here: an atomic, though all write the same.
  __hip_atomic_fetch_and(a.alive, 0, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
}

}  // namespace

// See SampleArgs. A choice each; the first ones are the runs' own.
KERNEL void sample(SampleArgs a) {
  fetch_arguments<SampleArgs>();
  LDS SelectLds s;
  const int run = workgroup_x();
  const StepLayout& layout = a.step.layout;
  const auto ints = [&](int offset) {
    return reinterpret_cast<Ptr<const int>>(a.step.record + offset);
  };
  const Ptr<const StepHeader> header = reinterpret_cast<Ptr<const StepHeader>>(a.step.record);
  const int at = header->slot * layout.max_runs + run;
  const Ptr<const int> rows = ints(layout.choice_row);
  const Ptr<const RunSampling> sampling =
      reinterpret_cast<Ptr<const RunSampling>>(a.step.record + layout.sampling) + run;
  int token = -1;
  const int number = rows[run];
  const int best = ints(layout.best)[run];
  // What is needed at the end comes meanwhile: a stop a lane, and whether the run had ended.
  static_assert(kMaxStops <= 32);
  int stop = -1;
  int ended = 0;
  if (number >= 0 && best == 0) {
    if (lane() < __builtin_elementwise_min(sampling->stop_count, kMaxStops))
      stop = sampling->stops[lane() % kMaxStops];
    ended = __hip_atomic_load(&a.ended[run], __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
  }
  if (number >= 0) {
    const Ptr<float> row = a.logits + static_cast<uint64_t>(number) * a.stride;
    if (best > 0) {
      find_best_tokens(s, row, a.vocabulary, __builtin_elementwise_min(best, kMaxBest),
                       a.best + at * kMaxBest);
    } else {
      if (sampling->mask >= 0)
        leave_out(a.masks + sampling->mask * a.mask_words, row, a.vocabulary,
                  reinterpret_cast<uint32_t*>(s.bins));
      if (sampling->repeat_penalty != 1)
        penalise(sampling, row, a.vocabulary, reinterpret_cast<int*>(s.bins));
      token = choose(s, sampling, row, a.vocabulary);
    }
  }
  const bool stops = __builtin_amdgcn_ballot_w32(stop >= 0 && stop == token) != 0;
  if (thread() != 0) return;
  a.chosen[at] = token;
  __hip_atomic_store(&a.results[at], token, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_SYSTEM);
  if (token == -1 || run >= header->runs) return;
  if (token == kNotFinite || stops || ended != 0) end_run(a, rows, header->runs, run);
}

}  // namespace outboard::devices::gpu::kernels
