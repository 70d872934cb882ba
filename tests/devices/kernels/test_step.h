// For tests: a step's record in memory that kernels may use.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "devices/gpu/kernels/arguments.h"
#include "tests/devices/kernels/kernel_runner.h"

namespace outboard::devices::gpu::kernels {

constexpr size_t index(int i) { return static_cast<size_t>(i); }

struct TestLimits {
  int tokens = 1, rows = 1, runs = 1, pages_per_run = 1, page_tokens = 32;
  bool sources = false, slots = false, kept = false;
};

inline StepLayout make_layout(const TestLimits& limits) {
  StepLayout l{};
  l.max_runs = limits.runs;
  l.max_tokens = limits.tokens;
  l.max_rows = limits.rows;
  l.pages_per_run = limits.pages_per_run;
  l.page_tokens = limits.page_tokens;
  int at = sizeof(StepHeader);
  const auto place = [&](int bytes) {
    const int offset = at;
    at += (bytes + 15) / 16 * 16;
    return offset;
  };
  l.ids = place(4 * l.max_tokens);
  l.positions = place(4 * l.max_tokens);
  l.token_run = place(4 * l.max_tokens);
  l.row_token = place(4 * l.max_rows);
  l.choice_row = place(4 * l.max_runs);
  l.best = place(4 * l.max_runs);
  l.pages = place(4 * l.max_runs * l.pages_per_run);
  l.has_sources = limits.sources ? 1 : 0;
  l.source_run = place(4 * l.max_runs);
  l.source_tokens = place(4 * l.max_runs);
  l.source_pages = place(4 * l.max_runs * l.pages_per_run);
  if (limits.slots) {
    l.slot_runs = place(static_cast<int>(sizeof(SlotRun)) * l.max_runs);
    l.token_slot = place(4 * l.max_tokens);
  }
  if (limits.kept) l.kept = place(4 * l.max_tokens);
  l.sampling = place(static_cast<int>(sizeof(RunSampling)) * l.max_runs);
  l.bytes = at;
  return l;
}

// A view of a record's arrays.
class TestRecord {
 public:
  TestRecord(std::span<uint8_t> record, const StepLayout& layout)
      : record_(record), layout_(layout) {}

  StepHeader& header() { return *at<StepHeader>(0); }
  std::span<int32_t> ids() { return ints(layout_.ids, layout_.max_tokens); }
  std::span<int32_t> positions() { return ints(layout_.positions, layout_.max_tokens); }
  std::span<int32_t> token_run() { return ints(layout_.token_run, layout_.max_tokens); }
  std::span<int32_t> row_token() { return ints(layout_.row_token, layout_.max_rows); }
  std::span<int32_t> choice_row() { return ints(layout_.choice_row, layout_.max_runs); }
  std::span<int32_t> best() { return ints(layout_.best, layout_.max_runs); }
  std::span<int32_t> source_run() { return ints(layout_.source_run, layout_.max_runs); }
  std::span<int32_t> source_tokens() { return ints(layout_.source_tokens, layout_.max_runs); }
  std::span<int32_t> source_pages(int run) {
    return ints(layout_.source_pages + 4 * run * layout_.pages_per_run, layout_.pages_per_run);
  }
  std::span<int32_t> token_slot() { return ints(layout_.token_slot, layout_.max_tokens); }
  std::span<int32_t> kept() { return ints(layout_.kept, layout_.max_tokens); }
  // Runs that go on in their slots.
  void put_slot_runs(std::span<const SlotRun> runs) {
    std::ranges::fill(token_slot(), -1);
    for (size_t i = 0; i < runs.size(); ++i) {
      slot_runs()[i] = runs[i];
      token_slot()[index(runs[i].first + runs[i].tokens - 1)] = runs[i].slot;
    }
  }
  std::span<SlotRun> slot_runs() {
    return {at<SlotRun>(layout_.slot_runs), index(layout_.max_runs)};
  }
  std::span<RunSampling> sampling() {
    return {at<RunSampling>(layout_.sampling), index(layout_.max_runs)};
  }
  std::span<int32_t> pages(int run) {
    return ints(layout_.pages + 4 * run * layout_.pages_per_run, layout_.pages_per_run);
  }

 private:
  template <typename T>
  T* at(int offset) {
    return reinterpret_cast<T*>(record_.data() + offset);
  }
  std::span<int32_t> ints(int offset, int count) { return {at<int32_t>(offset), index(count)}; }

  std::span<uint8_t> record_;
  StepLayout layout_;
};

}  // namespace outboard::devices::gpu::kernels
