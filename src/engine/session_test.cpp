#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
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

// The CPU with less memory than it has.
class SmallDevice : public devices::Device {
 public:
  SmallDevice(devices::Device& device, uint64_t room, int most_pages = 1 << 30)
      : device_(device), room_(room), most_pages_(most_pages) {}
  std::string description() const override { return device_.description(); }
  uint64_t room(const formats::Model*, const program::Program*) const override { return room_; }
  std::unique_ptr<devices::Executable> compile(program::Program program,
                                               std::shared_ptr<const formats::Model> model,
                                               const devices::CompileOptions& options) override {
    if (options.pages > most_pages_) fail("memory is short");
    return device_.compile(std::move(program), std::move(model), options);
  }

 private:
  devices::Device& device_;
  uint64_t room_;
  int most_pages_;
};

constexpr uint64_t kMiB = uint64_t{1} << 20;

TEST_F(SessionTest, TheContextIsWhatFits) {
  const program::Program& program = model_->program();
  const uint64_t kv = program.kv_bytes_per_token();
  ASSERT_EQ(program.context_length, 512);
  EXPECT_EQ(fitting_context(program, 0), 512);
  EXPECT_EQ(fitting_context(program, 1), 0);
  EXPECT_EQ(fitting_context(program, 256 * kMiB), 0);
  EXPECT_EQ(fitting_context(program, 256 * kMiB + 255 * kv), 0);  // too short to be of use
  EXPECT_EQ(fitting_context(program, 256 * kMiB + 300 * kv), 288);
  EXPECT_EQ(fitting_context(program, 300 * kMiB), 512);
  program::Program large = program;  // a sixteenth of much is more than 256 MiB
  large.context_length = int64_t{1} << 30;
  const uint64_t room = uint64_t{32} << 30;
  EXPECT_NEAR(static_cast<double>(fitting_context(large, room)),
              static_cast<double>(room - room / 16) / static_cast<double>(kv), 32);

  SessionOptions o = options(0, 1);
  SmallDevice some(*device_, 256 * kMiB + 300 * kv);
  Session session(model_, some, o);
  EXPECT_EQ(session.context(), 288);
  EXPECT_EQ(session.generate(request("the thing")).tokens.size(), 20U);
  SmallDevice none(*device_, 1000);
  try {
    Session refused(model_, none, o);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("does not fit"));
  }
  // What was asked for by name is tried, and where it fails, what would fit is told.
  SmallDevice less(*device_, 256 * kMiB + 300 * kv, 10);
  o.context = 512;
  try {
    Session refused(model_, less, o);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("memory is short"));
    EXPECT_THAT(e.hint(), HasSubstr("--ctx 288"));
  }
}

std::vector<float> embedding(Session& session, Request request, Pooling pooling) {
  request.pooling = pooling;
  return session.generate(std::move(request)).states;
}

TEST_F(SessionTest, EmbeddingsArePooledRows) {
  SessionOptions o = options(256, 3);
  o.embeds = true;
  Session session(model_, *device_, o);
  const auto width = static_cast<size_t>(model_->program().width);
  // The second is cut into steps.
  for (const char* text : {"one",
                           "the second is a good deal longer than the others, so that it is "
                           "read in several steps of some forty tokens each"}) {
    const Request r = request(text);
    const std::vector<float> rows = embedding(session, r, Pooling::kNone);
    ASSERT_EQ(rows.size(), r.prompt.size() * width);
    EXPECT_EQ(embedding(session, r, Pooling::kFirst),
              std::vector<float>(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(width)));
    EXPECT_EQ(embedding(session, r, Pooling::kLast),
              std::vector<float>(rows.end() - static_cast<ptrdiff_t>(width), rows.end()));
    const std::vector<float> mean = embedding(session, r, Pooling::kMean);
    ASSERT_EQ(mean.size(), width);
    for (size_t i = 0; i < width; ++i) {
      double sum = 0;
      for (size_t row = 0; row < r.prompt.size(); ++row) sum += rows[row * width + i];
      EXPECT_NEAR(mean[i], sum / static_cast<double>(r.prompt.size()), 1e-5);
    }
  }
  Request too_long;
  too_long.prompt.assign(257, 1);
  EXPECT_THROW(session.add(too_long), Error);
  too_long.prompt.resize(256);  // nothing need be answered
  EXPECT_EQ(embedding(session, too_long, Pooling::kMean).size(), width);
}

TEST_F(SessionTest, TextsThatAreEmbeddedTogetherDoNotMix) {
  SessionOptions o = options(256, 3);
  o.embeds = true;
  Session session(model_, *device_, o);
  std::vector<std::vector<float>> alone;
  std::vector<SequenceId> ids;
  const std::array<std::string, 5> texts = {
      "one", "a second of some more tokens, a few of them in another step than the rest", "three",
      "one", "the fifth waits"};
  for (const std::string& text : texts)
    alone.push_back(embedding(session, request(text), Pooling::kMean));
  for (const std::string& text : texts) ids.push_back(session.add(request(text)));
  while (session.step()) {
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto completion = session.take(ids[i]);
    ASSERT_TRUE(completion.has_value());
    ASSERT_EQ(completion->states.size(), alone[i].size());
    for (size_t k = 0; k < alone[i].size(); ++k)
      EXPECT_NEAR(completion->states[k], alone[i][k], 1e-4);
    EXPECT_TRUE(completion->text.empty());
  }
}

// As where a device is lost: prompts half read, answers half said, one that waits.
TEST_F(SessionTest, AnotherSessionGoesOn) {
  const std::array<std::string, 4> prompts = {
      "one", "a second of some more tokens, a few of them in another step than the rest of it are",
      "three", "the fourth waits"};
  const auto asked = [&](size_t i) {
    Request r = request(prompts[i], 30);
    if (i == 0) r.logprobs = 2;  // chosen on the host
    return r;
  };
  std::vector<Completion> want;
  for (size_t i = 0; i < prompts.size(); ++i) {
    Session session(model_, *device_, options(256, 1));
    want.push_back(session.generate(asked(i)));
  }
  for (const int steps : {0, 1, 2, 9}) {
    auto session = std::make_unique<Session>(model_, *device_, options(256, 3));
    std::vector<SequenceId> ids;
    std::array<std::string, 4> heard;
    for (size_t i = 0; i < prompts.size(); ++i) {
      Request r = asked(i);
      r.on_text = [&heard, i](std::string_view text) { heard[i] += text; };
      ids.push_back(session->add(std::move(r)));
    }
    for (int i = 0; i < steps; ++i) session->step();
    session->detach();
    const auto lost_device = devices::open_cpu(1);
    Session next(model_, *lost_device, options(256, 3));
    next.adopt(*session);
    session.reset();
    while (next.step()) {
    }
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto got = next.take(ids[i]);
      ASSERT_TRUE(got.has_value());
      EXPECT_EQ(got->tokens, want[i].tokens) << i << " after " << steps;
      EXPECT_EQ(heard[i], want[i].text);
      EXPECT_EQ(got->logprobs.size(), want[i].logprobs.size());
    }
    EXPECT_GT(next.add(request("new")), ids.back());
  }
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

// Of so few pages that the youngest give theirs up again and again.
TEST_F(SessionTest, SequencesThatDoNotFitTogetherTakeTurns) {
  std::vector<Request> requests;
  std::vector<Completion> alone;
  for (int i = 0; i < 6; ++i) {
    requests.push_back(request(std::string(static_cast<size_t>(20 + 9 * i), 'a') + " inn", 70));
    Session session(model_, *device_, options(256, 1));
    alone.push_back(session.generate(requests.back()));
  }
  SessionOptions few = options(256, 6);
  few.cache_positions = 256;
  Session session(model_, *device_, few);
  EXPECT_EQ(session.memory().kv * 6, Session(model_, *device_, options(256, 6)).memory().kv);
  std::vector<SequenceId> ids;
  for (const Request& r : requests) ids.push_back(session.add(r));
  int turns = 0;  // sequences that wait though they have begun
  while (session.step())
    for (const SequenceStatus& status : session.status())
      turns += status.waits && status.answered > 0 ? 1 : 0;
  EXPECT_GT(turns, 0);
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::optional<Completion> c = session.take(ids[i]);
    ASSERT_TRUE(c.has_value());
    EXPECT_EQ(c->tokens, alone[i].tokens) << i;
    EXPECT_EQ(c->prompt_tokens, alone[i].prompt_tokens);
  }
}

// A long prompt and short ones that come while it is read: these need not wait for its end, nor it
// for theirs.
TEST_F(SessionTest, PromptsShareTheSteps) {
  Session session(model_, *device_, options(512, 4));
  const SequenceId slow = session.add(request(std::string(400, 'a'), 4));
  session.step();
  std::vector<SequenceId> quick;
  for (const char* prompt : {"the inn", "an", "the rain"})
    quick.push_back(session.add(request(prompt, 4)));
  session.step();
  for (const SequenceStatus& status : session.status()) {
    EXPECT_FALSE(status.waits);
    if (status.id == slow) {
      EXPECT_GE(status.computed, 48 + 24);
      EXPECT_EQ(status.answered, 0);
    } else {
      EXPECT_EQ(status.answered, 1);
    }
  }
  while (session.step()) {
  }
  EXPECT_EQ(session.take(slow)->tokens.size(), 4u);
  for (const SequenceId id : quick) EXPECT_EQ(session.take(id)->tokens.size(), 4u);
}

// Against evaluate(): the logarithm of the softmax of the row that each token was chosen from.
TEST_F(SessionTest, LogProbabilitiesAreThoseOfTheLogits) {
  Session session(model_, *device_, options(256, 1));
  Request r = request("the thing in the inn", 12);
  const Completion plain = session.generate(r);
  r.logprobs = 3;
  size_t told = 0;
  std::string text;
  r.on_piece = [&](const Piece& piece) {
    told += piece.logprobs.size();
    text += piece.text;
  };
  const Completion c = session.generate(r);
  EXPECT_EQ(c.tokens, plain.tokens);
  EXPECT_EQ(text, c.text);
  EXPECT_LE(told, 12u);
  ASSERT_EQ(c.logprobs.size(), 12u);
  std::vector<int32_t> all = r.prompt;
  all.insert(all.end(), c.tokens.begin(), c.tokens.end());
  const auto count = static_cast<size_t>(model_->program().tokens);
  const auto stride = static_cast<size_t>(model_->program().vocabulary);
  session.evaluate(all, [&](size_t first, std::span<const float> rows) {
    for (size_t row = 0; row < rows.size() / stride; ++row) {
      const size_t position = first + row;
      if (position + 1 < r.prompt.size() || position + 1 >= all.size()) continue;
      const auto logits = rows.subspan(row * stride, count);
      double sum = 0;
      for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
      const TokenLogprob& told_of = c.logprobs[position + 1 - r.prompt.size()];
      EXPECT_EQ(told_of.token, all[position + 1]);
      EXPECT_NEAR(told_of.log_probability,
                  logits[static_cast<size_t>(told_of.token)] - std::log(sum), 1e-4);
      ASSERT_EQ(told_of.top.size(), 3u);
      EXPECT_EQ(told_of.top[0].token, told_of.token);  // greedy
      EXPECT_GE(told_of.top[0].log_probability, told_of.top[1].log_probability);
      EXPECT_GE(told_of.top[1].log_probability, told_of.top[2].log_probability);
    }
  });
}

TEST_F(SessionTest, BiasesAndPenaltiesChangeTheChoice) {
  Session session(model_, *device_, options(256, 1));
  Request r = request("the thing in the inn", 30);
  const Completion plain = session.generate(r);
  r.logit_bias = {{plain.tokens[0], -1e9F}, {'q', 1e9F}};
  for (const int32_t token : session.generate(r).tokens) EXPECT_EQ(token, 'q');
  r.logit_bias = {};
  r.presence_penalty = 100;  // never again what stood there
  std::vector<int32_t> once = session.generate(r).tokens;
  std::ranges::sort(once);
  EXPECT_EQ(std::ranges::unique(once).begin(), once.end());
  r.presence_penalty = 0;
  r.dry_multiplier = 100;
  r.dry_base = 10;
  r.dry_breakers = {};
  const Completion dry = session.generate(r);
  // No three tokens come twice.
  std::vector<int32_t> all = r.prompt;
  all.insert(all.end(), dry.tokens.begin(), dry.tokens.end());
  for (size_t i = r.prompt.size(); i + 3 <= all.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      EXPECT_FALSE(std::equal(all.begin() + static_cast<ptrdiff_t>(i),
                              all.begin() + static_cast<ptrdiff_t>(i) + 3,
                              all.begin() + static_cast<ptrdiff_t>(j)))
          << j << " and " << i;
}

// A grammar holds from the end of the thinking on, and a budget brings that end.
TEST_F(SessionTest, TheGrammarWaitsForTheEndOfTheThinking) {
  Session session(model_, *device_, options(256, 1));
  Request r = request("the thing in the inn", 60);
  r.grammar = grammar::parse_gbnf(R"(root ::= "yes" | "no")");
  r.ignore_end_of_text = false;
  const Completion at_once = session.generate(r);
  EXPECT_TRUE(at_once.text == "yes" || at_once.text == "no") << at_once.text;
  Thinking thinking;
  thinking.end = "</t>";
  thinking.budget = 9;
  thinking.ending = model_->tokenizer().encode("</t>", false, false);
  r.thinking = thinking;
  std::string heard;
  r.on_piece = [&](const Piece& piece) { heard += piece.text; };
  const Completion c = session.generate(r);
  EXPECT_EQ(heard, c.text);
  EXPECT_THAT(c.text, ::testing::MatchesRegex("(.|\n)*</t>(yes|no)"));
  EXPECT_EQ(c.finish, Finish::kEndOfText);
  EXPECT_GE(c.tokens.size(), 9u + thinking.ending.size());
  EXPECT_EQ(model_->tokenizer().decode(std::span(c.tokens).subspan(9, thinking.ending.size())),
            "</t>");
  // Without a budget: as long as it likes.
  r.thinking->budget = -1;
  r.ignore_end_of_text = true;
  r.on_piece = {};
  EXPECT_EQ(session.generate(r).finish, Finish::kLength);
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
