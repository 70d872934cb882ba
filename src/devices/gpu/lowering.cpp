#include "devices/gpu/lowering.h"

#include <algorithm>
#include <utility>

#include "devices/gpu/lowerer.h"

namespace outboard::devices::gpu {

Lowerer::Lowerer(const Program& program, const StreamShape& shape, const WeightAddresses& weights,
                 const StreamMemory& memory)
    : program_(program), shape_(shape), weights_(weights), memory_(memory) {
  defined_by_.assign(program.values.size(), -1);
  users_.assign(program.values.size(), {});
  for (size_t i = 0; i < program.ops.size(); ++i) {
    if (program.ops[i].out != kNone) defined_by_[index(program.ops[i].out)] = static_cast<int>(i);
    for (const ValueId id : inputs_of(program.ops[i]))
      users_[index(id)].push_back(static_cast<int>(i));
  }
}

uint64_t Lowerer::measure() {
  run();
  arena_bytes_ = place_first_fit(storages_);
  return arena_bytes_;
}

Recorder Lowerer::record() {
  measure();
  const std::vector<Piece> placed = std::move(storages_);
  storages_.clear();
  placed_ = &placed;
  recorder_ = Recorder();
  run();
  placed_ = nullptr;
  return std::move(recorder_);
}

const Op* Lowerer::only_user(ValueId id) const {
  const auto& users = users_[index(id)];
  return users.size() == 1 && !is_logits(id) ? &program_.ops[index(users[0])] : nullptr;
}

void Lowerer::run() {
  views_.assign(program_.values.size(), std::nullopt);
  done_.assign(program_.ops.size(), false);
  begun_.assign(program_.values.size(), std::nullopt);
  halves_.clear();
  launch_ = 0;
  begin();
  const size_t drafter = program_.drafter_begin();
  const size_t end = shape_.encode  ? program_.encoder_ops
                     : shape_.draft ? program_.ops.size()
                                    : drafter;
  const size_t first = shape_.encode ? 0 : shape_.draft ? drafter : program_.encoder_ops;
  take_apart_host_rows(std::span(program_.ops).subspan(first, end - first));
  for (size_t i = first; i < end; ++i) {
    op_ = static_cast<int>(i);
    const Op& op = program_.ops[i];
    if (op.out != kNone && shape_.rows == 0 && has_rows(op.out)) continue;
    if (done_[i]) continue;
    if (const Standing* row = standing(op)) {
      (this->*row->lower)(op.kind, op.out);
    } else if (is_logits(op.out)) {
      materialize(op.out);
    }
  }
  if (shape_.rows > 0) sample();
}

int Lowerer::new_storage(uint64_t bytes) {
  storages_.push_back({round_up(bytes, 256), launch_, launch_, 0});
  return static_cast<int>(storages_.size()) - 1;
}

Range Lowerer::range(int storage) {
  Piece& s = storages_[index(storage)];
  s.last = std::max(s.last, launch_);
  const uint64_t offset = placed_ == nullptr ? 0 : (*placed_)[index(storage)].offset;
  return {memory_.arena + offset, s.bytes};
}

View Lowerer::new_view(int rows, int width) {
  const int stride = static_cast<int>(round_up(static_cast<uint64_t>(width), 4));
  return {new_storage(uint64_t{4} * static_cast<uint64_t>(rows) * static_cast<uint64_t>(stride)), 0,
          stride, width};
}

Range Lowerer::logits_range() const {
  return {memory_.sample.logits.address, uint64_t{4} * static_cast<uint64_t>(shape_.rows) *
                                             static_cast<uint64_t>(memory_.sample.stride)};
}

Range Lowerer::kept_range() const {
  const auto rows = static_cast<uint64_t>(memory_.begin.layout.max_tokens);
  return {memory_.kept, 4 * rows * static_cast<uint64_t>(kept_stride())};
}

bool Lowerer::is_kept(ValueId id) const {
  return std::ranges::any_of(users_[index(id)], [&](int user) {
    return std::holds_alternative<program::KeepRows>(program_.ops[index(user)].kind);
  });
}

View Lowerer::output_view(ValueId id) {
  if (is_logits(id)) return {kLogits, 0, memory_.sample.stride, width_of(id)};
  if (is_kept(id)) return {kKept, 0, kept_stride(), width_of(id)};
  return new_view(rows_of(id), width_of(id));
}

uint64_t Lowerer::read(const View& view) {
  const Range r = range_of(view);
  accesses_.reads.push_back(r);
  return r.address + static_cast<uint64_t>(view.column) * 4;
}

uint64_t Lowerer::write(const View& view) {
  const Range r = range_of(view);
  accesses_.writes.push_back(r);
  return r.address + static_cast<uint64_t>(view.column) * 4;
}

kernels::Step Lowerer::step() {
  accesses_.scalar_reads.push_back(record_range());
  return {{memory_.begin.record.address}, memory_.begin.layout};
}

kernels::Ptr<uint32_t> Lowerer::counters() {
  accesses_.writes.push_back({memory_.counters, counter_bytes(program_)});
  return {memory_.counters};
}

void Lowerer::begin() {
  kernels::BeginArgs args = memory_.begin;
  args.tokens = shape_.tokens;
  args.rows = shape_.rows;
  args.drafts = shape_.draft ? 1 : 0;
  accesses_.writes.push_back(record_range());
  launch("begin", args, {1, 1, 1});
}

// Beside `begin`, so that nothing waits for it in particular.
void Lowerer::take_apart_host_rows(std::span<const Op> ops) {
  for (const StreamMemory::HostTable& table : memory_.host_tables) {
    if (std::ranges::none_of(ops, [&](const Op& op) {
          const auto* embed = std::get_if<program::Embed>(&op.kind);
          return embed != nullptr && embed->by_host && embed->table == table.id;
        }))
      continue;
    kernels::RepackArgs args{};
    args.blocks = pointer<const uint8_t>(table.blocks);
    args.matrix = table.rows;
    args.rows = shape_.tokens;
    accesses_.writes.push_back(table.planes());
    launch("repack", args, {kernels::repack_workgroups(args), 1, 1});
  }
}

const StreamMemory::HostTable& Lowerer::host_table(program::WeightId id) const {
  return *std::ranges::find(memory_.host_tables, id, &StreamMemory::HostTable::id);
}

void Lowerer::sample() {
  kernels::SampleArgs args = memory_.sample;
  args.step = step();
  accesses_.reads.push_back(logits_range());
  accesses_.writes.push_back(logits_range());
  launch("sample", args, {static_cast<uint32_t>(memory_.begin.layout.max_runs), 1, 1});
}

uint64_t counter_bytes(const Program& program) {
  int heads = 1;
  for (const program::KvState& state : program.states)
    heads = std::max(heads, static_cast<int>(state.kv_heads));
  return uint64_t{4} * kMatvecRows * static_cast<uint64_t>(heads);
}

uint64_t arena_bytes(const Program& program, const StreamShape& shape,
                     const WeightAddresses& weights, const StreamMemory& memory) {
  return Lowerer(program, shape, weights, memory).measure();
}

Recorder lower(const Program& program, const StreamShape& shape, const WeightAddresses& weights,
               const StreamMemory& memory) {
  return Lowerer(program, shape, weights, memory).record();
}

}  // namespace outboard::devices::gpu
