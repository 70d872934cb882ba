#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include "capi/outboard.h"
#include "engine/engine.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "hub/hub.h"
#include "machine/open.h"
#include "support/error.h"

using outboard::Error;
namespace engine = outboard::engine;

struct outboard_model {
  std::shared_ptr<const engine::Model> model;
  outboard::machine::Opened opened;
  std::unique_ptr<engine::Session> session;  // gone before its device
  std::string device;
};

namespace {

thread_local std::string last_error;

// The call's value, or `failed` with what was thrown in outboard_error(): nothing may be thrown
// through a caller in another language.
template <typename Value, typename Call>
Value guarded(Value failed, const Call& call) {
  try {
    return call();
  } catch (const Error& e) {
    last_error = e.message() + (e.hint().empty() ? "" : " " + e.hint());
  } catch (const std::bad_alloc&) {
    last_error = "out of memory";
  } catch (const std::exception& e) {
    last_error = e.what();
  }
  return failed;
}

template <typename Object>
const Object& given(const Object* object, const char* name) {
  if (object == nullptr) outboard::fail("{} is NULL", name);
  return *object;
}

std::vector<int32_t> prompt_of(const engine::Model& model, const outboard_request& request) {
  const int forms = (request.messages != nullptr ? 1 : 0) + (request.prompt != nullptr ? 1 : 0) +
                    (request.tokens != nullptr ? 1 : 0);
  if (forms != 1)
    throw Error(
        fmt::format("a request has messages, a prompt or tokens: {} of them are set", forms),
        "Set one.");
  if (request.tokens != nullptr) return {request.tokens, request.tokens + request.token_count};
  if (request.prompt != nullptr) return model.tokenizer().encode(request.prompt, true, false);
  std::vector<outboard::text::Message> messages;
  for (size_t i = 0; i < request.message_count; ++i) {
    const outboard_message& message = request.messages[i];
    messages.push_back({given(&message, "a message").role == nullptr ? "user" : message.role,
                        message.content == nullptr ? "" : message.content});
  }
  return model.chat_tokens(messages);
}

engine::Request engine_request(const engine::Model& model, const outboard_request& request) {
  engine::Request out;
  static_cast<engine::SamplingSettings&>(out) = engine::sampling_of(model.file().metadata);
  out.prompt = prompt_of(model, request);
  for (const int32_t token : out.prompt)
    if (token < 0 || static_cast<size_t>(token) >= model.tokenizer().vocabulary_size())
      outboard::fail("token {}: the model has 0 to {}", token,
                     model.tokenizer().vocabulary_size() - 1);
  out.max_tokens = request.max_tokens;
  out.temperature = request.temperature;
  out.top_k = request.top_k;
  out.top_p = request.top_p;
  out.min_p = request.min_p;
  out.repeat_penalty = request.repeat_penalty;
  if (request.seed >= 0) out.seed = static_cast<uint64_t>(request.seed);
  for (size_t i = 0; i < request.stop_count; ++i)
    out.stop.emplace_back(given(request.stop[i], "a stop string") == '\0' ? "" : request.stop[i]);
  if (request.json_schema != nullptr && request.grammar != nullptr)
    outboard::fail("an answer has a schema or a grammar, not both");
  if (request.json_schema != nullptr)
    out.grammar = outboard::grammar::compile_schema_text(request.json_schema).grammar;
  if (request.grammar != nullptr) out.grammar = outboard::grammar::parse_gbnf(request.grammar);
  return out;
}

}  // namespace

const char* outboard_error(void) { return last_error.c_str(); }

const char* outboard_version(void) { return OUTBOARD_VERSION; }

outboard_model* outboard_load(const char* model, const char* device, int context) {
  return guarded<outboard_model*>(nullptr, [&] {
    auto made = std::make_unique<outboard_model>();
    (void)given(model, "the model's name");
    made->model = engine::Model::load(outboard::hub::find_model(model));
    (void)made->model->tokenizer();  // an Error for a translation model
    made->opened = outboard::machine::open_device(device == nullptr ? "auto" : device);
    made->device = made->opened.device->description();
    engine::SessionOptions options;
    options.context = context;
    made->session = std::make_unique<engine::Session>(made->model, *made->opened.device, options);
    return made.release();
  });
}

void outboard_free(outboard_model* model) {
  guarded(0, [&] {
    const std::unique_ptr<outboard_model> last(model);
    return 0;
  });
}

const char* outboard_device(const outboard_model* model) {
  return model == nullptr ? "" : model->device.c_str();
}

int outboard_context(const outboard_model* model) {
  return guarded(-1, [&] { return given(model, "the model").session->context(); });
}

void outboard_request_init(const outboard_model* model, outboard_request* request) {
  if (request == nullptr) return;
  *request = {};
  engine::SamplingSettings settings;
  guarded(0, [&] {
    settings = engine::sampling_of(given(model, "the model").model->file().metadata);
    return 0;
  });
  request->max_tokens = -1;
  request->temperature = settings.temperature;
  request->top_k = settings.top_k;
  request->top_p = settings.top_p;
  request->min_p = settings.min_p;
  request->repeat_penalty = settings.repeat_penalty;
  request->seed = -1;
}

int outboard_generate(outboard_model* model, const outboard_request* request,
                      outboard_text_function on_text, void* user, outboard_result* result) {
  return guarded(-1, [&] {
    (void)given(model, "the model");
    engine::Request made = engine_request(*model->model, given(request, "the request"));
    std::atomic<bool> enough{false};
    made.cancel = &enough;
    if (on_text != nullptr)
      made.on_text = [&](std::string_view text) {
        if (enough) return;
        const std::string ended(text);
        enough = on_text(ended.c_str(), ended.size(), user) != 0;
      };
    const engine::Completion completion = model->session->generate(std::move(made));
    if (result != nullptr) {
      result->finish = engine::name_of(completion.finish).data();  // of a literal
      result->prompt_tokens = completion.prompt_tokens;
      result->cached_tokens = completion.cached_tokens;
      result->answer_tokens = static_cast<int>(completion.tokens.size());
      result->prompt_seconds = completion.prompt_seconds;
      result->answer_seconds = completion.decode_seconds;
    }
    return 0;
  });
}

int64_t outboard_tokenize(const outboard_model* model, const char* text, size_t bytes,
                          int32_t* tokens, size_t capacity) {
  return guarded<int64_t>(-1, [&] {
    const std::string_view whole(bytes == 0 ? "" : &given(text, "the text"), bytes);
    const auto ids = given(model, "the model").model->tokenizer().encode(whole, true, false);
    if (tokens != nullptr) std::copy_n(ids.begin(), std::min(capacity, ids.size()), tokens);
    return static_cast<int64_t>(ids.size());
  });
}

int64_t outboard_detokenize(const outboard_model* model, const int32_t* tokens, size_t token_count,
                            char* text, size_t capacity) {
  return guarded<int64_t>(-1, [&] {
    if (token_count > 0) (void)given(tokens, "the tokens");
    const auto& tokenizer = given(model, "the model").model->tokenizer();
    for (size_t i = 0; i < token_count; ++i)
      if (tokens[i] < 0 || static_cast<size_t>(tokens[i]) >= tokenizer.vocabulary_size())
        outboard::fail("token {}: the model has 0 to {}", tokens[i],
                       tokenizer.vocabulary_size() - 1);
    const std::string whole = tokenizer.decode({tokens, token_count});
    if (text != nullptr) std::copy_n(whole.data(), std::min(capacity, whole.size()), text);
    return static_cast<int64_t>(whole.size());
  });
}
