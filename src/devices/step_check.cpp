#include "devices/step_check.h"

#include <algorithm>

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

void check_run(const Run& run, bool encode, const CompileOptions& options,
               const program::Program& program, int lookahead) {
  const int count = static_cast<int>(run.tokens.size());
  if (count == 0 || run.first_position < 0 || !hold(run.pages, run.first_position + count, options))
    fail("step: a run of {} tokens at position {} with {} pages", count, run.first_position,
         run.pages.size());
  check_pages(run.pages, run.first_position + count, options);
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
  if (!encode && !program.slot_states.empty() && (run.slot < 0 || run.slot >= options.slots))
    fail("step: slot {} of {}", run.slot, options.slots);
  if (!encode && program.encoder_ops > 0) {
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
  size_t tokens = 0, rows = 0;
  for (const Run& run : step.runs) {
    check_run(run, step.encode, options, program, lookahead);
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
  for (const SlotCopy& copy : step.slot_copies)
    if (std::min(copy.from, copy.to) < 0 || std::max(copy.from, copy.to) >= options.slots)
      fail("step: copies slot {} to {} of {}", copy.from, copy.to, options.slots);
  if (program.slot_states.empty() || step.encode) return;
  for (size_t i = 0; i < step.runs.size(); ++i)
    for (const Run& earlier : step.runs.first(i))
      if (earlier.slot == step.runs[i].slot) fail("step: two runs have slot {}", earlier.slot);
}

}  // namespace outboard::devices
