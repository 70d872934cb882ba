#include "formats/hf_vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "support/error.h"

namespace outboard::formats {
namespace {

// A length-delimited field of a protocol buffer (shorter than 128 bytes).
std::string field(int number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}

std::string piece(const std::string& text, float score, char type) {
  std::string number(sizeof(score), '\0');
  std::memcpy(number.data(), &score, sizeof(score));
  return field(1, field(1, text) + std::string{2 << 3 | 5} + number + std::string{3 << 3, type});
}

std::string sentencepiece_model() {
  return piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("ab", -1.5f, 1) +
         field(2, std::string{3 << 3, 2});  // trainer_spec.model_type: BPE
}

TEST(SentencePiece, ReadsPieces) {
  Vocabulary vocabulary(5);
  bool unigram = true;
  read_sentencepiece(sentencepiece_model(), vocabulary, unigram);
  EXPECT_FALSE(unigram);
  EXPECT_THAT(vocabulary.tokens, testing::ElementsAre("<unk>", "<s>", "ab", "[PAD3]", "[PAD4]"));
  EXPECT_THAT(vocabulary.kinds,
              testing::ElementsAre(TokenKind::kUnknown, TokenKind::kControl, TokenKind::kNormal,
                                   TokenKind::kUnused, TokenKind::kUnused));
  EXPECT_EQ(vocabulary.scores[2], -1.5f);
}

TEST(SentencePiece, WithoutATypeItIsUnigram) {
  Vocabulary vocabulary(1);
  bool unigram = false;
  read_sentencepiece(piece("a", 0, 1), vocabulary, unigram);
  EXPECT_TRUE(unigram);
}

// A field that holds a number below 128.
std::string number(int field, char value) {
  const int tag = field << 3;
  if (tag < 128) return std::string{static_cast<char>(tag), value};
  return std::string{static_cast<char>(tag % 128 + 128), static_cast<char>(tag / 128), value};
}

TEST(SentencePieceSpec, DefaultsAndFields) {
  const SentencePieceSpec none = read_sentencepiece_spec(piece("a", 0, 1));
  EXPECT_EQ(none.model_type, 1u);
  EXPECT_TRUE(none.charsmap.empty() && none.add_dummy_prefix && none.remove_extra_whitespaces &&
              none.escape_whitespaces && !none.whitespace_as_suffix && !none.denormalizes);
  const std::string file =
      field(2, number(3, 2) + number(24, 1)) +
      field(3, field(1, "nmt") + field(2, "map") + number(3, 0) + number(4, 0) + number(5, 0)) +
      field(5, field(2, "back"));
  const SentencePieceSpec all = read_sentencepiece_spec(file);
  EXPECT_EQ(all.model_type, 2u);
  EXPECT_EQ(all.charsmap, "map");
  EXPECT_TRUE(!all.add_dummy_prefix && !all.remove_extra_whitespaces && !all.escape_whitespaces &&
              all.whitespace_as_suffix && all.denormalizes);
  for (size_t length = 0; length < file.size(); ++length) {
    const std::vector<char> exact(file.begin(), file.begin() + static_cast<ptrdiff_t>(length));
    try {
      read_sentencepiece_spec({exact.data(), exact.size()});
    } catch (const Error&) {  // the other allowed outcome
    }
  }
}

TEST(SentencePieceErrors, TruncatedOrFlippedNeverReadsOutside) {
  const std::string good = sentencepiece_model();
  const auto try_it = [](const std::string& file) {
    Vocabulary vocabulary(5);
    bool unigram = false;
    try {
      // A copy of its own size, so that the sanitizers see every byte read past it.
      const std::vector<char> exact(file.begin(), file.end());
      read_sentencepiece({exact.data(), exact.size()}, vocabulary, unigram);
    } catch (const Error&) {  // the other allowed outcome
    }
    EXPECT_EQ(vocabulary.size(), 5);
  };
  for (size_t length = 0; length < good.size(); ++length) try_it(good.substr(0, length));
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string flipped = good;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    try_it(flipped);
  }
}

TEST(SentencePieceErrors, LongNumbersAndLengths) {
  Vocabulary vocabulary(1);
  bool unigram = false;
  EXPECT_THROW(read_sentencepiece(std::string(20, '\xff'), vocabulary, unigram), Error);
  EXPECT_THROW(read_sentencepiece("\x0a\xff\xff\xff\xff\x7f", vocabulary, unigram), Error);
  EXPECT_THROW(read_sentencepiece("", vocabulary, unigram), Error);
}

TEST(LooksSpecial, Texts) {
  for (const char* text : {"<|x|>", "<pad>", "<unused12>"})
    EXPECT_TRUE(looks_special(text)) << text;
  for (const char* text : {"<x>", "pad", "<|x>", ""}) EXPECT_FALSE(looks_special(text)) << text;
}

}  // namespace
}  // namespace outboard::formats
