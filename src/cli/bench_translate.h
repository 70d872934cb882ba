// outboard bench for models that translate.
#pragma once

#include "cli/options.h"

namespace outboard::cli {

struct BenchTranslateOptions {
  int repetitions = 3;
  bool counters = false;  // what a step costs on the simulated card, instead of speed
  bool json = false;
};
void bench_translation(const LoadedModel& loaded, const BenchTranslateOptions& options);

}  // namespace outboard::cli
