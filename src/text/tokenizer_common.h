// What the three kinds of tokenizer share; internal to this room.
#pragma once

#include <string_view>
#include <vector>

#include "formats/metadata.h"
#include "text/byte_trie.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace outboard::text {

// What a model does unless its metadata says otherwise.
struct TokenizerDefaults {
  int32_t bos = -1, eos = -1, unk = -1;
  bool add_bos = false, add_eos = false;
  bool add_space_prefix = false;
  // User-defined tokens are split off before the model sees the text (byte-level BPE) or, unless
  // they were added later, by the model itself (SentencePiece, where they may contain escaped
  // spaces).
  bool split_user_defined = false;
};

// Before which pieces of a text a model wants a space in front (metadata "outboard.space_prefix").
enum class SpacePrefix : uint8_t {
  kEveryPiece,   // SentencePiece: the text's beginning and what follows each control token
  kUnlessSpace,  // "always" of tokenizers' Metaspace: those, unless they begin with a space
  kFirst,        // "first" of Metaspace: the text's beginning, unless it begins with a space
};

struct Tokenizer::Common {
  Common(const formats::Metadata& metadata, Vocabulary tokens, const TokenizerDefaults& defaults);

  Vocabulary vocabulary;
  int32_t bos = -1, eos = -1, unk = -1;
  bool add_bos, add_eos, add_space_prefix;
  SpacePrefix space_prefix = SpacePrefix::kEveryPiece;
  ByteTrie always;        // tokens split off from every text
  ByteTrie with_control;  // the same and the control tokens
  // Tokens that mark turns: control tokens, and the user-defined ones that look and are used so.
  ByteTrie markers;
  std::vector<bool> ends_generation;
  std::vector<std::string> notes;  // for Tokenizer::notes()

  // Whether this piece is to get a space in front. at: where it begins in its text.
  bool wants_space(std::string_view piece, size_t at, bool follows_special) const;

 private:
  // The token with this key, the fallback where the file has none, -1 for none. An id outside the
  // vocabulary counts as absent, and is noted: published files have such.
  int32_t read_id(const formats::Metadata& metadata, std::string_view key, int32_t fallback);
  void find_ends(const formats::Metadata& metadata);
  void find_markers(const formats::Metadata& metadata);
};

// The byte of a token spelled <0xAB>. Throws Error naming the token otherwise.
uint8_t parse_byte_token(std::string_view token);

}  // namespace outboard::text
