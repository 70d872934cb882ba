// Small models with random weights, for tests and for the card's self-test.
#pragma once

#include <filesystem>
#include <string>

#include "formats/model_file.h"

namespace outboard::models {

// A model of any supported architecture with a byte-level tokenizer of 260 tokens ("<end>" is 259),
// float32 weights from `seed`: 2 layers, width 64, 4 heads of 16, 2 KV heads (gpt2: 4), context
// 512. marian: an encoder and a decoder of these sizes, 4 KV heads; the printable ASCII characters
// are its words, 258 ends a sentence, 259 starts one and is never a candidate.
formats::Model tiny_model(const std::string& architecture, unsigned seed = 1);

// A model as a GGUF file.
void write_model(const std::filesystem::path& path, const formats::Model& model);
void write_tiny_model(const std::filesystem::path& path, const std::string& architecture,
                      unsigned seed = 1);

}  // namespace outboard::models
