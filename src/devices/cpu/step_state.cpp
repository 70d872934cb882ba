#include "devices/cpu/step_state.h"

#include <algorithm>

#include "devices/step_check.h"

namespace outboard::devices::cpu {
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
  window_page.resize(t);
  slot.resize(t);
  kept.resize(t);
  runs.reserve(t);
  tiles.reserve(t);
  source_tiles.reserve(t);
  row_token.resize(static_cast<size_t>(max_rows));
}

void StepState::load(const devices::Step& step, int page_tokens, bool has_sources) {
  tokens = rows = 0;
  encode = step.encode;
  draft = step.draft;
  runs.clear();
  tiles.clear();
  source_tiles.clear();
  for (const devices::Run& run : step.runs) {
    const int count = static_cast<int>(run.tokens.size());
    if (has_sources && !encode && !draft) add_source(run);
    runs.push_back({tokens, count, run.first_position, run.slot,
                    run.row_slots.empty() ? nullptr : run.row_slots.data()});
    const int wanted = rows_of(run);
    for (int i = 0; i < wanted; ++i)
      row_token[static_cast<size_t>(rows++)] = tokens + count - wanted + i;

    for (int begin = 0; begin < count; begin += kTileTokens)
      tiles.push_back({tokens + begin, std::min(kTileTokens, count - begin),
                       run.first_position + begin, run.pages.data(), run.window_pages.data(),
                       count});
    for (int i = 0; i < count; ++i, ++tokens) {
      const auto t = static_cast<size_t>(tokens);
      ids[t] = run.tokens[static_cast<size_t>(i)];
      positions[t] = run.first_position + i;
      page[t] = run.pages[static_cast<size_t>(positions[t] / page_tokens)];
      if (!run.window_pages.empty())
        window_page[t] = run.window_pages[static_cast<size_t>(positions[t] / page_tokens)];
      slot[t] = positions[t] % page_tokens;
      kept[t] = run.kept + i;
    }
  }
}

// Neighbours with one source share a tile: its keys are read once for all of them.
void StepState::add_source(const devices::Run& run) {
  const int count = static_cast<int>(run.tokens.size());
  for (int begin = 0; begin < count;) {
    if (begin > 0 || source_tiles.empty() || source_tiles.back().pages != run.source_pages.data() ||
        source_tiles.back().tokens == kTileTokens)
      source_tiles.push_back(
          {tokens + begin, 0, 0, run.source_pages.data(), nullptr, run.source_tokens});
    AttentionTile& tile = source_tiles.back();
    const int added = std::min(kTileTokens - tile.tokens, count - begin);
    tile.tokens += added;
    begin += added;
  }
}

}  // namespace outboard::devices::cpu
