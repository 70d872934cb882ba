// What to say when logits are NaN or infinite: where in the model that began.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "support/error.h"

namespace outboard::engine {

// A sequence from position 0 whose last logits gave nothing to choose from.
struct Broken {
  std::vector<int32_t> tokens;
  std::vector<int32_t> source = {};  // in a translation model
};

struct NotFinite {
  size_t which;  // of the sequences
  Error error;
};

// Runs the sequences once more on the CPU, looking at what every op comes to, until one's numbers
// go wrong there too. (On a card one sequence's NaN may spread to others in the same step: what a
// token does not see is multiplied by zero.) The error names the first value that is not finite
// and, if that is why, the weight; or it says that the device computed wrongly, where the CPU finds
// nothing. device: the description of the one that computed them. REQUIRES: at least one.
NotFinite not_finite(const Model& model, const std::string& device,
                     std::span<const Broken> sequences);

}  // namespace outboard::engine
