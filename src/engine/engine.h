// Outboard as a library: load a model, run sequences, get text.
//
//   #include <iostream>
//   #include "engine/engine.h"
//   #include "machine/open.h"
//   int main() {
//     auto model = outboard::engine::Model::load("smollm2.gguf");
//     auto opened = outboard::machine::open_device("auto");
//     outboard::engine::Session session(model, *opened.device);
//     outboard::engine::Request request;
//     request.prompt = model->chat_tokens({{"user", "Why is the sky blue?"}});
//     request.on_text = [](std::string_view text) { std::cout << text << std::flush; };
//     session.generate(std::move(request));
//   }
//
// Everything here throws outboard::Error (support/error.h) with a message for people.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "devices/device.h"
#include "formats/model_file.h"
#include "grammar/grammar.h"
#include "program/program.h"
#include "text/chat_template.h"
#include "text/marian_tokenizer.h"
#include "text/tokenizer.h"

namespace outboard::engine {

struct LoadOptions {
  // Go on with a model that asks for what Outboard does not know, instead of an Error that names
  // it; on_notice is told what is left out.
  bool ignore_unknown = false;
  std::function<void(std::string_view)> on_notice;  // something that the person may want to know
};

// Keys of the tokenizer and of sampling that ask for what is not here, appended to `unknown`.
void add_unheard(const formats::Metadata& metadata, std::vector<std::string>& unknown);

// What becomes of what a model asks for and nobody knows: an Error that names all of it
// (formats::refuse_unknown()), or with `ignore` a line each to `tell`, which also gets the notes of
// the file's reader. `tell` may be empty.
void judge_unknown(const formats::Model& model, std::span<const std::string> unknown, bool ignore,
                   const std::function<void(std::string_view)>& tell);

// A model file with its Program, tokenizer and chat template. It knows no device: many sessions may
// share one, on several devices. Safe to use from many threads.
class Model {
 public:
  // Throws Error where the file is wrong, or asks for what is not known, unless that may be
  // ignored.
  static std::shared_ptr<const Model> load(const std::filesystem::path& path,
                                           const LoadOptions& options = {});

  const formats::Model& file() const { return *file_; }
  std::shared_ptr<const formats::Model> shared_file() const { return file_; }
  const program::Program& program() const { return program_; }
  // Of a language model; throws Error for a translation model.
  const text::Tokenizer& tokenizer() const;
  // Of a translation model (see engine/translator.h); throws Error for a language model.
  const text::MarianTokenizer& translation_tokenizer() const;
  bool translates() const { return marian_tokenizer_ != nullptr; }

  // A conversation as the model's own chat template writes it, tokenized. Only the template's own
  // text becomes control tokens; what messages, tools and variables spell stays text, unless
  // options.trust_markers. Throws Error when the model has no template.
  std::vector<int32_t> chat_tokens(const std::vector<text::Message>& messages,
                                   const text::ChatOptions& options = {}) const;
  bool has_chat_template() const { return file_->metadata.contains("tokenizer.chat_template"); }

 private:
  Model() = default;
  const text::ChatTemplate& chat_template() const;

  std::shared_ptr<const formats::Model> file_;
  program::Program program_;
  std::unique_ptr<text::Tokenizer> tokenizer_;  // one of the two
  std::unique_ptr<text::MarianTokenizer> marian_tokenizer_;
  // Parsed when it is first asked for: a broken one harms nobody who has no conversations.
  mutable std::mutex chat_template_mutex_;
  mutable std::optional<text::ChatTemplate> chat_template_;
};

enum class Finish : uint8_t {
  kEndOfText,    // the model ended its answer
  kStopString,   // one of Request::stop
  kLength,       // max_tokens
  kContextFull,  // prompt and answer fill the context
  kCancelled,
};
std::string_view name_of(Finish finish);  // "stop", "stop_string", "length", "context_full" ...

// As in devices::Sampling; the order of the filters stands there.
struct SamplingSettings {
  float temperature = 0.8F;  // 0: always the most likely token
  int top_k = 40;
  float top_p = 0.95F;
  float min_p = 0.05F;
  float repeat_penalty = 1;
  int repeat_last = 64;  // tokens that the penalty looks back on
};

// What the model's file asks for (metadata general.sampling.*, as llama.cpp's converter writes it
// from generation_config.json), and the defaults above where it is silent. Throws Error for values
// out of range. unheard, where given, gets the keys that ask for filters that are not here.
SamplingSettings sampling_of(const formats::Metadata& metadata,
                             std::vector<std::string>* unheard = nullptr);

struct Request : SamplingSettings {
  std::vector<int32_t> prompt;      // at least one token
  int max_tokens = -1;              // -1: until the model ends or the context is full
  std::optional<uint64_t> seed;     // none: a random one, told in the Completion
  std::vector<std::string> stop;    // the answer ends before the first of these
  bool ignore_end_of_text = false;  // for measuring; a text with a grammar ends all the same
  // The answer is a text of this grammar, unless it is cut (Finish::kLength and the like); none:
  // any. It holds from the answer's first token on, also where a model would think first.
  std::shared_ptr<const grammar::Grammar> grammar;
  // Called with whole UTF-8 characters as the answer grows; text that may be the start of a stop
  // string waits.
  std::function<void(std::string_view)> on_text;
  // Polled before every step; must outlive the sequence. Safe to set in a signal handler.
  const std::atomic<bool>* cancel = nullptr;
};

struct Completion {
  std::string text;
  std::vector<int32_t> tokens;  // chosen tokens, without the one that ended the text
  Finish finish = Finish::kEndOfText;
  std::string stop_string;  // the one that was met
  uint64_t seed = 0;
  int prompt_tokens = 0;
  int cached_tokens = 0;      // of the prompt, not computed again
  double prompt_seconds = 0;  // from the first step to the first token
  double decode_seconds = 0;  // from the first token to the last
  int decoded_tokens = 0;     // tokens chosen in decode_seconds
};

struct SessionOptions {
  int context = 0;        // positions a sequence; 0: the model's own, at most 8192
  int max_sequences = 1;  // run together in one step
  int max_step_tokens = 512;
  int max_rows = 0;  // rows of logits a step; 0: as many as sequences
  bool prefix_cache = true;
};

using SequenceId = uint64_t;

// Runs sequences, many in one step: each step takes the next token of every sequence that is
// answering, and as much of the waiting prompts as fits. Keys and values lie in pages that
// sequences with the same beginning share; the pages of finished sequences are kept until the room
// is needed, so the next turn of a conversation computes only what is new. One thread at a time.
class Session {
 public:
  // The device is borrowed: it outlives the session, and others may use it between their steps.
  Session(std::shared_ptr<const Model> model, devices::Device& device,
          const SessionOptions& options = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Queues a request. Throws Error when the prompt is empty or does not fit the context.
  SequenceId add(Request request);
  // Runs one step; false when there is nothing to run. Throws Error where a sequence's logits are
  // NaN or infinite, naming the part of the model where that began (engine/not_finite.h); that
  // sequence is gone, the others go on with the next step.
  bool step();
  // A finished sequence's completion, once; none while it runs.
  std::optional<Completion> take(SequenceId id);
  // add, step until done, take.
  Completion generate(Request request);

  // Logits of every token of one text, from position 0. Calls rows(first, logits) with the logits
  // [n, vocabulary] of tokens first to first + n - 1, in order, with the padding rows of the output
  // matrix. Throws Error when the tokens do not fit the context, and where logits are NaN or
  // infinite, as step().
  void evaluate(std::span<const int32_t> tokens,
                const std::function<void(size_t first, std::span<const float> logits)>& rows);

  int context() const;
  devices::MemoryUse memory() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outboard::engine
