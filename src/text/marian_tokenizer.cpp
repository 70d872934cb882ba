#include "text/marian_tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>

#include "support/error.h"
#include "text/vocabulary.h"

namespace outboard::text {
namespace {

void load(sentencepiece::SentencePieceProcessor& processor, const formats::Metadata& metadata,
          const std::string& key) {
  const formats::MetadataValue* value = metadata.find(key);
  if (value == nullptr)
    throw Error(fmt::format("{}: missing", key),
                "Convert the model again with `outboard convert`.");
  const auto* array = std::get_if<formats::MetadataArray>(value);
  const auto* bytes =
      array == nullptr ? nullptr : std::get_if<std::vector<uint8_t>>(&array->values);
  if (bytes == nullptr) fail("{}: expected an array of bytes", key);
  const auto status = processor.LoadFromSerializedProto(
      {reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (!status.ok())
    fail("{}: sentencepiece can't read these {} bytes: {}", key, bytes->size(), status.ToString());
}

int32_t id_of(const formats::Metadata& metadata, const Vocabulary& vocabulary,
              const std::string& name) {
  const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
  const int64_t id = metadata.get_int(key);
  if (!vocabulary.contains(id))
    fail("{}: {}, but the vocabulary has {} tokens", key, id, vocabulary.size());
  return static_cast<int32_t>(id);
}

bool is_language(std::string_view token) {
  return token.size() > 4 && token.starts_with(">>") && token.ends_with("<<");
}

}  // namespace

struct MarianTokenizer::Pieces {
  explicit Pieces(const formats::Metadata& metadata) : vocabulary(metadata) {
    load(source, metadata, "tokenizer.marian.source_spm");
    load(target, metadata, "tokenizer.marian.target_spm");
  }
  Vocabulary vocabulary;
  sentencepiece::SentencePieceProcessor source;
  sentencepiece::SentencePieceProcessor target;
};

MarianTokenizer::MarianTokenizer(const formats::Metadata& metadata)
    : pieces_(std::make_unique<Pieces>(metadata)),
      eos_(id_of(metadata, pieces_->vocabulary, "eos")),
      unk_(id_of(metadata, pieces_->vocabulary, "unknown")),
      pad_(id_of(metadata, pieces_->vocabulary, "padding")) {}

MarianTokenizer::~MarianTokenizer() = default;

std::vector<int32_t> MarianTokenizer::encode(std::string_view sentence) const {
  std::vector<int32_t> ids;
  if (sentence.starts_with(">>")) {
    const size_t end = sentence.find("<<");
    if (end != std::string_view::npos) {
      const int32_t id = pieces_->vocabulary.find(sentence.substr(0, end + 2));
      if (id >= 0) {
        ids.push_back(id);
        sentence.remove_prefix(end + 2);
      }
    }
  }
  std::vector<std::string> pieces;
  const auto status = pieces_->source.Encode({sentence.data(), sentence.size()}, &pieces);
  if (!status.ok()) fail("sentencepiece could not split a sentence: {}", status.ToString());
  for (const std::string& piece : pieces) {
    const int32_t id = pieces_->vocabulary.find(piece);
    ids.push_back(id >= 0 ? id : unk_);
  }
  ids.push_back(eos_);
  return ids;
}

bool MarianTokenizer::says_nothing(std::span<const int32_t> ids) const {
  constexpr std::string_view kSpace = "\xE2\x96\x81";  // a piece of a space alone
  return std::ranges::all_of(ids, [&](int32_t id) {
    return id == unk_ || id == eos_ || is_language(token_text(id)) || token_text(id) == kSpace;
  });
}

std::string MarianTokenizer::decode(std::span<const int32_t> ids) const {
  std::vector<std::string> pieces;
  for (const int32_t id : ids)
    if (id != eos_ && id != pad_ && id != unk_ && !is_language(token_text(id)))
      pieces.emplace_back(token_text(id));
  std::string text;
  const auto status = pieces_->target.Decode(pieces, &text);
  if (!status.ok()) fail("sentencepiece could not join pieces: {}", status.ToString());
  return text;
}

std::string_view MarianTokenizer::token_text(int32_t id) const {
  return pieces_->vocabulary.text(id);
}

size_t MarianTokenizer::vocabulary_size() const { return pieces_->vocabulary.size(); }

std::vector<std::string> MarianTokenizer::target_languages() const {
  std::vector<std::string> languages;
  for (size_t id = 0; id < vocabulary_size(); ++id)
    if (is_language(token_text(static_cast<int32_t>(id))))
      languages.emplace_back(token_text(static_cast<int32_t>(id)));
  return languages;
}

}  // namespace outboard::text
