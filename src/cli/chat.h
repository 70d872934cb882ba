// outboard chat, for `outboard run MODEL` on a terminal, too.
#pragma once

#include <string>

#include "cli/options.h"

namespace outboard::cli {

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  SpeculationOptions speculation;
  GrammarOptions grammar;
  std::string system;
  bool trust_markers = false;
  bool no_history = false;
};

// Until the person leaves it. Throws Error when it can't begin.
void chat(ChatOptions options);

}  // namespace outboard::cli
