// OpenAI's chat completions, as llama.cpp's server extends them.
#include "server/api.h"

namespace outboard::server {
namespace {

using Kind = chat::Event::Kind;

ordered_json call_of(const ToolCall& call) {
  return {{"id", call.id},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

ordered_json bytes_of(std::string_view text) {
  ordered_json bytes = ordered_json::array();
  for (const char c : text) bytes.push_back(static_cast<uint8_t>(c));
  return bytes;
}

ordered_json logprob_of(const ServedModel& model, int32_t token, float value) {
  const std::string piece = model.model->tokenizer().piece(token, true);
  return {{"token", piece}, {"logprob", value}, {"bytes", bytes_of(piece)}, {"id", token}};
}

ordered_json logprobs_of(const ServedModel& model, std::span<const engine::TokenLogprob> logprobs) {
  ordered_json content = ordered_json::array();
  for (const engine::TokenLogprob& chosen : logprobs) {
    ordered_json entry = logprob_of(model, chosen.token, chosen.log_probability);
    entry["top_logprobs"] = ordered_json::array();
    for (const devices::Candidate& candidate : chosen.top)
      entry["top_logprobs"].push_back(
          logprob_of(model, candidate.token, candidate.log_probability));
    content.push_back(std::move(entry));
  }
  return {{"content", content}};
}

struct ChatHead {
  std::string id = new_id("chatcmpl-");
  int64_t created = unix_seconds();
  std::shared_ptr<const ServedModel> model;
  bool logprobs = false;

  ordered_json object(const char* kind) const {
    return {{"id", id},
            {"object", kind},
            {"created", created},
            {"model", model->name},
            {"system_fingerprint", "outboard-" OUTBOARD_VERSION}};
  }
};

class WholeChat : public ReplySink {
 public:
  WholeChat(ChatHead head, std::shared_ptr<Reply> reply)
      : ReplySink(Protocol::kOpenAi, std::move(reply)), head_(std::move(head)) {}

  void done(const std::vector<Choice>& choices) override {
    ordered_json body = head_.object("chat.completion");
    body["choices"] = ordered_json::array();
    for (size_t i = 0; i < choices.size(); ++i) {
      const Choice& choice = choices[i];
      ordered_json message{{"role", "assistant"}};
      message["content"] = choice.content.empty() && !choice.calls.empty()
                               ? ordered_json(nullptr)
                               : ordered_json(choice.content);
      message["refusal"] = nullptr;
      if (!choice.reasoning.empty()) message["reasoning_content"] = choice.reasoning;
      for (const ToolCall& call : choice.calls) message["tool_calls"].push_back(call_of(call));
      ordered_json logprobs;
      if (head_.logprobs) logprobs = logprobs_of(*head_.model, choice.completion.logprobs);
      body["choices"].push_back({{"index", i},
                                 {"message", message},
                                 {"logprobs", logprobs},
                                 {"finish_reason", choice.finish}});
    }
    body["usage"] = usage_of(choices);
    body["timings"] = timings_of(choices.front().completion);
    send_json(reply_, body);
  }

 private:
  ChatHead head_;
};

class StreamedChat : public ReplySink {
 public:
  StreamedChat(ChatHead head, int choices, bool usage, std::shared_ptr<Reply> reply)
      : ReplySink(Protocol::kOpenAi, std::move(reply)),
        head_(std::move(head)),
        choices_(choices),
        usage_(usage) {}

  void started(int) override {
    begin_stream();
    for (int i = 0; i < choices_; ++i)
      chunk(static_cast<size_t>(i), {{"role", "assistant"}, {"content", ""}});
  }
  void event(size_t choice, const chat::Event& event,
             std::span<const engine::TokenLogprob> logprobs) override {
    switch (event.kind) {
      case Kind::kReasoning:
        return chunk(choice, {{"reasoning_content", event.text}}, logprobs);
      case Kind::kContent:
        return chunk(choice, {{"content", event.text}}, logprobs);
      case Kind::kCallBegin:
        return call(choice,
                    {{"index", event.index},
                     {"id", event.id},
                     {"type", "function"},
                     {"function", {{"name", event.name}, {"arguments", ""}}}},
                    logprobs);
      case Kind::kCallArguments:
        return call(choice, {{"index", event.index}, {"function", {{"arguments", event.text}}}},
                    logprobs);
      case Kind::kCallEnd:
        return;
    }
  }
  void choice_done(size_t choice, const Choice& all) override {
    chunk(choice, ordered_json::object(), {}, all.finish, &all.completion);
  }
  void done(const std::vector<Choice>& choices) override {
    if (usage_) {
      ordered_json body = head_.object("chat.completion.chunk");
      body["choices"] = ordered_json::array();
      body["usage"] = usage_of(choices);
      body["timings"] = timings_of(choices.front().completion);
      say(body);
    }
    reply_->write("data: [DONE]\n\n");
    reply_->end();
  }

 private:
  void call(size_t choice, ordered_json part, std::span<const engine::TokenLogprob> logprobs) {
    chunk(choice, {{"tool_calls", ordered_json::array({std::move(part)})}}, logprobs);
  }
  void chunk(size_t choice, const ordered_json& delta,
             std::span<const engine::TokenLogprob> logprobs = {}, const std::string& finish = {},
             const engine::Completion* completion = nullptr) {
    ordered_json body = head_.object("chat.completion.chunk");
    ordered_json told;
    if (!logprobs.empty() && head_.logprobs) told = logprobs_of(*head_.model, logprobs);
    body["choices"] = ordered_json::array(
        {{{"index", choice},
          {"delta", delta},
          {"logprobs", told},
          {"finish_reason", finish.empty() ? ordered_json(nullptr) : ordered_json(finish)}}});
    if (usage_) body["usage"] = nullptr;
    if (completion != nullptr && !usage_) body["timings"] = timings_of(*completion);
    say(body);
  }

  ChatHead head_;
  int choices_;
  bool usage_;
};

void read_tool_choice(const ordered_json& choice, AnswerRequest& request) {
  if (choice.is_null() || choice == "auto") return;
  if (choice == "none") {
    request.tool_use = ToolUse::kNone;
  } else if (choice == "required") {
    require_tool(request, "");
  } else if (choice.is_object() && text_field(choice, "type", "function") == "function") {
    const ordered_json& function = field(choice, "function");
    std::string name = text_field(function.is_object() ? function : choice, "name");
    if (name.empty()) refuse("tool_choice: the function has no name");
    require_tool(request, std::move(name));
  } else {
    throw Refusal(400, "tool_choice: expected \"auto\", \"none\", \"required\" or a function", "",
                  "tool_choice");
  }
}

}  // namespace

void openai_chat(Service& service, const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  AnswerRequest request;
  request.route = http.path;
  request.model = model_of(service, body);
  request.messages = field(body, "messages");
  if (!request.messages.is_array() || request.messages.empty())
    throw Refusal(400, "messages: a list with at least one message was expected", "", "messages");
  read_sampling(body, request);
  read_format(body, request);
  read_thinking(body, request);
  read_tools(service, field(body, "tools"), request);
  read_tool_choice(field(body, "tool_choice"), request);
  request.parallel_tools = flag_field(body, "parallel_tool_calls", true);
  request.keep_alive = duration_field(body, "keep_alive");
  read_choices(body, request);
  const int top = bounded_field(body, "top_logprobs", 0, kMostLogprobs, 0);
  const bool logprobs = flag_field(body, "logprobs", false);
  if (top > 0 && !logprobs)
    throw Refusal(400, "top_logprobs: needs \"logprobs\": true", "", "top_logprobs");
  if (logprobs) request.logprobs = top;
  ChatHead head;
  head.model = request.model;
  head.logprobs = logprobs;
  std::shared_ptr<AnswerSink> sink;
  if (flag_field(body, "stream", false)) {
    request.calls_may_grow = true;
    sink =
        std::make_shared<StreamedChat>(std::move(head), request.choices, wants_usage(body), reply);
  } else {
    sink = std::make_shared<WholeChat>(std::move(head), reply);
  }
  start_answer(service, std::move(request), std::move(sink), reply);
}

}  // namespace outboard::server
