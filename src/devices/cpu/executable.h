// A Program compiled for the CPU.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "devices/cpu/best.h"
#include "devices/cpu/kernels/kernels.h"
#include "devices/cpu/kv_cache.h"
#include "devices/cpu/plan.h"
#include "devices/cpu/slots.h"
#include "devices/cpu/step_state.h"
#include "devices/device.h"
#include "devices/sampler.h"
#include "support/aligned_buffer.h"
#include "support/thread_team.h"

namespace outboard::devices::cpu {

Unary unary_of(program::Function function);

class CpuExecutable final : public devices::Executable {
 public:
  CpuExecutable(program::Program program, std::shared_ptr<const formats::Model> model,
                const devices::CompileOptions& options, ThreadTeam& team, const Kernels& kernels);

  devices::Ticket submit(const devices::Step& step) override;
  devices::StepResult wait(devices::Ticket ticket) override;
  const devices::CompileOptions& options() const override { return options_; }
  devices::MemoryUse memory() const override;
  size_t page_bytes(devices::PageKind kind) const override { return kv_.page(kind, 0).size(); }
  size_t slot_bytes() const override { return slots_.slot_bytes(); }
  std::string page_layout() const override {
    return fmt::format("cpu {} {} {} {}", kv_.floats() ? "f32" : "f16",
                       page_bytes(devices::PageKind::kFull), page_bytes(devices::PageKind::kWindow),
                       slot_bytes());
  }
  void read_page(devices::PageKind kind, int32_t page, std::span<std::byte> bytes) override {
    std::ranges::copy(kv_.page(kind, page), bytes.begin());
  }
  void write_page(devices::PageKind kind, int32_t page, std::span<const std::byte> bytes) override {
    std::ranges::copy(bytes, kv_.page(kind, page).begin());
  }
  void read_slot(int32_t slot, std::span<std::byte> bytes) override {
    std::ranges::copy(slots_.slot(slot), bytes.begin());
  }
  void write_slot(int32_t slot, std::span<const std::byte> bytes) override {
    std::ranges::copy(bytes, slots_.slot(slot).begin());
  }

 private:
  // Work on rows [begin, end) of the step.
  using RowTask = std::function<void(int begin, int end)>;
  // One phase as thread `thread` runs it. `next` hands out work items.
  using Phase = std::function<void(int thread, std::atomic<int>& next)>;

  // One distinct set of rotary frequencies and the turns of this step's positions: a row a token,
  // `half` cosines, then `half` sines.
  struct RopeTable {
    std::vector<double> frequencies;
    float magnitude = 1;
    std::vector<float> turns;
  };

  // A row of logits of which the best candidates are wanted.
  struct BestRow {
    int row;
    std::span<devices::Candidate> best;
  };

  float* value(program::ValueId id, int64_t row) const {
    const Place& place = plan_.places[static_cast<size_t>(id)];
    return reinterpret_cast<float*>(arena_.data() + place.offset) + row * place.stride;
  }
  int64_t stride(program::ValueId id) const { return plan_.places[static_cast<size_t>(id)].stride; }
  int64_t width(program::ValueId id) const {
    return program_.values[static_cast<size_t>(id)].shape[1].size;
  }
  // Those of the step's kind.
  program::ValueId logits() const { return state_.draft ? program_.draft_logits : program_.logits; }
  // A row of logits without the padding.
  std::span<float> to_choose_from(int row) const {
    return {value(logits(), row), static_cast<size_t>(program_.tokens)};
  }
  float* kept(int row) { return kept_.data() + static_cast<int64_t>(row) * program_.width; }
  const std::vector<int32_t>& ids(program::ValueId id) const {
    return id == program::Program::kPositions ? state_.positions : state_.ids;
  }
  Matrix matrix(program::WeightId id) const;
  // A small weight as floats, converted once; null for kNone.
  const float* floats(program::WeightId id);

  void build_phases();
  void choose(const devices::Step& step);
  void find_best(const devices::Step& step);
  void look_at(const std::vector<int>& ops);
  // Of a phase's linear layers, which must not have begun: they may add to what another reads.
  void look_at_inputs(const std::vector<int>& ops);
  Phase row_phase(std::vector<RowTask> tasks, bool token_rows);
  Phase linear_phase(const PhasePlan& plan);
  // What an attention op asks for.
  struct AttentionPart {
    program::ValueId q;
    program::ValueId out;
    program::StateId state;
    int heads;
    bool cross;  // over the source
    AttentionRun run;
  };
  AttentionPart attention_part(const program::Op& op);
  Phase attention_phase(const AttentionPart& part);
  Phase sequence_phase(const program::Op& op);
  Phase conv_phase(const program::SsmConv& op, program::ValueId out);
  Phase delta_phase(const program::GatedDelta& op, program::ValueId out);
  Phase scan_phase(const program::SelectiveScan& op, program::ValueId out);
  // body(run, head, state, column, count) for pieces of the columns of every run's heads; the state
  // of a head is head_floats long and begins anew where the run's text begins.
  template <typename Body>
  Phase state_phase(program::SlotStateId id, int heads, int64_t head_floats, int64_t columns,
                    Body body);
  Phase experts_phase(const program::Experts& op, program::ValueId out);
  RowTask row_task(const Item& item);
  RowTask op_task(const program::Op& op);
  RowTask embed_task(const program::Embed& op, program::ValueId out);
  RowTask norm_task(const program::RmsNorm& op, program::ValueId out);
  RowTask gate_task(const program::Gate& op, program::ValueId out);
  RowTask scale_task(const program::Scale& op, program::ValueId out);
  RowTask rope_task(const program::Rope& op, program::ValueId out);
  const RopeTable& rope_table(const program::Rope& op);
  RowTask rope_table_task(RopeTable& table);
  RowTask pack_task(const Item& item);
  RowTask kv_write_task(program::ValueId k, program::ValueId v, program::StateId id);

  program::Program program_;
  std::shared_ptr<const formats::Model> model_;
  devices::CompileOptions options_;
  ThreadTeam& team_;
  const Kernels& kernels_;
  Plan plan_;
  StepState state_;
  KvCache kv_;
  Slots slots_;
  AlignedBuffer arena_;
  AlignedBuffer scratch_;  // scratch_bytes_ a thread
  size_t scratch_bytes_ = 0;
  std::vector<AlignedBuffer> expert_buffers_;
  std::vector<std::unique_ptr<std::vector<float>>> floats_;  // by weight
  std::vector<std::unique_ptr<RopeTable>> rope_tables_;
  std::vector<Phase> phases_;
  std::vector<std::vector<int>> phase_ops_;  // by phase: those that have a result
  size_t encoder_phases_ = 0;                // the first ones
  size_t drafter_phases_ = 0;                // the last ones
  std::vector<float> kept_;                  // [max_tokens, width], where there is a drafter
  std::vector<std::atomic<int>> next_;       // one a phase
  devices::Sampler sampler_;
  std::vector<int32_t> chosen_;  // as StepResult::tokens
  std::vector<devices::Candidate> best_;
  std::vector<BestRow> best_rows_;
  devices::Ticket submitted_ = 0;
};

}  // namespace outboard::devices::cpu
