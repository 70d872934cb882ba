// Perplexity of a text, as llama.cpp defines it, so that figures compare.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "engine/engine.h"

namespace outboard::engine {

struct PerplexityResult {
  double perplexity = 0;
  double error = 0;   // standard error of the perplexity
  size_t tokens = 0;  // tokens scored
  size_t chunks = 0;
};

// Cuts the tokens into chunks of session.context() tokens, each computed on its own (its first
// token replaced by the beginning token where the model wants one), and scores the second half of
// every chunk. progress(chunks done, chunks in all). Throws Error when there are fewer tokens than
// two chunks' worth, and where the result would be infinite or no number.
PerplexityResult perplexity(Session& session, const Model& model, std::span<const int32_t> tokens,
                            const std::function<void(size_t, size_t)>& progress);

}  // namespace outboard::engine
