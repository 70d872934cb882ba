// Devices run Programs. One interface for the CPU, the card and the simulated card.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "formats/model_file.h"
#include "program/program.h"
#include "support/error.h"

namespace outboard::devices {

// How the next token of a run is chosen from its last row of logits: what the mask leaves out is
// minus infinity (NaN stays, so that it is found), then the repetition penalty, then the
// top_k best, then the smallest set whose probability reaches top_p, then those at least min_p
// times as likely as the best, then the temperature, then a draw. Temperature 0 takes the best.
struct Sampling {
  float temperature = 0;
  int top_k = 0;             // 0: all
  float top_p = 1;           // 1: all
  float min_p = 0;           // 0: all
  float repeat_penalty = 1;  // logits of `recent` tokens are divided (positive) or multiplied by it
  std::span<const int32_t> recent;
  float random = 0;  // uniform in [0, 1)
  // Tokens that end the run's text: steps that were queued behind this one need not run.
  std::span<const int32_t> stops;
  // Bit t % 32 of word t / 32: whether token t may be chosen; tokens beyond may not. Empty: all
  // may.
  std::span<const uint32_t> mask = {};
};

// Only the Program's tokens are chosen, not the padding behind them: where this speaks of the
// vocabulary to choose from, it is theirs. Rows of logits that are asked for hold all.

// What is chosen, or the token of every candidate, where the logits to choose from hold NaN, or the
// greatest is infinite, or all are minus infinity (single ones may be): there is nothing to choose.
constexpr int32_t kNotFinite = -2;

// In the tokens of a Run and in Sampling::recent, -n stands for the token that the run at the same
// place of the step chose n steps ago: steps can be queued before their tokens are known. Only for
// devices whose lookahead() is more than 1.
constexpr int32_t chosen_before(int steps) { return -steps; }

// One of a run's most likely next tokens.
struct Candidate {
  int32_t token;
  float log_probability;  // the logarithm of its softmax over all tokens
};
constexpr int kMaxBest = 32;  // candidates a run

// Consecutive tokens of one sequence in a Step.
struct Run {
  enum class Logits : uint8_t { kNone, kLast, kAll };

  std::span<const int32_t> tokens;  // ids, each in [0, vocabulary), or chosen_before()
  int first_position = 0;           // position of tokens[0] in its sequence
  // KV pages of the sequence, covering positions 0 to first_position + tokens.size() - 1; position
  // p lies in pages[p / page_tokens].
  std::span<const int32_t> pages;
  Logits logits = Logits::kNone;       // which rows want logits
  const Sampling* sampling = nullptr;  // choose a token from the last row; needs kLast or kAll
  // Instead of sampling: so many of the likeliest tokens of the last row, at most kMaxBest; needs
  // kLast. Logits of minus infinity are no candidates.
  int best = 0;
  // For Programs with an encoder, outside encode steps: the pages that an encode step wrote, and
  // how many tokens the source has. Runs that share a source (a search's beams) cost less when they
  // are neighbours.
  std::span<const int32_t> source_pages = {};
  int source_tokens = 0;
  // For Programs with slot states, outside encode and draft steps: the slot of the sequence, of
  // CompileOptions::slots; no other run of the step has it. It holds what the run up to
  // first_position left there; a run from position 0 finds it empty, whatever it held.
  int32_t slot = -1;
  // Or: one a token, each another, where what the sequence has come to behind that token goes. Then
  // `slot` is only begun from, unless it is one of these.
  std::span<const int32_t> row_slots = {};
  // In draft steps: the row that the last step, of whichever kind, kept for the run's first token;
  // the others follow.
  int kept = 0;
  // Tokens are chosen from each row before the last, too; needs kAll and `sampling`, and is for all
  // of them or empty. What these look back on holds no chosen_before().
  std::span<const Sampling> row_sampling = {};
  // As `pages`, of window pages, where CompileOptions has some; not in draft steps. What lies
  // before the first token's window is not looked at.
  std::span<const int32_t> window_pages = {};
};

// Copies a whole KV page, all layers of its kind, before the step's tokens are computed. The copies
// of one step happen in any order: no page is written by one and read or written by another.
struct PageCopy {
  int32_t from;
  int32_t to;
};

// Copies a whole slot, by the same rules: to keep what a sequence has come to, and to go on from
// it.
struct SlotCopy {
  int32_t from;
  int32_t to;
};

// What changes from call to call. The spans must stay valid until the step has been waited for.
// The runs hold at most max_tokens tokens and want at most max_rows rows in all.
struct Step {
  std::span<const Run> runs;
  std::span<const PageCopy> copies;
  // Another step follows at once: the device may wait for it before it starts.
  bool more = false;
  // Every run is a whole source, from position 0: it goes through the Program's encoder to its
  // pages, and wants no logits.
  bool encode = false;
  std::span<const SlotCopy> slot_copies = {};
  std::span<const PageCopy> window_copies = {};  // of window pages
  // The runs go through the Program's drafter. Token t of a run stands behind the position that it
  // is given: first_position is that of the first kept row.
  bool draft = false;
};

// Valid until the next submit or wait.
struct StepResult {
  // [rows, vocabulary]: the rows that wanted logits, in order; of a Program that ends in hidden
  // states these, [rows, width]. Empty where every run that wanted some has Sampling or asks for
  // its best, on devices that choose the token themselves.
  std::span<const float> logits;
  // One a run: the chosen token, or kNotFinite; -1 where none was asked for, or where all runs had
  // ended before. Behind them, one each, those of Run::row_sampling, run by run.
  std::span<const int32_t> tokens;
  // The candidates of the runs that asked for them, run after run, each run's in falling order of
  // probability (equals: the lower token first). A run whose vocabulary holds fewer has the rest
  // filled with token -1. All kNotFinite where there is nothing to choose.
  std::span<const Candidate> best;
};

// Thrown by submit() and wait() when the device failed and is ready again, but has lost the KV
// pages and slots: all sequences must be computed anew.
class DeviceReset : public Error {
 public:
  using Error::Error;
};

// KV pages are of two kinds. A full page holds the keys and values of all layers, of so many
// positions. Where there are window pages, they hold those of the layers that look back over a
// window alone (KvState::window), and full pages those of the others: then of a long text few
// window pages are needed at a time, those of its last positions.
enum class PageKind : uint8_t { kFull, kWindow };

struct CompileOptions {
  int max_tokens = 512;  // tokens a step
  int max_rows = 64;     // rows of logits a step
  int pages = 0;         // full KV pages in all
  int window_pages = 0;  // window pages in all; 0: there are none, all layers are in full pages
  int page_tokens = 32;  // positions a page
  int slots = 0;         // for Programs with slot states: slots in all
  // Finding where numbers go wrong, on the CPU alone (others leave it): called in submit() with
  // every row of what each op came to, in order; an op whose result is added to a residual: the
  // sum. Must not throw.
  std::function<void(size_t op, int row, std::span<const float> values)> look = {};
  // On the CPU alone, too: every row that goes into a matrix of a Linear or of Experts, and which
  // of the weight's matrices (a head's, an expert's) it goes into. Must not throw.
  std::function<void(program::WeightId weight, int matrix, std::span<const float> row)>
      look_at_input = {};
};

// Bytes that an Executable holds beyond the weights in their file.
struct MemoryUse {
  size_t kv = 0;       // KV pages and slots
  size_t buffers = 0;  // activations and scratch
};

using Ticket = uint64_t;

// A Program made ready to run with its weights on one device. One thread at a time.
class Executable {
 public:
  virtual ~Executable() = default;
  // Starts a step; steps run in the order of submission. Throws Error when the step breaks the
  // limits above (a caller's mistake).
  virtual Ticket submit(const Step& step) = 0;
  // Waits for a submitted step.
  virtual StepResult wait(Ticket ticket) = 0;
  virtual const CompileOptions& options() const = 0;
  virtual MemoryUse memory() const = 0;
  // A KV page's bytes, to be kept elsewhere, and a slot's (0: there are none). Those of
  // executables whose page_layout() is the same can be exchanged. REQUIRES: no step is under way.
  virtual size_t page_bytes(PageKind kind) const = 0;
  virtual size_t slot_bytes() const = 0;
  virtual std::string page_layout() const = 0;
  virtual void read_page(PageKind kind, int32_t page, std::span<std::byte> bytes) = 0;
  virtual void write_page(PageKind kind, int32_t page, std::span<const std::byte> bytes) = 0;
  virtual void read_slot(int32_t slot, std::span<std::byte> bytes) = 0;
  virtual void write_slot(int32_t slot, std::span<const std::byte> bytes) = 0;
  // Steps that are best queued before the first is waited for.
  virtual int lookahead() const { return 1; }
};

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string description() const = 0;  // "CPU, 2 threads, avx512"
  // Executable::lookahead() of what it compiles, at most.
  virtual int lookahead() const { return 1; }
  // Whether its memory is another than the host's: then the tables that the host may keep
  // (program::host_tables()) take none of it.
  virtual bool has_own_memory() const { return false; }
  // Bytes that executables could have now, beside the weights of the model's Program (null: beside
  // none). 0 when unknown.
  virtual uint64_t room(const formats::Model* model, const program::Program* program) const = 0;
  // The model must be the one that the Program was built from; the device outlives what it returns.
  // Throws Error when the device lacks something that the Program needs, or memory.
  virtual std::unique_ptr<Executable> compile(program::Program program,
                                              std::shared_ptr<const formats::Model> model,
                                              const CompileOptions& options) = 0;
};

// The processor this program runs on. threads 0 means one for each core.
std::unique_ptr<Device> open_cpu(int threads);

}  // namespace outboard::devices
