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
  const Ptr<const StepHeader> header = reinterpret_cast<Ptr<const StepHeader>>(from);
  const int tokens = header->tokens;
  const int rows = header->rows;
  const int runs = header->runs;
  const int choices = header->choices;
  if (thread() == 0) {
    const Ptr<StepHeader> out = reinterpret_cast<Ptr<StepHeader>>(a.record);
    out->tokens = tokens;
    out->rows = rows;
    out->runs = runs;
    out->slot = slot;
    out->choices = choices;
  }
  const StepLayout& l = a.layout;
  for (int t = thread(); t < a.tokens; t += kThreads) {
    const bool real = t < tokens;
    const int run = real ? at<int>(from, l.token_run)[t] : 0;
    const int id = real ? at<int>(from, l.ids)[t] : 0;
    at<int>(a.record, l.ids)[t] = resolve(a, id, run, slot);
    at<int>(a.record, l.positions)[t] = real ? at<int>(from, l.positions)[t] : -1;
    at<int>(a.record, l.token_run)[t] = run;
    if (real && id >= 0) a.ended[run] = 0;
  }
  for (int r = thread(); r < a.rows; r += kThreads)
    at<int>(a.record, l.row_token)[r] = r < rows ? at<int>(from, l.row_token)[r] : 0;
  const auto copy = [&](int offset, int count) {
    for (int i = thread(); i < count; i += kThreads)
      at<int>(a.record, offset)[i] = at<int>(from, offset)[i];
  };
  copy(l.pages, runs * l.pages_per_run);
  if (l.window_pages != 0) copy(l.window_pages, runs * l.pages_per_run);
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
    at<int>(a.record, l.choice_row)[i] = i < choices ? at<int>(from, l.choice_row)[i] : -1;
    at<int>(a.record, l.best)[i] = i < choices ? at<int>(from, l.best)[i] : 0;
  }
  for (int run = wave(); run < choices; run += kThreads / 32) {
    if (at<int>(from, l.choice_row)[run] < 0 || at<int>(from, l.best)[run] > 0) continue;
    const Ptr<RunSampling> out = at<RunSampling>(a.record, l.sampling) + run;
    const Ptr<const RunSampling> in = at<RunSampling>(from, l.sampling) + run;
    constexpr int kFixed = static_cast<int>(__builtin_offsetof(RunSampling, recent) / 4);
    static_assert(kFixed <= 32);
    if (lane() < kFixed)
      reinterpret_cast<Ptr<int>>(out)[lane()] = reinterpret_cast<Ptr<const int>>(in)[lane()];
    const int recent = in->recent_count;
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
