// Embeddings of texts, as OpenAI's, ollama's and llama.cpp's clients ask for them: hidden states
// behind the final norm, pooled.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "server/api.h"

namespace outboard::server {
namespace {

struct EmbedRequest {
  std::shared_ptr<const ServedModel> model;
  std::string route;
  std::vector<std::vector<int32_t>> texts;
  int norm = 2;  // llama.cpp's numbers: -1 none, 0 the greatest becomes 32760, else the p-norm
  int dimensions = 0;  // the first so many alone; 0: all
  std::optional<std::chrono::seconds> keep_alive;
};

struct Embedded {
  std::vector<std::vector<float>> rows;  // of one text: one, or one a token
  int tokens = 0;
};

struct EmbedResult {
  std::vector<Embedded> texts;
  int tokens = 0;
  double load_seconds = 0, seconds = 0;  // until the model was there; in all
};

void normalize(std::span<float> row, int norm) {
  if (norm < 0) return;
  double length = 0;
  if (norm == 0) {
    for (const float x : row) length = std::max(length, std::abs(static_cast<double>(x)));
    length /= 32760;
  } else {
    for (const float x : row) length += std::pow(std::abs(static_cast<double>(x)), norm);
    length = std::pow(length, 1.0 / norm);
  }
  for (float& x : row) x = length > 0 ? static_cast<float>(x / length) : 0;
}

// All texts of a request. So many are under way at a time that others get their turns.
class EmbedRun : public std::enable_shared_from_this<EmbedRun> {
 public:
  using Done = std::function<void(const EmbedResult&)>;
  EmbedRun(Service& service, EmbedRequest request, Protocol protocol, std::shared_ptr<Reply> reply,
           Done done)
      : service_(service),
        request_(std::move(request)),
        protocol_(protocol),
        reply_(std::move(reply)),
        done_(std::move(done)) {}

  void start() {
    result_.texts.resize(request_.texts.size());
    reply_->on_gone([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->cancel();
    });
    std::shared_ptr<Job> first;
    {
      const std::lock_guard lock(mutex_);
      first = next_job();
    }
    service_.submit(first);  // a refusal is the caller's to tell
  }

 private:
  // Under the mutex.
  std::shared_ptr<Job> next_job() {
    if (next_ == request_.texts.size() || ended_) return nullptr;
    const size_t index = next_++;
    auto job = std::make_shared<Job>();
    job->model = request_.model;
    job->embeds = true;
    job->request.prompt = request_.texts[index];
    job->request.pooling = request_.model->pooling;
    job->keep_alive = request_.keep_alive;
    const auto self = shared_from_this();
    job->started = [self] { self->go_on(true); };
    job->done = [self, index](engine::Completion&& completion) {
      self->take(index, std::move(completion));
    };
    job->failed = [self](const Refusal& why) { self->fail(why); };
    jobs_.push_back(job);
    return job;
  }

  // Called by the service's thread.
  void go_on(bool first) {
    if (first && !std::exchange(started_, true)) result_.load_seconds = seconds_since_begin();
    constexpr size_t kAtATime = 8;
    for (;;) {
      std::shared_ptr<Job> job;
      {
        const std::lock_guard lock(mutex_);
        if (next_ >= taken_ + kAtATime) return;
        job = next_job();
      }
      if (job == nullptr) return;
      try {
        service_.submit(job);
      } catch (const Refusal& e) {
        return fail(e);
      }
    }
  }

  void take(size_t index, engine::Completion&& completion) {
    Embedded& text = result_.texts[index];
    text.tokens = completion.prompt_tokens;
    const auto width = static_cast<size_t>(request_.model->model->program().width);
    const size_t kept = request_.dimensions > 0 ? static_cast<size_t>(request_.dimensions) : width;
    for (size_t at = 0; at < completion.states.size(); at += width) {
      const auto row = std::span(completion.states).subspan(at, kept);
      text.rows.emplace_back(row.begin(), row.end());
      if (request_.model->pooling != engine::Pooling::kNone)
        normalize(text.rows.back(), request_.norm);
    }
    result_.tokens += text.tokens;
    {
      const std::lock_guard lock(mutex_);
      ++taken_;
    }
    // Or the client has gone, and hears nothing.
    if (completion.finish == engine::Finish::kCancelled)
      return fail(Refusal(503, "the server is stopping"));
    if (taken_ < request_.texts.size()) return go_on(false);
    forget();
    result_.seconds = seconds_since_begin();
    if (service_.options().log_work)
      service_.options().log_work(fmt::format(
          "{}  {}  {} texts, {} tokens, {:.0f} tokens/s", request_.route, request_.model->name,
          request_.texts.size(), result_.tokens, result_.tokens / std::max(1e-9, result_.seconds)));
    done_(result_);
  }

  void fail(const Refusal& why) {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(ended_, true)) return;
    }
    cancel();
    forget();
    reply_->send(why.status(), "application/json", error_body(protocol_, why));
  }

  void cancel() {
    const std::lock_guard lock(mutex_);
    for (const auto& job : jobs_) job->cancel = true;
    next_ = request_.texts.size();
  }
  // Jobs know this, and this knows them: at the end it lets go.
  void forget() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    jobs_.clear();
  }
  double seconds_since_begin() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

  Service& service_;
  const EmbedRequest request_;
  const Protocol protocol_;
  const std::shared_ptr<Reply> reply_;
  const Done done_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::mutex mutex_;  // of these:
  std::vector<std::shared_ptr<Job>> jobs_;
  size_t next_ = 0;   // text that has no job yet
  size_t taken_ = 0;  // texts that are done
  bool ended_ = false;
  // Of the service's thread:
  bool started_ = false;
  EmbedResult result_;
};

void start(Service& service, EmbedRequest request, Protocol protocol,
           const std::shared_ptr<Reply>& reply, EmbedRun::Done done) {
  const auto most = static_cast<size_t>(request.model->context);
  for (size_t i = 0; i < request.texts.size(); ++i) {
    if (request.texts[i].empty())
      throw Refusal(400, fmt::format("input: text {} is empty", i), "", "input");
    if (request.texts[i].size() > most)
      throw Refusal(400,
                    fmt::format("input: text {} has {} tokens, but the context holds {}", i,
                                request.texts[i].size(), most),
                    "context_length_exceeded", "input");
  }
  std::make_shared<EmbedRun>(service, std::move(request), protocol, reply, std::move(done))
      ->start();
}

// One text or list of tokens, or a list of either.
std::vector<std::vector<int32_t>> texts_of(const ServedModel& model, const ordered_json& input,
                                           const char* name) {
  const text::Tokenizer& tokenizer = model.model->tokenizer();
  const auto is_text = [](const ordered_json& value) {
    return value.is_string() ||
           (value.is_array() && !value.empty() &&
            std::ranges::all_of(value, [](const ordered_json& id) { return id.is_number(); }));
  };
  const auto read = [&](const ordered_json& value) {
    if (!is_text(value))
      throw Refusal(400, fmt::format("{}: texts or lists of tokens were expected", name), "", name);
    if (value.is_string()) return tokenizer.encode(value.get_ref<const std::string&>(), true, true);
    std::vector<int32_t> ids;
    for (const ordered_json& id : value) ids.push_back(token_of(id, tokenizer, name));
    return ids;
  };
  if (is_text(input)) return {read(input)};
  if (!input.is_array() || input.empty())
    throw Refusal(
        400, fmt::format("{}: a text, a list of tokens, or a list of these was expected", name), "",
        name);
  constexpr size_t kMost = 2048;  // OpenAI's
  if (input.size() > kMost)
    throw Refusal(400, fmt::format("{}: {} texts, expected at most {}", name, input.size(), kMost),
                  "", name);
  std::vector<std::vector<int32_t>> texts;
  for (const ordered_json& value : input) texts.push_back(read(value));
  return texts;
}

int dimensions_of(const ServedModel& model, const ordered_json& body) {
  return bounded_field(body, "dimensions", 1, static_cast<int>(model.model->program().width),
                       model.model->program().width);
}

std::string base64(std::span<const float> row) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto bytes = std::as_bytes(row);  // little-endian, as every machine that this runs on
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < count ? std::to_integer<uint32_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) text += k <= count ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace

void openai_embeddings(Service& service, const HttpRequest& http,
                       const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  EmbedRequest request;
  request.route = http.path;
  request.model = model_of(service, body);
  if (request.model->pooling == engine::Pooling::kNone)
    refuse(
        "{} has no pooling (a row a token), which this route can't tell; ask /embedding, or "
        "serve it with --pooling",
        request.model->name);
  request.texts = texts_of(*request.model, field(body, "input"), "input");
  request.dimensions = dimensions_of(*request.model, body);
  request.keep_alive = duration_field(body, "keep_alive");
  const std::string encoding = text_field(body, "encoding_format", "float");
  if (encoding != "float" && encoding != "base64")
    throw Refusal(400, fmt::format("encoding_format: \"{}\", expected float or base64", encoding),
                  "", "encoding_format");
  const bool packed = encoding == "base64";
  const std::string name = request.model->name;
  start(service, std::move(request), Protocol::kOpenAi, reply,
        [reply, packed, name](const EmbedResult& result) {
          ordered_json data = ordered_json::array();
          for (const Embedded& text : result.texts) {
            const std::vector<float>& row = text.rows.front();
            data.push_back({{"object", "embedding"},
                            {"index", data.size()},
                            {"embedding", packed ? ordered_json(base64(row)) : ordered_json(row)}});
          }
          send_json(reply, {{"object", "list"},
                            {"data", data},
                            {"model", name},
                            {"usage",
                             {{"prompt_tokens", result.tokens}, {"total_tokens", result.tokens}}}});
        });
}

// llama.cpp's own: a list of rows a text.
void native_embedding(Service& service, const HttpRequest& http,
                      const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  EmbedRequest request;
  request.route = http.path;
  request.model = model_of(service, body);
  const char* name = field(body, "input").is_null() ? "content" : "input";
  request.texts = texts_of(*request.model, field(body, name), name);
  constexpr int kMostNorm = 1024;
  request.norm = bounded_field(body, "embd_normalize", -1, kMostNorm, 2);
  start(service, std::move(request), Protocol::kOpenAi, reply, [reply](const EmbedResult& result) {
    ordered_json list = ordered_json::array();
    for (const Embedded& text : result.texts)
      list.push_back({{"index", list.size()}, {"embedding", text.rows}});
    send_json(reply, list);
  });
}

void ollama_embed(Service& service, const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  const ordered_json body = body_of(http);
  EmbedRequest request;
  request.route = http.path;
  request.model = model_of(service, body);
  if (request.model->pooling == engine::Pooling::kNone)
    refuse("{} has no pooling (a row a token); serve it with --pooling", request.model->name);
  request.dimensions = dimensions_of(*request.model, body);
  request.keep_alive = duration_field(body, "keep_alive");
  const std::string name = text_field(body, "model", request.model->name);
  // The older route takes one text and does not normalise.
  const bool is_old = http.path == "/api/embeddings";
  const char* input_name = is_old ? "prompt" : "input";
  const ordered_json& input = field(body, input_name);
  if (is_old) request.norm = -1;
  if (is_old && !input.is_null() && !input.is_string()) refuse("prompt: a text was expected");
  const bool is_nothing = input.is_null() || input == "" || (input.is_array() && input.empty());
  if (is_nothing) {  // the model is to be loaded
    service.keep(request.model, request.keep_alive.value_or(service.options().keep_alive));
    const ordered_json none = ordered_json::array();
    return send_json(reply, is_old ? ordered_json{{"embedding", none}}
                                   : ordered_json{{"model", name}, {"embeddings", none}});
  }
  request.texts = texts_of(*request.model, input, input_name);
  if (flag_field(body, "truncate", true))
    for (auto& text : request.texts)
      text.resize(std::min(text.size(), static_cast<size_t>(request.model->context)));
  start(service, std::move(request), Protocol::kOllama, reply,
        [reply, is_old, name](const EmbedResult& result) {
          if (is_old) return send_json(reply, {{"embedding", result.texts.front().rows.front()}});
          ordered_json rows = ordered_json::array();
          for (const Embedded& text : result.texts) rows.push_back(text.rows.front());
          constexpr double kNanoseconds = 1e9;
          send_json(reply,
                    {{"model", name},
                     {"embeddings", rows},
                     {"total_duration", static_cast<int64_t>(result.seconds * kNanoseconds)},
                     {"load_duration", static_cast<int64_t>(result.load_seconds * kNanoseconds)},
                     {"prompt_eval_count", result.tokens}});
        });
}

}  // namespace outboard::server
