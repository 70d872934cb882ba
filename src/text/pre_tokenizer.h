// Splitting a text into words before byte-level BPE, by each family's regular expressions.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
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
  // A token that tells this family from others with the same patterns; empty: the first of them.
  std::string_view marker = {};
  // The older family whose vocabulary this one took over unchanged: merges can't tell the two.
  std::string_view predecessor = {};
};

// Throws Error that lists the known names.
const PreTokenizerFamily& find_pre_tokenizer(std::string_view name);

// For files that do not say: the family whose rule the vocabulary was made by. Merges never cross
// the border of a word, so every text that merges make must be one word; of the rules that hold so,
// the one that splits most is meant (others would have let longer ones arise). `merged` are those
// texts, `has_token` says whether a token is in the vocabulary. Null: too few texts to tell, or
// no rule fits.
const PreTokenizerFamily* recognise_pre_tokenizer(
    std::span<const std::string> merged, const std::function<bool(std::string_view)>& has_token);

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
