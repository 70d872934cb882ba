// outboard bench for models that translate.
#pragma once

#include <memory>

#include "engine/engine.h"

namespace outboard::cli {

struct BenchTranslateOptions {
  int repetitions = 3;
  bool counters = false;  // what a step costs on the simulated card, instead of speed
  bool json = false;
};
void bench_translation(const std::shared_ptr<engine::Model>& model,
                       const BenchTranslateOptions& options);

}  // namespace outboard::cli
