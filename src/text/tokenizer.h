// Text to token ids and back, as the model's own metadata (tokenizer.ggml.*) says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/metadata.h"

namespace outboard::text {

// Immutable after construction, so any number of threads may use one Tokenizer at a time. It owns
// copies of all it needs; the metadata may go away.
//
// Three kinds, by tokenizer.ggml.model:
//   gpt2   byte-level BPE with the pre-tokenizer pattern named by tokenizer.ggml.pre
//   llama  SentencePiece BPE with scores and byte fallback
//   t5     SentencePiece unigram (Viterbi) with its normalisation map
//
// Invalid UTF-8 in a text: gpt2 keeps the bytes (for splitting, each counts as one U+FFFD); a byte
// for which the vocabulary has no token is dropped, as the Python package tokenizers does. llama
// and t5 replace each invalid byte by U+FFFD, as the Python package sentencepiece does.
class Tokenizer {
 public:
  // Throws Error naming the key: no tokens or merges, wrong counts, ids out of range, merges of
  // unknown tokens, an unsupported kind or pre-tokenizer (the message lists the supported ones).
  static std::unique_ptr<Tokenizer> from_metadata(const formats::Metadata& metadata);

  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  virtual ~Tokenizer();

  // add_special: put the beginning and end tokens where the model wants them (adds_bos(),
  // adds_eos()). parse_special: control tokens written out in the text, such as <|im_end|>, become
  // their ids; pass false for text that is not trusted to do so. User-defined tokens are always
  // recognised.
  std::vector<int32_t> encode(std::string_view text, bool add_special, bool parse_special) const;

  // The bytes a token stands for; not necessarily whole UTF-8 characters. Control and unknown
  // tokens give "" unless show_special. Throws Error for an id outside the vocabulary.
  std::string piece(int32_t id, bool show_special = false) const;

  // All pieces in a row, without the space that a SentencePiece model puts in front of a text. The
  // bytes are returned as they are; see StreamDecoder for valid UTF-8 only.
  std::string decode(std::span<const int32_t> ids, bool show_special = false) const;

  // The token as the vocabulary spells it (for example "Ġthe" or "▁the"). Valid as long as this
  // object.
  std::string_view token_text(int32_t id) const;
  // The id of a token spelled exactly so, or -1.
  int32_t find_token(std::string_view token_text) const;

  // -1 if the model has none.
  int32_t bos() const;
  int32_t eos() const;
  int32_t unk() const;
  bool adds_bos() const;
  bool adds_eos() const;
  // True for a token after which a model has said all it wants to: end of text, of turn, of
  // message, under any of the names in use.
  bool is_end_of_generation(int32_t id) const;
  bool is_control(int32_t id) const;
  size_t vocabulary_size() const;
  // True when encode() puts a space in front of a text and decode() takes it away again.
  bool adds_space_prefix() const;

 protected:
  struct Common;
  explicit Tokenizer(std::unique_ptr<Common> common);

  // Appends the ids of text that holds no control tokens. follows_special: the text is at the
  // start or right after a control token.
  virtual void encode_plain(std::string_view text, bool follows_special,
                            std::vector<int32_t>& ids) const = 0;
  virtual void append_piece(int32_t id, std::string& bytes) const = 0;

  const Common& common() const { return *common_; }

 private:
  std::unique_ptr<Common> common_;
};

}  // namespace outboard::text
