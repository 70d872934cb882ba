#include "formats/hf_vocabulary.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <unordered_map>

#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581, SentencePiece's space
constexpr std::string_view kByteSpace = "\xc4\xa0";      // U+0120, byte-level BPE's space

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

bool is_byte_token(std::string_view text) {
  return text.size() == 6 && text.starts_with("<0x") && text[5] == '>' &&
         std::isxdigit(static_cast<unsigned char>(text[3])) != 0 &&
         std::isxdigit(static_cast<unsigned char>(text[4])) != 0;
}

const Json& model_of(const Json& tokenizer) {
  const Json* model = json_field(tokenizer, "model");
  if (model == nullptr) fail("model: it is missing");
  return *model;
}

const Json& vocab_of(const Json& tokenizer) {
  const Json* vocab = json_field(model_of(tokenizer), "vocab");
  if (vocab == nullptr || !vocab->is_object()) fail("model.vocab: expected an object");
  return *vocab;
}

void read_vocab(const Json& tokenizer, Vocabulary& vocabulary) {
  for (const auto& [text, id] : vocab_of(tokenizer).items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT64_MAX) {
      fail("model.vocab: token \"{}\": expected an id of at least 0", text);
    }
    vocabulary.set(id.get<int64_t>(), text, TokenKind::kNormal);
  }
}

// Calls body(left, right) for each merge: "a b" in older files, ["a", "b"] in newer ones.
template <typename Body>
void each_merge(const Json& tokenizer, Body body) {
  const Json* merges = json_field(model_of(tokenizer), "merges");
  if (merges == nullptr || !merges->is_array() || merges->empty()) {
    fail("model.merges: expected a list of merges");
  }
  for (size_t i = 0; i < merges->size(); ++i) {
    const Json& merge = (*merges)[i];
    if (merge.is_string()) {
      const auto text = merge.get<std::string>();
      const size_t space = text.find(' ', 1);  // a part is never empty, but may begin with a space
      if (space != std::string::npos && space + 1 < text.size()) {
        body(text.substr(0, space), text.substr(space + 1));
        continue;
      }
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      body(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    fail("model.merges: element {}: expected two tokens", i);
  }
}

// A reader of protocol buffers, as far as tokenizer.model needs it.
class Protobuf {
 public:
  explicit Protobuf(std::string_view bytes) : bytes_(bytes) {}

  bool at_end() const { return bytes_.empty(); }
  // The next field's number; its value is in text (length-delimited), or number.
  uint64_t next() {
    const uint64_t tag = varint();
    text = {};
    number = 0;
    switch (tag & 7) {
      case 0:
        number = varint();
        break;
      case 1:
        text = take(8);
        break;
      case 2:
        text = take(varint());
        break;
      case 5:
        text = take(4);
        break;
      default:
        fail("found wire type {}, expected a SentencePiece model", tag & 7);
    }
    return tag >> 3;
  }

  std::string_view text;
  uint64_t number = 0;

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
    fail("found a number of more than 64 bits, expected a SentencePiece model");
  }
  std::string_view take(uint64_t count) {
    if (count > bytes_.size()) {
      fail("the file ends after {} of {} bytes", bytes_.size(), count);
    }
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }

  std::string_view bytes_;
};

void read_piece(std::string_view bytes, int64_t id, Vocabulary& vocabulary) {
  std::string text;
  float score = 0;
  uint64_t type = 1;
  for (Protobuf piece(bytes); !piece.at_end();) {
    const uint64_t field = piece.next();
    if (field == 1) text = piece.text;
    if (field == 2 && piece.text.size() == sizeof(score)) {
      std::memcpy(&score, piece.text.data(), sizeof(score));
    }
    if (field == 3) type = piece.number;
  }
  // SentencePiece's types are GGUF's.
  if (type < 1 || type > 6) fail("piece {}: type: found {}, expected 1 to 6", id, type);
  vocabulary.set(id, std::move(text), static_cast<TokenKind>(type));
  vocabulary.scores[static_cast<size_t>(id)] = score;
}

bool is_model_unigram(std::string_view trainer_spec) {
  constexpr uint64_t kModelType = 3;
  constexpr uint64_t kUnigram = 1;
  uint64_t type = kUnigram;  // the default
  for (Protobuf fields(trainer_spec); !fields.at_end();) {
    if (fields.next() == kModelType) type = fields.number;
  }
  return type == kUnigram;
}

void read_trainer_spec(std::string_view bytes, SentencePieceSpec& spec) {
  constexpr uint64_t kModelType = 3;
  constexpr uint64_t kWhitespaceAsSuffix = 24;
  for (Protobuf fields(bytes); !fields.at_end();) {
    const uint64_t field = fields.next();
    if (field == kModelType) spec.model_type = fields.number;
    if (field == kWhitespaceAsSuffix) spec.whitespace_as_suffix = fields.number != 0;
  }
}

void read_normalizer_spec(std::string_view bytes, SentencePieceSpec& spec) {
  for (Protobuf fields(bytes); !fields.at_end();) {
    const uint64_t field = fields.next();
    if (field == 2) spec.charsmap = fields.text;
    if (field == 3) spec.add_dummy_prefix = fields.number != 0;
    if (field == 4) spec.remove_extra_whitespaces = fields.number != 0;
    if (field == 5) spec.escape_whitespaces = fields.number != 0;
  }
}

}  // namespace

Vocabulary::Vocabulary(int64_t size) {
  for (int64_t id = 0; id < size; ++id) tokens.push_back(fmt::format("[PAD{}]", id));
  kinds.assign(tokens.size(), TokenKind::kUnused);
}

void Vocabulary::set(int64_t id, std::string text, TokenKind kind) {
  if (id < 0 || id >= size()) {
    fail("token \"{}\": found id {}, expected less than config.json's vocab_size {}", text, id,
         size());
  }
  tokens[static_cast<size_t>(id)] = std::move(text);
  kinds[static_cast<size_t>(id)] = kind;
}

bool looks_special(std::string_view token) {
  return token == "<pad>" || token == "<mask>" || token == "<2mass>" || token == "[@BOS@]" ||
         (token.starts_with("<|") && token.ends_with("|>")) ||
         (token.starts_with("<\xef\xbd\x9c") && token.ends_with("\xef\xbd\x9c>")) ||
         (token.starts_with("<unused") && token.ends_with(">"));
}

void read_sentencepiece(std::string_view file, Vocabulary& vocabulary, bool& unigram) {
  constexpr uint64_t kPieces = 1;
  constexpr uint64_t kTrainerSpec = 2;
  vocabulary.scores.assign(vocabulary.tokens.size(), -10000.0f);
  unigram = true;
  int64_t id = 0;
  for (Protobuf model(file); !model.at_end();) {
    const uint64_t field = model.next();
    if (field == kPieces) {
      // Pieces beyond the model's rows exist (Gemma); no token of the model means them.
      if (id < vocabulary.size()) read_piece(model.text, id, vocabulary);
      ++id;
    } else if (field == kTrainerSpec) {
      unigram = is_model_unigram(model.text);
    }
  }
  if (id == 0) fail("found no pieces, expected a SentencePiece model");
}

SentencePieceSpec read_sentencepiece_spec(std::string_view file) {
  constexpr uint64_t kTrainerSpec = 2;
  constexpr uint64_t kNormalizerSpec = 3;
  constexpr uint64_t kDenormalizerSpec = 5;
  SentencePieceSpec spec;
  for (Protobuf model(file); !model.at_end();) {
    const uint64_t field = model.next();
    if (field == kTrainerSpec) read_trainer_spec(model.text, spec);
    if (field == kNormalizerSpec) read_normalizer_spec(model.text, spec);
    if (field == kDenormalizerSpec) {
      SentencePieceSpec other;
      read_normalizer_spec(model.text, other);
      spec.denormalizes = !other.charsmap.empty();
    }
  }
  return spec;
}

void check_sentencepiece(std::string_view file) {
  constexpr uint64_t kPieces = 1;
  constexpr uint64_t kTrainerSpec = 2;
  Vocabulary one(1);
  one.scores.assign(1, 0.0f);
  int64_t pieces = 0;
  for (Protobuf model(file); !model.at_end();) {
    const uint64_t field = model.next();
    if (field == kPieces) {
      read_piece(model.text, 0, one);
      ++pieces;
    } else if (field == kTrainerSpec) {
      is_model_unigram(model.text);
    }
  }
  if (pieces == 0) fail("found no pieces, expected a SentencePiece model");
}

void read_byte_level_bpe(const Json& tokenizer, Vocabulary& vocabulary) {
  read_vocab(tokenizer, vocabulary);
  read_merges(tokenizer, vocabulary);
}

void read_merges(const Json& tokenizer, Vocabulary& vocabulary) {
  each_merge(tokenizer, [&](const std::string& left, const std::string& right) {
    vocabulary.merges.push_back(replace_all(left, " ", kByteSpace) + ' ' +
                                replace_all(right, " ", kByteSpace));
  });
}

void read_character_bpe(const Json& tokenizer, Vocabulary& vocabulary) {
  read_vocab(tokenizer, vocabulary);
  const auto unknown = json_string(model_of(tokenizer), "unk_token");
  std::unordered_map<std::string_view, size_t> ids;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    ids.emplace(vocabulary.tokens[id], id);
    if (vocabulary.kinds[id] == TokenKind::kUnused) continue;
    if (is_byte_token(vocabulary.tokens[id])) vocabulary.kinds[id] = TokenKind::kByte;
    if (vocabulary.tokens[id] == unknown) vocabulary.kinds[id] = TokenKind::kUnknown;
  }
  // SentencePiece scores its nth merged token -n; several merges may make one token, and the first
  // is the one that counts. Single characters are below all of them.
  vocabulary.scores.assign(vocabulary.tokens.size(), 0.0f);
  std::vector<bool> merged(vocabulary.tokens.size());
  float score = 0;
  each_merge(tokenizer, [&](const std::string& left, const std::string& right) {
    const auto place = ids.find(left + right);
    if (place == ids.end()) fail("model.merges: \"{}{}\" is no token", left, right);
    if (merged[place->second]) return;
    merged[place->second] = true;
    vocabulary.scores[place->second] = score;
    score -= 1;
  });
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (merged[id]) continue;
    if (vocabulary.kinds[id] == TokenKind::kNormal) vocabulary.scores[id] = score;
    if (vocabulary.kinds[id] == TokenKind::kUnused) vocabulary.scores[id] = -10000.0f;
  }
}

void add_added_tokens(const Json& tokens, bool sentencepiece, Vocabulary& vocabulary) {
  for (const auto& [key, token] : tokens.items()) {
    auto id = json_int(token, "id");
    if (!id) {  // tokenizer_config.json has the id as the key
      int64_t number = 0;
      const auto parsed = std::from_chars(key.data(), key.data() + key.size(), number);
      if (parsed.ec != std::errc() || parsed.ptr != key.data() + key.size()) {
        fail("added token {}: id: it is missing", key);
      }
      id = number;
    }
    auto text = json_string(token, "content");
    if (!text) fail("added token {}: content: it is missing", *id);
    // Embeddings are sometimes padded less than the tokenizer; such a token can't be used.
    if (*id >= vocabulary.size()) continue;
    if (*id < 0) fail("added token \"{}\": found id {}", *text, *id);
    const bool special = json_bool(token, "special").value_or(false) || looks_special(*text);
    const TokenKind old = vocabulary.kinds[static_cast<size_t>(*id)];
    TokenKind kind = special ? TokenKind::kControl : TokenKind::kUserDefined;
    if (sentencepiece && old == TokenKind::kUnknown) kind = old;
    // User tokens are matched in the text before spaces are marked.
    if (!special) text = replace_all(*text, kSpaceMark, " ");
    vocabulary.set(*id, *text, kind);
    if (!vocabulary.scores.empty()) vocabulary.scores[static_cast<size_t>(*id)] = -1000.0f;
  }
}

}  // namespace outboard::formats
