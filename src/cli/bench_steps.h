// outboard bench --device sim --counters -d: single steps at any depth of context.
#pragma once

#include <vector>

#include "cli/options.h"

namespace outboard::cli {

struct BenchStepsOptions {
  int prompt = 0;            // tokens of the prompts; 0: none
  std::vector<int> depths;   // positions before the step
  std::vector<int> batches;  // sequences that decode together
  int layers = 0;            // that the model stands for; 0: those that it has
  bool json = false;
};
// REQUIRES: a model that answers.
void bench_steps(const LoadedModel& loaded, const BenchStepsOptions& options);

}  // namespace outboard::cli
