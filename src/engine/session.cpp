#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <deque>
#include <random>
#include <utility>

#include "devices/sampler.h"
#include "engine/engine.h"
#include "engine/host_sampler.h"
#include "engine/not_finite.h"
#include "engine/page_pool.h"
#include "engine/page_store.h"
#include "engine/stop_filter.h"
#include "grammar/matcher.h"
#include "program/cost.h"
#include "support/error.h"
#include "support/mapped_file.h"
#include "support/progress.h"
#include "text/stream_decoder.h"

namespace outboard::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPageTokens = 32;
int64_t pages_of(int64_t positions) { return (positions + kPageTokens - 1) / kPageTokens; }
// So often the device may fail again before anything was computed.
constexpr int kPatience = 2;
// Of devices that do not know their memory: enough for long conversations, little enough that the
// keys and values of an 8B model (1 GB) fit beside it.
constexpr int64_t kUsualContext = 8192;

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// One request on its way.
struct Sequence {
  Sequence(SequenceId sequence_id, Request r, const text::Tokenizer& tokenizer)
      : id(sequence_id), request(std::move(r)), decoder(tokenizer), stops(request.stop) {
    completion.seed = request.seed ? *request.seed : std::random_device{}();
    completion.prompt_tokens = static_cast<int>(request.prompt.size());
    random.seed(completion.seed);
    tokens = request.prompt;
    thinks = request.thinking.has_value();
  }

  bool answers() const { return tokens.size() - computed == 1; }
  // Hidden states of the tokens from `first` on, `rows` of them.
  void pool_states(std::span<const float> states, size_t rows, size_t first);

  SequenceId id;
  Request request;
  PagePool::Lease lease;
  text::StreamDecoder decoder;
  StopFilter stops;
  std::optional<grammar::Matcher> matcher;  // where the request has a grammar
  std::span<const uint32_t> mask;   // the matcher's, for the next token; empty while it thinks
  std::optional<HostSampler> host;  // where the device's choice does not do
  bool thinks;                      // the thinking has not ended
  std::string tail;                 // the last of what was thought, where its end is looked for
  size_t told = 0;                  // log probabilities that pieces have had
  std::mt19937_64 random;
  std::vector<int32_t> tokens;  // prompt and answer
  size_t computed = 0;          // tokens whose keys and values are in pages
  size_t in_step = 0;           // tokens of this sequence in the step under way
  std::vector<int32_t> drafts;  // guesses that the model's own head has for the next step
  bool admitted = false;        // at least once
  bool started = false;
  bool finished = false;
  bool broken = false;    // its logits were not finite
  bool stuck = false;     // the grammar wants what no token is
  bool put_back = false;  // its pages were needed
  Completion completion;
  Clock::time_point start;
  Clock::time_point first_token;
};

void Sequence::pool_states(std::span<const float> states, size_t rows, size_t first) {
  const size_t width = states.size() / rows;
  std::vector<float>& pooled = completion.states;
  if (first == 0) pooled.clear();  // also where the device lost what was computed
  const auto last = states.last(width);
  switch (request.pooling) {
    case Pooling::kNone:
      pooled.insert(pooled.end(), states.begin(), states.end());
      break;
    case Pooling::kFirst:
      if (first == 0) pooled.assign(states.begin(), states.begin() + static_cast<ptrdiff_t>(width));
      break;
    case Pooling::kLast:
      pooled.assign(last.begin(), last.end());
      break;
    case Pooling::kMean: {
      const auto share = 1 / static_cast<float>(tokens.size());
      pooled.resize(width);
      for (size_t row = 0; row < rows; ++row)
        for (size_t i = 0; i < width; ++i) pooled[i] += share * states[row * width + i];
      break;
    }
  }
}

// Slots that sequences may have at once: one is for a text that is evaluated. 0: the Program has no
// slot states.
int sequence_slots(const program::Program& program, const SessionOptions& options) {
  return program.slot_states.empty() ? 0 : options.max_sequences + 1;
}

// Slots for what a sequence has come to behind its guesses: as many guesses a step as they are.
int guess_slots(const program::Program& program, const SessionOptions& options, uint64_t room) {
  if (program.slot_states.empty() || options.speculation == Speculation::kOff) return 0;
  constexpr uint64_t kShare = 8, kFewest = 2;
  if (room == 0) return kMaxDraft;
  return static_cast<int>(std::clamp(room / kShare / program.slot_bytes(), kFewest, kMaxDraft));
}

// Sequences' own, snapshots, and those behind guesses.
int all_slots(const program::Program& program, const SessionOptions& options, uint64_t room) {
  const int slots = sequence_slots(program, options);
  return slots > 0 ? slots + options.snapshots + guess_slots(program, options, room) : 0;
}

Speculation settle(Speculation speculation, const program::Program& program,
                   const devices::Device& device, const SessionOptions& options) {
  if (options.embeds) return Speculation::kOff;
  const bool has_drafter = program.drafter_ops > 0;
  switch (speculation) {
    case Speculation::kAuto:
      return has_drafter               ? Speculation::kMtp
             : device.lookahead() == 1 ? Speculation::kLookup
                                       : Speculation::kOff;
    case Speculation::kMtp:
      if (!has_drafter)
        throw Error(
            fmt::format("{} has no head for further tokens (multi-token prediction)", program.name),
            "Use --speculate lookup, or a draft model.");
      return speculation;
    case Speculation::kDraft:
      if (options.draft == nullptr) fail("session: to speculate by a draft needs a draft model");
      return speculation;
    default:
      return speculation;
  }
}

int fitting_snapshots(const program::Program& program, uint64_t room) {
  constexpr uint64_t kUsual = 8, kFewest = 2, kMost = 32, kShare = 8;
  if (room == 0 || program.slot_bytes() == 0) return kUsual;
  return static_cast<int>(std::clamp(room / kShare / program.slot_bytes(), kFewest, kMost));
}

SessionOptions complete(SessionOptions options, const Model& model, const devices::Device& device) {
  const program::Program& program = model.program();
  if (options.context < 0 || options.max_sequences < 1 || options.max_step_tokens < 1)
    fail("session: context {}, {} sequences, {} tokens a step: expected positive numbers",
         options.context, options.max_sequences, options.max_step_tokens);
  const uint64_t room = device.room(&model.file(), &program);
  options.speculation = settle(options.speculation, program, device, options);
  if (options.snapshots < 0) options.snapshots = fitting_snapshots(program, room);
  if (options.context == 0) {
    options.context = fitting_context(program, room, all_slots(program, options, room));
    const size_t elsewhere = device.has_own_memory() ? program::host_table_bytes(program) : 0;
    if (options.context == 0)
      throw Error(fmt::format("{} does not fit: beside its weights ({}) {} are left on the device, "
                              "too little for keys and values",
                              program.name, format_bytes(model.file().tensor_bytes() - elsewhere),
                              format_bytes(room)),
                  "Choose a smaller model or file type, or give a short --ctx.");
  }
  if (options.context > program.context_length)
    throw Error(fmt::format("a context of {} positions was asked for, but {} was trained for {}",
                            options.context, program.name, program.context_length),
                fmt::format("Use --ctx {} or less.", program.context_length));
  // A step longer than the context can't happen; smaller buffers.
  options.max_step_tokens =
      std::max(options.max_sequences, std::min(options.max_step_tokens, options.context));
  options.max_rows = std::max(options.max_rows, options.max_sequences);
  if (options.speculation != Speculation::kOff) {
    constexpr int kMost = static_cast<int>(kMaxDraft) + 1;
    options.max_step_tokens = std::max(options.max_step_tokens, kMost);
    options.max_rows = std::max(options.max_rows, kMost);
  }
  if (options.embeds) {
    options.max_rows = options.max_step_tokens;
    options.prefix_cache = false;  // every token's states are wanted
    options.cache_folder.clear();
  }
  // Each sequence takes whole pages.
  const int64_t most = pages_of(options.context) * kPageTokens * options.max_sequences;
  const int64_t asked = options.cache_positions == 0 ? most : options.cache_positions;
  options.cache_positions = static_cast<int>(
      std::clamp(std::min(asked, most), int64_t{options.context}, int64_t{1} << 30));
  return options;
}

// Which tokens may come next; false where none may.
bool find_mask(Sequence& sequence) {
  if (!sequence.matcher || sequence.thinks) return true;
  sequence.mask = sequence.matcher->mask();
  return std::ranges::any_of(sequence.mask, [](uint32_t word) { return word != 0; });
}

Error stuck_error(std::string_view text) {
  constexpr size_t kShown = 60;
  if (text.size() > kShown) text.remove_prefix(text.size() - kShown);
  return Error(
      fmt::format("the grammar goes on with what no token of this model begins with, after \"{}\"",
                  text),
      "Allow other characters there.");
}

int pages_for(const SessionOptions& options) {
  const int64_t one = pages_of(options.context);
  return static_cast<int>(
      std::max(one, std::min(pages_of(options.cache_positions), one * options.max_sequences)));
}

// Window pages: for the windows of all sequences and of a text that is evaluated or comes from
// disk, what they compute in a step with those that are queued behind it, and what is kept. 0: full
// pages hold all, for no layer has a window or that would be no more.
int window_pages_for(const program::Program& program, const SessionOptions& options) {
  constexpr int64_t kKeptWindows = 8, kLeastKept = 8192, kParts = 2;  // pages begun at both ends
  const int64_t window = program.kv_window();
  if (window == 0) return 0;
  const int64_t kept = options.window_positions >= 0 ? int64_t{options.window_positions}
                                                     : std::max(kKeptWindows * window, kLeastKept);
  const int64_t wanted = (options.max_sequences + 1) * (pages_of(window) + kParts) +
                         pages_of(options.max_step_tokens) + options.max_sequences + pages_of(kept);
  return wanted < pages_for(options) ? static_cast<int>(wanted) : 0;
}

// Bytes of the window pages of one sequence of so many positions; 0: full pages hold all.
uint64_t window_bytes(const program::Program& program, int64_t context) {
  SessionOptions options;
  options.context = options.cache_positions = static_cast<int>(context);
  return static_cast<uint64_t>(window_pages_for(program, options)) * kPageTokens *
         program.window_bytes_per_token();
}

}  // namespace

uint64_t kv_bytes(const program::Program& program, int64_t context) {
  uint64_t a_position = program.kv_bytes_per_token();
  const uint64_t windows = window_bytes(program, context);
  if (windows > 0) a_position -= program.window_bytes_per_token();
  return a_position * static_cast<uint64_t>(context) + windows;
}

int fitting_context(const program::Program& program, uint64_t room, int slots) {
  const int64_t trained = program.context_length;
  if (room == 0) return static_cast<int>(std::min(trained, kUsualContext));
  // Activations of a step, logits, what the system wants.
  constexpr uint64_t kLeast = uint64_t{256} << 20;
  constexpr uint64_t kShare = 16;
  const uint64_t left =
      std::max(kLeast, room / kShare) + program.slot_bytes() * static_cast<uint64_t>(slots);
  if (room <= left) return 0;
  const uint64_t a_position = std::max<uint64_t>(1, program.kv_bytes_per_token());
  uint64_t positions = (room - left) / a_position;
  // Of more positions than windows are kept of, the others take their part alone.
  if (const uint64_t windows = window_bytes(program, trained); windows > 0) {
    const uint64_t others = a_position - program.window_bytes_per_token();
    if (room - left > windows)
      positions = std::max(positions, others == 0 ? static_cast<uint64_t>(trained)
                                                  : (room - left - windows) / others);
  }
  positions = positions / kPageTokens * kPageTokens;
  constexpr int64_t kShortest = 256;
  const auto fits =
      static_cast<int64_t>(std::min<uint64_t>(positions, static_cast<uint64_t>(trained)));
  return fits < std::min(trained, kShortest) ? 0 : static_cast<int>(fits);
}

std::string_view name_of(Finish finish) {
  switch (finish) {
    case Finish::kEndOfText:
      return "stop";
    case Finish::kStopString:
      return "stop_string";
    case Finish::kLength:
      return "length";
    case Finish::kContextFull:
      return "context_full";
    case Finish::kCancelled:
      return "cancelled";
    case Finish::kFailed:
      return "failed";
  }
  return "?";
}

struct Session::State {
  State(std::shared_ptr<const Model> m, devices::Device& d, const SessionOptions& o)
      : model(std::move(m)), device(d), options(complete(o, *model, device)), pool(make_pool()) {
    const text::Tokenizer& tokenizer = model->tokenizer();  // says so where there is none
    devices::CompileOptions compile;
    compile.max_tokens = options.max_step_tokens;
    compile.max_rows = options.max_rows;
    compile.pages = pages_for(options);
    compile.window_pages = window_pages_for(model->program(), options);
    compile.page_tokens = kPageTokens;
    const uint64_t room = device.room(&model->file(), &model->program());
    compile.slots = all_slots(model->program(), options, room);
    for (int i = guess_slots(model->program(), options, room); i > 0; --i)
      spare_slots.push_back(compile.slots - i);
    program::Program program = options.embeds ? program::hidden_states(model->program())
                               : options.speculation == Speculation::kMtp
                                   ? model->program()
                                   : program::without_drafter(model->program());
    const bool is_long = program::settle_context(program, options.context);
    try {
      executable = device.compile(std::move(program), model->shared_file(), compile);
    } catch (const Error& e) {
      const int fits = fitting_context(model->program(), room, compile.slots);
      if (fits == 0 || fits >= options.context) throw;
      throw Error(e.message(),
                  fmt::format("A context of {} fits beside the weights: --ctx {}.", fits, fits));
    }
    if (!options.cache_folder.empty())
      store.emplace(options.cache_folder, options.cache_bytes,
                    fmt::format("{}\n{}\n{}{}", model->identity(), executable->page_layout(),
                                kPageTokens, is_long ? "\nlong context" : ""));
    runs.reserve(static_cast<size_t>(options.max_sequences));
    in_step.reserve(static_cast<size_t>(options.max_sequences));
    if (options.speculation == Speculation::kLookup) drafter = lookup_drafter();
    if (options.speculation == Speculation::kDraft)
      drafter = model_drafter(options.draft, *model, device, options.context);
    if (executable->lookahead() == 1) return;  // nothing is queued that could be left out
    for (size_t id = 0; id < tokenizer.vocabulary_size(); ++id)
      if (tokenizer.is_end_of_generation(static_cast<int32_t>(id)))
        stops.push_back(static_cast<int32_t>(id));
  }

  PagePool make_pool() const {
    return {pages_for(options),
            kPageTokens,
            options.prefix_cache,
            sequence_slots(model->program(), options),
            options.snapshots,
            {model->program().kv_window(), window_pages_for(model->program(), options)}};
  }
  void cancel_requested();
  void admit();
  void restore(std::span<const int32_t> prompt);
  bool restore_pages(PagePool::Lease& lease, std::span<const int32_t> prompt,
                     std::span<const PageStore::Key> keys, size_t pages);
  bool restore_snapshot(const PagePool::Lease& lease, const PageStore::Key& key);
  void plan_runs();
  void add_run(Sequence& sequence, size_t count);
  bool speculates() const { return options.speculation != Speculation::kOff; }
  // Where its guesses are of no use it is left alone, which spares a layer's work a step.
  bool has_drafter() const {
    return options.speculation == Speculation::kMtp && !draft_length.gave_up();
  }
  size_t most_guesses(const Sequence& sequence);
  void add_guesses(Sequence& sequence);
  void choose_in_step(Sequence& sequence);
  void take_guesses(Sequence& sequence, const devices::StepResult& result);
  void draft();
  bool make_room(Sequence& sequence, size_t tokens);
  void put_back();
  size_t next_snapshot(const Sequence& sequence) const;
  void keep_snapshots();
  size_t steps_ahead() const;
  struct Copies {
    std::span<const devices::PageCopy> pages, window_pages;
    std::span<const devices::SlotCopy> slots;
    void add_to(devices::Step& step) const {
      step.copies = pages;
      step.window_copies = window_pages;
      step.slot_copies = slots;
    }
  };
  Copies copies_in_order();
  void copy_now();
  void submit(size_t steps);
  void take_results(const devices::StepResult& result);
  void take_states(const devices::StepResult& result);
  void collect_finished();
  void fail_broken();
  void fail_stuck();
  void fail_sequence(Sequence& sequence, const Error& error);
  devices::Sampling sampling(Sequence& sequence, size_t ahead);
  void start_again();
  void evaluate(std::span<const int32_t> tokens,
                const std::function<void(size_t, std::span<const float>)>& rows);
  int32_t choose(Sequence& sequence, std::span<const float> logits);
  void take_token(Sequence& sequence, int32_t token);
  void think(Sequence& sequence, std::string_view text);
  void say(Sequence& sequence, std::string_view text, bool is_marker);
  void say_token(Sequence& sequence, int32_t token);
  void finish(Sequence& sequence, Finish reason);

  std::shared_ptr<const Model> model;
  devices::Device& device;
  SessionOptions options;
  std::unique_ptr<devices::Executable> executable;
  PagePool pool;
  SequenceId next_id = 1;
  std::deque<std::unique_ptr<Sequence>> waiting;
  std::vector<std::unique_ptr<Sequence>> active;
  std::vector<std::pair<SequenceId, Completion>> done;
  std::vector<int32_t> stops;                 // the tokenizer's end-of-generation tokens
  std::shared_ptr<devices::Sampler> sampler;  // once a request needs the host's
  std::shared_ptr<const grammar::Vocabulary> vocabulary;  // once a request has a grammar
  // The step under way and those queued behind it; kept to reuse memory.
  struct Queued {
    std::vector<devices::Run> runs;
    std::deque<devices::Sampling> sampling;
    std::deque<std::vector<int32_t>> recent;
    devices::Ticket ticket = 0;
  };
  std::vector<Queued> queued;
  std::vector<devices::Run> runs;
  std::vector<Sequence*> in_step;
  std::vector<devices::PageCopy> copies, window_copies;
  std::vector<devices::SlotCopy> slot_copies;
  std::optional<PageStore> store;
  int failures = 0;  // of the device, since the last step that went well
  std::unique_ptr<Drafter> drafter;
  DraftLength draft_length;
  // Of the sequence that has guesses in the step. One that has slots goes on in that behind its
  // last right guess.
  struct Guessed {
    std::vector<int32_t> guesses;             // none: there is no such sequence
    std::vector<int32_t> text;                // the sequence's tokens and they
    std::vector<int32_t> slots;               // behind each row
    bool on_host = false;                     // what is chosen from the rows
    std::vector<devices::Sampling> sampling;  // of each row
    std::mt19937_64 random;                   // before any of these was drawn
  };
  Guessed guessed;
  std::vector<int32_t> spare_slots;
};

Session::Session(std::shared_ptr<const Model> model, devices::Device& device,
                 const SessionOptions& options)
    : state_(std::make_unique<State>(std::move(model), device, options)) {}

Session::~Session() = default;

int Session::context() const { return state_->options.context; }

devices::MemoryUse Session::memory() const { return state_->executable->memory(); }

SequenceId Session::add(Request request) {
  State& s = *state_;
  if (request.prompt.empty()) fail("the prompt is empty: it needs at least one token");
  if (request.prompt.size() + (s.options.embeds ? 0 : 1) > static_cast<size_t>(s.options.context))
    throw Error(fmt::format("the prompt has {} tokens, but the context holds {}",
                            request.prompt.size(), s.options.context),
                s.options.context < s.model->program().context_length
                    ? fmt::format("Shorten it, or use --ctx (the model can take {}).",
                                  s.model->program().context_length)
                    : "Shorten it.");
  request.check();
  const SequenceId id = s.next_id++;
  auto sequence = std::make_unique<Sequence>(id, std::move(request), s.model->tokenizer());
  if (const auto& grammar = sequence->request.grammar; grammar != nullptr) {
    if (s.vocabulary == nullptr)
      s.vocabulary = std::make_shared<const grammar::Vocabulary>(s.model->tokenizer());
    sequence->matcher.emplace(grammar, s.vocabulary);
    if (!find_mask(*sequence)) throw stuck_error("");
  }
  if (needs_host_sampler(sequence->request, sequence->request.logprobs)) {
    if (!s.sampler) s.sampler = std::make_shared<devices::Sampler>(s.model->program().tokens);
    sequence->host.emplace(sequence->request, sequence->request.logprobs, s.model->tokenizer(),
                           *s.sampler);
  }
  s.waiting.push_back(std::move(sequence));
  return id;
}

bool Session::step() {
  State& s = *state_;
  s.cancel_requested();
  try {
    s.admit();
    s.plan_runs();
    if (s.runs.empty()) return !s.waiting.empty();
    s.guessed.guesses.clear();
    if (s.speculates() && s.in_step.size() == 1 && s.in_step[0]->answers())
      s.add_guesses(*s.in_step[0]);
    const bool times = s.speculates() && s.in_step.size() == 1;
    const size_t width = times ? s.runs[0].tokens.size() : 0;
    const auto submitted = Clock::now();
    const size_t steps = s.steps_ahead();
    s.submit(steps);
    for (const State::Queued& step : s.queued) {
      // What was queued behind the end of a text is waited for, since its pages are in use, but
      // means nothing.
      const devices::StepResult result = s.executable->wait(step.ticket);
      MappedFile::check_all();
      s.take_results(result);
    }
    if (times)
      s.draft_length.took(width, seconds(Clock::now() - submitted) / static_cast<double>(steps));
    s.keep_snapshots();
    if (s.has_drafter()) s.draft();
    s.failures = 0;
  } catch (const devices::DeviceReset&) {
    if (++s.failures > kPatience) throw;
    s.start_again();
  }
  s.fail_broken();
  s.fail_stuck();
  s.collect_finished();
  return !s.active.empty() || !s.waiting.empty();
}

// Steps to queue at once: as many as the device likes while all sequences do nothing but answer and
// none waits for its turn.
size_t Session::State::steps_ahead() const {
  auto steps = static_cast<size_t>(executable->lookahead());
  if (!waiting.empty() || !copies.empty() || options.embeds) return 1;
  // The drafter sees every step's rows.
  if (!guessed.guesses.empty() || has_drafter()) return 1;
  for (const Sequence* sequence : in_step) {
    // What may come next depends on what is chosen, which the host has to see first.
    if (sequence->matcher || sequence->host || sequence->thinks) return 1;
    if (sequence->in_step != 1 || sequence->computed + 1 != sequence->tokens.size()) return 1;
    const auto room = static_cast<size_t>(options.context) - sequence->tokens.size();
    steps = std::min(steps, std::max<size_t>(1, room));
    steps = std::min(steps, next_snapshot(*sequence) - sequence->computed);
    const Request& r = sequence->request;
    if (r.max_tokens >= 0)
      steps =
          std::min(steps, std::max<size_t>(1, static_cast<size_t>(r.max_tokens) -
                                                  std::min(static_cast<size_t>(r.max_tokens),
                                                           sequence->completion.tokens.size())));
  }
  size_t missing = 0;
  for (const Sequence* sequence : in_step)
    missing += pool.pages_missing(sequence->lease, sequence->computed + steps);
  return missing <= pool.available() ? steps : 1;
}

// Positions of a long prompt from snapshot to snapshot, where there is room for many: a text that
// parts from it in the middle need not begin anew.
constexpr size_t kSnapshotEvery = 512;
constexpr int kManySnapshots = 16;

// Where the next step must end for a snapshot: with a page, for only there a text can be gone on
// from. Of a prompt's pages that is the last one, the last that other texts share, and one every so
// often; of an answer every one. Far away where there are no slots.
size_t Session::State::next_snapshot(const Sequence& sequence) const {
  constexpr size_t kPage = kPageTokens;
  constexpr size_t kNever = size_t{1} << 62;
  if (sequence.lease.slot() < 0 || !options.prefix_cache) return kNever;
  const size_t last = (sequence.tokens.size() - 1) / kPage * kPage;
  const size_t on_the_way = options.snapshots >= kManySnapshots
                                ? (sequence.computed / kSnapshotEvery + 1) * kSnapshotEvery
                                : kNever;
  for (const size_t end : {std::min(sequence.lease.known(), last), last})
    if (end > sequence.computed) return std::min(end, on_the_way);
  return (sequence.computed / kPage + 1) * kPage;
}

// After a step that ended so.
void Session::State::keep_snapshots() {
  for (Sequence* sequence : in_step) {
    if (sequence->finished || sequence->broken || sequence->lease.slot() < 0) continue;
    const bool is_answer = sequence->computed >= sequence->request.prompt.size();
    const size_t last = (sequence->tokens.size() - 1) / kPageTokens * kPageTokens;
    const bool on_the_way =
        options.snapshots >= kManySnapshots && sequence->computed % kSnapshotEvery == 0;
    if (is_answer || on_the_way || sequence->computed == last ||
        sequence->computed == sequence->lease.known())
      pool.snapshot(sequence->lease, is_answer);
  }
}

// Makes copies that depend on others before them, until the rest can go with a step: these.
Session::State::Copies Session::State::copies_in_order() {
  window_copies = pool.take_window_copies();
  slot_copies = pool.take_slot_copies();
  Copies left{copies, window_copies, slot_copies};
  const auto take_first = [](auto& from) {
    const auto first = from.first(independent_copies(from));
    from = from.subspan(first.size());
    return first;
  };
  for (;;) {
    Copies rest = left;
    const Copies now{take_first(rest.pages), take_first(rest.window_pages), take_first(rest.slots)};
    if (rest.pages.empty() && rest.window_pages.empty() && rest.slots.empty()) return left;
    devices::Step step;
    now.add_to(step);
    executable->wait(executable->submit(step));
    left = rest;
  }
}

// Queues the planned step, and behind it steps that feed on the tokens that it and its followers
// choose.
void Session::State::submit(size_t steps) {
  const Copies first_copies = copies_in_order();
  static constexpr std::array<int32_t, 1> kChosenBefore{devices::chosen_before(1)};
  for (Sequence* sequence : in_step)
    pool.reserve(sequence->lease, sequence->computed + sequence->in_step + steps - 1);
  queued.resize(steps);
  for (size_t ahead = 0; ahead < steps; ++ahead) {
    Queued& step = queued[ahead];
    step.runs = runs;
    step.sampling.clear();
    step.recent.clear();
    for (size_t i = 0; i < in_step.size(); ++i) {
      Sequence& sequence = *in_step[i];
      devices::Run& run = step.runs[i];
      run.pages = sequence.lease.pages();
      run.window_pages = sequence.lease.window_pages();
      if (ahead > 0) {
        run.tokens = kChosenBefore;
        run.first_position += static_cast<int>(ahead);
      }
      if (run.logits == devices::Run::Logits::kNone || sequence.host || options.embeds) continue;
      if (!guessed.guesses.empty()) {
        choose_in_step(sequence);
        if (guessed.on_host) continue;
        run.row_sampling = std::span(guessed.sampling).first(guessed.guesses.size());
        run.sampling = &guessed.sampling.back();
        continue;
      }
      devices::Sampling sampled = sampling(sequence, ahead);
      if (ahead > 0 && sampled.repeat_penalty != 1) {
        // The last tokens are not known yet.
        const auto wanted = static_cast<size_t>(std::max(0, sequence.request.repeat_last));
        const size_t known = wanted > ahead ? std::min(wanted - ahead, sequence.tokens.size()) : 0;
        const auto last = std::span(sequence.tokens).last(known);
        std::vector<int32_t>& recent = step.recent.emplace_back(last.begin(), last.end());
        for (size_t n = std::min(ahead, wanted); n > 0; --n)
          recent.push_back(devices::chosen_before(static_cast<int>(n)));
        sampled.recent = recent;
      }
      run.sampling = &step.sampling.emplace_back(sampled);
    }
    const bool more = ahead + 1 < steps;
    devices::Step queued_step{step.runs, {}, more};
    if (ahead == 0) first_copies.add_to(queued_step);
    step.ticket = executable->submit(queued_step);
  }
  copies.clear();
}

void Session::State::take_results(const devices::StepResult& result) {
  if (options.embeds) return take_states(result);
  const auto stride = static_cast<size_t>(model->program().vocabulary);
  const auto tokens = static_cast<size_t>(model->program().tokens);
  size_t row = 0;
  for (size_t i = 0; i < in_step.size(); ++i) {
    Sequence& sequence = *in_step[i];
    const bool has_row = runs[i].logits != devices::Run::Logits::kNone;
    const size_t own_row = row;
    row += has_row ? 1 : 0;
    if (sequence.finished || sequence.broken) continue;
    if (!guessed.guesses.empty()) {
      take_guesses(sequence, result);
      continue;
    }
    pool.commit(sequence.lease,
                std::span(sequence.tokens).subspan(sequence.computed, sequence.in_step));
    sequence.computed += sequence.in_step;
    sequence.in_step = 1;  // in those that are queued behind
    const int32_t token = has_row && sequence.host
                              ? choose(sequence, result.logits.subspan(own_row * stride, tokens))
                              : result.tokens[i];
    if (token >= 0) take_token(sequence, token);
    sequence.broken = token == devices::kNotFinite;
  }
}

void Session::State::take_states(const devices::StepResult& result) {
  const auto width = static_cast<size_t>(model->program().width);
  std::span<const float> states = result.logits;
  for (size_t i = 0; i < in_step.size(); ++i) {
    Sequence& sequence = *in_step[i];
    const size_t rows = runs[i].logits == devices::Run::Logits::kAll    ? sequence.in_step
                        : runs[i].logits == devices::Run::Logits::kLast ? 1
                                                                        : 0;
    if (rows > 0) sequence.pool_states(states.first(rows * width), rows, sequence.computed);
    states = states.subspan(rows * width);
    pool.commit(sequence.lease,
                std::span(sequence.tokens).subspan(sequence.computed, sequence.in_step));
    sequence.computed += sequence.in_step;
    if (sequence.computed < sequence.tokens.size()) continue;
    Completion& c = sequence.completion;
    c.prompt_seconds = seconds(Clock::now() - sequence.start);
    sequence.broken = !std::ranges::all_of(c.states, [](float x) { return std::isfinite(x); });
    if (!sequence.broken) finish(sequence, Finish::kEndOfText);
  }
}

int32_t Session::State::choose(Sequence& sequence, std::span<const float> logits) {
  HostSampler::Choice choice =
      sequence.host->choose(sampling(sequence, 0), logits, sequence.tokens, sequence.random);
  if (choice.logprob) sequence.completion.logprobs.push_back(std::move(*choice.logprob));
  return choice.token;
}

void Session::State::collect_finished() {
  for (auto& sequence : active)
    if (sequence->finished) done.emplace_back(sequence->id, std::move(sequence->completion));
  std::erase_if(active, [](const auto& sequence) { return sequence->finished; });
}

void Session::State::fail_sequence(Sequence& sequence, const Error& error) {
  sequence.completion.error = error;
  finish(sequence, Finish::kFailed);
}

// A sequence with logits that are not finite fails. No page may hand on what was computed: the
// others start again.
void Session::State::fail_broken() {
  std::vector<Broken> tried;
  std::vector<Sequence*> broken;
  for (auto& sequence : active)
    if (std::exchange(sequence->broken, false)) {
      tried.push_back({sequence->tokens});
      broken.push_back(sequence.get());
    }
  if (broken.empty()) return;
  const NotFinite found = not_finite(*model, device.description(), tried);
  fail_sequence(*broken[found.which], found.error);
  start_again();
}

void Session::State::fail_stuck() {
  for (auto& sequence : active)
    if (sequence->stuck && !sequence->finished)
      fail_sequence(*sequence, stuck_error(sequence->completion.text));
}

// The device lost its pages and slots: what was computed is computed again, and the answers go on.
void Session::State::start_again() {
  copies.clear();
  for (auto& sequence : active)
    if (!sequence->finished) pool.end(sequence->lease);
  pool = make_pool();
  for (auto& sequence : active) {
    if (sequence->finished) continue;
    sequence->drafts.clear();
    sequence->computed = static_cast<size_t>(
        pool.begin(sequence->lease, sequence->tokens, sequence->tokens.size() - 1, copies));
  }
  if (drafter) drafter->forget();
}

void Session::detach() {
  State& s = *state_;
  s.collect_finished();
  for (auto& sequence : s.active) {
    s.pool.end(sequence->lease);
    sequence->put_back = true;
  }
  s.put_back();
  s.store.reset();
  s.executable.reset();
}

void Session::adopt(Session& detached) {
  State& from = *detached.state_;
  State& s = *state_;
  s.waiting = std::move(from.waiting);
  s.done = std::move(from.done);
  s.next_id = from.next_id;
  s.sampler = from.sampler;
  s.vocabulary = from.vocabulary;
}

std::optional<Completion> Session::take(SequenceId id) {
  State& s = *state_;
  const auto it = std::ranges::find(s.done, id, &std::pair<SequenceId, Completion>::first);
  if (it == s.done.end()) return std::nullopt;
  Completion completion = std::move(it->second);
  s.done.erase(it);
  return completion;
}

Completion Session::generate(Request request) {
  const SequenceId id = add(std::move(request));
  for (;;) {
    const bool more = step();
    if (std::optional<Completion> completion = take(id)) {
      if (completion->error) throw Error(*completion->error);
      return std::move(*completion);
    }
    if (!more) fail("session: the sequence was lost");  // our own bug
  }
}

void Session::evaluate(std::span<const int32_t> tokens,
                       const std::function<void(size_t, std::span<const float>)>& rows) {
  State& s = *state_;
  if (tokens.size() > static_cast<size_t>(s.options.context))
    fail("{} tokens do not fit a context of {}", tokens.size(), s.options.context);
  size_t told = 0;
  for (int failures = 0;;) {
    try {
      s.evaluate(tokens, [&](size_t first, std::span<const float> logits) {
        if (first < told) return;  // before the device lost what was computed
        rows(first, logits);
        told = first + logits.size() / static_cast<size_t>(s.model->program().vocabulary);
        failures = 0;
      });
      return;
    } catch (const devices::DeviceReset&) {
      if (++failures > kPatience) throw;
      s.start_again();
    }
  }
}

void Session::State::evaluate(std::span<const int32_t> tokens,
                              const std::function<void(size_t, std::span<const float>)>& rows) {
  const auto chunk = static_cast<size_t>(std::min(options.max_rows, options.max_step_tokens));
  const auto stride = static_cast<size_t>(model->program().vocabulary);
  PagePool::Lease lease;
  std::vector<devices::PageCopy> none;
  pool.begin(lease, {}, 0, none);
  copy_now();
  for (size_t first = 0; first < tokens.size(); first += chunk) {
    const auto part = tokens.subspan(first, std::min(chunk, tokens.size() - first));
    pool.reserve(lease, first + part.size());
    devices::Run run{part, static_cast<int>(first), lease.pages(), devices::Run::Logits::kAll,
                     nullptr};
    run.window_pages = lease.window_pages();
    run.slot = lease.slot();
    const devices::StepResult result = executable->wait(executable->submit({{&run, 1}, {}}));
    MappedFile::check_all();
    for (size_t i = 0; i < part.size(); ++i)
      if (!devices::can_choose(result.logits.subspan(i * stride, stride))) {
        pool.end(lease);
        const auto until = tokens.first(first + i + 1);
        const std::array<Broken, 1> broken{Broken{{until.begin(), until.end()}}};
        throw not_finite(*model, device.description(), broken).error;
      }
    rows(first, result.logits);
    pool.pass(lease, first + part.size());
  }
  pool.end(lease);
}

void Session::State::cancel_requested() {
  const auto cancelled = [](const Sequence& sequence) {
    return sequence.request.cancel != nullptr && sequence.request.cancel->load();
  };
  for (auto& sequence : active)
    if (cancelled(*sequence)) {
      finish(*sequence, Finish::kCancelled);
      done.emplace_back(sequence->id, std::move(sequence->completion));
    }
  std::erase_if(active, [](const auto& sequence) { return sequence->finished; });
  for (auto& sequence : waiting)
    if (cancelled(*sequence)) {
      finish(*sequence, Finish::kCancelled);
      done.emplace_back(sequence->id, std::move(sequence->completion));
    }
  std::erase_if(waiting, [](const auto& sequence) { return sequence->finished; });
}

void Session::State::admit() {
  while (!waiting.empty() && active.size() < static_cast<size_t>(options.max_sequences)) {
    Sequence& sequence = *waiting.front();
    // One that does not find room for all that is known of it would drive others out.
    if (!active.empty() && !pool.can_begin(sequence.tokens, sequence.tokens.size() + 1)) break;
    if (sequence.request.use_prefix_cache) restore(sequence.tokens);
    // The last token of the prompt is computed in any case: its logits are wanted.
    sequence.computed = static_cast<size_t>(
        pool.begin(sequence.lease, sequence.tokens,
                   sequence.request.use_prefix_cache ? sequence.tokens.size() - 1 : 0, copies));
    if (!sequence.admitted) sequence.completion.cached_tokens = static_cast<int>(sequence.computed);
    sequence.admitted = true;
    if (active.empty()) draft_length.begin();
    active.push_back(std::move(waiting.front()));
    waiting.pop_front();
  }
}

// Copies that were to go with the next step, now: what they are made from, or to, is read or
// written.
void Session::State::copy_now() {
  devices::Step step;
  copies_in_order().add_to(step);
  if (!step.copies.empty() || !step.window_copies.empty() || !step.slot_copies.empty())
    executable->wait(executable->submit(step));
  copies.clear();
}

// What lies on disk of this text goes into the tree: its pages, of the layers with windows those of
// the last, and where the model has slots the last snapshot with the pages that lead to it.
void Session::State::restore(std::span<const int32_t> prompt) {
  if (!store) return;
  constexpr size_t kPage = kPageTokens;
  // The last token is computed in any case.
  const size_t limit = (prompt.size() - 1) / kPage * kPage;
  std::vector<PageStore::Key> keys{store->beginning()};  // [n]: of the n pages before
  for (size_t at = 0; at < limit; at += kPage)
    keys.push_back(PageStore::next(keys.back(), prompt.subspan(at, kPage)));
  PagePool::Lease lease;
  size_t there = pool.hold(lease, prompt, limit) / kPage;  // pages, in the tree or on disk
  pool.end(lease);
  const bool has_pages = executable->page_bytes(devices::PageKind::kFull) > 0;
  while (there + 1 < keys.size() && (!has_pages || store->has(keys[there + 1]))) ++there;
  const bool has_slots = executable->slot_bytes() > 0;
  const bool has_windows = executable->page_bytes(devices::PageKind::kWindow) > 0;
  const size_t better = pool.known_tokens(prompt, limit) / kPage;
  for (bool restored = false; !restored && there > better; --there) {
    const PageStore::Key snapshot = PageStore::snapshot_at(keys[there]);
    if (has_slots && !store->has(snapshot)) continue;
    if (has_windows && !store->has(PageStore::window_at(keys[there]))) continue;
    pool.hold(lease, prompt, there * kPage);
    const bool has_all = restore_pages(lease, prompt, keys, there);
    restored = has_slots ? has_all && restore_snapshot(lease, snapshot) : has_all || !has_windows;
    pool.end(lease);
  }
}

// Pages from disk, until so many are held; false where one can't be had.
bool Session::State::restore_pages(PagePool::Lease& lease, std::span<const int32_t> prompt,
                                   std::span<const PageStore::Key> keys, size_t pages) {
  using Kind = devices::PageKind;
  constexpr size_t kPage = kPageTokens;
  std::vector<std::byte> bytes(executable->page_bytes(Kind::kFull));
  std::vector<std::byte> window_bytes(executable->page_bytes(Kind::kWindow));
  const size_t first_in_window = window_bytes.empty() ? pages : pool.first_in_window(pages * kPage);
  for (size_t i = first_in_window; i < lease.pages().size(); ++i) {
    if (lease.window_pages()[i] >= 0) continue;
    if (!store->load(PageStore::window_at(keys[i + 1]), window_bytes)) return false;
    copy_now();
    executable->write_page(Kind::kWindow, pool.place_window_page(lease, i), window_bytes);
  }
  while (lease.pages().size() < pages) {
    const size_t held = lease.pages().size();
    if (!pool.can_reserve(lease, (held + 1) * kPage) ||
        (!bytes.empty() && !store->load(keys[held + 1], bytes)))
      return false;
    copy_now();
    pool.reserve(lease, (held + 1) * kPage);
    if (!bytes.empty()) executable->write_page(Kind::kFull, lease.pages().back(), bytes);
    if (!window_bytes.empty()) {
      if (held < first_in_window)
        pool.leave_window_page(lease);
      else if (store->load(PageStore::window_at(keys[held + 1]), window_bytes))
        executable->write_page(Kind::kWindow, lease.window_pages().back(), window_bytes);
      else
        return false;
    }
    pool.commit(lease, prompt.subspan(held * kPage, kPage));
  }
  return true;
}

bool Session::State::restore_snapshot(const PagePool::Lease& lease, const PageStore::Key& key) {
  std::vector<std::byte> bytes(executable->slot_bytes());
  if (!store->load(key, bytes)) return false;
  copy_now();
  const int32_t slot = pool.place_snapshot(lease);
  if (slot >= 0) executable->write_slot(slot, bytes);
  return true;
}

void Session::save_cache(const std::function<bool()>& stop) {
  State& s = *state_;
  if (!s.store) return;
  const auto save = [&](const PageStore::Key& key, size_t size, const auto& read) {
    if (size == 0 || s.store->has(key) || (stop && stop())) return;
    std::vector<std::byte> bytes(size);
    read(bytes);
    s.store->save(key, bytes);
  };
  try {
    s.copy_now();
  } catch (const devices::DeviceReset&) {  // what was to be kept is lost
    s.start_again();
    return;
  }
  using Kind = devices::PageKind;
  s.pool.visit(s.store->beginning(), [&](const PageStore::Key& before,
                                         std::span<const int32_t> tokens, int32_t page,
                                         int32_t window_page, int32_t snapshot) {
    const PageStore::Key key = PageStore::next(before, tokens);
    save(key, s.executable->page_bytes(Kind::kFull),
         [&](std::span<std::byte> bytes) { s.executable->read_page(Kind::kFull, page, bytes); });
    if (window_page >= 0)
      save(PageStore::window_at(key), s.executable->page_bytes(Kind::kWindow),
           [&](std::span<std::byte> bytes) {
             s.executable->read_page(Kind::kWindow, window_page, bytes);
           });
    if (snapshot >= 0)
      save(PageStore::snapshot_at(key), s.executable->slot_bytes(),
           [&](std::span<std::byte> bytes) { s.executable->read_slot(snapshot, bytes); });
    return key;
  });
}

// Pages for so many positions of it, where need be from the youngest that this step has not taken
// yet. False when it is its own turn to give them up.
bool Session::State::make_room(Sequence& sequence, size_t tokens) {
  for (size_t i = active.size(); !pool.can_reserve(sequence.lease, tokens) && i > 0; --i) {
    Sequence& youngest = *active[i - 1];
    if (youngest.put_back || std::ranges::find(in_step, &youngest) != in_step.end()) continue;
    youngest.put_back = true;
    pool.end(youngest.lease);
    if (&youngest == &sequence) return false;
  }
  return pool.can_reserve(sequence.lease, tokens);
}

// Those that gave their pages up wait again, before all others.
void Session::State::put_back() {
  for (size_t i = active.size(); i > 0; --i) {
    if (!active[i - 1]->put_back) continue;
    active[i - 1]->put_back = false;
    active[i - 1]->computed = 0;
    active[i - 1]->drafts.clear();
    waiting.push_front(std::move(active[i - 1]));
  }
  std::erase_if(active, [](const auto& sequence) { return sequence == nullptr; });
}

void Session::State::plan_runs() {
  runs.clear();
  in_step.clear();
  auto budget = static_cast<size_t>(options.max_step_tokens);
  // Answers first, so that a long prompt does not hold them up.
  std::vector<Sequence*> prompts;
  for (auto& sequence : active) {
    if (!sequence->answers()) {
      prompts.push_back(sequence.get());
      continue;
    }
    const size_t count = sequence->tokens.size() - sequence->computed;
    if (budget >= count && !sequence->put_back && make_room(*sequence, sequence->tokens.size())) {
      budget -= count;
      add_run(*sequence, count);
    }
  }
  // The oldest prompt gets half of the rest at least, so that it comes to its end; the shortest
  // come next, so that a short question need not wait for long ones; what they leave is the
  // oldest's again.
  const auto left = [&](const Sequence* sequence) {
    return std::min(sequence->tokens.size(), next_snapshot(*sequence)) - sequence->computed;
  };
  if (prompts.empty()) return put_back();
  std::sort(prompts.begin() + 1, prompts.end(), [&](const Sequence* a, const Sequence* b) {
    return std::pair(left(a), a->id) < std::pair(left(b), b->id);
  });
  std::vector<size_t> counts(prompts.size());
  counts[0] = std::min(left(prompts[0]), (budget + 1) / 2);
  budget -= counts[0];
  for (size_t i = 1; i < prompts.size(); ++i) {
    counts[i] = std::min(left(prompts[i]), budget);
    budget -= counts[i];
  }
  counts[0] += std::min(left(prompts[0]) - counts[0], budget);
  for (size_t i = 0; i < prompts.size(); ++i) {
    Sequence& sequence = *prompts[i];
    if (counts[i] > 0 && !sequence.put_back && make_room(sequence, sequence.computed + counts[i]))
      add_run(sequence, counts[i]);
  }
  put_back();
}

void Session::State::add_run(Sequence& sequence, size_t count) {
  if (!sequence.started) {
    sequence.started = true;
    sequence.start = Clock::now();
  }
  sequence.in_step = count;
  pool.reserve(sequence.lease, sequence.computed + count);
  devices::Run run;
  run.tokens = std::span(sequence.tokens).subspan(sequence.computed, count);
  run.first_position = static_cast<int>(sequence.computed);
  run.pages = sequence.lease.pages();
  run.slot = sequence.lease.slot();
  if (options.embeds && sequence.request.pooling != Pooling::kLast) {
    // Of the first token it takes the first step's alone.
    if (sequence.request.pooling != Pooling::kFirst || sequence.computed == 0)
      run.logits = devices::Run::Logits::kAll;
  } else if (sequence.computed + count == sequence.tokens.size()) {
    run.logits = devices::Run::Logits::kLast;
  }
  runs.push_back(run);
  in_step.push_back(&sequence);
}

// Guesses go with the only run of the step, which is that of an answer: so many are worth it.
size_t Session::State::most_guesses(const Sequence& sequence) {
  const size_t known = sequence.tokens.size();
  const Request& r = sequence.request;
  size_t most = std::min(kMaxDraft, static_cast<size_t>(options.context) - known);
  if (sequence.lease.slot() >= 0) {
    most = std::min(most, spare_slots.size());
    // A snapshot is made where a step ends with a page.
    const size_t end = next_snapshot(sequence);
    most = std::min(most, end > known ? end - known : 0);
  }
  if (r.max_tokens >= 0) {
    const auto left = static_cast<size_t>(r.max_tokens) - sequence.completion.tokens.size();
    most = std::min(most, left > 0 ? left - 1 : 0);
  }
  if (most == 0 || active.size() > 1) return 0;
  return options.draft_tokens > 0 ? std::min(most, static_cast<size_t>(options.draft_tokens))
                                  : draft_length.choose(most);
}

void Session::State::add_guesses(Sequence& sequence) {
  devices::Run& run = runs[0];
  const size_t known = sequence.tokens.size();
  std::vector<int32_t> guesses = std::exchange(sequence.drafts, {});
  if (options.speculation != Speculation::kMtp) {
    const size_t most = most_guesses(sequence);
    if (most == 0) return;
    const auto start = Clock::now();
    guesses = drafter->draft(sequence.tokens, most);
    draft_length.drafted(guesses.size(), seconds(Clock::now() - start));
  }
  if (guesses.empty() || active.size() > 1 ||
      !pool.can_reserve(sequence.lease, known + guesses.size()))
    return;
  pool.reserve(sequence.lease, known + guesses.size());
  guessed.text = sequence.tokens;
  guessed.text.insert(guessed.text.end(), guesses.begin(), guesses.end());
  guessed.on_host = sequence.host || sequence.matcher || sequence.thinks;
  guessed.slots.clear();
  if (sequence.lease.slot() >= 0) {
    guessed.slots.assign(spare_slots.begin(),
                         spare_slots.begin() + static_cast<ptrdiff_t>(guesses.size()));
    guessed.slots.push_back(sequence.lease.slot());
  }
  guessed.guesses = std::move(guesses);
  run.tokens = std::span(guessed.text).subspan(sequence.computed);
  run.row_slots = guessed.slots;
  run.pages = sequence.lease.pages();
  run.logits = devices::Run::Logits::kAll;
}

// How each row's token is chosen, should the guesses before it be right.
void Session::State::choose_in_step(Sequence& sequence) {
  guessed.sampling.clear();
  if (guessed.on_host) return;
  guessed.random = sequence.random;
  const size_t known = sequence.tokens.size();
  const auto recent = static_cast<size_t>(std::max(0, sequence.request.repeat_last));
  for (size_t row = 0; row <= guessed.guesses.size(); ++row) {
    devices::Sampling& how = guessed.sampling.emplace_back(sampling(sequence, 0));
    how.recent = std::span(guessed.text).first(known + row).last(std::min(recent, known + row));
  }
}

// The model's own choice behind every guess that was right, and behind the last one that was.
void Session::State::take_guesses(Sequence& sequence, const devices::StepResult& result) {
  const auto stride = static_cast<size_t>(model->program().vocabulary);
  const auto count = static_cast<size_t>(model->program().tokens);
  const std::vector<int32_t>& guesses = guessed.guesses;
  if (guessed.on_host && !sampler)
    sampler = std::make_shared<devices::Sampler>(model->program().tokens);
  std::vector<float> row;
  size_t right = 0;
  for (;; ++right) {
    int32_t token = devices::kNotFinite;
    if (!guessed.on_host) {
      // The run's own, of its last row, comes first.
      token = result.tokens[right == guesses.size() ? 0 : right + 1];
    } else if (const auto from = result.logits.subspan(right * stride, count); sequence.host) {
      token = choose(sequence, from);
    } else {
      row.assign(from.begin(), from.end());
      token = sampler->choose(sampling(sequence, 0), row);
    }
    sequence.broken = token == devices::kNotFinite;
    if (sequence.broken) break;
    // What it was chosen behind is computed.
    const size_t before = sequence.tokens.size();
    pool.commit(sequence.lease, std::span(sequence.tokens).last(before - sequence.computed));
    sequence.computed = before;
    take_token(sequence, token);
    if (right == guesses.size() || token != guesses[right]) break;
    if (sequence.finished) {  // by what was guessed
      ++right;
      break;
    }
    if (sequence.stuck || sequence.tokens.size() != before + 1) break;
  }
  if (!guessed.on_host) {
    // What was drawn for rows behind a wrong guess comes again.
    sequence.random = guessed.random;
    sequence.random.discard(right + 1);
  }
  draft_length.compared(guesses.size(), right);
  sequence.completion.drafted_tokens += static_cast<int>(guesses.size());
  sequence.completion.accepted_tokens += static_cast<int>(right);
  if (!guessed.slots.empty() && right < guesses.size() && !sequence.finished)
    pool.exchange_slot(sequence.lease, spare_slots[right]);
}

// The drafter goes along with what was computed, so that it knows the text, and guesses how the
// only answer goes on.
void Session::State::draft() {
  std::vector<devices::Run> drafted;
  Sequence* answer = nullptr;
  int row = 0;
  for (size_t i = 0; i < in_step.size(); ++i) {
    Sequence& sequence = *in_step[i];
    const int first = row;
    row += static_cast<int>(runs[i].tokens.size());
    if (sequence.finished || sequence.broken || sequence.stuck) continue;
    const auto begin = static_cast<size_t>(runs[i].first_position);
    devices::Run& run = drafted.emplace_back();
    // A row is of a token and of what was kept before it.
    run.tokens = std::span(sequence.tokens).subspan(begin + 1, sequence.computed - begin);
    run.first_position = runs[i].first_position;
    run.pages = sequence.lease.pages();
    run.kept = first;
    answer = &sequence;
  }
  if (drafted.empty()) return;
  size_t most = drafted.size() == 1 && answer->answers() ? most_guesses(*answer) : 0;
  if (most > 0) {
    const size_t end = answer->tokens.size() + most;
    if (pool.can_reserve(answer->lease, end)) {
      pool.reserve(answer->lease, end);
      drafted[0].pages = answer->lease.pages();
    } else {
      most = 0;
    }
  }
  const auto start = Clock::now();
  const devices::Sampling greedy;
  if (most > 0) {
    drafted[0].logits = devices::Run::Logits::kLast;
    drafted[0].sampling = &greedy;
  }
  devices::Step step{drafted, {}};
  step.draft = true;
  // Each further guess is made of the one before it: where steps are queued, it is not known yet.
  const bool queues = executable->lookahead() > 1;
  std::vector<devices::Ticket> tickets;
  std::array<int32_t, 1> next{devices::chosen_before(1)};
  const auto guess = [&](devices::Ticket ticket) {
    const int32_t token = executable->wait(ticket).tokens[0];
    if (token >= 0) answer->drafts.push_back(token);
    return token >= 0;
  };
  for (size_t i = 0; i < std::max<size_t>(most, 1); ++i) {
    step.more = queues && i + 1 < most;
    tickets.push_back(executable->submit(step));
    if (!queues && most > 0) {
      if (!guess(tickets.back())) break;
      next[0] = answer->drafts.back();
    }
    if (i + 1 >= most) break;
    devices::Run& run = drafted[0];
    run.kept = static_cast<int>(run.tokens.size()) - 1;  // the last row of this step
    run.first_position += static_cast<int>(run.tokens.size());
    run.tokens = next;
  }
  if (queues && most > 0) {
    for (const devices::Ticket ticket : tickets)
      if (!guess(ticket)) break;
  }
  executable->wait(tickets.back());
  if (most > 0) draft_length.drafted(most, seconds(Clock::now() - start));
}

devices::Sampling Session::State::sampling(Sequence& sequence, size_t ahead) {
  const Request& r = sequence.request;
  const auto recent =
      std::min(sequence.tokens.size(), static_cast<size_t>(std::max(0, r.repeat_last)));
  // 24 bits: every value is a float below 1. Those of steps that are left out are of no more use.
  const float random = static_cast<float>(sequence.random() >> 40) * 0x1p-24F;
  devices::Sampling out;
  out.temperature = r.temperature;
  out.top_k = r.top_k;
  out.top_p = r.top_p;
  out.min_p = r.min_p;
  out.repeat_penalty = r.repeat_penalty;
  if (ahead == 0) out.recent = std::span(sequence.tokens).last(recent);
  out.random = random;
  if (!r.ignore_end_of_text) out.stops = stops;
  out.mask = sequence.mask;
  return out;
}

void Session::State::take_token(Sequence& sequence, int32_t token) {
  const auto now = Clock::now();
  Completion& c = sequence.completion;
  if (sequence.tokens.size() == sequence.request.prompt.size()) {
    sequence.first_token = now;
    c.prompt_seconds = seconds(now - sequence.start);
  } else {
    c.decode_seconds = seconds(now - sequence.first_token);
    ++c.decoded_tokens;
  }
  if (model->tokenizer().is_end_of_generation(token) &&
      (sequence.matcher || !sequence.request.ignore_end_of_text))
    return finish(sequence, Finish::kEndOfText);

  if (sequence.request.max_tokens == 0) return finish(sequence, Finish::kLength);
  sequence.tokens.push_back(token);
  c.tokens.push_back(token);
  const bool was_thinking = sequence.thinks;
  say_token(sequence, token);
  if (sequence.stops.stopped()) return finish(sequence, Finish::kStopString);
  if (was_thinking) {
    if (!sequence.thinks) sequence.stuck = !find_mask(sequence);
  } else if (sequence.matcher) {
    if (!sequence.matcher->accept(token))
      fail("a token was chosen that the grammar does not allow");
    // Nothing but the end may follow: it need not be asked for.
    if (sequence.matcher->must_end()) return finish(sequence, Finish::kEndOfText);
    sequence.stuck = !find_mask(sequence);
  }
  if (sequence.request.max_tokens >= 0 &&
      c.tokens.size() >= static_cast<size_t>(sequence.request.max_tokens))
    return finish(sequence, Finish::kLength);
  if (sequence.tokens.size() >= static_cast<size_t>(options.context))
    return finish(sequence, Finish::kContextFull);
}

// What a token stands for goes out; where that ends the thinking, or its budget is used up, what
// has to follow goes behind it.
void Session::State::say_token(Sequence& sequence, int32_t token) {
  const bool was_thinking = sequence.thinks;
  const text::Tokenizer& tokenizer = model->tokenizer();
  if (tokenizer.is_control(token)) {
    const std::string marker = tokenizer.piece(token, true);
    say(sequence, sequence.decoder.flush(), false);
    think(sequence, marker);
    say(sequence, marker, true);
  } else {
    const std::string text = sequence.decoder.feed(token);
    think(sequence, text);
    say(sequence, text, false);
  }
  if (!was_thinking) return;
  const Thinking& thinking = *sequence.request.thinking;
  const auto put = [&](std::span<const int32_t> tokens) {
    for (const int32_t more : tokens) {
      sequence.tokens.push_back(more);
      sequence.completion.tokens.push_back(more);
      if (sequence.host && sequence.request.logprobs >= 0)  // nothing else could come
        sequence.completion.logprobs.push_back({more, 0, {}});
      say_token(sequence, more);
    }
  };
  if (sequence.thinks) {
    if (thinking.budget < 0 ||
        sequence.completion.tokens.size() < static_cast<size_t>(thinking.budget))
      return;
    sequence.thinks = false;  // by and by
    put(thinking.ending);
  }
  put(thinking.after);
}

// Has the thinking ended?
void Session::State::think(Sequence& sequence, std::string_view text) {
  if (!sequence.thinks) return;
  const std::string& end = sequence.request.thinking->end;
  sequence.tail += text;
  const size_t found = sequence.tail.find(end);
  if (found == std::string::npos) {
    if (sequence.tail.size() > end.size())
      sequence.tail.erase(0, sequence.tail.size() - end.size());
    return;
  }
  sequence.thinks = false;
  // A token may hold the end of the thinking and the answer's first bytes. Where the grammar does
  // not want these (blanks, mostly) it begins behind them.
  if (sequence.matcher) sequence.matcher->accept_bytes(sequence.tail.substr(found + end.size()));
}

// Text goes through the filter of stop strings; a marker ends what waits there.
void Session::State::say(Sequence& sequence, std::string_view text, bool is_marker) {
  Completion& c = sequence.completion;
  const auto tell = [&](std::string_view piece, bool marker) {
    if (piece.empty()) return;
    if (!marker) {
      c.text += piece;
      if (sequence.request.on_text) sequence.request.on_text(piece);
    }
    if (!sequence.request.on_piece) return;
    const auto logprobs = std::span<const TokenLogprob>(c.logprobs).subspan(sequence.told);
    sequence.told = c.logprobs.size();
    sequence.request.on_piece({piece, marker, logprobs});
  };
  if (is_marker) {
    tell(sequence.stops.flush(), false);
    tell(text, true);
  } else {
    tell(sequence.stops.feed(text), false);
  }
}

void Session::State::finish(Sequence& sequence, Finish reason) {
  Completion& c = sequence.completion;
  c.finish = reason;
  c.stop_string = sequence.stops.met();
  if (reason != Finish::kStopString) {
    say(sequence, sequence.decoder.flush(), false);
    say(sequence, "", true);  // what waits may be no stop string's beginning any more
  }
  pool.end(sequence.lease);
  sequence.finished = true;
}

std::vector<SequenceStatus> Session::status() const {
  std::vector<SequenceStatus> all;
  const auto add = [&](const Sequence& sequence, bool waits) {
    all.push_back({sequence.id, waits, sequence.completion.prompt_tokens,
                   static_cast<int>(sequence.computed),
                   static_cast<int>(sequence.completion.tokens.size())});
  };
  for (const auto& sequence : state_->active) add(*sequence, false);
  for (const auto& sequence : state_->waiting) add(*sequence, true);
  return all;
}

}  // namespace outboard::engine
