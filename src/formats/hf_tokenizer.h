// A Hugging Face folder's tokenizer as GGUF metadata. Internal to formats; use open_model().
#pragma once

#include <filesystem>

#include "formats/hf_config.h"
#include "formats/model_file.h"

namespace outboard::formats {

// Sets tokenizer.ggml.*, tokenizer.chat_template and general.sampling.* from tokenizer.model
// (SentencePiece), or tokenizer.json, with tokenizer_config.json, generation_config.json and
// chat_template.jinja; gives back the number of tokens. Three kinds of vocabulary:
// - SentencePiece's own file: pieces, scores and types as stored, and its normalisation;
// - tokenizer.json, BPE over bytes: tokens and merges, tokenizer.ggml.model "gpt2", with
//   tokenizer.ggml.pre found from the pre-tokenizer's patterns;
// - tokenizer.json, BPE over characters with byte fallback (SentencePiece made over):
//   tokenizer.ggml.model "llama", scores so that earlier merges score higher.
// All ids that end an answer are in "outboard.eos_token_ids" when generation_config.json or
// config.json name others than the tokenizer's. What the files ask for and nobody does is added to
// the model's `unknown`. Throws Error naming file and field; a pattern that splits words in an
// unknown way is an error, not a guess.
int64_t read_hf_tokenizer(const std::filesystem::path& folder, const HfConfig& config,
                          Model& model);

}  // namespace outboard::formats
