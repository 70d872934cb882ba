#include "text/sentencepiece_common.h"

#include "support/error.h"
#include "text/unicode.h"

namespace outboard::text {
namespace {

std::string escape_spaces(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == ' ') {
      escaped += kEscapedSpace;
    } else {
      escaped.push_back(c);
    }
  }
  return escaped;
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(const formats::Metadata& metadata,
                                               const TokenizerDefaults& defaults)
    : Tokenizer(std::make_unique<Common>(metadata, Vocabulary(metadata), defaults)),
      charsmap_(metadata),
      remove_extra_spaces_(metadata.get_bool("tokenizer.ggml.remove_extra_whitespaces", false)) {
  if (!vocabulary().has_scores())
    throw Error("tokenizer.ggml.scores: missing; a SentencePiece tokenizer without scores",
                "Convert the model to GGUF again with its complete tokenizer.");
  byte_tokens_.fill(-1);
  size_t bytes = 0;
  for (size_t i = 0; i < vocabulary().size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    if (vocabulary().type(id) == TokenType::kUserDefined && !vocabulary().is_added(id))
      user_defined_.add(escape_spaces(vocabulary().text(id)), id);
    if (vocabulary().type(id) != TokenType::kByte) continue;
    int32_t& slot = byte_tokens_[parse_byte_token(vocabulary().text(id))];
    if (slot < 0) ++bytes;
    if (slot < 0) slot = id;
  }
  if (bytes != 0 && bytes != 256)
    fail("tokenizer.ggml.tokens: {} byte tokens, expected 256 or none", bytes);
  has_bytes_ = bytes != 0;
  if (!has_bytes_ && unk() < 0)
    fail(
        "tokenizer.ggml.unknown_token_id: missing, expected one in a vocabulary without byte "
        "tokens");
}

int32_t SentencePieceTokenizer::find_piece(std::string_view text) const {
  const int32_t id = vocabulary().find(text);
  if (id < 0) return -1;
  const TokenType type = vocabulary().type(id);
  const bool piece =
      type == TokenType::kNormal || type == TokenType::kUserDefined || type == TokenType::kUnused;
  return piece ? id : -1;
}

std::string SentencePieceTokenizer::normalize(std::string_view text, bool add_prefix) const {
  // One step of the source: what stands for the next bytes of text, and how many they are. Spaces
  // in it are not escaped yet.
  const auto step = [&](size_t at) -> std::pair<std::string_view, size_t> {
    if (const ByteTrie::Match match = user_defined_.longest(text, at); match.length != 0)
      return {text.substr(at, match.length), match.length};
    if (const Charsmap::Match match = charsmap_.longest(text, at); match.length != 0)
      return {match.replacement, match.length};
    const size_t length = decode_character(text, at).length;
    if (length == 0) return {kReplacementCharacter, 1};
    return {text.substr(at, length), length};
  };

  size_t at = 0;
  if (remove_extra_spaces_) {
    while (at < text.size()) {
      const auto [part, length] = step(at);
      if (part != " ") break;
      at += length;
    }
  }
  std::string normal;
  if (at == text.size()) return normal;
  normal.reserve(text.size() + text.size() / 4 + 8);
  if (add_prefix) normal += kEscapedSpace;
  bool after_space = remove_extra_spaces_;
  while (at < text.size()) {
    auto [part, length] = step(at);
    at += length;
    while (after_space && part.starts_with(' ')) part.remove_prefix(1);
    if (part.empty()) continue;
    for (const char c : part) {
      if (c == ' ') {
        normal += kEscapedSpace;
      } else {
        normal.push_back(c);
      }
    }
    after_space = remove_extra_spaces_ && part.ends_with(' ');
  }
  if (remove_extra_spaces_)
    while (normal.ends_with(kEscapedSpace)) normal.resize(normal.size() - kEscapedSpace.size());
  return normal;
}

void SentencePieceTokenizer::append_unknown(std::string_view text, bool follows_unknown,
                                            std::vector<int32_t>& ids) const {
  if (!has_bytes_) {
    if (!follows_unknown) ids.push_back(unk());
    return;
  }
  for (const char c : text) ids.push_back(byte_tokens_[static_cast<uint8_t>(c)]);
}

void SentencePieceTokenizer::append_piece(int32_t id, std::string& bytes) const {
  std::string_view token = vocabulary().text(id);
  if (vocabulary().type(id) == TokenType::kByte) {
    bytes.push_back(static_cast<char>(parse_byte_token(token)));
    return;
  }
  for (size_t at = token.find(kEscapedSpace); at != std::string_view::npos;
       at = token.find(kEscapedSpace)) {
    bytes += token.substr(0, at);
    bytes.push_back(' ');
    token.remove_prefix(at + kEscapedSpace.size());
  }
  bytes += token;
}

}  // namespace outboard::text
