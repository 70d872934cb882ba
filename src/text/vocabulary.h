// The tokens of a model: texts in one block of memory, found by id or by text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/metadata.h"

namespace outboard::text {

// The values of tokenizer.ggml.token_type (GGUF specification, from sentencepiece's ModelProto).
enum class TokenType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

class Vocabulary {
 public:
  // Reads tokenizer.ggml.tokens, token_type (absent: all normal) and scores (absent: all 0).
  // Throws Error naming the key on wrong counts or types.
  explicit Vocabulary(const formats::Metadata& metadata);

  size_t size() const { return types_.size(); }
  std::string_view text(int32_t id) const {
    const auto i = static_cast<size_t>(id);
    return std::string_view(texts_).substr(offsets_[i], offsets_[i + 1] - offsets_[i]);
  }
  TokenType type(int32_t id) const { return types_[static_cast<size_t>(id)]; }
  float score(int32_t id) const { return scores_.empty() ? 0 : scores_[static_cast<size_t>(id)]; }
  bool has_scores() const { return !scores_.empty(); }
  size_t longest() const { return longest_; }  // bytes
  // Whether a token was added behind the vocabulary that was trained, as turn markers are in chat
  // models. (SentencePiece puts the symbols that its own trainer was given before all pieces.)
  bool is_added(int32_t id) const { return id > last_trained_; }

  // -1 if no token has this text. Of equal texts the first is found; empty ones never are.
  int32_t find(std::string_view text) const;

  bool contains(int64_t id) const { return id >= 0 && static_cast<uint64_t>(id) < size(); }

 private:
  void index_texts();

  std::string texts_;
  std::vector<uint32_t> offsets_;  // size() + 1 of them
  std::vector<TokenType> types_;
  std::vector<float> scores_;
  struct Slot {
    uint32_t hash;
    int32_t id;  // -1: free
  };
  std::vector<Slot> slots_;  // open addressing, a power of two
  size_t longest_ = 0;
  int32_t last_trained_ = -1;  // the last normal or byte token
};

}  // namespace outboard::text
