#include "devices/step_check.h"

#include <algorithm>
#include <vector>

#include "support/error.h"

namespace outboard::devices {
namespace {

void check_pages(std::span<const int32_t> pages, int tokens, const CompileOptions& options) {
  const int used = (tokens - 1) / options.page_tokens + 1;
  for (const int32_t page : pages.first(static_cast<size_t>(used)))
    if (page < 0 || page >= options.pages) fail("step: page {} of {}", page, options.pages);
}

bool hold(std::span<const int32_t> pages, int tokens, const CompileOptions& options) {
  return tokens >= 1 && (tokens - 1) / options.page_tokens < static_cast<int>(pages.size());
}

// Those from the window of the first token on.
void check_window_pages(const Run& run, const CompileOptions& options, int window) {
  const int end = run.first_position + static_cast<int>(run.tokens.size());
  if (!hold(run.window_pages, end, options))
    fail("step: a run up to position {} with {} window pages", end - 1, run.window_pages.size());
  const int first = std::max(0, run.first_position - window + 1) / options.page_tokens;
  for (int i = first; i <= (end - 1) / options.page_tokens; ++i)
    if (const int32_t page = run.window_pages[static_cast<size_t>(i)];
        page < 0 || page >= options.window_pages)
      fail("step: window page {} of {}", page, options.window_pages);
}

void check_run(const Run& run, const Step& step, const CompileOptions& options,
               const program::Program& program, int lookahead) {
  const bool encode = step.encode;
  const int count = static_cast<int>(run.tokens.size());
  if (count == 0 || run.first_position < 0 || !hold(run.pages, run.first_position + count, options))
    fail("step: a run of {} tokens at position {} with {} pages", count, run.first_position,
         run.pages.size());
  check_pages(run.pages, run.first_position + count, options);
  if (options.window_pages > 0 && !step.draft)
    check_window_pages(run, options, program.kv_window());
  for (const int32_t id : run.tokens)
    if (id < (lookahead > 1 ? chosen_before(lookahead) : 0) || id >= program.vocabulary)
      fail("step: token {} outside the vocabulary of {}", id, program.vocabulary);
  if (program.ends_in_states && (run.sampling != nullptr || run.best > 0))
    fail("step: a token to choose from hidden states");
  if (encode && (run.first_position != 0 || run.logits != Run::Logits::kNone))
    fail("step: a source that starts at position {} or wants logits", run.first_position);
  if (run.best < 0 || run.best > kMaxBest ||
      (run.best > 0 && (run.logits != Run::Logits::kLast || run.sampling != nullptr)))
    fail(
        "step: the best {} tokens of a run, expected at most {}, from its last logits and without "
        "sampling",
        run.best, kMaxBest);
  if (run.sampling != nullptr && run.logits == Run::Logits::kNone)
    fail("step: a token to choose without logits");
  if (!run.row_sampling.empty() && (run.logits != Run::Logits::kAll || run.sampling == nullptr ||
                                    run.row_sampling.size() + 1 != run.tokens.size()))
    fail("step: tokens to choose from {} rows before the last, of {} tokens",
         run.row_sampling.size(), count);
  for (const Sampling& sampling : run.row_sampling)
    for (const int32_t id : sampling.recent)
      if (id < 0) fail("step: a row looks back on what is not known yet");
  if (step.draft && (run.kept < 0 || run.kept + count > options.max_tokens))
    fail("step: kept rows {} to {} of {}", run.kept, run.kept + count - 1, options.max_tokens);
  if (!encode && !step.draft && !program.slot_states.empty()) {
    const auto check_slot = [&](int32_t slot) {
      if (slot < 0 || slot >= options.slots) fail("step: slot {} of {}", slot, options.slots);
    };
    check_slot(run.slot);
    std::ranges::for_each(run.row_slots, check_slot);
    if (!run.row_slots.empty() && run.row_slots.size() != run.tokens.size())
      fail("step: {} slots behind {} tokens", run.row_slots.size(), count);
  }
  if (!encode && !step.draft && program.encoder_ops > 0) {
    if (!hold(run.source_pages, run.source_tokens, options))
      fail("step: a source of {} tokens with {} pages", run.source_tokens, run.source_pages.size());
    check_pages(run.source_pages, run.source_tokens, options);
  }
}

}  // namespace

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

void check_step(const Step& step, const CompileOptions& options, const program::Program& program,
                int lookahead) {
  if (step.encode && program.encoder_ops == 0) fail("step: {} has no encoder", program.name);
  if (step.draft && (program.drafter_ops == 0 || step.encode))
    fail("step: {} has no drafter", program.name);
  size_t tokens = 0, rows = 0;
  for (const Run& run : step.runs) {
    check_run(run, step, options, program, lookahead);
    tokens += run.tokens.size();
    rows += static_cast<size_t>(rows_of(run));
  }
  if (tokens > static_cast<size_t>(options.max_tokens))
    fail("step: more than {} tokens", options.max_tokens);
  if (rows > static_cast<size_t>(options.max_rows))
    fail("step: more than {} rows of logits", options.max_rows);
  for (const PageCopy& copy : step.copies)
    if (std::min(copy.from, copy.to) < 0 || std::max(copy.from, copy.to) >= options.pages)
      fail("step: copies page {} to {} of {}", copy.from, copy.to, options.pages);
  for (const PageCopy& copy : step.window_copies)
    if (std::min(copy.from, copy.to) < 0 || std::max(copy.from, copy.to) >= options.window_pages)
      fail("step: copies window page {} to {} of {}", copy.from, copy.to, options.window_pages);
  for (const SlotCopy& copy : step.slot_copies)
    if (std::min(copy.from, copy.to) < 0 || std::max(copy.from, copy.to) >= options.slots)
      fail("step: copies slot {} to {} of {}", copy.from, copy.to, options.slots);
  if (program.slot_states.empty() || step.encode || step.draft) return;
  std::vector<int32_t> slots;
  for (const Run& run : step.runs) {
    slots.insert(slots.end(), run.row_slots.begin(), run.row_slots.end());
    if (std::ranges::find(run.row_slots, run.slot) == run.row_slots.end())
      slots.push_back(run.slot);
  }
  std::ranges::sort(slots);
  if (const auto twice = std::ranges::adjacent_find(slots); twice != slots.end())
    fail("step: slot {} is wanted twice", *twice);
}

}  // namespace outboard::devices
