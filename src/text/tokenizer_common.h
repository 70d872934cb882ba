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
  // User-defined tokens are split off before the model sees the text (byte-level BPE) or by the
  // model itself (SentencePiece, where they may contain escaped spaces).
  bool split_user_defined = false;
};

struct Tokenizer::Common {
  Common(const formats::Metadata& metadata, Vocabulary tokens, const TokenizerDefaults& defaults);

  Vocabulary vocabulary;
  int32_t bos, eos, unk;
  bool add_bos, add_eos, add_space_prefix;
  ByteTrie always;        // tokens split off from every text
  ByteTrie with_control;  // the same and the control tokens
  std::vector<bool> ends_generation;

 private:
  void find_ends(const formats::Metadata& metadata);
};

// Throws Error unless 0 <= id < vocabulary size; -1 is "none".
int32_t read_token_id(const formats::Metadata& metadata, const Vocabulary& vocabulary,
                      std::string_view key, int32_t fallback);

// The byte of a token spelled <0xAB>. Throws Error naming the token otherwise.
uint8_t parse_byte_token(std::string_view token);

}  // namespace outboard::text
