// Ollama's own routes, which editors look for on port 11434.
#include <algorithm>

#include "formats/tensor_type.h"
#include "hub/hub.h"
#include "server/api.h"

namespace outboard::server {

namespace fs = std::filesystem;

namespace {

using Kind = chat::Event::Kind;

// What Zed and others look for.
constexpr std::string_view kVersion = OUTBOARD_VERSION;

int64_t nanoseconds(double seconds) { return static_cast<int64_t>(seconds * 1e9); }

ordered_json call_of(const ToolCall& call, size_t index) {
  return {{"id", call.id},
          {"function",
           {{"index", index},
            {"name", call.name},
            {"arguments", ordered_json::parse(call.arguments.empty() ? "{}" : call.arguments)}}}};
}

ordered_json logprobs_of(const ServedModel& model, std::span<const engine::TokenLogprob> logprobs) {
  ordered_json list = ordered_json::array();
  const auto entry = [&](int32_t token, float value) {
    return ordered_json{{"token", model.model->tokenizer().piece(token, true)}, {"logprob", value}};
  };
  for (const engine::TokenLogprob& chosen : logprobs) {
    ordered_json one = entry(chosen.token, chosen.log_probability);
    for (const devices::Candidate& candidate : chosen.top)
      one["top_logprobs"].push_back(entry(candidate.token, candidate.log_probability));
    list.push_back(std::move(one));
  }
  return list;
}

// chat and generate differ in where the text stands.
class OllamaSink : public ReplySink {
 public:
  OllamaSink(std::shared_ptr<const ServedModel> model, std::string name, bool is_chat, bool stream,
             bool logprobs, std::shared_ptr<Reply> reply)
      : ReplySink(Protocol::kOllama, std::move(reply)),
        model_(std::move(model)),
        name_(std::move(name)),
        is_chat_(is_chat),
        stream_(stream),
        logprobs_(logprobs) {}

  void started(int) override {
    loaded_ = std::chrono::steady_clock::now();
    if (stream_) begin_stream();
  }
  void event(size_t, const chat::Event& event,
             std::span<const engine::TokenLogprob> logprobs) override {
    if (event.kind == Kind::kCallBegin) {
      call_ = {event.id, event.name, ""};
    } else if (event.kind == Kind::kCallArguments) {
      call_.arguments += event.text;
    }
    if (!stream_) return;
    ordered_json body = head();
    if (event.kind == Kind::kReasoning) {
      said(body, "", event.text);
    } else if (event.kind == Kind::kContent) {
      said(body, event.text, "");
    } else if (event.kind == Kind::kCallEnd && is_chat_) {
      said(body, "", "");
      body["message"]["tool_calls"] = ordered_json::array({call_of(call_, event.index)});
    } else {
      return;
    }
    body["done"] = false;
    if (logprobs_ && !logprobs.empty()) body["logprobs"] = logprobs_of(*model_, logprobs);
    say(body);
  }
  void done(const std::vector<Choice>& choices) override {
    const Choice& choice = choices.front();
    const engine::Completion& c = choice.completion;
    ordered_json body = head();
    if (stream_) {
      said(body, "", "");
    } else {
      said(body, choice.content, choice.reasoning);
      if (is_chat_)
        for (size_t i = 0; i < choice.calls.size(); ++i)
          body["message"]["tool_calls"].push_back(call_of(choice.calls[i], i));
      if (logprobs_) body["logprobs"] = logprobs_of(*model_, c.logprobs);
    }
    body["done"] = true;
    body["done_reason"] = choice.finish == "length" ? "length" : "stop";
    const double all =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    body["total_duration"] = nanoseconds(all);
    body["load_duration"] = nanoseconds(std::chrono::duration<double>(loaded_ - begin_).count());
    body["prompt_eval_count"] = c.prompt_tokens;
    body["prompt_eval_duration"] = nanoseconds(c.prompt_seconds);
    body["eval_count"] = c.tokens.size();
    body["eval_duration"] = nanoseconds(c.decode_seconds);
    if (!stream_) return send_json(reply_, body);
    say(body);
    reply_->end();
  }

 private:
  ordered_json head() const {
    return {{"model", name_}, {"created_at", iso_time(std::chrono::system_clock::now())}};
  }
  void said(ordered_json& body, const std::string& text, const std::string& thinking) const {
    if (is_chat_) {
      body["message"] = {{"role", "assistant"}, {"content", text}};
      if (!thinking.empty()) body["message"]["thinking"] = thinking;
    } else {
      body["response"] = text;
      if (!thinking.empty()) body["thinking"] = thinking;
    }
  }

  std::shared_ptr<const ServedModel> model_;
  std::string name_;
  bool is_chat_, stream_, logprobs_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), loaded_ = begin_;
  ToolCall call_;
};

void read_options(Service& service, const ordered_json& body, AnswerRequest& request) {
  static const ordered_json kNone = ordered_json::object();
  const ordered_json& options = field(body, "options");
  if (!options.is_null() && !options.is_object()) refuse("options: an object was expected");
  read_sampling(options.is_null() ? kNone : options, request);
  const int64_t context = integer_field(options.is_null() ? kNone : options, "num_ctx", 0);
  if (context > request.model->context && service.options().log)
    service.options().log(fmt::format("{}: a context of {} was asked for, it has {} (--ctx)",
                                      request.model->name, context, request.model->context));
  read_ollama_format(field(body, "format"), request);
  request.keep_alive = duration_field(body, "keep_alive");
  const ordered_json& think = field(body, "think");
  if (think.is_boolean()) {
    request.thinking.on = think.get<bool>();
  } else if (think.is_string()) {
    request.thinking.effort = think.get<std::string>();
    request.thinking.on = true;
  } else if (!think.is_null()) {
    refuse("think: true, false or an effort was expected");
  }
  if (flag_field(body, "logprobs", false)) {
    request.logprobs = static_cast<int>(
        std::clamp<int64_t>(integer_field(body, "top_logprobs", 0), 0, kMostLogprobs));
  }
}

void refuse_images(const ordered_json& object) {
  const ordered_json& images = field(object, "images");
  if (images.is_array() && !images.empty()) refuse("images: this model reads no images");
}

// Nothing is asked: the model is to be loaded, or, with a keep_alive of 0, unloaded.
bool only_loads(Service& service, const AnswerRequest& request, const std::string& name,
                bool is_chat, const std::shared_ptr<Reply>& reply) {
  const auto keep = request.keep_alive.value_or(service.options().keep_alive);
  service.keep(request.model, keep);
  ordered_json body{{"model", name}, {"created_at", iso_time(std::chrono::system_clock::now())}};
  if (is_chat) {
    body["message"] = {{"role", "assistant"}, {"content", ""}};
  } else {
    body["response"] = "";
  }
  body["done"] = true;
  body["done_reason"] = keep == std::chrono::seconds(0) ? "unload" : "load";
  send_json(reply, body);
  return true;
}

// Arguments come as objects, and a tool's name beside its result.
ordered_json messages_of(const ordered_json& messages) {
  ordered_json out = ordered_json::array();
  std::vector<std::pair<std::string, std::string>> open;  // calls without a result: name, id
  size_t calls = 0;
  for (const ordered_json& message : messages) {
    if (!message.is_object()) refuse("messages: a list of objects was expected");
    refuse_images(message);
    ordered_json made = message;
    made.erase("images");
    if (const std::string thinking = text_field(message, "thinking"); !thinking.empty())
      made["reasoning_content"] = thinking;
    made.erase("thinking");
    if (made.contains("tool_calls") && made["tool_calls"].is_array())
      for (ordered_json& call : made["tool_calls"]) {
        if (!call.is_object()) refuse("messages: a tool call that is no object");
        if (text_field(call, "id").empty()) call["id"] = fmt::format("call_{}", calls++);
        call["type"] = "function";
        const ordered_json& function = field(call, "function");
        if (function.is_object()) open.emplace_back(text_field(function, "name"), call["id"]);
      }
    if (text_field(message, "role") == "tool" && text_field(message, "tool_call_id").empty()) {
      const std::string name = text_field(message, "tool_name", text_field(message, "name"));
      auto found = std::ranges::find(open, name, &std::pair<std::string, std::string>::first);
      if (found == open.end()) found = open.begin();
      if (found == open.end()) refuse("messages: a tool's result that no call asked for");
      made["tool_call_id"] = found->second;
      open.erase(found);
    }
    out.push_back(std::move(made));
  }
  return out;
}

std::string quantization_of(const ServedModel& model) {
  std::map<std::string, size_t> sizes;
  for (const auto& tensor : model.model->file().tensors())
    sizes[std::string(formats::type_info(tensor.type).name)] += tensor.data.size();
  const auto largest = std::ranges::max_element(
      sizes, [](const auto& a, const auto& b) { return a.second < b.second; });
  return largest == sizes.end() ? "" : largest->first;
}

std::string parameters_of(const ServedModel& model) {
  double count = 0;
  for (const auto& tensor : model.model->file().tensors())
    count += static_cast<double>(tensor.elements());
  if (count >= 1e9) return fmt::format("{:.1f}B", count / 1e9);
  return fmt::format("{:.1f}M", count / 1e6);
}

ordered_json details_of(const ServedModel& model) {
  const std::string family =
      model.model->file().metadata.get_string("general.architecture", "unknown");
  return {{"parent_model", ""},
          {"format", "gguf"},
          {"family", family},
          {"families", ordered_json::array({family})},
          {"parameter_size", parameters_of(model)},
          {"quantization_level", quantization_of(model)}};
}

ordered_json capabilities_of(const ServedModel& model) {
  ordered_json list = ordered_json::array({"completion"});
  if (model.format.has_calls() && model.abilities.tool_calls) list.push_back("tools");
  if (model.format.thinking) list.push_back("thinking");
  if (can_infill(model)) list.push_back("insert");
  if (engine::pooling_of(model.model->file().metadata)) list.push_back("embedding");
  return list;
}

std::chrono::system_clock::time_point system_time(fs::file_time_type time) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(
             time - fs::file_time_type::clock::now());
}

std::string template_of(const ServedModel& model) {
  return model.model->has_chat_template() ? model.model->chat_template().source() : "";
}

}  // namespace

void ollama_chat(Service& service, const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  AnswerRequest request;
  request.route = http.path;
  request.model = model_of(service, body);
  read_options(service, body, request);
  const std::string name = text_field(body, "model", request.model->name);
  const ordered_json& messages = field(body, "messages");
  if (!messages.is_null() && !messages.is_array()) refuse("messages: a list was expected");
  if (messages.is_null() || messages.empty()) {
    only_loads(service, request, name, true, reply);
    return;
  }
  request.messages = messages_of(messages);
  read_tools(service, field(body, "tools"), request);
  const bool logprobs = request.logprobs >= 0;
  auto sink = std::make_shared<OllamaSink>(request.model, name, true,
                                           flag_field(body, "stream", true), logprobs, reply);
  start_answer(service, std::move(request), std::move(sink), reply);
}

void ollama_generate(Service& service, const HttpRequest& http,
                     const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  AnswerRequest request;
  request.route = http.path;
  request.model = model_of(service, body);
  read_options(service, body, request);
  refuse_images(body);
  const std::string name = text_field(body, "model", request.model->name);
  const std::string prompt = text_field(body, "prompt");
  const std::string suffix = text_field(body, "suffix");
  const std::string system = text_field(body, "system");
  for (const char* unknown : {"template", "context"})
    if (const ordered_json& value = field(body, unknown);
        !value.is_null() && value != "" && !(value.is_array() && value.empty()))
      throw Refusal(400,
                    fmt::format("{}: not served here; send the conversation to /api/chat", unknown),
                    "", unknown);
  if (prompt.empty() && suffix.empty()) {
    only_loads(service, request, name, false, reply);
    return;
  }
  const text::Tokenizer& tokenizer = request.model->model->tokenizer();
  if (!suffix.empty()) {
    request.prompt = infill_prompt(*request.model, prompt, suffix);
  } else if (flag_field(body, "raw", false) || !request.model->model->has_chat_template()) {
    request.prompt = tokenizer.encode(prompt, true, true);
  } else {
    request.messages = ordered_json::array();
    if (!system.empty()) request.messages.push_back({{"role", "system"}, {"content", system}});
    request.messages.push_back({{"role", "user"}, {"content", prompt}});
  }
  const bool logprobs = request.logprobs >= 0;
  auto sink = std::make_shared<OllamaSink>(request.model, name, false,
                                           flag_field(body, "stream", true), logprobs, reply);
  start_answer(service, std::move(request), std::move(sink), reply);
}

void ollama_tags(Service& service, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  ordered_json models = ordered_json::array();
  for (const std::string& name : service.names()) {
    try {
      const auto model = service.find(name);
      models.push_back({{"name", name + ":latest"},
                        {"model", name + ":latest"},
                        {"modified_at", iso_time(system_time(model->modified))},
                        {"size", model->bytes},
                        {"digest", model->digest},
                        {"details", details_of(*model)}});
    } catch (const Error&) {
      continue;  // a translation model, or a file that can't be read: nothing to talk to
    }
  }
  send_json(reply, {{"models", models}});
}

void ollama_show(Service& service, const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  const auto model = service.find(text_field(body, "model", text_field(body, "name")));
  ordered_json info = ordered_json::object();
  const formats::Metadata& metadata = model->model->file().metadata;
  for (const auto& entry : metadata.entries()) {
    const std::string& key = entry.first;
    // Without the tokenizer's lists of a hundred thousand.
    if (key.starts_with("tokenizer.") && key != "tokenizer.ggml.model" &&
        key != "tokenizer.ggml.pre")
      continue;
    info[key] = std::visit(
        [](const auto& value) -> ordered_json {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, formats::MetadataArray>) {
            return nullptr;  // as ollama, which leaves lists out
          } else {
            return value;
          }
        },
        entry.second);
  }
  const program::Program& program = model->model->program();
  info["general.parameter_count"] = [&] {
    int64_t count = 0;
    for (const auto& tensor : model->model->file().tensors()) count += tensor.elements();
    return count;
  }();
  // Clients look for "<architecture>.context_length".
  info[metadata.get_string("general.architecture", "unknown") + ".context_length"] =
      program.context_length;
  send_json(reply, {{"license", metadata.get_string("general.license", "")},
                    {"modelfile", fmt::format("FROM {}\n", model->name)},
                    {"parameters", fmt::format("num_ctx {}", model->context)},
                    {"template", template_of(*model)},
                    {"details", details_of(*model)},
                    {"model_info", info},
                    {"capabilities", capabilities_of(*model)},
                    {"modified_at", iso_time(system_time(model->modified))}});
}

void ollama_ps(Service& service, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  ordered_json models = ordered_json::array();
  for (const LoadedStatus& loaded : service.status().loaded) {
    const auto model = service.find(loaded.name);
    const auto until = loaded.for_ever
                           ? std::chrono::system_clock::now() + std::chrono::hours(24 * 3650)
                           : loaded.until;
    const uint64_t size = model->bytes + loaded.memory.kv + loaded.memory.buffers;
    const bool on_card = !service.status().device.starts_with("CPU");
    models.push_back({{"name", loaded.name + ":latest"},
                      {"model", loaded.name + ":latest"},
                      {"size", size},
                      {"digest", model->digest},
                      {"details", details_of(*model)},
                      {"expires_at", iso_time(until)},
                      {"size_vram", on_card ? size : 0},
                      {"context_length", model->context}});
  }
  send_json(reply, {{"models", models}});
}

void ollama_version(Service&, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  send_json(reply, {{"version", kVersion}});
}

void ollama_pull(Service& service, const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  const std::string name = text_field(body, "model", text_field(body, "name"));
  const bool stream = flag_field(body, "stream", true);
  // Names alone: a client must not make this machine fetch from any address, or read its files.
  if (name.empty() || name.find("://") != std::string::npos || name.starts_with('/') ||
      name.starts_with('.'))
    throw Refusal(400, fmt::format("\"{}\" is no name that can be pulled here", name), "", "model");
  const std::string plain = without_latest(name);
  if (stream) {
    reply->begin(200, "application/x-ndjson");
    reply->write(text_of({{"status", "pulling " + plain}}) + "\n");
  }
  try {
    hub::pull(plain);
    service.forget(plain);
  } catch (const Error& e) {
    const Refusal refusal(500, e.message() + (e.hint().empty() ? "" : " " + e.hint()));
    if (!stream) throw refusal;
    reply->write(error_body(Protocol::kOllama, refusal) + "\n");
    return reply->end();
  }
  if (!stream) return send_json(reply, {{"status", "success"}});
  reply->write(text_of({{"status", "success"}}) + "\n");
  reply->end();
}

void ollama_delete(Service& service, const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  const std::string name = without_latest(text_field(body, "model", text_field(body, "name")));
  const auto given = service.given();
  if (std::ranges::find(given, name) != given.end())
    throw Refusal(
        400, fmt::format("{} was given at the start; it is not deleted while it is served", name));
  for (const hub::Installed& model : hub::installed()) {
    if (model.name != name) continue;
    service.keep(service.find(name), std::chrono::seconds(0));
    std::error_code error;
    fs::remove_all(model.path, error);
    if (error)
      throw Refusal(
          500, fmt::format("{} could not be deleted: {}", model.path.string(), error.message()));
    service.forget(name);
    return reply->send(200, "", "");
  }
  throw Refusal(404, fmt::format("model \"{}\" not found", name), "model_not_found", "model");
}

}  // namespace outboard::server
