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
#include "engine/speculation.h"
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
  // Writes the Program, instead of the family that the file names.
  std::function<program::Program(const formats::Model&)> build = {};
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
  // 64 hex digits for its files' path, size and time of change (not their content, which would have
  // to be read).
  std::string identity() const;
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
  // Its two steps: the prompt's text, and that text tokenized.
  text::TracedText chat_prompt(const std::vector<text::Message>& messages,
                               const text::ChatOptions& options = {}) const;
  std::vector<int32_t> prompt_tokens(const text::TracedText& prompt) const;
  bool has_chat_template() const { return file_->metadata.contains("tokenizer.chat_template"); }
  // Throws Error when the model has none, or one that can't be parsed.
  const text::ChatTemplate& chat_template() const;

 private:
  Model() = default;

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
  kFailed,  // Completion::error says why
};
std::string_view name_of(Finish finish);  // "stop", "stop_string", "length", "context_full" ...

// As in devices::Sampling; the order of the filters stands there. From frequency_penalty on the
// choice is made on the host (engine/host_sampler.h), which costs a row of logits a token.
struct SamplingSettings {
  float temperature = 0.8F;  // 0: always the most likely token
  int top_k = 40;
  float top_p = 0.95F;
  float min_p = 0.05F;
  float repeat_penalty = 1;
  int repeat_last = 64;         // tokens that the penalties look back on
  float frequency_penalty = 0;  // off a token's logit for each time that it stands there
  float presence_penalty = 0;   // off it once
  float typical_p = 1;          // devices::HostFilters
  float xtc_probability = 0;
  float xtc_threshold = 0.1F;
  // "Don't repeat yourself": a token that would make the text's end, n tokens long, repeat what
  // stood before loses multiplier * base^(n - allowed_length), from n = allowed_length on.
  float dry_multiplier = 0;
  float dry_base = 1.75F;
  int dry_allowed_length = 2;
  int dry_last = -1;  // tokens it looks back on; -1: all
  std::vector<std::string> dry_breakers = {"\n", ":", "\"", "*"};
  int mirostat = 0;  // 1 or 2: devices::Mirostat instead of the filters
  float mirostat_tau = 5;
  float mirostat_eta = 0.1F;
  std::vector<std::pair<int32_t, float>> logit_bias;  // added to these tokens' logits

  // Throws Error naming the first value that is out of range.
  void check() const;
};

// What the model's file asks for (metadata general.sampling.*, as llama.cpp's converter writes it
// from generation_config.json), and the defaults above where it is silent. Throws Error for values
// out of range. unheard, where given, gets the keys that ask for filters that are not here.
SamplingSettings sampling_of(const formats::Metadata& metadata,
                             std::vector<std::string>* unheard = nullptr);

struct TokenLogprob {
  int32_t token;
  float log_probability;  // over all tokens, before penalties, filters and temperature
  std::vector<devices::Candidate> top;  // the likeliest, in falling order
};

// Text of an answer as it grows.
struct Piece {
  std::string_view text;
  // A control token's own spelling, `<|channel|>`; else text that tokens stand for.
  bool is_marker = false;
  std::span<const TokenLogprob> logprobs;  // of the tokens since the last piece, where asked for
};

// How a model that thinks before it answers ends that, and what may be done about it.
struct Thinking {
  std::string end;              // what its thinking ends with, markers included: "</think>"
  int budget = -1;              // tokens of thinking, then it is ended; -1: as many as it likes
  std::vector<int32_t> ending;  // tokens that are then put behind what it said; hold `end`
  std::vector<int32_t> after;   // tokens that are put behind its end, however it came
};

// What becomes of a text's hidden states (program::hidden_states()) where it is embedded.
enum class Pooling : uint8_t {
  kNone,   // nothing: a row a token
  kMean,   // one row: their mean
  kFirst,  // the first token's ("cls")
  kLast,   // the last token's
};
std::string_view name_of(Pooling pooling);  // "none", "mean", "cls", "last", as llama.cpp has them
// What the model's file asks for (metadata ARCH.pooling_type, llama.cpp's numbers); none: nothing,
// as files of models that were made for answers do. Throws Error for a type that is not here.
std::optional<Pooling> pooling_of(const formats::Metadata& metadata);

struct Request : SamplingSettings {
  std::vector<int32_t> prompt;      // at least one token
  int max_tokens = -1;              // -1: until the model ends or the context is full
  std::optional<uint64_t> seed;     // none: a random one, told in the Completion
  std::vector<std::string> stop;    // the answer ends before the first of these
  bool ignore_end_of_text = false;  // for measuring; a text with a grammar ends all the same
  // The answer is a text of this grammar, unless it is cut (Finish::kLength and the like); none:
  // any. It holds from the answer's first token on, or from the end of its thinking.
  std::shared_ptr<const grammar::Grammar> grammar;
  std::optional<Thinking> thinking;  // the answer begins inside it
  bool use_prefix_cache = true;      // false: all of the prompt is computed
  int logprobs = -1;                 // how many of the likeliest tokens to tell; -1: no logprobs
  Pooling pooling = Pooling::kMean;  // in a session that embeds
  // Called with whole UTF-8 characters as the answer grows; text that may be the start of a stop
  // string waits.
  std::function<void(std::string_view)> on_text;
  // The same with markers between, and log probabilities.
  std::function<void(const Piece&)> on_piece;
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
  int cached_tokens = 0;               // of the prompt, not computed again
  double prompt_seconds = 0;           // from the first step to the first token
  double decode_seconds = 0;           // from the first token to the last
  int decoded_tokens = 0;              // tokens chosen in decode_seconds
  int drafted_tokens = 0;              // guesses that the model was asked about (speculation.h)
  int accepted_tokens = 0;             // those that it would have chosen itself
  std::vector<TokenLogprob> logprobs;  // one a token, where asked for
  std::vector<float> states;           // in a session that embeds: rows of the model's width
  std::optional<Error> error;          // Finish::kFailed
};

// The longest context for which `room` (Device::room()) has the keys and values, at most what the
// model was trained for; some of the room is left for all else. room 0, unknown: 8192 positions at
// most. 0: not even a short one.
// slots: that are kept beside them, where the model has some.
// Of layers that look back over a window only so many positions are kept as one sequence and what
// is kept for later ones take (SessionOptions::window_positions).
int fitting_context(const program::Program& program, uint64_t room, int slots = 1);

// Bytes of keys and values that a session of one sequence of so many positions keeps, in half
// precision.
uint64_t kv_bytes(const program::Program& program, int64_t context);

struct SessionOptions {
  int context = 0;        // positions a sequence; 0: as many as fit (fitting_context())
  int max_sequences = 1;  // run together in one step
  int max_step_tokens = 512;
  int max_rows = 0;  // rows of logits a step; 0: as many as sequences
  bool prefix_cache = true;
  // Positions that all sequences hold together, the kept ones too; 0: as many as they can take. Of
  // fewer the youngest sequences give theirs up when the room is needed, and are computed again
  // later. At least one context.
  int cache_positions = 0;
  // Of layers that look back over a window: positions that are kept beyond those that sequences at
  // work see. From texts that are finished one can go on where the window before is still there.
  // -1: of eight windows, at least 8192. Where that is not less than all, all are kept.
  int window_positions = -1;
  // Where beginnings of texts are kept between programs, and after the device lost them (see
  // page_store.h); empty: nowhere.
  std::filesystem::path cache_folder;
  uint64_t cache_bytes = uint64_t{8} << 30;  // most that is kept there
  // Of a model whose layers keep more of a text than keys and values: so many places in texts that
  // a later sequence can go on from (of others it computes all again). Each costs a slot; -1: as
  // many as an eighth of the device's room takes, 2 to 32.
  int snapshots = -1;
  // While one sequence alone is answering: guesses of how it goes on are computed with it, and
  // those that the model would have chosen are its answer. Its text is what it is without.
  Speculation speculation = Speculation::kOff;
  std::shared_ptr<const Model> draft;  // for Speculation::kDraft
  int draft_tokens = 0;                // guesses a step, at most kMaxDraft; 0: as many as gain
  // Its texts are read and not answered: a Completion has their hidden states, pooled, and no text.
  // Nothing is kept of them.
  bool embeds = false;
};

using SequenceId = uint64_t;

struct SequenceStatus {
  SequenceId id;
  bool waits;  // for a place
  int prompt_tokens;
  int computed;  // positions
  int answered;  // tokens
};

// Runs sequences, many in one step: each step takes the next token of every sequence that is
// answering, and as much of the waiting prompts as fits, of which the oldest has at least half and
// then the shortest come first. Keys and values lie in pages that
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
  // Runs one step; false when there is nothing to run. A sequence whose logits (or states) are NaN
  // or infinite fails with an error that names the part of the model where that began
  // (engine/not_finite.h), and so does one whose grammar wants what no token begins with; the
  // others go on. Throws Error when the device fails for good: then nothing more can be run here.
  bool step();
  // A finished sequence's completion, once; none while it runs.
  std::optional<Completion> take(SequenceId id);
  // add, step until done, take; throws the completion's error.
  Completion generate(Request request);
  // Keeps in SessionOptions::cache_folder what is not there yet; nothing where there is none. Takes
  // a while: for when there is nothing to run. `stop` is polled between pages. Throws Error when it
  // can't be written.
  void save_cache(const std::function<bool()>& stop = {});
  // Those that are not finished, in order of arrival.
  std::vector<SequenceStatus> status() const;

  // For when the device is lost: gives back all that is on it. Sequences stay, and nothing but
  // adopt() may be done with them.
  void detach();
  // Goes on with the sequences of a detached session, under their ids: from the prompt and what was
  // answered already, which is computed again. REQUIRES: that was a session of the same model,
  // with the same options; this one is new.
  void adopt(Session& detached);

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
