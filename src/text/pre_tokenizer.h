// Splitting a text into words before byte-level BPE, by each family's regular expressions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace outboard::text {

// A family by the name in tokenizer.ggml.pre. Sources: the tokenizer.json of each family; names as
// llama.cpp's converter writes them.
struct PreTokenizerFamily {
  std::string_view name;
  // Applied one after the other, each to the pieces that the ones before it left: matches and the
  // text between them become pieces.
  std::vector<std::string_view> patterns;
  bool ignore_merges = false;  // a word that is a token needs no merges to become it
  bool add_bos = false;        // unless the metadata says otherwise
  bool compose = false;        // the text is put into Unicode's NFC first
};

// Throws Error that lists the known names.
const PreTokenizerFamily& find_pre_tokenizer(std::string_view name);

// Immutable; split() may run in many threads.
class PreTokenizer {
 public:
  explicit PreTokenizer(const std::vector<std::string_view>& patterns);
  ~PreTokenizer();

  // The end of each piece, in bytes; the pieces cover the text without gaps. Ill-formed UTF-8 is
  // seen by the patterns as one U+FFFD for each byte. Throws Error if a pattern exceeds its limits.
  std::vector<uint32_t> split(std::string_view text) const;

 private:
  struct Stage;
  std::vector<std::unique_ptr<Stage>> stages_;
};

}  // namespace outboard::text
