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
  bool context_shift = true;  // the oldest turns leave a full context
  bool stats = false;         // speed after each answer
};

// Until the person leaves it: true, or false where that was Ctrl-C. Throws Error when it can't
// begin.
bool chat(ChatOptions options);

}  // namespace outboard::cli
