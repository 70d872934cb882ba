// One step's inputs, laid out for the kernels, in memory allocated once.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/device.h"

namespace outboard::devices::cpu {

// A run of queries that one attention work item takes.
struct AttentionTile {
  int first_token;  // row in the step
  int tokens;
  int first_position;  // of the first token
  const int32_t* pages;
  const int32_t* window_pages;
  int context;  // positions there are, for queries that see all
};

// A run of the step, for ops that go through its tokens in order.
struct SequenceRun {
  int first_token;  // row in the step
  int tokens;
  int first_position;
  int32_t slot;
  const int32_t* row_slots;  // one a token, or null
};

struct StepState {
  StepState(int max_tokens, int max_rows);

  // Fills the fields. REQUIRES: check_step() accepted the step. has_sources: of the Program's runs
  // outside encode steps.
  void load(const devices::Step& step, int page_tokens, bool has_sources);

  bool encode = false;
  bool draft = false;
  int tokens = 0;                           // T
  int rows = 0;                             // R
  std::vector<int32_t> ids;                 // [T]
  std::vector<int32_t> positions;           // [T]
  std::vector<int32_t> page;                // [T] the full page that the token's keys go to
  std::vector<int32_t> window_page;         // [T] the window page, where there are some
  std::vector<int32_t> slot;                // [T] its place in those pages
  std::vector<int32_t> row_token;           // [R] the token of each row of logits
  std::vector<int32_t> kept;                // [T] in draft steps: the row that was kept for it
  std::vector<SequenceRun> runs;            // one a run
  std::vector<AttentionTile> tiles;         // of each run over its own positions
  std::vector<AttentionTile> source_tiles;  // of runs with one source over its positions

 private:
  void add_source(const devices::Run& run);
};

}  // namespace outboard::devices::cpu
