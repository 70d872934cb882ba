#include "text/sentencepiece_bpe.h"

#include <unordered_map>

#include "text/merge.h"
#include "text/merge_table.h"
#include "text/sentencepiece_common.h"
#include "text/unicode.h"

namespace outboard::text {
namespace {

TokenizerDefaults bpe_defaults() {
  TokenizerDefaults defaults;
  defaults.bos = 1;
  defaults.eos = 2;
  defaults.unk = 0;
  defaults.add_bos = true;
  defaults.add_space_prefix = true;
  return defaults;
}

class SentencePieceBpe final : public SentencePieceTokenizer {
 public:
  explicit SentencePieceBpe(const formats::Metadata& metadata)
      : SentencePieceTokenizer(metadata, bpe_defaults()) {}

 protected:
  void encode_plain(std::string_view text, bool space_in_front,
                    std::vector<int32_t>& ids) const override {
    const std::string normal = normalize(text, space_in_front);
    MergeScratch scratch;
    std::vector<Symbol>& symbols = scratch.symbols;
    symbols.reserve(normal.size());
    for (size_t at = 0; at < normal.size();) {
      const ByteTrie::Match user = user_defined_.longest(normal, at);
      size_t length = user.length;
      if (length == 0) length = std::max<size_t>(1, decode_character(normal, at).length);
      const int32_t id =
          user.length != 0 ? user.value : find_piece(std::string_view(normal).substr(at, length));
      symbols.push_back(
          {id, static_cast<uint32_t>(at), static_cast<uint32_t>(length), -1, -1, user.length != 0});
      at += length;
    }
    link_symbols(symbols);

    // Tokens marked unused may serve as steps to longer ones, and are taken apart again otherwise.
    std::unordered_map<int32_t, std::pair<int32_t, int32_t>> halves;
    merge_symbols(
        scratch,
        [&](const Symbol& left, const Symbol& right, MergeCandidate& candidate) {
          candidate.id =
              find_piece(std::string_view(normal).substr(left.begin, left.length + right.length));
          if (candidate.id < 0) return false;
          candidate.priority = -double{vocabulary().score(candidate.id)};
          if (vocabulary().type(candidate.id) == TokenType::kUnused)
            halves[candidate.id] = {left.id, right.id};
          return true;
        },
        [](const Symbol&, const Symbol&) {});

    bool unknown = false;
    for (const Symbol& symbol : symbols) {
      if (symbol.length == 0) continue;
      if (symbol.id < 0) {
        append_unknown(std::string_view(normal).substr(symbol.begin, symbol.length), unknown, ids);
        unknown = true;
      } else {
        append_used(symbol.id, halves, ids);
        unknown = false;
      }
    }
  }

 private:
  void append_used(int32_t id,
                   const std::unordered_map<int32_t, std::pair<int32_t, int32_t>>& halves,
                   std::vector<int32_t>& ids) const {
    std::vector<int32_t> rest = {id};
    while (!rest.empty()) {
      const int32_t next = rest.back();
      rest.pop_back();
      const auto found = halves.find(next);
      if (found == halves.end() || found->second.first < 0 || found->second.second < 0) {
        ids.push_back(next);
        continue;
      }
      rest.push_back(found->second.second);
      rest.push_back(found->second.first);
    }
  }
};

TokenizerDefaults ranked_defaults() {
  TokenizerDefaults defaults;
  defaults.bos = 2;
  defaults.eos = 1;
  defaults.unk = 3;
  defaults.add_bos = true;
  defaults.split_user_defined = true;
  return defaults;
}

// Gemma 4's: SentencePiece's text and bytes, merged over the whole text in the order of a list.
class RankedBpe final : public SentencePieceTokenizer {
 public:
  explicit RankedBpe(const formats::Metadata& metadata)
      : SentencePieceTokenizer(metadata, ranked_defaults()),
        merges_(read_merges(metadata, vocabulary())) {}

 protected:
  void encode_plain(std::string_view text, bool space_in_front,
                    std::vector<int32_t>& ids) const override {
    const std::string normal = normalize(text, space_in_front);
    MergeScratch scratch;
    std::vector<Symbol>& symbols = scratch.symbols;
    symbols.reserve(normal.size());
    for (size_t at = 0; at < normal.size();) {
      const size_t length = std::max<size_t>(1, decode_character(normal, at).length);
      symbols.push_back({find_piece(std::string_view(normal).substr(at, length)),
                         static_cast<uint32_t>(at), static_cast<uint32_t>(length), -1, -1});
      at += length;
    }
    link_symbols(symbols);
    merge_symbols(
        scratch,
        [&](const Symbol& left, const Symbol& right, MergeCandidate& candidate) {
          return left.id >= 0 && right.id >= 0 && merges_.find(left.id, right.id, candidate);
        },
        [](const Symbol&, const Symbol&) {});
    bool unknown = false;
    for (const Symbol& symbol : symbols) {
      if (symbol.length == 0) continue;
      if (symbol.id >= 0) {
        ids.push_back(symbol.id);
      } else {
        append_unknown(std::string_view(normal).substr(symbol.begin, symbol.length), unknown, ids);
      }
      unknown = symbol.id < 0;
    }
  }

 private:
  MergeTable merges_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_ranked_bpe(const formats::Metadata& metadata) {
  return std::make_unique<RankedBpe>(metadata);
}

std::unique_ptr<Tokenizer> make_sentencepiece_bpe(const formats::Metadata& metadata) {
  return std::make_unique<SentencePieceBpe>(metadata);
}

}  // namespace outboard::text
