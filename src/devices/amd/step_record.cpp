#include "devices/amd/step_record.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "support/error.h"

namespace outboard::devices::amd {
namespace {

int rows_of(const Run& run) {
  switch (run.logits) {
    case Run::Logits::kNone:
      return 0;
    case Run::Logits::kLast:
      return 1;
    case Run::Logits::kAll:
      return static_cast<int>(run.tokens.size());
  }
  return 0;
}

kernels::RunSampling sampling_of(const Sampling& s, int row) {
  kernels::RunSampling out{};
  if (s.recent.size() > kernels::kMaxRecent)
    fail("step: a repetition penalty over {} tokens; the card looks back on {} at most",
         s.recent.size(), kernels::kMaxRecent);
  out.row = row;
  out.temperature = s.temperature;
  out.top_k = s.top_k;
  out.top_p = s.top_p;
  out.min_p = s.min_p;
  out.repeat_penalty = s.repeat_penalty;
  out.random = s.random;
  out.recent_count = s.repeat_penalty == 1 ? 0 : static_cast<int32_t>(s.recent.size());
  std::copy_n(s.recent.begin(), out.recent_count, out.recent);
  // Beyond these, steps that were queued run for nothing; the text is the same.
  out.stop_count = std::min(static_cast<int32_t>(s.stops.size()), kernels::kMaxStops);
  std::copy_n(s.stops.begin(), out.stop_count, out.stops);
  return out;
}

int power_of_two(int n) { return static_cast<int>(std::bit_ceil(static_cast<unsigned>(n))); }

}  // namespace

int token_bucket(int tokens) {
  return tokens <= kMatvecRows ? kMatvecRows : std::max(16, power_of_two(tokens));
}

int row_bucket(int rows) {
  return rows <= kMatvecRows ? power_of_two(rows) : std::max(16, power_of_two(rows));
}

StreamShape bucket_of(const StreamShape& exact) {
  StreamShape shape = exact;
  shape.decode = exact.decode && exact.tokens <= kMatvecRows;
  shape.tokens = shape.decode ? power_of_two(exact.tokens) : token_bucket(exact.tokens);
  if (exact.rows > 0) shape.rows = row_bucket(exact.rows);
  return shape;
}

kernels::StepLayout step_layout(const CompileOptions& options, int max_runs, int pages_per_run) {
  kernels::StepLayout l{};
  l.max_runs = max_runs;
  // `begin` fills up to what the streams were recorded for.
  l.max_tokens = token_bucket(options.max_tokens);
  l.max_rows = row_bucket(options.max_rows);
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
  l.sampling = take(static_cast<int64_t>(sizeof(kernels::RunSampling)) * max_runs);
  l.pages = take(int64_t{4} * max_runs * pages_per_run);
  l.bytes = take(0);
  return l;
}

StreamShape shape_of(const Step& step, const CompileOptions& options, int max_runs) {
  StreamShape shape{0, 0, true};
  if (step.runs.size() > static_cast<size_t>(max_runs)) fail("step: more than {} runs", max_runs);
  for (const Run& run : step.runs) {
    const int count = static_cast<int>(run.tokens.size());
    const int last_page = (run.first_position + count - 1) / options.page_tokens;
    if (count == 0 || run.first_position < 0 || last_page >= static_cast<int>(run.pages.size()))
      fail("step: a run of {} tokens at position {} with {} pages", count, run.first_position,
           run.pages.size());
    if (run.sampling != nullptr && run.logits == Run::Logits::kNone)
      fail("step: a token to choose without logits");
    if (count > 1) shape.decode = false;
    shape.tokens += count;
    shape.rows += rows_of(run);
  }
  if (shape.tokens > options.max_tokens) fail("step: more than {} tokens", options.max_tokens);
  if (shape.rows > options.max_rows) fail("step: more than {} rows of logits", options.max_rows);
  return shape;
}

size_t write_record(const Step& step, int slot, const kernels::StepLayout& layout,
                    int64_t vocabulary, int pages, std::span<std::byte> record) {
  const auto at = [&](int32_t offset, auto* type) {
    return reinterpret_cast<decltype(type)>(record.data() + offset);
  };
  int32_t* ids = at(layout.ids, static_cast<int32_t*>(nullptr));
  int32_t* positions = at(layout.positions, static_cast<int32_t*>(nullptr));
  int32_t* token_run = at(layout.token_run, static_cast<int32_t*>(nullptr));
  int32_t* row_token = at(layout.row_token, static_cast<int32_t*>(nullptr));
  int32_t* run_pages = at(layout.pages, static_cast<int32_t*>(nullptr));
  auto* sampling = at(layout.sampling, static_cast<kernels::RunSampling*>(nullptr));

  kernels::StepHeader header{0, 0, static_cast<int32_t>(step.runs.size()), slot};
  for (size_t r = 0; r < step.runs.size(); ++r) {
    const Run& run = step.runs[r];
    const int count = static_cast<int>(run.tokens.size());
    for (int i = 0; i < count; ++i) {
      const int32_t id = run.tokens[static_cast<size_t>(i)];
      if (id >= vocabulary) fail("step: token {} outside the vocabulary of {}", id, vocabulary);
      ids[header.tokens + i] = id;
      positions[header.tokens + i] = run.first_position + i;
      token_run[header.tokens + i] = static_cast<int32_t>(r);
    }
    const int used = (run.first_position + count - 1) / layout.page_tokens + 1;
    if (used > layout.pages_per_run)
      fail("step: position {} is beyond the context", run.first_position + count - 1);
    for (int i = 0; i < used; ++i) {
      const int32_t page = run.pages[static_cast<size_t>(i)];
      if (page < 0 || page >= pages) fail("step: page {} of {}", page, pages);
      run_pages[static_cast<int32_t>(r) * layout.pages_per_run + i] = page;
    }
    const int wanted = rows_of(run);
    for (int i = 0; i < wanted; ++i)
      row_token[header.rows + i] = header.tokens + count - wanted + i;
    header.tokens += count;
    header.rows += wanted;
    sampling[r].row = -1;
    if (run.sampling != nullptr) {
      const kernels::RunSampling made = sampling_of(*run.sampling, header.rows - 1);
      // What was not filled in of `recent` is not sent.
      std::memcpy(
          &sampling[r], &made,
          offsetof(kernels::RunSampling, recent) + static_cast<size_t>(made.recent_count) * 4);
    }
  }
  std::memcpy(record.data(), &header, sizeof(header));
  return static_cast<size_t>(layout.pages) +
         step.runs.size() * static_cast<size_t>(layout.pages_per_run) * 4;
}

}  // namespace outboard::devices::amd
