#include "text/stream_decoder.h"

#include "text/unicode.h"

namespace outboard::text {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool show_special, bool at_start)
    : tokenizer_(tokenizer),
      show_special_(show_special),
      at_start_(at_start),
      strip_space_(at_start && tokenizer.adds_space_prefix()) {}

std::string StreamDecoder::feed(int32_t id) {
  std::string bytes = tokenizer_.piece(id, show_special_);
  if (strip_space_ && !tokenizer_.is_control(id)) {
    if (bytes.starts_with(' ')) bytes.erase(0, 1);
    strip_space_ = false;
  }
  pending_ += bytes;
  std::string text;
  size_t at = 0;
  while (at < pending_.size()) {
    size_t length = decode_character(pending_, at).length;
    if (length != 0) {
      text.append(pending_, at, length);
    } else {
      bool truncated = false;
      length = malformed_length(pending_, at, &truncated);
      if (truncated) break;
      text += kReplacementCharacter;
    }
    at += length;
  }
  pending_.erase(0, at);
  return text;
}

std::string StreamDecoder::flush() {
  std::string text = to_valid_utf8(pending_);
  pending_.clear();
  strip_space_ = at_start_ && tokenizer_.adds_space_prefix();
  return text;
}

}  // namespace outboard::text
