// OpenAI's completions of a text, with `suffix` for the middle of one; and the list of models.
#include <algorithm>

#include "server/api.h"

namespace outboard::server {
namespace {

struct TextHead {
  std::string id = new_id("cmpl-");
  int64_t created = unix_seconds();
  std::shared_ptr<const ServedModel> model;
  std::string echo;  // the prompt, if it is to be said again
  bool logprobs = false;

  ordered_json object() const {
    return {{"id", id},
            {"object", "text_completion"},
            {"created", created},
            {"model", model->name},
            {"system_fingerprint", "outboard-" OUTBOARD_VERSION}};
  }
};

// The old form: lists beside each other.
ordered_json logprobs_of(const ServedModel& model, std::span<const engine::TokenLogprob> logprobs,
                         size_t& offset) {
  ordered_json tokens = ordered_json::array(), values = ordered_json::array(),
               tops = ordered_json::array(), offsets = ordered_json::array();
  const text::Tokenizer& tokenizer = model.model->tokenizer();
  for (const engine::TokenLogprob& chosen : logprobs) {
    const std::string piece = tokenizer.piece(chosen.token, true);
    tokens.push_back(piece);
    values.push_back(chosen.log_probability);
    ordered_json top = ordered_json::object();
    for (const devices::Candidate& candidate : chosen.top)
      top[tokenizer.piece(candidate.token, true)] = candidate.log_probability;
    tops.push_back(std::move(top));
    offsets.push_back(offset);
    offset += piece.size();
  }
  return {{"tokens", tokens},
          {"token_logprobs", values},
          {"top_logprobs", tops},
          {"text_offset", offsets}};
}

class WholeText : public ReplySink {
 public:
  WholeText(TextHead head, std::shared_ptr<Reply> reply)
      : ReplySink(Protocol::kOpenAi, std::move(reply)), head_(std::move(head)) {}
  void done(const std::vector<Choice>& choices) override {
    ordered_json body = head_.object();
    body["choices"] = ordered_json::array();
    for (size_t i = 0; i < choices.size(); ++i) {
      ordered_json logprobs;
      size_t offset = head_.echo.size();
      if (head_.logprobs)
        logprobs = logprobs_of(*head_.model, choices[i].completion.logprobs, offset);
      body["choices"].push_back({{"text", head_.echo + choices[i].content},
                                 {"index", i},
                                 {"logprobs", logprobs},
                                 {"finish_reason", choices[i].finish}});
    }
    body["usage"] = usage_of(choices);
    body["timings"] = timings_of(choices.front().completion);
    send_json(reply_, body);
  }

 private:
  TextHead head_;
};

class StreamedText : public ReplySink {
 public:
  StreamedText(TextHead head, int choices, bool usage, std::shared_ptr<Reply> reply)
      : ReplySink(Protocol::kOpenAi, std::move(reply)),
        head_(std::move(head)),
        usage_(usage),
        offsets_(static_cast<size_t>(choices), head_.echo.size()) {}
  void started(int) override {
    begin_stream();
    if (head_.echo.empty()) return;
    for (size_t i = 0; i < offsets_.size(); ++i) chunk(i, head_.echo, {}, nullptr);
  }
  void event(size_t choice, const chat::Event& event,
             std::span<const engine::TokenLogprob> logprobs) override {
    chunk(choice, event.text, logprobs, nullptr);
  }
  void choice_done(size_t choice, const Choice& all) override { chunk(choice, "", {}, all.finish); }
  void done(const std::vector<Choice>& choices) override {
    if (usage_) {
      ordered_json body = head_.object();
      body["choices"] = ordered_json::array();
      body["usage"] = usage_of(choices);
      body["timings"] = timings_of(choices.front().completion);
      say(body);
    }
    reply_->write("data: [DONE]\n\n");
    reply_->end();
  }

 private:
  void chunk(size_t choice, const std::string& text, std::span<const engine::TokenLogprob> logprobs,
             const ordered_json& finish) {
    ordered_json body = head_.object();
    ordered_json told;
    if (head_.logprobs && !logprobs.empty())
      told = logprobs_of(*head_.model, logprobs, offsets_[choice]);
    body["choices"] = ordered_json::array(
        {{{"text", text}, {"index", choice}, {"logprobs", told}, {"finish_reason", finish}}});
    if (usage_) body["usage"] = nullptr;
    say(body);
  }

  TextHead head_;
  bool usage_;
  std::vector<size_t> offsets_;
};

ordered_json model_entry(Service& service, const std::string& name) {
  ordered_json entry{{"id", name}, {"object", "model"}, {"created", 0}, {"owned_by", "outboard"}};
  // What is not read yet has no more to tell; it is not read for a list.
  const Status status = service.status();
  for (const std::string& given : service.given()) {
    if (given != name) continue;
    const auto model = service.find(name);
    entry["context_length"] = model->context;
    entry["max_model_len"] = model->context;
  }
  entry["loaded"] = std::ranges::any_of(
      status.loaded, [&](const LoadedStatus& loaded) { return loaded.name == name; });
  return entry;
}

}  // namespace

void openai_completions(Service& service, const HttpRequest& http,
                        const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  AnswerRequest request;
  request.route = http.path;
  request.model = model_of(service, body);
  read_sampling(body, request);
  if (field(body, "max_tokens").is_null() && field(body, "n_predict").is_null())
    request.max_tokens = 16;  // OpenAI's own
  read_format(body, request);
  const text::Tokenizer& tokenizer = request.model->model->tokenizer();
  const ordered_json& prompt = field(body, "prompt");
  TextHead head;
  head.model = request.model;
  const ordered_json& one =
      prompt.is_array() && prompt.size() == 1 && !prompt[0].is_number() ? prompt[0] : prompt;
  const std::string suffix = text_field(body, "suffix");
  if (one.is_string()) {
    const std::string& text = one.get_ref<const std::string&>();
    request.prompt = suffix.empty() ? tokenizer.encode(text, true, true)
                                    : infill_prompt(*request.model, text, suffix);
    if (flag_field(body, "echo", false)) head.echo = text;
  } else if (one.is_array() && !one.empty() && std::ranges::all_of(one, [](const ordered_json& id) {
               return id.is_number_integer();
             })) {
    for (const ordered_json& id : one) request.prompt.push_back(token_of(id, tokenizer, "prompt"));
    if (flag_field(body, "echo", false)) head.echo = tokenizer.decode(request.prompt);
  } else if (one.is_array()) {
    throw Refusal(400, "prompt: several prompts in one request are not served; send one at a time",
                  "", "prompt");
  } else {
    throw Refusal(400, "prompt: a text or a list of tokens was expected", "", "prompt");
  }
  const ordered_json& logprobs = field(body, "logprobs");
  if (!logprobs.is_null() && logprobs != false) {
    request.logprobs =
        logprobs.is_boolean() ? 0 : bounded_field(body, "logprobs", 0, kMostLogprobs, 0);
    head.logprobs = true;
  }
  read_choices(body, request);
  if (integer_field(body, "best_of", request.choices) != request.choices)
    throw Refusal(400, "best_of: only as many as n are made", "", "best_of");
  std::shared_ptr<AnswerSink> sink;
  if (flag_field(body, "stream", false)) {
    sink =
        std::make_shared<StreamedText>(std::move(head), request.choices, wants_usage(body), reply);
  } else {
    sink = std::make_shared<WholeText>(std::move(head), reply);
  }
  start_answer(service, std::move(request), std::move(sink), reply);
}

void openai_models(Service& service, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  ordered_json data = ordered_json::array();
  ordered_json names = ordered_json::array();  // Codex looks for these
  for (const std::string& name : service.names()) {
    data.push_back(model_entry(service, name));
    names.push_back({{"name", name}, {"model", name}, {"slug", name}});
  }
  send_json(reply, {{"object", "list"}, {"data", data}, {"models", names}});
}

void openai_model(Service& service, const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  const std::string name = http.path.substr(std::string_view("/v1/models/").size());
  const auto names = service.names();
  if (std::ranges::find(names, name) == names.end()) (void)service.find(name);  // or a refusal
  send_json(reply, model_entry(service, name));
}

}  // namespace outboard::server
