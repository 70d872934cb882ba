#include "server/api.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <mutex>
#include <random>

#include "grammar/json_schema.h"
#include "support/json.h"

namespace outboard::server {

std::string error_body(Protocol protocol, const Refusal& refusal) {
  const int status = refusal.status();
  switch (protocol) {
    case Protocol::kOllama:
      return text_of({{"error", refusal.message()}});
    case Protocol::kAnthropic: {
      const char* type = status == 400   ? "invalid_request_error"
                         : status == 401 ? "authentication_error"
                         : status == 403 ? "permission_error"
                         : status == 404 ? "not_found_error"
                         : status == 413 ? "request_too_large"
                         : status == 503 ? "overloaded_error"
                                         : "api_error";
      return text_of(
          {{"type", "error"}, {"error", {{"type", type}, {"message", refusal.message()}}}});
    }
    case Protocol::kOpenAi:
      break;
  }
  const char* type = status == 401   ? "authentication_error"
                     : status == 403 ? "permission_error"
                     : status == 404 ? "not_found_error"
                     : status == 503 ? "unavailable_error"
                     : status < 500  ? "invalid_request_error"
                                     : "server_error";
  ordered_json error{{"message", refusal.message()}, {"type", type}};
  const auto or_null = [](const std::string& text) {
    return text.empty() ? ordered_json(nullptr) : ordered_json(text);
  };
  error["param"] = or_null(refusal.parameter());
  error["code"] = or_null(refusal.code());
  return text_of({{"error", error}});
}

Protocol protocol_of(std::string_view path) {
  if (path.starts_with("/v1/messages")) return Protocol::kAnthropic;
  return path.starts_with("/api/") ? Protocol::kOllama : Protocol::kOpenAi;
}

ordered_json body_of(const HttpRequest& request) {
  constexpr int kDeepest = 128;
  ordered_json body;
  try {
    body = parse_json(request.body, kDeepest);
  } catch (const Error& e) {
    refuse("the body is {}", e.message());
  }
  if (!body.is_object()) refuse("the body is no JSON object");
  return body;
}

std::string text_of(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

void send_json(const std::shared_ptr<Reply>& reply, const ordered_json& json, int status) {
  reply->send(status, "application/json", text_of(json));
}

const ordered_json& field(const ordered_json& object, const char* name) {
  static const ordered_json kNull;
  const auto it = object.find(name);
  return it == object.end() ? kNull : *it;
}

namespace {

[[noreturn]] void wrong_type(const char* name, const char* expected, const ordered_json& found) {
  throw Refusal(400, fmt::format("{}: {} was expected, not {}", name, expected, found.type_name()),
                "invalid_type", name);
}

}  // namespace

double number_field(const ordered_json& object, const char* name, double otherwise) {
  const ordered_json& value = field(object, name);
  if (value.is_null()) return otherwise;
  if (value.is_number()) {
    const double number = value.get<double>();
    if (!std::isfinite(number)) refuse("{}: {} is no number to work with", name, number);
    return number;
  }
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    if (!text.empty() && *end == '\0' && std::isfinite(number)) return number;
  }
  wrong_type(name, "a number", value);
}

int64_t integer_field(const ordered_json& object, const char* name, int64_t otherwise) {
  const ordered_json& value = field(object, name);
  if (value.is_null()) return otherwise;
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX})
    throw Refusal(400, fmt::format("{}: {} is too large", name, value.get<uint64_t>()), "", name);
  if (value.is_number_integer()) return value.get<int64_t>();
  constexpr double kExact = 9007199254740992.0;
  const double number = number_field(object, name, 0);
  if (number != std::floor(number) || std::abs(number) > kExact)
    wrong_type(name, "a whole number", value);
  return static_cast<int64_t>(number);
}

bool flag_field(const ordered_json& object, const char* name, bool otherwise) {
  const ordered_json& value = field(object, name);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) wrong_type(name, "true or false", value);
  return value.get<bool>();
}

std::string text_field(const ordered_json& object, const char* name, std::string otherwise) {
  const ordered_json& value = field(object, name);
  if (value.is_null()) return otherwise;
  if (!value.is_string()) wrong_type(name, "a text", value);
  return value.get<std::string>();
}

std::vector<std::string> texts_field(const ordered_json& object, const char* name) {
  const ordered_json& value = field(object, name);
  if (value.is_null()) return {};
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array()) wrong_type(name, "a text or a list of texts", value);
  std::vector<std::string> texts;
  for (const ordered_json& text : value) {
    if (!text.is_string()) wrong_type(name, "a list of texts", text);
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::optional<std::chrono::seconds> duration_field(const ordered_json& object, const char* name) {
  const ordered_json& value = field(object, name);
  if (value.is_null()) return std::nullopt;
  if (value.is_number()) return read_duration(name, fmt::format("{:.0f}", value.get<double>()));
  if (!value.is_string()) wrong_type(name, "a duration like \"5m\"", value);
  return read_duration(name, value.get_ref<const std::string&>());
}

std::shared_ptr<const ServedModel> model_of(Service& service, const ordered_json& body) {
  return service.find(text_field(body, "model"));
}

namespace {

// The first of these names that is there.
const char* either(const ordered_json& body, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (!field(body, name).is_null()) return name;
  return *names.begin();
}

void read_logit_bias(const ordered_json& bias, AnswerRequest& request) {
  if (bias.is_null()) return;
  const text::Tokenizer& tokenizer = request.model->model->tokenizer();
  const auto add = [&](const ordered_json& token, const ordered_json& value) {
    if (!value.is_number() && value != false) wrong_type("logit_bias", "a number", value);
    // llama.cpp: false bans a token.
    const float amount = value.is_boolean() ? -INFINITY : value.get<float>();
    std::vector<int32_t> ids;
    if (token.is_number_integer()) {
      ids.push_back(token.get<int32_t>());
    } else if (token.is_string()) {
      const std::string& text = token.get_ref<const std::string&>();
      int32_t id = 0;
      const auto read = std::from_chars(text.data(), text.data() + text.size(), id);
      if (read.ec == std::errc() && read.ptr == text.data() + text.size()) {
        ids.push_back(id);
      } else {
        ids = tokenizer.encode(text, false, true);
      }
    } else {
      wrong_type("logit_bias", "a token", token);
    }
    for (const int32_t id : ids) {
      if (id < 0 || static_cast<size_t>(id) >= tokenizer.vocabulary_size())
        throw Refusal(400, fmt::format("logit_bias: there is no token {}", id), "", "logit_bias");
      request.sampling.logit_bias.emplace_back(id, amount);
    }
  };
  if (bias.is_object()) {
    for (const auto& [token, value] : bias.items()) add(token, value);
  } else if (bias.is_array()) {
    for (const ordered_json& pair : bias) {
      if (!pair.is_array() || pair.size() != 2) wrong_type("logit_bias", "[token, bias]", pair);
      add(pair[0], pair[1]);
    }
  } else {
    wrong_type("logit_bias", "an object of biases by token", bias);
  }
}

}  // namespace

void read_sampling(const ordered_json& body, AnswerRequest& request) {
  engine::SamplingSettings& s = request.sampling;
  s = engine::sampling_of(request.model->model->file().metadata);
  const auto real = [&](std::initializer_list<const char*> names, float& value) {
    value = static_cast<float>(number_field(body, either(body, names), value));
  };
  const auto whole = [&](std::initializer_list<const char*> names, int& value) {
    const char* name = either(body, names);
    const int64_t number = integer_field(body, name, value);
    if (number < INT32_MIN || number > INT32_MAX)
      throw Refusal(400, fmt::format("{}: {} is out of range", name, number), "", name);
    value = static_cast<int>(number);
  };
  real({"temperature"}, s.temperature);
  whole({"top_k"}, s.top_k);
  s.top_k = std::max(0, s.top_k);  // llama.cpp: 0 and less stand for all
  real({"top_p"}, s.top_p);
  real({"min_p"}, s.min_p);
  real({"typical_p", "typ_p"}, s.typical_p);
  real({"repeat_penalty", "repetition_penalty"}, s.repeat_penalty);
  whole({"repeat_last_n"}, s.repeat_last);
  if (s.repeat_last < 0) s.repeat_last = INT32_MAX;
  real({"frequency_penalty"}, s.frequency_penalty);
  real({"presence_penalty"}, s.presence_penalty);
  real({"xtc_probability"}, s.xtc_probability);
  real({"xtc_threshold"}, s.xtc_threshold);
  real({"dry_multiplier"}, s.dry_multiplier);
  real({"dry_base"}, s.dry_base);
  whole({"dry_allowed_length"}, s.dry_allowed_length);
  whole({"dry_penalty_last_n"}, s.dry_last);
  if (!field(body, "dry_sequence_breakers").is_null())
    s.dry_breakers = texts_field(body, "dry_sequence_breakers");
  whole({"mirostat"}, s.mirostat);
  real({"mirostat_tau"}, s.mirostat_tau);
  real({"mirostat_eta"}, s.mirostat_eta);
  read_logit_bias(field(body, "logit_bias"), request);
  const int64_t seed = integer_field(body, "seed", -1);
  if (seed >= 0) request.seed = static_cast<uint64_t>(seed);
  request.stop = texts_field(body, "stop");
  std::erase(request.stop, "");
  whole({"max_completion_tokens", "max_tokens", "max_output_tokens", "n_predict", "num_predict"},
        request.max_tokens);
  if (request.max_tokens < -1) request.max_tokens = -1;  // ollama: -2, until the context is full
  request.ignore_end_of_text = flag_field(body, "ignore_eos", false);
  request.cache_prompt = flag_field(body, "cache_prompt", true);
  try {
    s.check();
  } catch (const Error& e) {
    throw Refusal(400, e.message(), "", e.message().substr(0, e.message().find(':')));
  }
}

void read_format(const ordered_json& body, AnswerRequest& request) {
  const ordered_json& format = field(body, "response_format");
  const ordered_json& schema = field(body, "json_schema");
  const std::string gbnf = text_field(body, "grammar");
  int asked = 0;
  if (!format.is_null()) {
    if (!format.is_object()) wrong_type("response_format", "an object", format);
    const std::string type = text_field(format, "type");
    if (type == "json_object") {
      // llama.cpp takes a schema here, too.
      const ordered_json& more = field(format, "schema");
      request.grammar = more.is_null() ? grammar::any_json(true) : grammar_of_schema(more);
      ++asked;
    } else if (type == "json_schema") {
      const ordered_json& named = field(format, "json_schema");
      const ordered_json& inner = field(named.is_object() ? named : format, "schema");
      if (inner.is_null()) refuse("response_format: json_schema.schema is missing");
      request.grammar = grammar_of_schema(inner);
      ++asked;
    } else if (type != "text") {
      refuse(
          "response_format: the type \"{}\" is not known, expected text, json_object or "
          "json_schema",
          type);
    }
  }
  if (!schema.is_null()) request.grammar = grammar_of_schema(schema), ++asked;
  if (!gbnf.empty()) request.grammar = grammar_of_gbnf(gbnf), ++asked;
  if (asked > 1) refuse("response_format, json_schema and grammar: one of them at a time");
}

void read_ollama_format(const ordered_json& format, AnswerRequest& request) {
  if (format.is_null() || format == "") return;
  if (format == "json") {
    request.grammar = grammar::any_json(true);
  } else if (format.is_object()) {
    request.grammar = grammar_of_schema(format);
  } else {
    refuse("format: \"json\" or a JSON schema was expected");
  }
}

void read_tools(Service& service, const ordered_json& tools, AnswerRequest& request) {
  if (tools.is_null()) return;
  if (!tools.is_array()) wrong_type("tools", "a list", tools);
  request.tools = ordered_json::array();
  for (const ordered_json& tool : tools) {
    if (!tool.is_object()) wrong_type("tools", "a list of objects", tool);
    const std::string type = text_field(tool, "type", "function");
    if (type != "function") {
      // Search and the like run on their makers' servers; clients name them all the same.
      if (service.options().log)
        service.options().log(fmt::format("a tool of the type \"{}\" is left out", type));
      continue;
    }
    const ordered_json& function = field(tool, "function");
    if (!function.is_object() || text_field(function, "name").empty())
      throw Refusal(400, "tools: a function has no name", "", "tools");
    request.strict_tools |= flag_field(function, "strict", false);
    request.tools.push_back({{"type", "function"}, {"function", function}});
  }
}

void read_thinking(const ordered_json& body, AnswerRequest& request) {
  const auto effort = [&](const std::string& word) {
    if (word.empty()) return;
    request.thinking.effort = word;
    request.thinking.on = word != "none";
  };
  effort(text_field(body, "reasoning_effort"));
  const ordered_json& reasoning = field(body, "reasoning");  // OpenRouter's and the Responses'
  if (reasoning.is_object()) {
    effort(text_field(reasoning, "effort"));
    if (const ordered_json& on = field(reasoning, "enabled"); on.is_boolean())
      request.thinking.on = on.get<bool>();
    request.thinking_budget =
        static_cast<int>(std::min<int64_t>(integer_field(reasoning, "max_tokens", -1), INT32_MAX));
  }
  for (const char* name : {"thinking_budget_tokens", "thinking_budget", "reasoning_budget"})
    if (!field(body, name).is_null())
      request.thinking_budget =
          static_cast<int>(std::clamp<int64_t>(integer_field(body, name, -1), -1, INT32_MAX));
  if (request.thinking_budget == 0) request.thinking.on = false;
  const ordered_json& variables = field(body, "chat_template_kwargs");
  if (variables.is_null()) return;
  if (!variables.is_object()) wrong_type("chat_template_kwargs", "an object", variables);
  request.variables = variables;
  for (const char* name : {"enable_thinking", "thinking"})
    if (const ordered_json& on = field(variables, name); on.is_boolean())
      request.thinking.on = on.get<bool>();
}

int bounded_field(const ordered_json& object, const char* name, int least, int most,
                  int64_t otherwise) {
  const int64_t value = integer_field(object, name, otherwise);
  if (value < least || value > most)
    throw Refusal(400, fmt::format("{}: {}, expected {} to {}", name, value, least, most), "",
                  name);
  return static_cast<int>(value);
}

void read_choices(const ordered_json& body, AnswerRequest& request) {
  constexpr int kMost = 128;
  request.choices = bounded_field(body, "n", 1, kMost, 1);
}

bool wants_usage(const ordered_json& body) {
  const ordered_json& options = field(body, "stream_options");
  return options.is_object() && flag_field(options, "include_usage", false);
}

void require_tool(AnswerRequest& request, std::string name) {
  request.tool_use = ToolUse::kRequired;
  request.tool_name = std::move(name);
  if (request.tools.is_null() || request.tools.empty())
    throw Refusal(400, "tool_choice: there are no tools to choose from", "", "tool_choice");
}

int32_t token_of(const ordered_json& token, const text::Tokenizer& tokenizer, const char* name) {
  const int64_t id = token.is_number_integer() ? token.get<int64_t>() : -1;
  if (id < 0 || static_cast<size_t>(id) >= tokenizer.vocabulary_size())
    throw Refusal(400, fmt::format("{}: there is no token {}", name, text_of(token)), "", name);
  return static_cast<int32_t>(id);
}

void ReplySink::failed(const Refusal& why) {
  const std::string body = error_body(protocol_, why);
  if (!begun_) return reply_->send(why.status(), "application/json", body);
  reply_->write((protocol_ == Protocol::kAnthropic ? "event: error\n" : "") + framed(body));
  reply_->end();
}

void ReplySink::begin_stream() {
  begun_ = true;
  if (protocol_ == Protocol::kOllama) return reply_->begin(200, "application/x-ndjson");
  // Said while nothing else is: a comment, or what Anthropic has for that.
  reply_->begin(200, "text/event-stream", {{"Cache-Control", "no-cache"}},
                protocol_ == Protocol::kAnthropic ? "event: ping\ndata: {\"type\":\"ping\"}\n\n"
                                                  : ": waiting\n\n");
}

std::string ReplySink::framed(std::string_view text) const {
  return protocol_ == Protocol::kOllama ? fmt::format("{}\n", text)
                                        : fmt::format("data: {}\n\n", text);
}

std::string new_id(std::string_view prefix) {
  static constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  static std::mutex mutex;
  static std::mt19937_64 random{std::random_device{}()};
  const std::lock_guard lock(mutex);
  std::string id(prefix);
  std::uniform_int_distribution<size_t> pick(0, kLetters.size() - 1);
  for (int i = 0; i < 24; ++i) id += kLetters[pick(random)];
  return id;
}

int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string iso_time(std::chrono::system_clock::time_point time) {
  const auto since = time.time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds);
  const std::time_t whole = seconds.count();
  std::tm parts{};
  gmtime_r(&whole, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     nanoseconds.count());
}

ordered_json timings_of(const engine::Completion& c) {
  const auto rate = [](double count, double seconds) { return seconds > 0 ? count / seconds : 0; };
  const int computed = c.prompt_tokens - c.cached_tokens;
  const auto answered = static_cast<double>(c.tokens.size());
  ordered_json timings{{"cache_n", c.cached_tokens},
                       {"prompt_n", computed},
                       {"prompt_ms", c.prompt_seconds * 1e3},
                       {"prompt_per_token_ms", rate(c.prompt_seconds * 1e3, computed)},
                       {"prompt_per_second", rate(computed, c.prompt_seconds)},
                       {"predicted_n", c.tokens.size()},
                       {"predicted_ms", c.decode_seconds * 1e3},
                       {"predicted_per_token_ms", rate(c.decode_seconds * 1e3, answered)},
                       {"predicted_per_second", rate(c.decoded_tokens, c.decode_seconds)}};
  if (c.drafted_tokens > 0) {
    timings["draft_n"] = c.drafted_tokens;
    timings["draft_n_accepted"] = c.accepted_tokens;
  }
  return timings;
}

ordered_json usage_of(const std::vector<Choice>& choices) {
  size_t answered = 0;
  size_t thought = 0;
  for (const Choice& choice : choices) {
    answered += choice.completion.tokens.size();
    thought += choice.reasoning_tokens;
  }
  const engine::Completion& first = choices.front().completion;
  return {{"prompt_tokens", first.prompt_tokens},
          {"completion_tokens", answered},
          {"total_tokens", static_cast<size_t>(first.prompt_tokens) + answered},
          {"prompt_tokens_details", {{"cached_tokens", first.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", thought}}}};
}

namespace {

// The token of a part of an infill prompt: by the file's key, else by the names that families use.
int32_t infill_token(const ServedModel& model, std::initializer_list<const char*> keys,
                     std::initializer_list<const char*> names) {
  const formats::Metadata& metadata = model.model->file().metadata;
  for (const char* key : keys)
    if (metadata.contains(key)) return static_cast<int32_t>(metadata.get_int(key));
  for (const char* name : names)
    if (const int32_t id = model.model->tokenizer().find_token(name); id >= 0) return id;
  return -1;
}

struct InfillTokens {
  int32_t prefix, suffix, middle;
};
InfillTokens infill_tokens(const ServedModel& model) {
  return {infill_token(model, {"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"},
                       {"<|fim_prefix|>", "<fim_prefix>", "<fim-prefix>", "<|fim▁begin|>", "<PRE>",
                        "▁<PRE>", "<|code_prefix|>"}),
          infill_token(model, {"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"},
                       {"<|fim_suffix|>", "<fim_suffix>", "<fim-suffix>", "<|fim▁hole|>", "<SUF>",
                        "▁<SUF>", "<|code_suffix|>"}),
          infill_token(model, {"tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"},
                       {"<|fim_middle|>", "<fim_middle>", "<fim-middle>", "<|fim▁end|>", "<MID>",
                        "▁<MID>", "<|code_middle|>"})};
}

}  // namespace

bool can_infill(const ServedModel& model) {
  const InfillTokens tokens = infill_tokens(model);
  return tokens.prefix >= 0 && tokens.suffix >= 0 && tokens.middle >= 0;
}

std::vector<int32_t> infill_prompt(const ServedModel& model, std::string_view prefix,
                                   std::string_view suffix) {
  if (!can_infill(model))
    throw Refusal(400, fmt::format("{} has no tokens for filling in the middle", model.name), "",
                  "suffix");
  const InfillTokens tokens = infill_tokens(model);
  const text::Tokenizer& tokenizer = model.model->tokenizer();
  std::vector<int32_t> ids;
  if (tokenizer.adds_bos()) ids.push_back(tokenizer.bos());
  const auto add = [&](std::string_view text) {
    const auto more = tokenizer.encode(text, false, false);
    ids.insert(ids.end(), more.begin(), more.end());
  };
  ids.push_back(tokens.prefix);
  add(prefix);
  ids.push_back(tokens.suffix);
  add(suffix);
  ids.push_back(tokens.middle);
  return ids;
}

}  // namespace outboard::server
