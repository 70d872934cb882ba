// Anthropic's messages, as Claude Code sends them.
#include "server/api.h"

namespace outboard::server {
namespace {

using Kind = chat::Event::Kind;

const char* stop_reason(const Choice& choice) {
  if (choice.finish == "tool_calls") return "tool_use";
  if (choice.completion.finish == engine::Finish::kStopString) return "stop_sequence";
  return choice.finish == "length" ? "max_tokens" : "end_turn";
}

ordered_json stop_sequence(const Choice& choice) {
  if (choice.completion.finish != engine::Finish::kStopString) return nullptr;
  return choice.completion.stop_string;
}

ordered_json usage(const engine::Completion& c) {
  return {{"input_tokens", c.prompt_tokens - c.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", c.cached_tokens},
          {"output_tokens", c.tokens.size()}};
}

// Arguments that the model wrote are an object's text; anything else was not read as a call.
ordered_json input_of(const std::string& arguments) {
  return ordered_json::parse(arguments.empty() ? "{}" : arguments);
}

class WholeMessage : public ReplySink {
 public:
  WholeMessage(std::string model, std::shared_ptr<Reply> reply)
      : ReplySink(Protocol::kAnthropic, std::move(reply)), model_(std::move(model)) {}
  void done(const std::vector<Choice>& choices) override {
    const Choice& choice = choices.front();
    ordered_json content = ordered_json::array();
    if (!choice.reasoning.empty())
      content.push_back(
          {{"type", "thinking"}, {"thinking", choice.reasoning}, {"signature", "outboard"}});
    if (!choice.content.empty()) content.push_back({{"type", "text"}, {"text", choice.content}});
    for (const ToolCall& call : choice.calls)
      content.push_back({{"type", "tool_use"},
                         {"id", call.id},
                         {"name", call.name},
                         {"input", input_of(call.arguments)}});
    send_json(reply_, {{"id", new_id("msg_")},
                       {"type", "message"},
                       {"role", "assistant"},
                       {"model", model_},
                       {"content", content},
                       {"stop_reason", stop_reason(choice)},
                       {"stop_sequence", stop_sequence(choice)},
                       {"usage", usage(choice.completion)}});
  }

 private:
  std::string model_;
};

// Blocks begin and end as the answer changes between thinking, text and calls.
class StreamedMessage : public ReplySink {
 public:
  StreamedMessage(std::string model, std::shared_ptr<Reply> reply)
      : ReplySink(Protocol::kAnthropic, std::move(reply)), model_(std::move(model)) {}

  void started(int prompt_tokens) override {
    begin_stream();
    say("message_start", {{"message",
                           {{"id", new_id("msg_")},
                            {"type", "message"},
                            {"role", "assistant"},
                            {"model", model_},
                            {"content", ordered_json::array()},
                            {"stop_reason", nullptr},
                            {"stop_sequence", nullptr},
                            {"usage",
                             {{"input_tokens", prompt_tokens},
                              {"cache_creation_input_tokens", 0},
                              {"cache_read_input_tokens", 0},
                              {"output_tokens", 0}}}}}});
  }
  void event(size_t, const chat::Event& event, std::span<const engine::TokenLogprob>) override {
    switch (event.kind) {
      case Kind::kReasoning:
        open("thinking", {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
        return delta({{"type", "thinking_delta"}, {"thinking", event.text}});
      case Kind::kContent:
        open("text", {{"type", "text"}, {"text", ""}});
        return delta({{"type", "text_delta"}, {"text", event.text}});
      case Kind::kCallBegin:
        close();
        return open("tool_use", {{"type", "tool_use"},
                                 {"id", event.id},
                                 {"name", event.name},
                                 {"input", ordered_json::object()}});
      case Kind::kCallArguments:
        return delta({{"type", "input_json_delta"}, {"partial_json", event.text}});
      case Kind::kCallEnd:
        return close();
    }
  }
  void done(const std::vector<Choice>& choices) override {
    const Choice& choice = choices.front();
    close();
    say("message_delta",
        {{"delta",
          {{"stop_reason", stop_reason(choice)}, {"stop_sequence", stop_sequence(choice)}}},
         {"usage", usage(choice.completion)}});
    say("message_stop", ordered_json::object());
    reply_->end();
  }

 private:
  void open(const char* type, const ordered_json& block) {
    if (open_ == type) return;
    close();
    open_ = type;
    say("content_block_start", {{"index", index_}, {"content_block", block}});
  }
  void delta(const ordered_json& part) {
    say("content_block_delta", {{"index", index_}, {"delta", part}});
  }
  void close() {
    if (open_.empty()) return;
    if (open_ == "thinking") delta({{"type", "signature_delta"}, {"signature", "outboard"}});
    say("content_block_stop", {{"index", index_}});
    open_.clear();
    ++index_;
  }
  void say(const char* type, const ordered_json& fields) {
    ordered_json body{{"type", type}};
    body.update(fields);
    reply_->write(fmt::format("event: {}\ndata: {}\n\n", type, text_of(body)));
  }

  std::string model_;
  std::string open_;  // the type of the block that is open
  size_t index_ = 0;
};

[[noreturn]] void wrong(size_t message, const std::string& what) {
  throw Refusal(400, fmt::format("messages.{}: {}", message, what), "", "messages");
}

// The text of a block's content: a text, or a list of text blocks.
std::string text_of_blocks(const ordered_json& content, size_t message) {
  if (content.is_null()) return {};
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) wrong(message, "content is neither a text nor a list of blocks");
  std::string text;
  for (const ordered_json& block : content) {
    const std::string type = block.is_object() ? text_field(block, "type") : "";
    if (type != "text")
      wrong(message, fmt::format("a block of the type \"{}\" can't be read here", type));
    text += (text.empty() ? "" : "\n") + text_field(block, "text");
  }
  return text;
}

// System messages. Claude Code puts one in front that names its version and a number that changes
// with every request: nothing for the model, and it would break the prefix cache.
std::string system_text(const ordered_json& system) {
  if (system.is_null()) return {};
  if (system.is_string()) return system.get<std::string>();
  if (!system.is_array())
    throw Refusal(400, "system: a text or a list of blocks was expected", "", "system");
  std::string text;
  for (const ordered_json& block : system) {
    if (!block.is_object() || text_field(block, "type") != "text")
      throw Refusal(400, "system: a block that is no text", "", "system");
    const std::string part = text_field(block, "text");
    if (part.starts_with("x-anthropic-billing-header")) continue;
    text += (text.empty() ? "" : "\n\n") + part;
  }
  return text;
}

void add_user(const ordered_json& blocks, size_t index, ordered_json& messages) {
  std::string text;
  const auto flush = [&] {
    if (!text.empty()) messages.push_back({{"role", "user"}, {"content", text}});
    text.clear();
  };
  for (const ordered_json& block : blocks) {
    const std::string type = block.is_object() ? text_field(block, "type") : "";
    if (type == "text") {
      text += (text.empty() ? "" : "\n") + text_field(block, "text");
    } else if (type == "tool_result") {
      flush();
      std::string result = text_of_blocks(field(block, "content"), index);
      if (flag_field(block, "is_error", false)) result = "Error: " + result;
      messages.push_back({{"role", "tool"},
                          {"tool_call_id", text_field(block, "tool_use_id")},
                          {"content", result}});
    } else {
      wrong(index, fmt::format("a block of the type \"{}\" can't be read by this model", type));
    }
  }
  flush();
}

void add_assistant(const ordered_json& blocks, size_t index, ordered_json& messages) {
  ordered_json message{{"role", "assistant"}, {"content", ""}};
  std::string text;
  std::string thinking;
  for (const ordered_json& block : blocks) {
    const std::string type = block.is_object() ? text_field(block, "type") : "";
    if (type == "text") {
      text += text_field(block, "text");
    } else if (type == "thinking") {
      thinking += text_field(block, "thinking");
    } else if (type == "redacted_thinking") {
      continue;  // for its maker alone
    } else if (type == "tool_use") {
      message["tool_calls"].push_back(
          {{"id", text_field(block, "id")},
           {"type", "function"},
           {"function",
            {{"name", text_field(block, "name")}, {"arguments", field(block, "input")}}}});
    } else {
      wrong(index, fmt::format("a block of the type \"{}\" can't be read here", type));
    }
  }
  message["content"] = text;
  if (!thinking.empty()) message["reasoning_content"] = thinking;
  messages.push_back(std::move(message));
}

void read_messages(const ordered_json& body, AnswerRequest& request) {
  request.messages = ordered_json::array();
  std::string system = system_text(field(body, "system"));
  if (!system.empty()) request.messages.push_back({{"role", "system"}, {"content", system}});
  const ordered_json& messages = field(body, "messages");
  if (!messages.is_array() || messages.empty())
    throw Refusal(400, "messages: a list with at least one message was expected", "", "messages");
  for (size_t i = 0; i < messages.size(); ++i) {
    const ordered_json& message = messages[i];
    if (!message.is_object()) wrong(i, "this is no object");
    const std::string role = text_field(message, "role");
    const ordered_json& content = field(message, "content");
    if (content.is_string()) {
      if (role != "user" && role != "assistant" && role != "system")
        wrong(i, fmt::format("the role \"{}\" is not known", role));
      request.messages.push_back({{"role", role}, {"content", content}});
      continue;
    }
    if (!content.is_array()) wrong(i, "content is neither a text nor a list of blocks");
    if (role == "user") {
      add_user(content, i, request.messages);
    } else if (role == "assistant") {
      add_assistant(content, i, request.messages);
    } else if (role == "system") {
      request.messages.push_back({{"role", role}, {"content", text_of_blocks(content, i)}});
    } else {
      wrong(i, fmt::format("the role \"{}\" is not known", role));
    }
  }
  const ordered_json& last = request.messages.back();
  request.continues = last.at("role") == "assistant" && !last.contains("tool_calls") &&
                      !last.at("content").get_ref<const std::string&>().empty();
}

AnswerRequest read(Service& service, const HttpRequest& http, const ordered_json& body) {
  AnswerRequest request;
  request.route = http.path;
  request.model = model_of(service, body);
  read_messages(body, request);
  if (const ordered_json& tools = field(body, "tools"); !tools.is_null()) {
    ordered_json functions = ordered_json::array();
    if (!tools.is_array()) throw Refusal(400, "tools: a list was expected", "", "tools");
    for (const ordered_json& tool : tools) {
      if (!tool.is_object())
        throw Refusal(400, "tools: a list of objects was expected", "", "tools");
      if (field(tool, "input_schema").is_null()) {  // its maker's own: web search and the like
        functions.push_back({{"type", text_field(tool, "type", "?")}});
        continue;
      }
      ordered_json function{{"name", text_field(tool, "name")},
                            {"description", text_field(tool, "description")},
                            {"parameters", field(tool, "input_schema")}};
      if (flag_field(tool, "strict", false)) function["strict"] = true;
      functions.push_back({{"type", "function"}, {"function", function}});
    }
    read_tools(service, functions, request);
  }
  const ordered_json& choice = field(body, "tool_choice");
  if (choice.is_object()) {
    const std::string type = text_field(choice, "type");
    if (type == "any" || type == "tool") {
      require_tool(request, text_field(choice, "name"));
    } else if (type == "none") {
      request.tool_use = ToolUse::kNone;
    } else if (type != "auto") {
      throw Refusal(400, fmt::format("tool_choice: the type \"{}\" is not known", type), "",
                    "tool_choice");
    }
    request.parallel_tools = !flag_field(choice, "disable_parallel_tool_use", false);
  }
  if (const ordered_json& thinking = field(body, "thinking"); thinking.is_object()) {
    const std::string type = text_field(thinking, "type");
    if (type == "enabled") {
      request.thinking.on = true;
      request.thinking_budget = static_cast<int>(
          std::clamp<int64_t>(integer_field(thinking, "budget_tokens", -1), -1, INT32_MAX));
    } else if (type == "disabled") {
      request.thinking.on = false;
    } else if (type != "adaptive") {
      throw Refusal(400, fmt::format("thinking: the type \"{}\" is not known", type), "",
                    "thinking");
    }
  }
  const ordered_json& output = field(body, "output_config");
  if (output.is_object()) request.thinking.effort = text_field(output, "effort");
  const ordered_json& format = output.is_object() && output.contains("format")
                                   ? output["format"]
                                   : field(body, "output_format");
  if (format.is_object()) {
    if (text_field(format, "type") != "json_schema")
      refuse("output_format: the type \"{}\" is not known", text_field(format, "type"));
    request.grammar = grammar_of_schema(field(format, "schema"));
  }
  return request;
}

}  // namespace

void anthropic_messages(Service& service, const HttpRequest& http,
                        const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  AnswerRequest request = read(service, http, body);
  read_sampling(body, request);
  request.stop = texts_field(body, "stop_sequences");
  std::erase(request.stop, "");
  request.max_tokens =
      static_cast<int>(std::clamp<int64_t>(integer_field(body, "max_tokens", -1), -1, INT32_MAX));
  if (request.max_tokens < 1)
    throw Refusal(400, "max_tokens: a number of at least 1 was expected", "", "max_tokens");
  // Under the name that was asked for: clients look for it.
  const std::string asked = text_field(body, "model");
  const std::string name = asked.empty() ? request.model->name : asked;
  std::shared_ptr<AnswerSink> sink;
  if (flag_field(body, "stream", false)) {
    request.calls_may_grow = true;
    sink = std::make_shared<StreamedMessage>(name, reply);
  } else {
    sink = std::make_shared<WholeMessage>(name, reply);
  }
  start_answer(service, std::move(request), std::move(sink), reply);
}

void anthropic_count_tokens(Service& service, const HttpRequest& http,
                            const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  const AnswerRequest request = read(service, http, body);
  send_json(reply, {{"input_tokens", make_prompt(request).tokens.size()}});
}

}  // namespace outboard::server
