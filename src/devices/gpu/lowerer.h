// The work behind lower(), for lowering*.cpp alone.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "devices/gpu/fusion.h"
#include "devices/gpu/kernels/plane_layout.h"
#include "devices/gpu/kernels/planes.h"
#include "devices/gpu/lowering.h"
#include "support/error.h"
#include "support/first_fit.h"
#include "support/round_up.h"

namespace outboard::devices::gpu {

using program::kNone;
using program::Op;
using program::Program;
using program::ValueId;

template <typename T>
kernels::Ptr<T> pointer(uint64_t address) {
  return {address};
}

inline kernels::Function function_of(program::Function f) {
  return static_cast<kernels::Function>(f);
}

// Float rows: a storage, or columns of one.
struct View {
  int storage = 0;
  int64_t column = 0;  // floats from the row's start
  int stride = 0;
  int width = 0;
};

// What becomes of a matrix product, or of a mixture of experts.
struct Product {
  const program::Linear* linear;  // null: of experts
  ValueId out;                    // of the op
  ValueId result;  // what its rows become: itself, a residual sum, capped logits, a gate's
  bool accumulate = false;
  float softcap = 0;
  uint32_t parts = 0;  // Part, taken along
};

// The products of one launch; all read the same rows.
struct Products {
  std::vector<Product> all;
  kernels::Function function{};  // of the gate that both became, where `parts` says so
  uint32_t parts = 0;
};

// Rows on the way into a launch.
struct InputOf {
  ValueId x;        // what is not taken along yet
  bool keeps_rows;  // of a norm, where something else wants them too
  kernels::Input in{};
  View x_view{};
  std::optional<View> y_view{}, add_view{}, sum_view{}, normed_view{};
  uint32_t parts = 0;
};

// What becomes of the rows that the heads of a recurrence give.
struct HeadsOut {
  ValueId out;     // of the op
  ValueId result;  // what its rows become
  int columns;     // a head
  kernels::Norm norm{};
  std::optional<View> gate{};
  kernels::Function function{};
  uint32_t parts = 0;
};

// Rows that several ops may make together.
struct RowsOf {
  ValueId id;
  std::optional<View> view{};
  uint32_t parts = 0;
};

// Rows as float16, shared by all products of the same value.
struct Half {
  ValueId value;
  int half, factor;  // storages
  int stride;
};

// The router's choice: storages.
struct Choice {
  View logits;
  int chosen, weights;
};

// A query or key: its rows before rope and head norm.
struct Headed {
  ValueId x;
  int head_dim;
  View view{};
  kernels::Norm norm{};
  kernels::Rope rope{};
  uint32_t parts = 0;
};

// An attention's q, k and v; without k nothing is written.
struct AttentionInput {
  Headed q;
  std::optional<Headed> k, v;
};

// Runs twice over the Program: the first time to see what lives how long, the second time, when
// everything has its place, to record.
class Lowerer {
 public:
  Lowerer(const Program& program, const StreamShape& shape, const WeightAddresses& weights,
          const StreamMemory& memory);

  uint64_t measure();  // bytes of the arena
  Recorder record();

 private:
  static size_t index(int32_t id) { return static_cast<size_t>(id); }
  template <typename T>
  const T* op_of(ValueId id) const {
    const int op = defined_by_[index(id)];
    return op < 0 ? nullptr : std::get_if<T>(&program_.ops[index(op)].kind);
  }
  const Op* defining(ValueId id) const {
    const int op = defined_by_[index(id)];
    return op < 0 ? nullptr : &program_.ops[index(op)];
  }
  bool has_rows(ValueId id) const {
    return program_.values[index(id)].shape[0].kind == program::Dim::kRows;
  }
  int rows_of(ValueId id) const { return has_rows(id) ? shape_.rows : shape_.tokens; }
  int width_of(ValueId id) const {
    return static_cast<int>(program_.values[index(id)].shape[1].size);
  }
  // The op that alone uses a value; null when there are several, or none.
  const Op* only_user(ValueId id) const;

  void run();

  // --- what goes along with what (fusion.cpp) ---

  static const Fusion<InputOf> kInputs[];
  static const Fusion<Headed> kHeads[];
  static const Fusion<Product> kStores[];
  static const Fusion<Products> kPairs[];
  static const Fusion<HeadsOut> kHeadsOut[];
  static const Fusion<RowsOf> kRowsMade[];
  static const Standing kStanding[];

  // Makes the op a part of the target, if a row of the table says so.
  template <typename Target>
  bool take_along(std::span<const Fusion<Target>> table, const Op* op, Target& target);
  // The op's row, or null where it waits to be asked for.
  static const Standing* standing(const Op& op);
  template <typename T>
  void lower_standing(const program::OpKind& kind, ValueId out) {
    lower(std::get<T>(kind), out);
  }

  // What a launch reads. Everything that must be there before it is computed first: only then are
  // reads noted.
  kernels::Input input(ValueId id, bool keeps_rows = true);
  // The norm that a value is of its whole row, and of what; none: {kNone norm, the value itself}.
  std::pair<kernels::Norm, ValueId> strip_norm(ValueId id) const;
  bool spans_row(const InputOf& target) const;
  bool layer_norm_spans_row(const InputOf& target) const;
  bool gates_each(const InputOf& target) const;
  void take_norm(InputOf& target);
  void take_selection(InputOf& target);
  // A sum of rows that are there; of the second a norm may be taken.
  struct Terms {
    ValueId residual, branch;
    kernels::Norm norm;
  };
  std::optional<Terms> terms_of(ValueId id) const;
  bool has_terms(const InputOf& target) const;
  void take_sum(InputOf& target);
  void take_gate(InputOf& target);
  void take_activation(InputOf& target);

  Headed headed(ValueId id, int head_dim);
  // A value's, of which only a norm is taken.
  Headed headed_value(ValueId id, int head_dim);
  void take_position_scale(Headed& h);
  bool is_after_rope(const Headed& h) const;
  void take_norm_after(Headed& h);
  bool turns_heads(const Headed& h) const;
  void take_rope(Headed& h);
  bool is_norm_of_heads(const Headed& h) const;
  void take_head_norm(Headed& h);

  // linear: null for experts.
  Product product(const program::Linear* linear, ValueId out);
  bool is_linear(const Product& p) const;
  void take_softcap(Product& p);
  ValueId residual_of(const Product& p) const;
  bool may_change_residual(const Product& p) const;
  void take_residual(Product& p);
  // Everything that reads a value has run; `last` does not count.
  bool is_settled(ValueId id, const Op* last) const;

  void take_pair(Products& products);
  const Op* only_user_of_both(const Products& products) const;
  bool are_of_one_type(const Products& pair) const;
  void take_gate_of(Products& pair);

  HeadsOut heads_out(ValueId out, int heads);
  bool is_norm_of_columns(const HeadsOut& target) const;
  void take_state_norm(HeadsOut& target);
  bool is_gated(const HeadsOut& target) const;
  void take_state_gate(HeadsOut& target);

  // Rows that one launch makes of several ops; none: nothing fits.
  std::optional<View> made_together(ValueId id);
  std::optional<std::pair<const program::Embed*, const program::Embed*>> tokens_and_positions(
      ValueId id) const;
  bool adds_positions(const RowsOf& rows) const;
  void take_positions(RowsOf& rows);

  // --- memory (lowering.cpp) ---

  int new_storage(uint64_t bytes);
  Range range(int storage);
  View new_view(int rows, int width);
  // The logits have a place of their own, and so has what is kept for the next step.
  static constexpr int kLogits = -1;
  static constexpr int kKept = -2;
  bool is_logits(ValueId id) const { return id == program_.logits || id == program_.draft_logits; }
  bool is_kept(ValueId id) const;
  Range logits_range() const;
  Range kept_range() const;
  int kept_stride() const {
    return static_cast<int>(round_up(static_cast<uint64_t>(program_.width), 4));
  }
  View output_view(ValueId id);
  Range range_of(const View& view) {
    return view.storage == kLogits ? logits_range()
           : view.storage == kKept ? kept_range()
                                   : range(view.storage);
  }
  uint64_t read(const View& view);
  uint64_t write(const View& view);
  template <typename T>
  kernels::Ptr<T> read_storage(int storage) {
    accesses_.reads.push_back(range(storage));
    return pointer<T>(range(storage).address);
  }
  // What is the same for all lanes.
  template <typename T>
  kernels::Ptr<T> read_scalars(int storage) {
    accesses_.scalar_reads.push_back(range(storage));
    return pointer<T>(range(storage).address);
  }
  template <typename T>
  kernels::Ptr<T> write_storage(int storage) {
    accesses_.writes.push_back(range(storage));
    return pointer<T>(range(storage).address);
  }

  // --- launches (lowering.cpp) ---

  kernels::Step step();
  Range record_range() const {
    return {memory_.begin.record.address, static_cast<uint64_t>(memory_.begin.layout.bytes)};
  }
  template <typename Args>
  void launch(std::string_view kernel, const Args& args, std::array<uint32_t, 3> workgroups) {
    if (placed_ != nullptr) recorder_.launch(kernel, args, workgroups, accesses_);
    accesses_ = {};
    ++launch_;
  }
  // Zeros that a launch's workgroups count with which of them is the last; zeros again behind it.
  kernels::Ptr<uint32_t> counters();
  void begin();
  void take_apart_host_rows(std::span<const Op> ops);
  const StreamMemory::HostTable& host_table(program::WeightId id) const;
  void sample();

  // --- values that have no kernel of their own (lowering_rows.cpp) ---

  // The rows of a value, computed now if nothing has yet.
  View materialize(ValueId id);
  View make(const program::Embed& embed, ValueId id);
  View embed_rows(const program::Embed* tokens, const program::Embed* positions, ValueId id);
  View make(const program::RmsNorm& norm, ValueId id);
  View make(const program::LayerNorm& norm, ValueId id);
  View group_norm(ValueId x, kernels::Norm norm, int64_t group, int weight_each, ValueId id);
  View prepare_rows(ValueId id) { return prepare_rows(id, output_view(id)); }
  View prepare_rows(ValueId id, const View& out);
  View make(const program::Slice& slice, ValueId id);
  View make(const program::Rope& rope, ValueId id);
  // Into rows whose heads begin out_head floats apart.
  void turn(const program::Rope& rope, ValueId id, const View& out, int out_head);
  // Rows of heads, cut out of longer ones where nobody has made them yet: the first head's place,
  // and the floats from head to head.
  std::pair<View, int> heads_of(ValueId id, int head_dim);
  View make(const program::Gate& gate, ValueId id);
  View make(const program::Concat& concat, ValueId id);
  View make(const program::PositionScale& scale, ValueId id);
  View make(const program::Activation& a, ValueId id) {
    return elementwise(kernels::RowsKind::kActivation, a.x, kNone, 0, a.function, id);
  }
  View make(const program::Add& add, ValueId id) {
    return elementwise(kernels::RowsKind::kAdd, add.a, add.b, 0, {}, id);
  }
  View make(const program::Scale& scale, ValueId id);
  View make(const program::Softcap& softcap, ValueId id) {
    return elementwise(kernels::RowsKind::kSoftcap, softcap.x, kNone, softcap.cap, {}, id);
  }
  View make(const program::SelectRows& select, ValueId id) {
    return elementwise(kernels::RowsKind::kSelect, select.x, kNone, 0, {}, id);
  }
  // These are lowered where they stand: what is asked for here is there already.
  View make(const program::Linear&, ValueId id) { return missing(id); }
  View make(const program::Attention&, ValueId id) { return missing(id); }
  View make(const program::Experts&, ValueId id) { return missing(id); }
  View make(const program::KvWrite&, ValueId id) { return missing(id); }
  View make(const program::CrossAttention&, ValueId id) { return missing(id); }
  View make(const program::KeepRows&, ValueId id) { return missing(id); }
  View make(const program::KeptRows& kept, ValueId id);
  View make(const program::SsmConv&, ValueId id) { return missing(id); }
  View make(const program::GatedDelta&, ValueId id) { return missing(id); }
  View make(const program::SelectiveScan&, ValueId id) { return missing(id); }
  View missing(ValueId id) const {
    fail("value {} is used before it is there", program_.values[index(id)].name);
  }
  View elementwise(kernels::RowsKind kind, ValueId x_id, ValueId y_id, float factor,
                   program::Function function, ValueId id);
  // `args` beyond what the rows themselves say.
  View elementwise(kernels::ElementwiseArgs args, ValueId x_id, ValueId y_id, ValueId id);
  void launch_elementwise(const kernels::ElementwiseArgs& args, int rows);
  kernels::Rope rope_of(const program::Rope& rope) const;

  kernels::Norm rms(const program::RmsNorm& norm) const {
    return {kernels::NormKind::kRms, norm.epsilon, weights_.vector(norm.weight), {}};
  }

  // --- matrix products (lowering_products.cpp) ---

  void lower(const program::Linear& linear, ValueId out);
  View result_view(const Product& p);
  kernels::Part part(const Product& p, const View& view);
  void finish(const Product& p, const View& view);
  void matvec(Products products, int rows);
  Half prepare_half(ValueId id, int rows);
  // Of an input whose reads are noted already.
  Half make_half(const kernels::Input& in, int rows);
  void matmul(const Products& products, int rows);
  // A Linear whose weight has a matrix for each head: heads stand where experts do.
  void lower_heads(const program::Linear& linear, ValueId out);
  // The Concat that alone reads these heads, puts them first, and has turned ones behind; none:
  // null.
  const Op* concat_behind(ValueId id, int heads) const;
  void multiply_heads(program::WeightId weight, const View& x, int heads, int pairs,
                      const View& out);

  // --- mixtures of experts (lowering_experts.cpp) ---

  // One expert's share of a matrix of all.
  kernels::Matrix expert_matrix(program::WeightId id, int experts);
  kernels::Part expert_part(program::WeightId id, program::WeightId bias, int experts,
                            const View& out);
  // The gate's rows and up's: of two matrices, or of one that has both.
  std::array<kernels::Part, 2> gate_and_up(const program::Experts& op, int experts,
                                           const View& gate, const View& up);
  kernels::Routing routing(const program::Experts& op, const Choice& choice);
  void lower(const program::Experts& op, ValueId out);
  // Rows sorted by expert: storages.
  struct Slots {
    int slot_of, token_of, tiles;
    int max_tiles;
  };
  // chosen: a storage of [tokens, used] experts.
  Slots sort_into_slots(int chosen, int tokens, int used, int experts);
  // Output rows are slots; those of the input, too, unless `rows` says otherwise.
  void multiply_slots(const Half& in, std::optional<int> rows, const Slots& slots,
                      std::initializer_list<kernels::Part> parts);
  void launch_expert_matvec(kernels::ExpertMatvecArgs args, int rows);
  void few_rows(const program::Experts& op, const Choice& choice, const Product& p, int tokens);
  // Rows sorted by expert, so that an expert's matrices are read for all of its tokens at once.
  void many_rows(const program::Experts& op, const Choice& choice, const Product& p, int tokens);

  // --- attention (lowering_attention.cpp) ---

  int splits_for(int kv_heads) const;
  // Of the cache, only a state's own pages change; they are named by their first byte.
  Range cache_range(program::StateId id) const {
    const StreamMemory::State& state = memory_.states[index(id)];
    return {memory_.pages_of(state).memory + state.keys, 1};
  }
  kernels::AttentionArgs attention_args(program::StateId id) const;
  void put_keys(kernels::AttentionArgs& args, const AttentionInput& in);
  // Of decode steps.
  void attend_in_splits(kernels::AttentionArgs args, ValueId out);
  bool tiles_share_keys(const kernels::AttentionArgs& args) const;
  void attend_in_tiles(kernels::AttentionArgs args, ValueId out);
  void lower(const program::Attention& op, ValueId out);
  void lower(const program::KvWrite& op, ValueId);
  void lower(const program::CrossAttention& op, ValueId out);

  // --- ops over a run's tokens in order (lowering_sequences.cpp) ---

  void lower(const program::SsmConv& op, ValueId out);
  void lower(const program::GatedDelta& op, ValueId out);
  void lower(const program::SelectiveScan& op, ValueId out);
  // Its rows are made where they are kept.
  void lower(const program::KeepRows& op, ValueId) { materialize(op.x); }
  uint32_t runs() const;  // of the stream, at most
  kernels::RecurrenceArgs recurrence(const HeadsOut& target, const View& view,
                                     program::SlotStateId state, int heads, int rows);

  const Program& program_;
  const StreamShape shape_;
  const WeightAddresses& weights_;
  const StreamMemory& memory_;
  std::vector<int> defined_by_;          // op that defines a value, -1 for the step's own
  std::vector<std::vector<int>> users_;  // ops that read it

  // Of one run:
  std::vector<std::optional<View>> views_;  // values whose rows are there
  std::vector<bool> done_;                  // ops that another one took along
  std::vector<std::optional<View>> begun_;  // a Concat's rows of which the first half is there
  std::vector<Half> halves_;
  std::vector<Piece> storages_;  // of the arena, alive from their first to their last launch
  int op_ = 0;
  int launch_ = 0;
  Accesses accesses_;  // of the launch that is being put together
  const std::vector<Piece>* placed_ = nullptr;
  Recorder recorder_;
  uint64_t arena_bytes_ = 0;
};

}  // namespace outboard::devices::gpu
