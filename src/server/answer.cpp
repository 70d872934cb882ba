#include "server/answer.h"

#include <algorithm>
#include <list>

#include "chat/tool_grammar.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"

namespace outboard::server {

using nlohmann::ordered_json;

namespace {

// Prompts of late, to say where one differs from that which it continues: clients that change what
// they have said already are the usual reason for a slow answer.
class CacheWatch {
 public:
  // What to tell of this prompt, if anything.
  std::string look(const ServedModel& model, const std::vector<int32_t>& prompt, int cached) {
    const std::lock_guard lock(mutex_);
    const Seen* nearest = nullptr;
    size_t common = 0;
    for (const Seen& seen : seen_) {
      if (seen.model != model.name) continue;
      const auto n =
          static_cast<size_t>(std::ranges::mismatch(seen.prompt, prompt).in1 - seen.prompt.begin());
      if (n > common) common = n, nearest = &seen;
    }
    std::string text;
    constexpr size_t kShown = 24;
    // Beyond a page, so that a shared system message is not taken for a conversation.
    constexpr size_t kPage = 32;
    if (nearest != nullptr && common >= kPage && common + kPage < nearest->prompt.size() &&
        static_cast<size_t>(cached) < nearest->prompt.size()) {
      const text::Tokenizer& tokenizer = model.model->tokenizer();
      const auto part = [&](const std::vector<int32_t>& tokens) {
        const auto rest = std::span(tokens).subspan(common);
        return ordered_json(tokenizer.decode(rest.first(std::min(kShown, rest.size())), true))
            .dump(-1, ' ', false, ordered_json::error_handler_t::replace);
      };
      text = fmt::format(
          "cache: {} of {} tokens were known; an earlier prompt of {} tokens goes on differently "
          "behind {}: it had {}, now {}",
          cached, prompt.size(), nearest->prompt.size(), common, part(nearest->prompt),
          part(prompt));
    }
    constexpr size_t kKept = 32;
    seen_.push_front({model.name, prompt});
    if (seen_.size() > kKept) seen_.pop_back();
    return text;
  }

 private:
  struct Seen {
    std::string model;
    std::vector<int32_t> prompt;
  };
  std::mutex mutex_;
  std::list<Seen> seen_;
};

CacheWatch& cache_watch() {
  static CacheWatch watch;
  return watch;
}

std::shared_ptr<const grammar::Grammar> grammar_of_tools(const chat::Format& format,
                                                         const ordered_json& tools,
                                                         const chat::ToolChoice& choice);

// All answers to one request.
class AnswerRun : public std::enable_shared_from_this<AnswerRun> {
 public:
  AnswerRun(Service& service, AnswerRequest request, std::shared_ptr<AnswerSink> sink)
      : service_(service), request_(std::move(request)), sink_(std::move(sink)) {}

  void start(const std::shared_ptr<Reply>& reply) {
    prompt_ =
        request_.messages.is_null() ? Prompt{"", request_.prompt, false} : make_prompt(request_);
    if (prompt_.tokens.empty()) refuse("the prompt is empty: it needs at least one token");
    if (prompt_.tokens.size() >= static_cast<size_t>(request_.model->context))
      throw Refusal(400,
                    fmt::format("the prompt has {} tokens, but the context holds {}",
                                prompt_.tokens.size(), request_.model->context),
                    "context_length_exceeded", "messages");
    const engine::Request made = engine_request();
    made.check();
    choices_.resize(static_cast<size_t>(request_.choices));
    for (size_t i = 0; i < choices_.size(); ++i) {
      if (!request_.messages.is_null()) {
        chat::ReaderOptions options;
        options.thinking_open = prompt_.thinking_open;
        options.parse_tools = has_tools();
        options.tools = request_.tools;
        options.calls_are_held = request_.calls_may_grow && options.parse_tools &&
                                 (request_.strict_tools || request_.tool_use == ToolUse::kRequired);
        readers_.emplace_back(request_.model->format, std::move(options));
      }
      jobs_.push_back(make_job(i, made));
    }
    reply->on_gone([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->cancel();
    });
    const std::shared_ptr<Job> first = jobs_.front();
    try {
      service_.submit(first);
    } catch (const Refusal&) {
      forget();
      throw;
    }
  }

  void cancel() {
    const std::lock_guard lock(mutex_);
    for (const auto& job : jobs_) job->cancel = true;
  }

 private:
  engine::Request engine_request() {
    const ServedModel& model = *request_.model;
    engine::Request out;
    static_cast<engine::SamplingSettings&>(out) = request_.sampling;
    out.max_tokens = request_.max_tokens;
    out.stop = request_.stop;
    out.ignore_end_of_text = request_.ignore_end_of_text;
    out.logprobs = request_.logprobs;
    out.use_prefix_cache = request_.cache_prompt;
    out.grammar = request_.grammar;
    const std::optional<chat::Thinking>& marks = model.format.thinking;
    const bool chats = !request_.messages.is_null();
    const bool holds_calls = request_.tool_use == ToolUse::kRequired ||
                             (request_.tool_use == ToolUse::kAuto && request_.strict_tools);
    const bool thinks = marks && request_.thinking.on.value_or(true);
    if (chats && holds_calls && out.grammar)
      refuse("a format for the answer and a tool that has to be called, or is strict: not both");
    if (chats && thinks && (out.grammar || request_.thinking_budget >= 0))
      out.thinking = begin_thinking(holds_calls || (has_tools() && !out.grammar));
    if (chats && holds_calls) {
      chat::ToolChoice choice;
      choice.required = request_.tool_use == ToolUse::kRequired;
      choice.name = request_.tool_name;
      // One function that is named is called once, as OpenAI's models do.
      choice.parallel = request_.parallel_tools && request_.tool_name.empty();
      using Thinks = chat::ToolChoice::Thinking;
      choice.thinking = out.thinking            ? Thinks::kNone  // the grammar begins behind it
                        : prompt_.thinking_open ? Thinks::kIsOpen
                        : thinks                ? Thinks::kMayOpen
                                                : Thinks::kNone;
      out.grammar = grammar_of_tools(model.format, request_.tools, choice);
    } else if (chats && out.grammar && !out.thinking && has_channels()) {
      add_to_prompt(kFinalChannel);
    }
    out.prompt = prompt_.tokens;
    return out;
  }

  bool has_tools() const {
    return request_.tools.is_array() && !request_.tools.empty() &&
           request_.tool_use != ToolUse::kNone;
  }

  // Harmony's header of what a person reads.
  static constexpr std::string_view kFinalChannel = "<|channel|>final<|message|>";

  bool has_channels() const {
    return request_.model->format.calls.body == chat::CallBody::kChannels;
  }
  std::vector<int32_t> encoded(std::string_view markers) const {
    return request_.model->model->tokenizer().encode(markers, false, true);
  }
  void add_to_prompt(std::string_view markers) {
    const auto tokens = encoded(markers);
    prompt_.tokens.insert(prompt_.tokens.end(), tokens.begin(), tokens.end());
  }

  // Thinking that a grammar has to begin behind, or that has a budget, begins at once, so that it
  // is known where it ends. None where the model is not told to think and may or may not.
  std::optional<engine::Thinking> begin_thinking(bool calls_may_follow) {
    const chat::Format& format = request_.model->format;
    if (!prompt_.thinking_open && may_begin_thinking()) {
      add_to_prompt(format.thinking->open);
      prompt_.thinking_open = true;
    }
    if (!prompt_.thinking_open) return std::nullopt;
    engine::Thinking thinking;
    thinking.end = chat::thinking_end(format);
    thinking.budget = request_.thinking_budget;
    if (has_channels()) {
      thinking.ending = encoded(thinking.end);
      std::string next = "<|start|>assistant";  // and a channel, or who is called
      if (!calls_may_follow) next += kFinalChannel;
      thinking.after = encoded(next);
    } else {
      thinking.ending = encoded("\n" + thinking.end + "\n\n");
    }
    return thinking;
  }

  // Where the person says that it is to think, or the template asks whether it is; in channels
  // models think by themselves.
  bool may_begin_thinking() const {
    if (has_channels()) return true;
    if (request_.thinking.on.value_or(false) || request_.thinking_budget > 0) return true;
    chat::ThinkingChoice on;
    on.on = true;
    return chat::thinking_variables(request_.model->format, on).has_value();
  }

  std::shared_ptr<Job> make_job(size_t index, const engine::Request& made) {
    auto job = std::make_shared<Job>();
    job->model = request_.model;
    job->request = made;
    if (request_.seed) job->request.seed = *request_.seed + index;
    job->keep_alive = request_.keep_alive;
    const auto self = shared_from_this();
    job->started = [self] {
      if (std::exchange(self->started_, true)) return;
      self->sink_->started(static_cast<int>(self->prompt_.tokens.size()));
    };
    job->piece = [self, index](const engine::Piece& piece) {
      self->start_others();
      self->hear(index, piece);
    };
    job->done = [self, index](engine::Completion&& completion) {
      self->start_others();
      self->end(index, std::move(completion));
    };
    job->failed = [self](const Refusal& why) { self->fail(why); };
    return job;
  }

  // Jobs know this, and this knows them: at the end it lets go.
  void forget() {
    const std::lock_guard lock(mutex_);
    jobs_.clear();
  }

  // The first has computed the prompt: the others share its pages.
  void start_others() {
    if (std::exchange(others_started_, true)) return;
    std::vector<std::shared_ptr<Job>> others;
    {
      const std::lock_guard lock(mutex_);
      if (!jobs_.empty()) others.assign(jobs_.begin() + 1, jobs_.end());
    }
    for (const auto& job : others) {
      try {
        service_.submit(job);
      } catch (const Refusal& e) {
        return fail(e);
      }
    }
  }

  void hear(size_t index, const engine::Piece& piece) {
    if (readers_.empty()) {
      if (!piece.is_marker)
        tell(index, {chat::Event::Kind::kContent, std::string(piece.text), 0, "", ""},
             piece.logprobs);
      return;
    }
    const auto events = readers_[index].feed(piece.text, piece.is_marker);
    tell(index, events, piece.logprobs);
  }

  void tell(size_t index, const std::vector<chat::Event>& events,
            std::span<const engine::TokenLogprob> logprobs) {
    for (const chat::Event& event : events) {
      tell(index, event, logprobs);
      logprobs = {};
    }
  }

  void tell(size_t index, const chat::Event& event,
            std::span<const engine::TokenLogprob> logprobs) {
    Choice& choice = choices_[index];
    using Kind = chat::Event::Kind;
    switch (event.kind) {
      case Kind::kReasoning:
        choice.reasoning += event.text;
        break;
      case Kind::kContent:
        choice.content += event.text;
        break;
      case Kind::kCallBegin:
        choice.calls.push_back({event.id, event.name, ""});
        break;
      case Kind::kCallArguments:
        choice.calls.back().arguments += event.text;
        break;
      case Kind::kCallEnd:
        break;
    }
    if (!failed_) sink_->event(index, event, logprobs);
  }

  void end(size_t index, engine::Completion&& completion) {
    if (!readers_.empty()) tell(index, readers_[index].finish(), {});
    Choice& choice = choices_[index];
    choice.completion = std::move(completion);
    choice.reasoning_tokens =
        request_.model->model->tokenizer().encode(choice.reasoning, false, false).size();
    switch (choice.completion.finish) {
      case engine::Finish::kLength:
      case engine::Finish::kContextFull:
      case engine::Finish::kCancelled:
      case engine::Finish::kFailed:
        choice.finish = "length";
        break;
      case engine::Finish::kEndOfText:
      case engine::Finish::kStopString:
        choice.finish = choice.calls.empty() ? "stop" : "tool_calls";
        break;
    }
    log(choice);
    if (failed_) return;
    sink_->choice_done(index, choice);
    if (++ended_ < choices_.size()) return;
    forget();
    sink_->done(choices_);
  }

  void fail(const Refusal& why) {
    if (std::exchange(failed_, true)) return;
    cancel();
    forget();
    sink_->failed(why);
  }

  void log(const Choice& choice) const {
    const ServiceOptions& options = service_.options();
    const engine::Completion& c = choice.completion;
    if (options.log_work) {
      const auto speed = [](int count, double seconds) {
        return seconds > 0 ? count / seconds : 0;
      };
      options.log_work(fmt::format(
          "{}  {}  prompt {} ({} known), {:.0f} tokens/s; answer {}, {:.1f} tokens/s; {}{}",
          request_.route, request_.model->name, c.prompt_tokens, c.cached_tokens,
          speed(c.prompt_tokens - c.cached_tokens, c.prompt_seconds), c.tokens.size(),
          speed(c.decoded_tokens, c.decode_seconds), engine::name_of(c.finish),
          choice.calls.empty() ? "" : fmt::format("; {} tool calls", choice.calls.size())));
    }
    if (options.log_prompts && options.log)
      options.log(fmt::format("prompt: {}\nanswer: {}",
                              request_.model->model->tokenizer().decode(prompt_.tokens, true),
                              c.text));
    if (options.log_cache && options.log) {
      const std::string broke =
          cache_watch().look(*request_.model, prompt_.tokens, c.cached_tokens);
      if (!broke.empty()) options.log(broke);
    }
  }

  Service& service_;
  AnswerRequest request_;
  std::shared_ptr<AnswerSink> sink_;
  Prompt prompt_;
  std::vector<chat::AnswerReader> readers_;  // one a choice, or none for a plain prompt
  std::vector<Choice> choices_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Job>> jobs_;  // until the end
  size_t ended_ = 0;
  bool started_ = false, others_started_ = false, failed_ = false;
};

// Grammars take a while to make, and clients send the same schema again and again.
template <typename Make>
std::shared_ptr<const grammar::Grammar> kept(const std::string& key, const char* parameter,
                                             const Make& make) {
  static std::mutex mutex;
  static std::list<std::pair<std::string, std::shared_ptr<const grammar::Grammar>>> known;
  {
    const std::lock_guard lock(mutex);
    for (const auto& [text, grammar] : known)
      if (text == key) return grammar;
  }
  std::shared_ptr<const grammar::Grammar> made;
  try {
    made = make();
  } catch (const Error& e) {
    throw Refusal(400, e.message(), "", parameter);
  }
  constexpr size_t kKept = 32;
  const std::lock_guard lock(mutex);
  known.emplace_front(key, made);
  if (known.size() > kKept) known.pop_back();
  return made;
}

std::shared_ptr<const grammar::Grammar> grammar_of_tools(const chat::Format& format,
                                                         const ordered_json& tools,
                                                         const chat::ToolChoice& choice) {
  const std::string key =
      fmt::format("tools {} {} {} {} {} {}", format.template_source, choice.name, choice.required,
                  choice.parallel, static_cast<int>(choice.thinking), tools.dump());
  return kept(key, "tools", [&] { return chat::tool_grammar(format, tools, choice).grammar; });
}

}  // namespace

std::shared_ptr<const grammar::Grammar> grammar_of_schema(const ordered_json& schema) {
  return kept("schema " + schema.dump(), "response_format",
              [&] { return grammar::compile_schema(schema).grammar; });
}

std::shared_ptr<const grammar::Grammar> grammar_of_gbnf(const std::string& text) {
  return kept("gbnf " + text, "grammar", [&] { return grammar::parse_gbnf(text); });
}

Prompt make_prompt(const AnswerRequest& request) {
  const ServedModel& model = *request.model;
  if (!model.model->has_chat_template())
    refuse(
        "{} has no chat template: it continues texts (/v1/completions) and holds no conversations",
        model.name);
  text::ChatOptions options;
  options.add_generation_prompt = !request.continues;
  if (request.tools.is_array() && !request.tools.empty() && request.tool_use != ToolUse::kNone)
    options.tools = request.tools;
  Prompt prompt;
  try {
    if (request.thinking.on || !request.thinking.effort.empty())
      if (const auto variables = chat::thinking_variables(model.format, request.thinking))
        options.variables.update(*variables);
    options.variables.update(request.variables);
    text::TracedText text = model.model->chat_prompt(
        chat::prepare(request.messages, model.format, model.abilities), options);
    if (request.continues) {
      // What the template writes behind the last message is left out.
      const std::string& said = request.messages.back().at("content").get_ref<const std::string&>();
      const size_t at = text.bytes().rfind(said);
      if (said.empty() || at == std::string::npos)
        refuse("this model's template changes the message that is to be continued");
      text = text.part(0, at + said.size());
    }
    prompt.tokens = model.model->prompt_tokens(text);
    prompt.thinking_open = model.format.thinking_open(text.bytes());
    prompt.text = text.bytes();
  } catch (const Refusal&) {
    throw;
  } catch (const Error& e) {
    throw Refusal(400, e.message(), "", "messages");
  }
  return prompt;
}

void start_answer(Service& service, AnswerRequest request, std::shared_ptr<AnswerSink> sink,
                  const std::shared_ptr<Reply>& reply) {
  std::make_shared<AnswerRun>(service, std::move(request), std::move(sink))->start(reply);
}

}  // namespace outboard::server
