// What a step starts with: its record, and copies of KV pages.
#include "devices/gpu/kernels/device.h"

namespace outboard::devices::gpu::kernels {
namespace {

template <typename T>
DEVICE Ptr<T> at(Ptr<uint8_t> record, int offset) {
  return reinterpret_cast<Ptr<T>>(record + offset);
}
template <typename T>
DEVICE Ptr<const T> at(Ptr<const uint8_t> record, int offset) {
  return reinterpret_cast<Ptr<const T>>(record + offset);
}

// Ids below zero stand for what the run chose so many steps ago.
DEVICE int resolve(const BeginArgs& a, int id, int run, int slot) {
  if (id >= 0) return id;
  const int earlier = (slot + id + a.slots) % a.slots;
  const int chosen = a.chosen[earlier * a.layout.max_runs + run];
  return chosen < 0 ? 0 : chosen;
}

}  // namespace

// See BeginArgs. One workgroup.
KERNEL void begin(BeginArgs a) {
  const int slot = static_cast<int>(*a.slot);
  const Ptr<const uint8_t> from = a.records + static_cast<uint64_t>(slot) * a.layout.bytes;
  const StepLayout& l = a.layout;
  // The record lies beyond the link, and each thing that is waited for takes as long as all of
  // them: so what there likely is is asked for before it is known how much of it there is.
  constexpr int kAhead = 64;  // elements of an array
  const auto first_of = [&](int offset, int count) {
    return thread() < __builtin_elementwise_min(count, kAhead) ? at<int>(from, offset)[thread()]
                                                               : 0;
  };
  constexpr int kFixed = static_cast<int>(__builtin_offsetof(RunSampling, recent) / 4);
  static_assert(kFixed <= 32);
  const int first_id = first_of(l.ids, a.tokens);
  const int first_position = first_of(l.positions, a.tokens);
  const int first_run = first_of(l.token_run, a.tokens);
  const int first_row = first_of(l.row_token, a.rows);
  const int few_runs = __builtin_elementwise_min(l.max_runs, a.tokens);
  const int first_choice = first_of(l.choice_row, few_runs);
  const int first_best = first_of(l.best, few_runs);
  const int first_page = first_of(l.pages, l.pages_per_run);
  int first_window_page = 0;
  if (l.window_pages != 0) first_window_page = first_of(l.window_pages, l.pages_per_run);
  int first_fixed = 0;
  if (wave() < few_runs && lane() < kFixed)
    first_fixed =
        reinterpret_cast<Ptr<const int>>(at<RunSampling>(from, l.sampling) + wave())[lane()];
  // Of the first run that the wave looks at below.
  int choice_of_wave = -1, best_of_wave = 0;
  if (wave() < few_runs) {
    choice_of_wave = at<int>(from, l.choice_row)[wave()];
    best_of_wave = at<int>(from, l.best)[wave()];
  }
  const Ptr<const StepHeader> header = reinterpret_cast<Ptr<const StepHeader>>(from);
  const int tokens = header->tokens;
  const int rows = header->rows;
  const int runs = header->runs;
  const int choices = header->choices;
  __builtin_amdgcn_sched_barrier(0);
  // What a thread has of an array, its first element already.
  const auto value_of = [&](int offset, int i, int first, int count) {
    return i < __builtin_elementwise_min(count, kAhead) ? first : at<int>(from, offset)[i];
  };
  if (thread() == 0) {
    const Ptr<StepHeader> out = reinterpret_cast<Ptr<StepHeader>>(a.record);
    out->tokens = tokens;
    out->rows = rows;
    out->runs = runs;
    out->slot = slot;
    out->choices = choices;
  }
  for (int t = thread(); t < a.tokens; t += kThreads) {
    const bool real = t < tokens;
    const int run = real ? value_of(l.token_run, t, first_run, a.tokens) : 0;
    const int id = real ? value_of(l.ids, t, first_id, a.tokens) : 0;
    at<int>(a.record, l.ids)[t] = resolve(a, id, run, slot);
    at<int>(a.record, l.positions)[t] =
        real ? value_of(l.positions, t, first_position, a.tokens) : -1;
    at<int>(a.record, l.token_run)[t] = run;
    if (real && id >= 0) a.ended[run] = 0;
  }
  for (int r = thread(); r < a.rows; r += kThreads)
    at<int>(a.record, l.row_token)[r] = r < rows ? value_of(l.row_token, r, first_row, a.rows) : 0;
  const auto copy_on = [&](int offset, int count, int first) {
    for (int i = thread(); i < count; i += kThreads)
      at<int>(a.record, offset)[i] = value_of(offset, i, first, l.pages_per_run);
  };
  const auto copy = [&](int offset, int count) {
    for (int i = thread(); i < count; i += kThreads)
      at<int>(a.record, offset)[i] = at<int>(from, offset)[i];
  };
  copy_on(l.pages, runs * l.pages_per_run, first_page);
  if (l.window_pages != 0) copy_on(l.window_pages, runs * l.pages_per_run, first_window_page);
  if (l.has_sources != 0) {
    copy(l.source_run, runs);
    copy(l.source_tokens, runs);
    copy(l.source_pages, runs * l.pages_per_run);
  }
  if (l.slot_runs != 0) {
    copy(l.slot_runs, runs * static_cast<int>(sizeof(SlotRun) / sizeof(int)));
    copy(l.token_slot, tokens);
  }
  if (l.kept != 0)
    for (int t = thread(); t < a.tokens; t += kThreads)
      at<int>(a.record, l.kept)[t] = a.drafts != 0 && t < tokens ? at<int>(from, l.kept)[t] : 0;
  for (int i = thread(); i < l.max_runs; i += kThreads) {
    at<int>(a.record, l.choice_row)[i] =
        i < choices ? value_of(l.choice_row, i, first_choice, few_runs) : -1;
    at<int>(a.record, l.best)[i] = i < choices ? value_of(l.best, i, first_best, few_runs) : 0;
  }
  for (int run = wave(); run < choices; run += kThreads / 32) {
    const Ptr<RunSampling> out = at<RunSampling>(a.record, l.sampling) + run;
    const Ptr<const RunSampling> in = at<RunSampling>(from, l.sampling) + run;
    const bool is_first = run == wave() && run < few_runs;
    const int fixed =
        is_first || lane() >= kFixed ? first_fixed : reinterpret_cast<Ptr<const int>>(in)[lane()];
    const int choice = __builtin_amdgcn_readfirstlane(is_first ? choice_of_wave
                                                               : at<int>(from, l.choice_row)[run]);
    const int best =
        __builtin_amdgcn_readfirstlane(is_first ? best_of_wave : at<int>(from, l.best)[run]);
    if (choice < 0 || best > 0) continue;
    if (lane() < kFixed) reinterpret_cast<Ptr<int>>(out)[lane()] = fixed;
    constexpr int kRecent = static_cast<int>(__builtin_offsetof(RunSampling, recent_count) / 4);
    const int recent = __builtin_amdgcn_readlane(fixed, kRecent);
    for (int i = lane(); i < recent; i += 32) out->recent[i] = resolve(a, in->recent[i], run, slot);
  }
}

// See CopyPagesArgs.
KERNEL void copy_pages(CopyPagesArgs a) {
  const Ptr<const int> pair = a.copies + 2 * workgroup_y();
  const auto page = [&](int number) {
    return reinterpret_cast<Ptr<uint4>>(a.kv + static_cast<uint64_t>(number) * a.page_bytes);
  };
  const Ptr<const uint4> source = page(pair[0]);
  const Ptr<uint4> target = page(pair[1]);
  constexpr int kEach = kCopyBytes / 16 / kThreads;
  const auto count = static_cast<int>(a.page_bytes / 16);
  const int first = workgroup_x() * kEach * kThreads + thread();
  uint4 v[kEach];
#pragma unroll
  for (int k = 0; k < kEach; ++k)
    if (first + k * kThreads < count) v[k] = source[first + k * kThreads];
#pragma unroll
  for (int k = 0; k < kEach; ++k)
    if (first + k * kThreads < count) target[first + k * kThreads] = v[k];
}

}  // namespace outboard::devices::gpu::kernels
