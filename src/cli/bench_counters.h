// outboard bench --device sim --counters: what a prompt and a token cost on the card.
#pragma once

#include <vector>

#include "cli/options.h"
#include "simulator/cost/link_model.h"

namespace outboard::cli {

struct BenchCountersOptions {
  int prompt = 0;                                 // tokens; 0: none
  int decode = 0;                                 // tokens; 0: none
  bool counters = false;                          // false: what links cost, alone
  std::vector<simulator::cost::LinkModel> links;  // to show the cost of
  bool json = false;
};
// speculation: how tokens are guessed. REQUIRES: a model that answers.
void bench_counters(const LoadedModel& loaded, const engine::SessionOptions& speculation,
                    const BenchCountersOptions& options);

}  // namespace outboard::cli
