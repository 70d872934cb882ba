#include "text/tokenizer.h"

#include <algorithm>
#include <array>

#include "support/error.h"
#include "text/byte_level_bpe.h"
#include "text/sentencepiece_bpe.h"
#include "text/sentencepiece_unigram.h"
#include "text/tokenizer_common.h"

namespace outboard::text {
namespace {

// A longer one would make matching slow for every text.
constexpr size_t kLongestSpecialToken = 4096;

// Texts by which models end a turn, as collected in llama.cpp's llama-vocab.cpp.
constexpr std::array<std::string_view, 19> kEndTexts = {"<|eot_id|>",
                                                        "<|im_end|>",
                                                        "<|end|>",
                                                        "<|return|>",
                                                        "<|call|>",
                                                        "<|flush|>",
                                                        "<|calls|>",
                                                        "<end_of_turn>",
                                                        "<|endoftext|>",
                                                        "<|eom_id|>",
                                                        "<EOT>",
                                                        "_<EOT>",
                                                        "[EOT]",
                                                        "[EOS]",
                                                        "<|end_of_text|>",
                                                        "<end_of_utterance>",
                                                        "<eos>",
                                                        "<turn|>",
                                                        "<｜end▁of▁sentence｜>"};

}  // namespace

int32_t read_token_id(const formats::Metadata& metadata, const Vocabulary& vocabulary,
                      std::string_view key, int32_t fallback) {
  if (!metadata.contains(key)) return vocabulary.contains(fallback) ? fallback : -1;
  const int64_t id = metadata.get_int(key);
  if (id == -1) return -1;
  if (!vocabulary.contains(id))
    fail("{}: {}, expected a token id below {}", key, id, vocabulary.size());
  return static_cast<int32_t>(id);
}

uint8_t parse_byte_token(std::string_view token) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  if (token.size() == 6 && token.starts_with("<0x") && token[5] == '>') {
    const int high = digit(token[3]);
    const int low = digit(token[4]);
    if (high >= 0 && low >= 0) return static_cast<uint8_t>(high * 16 + low);
  }
  fail("tokenizer.ggml.tokens: byte token \"{}\", expected <0x00> to <0xFF>", token);
}

Tokenizer::Common::Common(const formats::Metadata& metadata, Vocabulary tokens,
                          const TokenizerDefaults& defaults)
    : vocabulary(std::move(tokens)),
      bos(read_token_id(metadata, vocabulary, "tokenizer.ggml.bos_token_id", defaults.bos)),
      eos(read_token_id(metadata, vocabulary, "tokenizer.ggml.eos_token_id", defaults.eos)),
      unk(read_token_id(metadata, vocabulary, "tokenizer.ggml.unknown_token_id", defaults.unk)),
      add_bos(metadata.get_bool("tokenizer.ggml.add_bos_token", defaults.add_bos)),
      add_eos(metadata.get_bool("tokenizer.ggml.add_eos_token", defaults.add_eos)),
      add_space_prefix(
          metadata.get_bool("tokenizer.ggml.add_space_prefix", defaults.add_space_prefix)),
      ends_generation(vocabulary.size()) {
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const TokenType type = vocabulary.type(id);
    const bool user = type == TokenType::kUserDefined;
    if (!user && type != TokenType::kControl && type != TokenType::kUnknown) continue;
    const std::string_view token = vocabulary.text(id);
    if (token.size() > kLongestSpecialToken)
      fail("tokenizer.ggml.tokens[{}]: special token of {} bytes, expected at most {}", i,
           token.size(), kLongestSpecialToken);
    if (user && !defaults.split_user_defined) continue;
    if (user) always.add(token, id);
    with_control.add(token, id);
  }
  find_ends(metadata);
}

void Tokenizer::Common::find_ends(const formats::Metadata& metadata) {
  const auto mark = [&](int32_t id) {
    if (id >= 0) ends_generation[static_cast<size_t>(id)] = true;
  };
  for (const std::string_view text : kEndTexts) mark(vocabulary.find(text));
  // In some vocabularies this is an HTML tag that models write in the middle of an answer.
  const int32_t close = vocabulary.find("</s>");
  if (close >= 0 && vocabulary.type(close) == TokenType::kControl) mark(close);
  mark(eos);
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id",
                          "tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_rep_token_id",
                          "tokenizer.ggml.fim_sep_token_id"})
    mark(read_token_id(metadata, vocabulary, key, -1));
  // Vocabularies with these two use <|end|> inside an answer, between its channels.
  const auto ends = [&](std::string_view text) { return vocabulary.find(text) >= 0; };
  const int32_t end = vocabulary.find("<|end|>");
  if (end >= 0 && end != eos &&
      ((ends("<|return|>") && ends("<|call|>")) || (ends("<|calls|>") && ends("<|flush|>"))))
    ends_generation[static_cast<size_t>(end)] = false;
}

std::unique_ptr<Tokenizer> Tokenizer::from_metadata(const formats::Metadata& metadata) {
  constexpr const char* kKey = "tokenizer.ggml.model";
  if (!metadata.contains(kKey))
    throw Error(fmt::format("{}: missing, expected the kind of tokenizer", kKey),
                "The file holds no tokenizer; use a complete GGUF file of the model.");
  const std::string& kind = metadata.get_string(kKey);
  if (kind == "gpt2") return make_byte_level_bpe(metadata);
  if (kind == "llama") return make_sentencepiece_bpe(metadata);
  if (kind == "t5") return make_sentencepiece_unigram(metadata);
  throw Error(fmt::format("{}: \"{}\", expected gpt2, llama or t5", kKey, kind),
              "This kind of tokenizer is not supported; choose a model with one of those named.");
}

Tokenizer::Tokenizer(std::unique_ptr<Common> common) : common_(std::move(common)) {}
Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special,
                                       bool parse_special) const {
  constexpr size_t kLimit = size_t{1} << 30;  // positions are 32-bit
  if (text.size() > kLimit) fail("text of {} bytes, expected at most {}", text.size(), kLimit);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 4);
  if (add_special && adds_bos()) ids.push_back(bos());
  const ByteTrie& special = parse_special ? common_->with_control : common_->always;
  size_t begin = 0;
  bool follows_special = true;
  const auto plain = [&](size_t end) {
    if (end == begin) return;
    encode_plain(text.substr(begin, end - begin), follows_special, ids);
    follows_special = false;
  };
  if (!special.empty()) {
    for (size_t at = 0; at < text.size();) {
      const ByteTrie::Match match = special.longest(text, at);
      if (match.length == 0) {
        ++at;
        continue;
      }
      plain(at);
      ids.push_back(match.value);
      follows_special = true;
      at += match.length;
      begin = at;
    }
  }
  plain(text.size());
  if (add_special && adds_eos()) ids.push_back(eos());
  return ids;
}

std::string_view Tokenizer::token_text(int32_t id) const {
  if (!common_->vocabulary.contains(id))
    fail("token {}: expected an id from 0 to {}", id, common_->vocabulary.size() - 1);
  return common_->vocabulary.text(id);
}

std::string Tokenizer::piece(int32_t id, bool show_special) const {
  const std::string_view token = token_text(id);
  const TokenType type = common_->vocabulary.type(id);
  if (type == TokenType::kControl || type == TokenType::kUnknown)
    return show_special ? std::string(token) : std::string();
  std::string bytes;
  append_piece(id, bytes);
  return bytes;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool show_special) const {
  std::string bytes;
  bool at_start = adds_space_prefix();
  for (const int32_t id : ids) {
    const std::string next = piece(id, show_special);
    const bool control = is_control(id);
    const bool strip = at_start && !control && next.starts_with(' ');
    bytes.append(next, strip ? 1 : 0);
    if (!control) at_start = false;
  }
  return bytes;
}

int32_t Tokenizer::find_token(std::string_view text) const {
  return common_->vocabulary.find(text);
}
int32_t Tokenizer::bos() const { return common_->bos; }
int32_t Tokenizer::eos() const { return common_->eos; }
int32_t Tokenizer::unk() const { return common_->unk; }
bool Tokenizer::adds_bos() const { return common_->add_bos && common_->bos >= 0; }
bool Tokenizer::adds_eos() const { return common_->add_eos && common_->eos >= 0; }
bool Tokenizer::is_end_of_generation(int32_t id) const {
  return common_->vocabulary.contains(id) && common_->ends_generation[static_cast<size_t>(id)];
}
bool Tokenizer::is_control(int32_t id) const {
  return common_->vocabulary.contains(id) && common_->vocabulary.type(id) == TokenType::kControl;
}
size_t Tokenizer::vocabulary_size() const { return common_->vocabulary.size(); }
bool Tokenizer::adds_space_prefix() const { return common_->add_space_prefix; }

}  // namespace outboard::text
