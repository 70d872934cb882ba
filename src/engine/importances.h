// What goes into a model's linear layers on the way through a text: what `outboard imatrix` makes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "engine/engine.h"
#include "formats/importance.h"

namespace outboard::engine {

// Computes the tokens on the CPU, in chunks of `chunk` tokens that know nothing of each other (the
// first token of each replaced by the beginning token where the model wants one), and adds up the
// squares of every input of every linear layer and expert, but the output matrix and embeddings;
// what llama.cpp's imatrix does. A last chunk that is not full is left out. progress(chunks done,
// chunks in all) may throw to end it. Throws Error when there is not one chunk's worth of tokens,
// for a translation model, and for sums that are no numbers.
formats::CollectedInputs collect_inputs(const Model& model, std::span<const int32_t> tokens,
                                        int chunk, int threads,
                                        const std::function<void(size_t, size_t)>& progress);

}  // namespace outboard::engine
