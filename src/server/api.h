// What the routes of all protocols share: fields of a request, errors, identifiers.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/answer.h"
#include "server/http.h"
#include "server/service.h"

namespace outboard::server {

using nlohmann::ordered_json;

enum class Protocol : uint8_t { kOpenAi, kAnthropic, kOllama };

// A refusal as the protocol writes it.
std::string error_body(Protocol protocol, const Refusal& refusal);
Protocol protocol_of(std::string_view path);

// Routes are functions of this kind. They throw Refusal.
using Route = void (*)(Service& service, const HttpRequest& request,
                       const std::shared_ptr<Reply>& reply);

// The body as a JSON object; Refusal, 400, for anything else, or one that is nested too deep.
ordered_json body_of(const HttpRequest& request);
// JSON text, on one line; bytes that are no UTF-8 become U+FFFD.
std::string text_of(const ordered_json& json);
void send_json(const std::shared_ptr<Reply>& reply, const ordered_json& json, int status = 200);

// A field's value; the other where it is not there or null. Refusal, 400, naming it, for a wrong
// type. Numbers may come as text, which some clients send.
double number_field(const ordered_json& object, const char* name, double otherwise);
int64_t integer_field(const ordered_json& object, const char* name, int64_t otherwise);
bool flag_field(const ordered_json& object, const char* name, bool otherwise);
std::string text_field(const ordered_json& object, const char* name, std::string otherwise = {});
// Null where it is not there.
const ordered_json& field(const ordered_json& object, const char* name);
// One text or a list of them.
std::vector<std::string> texts_field(const ordered_json& object, const char* name);
// "5m", "1h30m", seconds as a number or text; negative: for ever.
std::optional<std::chrono::seconds> duration_field(const ordered_json& object, const char* name);

// The model that a request names.
std::shared_ptr<const ServedModel> model_of(Service& service, const ordered_json& body);
// What the model's file asks for, and over it the request's fields under OpenAI's, llama.cpp's and
// ollama's names: temperature, top_k, top_p, min_p, typical_p, repeat_penalty, repeat_last_n,
// frequency_penalty, presence_penalty, dry_*, xtc_*, mirostat*, logit_bias, seed, stop, max_tokens
// (max_completion_tokens, n_predict, num_predict), ignore_eos, cache_prompt.
void read_sampling(const ordered_json& body, AnswerRequest& request);
// response_format, json_schema, grammar.
void read_format(const ordered_json& body, AnswerRequest& request);
// A format as ollama has it: "json", or a schema.
void read_ollama_format(const ordered_json& format, AnswerRequest& request);
// Tools in OpenAI's form; types that are no functions are left out, and told of in the log.
void read_tools(Service& service, const ordered_json& tools, AnswerRequest& request);
void read_thinking(const ordered_json& body, AnswerRequest& request);

// A whole number between these; Refusal naming the field otherwise.
int bounded_field(const ordered_json& object, const char* name, int least, int most,
                  int64_t otherwise);
constexpr int kMostLogprobs = 20;  // tokens that are told beside a chosen one
// n.
void read_choices(const ordered_json& body, AnswerRequest& request);
// stream_options.include_usage.
bool wants_usage(const ordered_json& body);
// One of the tools has to be called; name: this one, if it is not empty. Refusal without tools.
void require_tool(AnswerRequest& request, std::string name);
// A token of the model's vocabulary. Refusal naming the field otherwise.
int32_t token_of(const ordered_json& token, const text::Tokenizer& tokenizer, const char* name);

// "chatcmpl-" and 24 letters and digits at random.
std::string new_id(std::string_view prefix);
int64_t unix_seconds();
// 2026-11-29T20:43:00.123456789Z
std::string iso_time(std::chrono::system_clock::time_point time);

ordered_json timings_of(const engine::Completion& completion);
// OpenAI's usage of all choices together.
ordered_json usage_of(const std::vector<Choice>& choices);

// A sink that speaks to one client. An error has the protocol's form: with its status as long as
// nothing has been said, then as the last that the stream says.
class ReplySink : public AnswerSink {
 public:
  ReplySink(Protocol protocol, std::shared_ptr<Reply> reply)
      : reply_(std::move(reply)), protocol_(protocol) {}
  void failed(const Refusal& why) override;

 protected:
  // Server-sent events, or of ollama's lines of JSON.
  void begin_stream();
  bool streams() const { return begun_; }
  // An event without a name; of ollama's a line.
  void say(const ordered_json& body) { reply_->write(framed(text_of(body))); }

  std::shared_ptr<Reply> reply_;

 private:
  std::string framed(std::string_view text) const;

  Protocol protocol_;
  bool begun_ = false;
};

// The middle of a text between a prefix and a suffix, in the model's own tokens. Refusal where it
// has none.
std::vector<int32_t> infill_prompt(const ServedModel& model, std::string_view prefix,
                                   std::string_view suffix);
bool can_infill(const ServedModel& model);

// The protocols' routes.
void openai_chat(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void openai_completions(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void openai_responses(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void openai_embeddings(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void openai_models(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void openai_model(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void anthropic_messages(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void anthropic_count_tokens(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void ollama_chat(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void ollama_generate(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void ollama_embed(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void ollama_tags(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void ollama_show(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void ollama_ps(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void ollama_version(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void ollama_pull(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void ollama_delete(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void native_health(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void native_completion(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void native_embedding(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void native_tokenize(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void native_detokenize(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void native_apply_template(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void native_props(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void native_slots(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);
void native_metrics(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);

}  // namespace outboard::server
