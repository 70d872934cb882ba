// tokenizer.ggml.model "llama": SentencePiece's byte pair encoding with scores and byte fallback
// (github.com/google/sentencepiece, src/bpe_model.cc).
#pragma once

#include <memory>

#include "text/tokenizer.h"

namespace outboard::text {

std::unique_ptr<Tokenizer> make_sentencepiece_bpe(const formats::Metadata& metadata);

}  // namespace outboard::text
