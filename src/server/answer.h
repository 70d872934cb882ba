// From a request of any protocol to answers, told apart into thinking, text and calls.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "chat/answer_reader.h"
#include "server/http.h"
#include "server/service.h"

namespace outboard::server {

enum class ToolUse : uint8_t { kAuto, kNone, kRequired };

struct AnswerRequest {
  std::shared_ptr<const ServedModel> model;
  std::string route;  // for the log

  // A conversation in OpenAI's form, for the model's template; or, where it is null, a prompt.
  nlohmann::ordered_json messages = nullptr;
  std::vector<int32_t> prompt;
  nlohmann::ordered_json tools = nullptr;  // OpenAI's form
  ToolUse tool_use = ToolUse::kAuto;
  std::string tool_name;  // kRequired: this one
  bool parallel_tools = true;
  bool strict_tools = false;    // what calls there are have arguments valid under the schemas
  bool calls_may_grow = false;  // the sink takes arguments bit by bit
  chat::ThinkingChoice thinking;
  int thinking_budget = -1;
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();  // more for the template
  bool continues = false;  // the last message is the assistant's, and the answer goes on in it

  std::shared_ptr<const grammar::Grammar> grammar;  // of the text, behind the thinking
  engine::SamplingSettings sampling;
  int max_tokens = -1;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  bool ignore_end_of_text = false;
  int logprobs = -1;
  int choices = 1;
  bool cache_prompt = true;
  std::optional<std::chrono::seconds> keep_alive;
};

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text of an object
};

struct Choice {
  std::string reasoning;
  std::string content;
  std::vector<ToolCall> calls;
  std::string finish;  // "stop", "length", "tool_calls"
  size_t reasoning_tokens = 0;
  engine::Completion completion;  // its text holds thinking and calls as the model wrote them
};

// Who hears of an answer, in the service's thread; shared between it and the request. Functions
// must not throw.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  // A model is loaded and has the request in its queue.
  virtual void started(int prompt_tokens) { (void)prompt_tokens; }
  virtual void event(size_t choice, const chat::Event& event,
                     std::span<const engine::TokenLogprob> logprobs) {
    (void)choice, (void)event, (void)logprobs;
  }
  virtual void choice_done(size_t choice, const Choice& all) { (void)choice, (void)all; }
  virtual void done(const std::vector<Choice>& choices) = 0;
  virtual void failed(const Refusal& why) = 0;
};

// The rendered conversation.
struct Prompt {
  std::string text;
  std::vector<int32_t> tokens;
  bool thinking_open = false;  // the answer begins inside it
};
Prompt make_prompt(const AnswerRequest& request);

// Throws Refusal where the request can't be answered: a prompt that does not fit the context, tools
// that can't be held to ... Otherwise the sink hears of it. When reply's client goes away it ends.
void start_answer(Service& service, AnswerRequest request, std::shared_ptr<AnswerSink> sink,
                  const std::shared_ptr<Reply>& reply);

// A grammar from a schema or GBNF text, the last ones kept. Throws Refusal, 400.
std::shared_ptr<const grammar::Grammar> grammar_of_schema(const nlohmann::ordered_json& schema);
std::shared_ptr<const grammar::Grammar> grammar_of_gbnf(const std::string& text);

}  // namespace outboard::server
