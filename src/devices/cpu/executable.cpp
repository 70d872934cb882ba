#include "devices/cpu/executable.h"
#include "devices/step_check.h"

#include <algorithm>
#include <utility>

#include "formats/quantize.h"
#include "support/error.h"

namespace outboard::devices::cpu {

using program::Attention;
using program::CrossAttention;
using program::Linear;
using program::ValueId;
using program::WeightId;

namespace {

// Attention scratch is sized for the widest group of heads; linear scratch for the longest row.
size_t scratch_bytes(const program::Program& program, const Kernels& kernels) {
  size_t bytes = best_scratch_bytes(program.tokens);
  int64_t columns = 0;
  for (const program::Weight& weight : program.weights)
    columns = std::max(columns, weight.shape.empty() ? 1 : weight.shape.back());
  bytes = std::max(bytes, kernels.linear_scratch_bytes(columns));
  const auto attention = [&](int heads, program::StateId state) {
    const program::KvState& s = program.states[static_cast<size_t>(state)];
    bytes = std::max(bytes,
                     kernels.attention_scratch_bytes(heads / s.kv_heads, s.key_dim, s.value_dim));
  };
  for (const program::Op& op : program.ops) {
    if (const auto* a = std::get_if<Attention>(&op.kind)) attention(a->heads, a->state);
    if (const auto* a = std::get_if<CrossAttention>(&op.kind)) attention(a->heads, a->state);
  }
  return (bytes + 4095) / 4096 * 4096;
}

}  // namespace

CpuExecutable::CpuExecutable(program::Program program, std::shared_ptr<const formats::Model> model,
                             const devices::CompileOptions& options, ThreadTeam& team,
                             const Kernels& kernels)
    : program_(std::move(program)),
      model_(std::move(model)),
      options_(options),
      team_(team),
      kernels_(kernels),
      plan_(make_plan(program_, kernels, options.max_tokens, options.max_rows)),
      state_(options.max_tokens, options.max_rows),
      // Translation keeps few positions, and a search over beams feels their rounding.
      kv_(program_.states, options, program_.encoder_ops > 0),
      slots_(program_.slot_states, options.slots),
      arena_(plan_.arena_bytes),
      scratch_bytes_(scratch_bytes(program_, kernels)),
      floats_(program_.weights.size()),
      sampler_(program_.tokens) {
  if (program_.drafter_ops > 0)
    kept_.resize(static_cast<size_t>(options.max_tokens) * static_cast<size_t>(program_.width));
  scratch_ = AlignedBuffer(scratch_bytes_ * static_cast<size_t>(team.size()));
  build_phases();
  next_ = std::vector<std::atomic<int>>(phases_.size());
}

devices::MemoryUse CpuExecutable::memory() const {
  size_t buffers = arena_.size() + scratch_.size();
  for (const AlignedBuffer& buffer : expert_buffers_) buffers += buffer.size();
  for (const auto& weight : floats_)
    if (weight) buffers += weight->size() * sizeof(float);
  return {kv_.bytes() + slots_.bytes(), buffers};
}

devices::Ticket CpuExecutable::submit(const devices::Step& step) {
  devices::check_step(step, options_, program_, lookahead());
  state_.load(step, options_.page_tokens, program_.encoder_ops > 0);
  for (std::atomic<int>& next : next_) next.store(0, std::memory_order_relaxed);

  const bool copies =
      !step.copies.empty() || !step.window_copies.empty() || !step.slot_copies.empty();
  const std::function<void(int)> body = [&](int thread) {
    // Each thread does its share of every page and slot.
    for (const devices::PageCopy& copy : step.copies)
      kv_.copy_page(devices::PageKind::kFull, copy, thread, team_.size());
    for (const devices::PageCopy& copy : step.window_copies)
      kv_.copy_page(devices::PageKind::kWindow, copy, thread, team_.size());
    for (const devices::SlotCopy& copy : step.slot_copies)
      slots_.copy(copy.from, copy.to, thread, team_.size());
    if (copies) team_.barrier();
    const size_t drafter = phases_.size() - drafter_phases_;
    const size_t begin = state_.encode ? 0 : state_.draft ? drafter : encoder_phases_;
    const size_t end = state_.encode ? encoder_phases_ : state_.draft ? phases_.size() : drafter;
    for (size_t i = begin; i < end; ++i) {
      if (options_.look_at_input) {
        if (thread == 0) look_at_inputs(phase_ops_[i]);
        team_.barrier();
      }
      phases_[i](thread, next_[i]);
      team_.barrier();
      if (!options_.look) continue;
      if (thread == 0) look_at(phase_ops_[i]);
      team_.barrier();
    }
  };
  if (state_.tokens > 0 || copies) team_.run(body);

  choose(step);
  find_best(step);
  // Rows are padded to the alignment; the result is dense.
  if (const int64_t width = program_.output_width(); stride(logits()) != width)
    for (int r = 1; r < state_.rows; ++r)
      std::copy_n(value(logits(), r), width, value(logits(), 0) + r * width);
  return ++submitted_;
}

void CpuExecutable::choose(const devices::Step& step) {
  chosen_.assign(step.runs.size(), -1);
  int row = 0;
  for (size_t i = 0; i < step.runs.size(); ++i) {
    const devices::Run& run = step.runs[i];
    row += rows_of(run);
    if (run.sampling != nullptr)
      chosen_[i] = sampler_.choose(*run.sampling, to_choose_from(row - 1));
    const int first = row - rows_of(run);
    for (size_t r = 0; r < run.row_sampling.size(); ++r)
      chosen_.push_back(
          sampler_.choose(run.row_sampling[r], to_choose_from(first + static_cast<int>(r))));
  }
}

devices::StepResult CpuExecutable::wait(devices::Ticket ticket) {
  if (ticket != submitted_) fail("wait: step {} is not the last one submitted", ticket);
  const auto width = static_cast<size_t>(program_.output_width());
  return {{value(logits(), 0), static_cast<size_t>(state_.rows) * width}, chosen_, best_};
}

// What a phase came to lies there until the next one.
void CpuExecutable::look_at(const std::vector<int>& ops) {
  for (const int op : ops) {
    const ValueId out = program_.ops[static_cast<size_t>(op)].out;
    const bool logit_rows =
        program_.values[static_cast<size_t>(out)].shape[0].kind == program::Dim::kRows;
    for (int row = 0; row < (logit_rows ? state_.rows : state_.tokens); ++row)
      options_.look(static_cast<size_t>(op), row,
                    {value(out, row), static_cast<size_t>(width(out))});
  }
}

void CpuExecutable::look_at_inputs(const std::vector<int>& ops) {
  for (const int op : ops) {
    const auto* linear = std::get_if<program::Linear>(&program_.ops[static_cast<size_t>(op)].kind);
    if (linear == nullptr) continue;
    const bool logit_rows =
        program_.values[static_cast<size_t>(linear->x)].shape[0].kind == program::Dim::kRows;
    const int heads = heads_of(program_, op);
    const auto inputs = static_cast<size_t>(width(linear->x)) / static_cast<size_t>(heads);
    for (int row = 0; row < (logit_rows ? state_.rows : state_.tokens); ++row)
      for (int head = 0; head < heads; ++head)
        options_.look_at_input(
            linear->weight, head,
            {value(linear->x, row) + static_cast<size_t>(head) * inputs, inputs});
  }
}

// The last rows of logits of the runs that ask for their best, shared out over the threads.
void CpuExecutable::find_best(const devices::Step& step) {
  best_rows_.clear();
  size_t wanted = 0;
  for (const devices::Run& run : step.runs) wanted += static_cast<size_t>(run.best);
  best_.resize(wanted);
  if (wanted == 0) return;
  int row = 0;
  size_t first = 0;
  for (const devices::Run& run : step.runs) {
    if (run.logits == devices::Run::Logits::kAll) row += static_cast<int>(run.tokens.size());
    if (run.logits == devices::Run::Logits::kLast) ++row;
    if (run.best == 0) continue;
    const auto count = static_cast<size_t>(run.best);
    best_rows_.push_back({row - 1, std::span(best_).subspan(first, count)});
    first += count;
  }
  std::atomic<size_t> next{0};
  const std::function<void(int)> body = [&](int thread) {
    std::byte* scratch = scratch_.data() + static_cast<size_t>(thread) * scratch_bytes_;
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < best_rows_.size();)
      best_tokens(kernels_, to_choose_from(best_rows_[i].row), best_rows_[i].best, scratch);
  };
  team_.run(body);
}

Matrix CpuExecutable::matrix(WeightId id) const {
  const program::Weight& weight = program_.weights[static_cast<size_t>(id)];
  const formats::Tensor& tensor = model_->get(weight.name);
  return {tensor.type, tensor.rows(), tensor.columns(), tensor.data.data(), byte_inputs(program_)};
}

const float* CpuExecutable::floats(WeightId id) {
  if (id == program::kNone) return nullptr;
  auto& converted = floats_[static_cast<size_t>(id)];
  if (!converted) {
    const formats::Tensor& tensor = model_->get(program_.weights[static_cast<size_t>(id)].name);
    converted = std::make_unique<std::vector<float>>(static_cast<size_t>(tensor.elements()));
    formats::dequantize(tensor.type, tensor.data.data(), *converted);
  }
  return converted->data();
}

void CpuExecutable::build_phases() {
  for (const PhasePlan& plan : plan_.phases) {
    const program::Op& op = program_.ops[static_cast<size_t>(plan.items.front().op)];
    switch (plan.kind) {
      case PhasePlan::kTokenRows:
      case PhasePlan::kLogitRows: {
        std::vector<RowTask> tasks;
        tasks.reserve(plan.items.size());
        for (const Item& item : plan.items) tasks.push_back(row_task(item));
        phases_.push_back(row_phase(std::move(tasks), plan.kind == PhasePlan::kTokenRows));
        break;
      }
      case PhasePlan::kLinear:
        phases_.push_back(linear_phase(plan));
        break;
      case PhasePlan::kAttention:
        phases_.push_back(attention_phase(attention_part(op)));
        break;
      case PhasePlan::kSequence:
        phases_.push_back(sequence_phase(op));
        break;
      case PhasePlan::kExperts:
        phases_.push_back(experts_phase(std::get<program::Experts>(op.kind), op.out));
        break;
    }
    std::vector<int>& ops = phase_ops_.emplace_back();
    for (const Item& item : plan.items)
      if (item.kind == Item::kOp &&
          program_.ops[static_cast<size_t>(item.op)].out != program::kNone)
        ops.push_back(item.op);
  }
  encoder_phases_ = plan_.encoder_phases;
  drafter_phases_ = plan_.drafter_phases;
  std::vector<RowTask> first;
  first.reserve(rope_tables_.size());
  for (const auto& table : rope_tables_) first.push_back(rope_table_task(*table));
  if (first.empty()) return;
  if (encoder_phases_ > 0) {
    phases_.insert(phases_.begin(), row_phase(first, true));
    phase_ops_.emplace(phase_ops_.begin());
    ++encoder_phases_;
  }
  if (drafter_phases_ > 0) {
    const auto begin = static_cast<ptrdiff_t>(phases_.size() - drafter_phases_);
    phases_.insert(phases_.begin() + begin, row_phase(first, true));
    phase_ops_.emplace(phase_ops_.begin() + begin);
    ++drafter_phases_;
  }
  phases_.insert(phases_.begin() + static_cast<ptrdiff_t>(encoder_phases_),
                 row_phase(std::move(first), true));
  phase_ops_.emplace(phase_ops_.begin() + static_cast<ptrdiff_t>(encoder_phases_));
}

CpuExecutable::Phase CpuExecutable::row_phase(std::vector<RowTask> tasks, bool token_rows) {
  return [this, tasks = std::move(tasks), token_rows](int thread, std::atomic<int>&) {
    const int64_t rows = token_rows ? state_.tokens : state_.rows;
    const auto begin = static_cast<int>(rows * thread / team_.size());
    const auto end = static_cast<int>(rows * (thread + 1) / team_.size());
    if (begin < end)
      for (const RowTask& task : tasks) task(begin, end);
  };
}

CpuExecutable::Phase CpuExecutable::linear_phase(const PhasePlan& plan) {
  struct Part {
    Matrix weight;
    const std::byte* packed;
    ValueId out;
    int64_t column;  // of the output's rows, where a head's part begins
    const float* bias;
    bool accumulate;
    bool logit_rows;
    int first_tile;
  };
  std::vector<Part> parts;
  int tiles = 0;
  for (const Item& item : plan.items) {
    const program::Op& op = program_.ops[static_cast<size_t>(item.op)];
    const auto& linear = std::get<Linear>(op.kind);
    Part part{};
    const int heads = heads_of(program_, item.op);
    part.weight = matrix(linear.weight);
    part.weight.rows /= heads;
    if (!has_linear(part.weight.type))
      fail("tensor {}: the CPU has no matrix product for type {}",
           program_.weights[static_cast<size_t>(linear.weight)].name,
           formats::type_info(part.weight.type).name);
    const Packing packing = packing_of(program_, linear.weight);
    part.packed = arena_.data() + plan_.packed_place(linear.x, packing, heads).offset;
    part.out = op.out;
    part.bias = floats(linear.bias);
    part.accumulate = plan_.accumulates[static_cast<size_t>(item.op)];
    part.logit_rows =
        program_.values[static_cast<size_t>(op.out)].shape[0].kind == program::Dim::kRows;
    const bool logit_rows = part.logit_rows;
    const size_t head_bytes =
        static_cast<size_t>(logit_rows ? options_.max_rows : options_.max_tokens) *
        kernels_.packed_row_bytes(packing, part.weight.columns);
    const size_t matrix_bytes =
        formats::storage_bytes(part.weight.type, part.weight.rows * part.weight.columns);
    for (int head = 0; head < heads; ++head) {
      part.first_tile = tiles;
      tiles += static_cast<int>((part.weight.rows + kRowTile - 1) / kRowTile);
      parts.push_back(part);
      part.packed += head_bytes;
      part.weight.data += matrix_bytes;
      part.column += part.weight.rows;
    }
  }
  // Prompts: pieces small enough to even out threads that run at different speeds. Decoding waits
  // for memory, which streams best in one long run a thread.
  const int small_piece = std::max(1, tiles / (team_.size() * 8));
  const int large_piece = (tiles + team_.size() - 1) / team_.size();
  return [this, parts = std::move(parts), tiles, small_piece, large_piece](int thread,
                                                                           std::atomic<int>& next) {
    constexpr int kFewTokens = 4;
    const int piece = state_.tokens <= kFewTokens ? large_piece : small_piece;
    std::byte* scratch = scratch_.data() + static_cast<size_t>(thread) * scratch_bytes_;
    for (;;) {
      const int begin = next.fetch_add(piece, std::memory_order_relaxed);
      if (begin >= tiles) return;
      const int end = std::min(begin + piece, tiles);
      for (const Part& p : parts) {
        const int part_tiles = static_cast<int>((p.weight.rows + kRowTile - 1) / kRowTile);
        const int64_t first = std::max(begin, p.first_tile) - p.first_tile;
        const int64_t last = std::min(end, p.first_tile + part_tiles) - p.first_tile;
        const int rows = p.logit_rows ? state_.rows : state_.tokens;
        if (first >= last || rows == 0) continue;
        kernels_.linear(p.weight, p.packed, rows, value(p.out, 0) + p.column, stride(p.out),
                        first * kRowTile, std::min(last * kRowTile, p.weight.rows), p.bias,
                        p.accumulate, scratch);
      }
    }
  };
}

CpuExecutable::AttentionPart CpuExecutable::attention_part(const program::Op& op) {
  AttentionPart part{};
  if (const auto* cross = std::get_if<CrossAttention>(&op.kind)) {
    part = {cross->q, op.out, cross->state, cross->heads, true, {}};
    part.run.scale = cross->scale;
    part.run.causal = false;
  } else {
    const auto& own = std::get<Attention>(op.kind);
    part = {own.q, op.out, own.state, own.heads, false, {}};
    part.run.scale = own.scale;
    part.run.causal = own.causal;
    part.run.window = own.window;
    part.run.softcap = own.softcap;
    part.run.chunked = own.chunked;
    part.run.sinks = floats(own.sinks);
  }
  const program::KvState& state = program_.states[static_cast<size_t>(part.state)];
  part.run.q_stride = stride(part.q);
  part.run.out_stride = stride(part.out);
  part.run.key_dim = state.key_dim;
  part.run.value_dim = state.value_dim;
  part.run.float_kv = kv_.floats();
  part.run.key_page_stride = part.run.value_page_stride = kv_.page_stride(part.state);
  part.run.value_row = kv_.value_row(part.state);
  part.run.page_tokens = kv_.page_tokens();
  return part;
}

CpuExecutable::Phase CpuExecutable::attention_phase(const AttentionPart& part) {
  const int kv_heads = program_.states[static_cast<size_t>(part.state)].kv_heads;
  const int group = part.heads / kv_heads;
  const bool is_window = kv_.kind(part.state) == devices::PageKind::kWindow;
  return [this, part, group, kv_heads, is_window](int thread, std::atomic<int>& next) {
    const std::vector<AttentionTile>& all_tiles = part.cross ? state_.source_tiles : state_.tiles;
    const int tiles = static_cast<int>(all_tiles.size());
    // One item takes all query heads of a KV head, which share its keys; where that gives too few
    // items to keep the threads busy, an item is a single query head.
    const bool by_head = tiles * kv_heads < 4 * team_.size();
    const int parts = by_head ? group : 1;
    const int items = tiles * kv_heads * parts;
    std::byte* scratch = scratch_.data() + static_cast<size_t>(thread) * scratch_bytes_;
    for (int item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
      // Later tiles of a prompt see more positions: take them first, so that no thread is left with
      // the longest at the end.
      const AttentionTile& tile =
          all_tiles[static_cast<size_t>(tiles - 1 - item / (kv_heads * parts))];
      const int kv_head = item / parts % kv_heads;
      const int head = kv_head * group + (by_head ? item % parts : 0);
      AttentionRun run = part.run;
      run.q = value(part.q, tile.first_token) + int64_t{head} * run.key_dim;
      run.out = value(part.out, tile.first_token) + int64_t{head} * run.value_dim;
      run.tokens = tile.tokens;
      run.group = by_head ? 1 : group;
      if (run.sinks != nullptr) run.sinks += head;
      run.first_position = tile.first_position;
      run.context = tile.context;
      run.keys = kv_.keys(part.state, kv_head);
      run.values = kv_.values(part.state, kv_head);
      run.pages = is_window ? tile.window_pages : tile.pages;
      kernels_.attention(run, scratch);
    }
  };
}

}  // namespace outboard::devices::cpu
