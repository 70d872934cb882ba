#include "devices/cpu/plan.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "support/error.h"
#include "support/first_fit.h"

namespace outboard::devices::cpu {

using program::Dim;
using program::Op;
using program::Program;
using program::ValueId;

namespace {

constexpr size_t kAlignment = 64;

size_t align_up(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

class Planner {
 public:
  Planner(const Program& program, const Kernels& kernels, int max_tokens, int max_rows)
      : program_(program), kernels_(kernels), max_tokens_(max_tokens), max_rows_(max_rows) {}

  Plan run() {
    find_uses();
    fuse_residuals();
    form_phases();
    place_values();
    place_packed();
    allocate();
    return std::move(plan_);
  }

 private:
  size_t index(ValueId id) const { return static_cast<size_t>(id); }
  const Dim& rows_of(ValueId id) const { return program_.values[index(id)].shape[0]; }
  size_t max_rows_of(ValueId id) const {
    return static_cast<size_t>(rows_of(id).kind == Dim::kRows ? max_rows_ : max_tokens_);
  }
  int64_t width_of(ValueId id) const { return program_.values[index(id)].shape[1].size; }

  void find_uses() {
    const size_t n = program_.values.size();
    defined_by_.assign(n, -1);
    used_by_.assign(n, {});
    for (size_t i = 0; i < program_.ops.size(); ++i) {
      if (program_.ops[i].out != program::kNone)
        defined_by_[index(program_.ops[i].out)] = static_cast<int>(i);
      for (const ValueId id : inputs_of(program_.ops[i]))
        used_by_[index(id)].push_back(static_cast<int>(i));
    }
  }

  // x = add(x, linear(y)): the linear layer adds to x where it lies, if nothing else reads the old
  // x after it.
  void fuse_residuals() {
    plan_.accumulates.assign(program_.ops.size(), false);
    plan_.fused.assign(program_.ops.size(), false);
    alias_.assign(program_.values.size(), program::kNone);
    for (size_t i = 0; i < program_.ops.size(); ++i) {
      const Op& op = program_.ops[i];
      if (const auto* slice = std::get_if<program::Slice>(&op.kind);
          slice != nullptr && slice->heads == 1) {
        plan_.fused[i] = true;  // a view
        alias_[index(op.out)] = slice->x;
        sliced_.push_back(slice->x);
        continue;
      }
      const auto* add = std::get_if<program::Add>(&op.kind);
      if (add == nullptr) continue;
      for (const auto& [residual, branch] :
           {std::pair(add->a, add->b), std::pair(add->b, add->a)}) {
        if (!can_accumulate(residual, branch, static_cast<int>(i))) continue;
        plan_.accumulates[static_cast<size_t>(defined_by_[index(branch)])] = true;
        plan_.fused[i] = true;
        alias_[index(branch)] = residual;
        alias_[index(op.out)] = residual;
        break;
      }
    }
  }

  bool is_logits(ValueId id) const { return id == program_.logits || id == program_.draft_logits; }

  bool can_accumulate(ValueId residual, ValueId branch, int add) const {
    const int linear = defined_by_[index(branch)];
    if (linear < 0 ||
        !std::holds_alternative<program::Linear>(program_.ops[static_cast<size_t>(linear)].kind) ||
        heads_of(program_, linear) > 1)
      return false;
    if (used_by_[index(branch)].size() != 1 || is_logits(branch)) return false;
    if (is_logits(residual) || residual == branch) return false;
    const int defined = defined_by_[index(residual)];
    if (defined < 0 || defined > linear) return false;
    if (std::holds_alternative<program::Slice>(program_.ops[static_cast<size_t>(defined)].kind) ||
        std::find(sliced_.begin(), sliced_.end(), residual) != sliced_.end())
      return false;
    // Readers of the old value must be done before the linear layer starts.
    return std::all_of(used_by_[index(residual)].begin(), used_by_[index(residual)].end(),
                       [&](int user) { return user < linear || user == add; });
  }

  PhasePlan& phase(PhasePlan::Kind kind) {
    if (plan_.phases.size() == plan_.encoder_phases || plan_.phases.size() == drafter_begin_ ||
        plan_.phases.back().kind != kind || kind == PhasePlan::kAttention ||
        kind == PhasePlan::kExperts || kind == PhasePlan::kSequence)
      plan_.phases.push_back({kind, {}});
    return plan_.phases.back();
  }

  static PhasePlan::Kind row_phase(const Dim& rows) {
    return rows.kind == Dim::kRows ? PhasePlan::kLogitRows : PhasePlan::kTokenRows;
  }

  void form_phases() {
    op_phase_.assign(program_.ops.size(), -1);
    for (size_t i = 0; i < program_.ops.size(); ++i) {
      if (i == program_.encoder_ops) plan_.encoder_phases = plan_.phases.size();
      if (i == program_.drafter_begin()) drafter_begin_ = plan_.phases.size();
      if (plan_.fused[i]) {
        op_phase_[i] = static_cast<int>(plan_.phases.size()) - 1;
        continue;
      }
      const Op& op = program_.ops[i];
      const int op_index = static_cast<int>(i);
      if (std::holds_alternative<program::Linear>(op.kind)) {
        add_linear(op_index);
      } else if (const auto* own = std::get_if<program::Attention>(&op.kind)) {
        if (own->k != program::kNone)
          phase(PhasePlan::kTokenRows).items.push_back({Item::kKvWrite, op_index});
        phase(PhasePlan::kAttention).items.push_back({Item::kOp, op_index});
      } else if (std::holds_alternative<program::KvWrite>(op.kind)) {
        phase(PhasePlan::kTokenRows).items.push_back({Item::kKvWrite, op_index});
      } else if (std::holds_alternative<program::CrossAttention>(op.kind)) {
        phase(PhasePlan::kAttention).items.push_back({Item::kOp, op_index});
      } else if (std::holds_alternative<program::Experts>(op.kind)) {
        phase(PhasePlan::kExperts).items.push_back({Item::kOp, op_index});
      } else if (std::holds_alternative<program::KeepRows>(op.kind)) {
        phase(PhasePlan::kTokenRows).items.push_back({Item::kOp, op_index});
      } else if (program::is_sequential(op.kind)) {
        phase(PhasePlan::kSequence).items.push_back({Item::kOp, op_index});
      } else {
        phase(row_phase(rows_of(op.out))).items.push_back({Item::kOp, op_index});
      }
      op_phase_[i] = static_cast<int>(plan_.phases.size()) - 1;
    }
    if (program_.drafter_ops > 0) plan_.drafter_phases = plan_.phases.size() - drafter_begin_;
  }

  void add_linear(int op_index) {
    const auto& linear =
        std::get<program::Linear>(program_.ops[static_cast<size_t>(op_index)].kind);
    const Packing packing = packing_of(program_, linear.weight);
    const PackedKey key{linear.x, packing, heads_of(program_, op_index)};
    const bool packed = packed_phase_.contains(key);
    // A linear phase holds layers that are ready together: this one may join if its input was
    // packed before the phase began.
    if (!packed) {
      phase(row_phase(rows_of(linear.x)))
          .items.push_back({Item::kPack, op_index, linear.x, packing});
      packed_phase_[key] = static_cast<int>(plan_.phases.size()) - 1;
    }
    phase(PhasePlan::kLinear).items.push_back({Item::kOp, op_index});
  }

  ValueId root(ValueId id) const {
    while (alias_[index(id)] != program::kNone) id = alias_[index(id)];
    return id;
  }

  void touch(Piece& storage, int phase_index) {
    storage.first = std::min(storage.first, phase_index);
    storage.last = std::max(storage.last, phase_index);
  }

  void place_values() {
    const size_t n = program_.values.size();
    storage_of_.assign(n, -1);
    for (size_t v = 0; v < n; ++v) {
      if (program_.values[v].type != program::ElementType::kFloat) continue;
      const ValueId r = root(static_cast<ValueId>(v));
      if (storage_of_[index(r)] < 0) {
        storage_of_[index(r)] = static_cast<int>(storages_.size());
        const int defined = op_phase_[static_cast<size_t>(defined_by_[index(r)])];
        storages_.push_back(
            {align_up(max_rows_of(r) * stride_of(r) * sizeof(float)), defined, defined});
      }
      storage_of_[v] = storage_of_[index(r)];
      Piece& storage = storages_[static_cast<size_t>(storage_of_[v])];
      touch(storage, op_phase_[static_cast<size_t>(defined_by_[v])]);
      for (const int user : used_by_[v]) touch(storage, op_phase_[static_cast<size_t>(user)]);
      if (is_logits(static_cast<ValueId>(v))) touch(storage, static_cast<int>(plan_.phases.size()));
    }
  }

  size_t stride_of(ValueId id) const {
    return align_up(static_cast<size_t>(width_of(id)) * sizeof(float)) / sizeof(float);
  }

  void place_packed() {
    for (const auto& [key, first_phase] : packed_phase_) {
      const auto& [value, packing, heads] = key;
      Piece storage;
      storage.bytes = align_up(max_rows_of(value) * static_cast<size_t>(heads) *
                               kernels_.packed_row_bytes(packing, width_of(value) / heads));
      storage.first = storage.last = first_phase;
      for (const int user : used_by_[index(value)]) {
        const auto* linear =
            std::get_if<program::Linear>(&program_.ops[static_cast<size_t>(user)].kind);
        if (linear != nullptr) touch(storage, op_phase_[static_cast<size_t>(user)]);
      }
      plan_.packed.push_back({value, packing, heads, storages_.size()});  // the offset comes below
      storages_.push_back(storage);
    }
  }

  void allocate() {
    plan_.arena_bytes = place_first_fit(storages_);
    plan_.places.resize(program_.values.size());
    for (size_t v = 0; v < program_.values.size(); ++v) {
      if (storage_of_[v] < 0) continue;
      const ValueId r = root(static_cast<ValueId>(v));
      size_t columns = 0;  // a slice starts inside its parent's row
      for (auto id = static_cast<ValueId>(v); alias_[index(id)] != program::kNone;
           id = alias_[index(id)])
        if (const auto* slice = std::get_if<program::Slice>(
                &program_.ops[static_cast<size_t>(defined_by_[index(id)])].kind))
          columns += static_cast<size_t>(slice->begin);
      plan_.places[v] = {
          storages_[static_cast<size_t>(storage_of_[v])].offset + columns * sizeof(float),
          static_cast<int64_t>(stride_of(r))};
    }
    for (PackedPlace& p : plan_.packed) p.offset = storages_[p.offset].offset;
  }

  const Program& program_;
  const Kernels& kernels_;
  int max_tokens_;
  int max_rows_;
  Plan plan_;
  std::vector<int> defined_by_;            // op that defines a value, -1 for inputs
  std::vector<std::vector<int>> used_by_;  // ops that read it
  std::vector<ValueId> alias_;             // the value whose memory it shares
  std::vector<ValueId> sliced_;
  std::vector<int> op_phase_;
  size_t drafter_begin_ = ~size_t{0};                   // phase
  using PackedKey = std::tuple<ValueId, Packing, int>;  // and the heads it is packed by
  std::map<PackedKey, int> packed_phase_;
  std::vector<int> storage_of_;
  std::vector<Piece> storages_;  // what values share, alive in some phases
};

}  // namespace

int heads_of(const Program& program, int linear) {
  const auto& op = std::get<program::Linear>(program.ops[static_cast<size_t>(linear)].kind);
  const auto& shape = program.weights[static_cast<size_t>(op.weight)].shape;
  return shape.size() == 3 ? static_cast<int>(shape[0]) : 1;
}

const PackedPlace& Plan::packed_place(ValueId value, Packing packing, int heads) const {
  const auto it = std::find_if(packed.begin(), packed.end(), [&](const PackedPlace& p) {
    return p.value == value && p.packing == packing && p.heads == heads;
  });
  if (it == packed.end()) fail("plan: value %{} was never packed", value);
  return *it;
}

bool byte_inputs(const Program& program) { return program.encoder_ops > 0; }

Packing packing_of(const Program& program, program::WeightId weight) {
  return packing_for(program.weights[static_cast<size_t>(weight)].type, byte_inputs(program));
}

Plan make_plan(const Program& program, const Kernels& kernels, int max_tokens, int max_rows) {
  return Planner(program, kernels, max_tokens, max_rows).run();
}

}  // namespace outboard::devices::cpu
