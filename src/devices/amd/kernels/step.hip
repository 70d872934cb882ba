// What a step starts with.
#include "devices/amd/kernels/device.h"

namespace outboard::devices::amd::kernels {
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
  if (thread() == 0) {
    const Ptr<StepHeader> out = reinterpret_cast<Ptr<StepHeader>>(a.record);
    out->tokens = tokens;
    out->rows = rows;
    out->runs = runs;
    out->slot = slot;
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
  for (int run = 0; run < l.max_runs; ++run) {
    const Ptr<RunSampling> out = at<RunSampling>(a.record, l.sampling) + run;
    if (run >= runs) {
      if (thread() == 0) out->row = -1;
      continue;
    }
    const Ptr<const RunSampling> in = at<RunSampling>(from, l.sampling) + run;
    constexpr int kFixed = static_cast<int>(__builtin_offsetof(RunSampling, recent) / 4);
    if (thread() < kFixed)
      reinterpret_cast<Ptr<int>>(out)[thread()] = reinterpret_cast<Ptr<const int>>(in)[thread()];
    const int recent = in->recent_count;
    for (int i = thread(); i < recent; i += kThreads)
      out->recent[i] = resolve(a, in->recent[i], run, slot);
    const Ptr<const int> pages = at<int>(from, l.pages) + run * l.pages_per_run;
    for (int i = thread(); i < l.pages_per_run; i += kThreads)
      at<int>(a.record, l.pages)[run * l.pages_per_run + i] = pages[i];
  }
}

}  // namespace outboard::devices::amd::kernels
