// OpenAI's Responses, as Codex sends them: without a memory of earlier ones.
#include "grammar/json_schema.h"
#include "server/api.h"

namespace outboard::server {
namespace {

using Kind = chat::Event::Kind;

ordered_json usage(const Choice& choice) {
  const engine::Completion& c = choice.completion;
  return {{"input_tokens", c.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", c.cached_tokens}}},
          {"output_tokens", c.tokens.size()},
          {"output_tokens_details", {{"reasoning_tokens", choice.reasoning_tokens}}},
          {"total_tokens", static_cast<size_t>(c.prompt_tokens) + c.tokens.size()}};
}

// The answer's items as they begin, grow and end; whole answers are made of the same.
class ResponseSink : public ReplySink {
 public:
  ResponseSink(ordered_json echo, bool stream, std::shared_ptr<Reply> reply)
      : ReplySink(Protocol::kOpenAi, std::move(reply)),
        response_(std::move(echo)),
        stream_(stream) {}

  void started(int) override {
    if (!stream_) return;
    begin_stream();
    say("response.created", {{"response", response_}});
    say("response.in_progress", {{"response", response_}});
  }
  void event(size_t, const chat::Event& event, std::span<const engine::TokenLogprob>) override {
    switch (event.kind) {
      case Kind::kReasoning:
        open("reasoning");
        text_ += event.text;
        return say_in_item("response.reasoning_text.delta",
                           {{"content_index", 0}, {"delta", event.text}});
      case Kind::kContent:
        open("message");
        text_ += event.text;
        return say_in_item(
            "response.output_text.delta",
            {{"content_index", 0}, {"delta", event.text}, {"logprobs", ordered_json::array()}});
      case Kind::kCallBegin:
        close();
        call_ = {event.id, event.name, ""};
        return open("function_call");
      case Kind::kCallArguments:
        call_.arguments += event.text;
        return say_in_item("response.function_call_arguments.delta", {{"delta", event.text}});
      case Kind::kCallEnd:
        return close();
    }
  }
  void done(const std::vector<Choice>& choices) override {
    close();
    const Choice& choice = choices.front();
    const bool cut = choice.finish == "length";
    response_["status"] = cut ? "incomplete" : "completed";
    if (cut) response_["incomplete_details"] = {{"reason", "max_output_tokens"}};
    response_["output"] = output_;
    response_["usage"] = usage(choice);
    if (!stream_) return send_json(reply_, response_);
    say(cut ? "response.incomplete" : "response.completed", {{"response", response_}});
    reply_->end();
  }
  void failed(const Refusal& why) override {
    if (!streams()) return ReplySink::failed(why);
    response_["status"] = "failed";
    response_["error"] = {{"code", "server_error"}, {"message", why.message()}};
    say("response.failed", {{"response", response_}});
    reply_->end();
  }

 private:
  ordered_json part() const {
    if (open_ == "reasoning") return {{"type", "reasoning_text"}, {"text", text_}};
    return {{"type", "output_text"},
            {"text", text_},
            {"annotations", ordered_json::array()},
            {"logprobs", ordered_json::array()}};
  }
  ordered_json item(const char* status, bool with_content) const {
    ordered_json made{{"id", id_}, {"type", open_}, {"status", status}};
    if (open_ == "message") {
      made["role"] = "assistant";
      made["content"] = ordered_json::array();
      if (with_content) made["content"].push_back(part());
    } else if (open_ == "reasoning") {
      made["summary"] = ordered_json::array();
      made["content"] = ordered_json::array();
      if (with_content) made["content"].push_back(part());
    } else {
      made["call_id"] = call_.id;
      made["name"] = call_.name;
      made["arguments"] = with_content ? call_.arguments : "";
    }
    return made;
  }
  void open(const char* type) {
    if (open_ == type) return;
    close();
    open_ = type;
    text_.clear();
    id_ = new_id(open_ == "message" ? "msg_" : open_ == "reasoning" ? "rs_" : "fc_");
    say("response.output_item.added",
        {{"output_index", output_.size()}, {"item", item("in_progress", false)}});
    if (open_ != "function_call")
      say_in_item("response.content_part.added", {{"content_index", 0}, {"part", part()}});
  }
  void close() {
    if (open_.empty()) return;
    if (open_ == "function_call") {
      say_in_item("response.function_call_arguments.done",
                  {{"name", call_.name}, {"arguments", call_.arguments}});
    } else {
      ordered_json told{{"content_index", 0}, {"text", text_}};
      if (open_ == "message") told["logprobs"] = ordered_json::array();
      say_in_item(open_ == "message" ? "response.output_text.done" : "response.reasoning_text.done",
                  told);
      say_in_item("response.content_part.done", {{"content_index", 0}, {"part", part()}});
    }
    const ordered_json whole = item("completed", true);
    say("response.output_item.done", {{"output_index", output_.size()}, {"item", whole}});
    output_.push_back(whole);
    open_.clear();
  }
  void say_in_item(const char* type, const ordered_json& fields) {
    ordered_json all{{"item_id", id_}, {"output_index", output_.size()}};
    all.update(fields);
    say(type, all);
  }
  void say(const char* type, const ordered_json& fields) {
    if (!stream_) return;
    ordered_json body{{"type", type}, {"sequence_number", number_++}};
    body.update(fields);
    reply_->write(fmt::format("event: {}\ndata: {}\n\n", type, text_of(body)));
  }

  ordered_json response_;
  bool stream_;
  int number_ = 0;
  std::string open_;  // the type of the item that is open
  std::string id_, text_;
  ToolCall call_;
  ordered_json output_ = ordered_json::array();
};

// 0.8, not 0.800000011920929.
double as_written(float value) { return std::stod(fmt::format("{}", value)); }

[[noreturn]] void wrong(size_t item, const std::string& what) {
  throw Refusal(400, fmt::format("input[{}]: {}", item, what), "", "input");
}

std::string text_of_parts(const ordered_json& content, size_t item) {
  if (content.is_null()) return {};
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) wrong(item, "content is neither a text nor a list of parts");
  std::string text;
  for (const ordered_json& part : content) {
    const std::string type = part.is_object() ? text_field(part, "type") : "";
    if (type != "input_text" && type != "output_text" && type != "text" && type != "refusal" &&
        type != "reasoning_text" && type != "summary_text")
      wrong(item, fmt::format("a part of the type \"{}\" can't be read by this model", type));
    text += (text.empty() ? "" : "\n") + text_field(part, type == "refusal" ? "refusal" : "text");
  }
  return text;
}

// Items of the input become messages; calls belong to the assistant's message before them.
void read_input(const ordered_json& input, AnswerRequest& request) {
  ordered_json& messages = request.messages;
  if (input.is_string()) {
    messages.push_back({{"role", "user"}, {"content", input}});
    return;
  }
  if (!input.is_array()) throw Refusal(400, "input: a text or a list was expected", "", "input");
  std::string reasoning;
  const auto assistant = [&]() -> ordered_json& {
    if (messages.empty() || messages.back().at("role") != "assistant")
      messages.push_back({{"role", "assistant"}, {"content", ""}});
    if (!reasoning.empty()) messages.back()["reasoning_content"] = std::exchange(reasoning, "");
    return messages.back();
  };
  for (size_t i = 0; i < input.size(); ++i) {
    const ordered_json& item = input[i];
    if (!item.is_object()) wrong(i, "this is no object");
    const std::string type = text_field(item, "type", "message");
    if (type == "message") {
      const std::string role = text_field(item, "role");
      const std::string text = text_of_parts(field(item, "content"), i);
      if (role == "assistant") {
        messages.push_back({{"role", "assistant"}, {"content", text}});
        if (!reasoning.empty()) messages.back()["reasoning_content"] = std::exchange(reasoning, "");
      } else {
        messages.push_back({{"role", role}, {"content", text}});
      }
    } else if (type == "reasoning") {
      reasoning = text_of_parts(field(item, "content"), i);
    } else if (type == "function_call" || type == "custom_tool_call") {
      ordered_json arguments = field(item, "arguments");
      if (type == "custom_tool_call") arguments = text_of({{"input", text_field(item, "input")}});
      assistant()["tool_calls"].push_back(
          {{"id", text_field(item, "call_id")},
           {"type", "function"},
           {"function", {{"name", text_field(item, "name")}, {"arguments", arguments}}}});
    } else if (type == "function_call_output" || type == "custom_tool_call_output") {
      messages.push_back({{"role", "tool"},
                          {"tool_call_id", text_field(item, "call_id")},
                          {"content", text_of_parts(field(item, "output"), i)}});
    } else if (type == "item_reference") {
      wrong(i, "items of earlier responses are not kept here: send the whole conversation");
    } else {
      wrong(i, fmt::format("an item of the type \"{}\" can't be read here", type));
    }
  }
}

}  // namespace

void openai_responses(Service& service, const HttpRequest& http,
                      const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  if (!text_field(body, "previous_response_id").empty())
    throw Refusal(400,
                  "previous_response_id: responses are not kept here; send the whole conversation "
                  "in `input`",
                  "unsupported_parameter", "previous_response_id");
  if (flag_field(body, "background", false))
    throw Refusal(400, "background: responses are not kept here", "unsupported_parameter",
                  "background");
  AnswerRequest request;
  request.route = http.path;
  request.model = model_of(service, body);
  request.messages = ordered_json::array();
  if (const std::string instructions = text_field(body, "instructions"); !instructions.empty())
    request.messages.push_back({{"role", "system"}, {"content", instructions}});
  read_input(field(body, "input"), request);
  // Codex asks with nothing to see whether anyone is there.
  if (request.messages.empty()) request.messages.push_back({{"role", "user"}, {"content", ""}});
  read_sampling(body, request);
  read_thinking(body, request);
  ordered_json tools = ordered_json::array();
  const ordered_json& named = field(body, "tools");
  if (!named.is_null() && !named.is_array())
    throw Refusal(400, "tools: a list was expected", "", "tools");
  for (const ordered_json& tool : named) {
    if (!tool.is_object()) throw Refusal(400, "tools: a list of objects was expected", "", "tools");
    const std::string type = text_field(tool, "type");
    if (type == "function") {
      ordered_json function = tool;
      function.erase("type");
      tools.push_back({{"type", "function"}, {"function", function}});
    } else {
      tools.push_back({{"type", type}});
    }
  }
  read_tools(service, tools, request);
  const ordered_json& choice = field(body, "tool_choice");
  if (choice == "none") {
    request.tool_use = ToolUse::kNone;
  } else if (choice == "required" ||
             (choice.is_object() && text_field(choice, "type") == "function")) {
    require_tool(request, choice.is_object() ? text_field(choice, "name") : "");
  } else if (!choice.is_null() && choice != "auto") {
    throw Refusal(400, "tool_choice: expected \"auto\", \"none\", \"required\" or a function", "",
                  "tool_choice");
  }
  request.parallel_tools = flag_field(body, "parallel_tool_calls", true);
  const ordered_json& text = field(body, "text");
  if (text.is_object() && text.contains("format")) {
    const ordered_json& format = text["format"];
    if (!format.is_object()) refuse("text.format: an object was expected");
    const std::string type = text_field(format, "type");
    if (type == "json_schema") {
      request.grammar = grammar_of_schema(field(format, "schema"));
    } else if (type == "json_object") {
      request.grammar = grammar::any_json(true);
    } else if (type != "text") {
      refuse("text.format: the type \"{}\" is not known", type);
    }
  }
  const auto echoed = [&](const char* name, ordered_json otherwise) {
    const ordered_json& value = field(body, name);
    return value.is_null() ? std::move(otherwise) : value;
  };
  ordered_json echo{{"id", new_id("resp_")},
                    {"object", "response"},
                    {"created_at", unix_seconds()},
                    {"status", "in_progress"},
                    {"error", nullptr},
                    {"incomplete_details", nullptr},
                    {"instructions", echoed("instructions", nullptr)},
                    {"max_output_tokens", echoed("max_output_tokens", nullptr)},
                    {"model", request.model->name},
                    {"output", ordered_json::array()},
                    {"parallel_tool_calls", request.parallel_tools},
                    {"previous_response_id", nullptr},
                    {"reasoning", echoed("reasoning", {{"effort", nullptr}, {"summary", nullptr}})},
                    {"store", false},
                    {"temperature", as_written(request.sampling.temperature)},
                    {"text", echoed("text", {{"format", {{"type", "text"}}}})},
                    {"tool_choice", echoed("tool_choice", "auto")},
                    {"tools", echoed("tools", ordered_json::array())},
                    {"top_p", as_written(request.sampling.top_p)},
                    {"truncation", "disabled"},
                    {"usage", nullptr},
                    {"metadata", echoed("metadata", ordered_json::object())}};
  const bool stream = flag_field(body, "stream", false);
  request.calls_may_grow = stream;
  auto sink = std::make_shared<ResponseSink>(std::move(echo), stream, reply);
  start_answer(service, std::move(request), std::move(sink), reply);
}

}  // namespace outboard::server
