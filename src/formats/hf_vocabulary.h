// Tokens of a Hugging Face folder: what hf_tokenizer.cpp fills and writes out. Internal to formats.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json_file.h"

namespace outboard::formats {

// GGUF's token types (tokenizer.ggml.token_type).
enum class TokenKind : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct Vocabulary {
  std::vector<std::string> tokens;  // by id; "[PAD7]" where an id has no token
  std::vector<TokenKind> kinds;
  std::vector<float> scores;        // empty for byte-level BPE
  std::vector<std::string> merges;  // "a b", of byte-level BPE and where pieces merge in order

  explicit Vocabulary(int64_t size);
  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  // Sets token `id`; ids past the end are an Error naming the text.
  void set(int64_t id, std::string text, TokenKind kind);
};

// Control tokens that some models fail to mark: "<|...|>", "<pad>", "<unused7>" and a few more.
bool looks_special(std::string_view token);

// SentencePiece's tokenizer.model, a protocol buffer: field 1 repeats pieces (1 text, 2 score,
// 3 type). Source: sentencepiece_model.proto. `unigram` says which model the scores belong to.
void read_sentencepiece(std::string_view file, Vocabulary& vocabulary, bool& unigram);
// How the same file treats text around its pieces. Source: sentencepiece_model.proto, whose
// defaults these are.
struct SentencePieceSpec {
  uint64_t model_type = 1;    // 1 unigram, 2 BPE, 3 words, 4 characters
  std::string_view charsmap;  // replacements of characters; part of the file; may be empty
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool whitespace_as_suffix = false;
  bool denormalizes = false;  // replaces characters in answers too
};
// Throws Error as read_sentencepiece() does.
SentencePieceSpec read_sentencepiece_spec(std::string_view file);
// The same walk, keeping nothing: throws Error when the file is no such model or damaged.
void check_sentencepiece(std::string_view file);

// The vocabulary of tokenizer.json's model; see read_hf_tokenizer().
void read_byte_level_bpe(const Json& tokenizer, Vocabulary& vocabulary);
void read_character_bpe(const Json& tokenizer, Vocabulary& vocabulary);
// Its list of merges as it is, which byte-level models have anyway.
void read_merges(const Json& tokenizer, Vocabulary& vocabulary);
// Tokens added to the model's own: special ones become control tokens. Takes tokenizer.json's list
// ("added_tokens") or tokenizer_config.json's object ("added_tokens_decoder", ids as keys).
void add_added_tokens(const Json& tokens, bool sentencepiece, Vocabulary& vocabulary);

}  // namespace outboard::formats
