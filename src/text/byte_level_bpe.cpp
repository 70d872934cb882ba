#include "text/byte_level_bpe.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <optional>

#include "support/error.h"
#include "text/merge.h"
#include "text/merge_table.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_common.h"
#include "text/unicode.h"

namespace outboard::text {
namespace {

// GPT-2's spelling of bytes: printable Latin-1 characters stand for themselves, the other 68 bytes
// for U+0100 and up, in order.
struct ByteSpelling {
  std::array<char32_t, 256> character{};
  std::array<int16_t, 512> byte{};  // by character; -1: none

  ByteSpelling() {
    byte.fill(-1);
    char32_t next = 256;
    for (char32_t b = 0; b < 256; ++b) {
      const bool printable =
          (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
      character[b] = printable ? b : next++;
      byte[character[b]] = static_cast<int16_t>(b);
    }
  }
};

const ByteSpelling& spelling() {
  static const ByteSpelling instance;
  return instance;
}

// Where an earlier word of the same text left its tokens in the output; text repeats itself.
class WordCache {
 public:
  struct Entry {
    std::string_view word;
    uint32_t first = 0, count = 0;
  };
  Entry& entry(std::string_view word) {
    return entries_[std::hash<std::string_view>{}(word) & (entries_.size() - 1)];
  }

 private:
  std::vector<Entry> entries_ = std::vector<Entry>(4096);
};

// Unicode's NFC for the well-formed parts of a text; other bytes stay as they are.
std::string compose(std::string_view text) {
  std::string composed;
  composed.reserve(text.size());
  const auto append = [&](std::string_view part) {
    utf8proc_uint8_t* result = nullptr;
    const utf8proc_ssize_t length =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(part.data()),
                     static_cast<utf8proc_ssize_t>(part.size()), &result,
                     // flags of a C library: NOLINTNEXTLINE(*EnumCastOutOfRange)
                     static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
    if (length < 0) fail("text can not be normalised: {}", utf8proc_errmsg(length));
    composed.append(reinterpret_cast<const char*>(result), static_cast<size_t>(length));
  };
  size_t begin = 0;
  bool ascii = true;
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter character = decode_character(text, at);
    ascii = ascii && character.length == 1;
    if (character.length != 0) {
      at += character.length;
      continue;
    }
    if (at > begin) append(text.substr(begin, at - begin));
    composed.push_back(text[at]);
    begin = ++at;
  }
  if (ascii) return std::string(text);
  if (begin < text.size()) append(text.substr(begin));
  return composed;
}

class ByteLevelBpe final : public Tokenizer {
 public:
  ByteLevelBpe(const formats::Metadata& metadata, const PreTokenizerFamily& family)
      : Tokenizer(std::make_unique<Common>(metadata, Vocabulary(metadata), defaults(family))),
        pre_tokenizer_(family.patterns),
        ignore_merges_(family.ignore_merges),
        compose_(family.compose) {
    for (size_t b = 0; b < 256; ++b) {
      std::string character;
      append_utf8(spelling().character[b], character);
      byte_tokens_[b] = vocabulary().find(character);
    }
    merges_ = read_merges(metadata, vocabulary());
  }

 protected:
  void encode_plain(std::string_view text, bool /*space_in_front*/,
                    std::vector<int32_t>& ids) const override {
    std::string composed;
    if (compose_) text = composed = compose(text);
    const std::vector<uint32_t> ends = pre_tokenizer_.split(text);
    WordCache cache;
    MergeScratch scratch;
    size_t begin = 0;
    for (const uint32_t end : ends) {
      const std::string_view word = text.substr(begin, end - begin);
      begin = end;
      WordCache::Entry& entry = cache.entry(word);
      const size_t first = ids.size();
      if (!entry.word.empty() && entry.word == word) {
        ids.resize(first + entry.count);
        std::copy_n(ids.begin() + entry.first, entry.count,
                    ids.begin() + static_cast<std::ptrdiff_t>(first));
        continue;
      }
      encode_word(word, scratch, ids);
      entry = {word, static_cast<uint32_t>(first), static_cast<uint32_t>(ids.size() - first)};
    }
  }

  void append_piece(int32_t id, std::string& bytes) const override {
    const std::string_view token = vocabulary().text(id);
    if (vocabulary().type(id) == TokenType::kUserDefined) {
      bytes += token;
      return;
    }
    for (size_t at = 0; at < token.size();) {
      const DecodedCharacter character = decode_character(token, at);
      const size_t length = character.length != 0 ? character.length : 1;
      const int byte = character.length != 0 && character.code < spelling().byte.size()
                           ? spelling().byte[character.code]
                           : -1;
      if (byte >= 0) {
        bytes.push_back(static_cast<char>(byte));
      } else {
        bytes += token.substr(at, length);  // an added token that is not spelled in bytes
      }
      at += length;
    }
  }

 private:
  static TokenizerDefaults defaults(const PreTokenizerFamily& family) {
    TokenizerDefaults defaults;
    defaults.add_bos = family.add_bos;
    defaults.split_user_defined = true;
    return defaults;
  }

  const Vocabulary& vocabulary() const { return common().vocabulary; }

  int32_t find_whole(std::string_view word) const {
    if (word.size() > vocabulary().longest()) return -1;
    std::string spelled;
    spelled.reserve(word.size() * 2);
    for (const char c : word) append_utf8(spelling().character[static_cast<uint8_t>(c)], spelled);
    const int32_t id = vocabulary().find(spelled);
    return id >= 0 && vocabulary().type(id) == TokenType::kNormal ? id : -1;
  }

  void encode_word(std::string_view word, MergeScratch& scratch, std::vector<int32_t>& ids) const {
    if (ignore_merges_) {
      if (const int32_t id = find_whole(word); id >= 0) {
        ids.push_back(id);
        return;
      }
    }
    std::vector<Symbol>& symbols = scratch.symbols;
    symbols.clear();
    for (size_t i = 0; i < word.size(); ++i) {
      const int32_t id = byte_tokens_[static_cast<uint8_t>(word[i])];
      // A byte that the vocabulary lacks is dropped, and its neighbours may merge.
      if (id >= 0) symbols.push_back({id, static_cast<uint32_t>(i), 1, -1, -1});
    }
    link_symbols(symbols);
    merge_symbols(
        scratch,
        [&](const Symbol& left, const Symbol& right, MergeCandidate& candidate) {
          return merges_.find(left.id, right.id, candidate);
        },
        [](const Symbol&, const Symbol&) {});
    for (const Symbol& symbol : symbols)
      if (symbol.length != 0) ids.push_back(symbol.id);
  }

  PreTokenizer pre_tokenizer_;
  bool ignore_merges_, compose_;
  std::array<int32_t, 256> byte_tokens_{};
  MergeTable merges_;
};

}  // namespace

namespace {

// The bytes that a token stands for; none if it is no UTF-8, a part of a character, say.
std::optional<std::string> spelled_text(std::string_view token) {
  std::string bytes;
  for (size_t at = 0; at < token.size();) {
    const DecodedCharacter character = decode_character(token, at);
    if (character.length == 0 || character.code >= spelling().byte.size()) return std::nullopt;
    const int byte = spelling().byte[character.code];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    at += character.length;
  }
  if (!is_valid_utf8(bytes)) return std::nullopt;
  return bytes;
}

// A file that names no rule for words, or the "default" that converters wrote before they knew one.
const PreTokenizerFamily& guess_family(const formats::Metadata& metadata, std::string& note) {
  constexpr std::string_view kPre = "tokenizer.ggml.pre";
  std::vector<std::string> merged;
  if (metadata.contains(kMerges)) {
    for (std::string merge : metadata.get_strings(kMerges)) {
      const size_t space = merge.find(' ', 1);
      if (space == std::string::npos) continue;  // refused where merges are read
      merge.erase(space, 1);
      if (auto text = spelled_text(merge)) merged.push_back(std::move(*text));
    }
  }
  constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
  const PreTokenizerFamily& plain = find_pre_tokenizer("gpt-2");
  const PreTokenizerFamily* found = recognise_pre_tokenizer(merged, [&](std::string_view token) {
    if (!metadata.contains(kTokens)) return false;  // refused where the vocabulary is read
    const auto& tokens = metadata.get_strings(kTokens);
    return std::ranges::find(tokens, token) != tokens.end();
  });
  const bool named = metadata.contains(kPre);
  const std::string says = named
                               ? fmt::format("{} says only \"{}\"", kPre, metadata.get_string(kPre))
                               : fmt::format("{} is missing", kPre);
  if (found == nullptr) {
    note = fmt::format(
        "{}, and the vocabulary does not tell how words are split: as GPT-2 does, "
        "which may be wrong; convert the model again if answers are poor",
        says);
    return plain;
  }
  // "default" is GPT-2's rule: no guess where the vocabulary agrees.
  if (!named || found->patterns != plain.patterns)
    note = fmt::format(
        "{}: by its merges, the vocabulary was made with the words of \"{}\", which "
        "are used",
        says, found->name);
  return *found;
}

}  // namespace

std::unique_ptr<Tokenizer> make_byte_level_bpe(const formats::Metadata& metadata) {
  const std::string name = metadata.get_string("tokenizer.ggml.pre", "default");
  std::string note;
  const PreTokenizerFamily& family =
      name == "default" ? guess_family(metadata, note) : find_pre_tokenizer(name);
  auto tokenizer = std::make_unique<ByteLevelBpe>(metadata, family);
  if (!note.empty()) tokenizer->add_note(std::move(note));
  return tokenizer;
}

}  // namespace outboard::text
