#include "devices/cpu/step_state.h"

#include <algorithm>

#include "support/error.h"

namespace outboard::cpu {
namespace {

// Queries an attention item: enough that converting keys and values once for all of them pays, few
// enough that two threads get even shares of a short prompt.
constexpr int kTileTokens = 64;

}  // namespace

StepState::StepState(int max_tokens, int max_rows) {
  const auto t = static_cast<size_t>(max_tokens);
  ids.resize(t);
  positions.resize(t);
  page.resize(t);
  slot.resize(t);
  tiles.reserve(t);
  source_tiles.reserve(t);
  row_token.resize(static_cast<size_t>(max_rows));
}

void StepState::load(const devices::Step& step, const devices::CompileOptions& limits,
                     const program::Program& program) {
  tokens = rows = 0;
  encode = step.encode;
  tiles.clear();
  source_tiles.clear();
  if (encode && program.encoder_ops == 0) fail("step: {} has no encoder", program.name);
  for (const devices::Run& run : step.runs) {
    const int count = static_cast<int>(run.tokens.size());
    if (tokens + count > limits.max_tokens) fail("step: more than {} tokens", limits.max_tokens);
    const int last_page = (run.first_position + count - 1) / limits.page_tokens;
    if (count == 0 || run.first_position < 0 || last_page >= static_cast<int>(run.pages.size()))
      fail("step: a run of {} tokens at position {} with {} pages", count, run.first_position,
           run.pages.size());
    if (encode && (run.first_position != 0 || run.logits != devices::Run::Logits::kNone))
      fail("step: a source that starts at position {} or wants logits", run.first_position);
    if (run.best < 0 || run.best > devices::kMaxBest ||
        (run.best > 0 && (run.logits != devices::Run::Logits::kLast || run.sampling != nullptr)))
      fail(
          "step: the best {} tokens of a run, expected at most {}, from its last logits and "
          "without sampling",
          run.best, devices::kMaxBest);
    if (!encode && program.encoder_ops > 0) add_source(run, limits);
    const int wanted = run.logits == devices::Run::Logits::kAll    ? count
                       : run.logits == devices::Run::Logits::kLast ? 1
                                                                   : 0;
    if (rows + wanted > limits.max_rows) fail("step: more than {} rows of logits", limits.max_rows);
    if (run.sampling != nullptr && wanted == 0) fail("step: a token to choose without logits");
    for (int i = 0; i < wanted; ++i)
      row_token[static_cast<size_t>(rows++)] = tokens + count - wanted + i;

    for (int begin = 0; begin < count; begin += kTileTokens)
      tiles.push_back({tokens + begin, std::min(kTileTokens, count - begin),
                       run.first_position + begin, run.pages.data(), count});
    for (int i = 0; i < count; ++i, ++tokens) {
      const auto t = static_cast<size_t>(tokens);
      ids[t] = run.tokens[static_cast<size_t>(i)];
      if (ids[t] < 0 || ids[t] >= program.vocabulary)
        fail("step: token {} outside the vocabulary of {}", ids[t], program.vocabulary);
      positions[t] = run.first_position + i;
      page[t] = run.pages[static_cast<size_t>(positions[t] / limits.page_tokens)];
      if (page[t] < 0 || page[t] >= limits.pages)
        fail("step: page {} of {}", page[t], limits.pages);
      slot[t] = positions[t] % limits.page_tokens;
    }
  }
}

// Neighbours with one source share a tile: its keys are read once for all of them.
void StepState::add_source(const devices::Run& run, const devices::CompileOptions& limits) {
  const int count = static_cast<int>(run.tokens.size());
  const int last_page = (run.source_tokens - 1) / limits.page_tokens;
  if (run.source_tokens < 1 || last_page >= static_cast<int>(run.source_pages.size()))
    fail("step: a source of {} tokens with {} pages", run.source_tokens, run.source_pages.size());
  for (int i = 0; i <= last_page; ++i)
    if (run.source_pages[static_cast<size_t>(i)] < 0 ||
        run.source_pages[static_cast<size_t>(i)] >= limits.pages)
      fail("step: page {} of {}", run.source_pages[static_cast<size_t>(i)], limits.pages);
  for (int begin = 0; begin < count;) {
    if (begin > 0 || source_tiles.empty() || source_tiles.back().pages != run.source_pages.data() ||
        source_tiles.back().tokens == kTileTokens)
      source_tiles.push_back({tokens + begin, 0, 0, run.source_pages.data(), run.source_tokens});
    AttentionTile& tile = source_tiles.back();
    const int added = std::min(kTileTokens - tile.tokens, count - begin);
    tile.tokens += added;
    begin += added;
  }
}

}  // namespace outboard::cpu
