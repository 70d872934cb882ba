// Text to token ids and back, as the model's own metadata (tokenizer.ggml.*) says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/metadata.h"
#include "text/traced_text.h"

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
  // Throws Error naming the key: no tokens or merges, wrong counts, merges of unknown tokens, an
  // unsupported kind or pre-tokenizer (the message lists the supported ones), an id out of range
  // for a token that the file wants in every text. Other ids out of range are noted.
  static std::unique_ptr<Tokenizer> from_metadata(const formats::Metadata& metadata);

  // Keys "tokenizer.*" of a file that no tokenizer here takes account of, and that are not known to
  // be harmless: "metadata tokenizer.ggml.add_sep_token = true". Marian's included.
  static std::vector<std::string> unheard(const formats::Metadata& metadata);

  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  virtual ~Tokenizer();

  // add_special: put the beginning and end tokens where the model wants them (adds_bos(),
  // adds_eos()). parse_special: control tokens written out in the text, such as <|im_end|>, become
  // their ids; pass false for text that is not trusted to do so. User-defined tokens are always
  // recognised.
  std::vector<int32_t> encode(std::string_view text, bool add_special, bool parse_special) const;
  // A rendered conversation: a control token is only what the template wrote, all of it; spelled in
  // a message it stays text. So do user-defined tokens that mark turns (<|...|>, or a <...> or
  // [...] that the model's template writes), unless the model itself said them. Text between
  // control tokens is encoded in one piece, whoever wrote it, so that honest conversations give the
  // same ids as encode(text, add_special, true).
  std::vector<int32_t> encode(const TracedText& text, bool add_special) const;
  // The tokens spelled in a text that stay text in a message, in order and once each.
  std::vector<std::string> markers_in(std::string_view text) const;

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
  // What the file leaves open or says against itself, and how it was taken: a sentence each, for
  // the person to read.
  const std::vector<std::string>& notes() const { return notes_; }
  void add_note(std::string note) { notes_.push_back(std::move(note)); }
  // True when encode() puts a space in front of a text and decode() takes it away again.
  bool adds_space_prefix() const;

 protected:
  struct Common;
  explicit Tokenizer(std::unique_ptr<Common> common);

  // Appends the ids of text that holds no control tokens. space_in_front: with a space that
  // is not there.
  virtual void encode_plain(std::string_view text, bool space_in_front,
                            std::vector<int32_t>& ids) const = 0;
  virtual void append_piece(int32_t id, std::string& bytes) const = 0;

  const Common& common() const { return *common_; }

 private:
  // Who wrote what; null: all of it may become control tokens, or none.
  std::vector<int32_t> encode(std::string_view text, bool add_special, bool parse_special,
                              const TracedText* origins) const;

  std::unique_ptr<Common> common_;
  std::vector<std::string> notes_;
};

}  // namespace outboard::text
