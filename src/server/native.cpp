// llama.cpp's own routes: health, completion, tokens, templates, and what to watch.
#include <algorithm>

#include "server/api.h"

namespace outboard::server {
namespace {

// llama.cpp's SSE: the text as it grows, and all of it at the end.
class NativeSink : public ReplySink {
 public:
  NativeSink(std::shared_ptr<const ServedModel> model, bool stream, std::shared_ptr<Reply> reply)
      : ReplySink(Protocol::kOpenAi, std::move(reply)), model_(std::move(model)), stream_(stream) {}
  void started(int) override {
    if (stream_) begin_stream();
  }
  void event(size_t choice, const chat::Event& event,
             std::span<const engine::TokenLogprob>) override {
    if (stream_) say({{"index", choice}, {"content", event.text}, {"stop", false}});
  }
  void done(const std::vector<Choice>& choices) override {
    const Choice& choice = choices.front();
    const engine::Completion& c = choice.completion;
    const bool word = c.finish == engine::Finish::kStopString;
    ordered_json body{{"index", 0},
                      {"content", stream_ ? "" : choice.content},
                      {"tokens", c.tokens},
                      {"stop", true},
                      {"model", model_->name},
                      {"tokens_predicted", c.tokens.size()},
                      {"tokens_evaluated", c.prompt_tokens},
                      {"tokens_cached", c.cached_tokens},
                      {"truncated", false},
                      {"stop_type", word                        ? "word"
                                    : choice.finish == "length" ? "limit"
                                                                : "eos"},
                      {"stopping_word", c.stop_string},
                      {"generation_settings", {{"seed", c.seed}}},
                      {"timings", timings_of(c)}};
    if (!c.logprobs.empty()) body["completion_probabilities"] = probabilities(c.logprobs);
    if (!stream_) return send_json(reply_, body);
    say(body);
    reply_->end();
  }

 private:
  ordered_json probabilities(std::span<const engine::TokenLogprob> logprobs) const {
    ordered_json list = ordered_json::array();
    const auto entry = [&](int32_t token, float value) {
      return ordered_json{{"id", token},
                          {"token", model_->model->tokenizer().piece(token, true)},
                          {"logprob", value}};
    };
    for (const engine::TokenLogprob& chosen : logprobs) {
      ordered_json one = entry(chosen.token, chosen.log_probability);
      one["top_logprobs"] = ordered_json::array();
      for (const devices::Candidate& candidate : chosen.top)
        one["top_logprobs"].push_back(entry(candidate.token, candidate.log_probability));
      list.push_back(std::move(one));
    }
    return list;
  }

  std::shared_ptr<const ServedModel> model_;
  bool stream_;
};

}  // namespace

void native_health(Service& service, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  const Status status = service.status();
  // llama.cpp: 503 while a model is being loaded.
  const bool ready = status.ok && !status.state.starts_with("loading");
  ordered_json body{{"status", status.ok ? (ready ? "ok" : "loading model") : "error"},
                    {"state", status.state},
                    {"device", status.device}};
  if (!ready)
    body["error"] = {{"code", 503}, {"message", status.state}, {"type", "unavailable_error"}};
  send_json(reply, body, ready ? 200 : 503);
}

void native_completion(Service& service, const HttpRequest& http,
                       const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  AnswerRequest request;
  request.route = http.path;
  request.model = model_of(service, body);
  read_sampling(body, request);
  read_format(body, request);
  const text::Tokenizer& tokenizer = request.model->model->tokenizer();
  const ordered_json& prompt = field(body, "prompt");
  if (http.path == "/infill") {
    request.prompt =
        infill_prompt(*request.model, text_field(body, "input_prefix") + text_field(body, "prompt"),
                      text_field(body, "input_suffix"));
  } else if (prompt.is_string()) {
    request.prompt = tokenizer.encode(prompt.get_ref<const std::string&>(), true, true);
  } else if (prompt.is_array()) {
    // Texts and tokens mixed: only the first text gets a beginning token.
    for (const ordered_json& part : prompt) {
      if (part.is_number_integer()) {
        request.prompt.push_back(token_of(part, tokenizer, "prompt"));
      } else if (part.is_string()) {
        const auto more =
            tokenizer.encode(part.get_ref<const std::string&>(), request.prompt.empty(), true);
        request.prompt.insert(request.prompt.end(), more.begin(), more.end());
      } else {
        refuse("prompt: a text, tokens or both mixed were expected");
      }
    }
  } else {
    refuse("prompt: a text, tokens or both mixed were expected");
  }
  if (const int64_t probabilities = integer_field(body, "n_probs", 0); probabilities > 0)
    request.logprobs = static_cast<int>(std::min<int64_t>(probabilities, kMostLogprobs));
  auto sink = std::make_shared<NativeSink>(request.model, flag_field(body, "stream", false), reply);
  start_answer(service, std::move(request), std::move(sink), reply);
}

void native_tokenize(Service& service, const HttpRequest& http,
                     const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  const auto model = model_of(service, body);
  const text::Tokenizer& tokenizer = model->model->tokenizer();
  const auto ids =
      tokenizer.encode(text_field(body, "content"), flag_field(body, "add_special", false),
                       flag_field(body, "parse_special", true));
  ordered_json tokens = ordered_json::array();
  for (const int32_t id : ids) {
    if (flag_field(body, "with_pieces", false)) {
      tokens.push_back({{"id", id}, {"piece", tokenizer.piece(id, true)}});
    } else {
      tokens.push_back(id);
    }
  }
  send_json(reply, {{"tokens", tokens}});
}

void native_detokenize(Service& service, const HttpRequest& http,
                       const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  const auto model = model_of(service, body);
  const text::Tokenizer& tokenizer = model->model->tokenizer();
  const ordered_json& tokens = field(body, "tokens");
  if (!tokens.is_array()) refuse("tokens: a list was expected");
  std::vector<int32_t> ids;
  for (const ordered_json& token : tokens) ids.push_back(token_of(token, tokenizer, "tokens"));
  send_json(reply, {{"content", tokenizer.decode(ids, true)}});
}

void native_apply_template(Service& service, const HttpRequest& http,
                           const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  AnswerRequest request;
  request.model = model_of(service, body);
  request.messages = field(body, "messages");
  read_thinking(body, request);
  read_tools(service, field(body, "tools"), request);
  send_json(reply, {{"prompt", make_prompt(request).text}});
}

void native_props(Service& service, const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  const Status status = service.status();
  ordered_json body{{"version", OUTBOARD_VERSION},
                    {"build_info", "outboard-" OUTBOARD_VERSION},
                    {"device", status.device},
                    {"state", status.state},
                    {"total_slots", service.options().parallel},
                    {"speculation", engine::name_of(service.options().speculation)}};
  const auto asked = http.parameter("model");
  const auto given = service.given();
  if (asked || !given.empty()) {
    const auto model = service.find(asked.value_or(""));
    const bool templated = model->model->has_chat_template();
    body["model"] = model->name;
    body["model_alias"] = model->name;
    body["model_path"] = model->path.filename().string();
    body["context"] = model->context;
    body["default_generation_settings"] = {{"n_ctx", model->context}};
    body["chat_template"] = templated ? model->model->chat_template().source() : "";
    body["capabilities"] = {{"tools", model->format.has_calls()},
                            {"thinking", model->format.thinking.has_value()},
                            {"infill", can_infill(*model)}};
  }
  send_json(reply, body);
}

void native_slots(Service& service, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  ordered_json slots = ordered_json::array();
  for (const LoadedStatus& loaded : service.status().loaded)
    for (const engine::SequenceStatus& sequence : loaded.sequences)
      slots.push_back({{"id", slots.size()},
                       {"id_task", sequence.id},
                       {"model", loaded.name},
                       {"is_processing", !sequence.waits},
                       {"n_prompt_tokens", sequence.prompt_tokens},
                       {"n_past", sequence.computed},
                       {"n_decoded", sequence.answered}});
  send_json(reply, slots);
}

// Under llama.cpp's names, so that what watches its server watches this one.
void native_metrics(Service& service, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  const Status status = service.status();
  const Counters& c = status.counters;
  std::string text;
  const auto metric = [&](const char* name, const char* type, const char* help, double value) {
    text += fmt::format("# HELP llamacpp:{0} {2}\n# TYPE llamacpp:{0} {1}\nllamacpp:{0} {3}\n",
                        name, type, help, value);
  };
  size_t processing = 0;
  size_t waiting = status.waiting;
  uint64_t kv = 0;
  for (const LoadedStatus& loaded : status.loaded) {
    kv += loaded.memory.kv;
    for (const engine::SequenceStatus& sequence : loaded.sequences)
      ++(sequence.waits ? waiting : processing);
  }
  const auto rate = [](double count, double seconds) { return seconds > 0 ? count / seconds : 0; };
  const auto prompt = static_cast<double>(c.prompt_tokens);
  const auto answered = static_cast<double>(c.answer_tokens);
  metric("prompt_tokens_total", "counter", "Prompt tokens that were computed.", prompt);
  metric("prompt_tokens_cached_total", "counter", "Prompt tokens that were known.",
         static_cast<double>(c.cached_tokens));
  metric("prompt_seconds_total", "counter", "Time of prompts.", c.prompt_seconds);
  metric("tokens_predicted_total", "counter", "Tokens of answers.", answered);
  metric("tokens_predicted_seconds_total", "counter", "Time of answers.", c.answer_seconds);
  metric("draft_tokens_total", "counter", "Tokens that were guessed.",
         static_cast<double>(c.drafted_tokens));
  metric("draft_tokens_accepted_total", "counter", "Guesses that were right.",
         static_cast<double>(c.accepted_tokens));
  metric("prompt_tokens_seconds", "gauge", "Prompt tokens a second.",
         rate(prompt, c.prompt_seconds));
  metric("predicted_tokens_seconds", "gauge", "Tokens a second of one answer.",
         rate(answered, c.answer_seconds));
  metric("requests_total", "counter", "Answers begun.", static_cast<double>(c.requests));
  metric("requests_failed_total", "counter", "Answers that failed.",
         static_cast<double>(c.failures));
  metric("device_failures_total", "counter", "Failures of the device.",
         static_cast<double>(c.device_failures));
  metric("requests_processing", "gauge", "Answers under way.", static_cast<double>(processing));
  metric("requests_deferred", "gauge", "Requests that wait.", static_cast<double>(waiting));
  metric("kv_cache_bytes", "gauge", "Memory of keys and values.", static_cast<double>(kv));
  reply->send(200, "text/plain; version=0.0.4", std::move(text));
}

}  // namespace outboard::server
