// Token ids to text while they are generated.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace outboard::text {

// Gives out whole UTF-8 characters only: bytes of a character that is not complete yet wait for the
// next token. Bytes that can not become a character are given out as U+FFFD (one for each maximal
// wrong part, as WHATWG and Python decode), so the output is always valid UTF-8.
class StreamDecoder {
 public:
  // at_start: the ids begin a text or an answer, so the space that a SentencePiece model puts in
  // front is taken away. The tokenizer must outlive the decoder.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool show_special = false,
                         bool at_start = true);

  // The text that this token completes, possibly none.
  std::string feed(int32_t id);
  // What is left at the end; afterwards the decoder is as new.
  std::string flush();

 private:
  const Tokenizer& tokenizer_;
  bool show_special_;
  bool at_start_;
  bool strip_space_;
  std::string pending_;  // at most three bytes between calls
};

}  // namespace outboard::text
