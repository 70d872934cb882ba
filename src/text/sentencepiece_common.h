// What SentencePiece's two models share; internal to this room.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/charsmap.h"
#include "text/tokenizer_common.h"

namespace outboard::text {

inline constexpr std::string_view kEscapedSpace = "\xE2\x96\x81";  // U+2581, stands for a space

class SentencePieceTokenizer : public Tokenizer {
 protected:
  SentencePieceTokenizer(const formats::Metadata& metadata, const TokenizerDefaults& defaults);

  // The text as the model sees it: mapped characters, escaped spaces, U+FFFD for ill-formed bytes.
  std::string normalize(std::string_view text, bool add_prefix) const;

  // Appends what stands for text that no token covers: its bytes, or one unknown token for a run.
  // begin: where in ids this text's own tokens begin.
  void append_unknown(std::string_view text, bool follows_unknown, std::vector<int32_t>& ids) const;

  void append_piece(int32_t id, std::string& bytes) const override;

  const Vocabulary& vocabulary() const { return common().vocabulary; }
  // Tokens that text can become: not control, byte or unknown ones. -1 if there is none.
  int32_t find_piece(std::string_view text) const;
  bool has_bytes() const { return has_bytes_; }

  ByteTrie user_defined_;  // with escaped spaces

 private:
  Charsmap charsmap_;
  bool remove_extra_spaces_;
  std::array<int32_t, 256> byte_tokens_;
  bool has_bytes_ = false;
};

}  // namespace outboard::text
