// SentencePiece's precompiled normalisation: a trie from character sequences to replacements.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/metadata.h"

namespace outboard::text {

// Layout (sentencepiece src/normalizer.cc, darts_clone's double array), little-endian: u32 size of
// the trie in bytes; that many bytes of u32 units; then NUL-terminated replacements, to which the
// values of the trie are offsets. All reads are checked.
class Charsmap {
 public:
  Charsmap() = default;
  // tokenizer.ggml.precompiled_charsmap; absent: no replacements. Throws Error on wrong sizes.
  explicit Charsmap(const formats::Metadata& metadata);

  bool empty() const { return units_.empty(); }

  struct Match {
    size_t length = 0;  // bytes of text replaced; 0: none
    std::string_view replacement;
  };
  // The longest replaced sequence at position at.
  Match longest(std::string_view text, size_t at) const;

 private:
  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace outboard::text
