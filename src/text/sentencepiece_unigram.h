// tokenizer.ggml.model "t5": SentencePiece's unigram model, the most likely segmentation by Viterbi
// (Kudo 2018; github.com/google/sentencepiece, src/unigram_model.cc).
#pragma once

#include <memory>

#include "text/tokenizer.h"

namespace outboard::text {

std::unique_ptr<Tokenizer> make_sentencepiece_unigram(const formats::Metadata& metadata);

}  // namespace outboard::text
