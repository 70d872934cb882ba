#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "support/error.h"
#include "text/byte_level_bpe.h"
#include "text/sentencepiece_bpe.h"
#include "text/sentencepiece_unigram.h"
#include "text/tokenizer_common.h"
#include "text/unicode.h"

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

// "<...>" or "[...]": how turns and calls are marked.
bool looks_like_marker(std::string_view text) {
  return text.size() > 2 && ((text.front() == '<' && text.back() == '>') ||
                             (text.front() == '[' && text.back() == ']'));
}

}  // namespace

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
      add_bos(metadata.get_bool("tokenizer.ggml.add_bos_token", defaults.add_bos)),
      add_eos(metadata.get_bool("tokenizer.ggml.add_eos_token", defaults.add_eos)),
      add_space_prefix(
          metadata.get_bool("tokenizer.ggml.add_space_prefix", defaults.add_space_prefix)),
      ends_generation(vocabulary.size()) {
  const std::string rule = metadata.get_string("outboard.space_prefix", "");
  if (rule == "always") {
    space_prefix = SpacePrefix::kUnlessSpace;
  } else if (rule == "first") {
    space_prefix = SpacePrefix::kFirst;
  } else if (!rule.empty()) {
    fail("outboard.space_prefix: \"{}\", expected always or first", rule);
  }
  bos = read_id(metadata, "tokenizer.ggml.bos_token_id", defaults.bos);
  eos = read_id(metadata, "tokenizer.ggml.eos_token_id", defaults.eos);
  unk = read_id(metadata, "tokenizer.ggml.unknown_token_id", defaults.unk);
  for (const auto& [wanted, id, name] :
       {std::tuple(add_bos, bos, "bos"), std::tuple(add_eos, eos, "eos")}) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
    // -1 is a file's way to say that it has none.
    if (wanted && id < 0 && metadata.contains(key) && metadata.get_int(key) != -1)
      fail("{}: {}, expected a token id below {}: the model wants it in every text", key,
           metadata.get_int(key), vocabulary.size());
  }
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const TokenType type = vocabulary.type(id);
    const bool user = type == TokenType::kUserDefined;
    if (!user && type != TokenType::kControl && type != TokenType::kUnknown) continue;
    const std::string_view token = vocabulary.text(id);
    if (token.size() > kLongestSpecialToken)
      fail("tokenizer.ggml.tokens[{}]: special token of {} bytes, expected at most {}", i,
           token.size(), kLongestSpecialToken);
    if (user && !defaults.split_user_defined && !vocabulary.is_added(id)) continue;
    if (user) always.add(token, id);
    with_control.add(token, id);
  }
  find_ends(metadata);
  find_markers(metadata);
}

bool Tokenizer::Common::wants_space(std::string_view piece, size_t at, bool follows_special) const {
  if (!add_space_prefix || !follows_special) return false;
  if (space_prefix == SpacePrefix::kEveryPiece) return true;
  constexpr std::string_view kMark = "\xE2\x96\x81";  // U+2581, a space as vocabularies spell it
  if (piece.starts_with(' ') || piece.starts_with(kMark)) return false;
  return space_prefix == SpacePrefix::kUnlessSpace || at == 0;
}

int32_t Tokenizer::Common::read_id(const formats::Metadata& metadata, std::string_view key,
                                   int32_t fallback) {
  if (!vocabulary.contains(fallback)) fallback = -1;
  if (!metadata.contains(key)) return fallback;
  const int64_t id = metadata.get_int(key);
  if (vocabulary.contains(id)) return static_cast<int32_t>(id);
  if (id == -1) return -1;
  notes.push_back(fmt::format(
      "{} is {}, and the vocabulary has {} tokens: {}", key, id, vocabulary.size(),
      fallback < 0 ? "taken as none"
                   : fmt::format("taken as {}, \"{}\"", fallback, vocabulary.text(fallback))));
  return fallback;
}

void Tokenizer::Common::find_markers(const formats::Metadata& metadata) {
  const std::string source = metadata.get_string("tokenizer.chat_template", "");
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const TokenType type = vocabulary.type(id);
    const std::string_view token = vocabulary.text(id);
    if (type == TokenType::kControl || type == TokenType::kUnknown) {
      markers.add(token, id);
    } else if (type == TokenType::kUserDefined && looks_like_marker(token)) {
      // Vocabularies also define runs of spaces, and tags of HTML that people write about.
      const bool barred = (token.starts_with("<|") && token.ends_with("|>")) ||
                          (token.starts_with("<｜") && token.ends_with("｜>"));
      if (barred || source.find(token) != std::string::npos) markers.add(token, id);
    }
  }
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
    mark(read_id(metadata, key, -1));
  // Vocabularies with these two use <|end|> inside an answer, between its channels.
  const auto ends = [&](std::string_view text) { return vocabulary.find(text) >= 0; };
  const int32_t end = vocabulary.find("<|end|>");
  if (end >= 0 && end != eos &&
      ((ends("<|return|>") && ends("<|call|>")) || (ends("<|calls|>") && ends("<|flush|>"))))
    ends_generation[static_cast<size_t>(end)] = false;
  // What a folder's configuration lists, and ollama's files; they know better than the rule above.
  for (const char* key : {"outboard.eos_token_ids", "tokenizer.ggml.eos_token_ids"})
    for (const int64_t id : metadata.get_ints_or_empty(key)) {
      if (vocabulary.contains(id)) {
        mark(static_cast<int32_t>(id));
      } else {
        notes.push_back(fmt::format("{} lists {}, and the vocabulary has {} tokens", key, id,
                                    vocabulary.size()));
      }
    }
}

namespace {

std::unique_ptr<Tokenizer> make_tokenizer(const formats::Metadata& metadata) {
  constexpr const char* kKey = "tokenizer.ggml.model";
  if (!metadata.contains(kKey))
    throw Error(fmt::format("{}: missing, expected the kind of tokenizer", kKey),
                "The file holds no tokenizer; use a complete GGUF file of the model.");
  const std::string& kind = metadata.get_string(kKey);
  if (kind == "gpt2") return make_byte_level_bpe(metadata);
  if (kind == "llama") return make_sentencepiece_bpe(metadata);
  if (kind == "t5") return make_sentencepiece_unigram(metadata);
  if (kind == "gemma4") return make_ranked_bpe(metadata);
  throw Error(fmt::format("{}: \"{}\", expected gpt2, llama, t5 or gemma4", kKey, kind),
              "This kind of tokenizer is not supported; choose a model with one of those named.");
}

// Plain tokens that the chat template writes as a whole, and that no text becomes: converters have
// typed them wrongly, and the model would see letters where it was taught a marker.
std::vector<int32_t> find_lost_markers(const formats::Metadata& metadata,
                                       const Tokenizer& tokenizer) {
  const std::vector<int64_t> types = metadata.get_ints_or_empty("tokenizer.ggml.token_type");
  const std::string chat = metadata.get_string("tokenizer.chat_template", "");
  std::vector<int32_t> found;
  for (size_t i = 0; i < tokenizer.vocabulary_size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const auto type = i < types.size() ? static_cast<TokenType>(types[i]) : TokenType::kNormal;
    if (type > TokenType::kNormal) continue;
    const std::string_view text = tokenizer.token_text(id);
    if (!looks_like_marker(text)) continue;
    const bool written =
        chat.find(text) != std::string::npos || id == tokenizer.eos() || id == tokenizer.bos();
    if (!written) continue;
    const std::vector<int32_t> ids = tokenizer.encode(text, false, false);
    if (ids.empty() || ids.back() != id) found.push_back(id);
  }
  return found;
}

}  // namespace

std::vector<std::string> Tokenizer::unheard(const formats::Metadata& metadata) {
  // Used here, in chat_template.cpp and in marian_tokenizer.cpp, or of no weight for text: counts,
  // ids of tokens for tasks that Outboard does not have, the same facts in another spelling, more
  // templates to choose from. Source: gguf-py's constants.py.
  constexpr std::array<std::string_view, 36> kKnown = {
      "ggml.model",
      "ggml.pre",
      "ggml.tokens",
      "ggml.token_type",
      "ggml.token_type_count",
      "ggml.scores",
      "ggml.merges",
      "ggml.bos_token_id",
      "ggml.eos_token_id",
      "ggml.eos_token_ids",
      "ggml.eot_token_id",
      "ggml.eom_token_id",
      "ggml.unknown_token_id",
      "ggml.seperator_token_id",
      "ggml.padding_token_id",
      "ggml.cls_token_id",
      "ggml.mask_token_id",
      "ggml.prefix_token_id",
      "ggml.suffix_token_id",
      "ggml.middle_token_id",
      "ggml.fim_pre_token_id",
      "ggml.fim_suf_token_id",
      "ggml.fim_mid_token_id",
      "ggml.fim_pad_token_id",
      "ggml.fim_rep_token_id",
      "ggml.fim_sep_token_id",
      "ggml.add_bos_token",
      "ggml.add_eos_token",
      "ggml.add_space_prefix",
      "ggml.remove_extra_whitespaces",
      "ggml.precompiled_charsmap",
      "huggingface.json",
      "chat_template",
      "chat_templates",
      "marian.source_spm",
      "marian.target_spm",
  };
  // Of byte-level BPE, whose texts are taken as they are.
  constexpr std::array<std::string_view, 3> kSentencePiece = {
      "ggml.add_space_prefix", "ggml.remove_extra_whitespaces", "ggml.precompiled_charsmap"};
  constexpr std::string_view kSpace = "tokenizer.";
  const bool bytes = metadata.get_string("tokenizer.ggml.model", "") == "gpt2";
  std::vector<std::string> found;
  for (const auto& [key, value] : metadata.entries()) {
    if (!key.starts_with(kSpace)) continue;
    const std::string_view name = std::string_view(key).substr(kSpace.size());
    const bool* flag = std::get_if<bool>(&value);
    if (flag != nullptr && !*flag) continue;  // what is off changes nothing
    if (name.starts_with("chat_template.")) continue;
    const bool known = std::ranges::find(kKnown, name) != kKnown.end() &&
                       !(bytes && std::ranges::find(kSentencePiece, name) != kSentencePiece.end());
    if (known) continue;
    found.push_back(flag != nullptr ? fmt::format("metadata {} = true", key)
                                    : fmt::format("metadata {}", key));
  }
  return found;
}

std::unique_ptr<Tokenizer> Tokenizer::from_metadata(const formats::Metadata& metadata) {
  std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(metadata);
  const std::vector<int32_t> lost = find_lost_markers(metadata, *tokenizer);
  if (lost.empty()) return tokenizer;
  std::vector<int64_t> types = metadata.get_ints_or_empty("tokenizer.ggml.token_type");
  types.resize(tokenizer->vocabulary_size(), static_cast<int64_t>(TokenType::kNormal));
  std::string names;
  for (const int32_t id : lost) {
    const std::string_view text = tokenizer->token_text(id);
    // Others are seen in answers: <think>, <tool_call>.
    const bool control = text.starts_with("<|") || text.starts_with("<｜") ||
                         text.ends_with("|>") || tokenizer->is_end_of_generation(id) ||
                         id == tokenizer->bos();
    types[static_cast<size_t>(id)] =
        static_cast<int64_t>(control ? TokenType::kControl : TokenType::kUserDefined);
    names += fmt::format("{}{}", names.empty() ? "" : ", ", text);
  }
  formats::Metadata mended = metadata;
  mended.set("tokenizer.ggml.token_type", formats::MetadataArray{std::move(types)});
  tokenizer = make_tokenizer(mended);
  tokenizer->add_note(fmt::format(
      "tokenizer.ggml.token_type calls {} plain text, and the chat template writes {}: taken as {}",
      names, lost.size() == 1 ? "it" : "them", lost.size() == 1 ? "a marker" : "markers"));
  return tokenizer;
}

Tokenizer::Tokenizer(std::unique_ptr<Common> common)
    : common_(std::move(common)), notes_(std::move(common_->notes)) {}
Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special,
                                       bool parse_special) const {
  return encode(text, add_special, parse_special, nullptr);
}

std::vector<int32_t> Tokenizer::encode(const TracedText& text, bool add_special) const {
  return encode(text.bytes(), add_special, true, text.all_template() ? nullptr : &text);
}

std::vector<std::string> Tokenizer::markers_in(std::string_view text) const {
  std::vector<std::string> found;
  for (size_t at = 0; at < text.size();) {
    const size_t length = common_->markers.longest(text, at).length;
    std::string marker(text.substr(at, length));
    if (length != 0 && std::ranges::find(found, marker) == found.end())
      found.push_back(std::move(marker));
    at += std::max<size_t>(1, length);
  }
  return found;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special, bool parse_special,
                                       const TracedText* origins) const {
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
    const std::string_view piece = text.substr(begin, end - begin);
    encode_plain(piece, common_->wants_space(piece, begin, follows_special), ids);
    follows_special = false;
  };
  // Whether the token there is one that its writer may write.
  const auto allowed = [&](size_t at, const ByteTrie::Match& match) {
    if (origins == nullptr) return true;
    const bool user = common_->vocabulary.type(match.value) == TokenType::kUserDefined;
    if (user &&
        common_->markers.longest(text.substr(0, at + match.length), at).length != match.length)
      return true;
    const Origin least = user ? Origin::kModel : Origin::kTemplate;
    for (size_t i = at; i < at + match.length; ++i)
      if (origins->origin(i) > least) return false;
    return true;
  };
  for (size_t at = 0; at < text.size();) {
    const ByteTrie::Match match = special.longest_that(
        text, at, [&](const ByteTrie::Match& candidate) { return allowed(at, candidate); });
    if (match.length != 0) {
      plain(at);
      ids.push_back(match.value);
      follows_special = true;
      at += match.length;
      begin = at;
      continue;
    }
    // SentencePiece finds user-defined tokens in plain text by itself, but not across a cut.
    const ByteTrie::Match marker =
        origins == nullptr
            ? ByteTrie::Match{}
            : common_->markers.longest_that(text, at, [&](const ByteTrie::Match& candidate) {
                return !allowed(at, candidate);
              });
    if (marker.length != 0 && common_->vocabulary.type(marker.value) == TokenType::kUserDefined) {
      at += std::max<size_t>(1, decode_character(text, at).length);
      plain(at);
      begin = at;
      continue;
    }
    ++at;
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
