// Sentences to token ids and back for Marian translation models: SentencePiece on both sides, and
// the model's own vocabulary between pieces and ids.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/metadata.h"

namespace outboard::text {

// Immutable after construction; any number of threads may use one at a time. Follows Hugging Face's
// MarianTokenizer: no normalisation but SentencePiece's own.
class MarianTokenizer {
 public:
  // Reads tokenizer.ggml.tokens (+ eos_token_id, unknown_token_id, padding_token_id) and
  // tokenizer.marian.source_spm and target_spm (the .spm files' bytes). Throws Error naming the
  // key.
  explicit MarianTokenizer(const formats::Metadata& metadata);
  ~MarianTokenizer();
  MarianTokenizer(const MarianTokenizer&) = delete;
  MarianTokenizer& operator=(const MarianTokenizer&) = delete;

  // The ids of a source sentence, ended by eos(). A ">>xxx<<" at its start that is in the
  // vocabulary is the language to translate to. Pieces that the vocabulary lacks become unk().
  std::vector<int32_t> encode(std::string_view sentence) const;
  // Whether a source (of encode) holds nothing that the model knows: a lone emoji, another script.
  // All that a model can do with such a line is to invent one.
  bool says_nothing(std::span<const int32_t> ids) const;
  // The text of target tokens; eos, padding and unknown tokens say nothing.
  std::string decode(std::span<const int32_t> ids) const;

  // As the vocabulary spells it: "▁Hello". Valid as long as this object.
  std::string_view token_text(int32_t id) const;
  size_t vocabulary_size() const;
  int32_t eos() const { return eos_; }
  int32_t unk() const { return unk_; }
  // The language tokens (">>fra<<") of a model with several target languages, in order of id.
  std::vector<std::string> target_languages() const;

 private:
  struct Pieces;  // vocabulary and SentencePiece models
  std::unique_ptr<Pieces> pieces_;
  int32_t eos_;
  int32_t unk_;
  int32_t pad_;
};

}  // namespace outboard::text
