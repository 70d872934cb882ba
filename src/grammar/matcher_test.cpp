#include "grammar/matcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/test_support.h"

namespace outboard::grammar {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<int32_t> allowed(Matcher& matcher, size_t size) {
  std::vector<int32_t> tokens;
  const auto mask = matcher.mask();
  for (size_t t = 0; t < size; ++t)
    if ((mask[t / 32] >> (t % 32) & 1) != 0) tokens.push_back(static_cast<int32_t>(t));
  return tokens;
}

const std::vector<std::string> kPieces = {"",  "a", "ab", "abc",  "b",    "bc",   "c",
                                          "d", "a", "é",  "\xC3", "\xA9", "</s>", "ca"};
constexpr int32_t kEnd = 12;

std::shared_ptr<const Vocabulary> vocabulary() {
  return std::make_shared<const Vocabulary>(kPieces, std::vector<int32_t>{kEnd});
}

TEST(Matcher, AllowsWhatTheGrammarGoesOnWith) {
  Matcher m(parse_gbnf("root ::= \"ab\" [c-d]? | \"é\""), vocabulary());
  EXPECT_THAT(allowed(m, kPieces.size()),
              ElementsAre(1, 2, 3, 8, 9, 10));  // twins, half a character
  EXPECT_FALSE(m.accept(4));
  EXPECT_FALSE(m.accept(kEnd));
  EXPECT_TRUE(m.accept(1));
  EXPECT_THAT(allowed(m, kPieces.size()), ElementsAre(4, 5));
  EXPECT_TRUE(m.accept(4));
  EXPECT_TRUE(m.can_end());
  EXPECT_FALSE(m.must_end());
  EXPECT_THAT(allowed(m, kPieces.size()), ElementsAre(6, 7, kEnd));
  EXPECT_TRUE(m.accept(7));
  EXPECT_TRUE(m.must_end());
  EXPECT_THAT(allowed(m, kPieces.size()), ElementsAre(kEnd));
  EXPECT_TRUE(m.accept(kEnd));
  EXPECT_TRUE(m.ended());
  EXPECT_FALSE(m.accept(1));
}

TEST(Matcher, NothingStandsForTheEmptyText) {
  // Token 0 stands for nothing: it would be allowed for ever.
  Matcher m(parse_gbnf("root ::= \"a\"*"), vocabulary());
  EXPECT_FALSE(m.accept(0));
  EXPECT_FALSE(m.accept(-1));
  EXPECT_FALSE(m.accept(99));
  EXPECT_THAT(allowed(m, kPieces.size()), ElementsAre(1, 8, kEnd));
}

TEST(Matcher, SaysWhenNoTokenFits) {
  Matcher m(parse_gbnf("root ::= \"x\""), vocabulary());
  EXPECT_THAT(allowed(m, kPieces.size()), IsEmpty());
}

// The walk over the trie against trying every token, at random places of a text.
TEST(Matcher, TheMaskIsWhatIsAccepted) {
  std::mt19937 random(7);
  std::vector<std::string> pieces;
  for (int byte = 0; byte < 256; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
  const std::string alphabet = "{}[]\":, \n0123456789.eE-+truefalsn\\ubé\xC3";
  for (int i = 0; i < 3000; ++i) {
    std::string piece;
    const size_t length = 2 + random() % 6;
    while (piece.size() < length) piece += alphabet[random() % alphabet.size()];
    pieces.push_back(std::move(piece));
  }
  pieces.emplace_back("</s>");
  const auto end = static_cast<int32_t>(pieces.size()) - 1;
  const auto tokens = std::make_shared<const Vocabulary>(pieces, std::vector<int32_t>{end});
  const auto schema = compile_schema_text(R"({"type": "object", "properties": {
    "a": {"type": "array", "items": {"type": ["number", "boolean", "null"]}},
    "b": {"type": "string", "maxLength": 6}, "c": {"enum": [[1, {"x": "y"}], "true", 0.5]}},
    "additionalProperties": true})");
  for (const auto& grammar :
       {any_json(false), schema.grammar, parse_gbnf("root ::= (\"[\" root \"]\" | [0-9e-]+)*")})
    for (int text = 0; text < 20; ++text) {
      Matcher m(grammar, tokens);
      LazyAutomaton automaton(grammar);
      int32_t state = automaton.start();
      const auto after = [&](int32_t token) {
        int32_t at = state;
        for (const char byte : pieces[static_cast<size_t>(token)])
          if (at != LazyAutomaton::kDead) at = automaton.next(at, static_cast<uint8_t>(byte));
        return at;
      };
      for (int step = 0; step < 30 && !m.ended(); ++step) {
        const std::vector<int32_t> got = allowed(m, pieces.size());
        std::vector<int32_t> want;
        for (int32_t t = 0; t < end; ++t)
          if (after(t) != LazyAutomaton::kDead) want.push_back(t);
        if (automaton.can_end(state)) want.push_back(end);
        ASSERT_EQ(got, want) << step;
        ASSERT_FALSE(got.empty());
        const int32_t token = got[random() % got.size()];
        ASSERT_TRUE(m.accept(token));
        if (token != end) state = after(token);
      }
    }
}

// A grammar may ask for a control token; nothing else is taken for one, and it for nothing else.
TEST(Matcher, ControlTokensAreAskedForByName) {
  formats::Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.pre", std::string("gpt-2"));
  // The fourth is the byte FF, the fifth FE, as byte-level vocabularies spell them.
  metadata.set("tokenizer.ggml.tokens",
               formats::MetadataArray{std::vector<std::string>{"<call>", "<", "call>", "ÿ", "þ",
                                                               "a", "<calls>", "</s>"}});
  metadata.set("tokenizer.ggml.token_type",
               formats::MetadataArray{std::vector<int32_t>{3, 1, 1, 1, 1, 1, 3, 3}});
  metadata.set("tokenizer.ggml.merges", formats::MetadataArray{std::vector<std::string>{}});
  metadata.set("tokenizer.ggml.eos_token_id", uint32_t{7});
  const auto tokenizer = text::Tokenizer::from_metadata(metadata);
  const auto tokens = std::make_shared<const Vocabulary>(*tokenizer);
  ASSERT_EQ(tokenizer->piece(3), "\xFF");

  Builder builder;
  const uint32_t root = builder.add_rule();
  const uint32_t between = builder.state();
  builder.token(builder.start(root), "<call>", between);
  builder.literal(between, "a", builder.end(root));
  Matcher asked(builder.build(root), tokens);
  EXPECT_THAT(allowed(asked, tokens->size()), ElementsAre(0));
  EXPECT_FALSE(asked.accept(1));
  EXPECT_FALSE(asked.accept(3));
  EXPECT_FALSE(asked.accept(6));
  EXPECT_TRUE(asked.accept(0));
  EXPECT_THAT(allowed(asked, tokens->size()), ElementsAre(5));
  EXPECT_TRUE(asked.accept(5));
  EXPECT_TRUE(asked.accept(7));

  Matcher spelled(parse_gbnf("root ::= \"<call>\" | [ÿa]+"), tokens);
  EXPECT_THAT(allowed(spelled, tokens->size()), ElementsAre(1, 5));
  EXPECT_FALSE(spelled.accept(0));
}

// States and frames are forgotten when there are many; the text goes on as if they were not.
TEST(Matcher, ForgetsWithoutLoss) {
  const auto grammar =
      parse_gbnf("root ::= [ab]{100000}{2} (\"(\" root2 \")\")? \"!\"\nroot2 ::= \"x\"");
  Matcher m(grammar, byte_vocabulary());
  for (int i = 0; i < 200'000; ++i) ASSERT_TRUE(m.accept_bytes(i % 3 == 0 ? "a" : "b"));
  EXPECT_THAT(allowed(m, 257), ElementsAre('!', '('));
  EXPECT_TRUE(m.accept_bytes("(x)!"));
  EXPECT_TRUE(m.must_end());
}

TEST(Matcher, ManyTextsOfOneGrammar) {
  const auto grammar = any_json(true);
  Matcher a(grammar, byte_vocabulary());
  EXPECT_TRUE(a.accept_bytes("{\"x\""));
  Matcher b = a;
  EXPECT_TRUE(b.accept_bytes(": 1}"));
  EXPECT_TRUE(a.accept_bytes(":[[]]}"));
  EXPECT_TRUE(a.must_end());
  EXPECT_TRUE(b.must_end());
}

}  // namespace
}  // namespace outboard::grammar
