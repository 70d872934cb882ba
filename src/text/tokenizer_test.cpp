#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error.h"
#include "text/stream_decoder.h"

namespace outboard::text {
namespace {

using formats::Metadata;
using formats::MetadataArray;
using testing::ElementsAre;
using testing::HasSubstr;

Metadata small_bpe() {
  Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.pre", std::string("gpt-2"));
  metadata.set("tokenizer.ggml.tokens",
               MetadataArray{std::vector<std::string>{"a", "b", "c", "ab", "abc", "Ġ", "Ġa",
                                                      "<|im_end|>", "<u>", "Ã", "¼"}});
  metadata.set("tokenizer.ggml.token_type",
               MetadataArray{std::vector<int32_t>{1, 1, 1, 1, 1, 1, 1, 3, 4, 1, 1}});
  metadata.set("tokenizer.ggml.merges",
               MetadataArray{std::vector<std::string>{"a b", "ab c", "Ġ a"}});
  metadata.set("tokenizer.ggml.eos_token_id", uint32_t{7});
  return metadata;
}

Metadata small_sentencepiece() {
  Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("llama"));
  metadata.set("tokenizer.ggml.tokens", MetadataArray{std::vector<std::string>{
                                            "<unk>", "<s>", "</s>", "▁", "a", "▁a", "b"}});
  metadata.set("tokenizer.ggml.token_type",
               MetadataArray{std::vector<int32_t>{2, 3, 3, 1, 1, 1, 1}});
  metadata.set("tokenizer.ggml.scores", MetadataArray{std::vector<float>{0, 0, 0, -3, -2, -1, -4}});
  return metadata;
}

std::string failure(const Metadata& metadata) {
  try {
    Tokenizer::from_metadata(metadata);
  } catch (const Error& error) {
    EXPECT_FALSE(error.message().empty());
    return error.message();
  }
  return "nothing failed";
}

TEST(ByteLevelBpe, MergesInRankOrder) {
  const auto tokenizer = Tokenizer::from_metadata(small_bpe());
  EXPECT_THAT(tokenizer->encode("abc ab", false, false), ElementsAre(4, 5, 3));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("abc ab", false, false)), "abc ab");
}

TEST(ByteLevelBpe, RecognisesControlTokensOnRequestAndUserDefinedOnesAlways) {
  const auto tokenizer = Tokenizer::from_metadata(small_bpe());
  EXPECT_THAT(tokenizer->encode("a<|im_end|>b", false, true), ElementsAre(0, 7, 1));
  EXPECT_THAT(tokenizer->encode("a<u>b", false, false), ElementsAre(0, 8, 1));
  EXPECT_THAT(tokenizer->encode("a<|im_end|>", false, false), testing::Not(testing::Contains(7)));
  EXPECT_TRUE(tokenizer->is_end_of_generation(7));
  EXPECT_FALSE(tokenizer->is_end_of_generation(-1));
  EXPECT_EQ(tokenizer->piece(7), "");
  EXPECT_EQ(tokenizer->piece(7, true), "<|im_end|>");
  EXPECT_THROW(tokenizer->piece(11), Error);
}

TEST(ByteLevelBpe, DropsBytesItHasNoTokenFor) {
  const auto tokenizer = Tokenizer::from_metadata(small_bpe());
  EXPECT_THAT(tokenizer->encode("\xFF", false, false), ElementsAre());
}

TEST(SentencePieceBpe, PutsASpaceInFrontAndTakesItAway) {
  const auto tokenizer = Tokenizer::from_metadata(small_sentencepiece());
  EXPECT_THAT(tokenizer->encode("a b", true, false), ElementsAre(1, 5, 3, 6));
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{1, 5, 3, 6}), "a b");
  EXPECT_THAT(tokenizer->encode("zz", false, false), ElementsAre(3, 0));
}

TEST(Tokenizer, RefusesBadMetadata) {
  Metadata no_merges;
  no_merges.set("tokenizer.ggml.model", std::string("gpt2"));
  no_merges.set("tokenizer.ggml.tokens", MetadataArray{std::vector<std::string>{"a"}});
  EXPECT_THAT(failure(no_merges), HasSubstr("without merges"));
  EXPECT_THAT(failure(Metadata{}), HasSubstr("tokenizer.ggml.model"));

  Metadata metadata = small_bpe();
  metadata.set("tokenizer.ggml.pre", std::string("nosuch"));
  EXPECT_THAT(failure(metadata), HasSubstr("llama-bpe"));
  metadata = small_bpe();
  metadata.set("tokenizer.ggml.merges", MetadataArray{std::vector<std::string>{"a z"}});
  EXPECT_THAT(failure(metadata), HasSubstr("\"z\""));
  metadata = small_bpe();
  metadata.set("tokenizer.ggml.bos_token_id", uint32_t{11});
  EXPECT_THAT(Tokenizer::from_metadata(metadata)->notes(), ElementsAre(HasSubstr("taken as none")));
  metadata.set("tokenizer.ggml.add_bos_token", true);
  EXPECT_THAT(failure(metadata), HasSubstr("below 11"));
  metadata = small_sentencepiece();
  metadata.set("tokenizer.ggml.scores", MetadataArray{std::vector<float>{1}});
  EXPECT_THAT(failure(metadata), HasSubstr("1 values, expected 7"));
  metadata = small_sentencepiece();
  metadata.set("tokenizer.ggml.precompiled_charsmap",
               MetadataArray{std::vector<uint8_t>{255, 255, 255, 255, 0}});
  EXPECT_THAT(failure(metadata), HasSubstr("precompiled_charsmap"));
}

TEST(StreamDecoder, HoldsBackHalfCharacters) {
  const auto tokenizer = Tokenizer::from_metadata(small_bpe());
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.feed(9), "");    // C3
  EXPECT_EQ(decoder.feed(10), "ü");  // BC
  EXPECT_EQ(decoder.feed(9), "");
  EXPECT_EQ(decoder.feed(0),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(decoder.feed(9), "");
  EXPECT_EQ(decoder.flush(), "\xEF\xBF\xBD");
  EXPECT_EQ(decoder.flush(), "");
}

TEST(StreamDecoder, TakesTheLeadingSpaceOnce) {
  const auto tokenizer = Tokenizer::from_metadata(small_sentencepiece());
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.feed(1), "");
  EXPECT_EQ(decoder.feed(5), "a");
  EXPECT_EQ(decoder.feed(5), " a");
  StreamDecoder middle(*tokenizer, false, false);
  EXPECT_EQ(middle.feed(5), " a");
}

}  // namespace
}  // namespace outboard::text
