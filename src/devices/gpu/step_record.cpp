#include "devices/gpu/step_record.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "devices/step_check.h"
#include "support/error.h"

namespace outboard::devices::gpu {
namespace {

void write_sampling(const Sampling& s, kernels::RunSampling& out) {
  if (s.recent.size() > kernels::kMaxRecent)
    fail("step: a repetition penalty over {} tokens; the card looks back on {} at most",
         s.recent.size(), kernels::kMaxRecent);
  out.temperature = s.temperature;
  out.top_k = s.top_k;
  out.top_p = s.top_p;
  out.min_p = s.min_p;
  out.repeat_penalty = s.repeat_penalty;
  out.random = s.random;
  out.mask = -1;
  out.recent_count = s.repeat_penalty == 1 ? 0 : static_cast<int32_t>(s.recent.size());
  std::copy_n(s.recent.begin(), out.recent_count, out.recent);
  // Beyond these, steps that were queued run for nothing; the text is the same.
  out.stop_count = std::min(static_cast<int32_t>(s.stops.size()), kernels::kMaxStops);
  std::copy_n(s.stops.begin(), out.stop_count, out.stops);
}

// Whether neighbouring runs have one source.
bool share_source(const Run& a, const Run& b) {
  return a.source_pages.data() == b.source_pages.data() && a.source_tokens == b.source_tokens;
}

int power_of_two(int n) { return static_cast<int>(std::bit_ceil(static_cast<unsigned>(n))); }

}  // namespace

int bucket(int n) { return n <= kMatvecRows ? power_of_two(n) : std::max(16, power_of_two(n)); }

StreamShape bucket_of(const StreamShape& exact) {
  StreamShape shape = exact;
  shape.decode = exact.decode && !exact.encode && exact.tokens <= kMatvecRows;
  shape.tokens = bucket(exact.tokens);
  if (exact.rows > 0) shape.rows = bucket(exact.rows);
  return shape;
}

kernels::StepLayout step_layout(const CompileOptions& options, const program::Program& program,
                                int max_runs, int pages_per_run) {
  kernels::StepLayout l{};
  l.max_runs = max_runs;
  // `begin` fills up to what the streams were recorded for.
  l.max_tokens = bucket(options.max_tokens);
  l.max_rows = bucket(options.max_rows);
  l.pages_per_run = pages_per_run;
  l.page_tokens = options.page_tokens;
  int32_t at = sizeof(kernels::StepHeader);
  const auto take = [&](int64_t bytes) {
    const int32_t offset = at;
    at += static_cast<int32_t>((bytes + 63) / 64 * 64);
    return offset;
  };
  l.ids = take(int64_t{4} * l.max_tokens);
  l.positions = take(int64_t{4} * l.max_tokens);
  l.token_run = take(int64_t{4} * l.max_tokens);
  l.row_token = take(int64_t{4} * l.max_rows);
  l.choice_row = take(int64_t{4} * max_runs);
  l.best = take(int64_t{4} * max_runs);
  l.pages = take(int64_t{4} * max_runs * pages_per_run);
  if (options.window_pages > 0) l.window_pages = take(int64_t{4} * max_runs * pages_per_run);
  l.has_sources = program.encoder_ops > 0 ? 1 : 0;
  if (l.has_sources != 0) {
    l.source_run = take(int64_t{4} * max_runs);
    l.source_tokens = take(int64_t{4} * max_runs);
    l.source_pages = take(int64_t{4} * max_runs * pages_per_run);
  }
  if (!program.slot_states.empty()) {
    l.slot_runs = take(static_cast<int64_t>(sizeof(kernels::SlotRun)) * max_runs);
    l.token_slot = take(int64_t{4} * l.max_tokens);
  }
  if (program.drafter_ops > 0) l.kept = take(int64_t{4} * l.max_tokens);
  l.sampling = take(static_cast<int64_t>(sizeof(kernels::RunSampling)) * max_runs);
  // Each page and slot can be copied to once.
  l.max_copies = options.pages;
  l.copies = take(int64_t{8} * (l.max_copies + options.window_pages + options.slots));
  l.bytes = take(0);
  return l;
}

int32_t window_copies_at(const kernels::StepLayout& layout) {
  return layout.copies + 8 * layout.max_copies;
}

int32_t slot_copies_at(const kernels::StepLayout& layout, const CompileOptions& options) {
  return window_copies_at(layout) + 8 * options.window_pages;
}

StreamShape shape_of(const Step& step) {
  StreamShape shape{0, 0, true, step.encode, step.draft};
  for (const Run& run : step.runs) {
    if (run.tokens.size() > 1) shape.decode = false;
    shape.tokens += static_cast<int>(run.tokens.size());
    shape.rows += rows_of(run);
  }
  return shape;
}

size_t write_record(const Step& step, int slot, const kernels::StepLayout& layout,
                    const CompileOptions& options, std::span<std::byte> record) {
  const auto ints = [&](int32_t offset) {
    return reinterpret_cast<int32_t*>(record.data() + offset);
  };
  int32_t* ids = ints(layout.ids);
  int32_t* positions = ints(layout.positions);
  int32_t* token_run = ints(layout.token_run);
  int32_t* row_token = ints(layout.row_token);
  auto* sampling = reinterpret_cast<kernels::RunSampling*>(record.data() + layout.sampling);
  const auto write_pages = [&](int32_t offset, size_t run, std::span<const int32_t> from,
                               int tokens) {
    const int used = (tokens - 1) / layout.page_tokens + 1;
    if (used > layout.pages_per_run) fail("step: position {} is beyond the context", tokens - 1);
    int32_t* to = ints(offset) + static_cast<int32_t>(run) * layout.pages_per_run;
    for (int i = 0; i < used; ++i) to[i] = from[static_cast<size_t>(i)];
  };

  // Of the runs that choose by sampling, the last one's end.
  auto used = static_cast<size_t>(layout.sampling);
  size_t source_run = 0;
  int32_t masks = 0;
  kernels::StepHeader header{0, 0, static_cast<int32_t>(step.runs.size()), slot, 0, {}};
  header.choices = header.runs;
  const auto choose = [&](size_t choice, int row, const Sampling& how) {
    ints(layout.choice_row)[choice] = row;
    ints(layout.best)[choice] = 0;
    write_sampling(how, sampling[choice]);
    if (!how.mask.empty()) sampling[choice].mask = masks++;
    // What was not filled in of `recent` is not sent.
    used = std::max(used, static_cast<size_t>(layout.sampling) +
                              choice * sizeof(kernels::RunSampling) +
                              offsetof(kernels::RunSampling, recent) +
                              static_cast<size_t>(sampling[choice].recent_count) * 4);
  };
  for (size_t r = 0; r < step.runs.size(); ++r) {
    const Run& run = step.runs[r];
    const int count = static_cast<int>(run.tokens.size());
    for (int i = 0; i < count; ++i) {
      const int32_t id = run.tokens[static_cast<size_t>(i)];
      ids[header.tokens + i] = id;
      positions[header.tokens + i] = run.first_position + i;
      token_run[header.tokens + i] = static_cast<int32_t>(r);
    }
    write_pages(layout.pages, r, run.pages, run.first_position + count);
    if (layout.window_pages != 0 && !step.draft)
      write_pages(layout.window_pages, r, run.window_pages, run.first_position + count);
    if (layout.has_sources != 0) {
      const auto source = step.encode ? run.pages : run.source_pages;
      const int tokens = step.encode ? count : run.source_tokens;
      write_pages(layout.source_pages, r, source, tokens);
      if (r == 0 || step.encode || !share_source(step.runs[r - 1], run)) source_run = r;
      ints(layout.source_run)[r] = static_cast<int32_t>(source_run);
      ints(layout.source_tokens)[r] = tokens;
    }
    if (layout.slot_runs != 0 && !step.encode && !step.draft) {
      const kernels::SlotRun slot_run{run.slot, header.tokens, count, 0};
      std::memcpy(record.data() + layout.slot_runs + r * sizeof(slot_run), &slot_run,
                  sizeof(slot_run));
      int32_t* slots = ints(layout.token_slot) + header.tokens;
      if (run.row_slots.empty()) {
        std::fill_n(slots, count - 1, -1);
        slots[count - 1] = run.slot;
      } else {
        std::ranges::copy(run.row_slots, slots);
      }
    }
    if (step.draft)
      std::iota(ints(layout.kept) + header.tokens, ints(layout.kept) + header.tokens + count,
                run.kept);
    const int wanted = rows_of(run);
    for (int i = 0; i < wanted; ++i)
      row_token[header.rows + i] = header.tokens + count - wanted + i;
    header.tokens += count;
    header.rows += wanted;
    ints(layout.choice_row)[r] = run.best > 0 ? header.rows - 1 : -1;
    ints(layout.best)[r] = run.best;
    if (run.sampling != nullptr) choose(r, header.rows - 1, *run.sampling);
    for (size_t row = 0; row < run.row_sampling.size(); ++row) {
      if (header.choices == layout.max_runs)
        fail("step: more than {} tokens to choose", layout.max_runs);
      choose(static_cast<size_t>(header.choices++), header.rows - wanted + static_cast<int>(row),
             run.row_sampling[row]);
    }
  }
  const auto write_copies = [&](int32_t offset, const auto& copies) {
    for (size_t i = 0; i < copies.size(); ++i) {
      ints(offset)[2 * i] = copies[i].from;
      ints(offset)[2 * i + 1] = copies[i].to;
    }
  };
  write_copies(layout.copies, step.copies);
  write_copies(window_copies_at(layout), step.window_copies);
  write_copies(slot_copies_at(layout, options), step.slot_copies);
  std::memcpy(record.data(), &header, sizeof(header));
  return used;
}

}  // namespace outboard::devices::gpu
