// outboard bench for models that translate.
#pragma once

#include "cli/bench_rows.h"
#include "cli/options.h"

namespace outboard::cli {

struct BenchTranslateOptions {
  int repetitions = 3;
  bool counters = false;  // what a step costs on the simulated card, instead of speed
  BenchFormat format = BenchFormat::kMarkdown;
  int threads = 1;  // that run, to be told
};
void bench_translation(const LoadedModel& loaded, const BenchTranslateOptions& options);

}  // namespace outboard::cli
