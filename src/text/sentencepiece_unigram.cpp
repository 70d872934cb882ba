#include "text/sentencepiece_unigram.h"

#include <algorithm>
#include <limits>

#include "text/sentencepiece_common.h"
#include "text/unicode.h"

namespace outboard::text {
namespace {

constexpr float kUnknownPenalty = 10;  // below the least likely token

TokenizerDefaults unigram_defaults() {
  TokenizerDefaults defaults;
  defaults.eos = 1;
  defaults.unk = 2;
  defaults.add_eos = true;
  defaults.add_space_prefix = true;
  return defaults;
}

class SentencePieceUnigram final : public SentencePieceTokenizer {
 public:
  explicit SentencePieceUnigram(const formats::Metadata& metadata)
      : SentencePieceTokenizer(metadata, unigram_defaults()) {
    float least = std::numeric_limits<float>::max();
    float most = std::numeric_limits<float>::lowest();
    for (size_t i = 0; i < vocabulary().size(); ++i) {
      const auto id = static_cast<int32_t>(i);
      const TokenType type = vocabulary().type(id);
      if (type == TokenType::kNormal) {
        least = std::min(least, vocabulary().score(id));
        most = std::max(most, vocabulary().score(id));
      }
      if (type == TokenType::kNormal || type == TokenType::kUserDefined)
        pieces_.add(escaped(vocabulary().text(id)), id);
    }
    if (least > most) least = most = 0;  // no normal tokens at all
    unknown_score_ = least - kUnknownPenalty;
    most_likely_ = most;
  }

 protected:
  void encode_plain(std::string_view text, bool space_in_front,
                    std::vector<int32_t>& ids) const override {
    const std::string normal = normalize(text, space_in_front);
    struct Best {
      float score = 0;
      int32_t id = -1;          // of the token that ends here; -1: unknown
      uint32_t begin = kNever;  // where it begins
    };
    std::vector<Best> best(normal.size() + 1);
    best[0].begin = 0;
    const auto offer = [&](size_t begin, size_t end, int32_t id, float score) {
      const float total = score + best[begin].score;
      if (best[end].begin == kNever || total > best[end].score)
        best[end] = {total, id, static_cast<uint32_t>(begin)};
    };
    for (size_t at = 0; at < normal.size();) {
      const size_t character = std::max<size_t>(1, decode_character(normal, at).length);
      bool single = false;
      uint32_t node = ByteTrie::kRoot;
      for (size_t i = at; i < normal.size(); ++i) {
        node = pieces_.next(node, static_cast<uint8_t>(normal[i]));
        if (node == ByteTrie::kNone) break;
        const int32_t id = pieces_.value(node);
        if (id < 0) continue;
        const size_t length = i + 1 - at;
        offer(at, i + 1, id, score(id, length));
        single = single || length == character;
      }
      if (!single) offer(at, at + character, -1, unknown_score_);
      at += character;
    }

    struct Part {
      uint32_t begin, end;
      int32_t id;
    };
    std::vector<Part> parts;
    for (auto end = static_cast<uint32_t>(normal.size()); end != 0; end = best[end].begin)
      parts.push_back({best[end].begin, end, best[end].id});
    bool unknown = false;
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      if (part->id >= 0) {
        ids.push_back(part->id);
      } else {
        append_unknown(std::string_view(normal).substr(part->begin, part->end - part->begin),
                       unknown, ids);
      }
      unknown = part->id < 0;
    }
  }

 private:
  static constexpr uint32_t kNever = ~uint32_t{0};

  static std::string escaped(std::string_view token) {
    std::string text;
    for (const char c : token) {
      if (c == ' ') {
        text += kEscapedSpace;
      } else {
        text.push_back(c);
      }
    }
    return text;
  }

  // A user-defined token always wins over the ways to spell it.
  float score(int32_t id, size_t length) const {
    if (vocabulary().type(id) == TokenType::kUserDefined)
      return static_cast<float>(static_cast<float>(length) * most_likely_ - 0.1);
    return vocabulary().score(id);
  }

  ByteTrie pieces_;
  float unknown_score_ = 0;
  float most_likely_ = 0;
};

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_unigram(const formats::Metadata& metadata) {
  return std::make_unique<SentencePieceUnigram>(metadata);
}

}  // namespace outboard::text
