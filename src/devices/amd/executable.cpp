#include "devices/amd/executable.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "devices/step_check.h"
#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/pm4_writer.h"
#include "program/cost.h"
#include "support/error.h"
#include "support/round_up.h"

namespace outboard::devices::amd {
namespace {

using hardware::amd::append;

constexpr uint64_t kAlignment = 256;
// Where the arguments for copying window pages and slots lie behind those for full pages.
constexpr uint64_t kWindowCopies = 64;
constexpr uint64_t kSlotCopies = 128;
static_assert(sizeof(gpu::kernels::CopyPagesArgs) <= kWindowCopies);

std::string name_of(const gpu::StreamShape& shape) {
  return fmt::format("stream: {} {} tokens, {} rows of logits",
                     shape.encode   ? "encode"
                     : shape.draft  ? "draft"
                     : shape.decode ? "decode"
                                    : "prompt",
                     shape.tokens, shape.rows);
}

static_assert(kMaxBest == gpu::kernels::kMaxBest);
static_assert(kNotFinite == gpu::kernels::kNotFinite);
static_assert(sizeof(Candidate) == sizeof(gpu::kernels::BestToken));
static_assert(sizeof(PageCopy) == 8);  // as StepLayout::copies
static_assert(sizeof(SlotCopy) == 8);  // likewise

}  // namespace

AmdExecutable::AmdExecutable(AmdDevice& device, program::Program program,
                             std::shared_ptr<const formats::Model> model,
                             const CompileOptions& options)
    : device_(device),
      program_(std::move(program)),
      model_(std::move(model)),
      options_(options),
      max_runs_(options.max_rows),
      brings_rows_(!program::host_tables(program_).empty()),
      most_masks_(std::min(max_runs_, gpu::kernels::kMaxMasks)),
      mask_(static_cast<size_t>(program_.tokens + 31) / 32) {
  const auto context_pages =
      static_cast<int>((program_.context_length + options.page_tokens - 1) / options.page_tokens);
  layout_ = gpu::step_layout(options, program_, max_runs_, std::min(options.pages, context_pages));
  record_.resize(static_cast<size_t>(layout_.bytes));
  chosen_.resize(static_cast<size_t>(max_runs_));
  set_up();
}

// Memory of all that lives longer than a stream, and the streams that are sure to be wanted.
void AmdExecutable::set_up() {
  driver::Card& card = device_.card();
  const auto runs = static_cast<uint64_t>(max_runs_);
  on_card_ = std::make_unique<OnCard>();
  OnCard& c = *on_card_;
  generation_ = device_.generation();
  c.weights = device_.weights(program_, model_);
  driver::Memory::Batch batch(card.memory());  // page tables are written once
  const auto record_bytes = static_cast<uint64_t>(layout_.bytes);
  c.records = SystemPiece(card, kSlots * record_bytes, "step records");
  c.results = SystemPiece(card, kSlots * runs * 4, "chosen tokens");
  c.best = SystemPiece(card, kSlots * runs * kMaxBest * sizeof(Candidate), "best tokens");

  const uint64_t mask_bytes = mask_.size() * 4;
  masked_ = brought_ = 0;
  c.masks = SystemPiece(card, static_cast<uint64_t>(most_masks_) * mask_bytes, "masks of tokens");

  // One buffer for what is small: the record, the ring of chosen tokens, flags.
  const uint64_t chosen = round_up(record_bytes, kAlignment);
  const uint64_t ended = chosen + round_up(kSlots * runs * 4, kAlignment);
  const uint64_t slot = ended + round_up(runs * 4, kAlignment);
  const uint64_t alive = slot + kAlignment;
  const uint64_t counters = alive + kAlignment;
  const uint64_t counter_bytes = gpu::counter_bytes(program_);
  c.control = DeviceBuffer(card, counters + round_up(counter_bytes, kAlignment), "step state");
  const GpuAddress base = c.control.address();
  c.slot_word = base + slot;

  gpu::StreamMemory& m = c.memory;
  m.counters = value(base + counters);
  m.begin.slot.address = value(c.slot_word);
  m.begin.records.address = value(c.records.address());
  m.begin.record.address = value(base);
  m.begin.chosen.address = value(base + chosen);
  m.begin.ended.address = value(base + ended);
  m.begin.layout = layout_;
  m.begin.slots = kSlots;
  m.sample.chosen.address = value(base + chosen);
  m.sample.ended.address = value(base + ended);
  m.sample.alive.address = value(base + alive);
  m.sample.results.address = value(c.results.address());
  m.sample.best.address = value(c.best.address());
  m.sample.masks.address = value(c.masks.address());
  m.sample.mask_words = static_cast<int32_t>(mask_.size());
  m.sample.vocabulary = static_cast<int32_t>(program_.tokens);
  m.sample.stride =
      static_cast<int32_t>(round_up(static_cast<uint64_t>(program_.output_width()), 4));
  const auto row_bytes = static_cast<uint64_t>(m.sample.stride) * 4;
  const auto rows = static_cast<uint64_t>(layout_.max_rows);
  c.logits = DeviceBuffer(card, rows * row_bytes, "logits");
  m.sample.logits.address = value(c.logits.address());

  if (brings_rows_) {
    c.host_rows.emplace(card, program_, *model_, layout_.max_tokens);
    m.host_tables = c.host_rows->tables();
  }

  // A full page holds the states of a sequence, or those of a source.
  const auto page_tokens = static_cast<uint64_t>(options_.page_tokens);
  auto& full = m.pages[static_cast<size_t>(PageKind::kFull)];
  auto& windows = m.pages[static_cast<size_t>(PageKind::kWindow)];
  std::array<uint64_t, 2> used{};
  for (const program::KvState& state : program_.states) {
    const bool is_window = state.window > 0 && options_.window_pages > 0;
    uint64_t& at = is_window ? windows.bytes : used[state.source ? 1 : 0];
    const uint64_t heads = static_cast<uint64_t>(state.kv_heads) * page_tokens * 2;
    const uint64_t keys = at;
    at += round_up(heads * static_cast<uint64_t>(state.key_dim), kAlignment);
    m.states.push_back(
        {is_window ? PageKind::kWindow : PageKind::kFull, keys, state.values_in_keys ? keys : at});
    if (!state.values_in_keys)
      at += round_up(heads * static_cast<uint64_t>(state.value_dim), kAlignment);
  }
  full.bytes = std::max(used[0], used[1]);
  for (const program::SlotState& state : program_.slot_states) {
    m.slot_states.push_back(m.slot_bytes);
    m.slot_bytes += round_up(static_cast<uint64_t>(state.size) * 4, kAlignment);
  }
  if (m.slot_bytes > 0 && options_.slots > 0) {
    c.slots = DeviceBuffer(card, static_cast<uint64_t>(options_.slots) * m.slot_bytes, "slots");
    m.slots = value(c.slots.address());
  }
  m.compute_units = static_cast<int>(card.facts().compute_units);
  m.context = static_cast<int>(std::min<int64_t>(
      program_.context_length, int64_t{layout_.pages_per_run} * options_.page_tokens));
  const auto place_pages = [&](PageKind kind, int count, const char* what) {
    auto& pages = m.pages[static_cast<size_t>(kind)];
    if (count == 0 || pages.bytes == 0) return;
    DeviceBuffer& buffer = c.kv[static_cast<size_t>(kind)];
    buffer = DeviceBuffer(card, static_cast<uint64_t>(count) * pages.bytes, what);
    pages.memory = value(buffer.address());
  };
  place_pages(PageKind::kFull, options_.pages, "KV cache");
  place_pages(PageKind::kWindow, options_.window_pages, "KV cache of windows");

  // The largest shapes need the largest arena.
  uint64_t arena = 0;
  const int few = std::min(gpu::kMatvecRows, layout_.max_rows);
  std::vector<gpu::StreamShape> shapes{{layout_.max_tokens, layout_.max_rows},
                                       {gpu::kMatvecRows, few, true},
                                       {gpu::kMatvecRows, few}};
  if (program_.encoder_ops > 0)
    for (const int tokens : {layout_.max_tokens, gpu::kMatvecRows})
      shapes.push_back({tokens, 0, false, true});
  if (program_.drafter_ops > 0) {
    const auto kept = static_cast<uint64_t>(layout_.max_tokens) * round_up(program_.width, 4);
    c.kept = DeviceBuffer(card, kept * 4, "kept rows");
    m.kept = value(c.kept.address());
    for (size_t i = shapes.size(); i > 0; --i)
      if (!shapes[i - 1].encode) {
        shapes.push_back(shapes[i - 1]);
        shapes.back().draft = true;
      }
  }
  for (const gpu::StreamShape& shape : shapes)
    arena = std::max(arena, gpu::arena_bytes(program_, shape, *c.weights, m));
  c.arena = DeviceBuffer(card, arena, "activations");
  m.arena = value(c.arena.address());
  c.copies = DeviceBuffer(card, kSlots * kAlignment, "copy arguments");
  batch.finish();
  upload_copy_arguments();
  card.upload(c.control.buffer(), counters, std::vector<std::byte>(counter_bytes));
  stream(gpu::bucket_of({1, 1, true}));
}

size_t AmdExecutable::page_bytes(PageKind kind) const {
  return on_card_->memory.pages[static_cast<size_t>(kind)].bytes;
}

size_t AmdExecutable::slot_bytes() const { return on_card_->memory.slot_bytes; }

std::string AmdExecutable::page_layout() const {
  return fmt::format("amd {} {} {}", page_bytes(PageKind::kFull), page_bytes(PageKind::kWindow),
                     slot_bytes());
}

void AmdExecutable::read_page(PageKind kind, int32_t page, std::span<std::byte> bytes) {
  device_.card().download(on_card_->kv[static_cast<size_t>(kind)].buffer(),
                          static_cast<uint64_t>(page) * page_bytes(kind), bytes);
}

void AmdExecutable::write_page(PageKind kind, int32_t page, std::span<const std::byte> bytes) {
  device_.card().upload(on_card_->kv[static_cast<size_t>(kind)].buffer(),
                        static_cast<uint64_t>(page) * page_bytes(kind), bytes);
}

void AmdExecutable::read_slot(int32_t slot, std::span<std::byte> bytes) {
  device_.card().download(on_card_->slots.buffer(), static_cast<uint64_t>(slot) * slot_bytes(),
                          bytes);
}

void AmdExecutable::write_slot(int32_t slot, std::span<const std::byte> bytes) {
  device_.card().upload(on_card_->slots.buffer(), static_cast<uint64_t>(slot) * slot_bytes(),
                        bytes);
}

// Where each slot's copies are listed does not change.
void AmdExecutable::upload_copy_arguments() {
  const OnCard& c = *on_card_;
  std::vector<std::byte> bytes(kSlots * kAlignment);
  for (uint64_t slot = 0; slot < kSlots; ++slot) {
    const GpuAddress record = c.records.address() + slot * static_cast<uint64_t>(layout_.bytes);
    const auto put = [&](uint64_t at, int32_t copies, uint64_t memory, uint64_t piece_bytes) {
      gpu::kernels::CopyPagesArgs args{};
      args.copies.address = value(record + static_cast<uint64_t>(copies));
      args.kv.address = memory;
      args.page_bytes = piece_bytes;
      std::memcpy(bytes.data() + slot * kAlignment + at, &args, sizeof(args));
    };
    const auto& [full, windows] = c.memory.pages;
    put(0, layout_.copies, full.memory, full.bytes);
    put(kWindowCopies, gpu::window_copies_at(layout_), windows.memory, windows.bytes);
    put(kSlotCopies, gpu::slot_copies_at(layout_, options_), c.memory.slots, c.memory.slot_bytes);
  }
  device_.card().upload(c.copies.buffer(), 0, bytes);
}

MemoryUse AmdExecutable::memory() const {
  if (on_card_ == nullptr) return {};  // lost in a reset
  const OnCard& c = *on_card_;
  uint64_t buffers = c.control.bytes() + c.logits.bytes() + c.arena.bytes() + c.kept.bytes();
  if (c.host_rows) buffers += c.host_rows->bytes();
  for (const auto& [shape, stream] : c.streams) buffers += stream->bytes();
  return {c.kv[0].bytes() + c.kv[1].bytes() + c.slots.bytes(), buffers};
}

const Stream& AmdExecutable::stream(const gpu::StreamShape& shape) {
  auto& streams = on_card_->streams;
  const auto found =
      std::ranges::find(streams, shape, [](const auto& entry) { return entry.first; });
  if (found != streams.end()) return *found->second;
  const gpu::Recorder recorder = gpu::lower(program_, shape, *on_card_->weights, on_card_->memory);
  streams.emplace_back(
      shape,
      std::make_unique<Stream>(device_.card(), device_.code(), recorder,
                               GpuAddress{on_card_->memory.sample.alive.address}, name_of(shape)));
  return *streams.back().second;
}

template <typename Body>
auto AmdExecutable::guarded(const Body& body) {
  try {
    return body();
  } catch (const Error& e) {
    if (!is_card_failure_) throw;
    is_card_failure_ = false;
    device_.recover([this] { on_card_.reset(); });
    throw DeviceReset(e.message(), e.hint());
  }
}

// Pages and slots are copied before the step runs, when all earlier steps are done.
std::vector<uint32_t> AmdExecutable::copy_packets(int slot, const Step& step) const {
  const OnCard& c = *on_card_;
  // The arguments may lie where those of another launch did.
  std::vector<uint32_t> packets =
      hw::pm4::acquire({.instructions = true, .scalar = true, .vector = true});
  const auto copy = [&](uint64_t at, uint64_t piece_bytes, size_t copies) {
    if (copies == 0 || piece_bytes == 0) return;
    const auto chunks = static_cast<uint32_t>((piece_bytes + gpu::kernels::kCopyBytes - 1) /
                                              gpu::kernels::kCopyBytes);
    append(packets, hw::pm4::dispatch(launch_of(
                        gpu::kernels::find("copy_pages"), device_.code(),
                        c.copies.address() + static_cast<uint64_t>(slot) * kAlignment + at,
                        {chunks, static_cast<uint32_t>(copies), 1})));
  };
  const auto& [full, windows] = c.memory.pages;
  copy(0, full.bytes, step.copies.size());
  copy(kWindowCopies, windows.bytes, step.window_copies.size());
  copy(kSlotCopies, c.memory.slot_bytes, step.slot_copies.size());
  append(packets, hw::pm4::barrier());
  return packets;
}

// There is room for one step's: who asks for a mask waits for the token before it anyway.
void AmdExecutable::write_masks(const Step& step) {
  int masks = 0;
  // In the order in which write_record() numbers them.
  const auto write = [&](const Sampling& sampling) {
    if (sampling.mask.empty()) return;
    if (masks == 0) {
      const Pending& before = pending_[masked_ % kSlots];
      if (masked_ != 0 && before.ticket == masked_) wait_for(before);
      masked_ = submitted_ + 1;
    }
    if (masks == most_masks_) fail("step: more than {} runs with a mask", most_masks_);
    // What the mask says nothing of may not be chosen.
    const auto mask = sampling.mask;
    const size_t count = std::min(mask.size(), mask_.size());
    std::ranges::fill(std::ranges::copy(mask.first(count), mask_.begin()).out, mask_.end(), 0U);
    const size_t bytes = mask_.size() * 4;
    on_card_->masks.write(static_cast<uint64_t>(masks++) * bytes, std::as_bytes(std::span(mask_)));
  };
  for (const Run& run : step.runs) {
    if (run.sampling != nullptr) write(*run.sampling);
    std::ranges::for_each(run.row_sampling, write);
  }
}

// There is room for one step's, as for masks: nothing is queued ahead of its tokens.
void AmdExecutable::write_host_rows(const Step& step) {
  if (!brings_rows_) return;
  const Pending& before = pending_[brought_ % kSlots];
  if (brought_ != 0 && before.ticket == brought_) wait_for(before);
  brought_ = submitted_ + 1;
  on_card_->host_rows->write(step);
}

// So that the card starts what was queued up to the fence.
void AmdExecutable::ring(driver::Fence fence) {
  if (fence <= rung_) return;
  device_.card().compute().ring_doorbell();
  rung_ = queued_;
}

void AmdExecutable::wait_for(const Pending& pending) {
  driver::Card& card = device_.card();
  ring(pending.fence);
  card.set_running([shape = pending.shape] { return name_of(shape); });
  is_card_failure_ = true;  // should this throw
  card.wait(card.compute(), pending.fence, device_.options().patience);
  is_card_failure_ = false;
  card.set_running(nullptr);
}

Ticket AmdExecutable::submit(const Step& step) {
  if (generation_ != device_.generation()) set_up();
  check_step(step, options_, program_, lookahead());
  if (step.runs.size() > static_cast<size_t>(max_runs_)) fail("step: more than {} runs", max_runs_);
  if (step.copies.size() > static_cast<size_t>(options_.pages))
    fail("step: {} copies of {} pages", step.copies.size(), options_.pages);
  if (step.window_copies.size() > static_cast<size_t>(options_.window_pages))
    fail("step: {} copies of {} window pages", step.window_copies.size(), options_.window_pages);
  if (step.slot_copies.size() > static_cast<size_t>(options_.slots))
    fail("step: {} copies of {} slots", step.slot_copies.size(), options_.slots);
  const gpu::StreamShape exact = gpu::shape_of(step);
  return guarded([&] {
    driver::Card& card = device_.card();
    const Ticket ticket = submitted_ + 1;
    Pending& pending = pending_[ticket % kSlots];
    if (pending.ticket != 0) wait_for(pending);  // its record is used again
    pending = {ticket, 0, static_cast<int>(step.runs.size()), exact.rows, false, {}, {}};
    pending.shape = gpu::bucket_of(exact);
    for (const Run& run : step.runs) {
      pending.choices += static_cast<int>(run.row_sampling.size());
      pending.best.push_back(run.best);
      pending.wants_logits |=
          run.logits != Run::Logits::kNone && run.sampling == nullptr && run.best == 0;
    }

    write_masks(step);
    write_host_rows(step);
    const auto slot = static_cast<int>(ticket % kSlots);
    const size_t used = gpu::write_record(step, slot, layout_, options_, record_);
    const OnCard& c = *on_card_;
    const uint64_t place = static_cast<uint64_t>(slot) * static_cast<uint64_t>(layout_.bytes);
    c.records.write(place, std::span(record_).first(used));
    const auto write_copies = [&](int32_t offset, size_t bytes) {
      const auto at = static_cast<size_t>(offset);
      if (bytes > 0) c.records.write(place + at, std::span(record_).subspan(at, bytes));
    };
    write_copies(layout_.copies, step.copies.size_bytes());
    write_copies(gpu::window_copies_at(layout_), step.window_copies.size_bytes());
    write_copies(gpu::slot_copies_at(layout_, options_), step.slot_copies.size_bytes());
    std::ranges::fill(chosen_, -1);  // until it is known otherwise
    c.results.write(static_cast<uint64_t>(slot) * chosen_.size() * 4,
                    std::as_bytes(std::span(chosen_)));

    std::vector<uint32_t> packets = hw::pm4::barrier();
    if (!step.copies.empty() || !step.window_copies.empty() || !step.slot_copies.empty())
      append(packets, copy_packets(slot, step));
    if (exact.tokens > 0) append(packets, step_packets(step, pending.shape, slot));
    pending.fence = queued_ = card.compute().enqueue(packets);
    if (!step.more) ring(queued_);
    submitted_ = ticket;
    return ticket;
  });
}

std::vector<uint32_t> AmdExecutable::step_packets(const Step& step, const gpu::StreamShape& shape,
                                                  int slot) {
  const OnCard& c = *on_card_;
  const GpuAddress alive{c.memory.sample.alive.address};
  // A step that goes on from earlier ones is left out once all its runs have ended.
  const bool goes_on =
      std::ranges::all_of(step.runs, [](const Run& run) { return run.tokens.front() < 0; });
  const Stream& recorded = stream(shape);
  std::vector<uint32_t> packets = hw::pm4::write_word(c.slot_word, static_cast<uint32_t>(slot));
  if (!goes_on) append(packets, hw::pm4::write_word(alive, 1));
  append(packets, hw::pm4::acquire({.instructions = true, .scalar = true, .vector = true}));
  append(packets, goes_on ? recorded.run_if_alive() : recorded.run());
  return packets;
}

StepResult AmdExecutable::wait(Ticket ticket) {
  const Pending& pending = pending_[ticket % kSlots];
  if (ticket == 0 || pending.ticket != ticket || on_card_ == nullptr)
    fail("wait: step {} is not under way", ticket);
  return guarded([&]() -> StepResult {
    wait_for(pending);
    const auto slot = ticket % kSlots;
    const auto choices = static_cast<size_t>(pending.choices);
    on_card_->results.read(slot * static_cast<uint64_t>(max_runs_) * 4,
                           std::as_writable_bytes(std::span(chosen_).first(choices)));
    std::span<const float> logits;
    if (pending.wants_logits) {
      const auto width = static_cast<size_t>(program_.output_width());
      const auto stride = static_cast<size_t>(on_card_->memory.sample.stride);
      const auto rows = static_cast<size_t>(pending.rows);
      logits_.resize(rows * stride);
      device_.card().download(on_card_->logits.buffer(), 0,
                              std::as_writable_bytes(std::span(logits_)));
      if (stride != width)
        for (size_t r = 1; r < rows; ++r)
          std::copy_n(logits_.begin() + static_cast<ptrdiff_t>(r * stride), width,
                      logits_.begin() + static_cast<ptrdiff_t>(r * width));
      logits = std::span(logits_).first(rows * width);
    }
    return {logits, {chosen_.data(), choices}, read_best(pending, slot)};
  });
}

std::span<const Candidate> AmdExecutable::read_best(const Pending& pending, uint64_t slot) {
  best_.clear();
  for (size_t run = 0; run < pending.best.size(); ++run) {
    const auto count = static_cast<size_t>(pending.best[run]);
    if (count == 0) continue;
    const size_t first = best_.size();
    best_.resize(first + count);
    const uint64_t row = slot * static_cast<uint64_t>(max_runs_) + run;
    on_card_->best.read(row * kMaxBest * sizeof(Candidate),
                        std::as_writable_bytes(std::span(best_).subspan(first)));
  }
  return best_;
}

}  // namespace outboard::devices::amd
