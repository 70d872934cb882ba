#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "engine/perplexity.h"
#include "engine/tiny_files.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "machine/open.h"
#include "support/error.h"

namespace outboard::engine {
namespace {

using ::testing::HasSubstr;

class SessionTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = Model::load(TinyFile("llama").path());
    device_ = devices::open_cpu(2);
  }
  static void TearDownTestSuite() {
    model_.reset();
    device_.reset();
  }

  static Request request(const std::string& prompt, int n = 20) {
    Request r;
    r.prompt = model_->tokenizer().encode(prompt, true, false);
    r.max_tokens = n;
    r.temperature = 0;
    r.ignore_end_of_text = true;
    return r;
  }
  static SessionOptions options(int context, int sequences) {
    SessionOptions o;
    o.context = context;
    o.max_sequences = sequences;
    o.max_step_tokens = 48;
    return o;
  }

  inline static std::shared_ptr<const Model> model_;
  inline static std::unique_ptr<devices::Device> device_;
};

TEST_F(SessionTest, GreedyAnswersRepeat) {
  Session session(model_, *device_, options(256, 1));
  const Completion first = session.generate(request("the thing in the inn"));
  const Completion second = session.generate(request("the thing in the inn"));
  EXPECT_EQ(first.tokens.size(), 20u);
  EXPECT_EQ(first.tokens, second.tokens);
  EXPECT_EQ(first.finish, Finish::kLength);
  EXPECT_EQ(first.cached_tokens, 0);
  EXPECT_EQ(second.cached_tokens, second.prompt_tokens - 1);
}

TEST_F(SessionTest, ABatchGivesEachTheTextItGetsAlone) {
  std::vector<Request> requests;
  for (const char* prompt : {"one",
                             "the second is a good deal longer than the others, so that it is cut "
                             "into several steps while they answer",
                             "the third", "one", "a fifth that waits for a place"}) {
    requests.push_back(request(prompt, 25));
    requests.back().temperature = requests.size() % 2 == 0 ? 0.9F : 0;
    requests.back().seed = requests.size();
  }
  std::vector<std::vector<int32_t>> alone;
  for (const Request& r : requests) {
    Session session(model_, *device_, options(256, 1));
    alone.push_back(session.generate(r).tokens);
  }
  Session session(model_, *device_, options(256, 3));
  std::vector<SequenceId> ids;
  for (const Request& r : requests) ids.push_back(session.add(r));
  while (session.step()) {
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::optional<Completion> c = session.take(ids[i]);
    ASSERT_TRUE(c.has_value());
    EXPECT_EQ(c->tokens, alone[i]) << i;
    EXPECT_FALSE(session.take(ids[i]).has_value());
  }
}

TEST_F(SessionTest, AConversationComputesOnlyWhatIsNew) {
  Session session(model_, *device_, options(256, 1));
  Request first = request("a question that takes more than one page of thirty-two tokens to ask");
  const Completion answer = session.generate(first);
  Request next = first;
  next.prompt.insert(next.prompt.end(), answer.tokens.begin(), answer.tokens.end());
  const size_t known = next.prompt.size() - 1;  // the last token chosen was never computed
  for (const int32_t token : model_->tokenizer().encode(" and another", false, false))
    next.prompt.push_back(token);
  const Completion warm = session.generate(next);
  EXPECT_EQ(static_cast<size_t>(warm.cached_tokens), known);
  SessionOptions cold_options = options(256, 1);
  cold_options.prefix_cache = false;
  Session cold(model_, *device_, cold_options);
  EXPECT_EQ(warm.tokens, cold.generate(next).tokens);
}

TEST_F(SessionTest, SeedsDecideTheText) {
  Session session(model_, *device_, options(256, 1));
  Request r = request("in the", 30);
  r.temperature = 1.5F;
  r.seed = 5;
  const auto five = session.generate(r).tokens;
  EXPECT_EQ(session.generate(r).tokens, five);
  r.seed = 6;
  EXPECT_NE(session.generate(r).tokens, five);
  r.seed.reset();
  const Completion free = session.generate(r);
  r.seed = free.seed;
  EXPECT_EQ(session.generate(r).tokens, free.tokens);
}

TEST_F(SessionTest, StopStringsEndTheText) {
  Session session(model_, *device_, options(256, 1));
  Request r = request("the");
  const std::string whole = session.generate(r).text;
  ASSERT_GT(whole.size(), 6u);
  r.stop = {whole.substr(4, 2)};
  std::string streamed;
  r.on_text = [&](std::string_view text) { streamed += text; };
  const Completion c = session.generate(r);
  EXPECT_EQ(c.finish, Finish::kStopString);
  EXPECT_EQ(c.text, whole.substr(0, whole.find(r.stop[0])));
  EXPECT_EQ(streamed, c.text);
  EXPECT_EQ(c.stop_string, r.stop[0]);
}

TEST_F(SessionTest, AFullContextEndsTheAnswer) {
  Session session(model_, *device_, options(40, 1));
  Request r = request("0123456789", -1);
  const Completion c = session.generate(r);
  EXPECT_EQ(c.finish, Finish::kContextFull);
  EXPECT_EQ(c.tokens.size() + r.prompt.size(), 40u);
}

TEST_F(SessionTest, PromptsThatDoNotFitAreRefusedWithNumbers) {
  Session session(model_, *device_, options(8, 1));
  try {
    session.generate(request("more than eight bytes"));
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("but the context holds 8"));
    EXPECT_THAT(e.hint(), HasSubstr("--ctx"));
  }
  EXPECT_THROW(session.generate(Request{}), Error);
  EXPECT_THROW(Session(model_, *device_, options(513, 1)), Error);
}

TEST_F(SessionTest, CancelKeepsTheTextSoFar) {
  Session session(model_, *device_, options(256, 1));
  std::atomic<bool> cancel{false};
  Request r = request("the", 100);
  r.cancel = &cancel;
  int pieces = 0;
  r.on_text = [&](std::string_view) { cancel = ++pieces == 3; };
  const Completion c = session.generate(r);
  EXPECT_EQ(c.finish, Finish::kCancelled);
  EXPECT_GE(c.tokens.size(), 3u);
  EXPECT_LT(c.tokens.size(), 100u);
  cancel = false;
  r.on_text = nullptr;
  EXPECT_EQ(session.generate(r).tokens.size(), 100u);  // the session goes on
}

TEST_F(SessionTest, ZeroTokensComputeThePromptOnly) {
  Session session(model_, *device_, options(64, 1));
  const Completion c = session.generate(request("the", 0));
  EXPECT_TRUE(c.tokens.empty());
  EXPECT_EQ(c.finish, Finish::kLength);
}

TEST_F(SessionTest, EvaluateGivesEveryRow) {
  SessionOptions o = options(100, 1);
  o.max_rows = 16;
  Session session(model_, *device_, o);
  const auto tokens = model_->tokenizer().encode(std::string(70, 'x'), false, false);
  size_t next = 0;
  session.evaluate(tokens, [&](size_t first, std::span<const float> logits) {
    EXPECT_EQ(first, next);
    next += logits.size() / 260;
  });
  EXPECT_EQ(next, 70u);
}

TEST_F(SessionTest, PerplexityOfAnyTextIsAboveOne) {
  Session session(model_, *device_, options(16, 1));
  const auto tokens =
      model_->tokenizer().encode(std::string(64, 'a') + std::string(64, 'b'), false, false);
  size_t chunks = 0;
  const PerplexityResult r =
      perplexity(session, *model_, tokens, [&](size_t done, size_t) { chunks = done; });
  EXPECT_EQ(chunks, 8u);
  EXPECT_EQ(r.tokens, 8u * 7);  // the second half of each chunk, but its last token
  EXPECT_GT(r.perplexity, 1);
  EXPECT_TRUE(std::isfinite(r.error));
  EXPECT_THROW(perplexity(session, *model_, std::span(tokens).first(31), [](size_t, size_t) {}),
               Error);
}

TEST_F(SessionTest, ChatNeedsATemplate) {
  try {
    model_->chat_tokens({{"user", "hello"}});
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message() + e.hint(), HasSubstr("--raw"));
  }
}

TEST(OpenDevice, UnknownDevicesAreRefused) { EXPECT_THROW(machine::open_device("tpu"), Error); }

// A random model says what the grammar lets it say, greedy and by chance, and ends where it must.
TEST_F(SessionTest, AnswersKeepToTheGrammar) {
  const auto schema = grammar::compile_schema_text(R"({"type": "object", "properties": {
    "name": {"type": "string", "maxLength": 8}, "n": {"type": "integer"}, "ok": {"type": "boolean"}},
    "required": ["name", "n", "ok"]})");
  Session session(model_, *device_, options(256, 2));
  for (const float temperature : {0.0F, 1.5F}) {
    Request r = request("the thing in the inn", -1);
    r.temperature = temperature;
    r.top_k = 3;  // fewer than there are; what is left out must not take their places
    r.seed = 7;
    r.grammar = schema.grammar;
    const Completion c = session.generate(r);
    EXPECT_EQ(c.finish, Finish::kEndOfText);
    const auto json = nlohmann::ordered_json::parse(c.text);
    EXPECT_TRUE(json["name"].is_string() && json["n"].is_number_integer() &&
                json["ok"].is_boolean());
    EXPECT_EQ(session.generate(r).text, c.text);
  }
}

TEST_F(SessionTest, AGrammarBindsItsOwnSequenceOnly) {
  Request free = request("the thing in the inn", 20);
  Request bound = free;
  bound.grammar = grammar::parse_gbnf("root ::= \"the \"{3} \"end\" | \"never\"");
  Session alone(model_, *device_, options(256, 1));
  const Completion want = alone.generate(free);
  Session together(model_, *device_, options(256, 2));
  const SequenceId first = together.add(bound);
  const SequenceId second = together.add(free);
  while (together.step()) {
  }
  const std::string text = together.take(first)->text;
  EXPECT_TRUE(text == "the the the end" || text == "never") << text;
  EXPECT_EQ(together.take(second)->tokens, want.tokens);
}

TEST_F(SessionTest, AnAnswerUnderAGrammarCanBeCut) {
  Request r = request("the", 3);
  r.grammar = grammar::parse_gbnf("root ::= [a-z]{100}");
  Session session(model_, *device_, options(256, 1));
  EXPECT_EQ(session.generate(r).finish, Finish::kLength);
  r.max_tokens = -1;
  r.ignore_end_of_text = true;
  r.grammar = grammar::parse_gbnf("root ::= [a-z]{2} \"!\"?");
  const Completion c = session.generate(r);
  EXPECT_EQ(c.finish, Finish::kEndOfText);
  EXPECT_GE(c.text.size(), 2U);
}

}  // namespace
}  // namespace outboard::engine
