// One step's inputs, laid out for the kernels, in memory allocated once.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/device.h"

namespace outboard::cpu {

// A run of queries that one attention work item takes.
struct AttentionTile {
  int first_token;  // row in the step
  int tokens;
  int first_position;  // of the first token
  const int32_t* pages;
};

struct StepState {
  StepState(int max_tokens, int max_rows);

  // Checks the step against the limits and fills the fields. Throws Error on a caller's mistake.
  void load(const devices::Step& step, const devices::CompileOptions& limits, int64_t vocabulary);

  int tokens = 0;                  // T
  int rows = 0;                    // R
  std::vector<int32_t> ids;        // [T]
  std::vector<int32_t> positions;  // [T]
  std::vector<int32_t> page;       // [T] the page that the token's keys go to
  std::vector<int32_t> slot;       // [T] its place in that page
  std::vector<int32_t> row_token;  // [R] the token of each row of logits
  std::vector<AttentionTile> tiles;
};

}  // namespace outboard::cpu
