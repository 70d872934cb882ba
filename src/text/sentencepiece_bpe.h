// tokenizer.ggml.model "llama": SentencePiece's byte pair encoding with scores and byte fallback
// (github.com/google/sentencepiece, src/bpe_model.cc).
#pragma once

#include <memory>

#include "text/tokenizer.h"

namespace outboard::text {

std::unique_ptr<Tokenizer> make_sentencepiece_bpe(const formats::Metadata& metadata);

// tokenizer.ggml.model "gemma4": the same texts and byte tokens, merged by a list of pairs.
std::unique_ptr<Tokenizer> make_ranked_bpe(const formats::Metadata& metadata);

}  // namespace outboard::text
