#include "devices/amd/lowering.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "devices/amd/kernels/plane_layout.h"
#include "devices/amd/kernels/planes.h"
#include "support/error.h"

namespace outboard::devices::amd {
namespace {

using program::Dim;
using program::kNone;
using program::Op;
using program::Program;
using program::ValueId;

template <typename T>
kernels::Ptr<T> pointer(uint64_t address) {
  return {address};
}

uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

kernels::Function function_of(program::Function f) { return static_cast<kernels::Function>(f); }

// A piece of the arena, alive from its first to its last launch.
struct Storage {
  uint64_t bytes = 0;
  int first = -1;
  int last = -1;
  uint64_t offset = 0;
};

// Float rows: a storage, or columns of one.
struct View {
  int storage = 0;
  int64_t column = 0;  // floats from the row's start
  int stride = 0;
  int width = 0;
};

// Runs twice over the Program: the first time to see what lives how long, the second time, when
// everything has its place, to record.
class Lowering {
 public:
  Lowering(const Program& program, const StreamShape& shape, const WeightAddresses& weights,
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

  uint64_t measure() {
    run();
    place();
    return arena_bytes_;
  }

  Recorder record() {
    measure();
    const std::vector<Storage> placed = std::move(storages_);
    storages_.clear();
    placed_ = &placed;
    recorder_ = Recorder();
    run();
    placed_ = nullptr;
    return std::move(recorder_);
  }

 private:
  static size_t index(int32_t id) { return static_cast<size_t>(id); }
  template <typename T>
  const T* op_of(ValueId id) const {
    const int op = defined_by_[index(id)];
    return op < 0 ? nullptr : std::get_if<T>(&program_.ops[index(op)].kind);
  }
  bool has_rows(ValueId id) const { return program_.values[index(id)].shape[0].kind == Dim::kRows; }
  int rows_of(ValueId id) const { return has_rows(id) ? shape_.rows : shape_.tokens; }
  int width_of(ValueId id) const {
    return static_cast<int>(program_.values[index(id)].shape[1].size);
  }
  // The op that alone uses a value; null when there are several, or none.
  const Op* only_user(ValueId id) const {
    const auto& users = users_[index(id)];
    return users.size() == 1 && id != program_.logits ? &program_.ops[index(users[0])] : nullptr;
  }

  void run() {
    views_.assign(program_.values.size(), std::nullopt);
    done_.assign(program_.ops.size(), false);
    splits_.clear();
    halves_.clear();
    launch_ = 0;
    begin();
    const size_t end = shape_.encode ? program_.encoder_ops : program_.ops.size();
    for (size_t i = shape_.encode ? 0 : program_.encoder_ops; i < end; ++i) {
      op_ = static_cast<int>(i);
      const Op& op = program_.ops[i];
      if (op.out != kNone && shape_.rows == 0 && has_rows(op.out)) continue;
      if (done_[i]) continue;
      if (const auto* linear = std::get_if<program::Linear>(&op.kind)) {
        lower_linear(*linear, op.out);
      } else if (const auto* attention = std::get_if<program::Attention>(&op.kind)) {
        lower_attention(*attention, op.out);
      } else if (const auto* cross = std::get_if<program::CrossAttention>(&op.kind)) {
        lower_cross_attention(*cross, op.out);
      } else if (const auto* write = std::get_if<program::KvWrite>(&op.kind)) {
        lower_kv_write(*write);
      } else if (const auto* experts = std::get_if<program::Experts>(&op.kind)) {
        lower_experts(*experts, op.out);
      } else if (op.out == program_.logits) {
        materialize(op.out);
      }
    }
    if (shape_.rows > 0) sample();
  }

  // --- memory ---

  int new_storage(uint64_t bytes) {
    storages_.push_back({round_up(bytes, 256), launch_, launch_, 0});
    return static_cast<int>(storages_.size()) - 1;
  }

  Range range(int storage) {
    Storage& s = storages_[index(storage)];
    s.last = std::max(s.last, launch_);
    const uint64_t offset = placed_ == nullptr ? 0 : (*placed_)[index(storage)].offset;
    return {memory_.arena + offset, s.bytes};
  }

  View new_view(int rows, int width) {
    const int stride = static_cast<int>(round_up(static_cast<uint64_t>(width), 4));
    return {new_storage(uint64_t{4} * static_cast<uint64_t>(rows) * static_cast<uint64_t>(stride)),
            0, stride, width};
  }

  // The logits have a place of their own.
  static constexpr int kLogits = -1;
  Range logits_range() const {
    return {memory_.sample.logits.address, uint64_t{4} * static_cast<uint64_t>(shape_.rows) *
                                               static_cast<uint64_t>(memory_.sample.stride)};
  }
  View output_view(ValueId id) {
    if (id == program_.logits) return {kLogits, 0, memory_.sample.stride, width_of(id)};
    return new_view(rows_of(id), width_of(id));
  }
  Range range_of(const View& view) {
    return view.storage == kLogits ? logits_range() : range(view.storage);
  }

  uint64_t read(const View& view) {
    const Range r = range_of(view);
    accesses_.reads.push_back(r);
    return r.address + static_cast<uint64_t>(view.column) * 4;
  }
  uint64_t write(const View& view) {
    const Range r = range_of(view);
    accesses_.writes.push_back(r);
    return r.address + static_cast<uint64_t>(view.column) * 4;
  }

  void place() {
    arena_bytes_ = 0;
    std::vector<size_t> order(storages_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::sort(order, [&](size_t a, size_t b) {
      return storages_[a].bytes != storages_[b].bytes ? storages_[a].bytes > storages_[b].bytes
                                                      : a < b;
    });
    std::vector<size_t> placed;  // by offset
    for (const size_t i : order) {
      Storage& s = storages_[i];
      uint64_t offset = 0;
      for (const size_t j : placed) {
        const Storage& other = storages_[j];
        if (other.last < s.first || s.last < other.first) continue;
        if (offset + s.bytes <= other.offset) break;
        offset = std::max(offset, other.offset + other.bytes);
      }
      s.offset = offset;
      placed.insert(std::ranges::upper_bound(placed, offset, {},
                                             [&](size_t j) { return storages_[j].offset; }),
                    i);
      arena_bytes_ = std::max(arena_bytes_, offset + s.bytes);
    }
  }

  // --- launches ---

  kernels::Step step() {
    accesses_.scalar_reads.push_back(record_range());
    return {{memory_.begin.record.address}, memory_.begin.layout};
  }
  Range record_range() const {
    return {memory_.begin.record.address, static_cast<uint64_t>(memory_.begin.layout.bytes)};
  }

  template <typename Args>
  void launch(std::string_view kernel, const Args& args, std::array<uint32_t, 3> workgroups) {
    if (placed_ != nullptr) recorder_.launch(kernel, args, workgroups, accesses_);
    accesses_ = {};
    ++launch_;
  }

  void begin() {
    kernels::BeginArgs args = memory_.begin;
    args.tokens = shape_.tokens;
    args.rows = shape_.rows;
    accesses_.writes.push_back(record_range());
    launch("begin", args, {1, 1, 1});
  }

  void sample() {
    kernels::SampleArgs args = memory_.sample;
    args.step = step();
    accesses_.reads.push_back(logits_range());
    accesses_.writes.push_back(logits_range());
    launch("sample", args, {static_cast<uint32_t>(memory_.begin.layout.max_runs), 1, 1});
  }

  // --- values that have no kernel of their own ---

  // The rows of a value, computed now if nothing has yet.
  View materialize(ValueId id) {
    auto& view = views_[index(id)];
    if (view) return *view;
    const int op = defined_by_[index(id)];
    if (op < 0) fail("a value of the step is used as rows");
    const View made =
        std::visit([&](const auto& kind) { return make(kind, id); }, program_.ops[index(op)].kind);
    views_[index(id)] = made;
    return made;
  }

  View make(const program::Embed& embed, ValueId id) {
    const bool by_position = embed.ids == Program::kPositions;
    return by_position ? embed_rows(nullptr, &embed, id) : embed_rows(&embed, nullptr, id);
  }
  View embed_rows(const program::Embed* tokens, const program::Embed* positions, ValueId id) {
    kernels::EmbedArgs args{};
    args.step = step();
    if (tokens != nullptr) args.table = weights_.matrix(tokens->table);
    if (positions != nullptr) args.positions = weights_.matrix(positions->table);
    args.scale = tokens != nullptr ? tokens->scale : 1;
    const View out = output_view(id);
    args.stride = out.stride;
    args.out = pointer<float>(write(out));
    launch("embed", args, {static_cast<uint32_t>(rows_of(id)), 1, 1});
    return out;
  }

  View make(const program::RmsNorm& norm, ValueId id) {
    if (norm.group == width_of(id)) return prepare_rows(id);
    kernels::GroupNormArgs args{};
    const View x = materialize(norm.x);
    const View out = output_view(id);
    args.x = pointer<const float>(read(x));
    args.out = pointer<float>(write(out));
    args.x_stride = x.stride;
    args.out_stride = out.stride;
    args.width = x.width;
    args.group = static_cast<int>(norm.group);
    args.norm = rms(norm);
    launch("group_norm", args, {static_cast<uint32_t>(rows_of(id)), 1, 1});
    return out;
  }
  View make(const program::LayerNorm&, ValueId id) { return prepare_rows(id); }
  View prepare_rows(ValueId id) {
    kernels::PrepareArgs args{};
    args.input = input(id, false);
    args.step = step();
    const View out = output_view(id);
    args.out = pointer<float>(write(out));
    args.out_stride = out.stride;
    launch("prepare", args, {static_cast<uint32_t>(rows_of(id)), 1, 1});
    return out;
  }

  View make(const program::Slice& slice, ValueId id) {
    View view = materialize(slice.x);
    view.column += slice.begin;
    view.width = width_of(id);
    return view;
  }
  View make(const program::Rope&, ValueId) {
    throw Error("the card has no kernel for a rope that no attention follows",
                "Use --device cpu for this model.");
  }
  View make(const program::Gate& gate, ValueId id) {
    return elementwise(kernels::RowsKind::kGate, gate.gate, gate.up, 0, gate.function, id);
  }
  View make(const program::Activation& a, ValueId id) {
    return elementwise(kernels::RowsKind::kActivation, a.x, kNone, 0, a.function, id);
  }
  View make(const program::Add& add, ValueId id) {
    const auto* a = op_of<program::Embed>(add.a);
    const auto* b = op_of<program::Embed>(add.b);
    if (a != nullptr && b != nullptr && !views_[index(add.a)] && !views_[index(add.b)]) {
      if (a->ids == Program::kPositions) std::swap(a, b);
      if (a->ids == Program::kTokens && b->ids == Program::kPositions && b->scale == 1)
        return embed_rows(a, b, id);
    }
    return elementwise(kernels::RowsKind::kAdd, add.a, add.b, 0, {}, id);
  }
  View make(const program::Scale& scale, ValueId id) {
    return elementwise(kernels::RowsKind::kScale, scale.x, kNone, scale.factor, {}, id);
  }
  View make(const program::Softcap& softcap, ValueId id) {
    return elementwise(kernels::RowsKind::kSoftcap, softcap.x, kNone, softcap.cap, {}, id);
  }
  View make(const program::SelectRows& select, ValueId id) {
    return elementwise(kernels::RowsKind::kSelect, select.x, kNone, 0, {}, id);
  }
  // These are lowered where they stand: what is asked for here is there
  // already, or is an attention's splits, which only matrix products read.
  View make(const program::Linear&, ValueId id) { return missing(id); }
  View make(const program::Attention&, ValueId id) { return prepare_rows(id); }
  View make(const program::Experts&, ValueId id) { return missing(id); }
  View make(const program::KvWrite&, ValueId id) { return missing(id); }
  View make(const program::CrossAttention&, ValueId id) { return prepare_rows(id); }
  View missing(ValueId id) const {
    fail("value {} is used before it is there", program_.values[index(id)].name);
  }

  View elementwise(kernels::RowsKind kind, ValueId x_id, ValueId y_id, float factor,
                   program::Function function, ValueId id) {
    const View x = materialize(x_id);
    std::optional<View> y;
    if (y_id != kNone) y = materialize(y_id);
    kernels::ElementwiseArgs args{};
    args.step = step();
    args.kind = kind;
    args.function = function_of(function);
    args.factor = factor;
    args.width = width_of(id);
    args.x = pointer<const float>(read(x));
    args.x_stride = x.stride;
    if (y) {
      args.y = pointer<const float>(read(*y));
      args.y_stride = y->stride;
    }
    const View out = output_view(id);
    args.out = pointer<float>(write(out));
    args.out_stride = out.stride;
    launch("elementwise", args, {static_cast<uint32_t>(rows_of(id)), 1, 1});
    return out;
  }

  // --- what a matrix is multiplied with ---

  kernels::Norm rms(const program::RmsNorm& norm) const {
    return {kernels::NormKind::kRms, norm.epsilon, weights_.vector(norm.weight), {}};
  }
  // The norm that a value is of its whole row, and of what; none: {kNone norm, the value itself}.
  std::pair<kernels::Norm, ValueId> strip_norm(ValueId id) const {
    if (!views_[index(id)]) {
      if (const auto* norm = op_of<program::RmsNorm>(id); norm && norm->group == width_of(id))
        return {rms(*norm), norm->x};
      if (const auto* norm = op_of<program::LayerNorm>(id))
        return {{kernels::NormKind::kLayer, norm->epsilon, weights_.vector(norm->weight),
                 weights_.vector(norm->bias)},
                norm->x};
    }
    return {{}, id};
  }

  // Whether a norm's rows are needed by what does not take the norm along: a residual that goes on
  // from them.
  bool is_wanted_as_rows(ValueId id) const {
    return std::ranges::any_of(users_[index(id)], [&](int user) {
      const Op& op = program_.ops[index(user)];
      return !std::holds_alternative<program::Linear>(op.kind) &&
             !std::holds_alternative<program::Experts>(op.kind);
    });
  }

  // Everything that must be there before the launch is computed first: only then are reads noted.
  // keeps_rows: of a norm, where something else wants them too.
  kernels::Input input(ValueId id, bool keeps_rows = true) {
    kernels::Input in{};
    in.width = width_of(id);
    ValueId x = id;
    std::tie(in.norm, x) = strip_norm(id);
    ValueId sum = x;
    std::optional<View> normed_view;
    if (const auto* select = op_of<program::SelectRows>(x); select && !views_[index(x)]) {
      in.selected = 1;
      x = select->x;
      sum = kNone;
      if (in.norm.kind == kernels::NormKind::kNone) std::tie(in.norm, x) = strip_norm(x);
    } else if (keeps_rows && x != id && is_wanted_as_rows(id)) {
      views_[index(id)] = normed_view = new_view(rows_of(id), width_of(id));
    }
    std::optional<View> add_view, sum_view;
    if (const auto* add = op_of<program::Add>(x); add && !views_[index(x)]) {
      for (const auto& [residual, branch] :
           {std::pair(add->a, add->b), std::pair(add->b, add->a)}) {
        const auto [norm, base] = strip_norm(branch);
        if (!views_[index(residual)] || !views_[index(base)]) continue;
        in.add_norm = norm;
        add_view = views_[index(base)];
        if (sum != kNone && users_[index(x)].size() > 1) {
          sum_view = new_view(rows_of(x), width_of(x));
          views_[index(x)] = sum_view;
        }
        x = residual;
        break;
      }
    }
    const View* splits_of = nullptr;
    View x_view, y_view;
    bool two = false;
    const auto splits = std::ranges::find(splits_, x, &SplitsOf::value);
    if (!views_[index(x)] && splits != splits_.end()) {
      in.kind = kernels::InputKind::kSplits;
      splits_of = &splits->sums;
    } else if (const auto* gate = op_of<program::Gate>(x); gate && !views_[index(x)]) {
      in.kind = kernels::InputKind::kGated;
      in.function = function_of(gate->function);
      x_view = materialize(gate->gate);
      y_view = materialize(gate->up);
      two = true;
    } else if (const auto* active = op_of<program::Activation>(x); active && !views_[index(x)]) {
      in.kind = kernels::InputKind::kActivated;
      in.function = function_of(active->function);
      x_view = materialize(active->x);
    } else {
      x_view = materialize(x);
    }

    if (splits_of != nullptr) {
      in.splits = splits->args;
      in.splits.sums.address = read(splits->sums);
      in.splits.stats.address = read(splits->stats);
    } else {
      in.x = pointer<const float>(read(x_view));
      in.x_stride = x_view.stride;
    }
    if (two) {
      in.y = pointer<const float>(read(y_view));
      in.y_stride = y_view.stride;
    }
    if (add_view) {
      in.add = pointer<const float>(read(*add_view));
      in.add_stride = add_view->stride;
    }
    if (sum_view) {
      in.sum = pointer<float>(write(*sum_view));
      in.sum_stride = sum_view->stride;
    }
    if (normed_view) {
      in.normed = pointer<float>(write(*normed_view));
      in.normed_stride = normed_view->stride;
    }
    return in;
  }

  // --- matrix products ---

  struct Product {
    const program::Linear* linear;  // null: of experts
    ValueId out;                    // of the op
    ValueId result;                 // what its rows become: itself, a residual sum, capped logits
    bool accumulate = false;
    float softcap = 0;
  };

  // Everything that reads a value has run; `last` does not count.
  bool is_settled(ValueId id, const Op* last) const {
    return std::ranges::all_of(users_[index(id)], [&](int user) {
      const Op& op = program_.ops[index(user)];
      if (&op == last) return true;
      // Experts read their input before the last of their launches, which stores.
      if (user == op_ && std::holds_alternative<program::Experts>(op.kind)) return true;
      if (user >= op_) return false;
      const bool at_once = std::holds_alternative<program::Linear>(op.kind) ||
                           std::holds_alternative<program::Attention>(op.kind) ||
                           std::holds_alternative<program::CrossAttention>(op.kind) ||
                           std::holds_alternative<program::KvWrite>(op.kind) ||
                           std::holds_alternative<program::Experts>(op.kind);
      return at_once ||
             (views_[index(op.out)] && !std::holds_alternative<program::Slice>(op.kind)) ||
             is_settled(op.out, last);
    });
  }

  // What can be done as the product is stored.
  Product product(const program::Linear* linear, ValueId out) {
    Product p{linear, out, out};
    const Op* user = only_user(out);
    if (user == nullptr) return p;
    if (const auto* softcap = std::get_if<program::Softcap>(&user->kind);
        softcap != nullptr && linear != nullptr) {
      p.softcap = softcap->cap;
      p.result = user->out;
    } else if (const auto* add = std::get_if<program::Add>(&user->kind)) {
      const ValueId residual = add->a == out ? add->b : add->a;
      // The sum takes the residual's memory, so nothing may want the residual later.
      if (residual != out && views_[index(residual)] && !has_rows(out) &&
          op_of<program::Slice>(residual) == nullptr && is_settled(residual, user)) {
        p.accumulate = true;
        p.result = user->out;
      }
    }
    return p;
  }

  void lower_linear(const program::Linear& linear, ValueId out) {
    std::vector<Product> products{product(&linear, out)};
    // Others that multiply the same rows go along.
    for (size_t i = index(op_) + 1; i < program_.ops.size() && products.size() < 3; ++i) {
      const auto* other = std::get_if<program::Linear>(&program_.ops[i].kind);
      if (other == nullptr || other->x != linear.x || done_[i]) continue;
      const Product p = product(other, program_.ops[i].out);
      if (p.accumulate || products[0].accumulate || p.softcap != products[0].softcap) continue;
      products.push_back(p);
      done_[i] = true;
    }
    const int rows = rows_of(out);
    if (rows <= kMatvecRows)
      matvec(products, rows);
    else
      matmul(products, rows);
  }

  View result_view(const Product& p) {
    if (p.accumulate) {
      const auto& add =
          std::get<program::Add>(program_.ops[index(defined_by_[index(p.result)])].kind);
      const ValueId residual = add.a == p.out ? add.b : add.a;
      return *views_[index(residual)];
    }
    return output_view(p.result);
  }

  kernels::Part part(const Product& p, const View& view) {
    kernels::Part part{};
    part.matrix = weights_.matrix(p.linear->weight);
    part.bias = weights_.vector(p.linear->bias);
    part.out = pointer<float>(write(view));
    part.stride = view.stride;
    part.accumulate = p.accumulate ? 1 : 0;
    if (p.accumulate) read(view);
    return part;
  }

  void finish(const Product& p, const View& view) {
    views_[index(p.result)] = view;
    if (p.result != p.out) done_[index(defined_by_[index(p.result)])] = true;
  }

  // gate and up whose only use is one Gate.
  const Op* gate_of(const std::vector<Product>& products) const {
    if (products.size() != 2 || products[0].result != products[0].out ||
        products[1].result != products[1].out)
      return nullptr;
    const Op* first = only_user(products[0].out);
    if (first == nullptr || first != only_user(products[1].out)) return nullptr;
    // A wave takes a row of each at a time, with one format's code.
    if (weights_.matrix(products[0].linear->weight).type !=
        weights_.matrix(products[1].linear->weight).type)
      return nullptr;
    return std::get_if<program::Gate>(&first->kind) != nullptr ? first : nullptr;
  }

  void matvec(std::vector<Product> products, int rows) {
    kernels::MatvecArgs args{};
    args.input = input(products[0].linear->x);
    args.step = step();
    args.softcap = products[0].softcap;
    if (const Op* op = gate_of(products)) {
      const auto& gate = std::get<program::Gate>(op->kind);
      if (products[0].out != gate.gate) std::swap(products[0], products[1]);
      const View view = output_view(op->out);
      args.gated = 1;
      args.function = function_of(gate.function);
      args.part_count = 2;
      for (size_t i = 0; i < 2; ++i) args.parts[i] = part(products[i], view);
      views_[index(op->out)] = view;
      done_[index(defined_by_[index(op->out)])] = true;
    } else {
      for (const Product& p : products) {
        const View view = result_view(p);
        args.parts[args.part_count++] = part(p, view);
        finish(p, view);
      }
    }
    const int bucket = rows <= 1 ? 1 : rows <= 2 ? 2 : rows <= 4 ? 4 : 8;
    launch("matvec_" + std::to_string(bucket), args, {kernels::matvec_workgroups(args), 1, 1});
  }

  // Rows as float16, shared by all products of the same value.
  struct Half {
    ValueId value;
    int half, factor;  // storages
    int stride;
  };

  Half prepare_half(ValueId id, int rows) {
    const auto found = std::ranges::find(halves_, id, &Half::value);
    if (found != halves_.end()) return *found;
    halves_.push_back(make_half(input(id), rows));
    halves_.back().value = id;
    return halves_.back();
  }

  // Of an input whose reads are noted already.
  Half make_half(const kernels::Input& in, int rows) {
    kernels::PrepareArgs args{};
    args.input = in;
    args.step = step();
    const auto count = static_cast<uint64_t>(rows);
    Half half{kNone, 0, 0, static_cast<int>(round_up(static_cast<uint64_t>(in.width), 32))};
    half.half = new_storage(count * static_cast<uint64_t>(half.stride) * 2);
    half.factor = new_storage(count * 4);
    for (const int storage : {half.half, half.factor}) accesses_.writes.push_back(range(storage));
    args.half = pointer<uint16_t>(range(half.half).address);
    args.half_stride = half.stride;
    args.factor = pointer<float>(range(half.factor).address);
    launch("prepare", args, {static_cast<uint32_t>(rows), 1, 1});
    return half;
  }

  void matmul(const std::vector<Product>& products, int rows) {
    const Half half = prepare_half(products[0].linear->x, rows);
    kernels::MatmulArgs args{};
    for (const int storage : {half.half, half.factor}) accesses_.reads.push_back(range(storage));
    args.half = pointer<const uint16_t>(range(half.half).address);
    args.factor = pointer<const float>(range(half.factor).address);
    args.half_stride = half.stride;
    args.m = rows;
    args.softcap = products[0].softcap;
    for (const Product& p : products) {
      const View view = result_view(p);
      args.parts[args.part_count++] = part(p, view);
      finish(p, view);
    }
    launch("matmul", args, {kernels::matmul_workgroups(args), 1, 1});
  }

  // --- mixtures of experts ---

  // The router's choice: storages.
  struct Choice {
    View logits;
    int chosen, weights;
  };

  // One expert's share of a matrix of all.
  kernels::Matrix expert_matrix(program::WeightId id, int experts) {
    kernels::Matrix m = weights_.matrix(id);
    m.rows /= experts;
    return m;
  }

  kernels::Part expert_part(program::WeightId id, int experts, const View& out) {
    kernels::Part part{};
    part.matrix = expert_matrix(id, experts);
    part.out = pointer<float>(write(out));
    part.stride = out.stride;
    return part;
  }

  kernels::Routing routing(const program::Experts& op, const Choice& choice) {
    kernels::Routing r{};
    r.experts = weights_.matrix(op.router).rows;
    r.used = op.used;
    r.normalise = op.normalise ? 1 : 0;
    accesses_.scalar_reads.push_back(range_of(choice.logits));
    r.logits = pointer<const float>(range_of(choice.logits).address);
    r.logit_stride = choice.logits.stride;
    for (const int storage : {choice.chosen, choice.weights})
      accesses_.writes.push_back(range(storage));
    r.chosen = pointer<int32_t>(range(choice.chosen).address);
    r.weights = pointer<float>(range(choice.weights).address);
    return r;
  }

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

  void lower_experts(const program::Experts& op, ValueId out) {
    const int tokens = rows_of(out);
    const kernels::Matrix router = weights_.matrix(op.router);
    if (router.rows > kernels::kMaxExperts || op.used > kernels::kMaxExpertsUsed)
      throw Error(fmt::format("{} of {} experts: the card chooses up to {} of {}", op.used,
                              router.rows, kernels::kMaxExpertsUsed, kernels::kMaxExperts),
                  "Use --device cpu for this model.");
    Choice choice{new_view(tokens, router.rows), 0, 0};
    kernels::ExpertMatvecArgs args{};
    args.matvec.input = input(op.x);
    args.matvec.step = step();
    args.matvec.part_count = 1;
    args.matvec.parts[0] = expert_part(op.router, 1, choice.logits);
    launch("expert_matvec", args,
           {kernels::matvec_workgroups(args.matvec), static_cast<uint32_t>(tokens), 1});
    const uint64_t bytes =
        uint64_t{4} * static_cast<uint64_t>(tokens) * static_cast<uint64_t>(op.used);
    choice.chosen = new_storage(bytes);
    choice.weights = new_storage(bytes);
    const Product p = product(nullptr, out);
    if (tokens <= kMatvecRows)
      few_rows(op, choice, p, tokens);
    else
      many_rows(op, choice, p, tokens);
  }

  void few_rows(const program::Experts& op, const Choice& choice, const Product& p, int tokens) {
    const int experts = weights_.matrix(op.router).rows;
    const kernels::Matrix gate = expert_matrix(op.gate, experts);
    const kernels::Matrix up = expert_matrix(op.up, experts);
    const int pairs = tokens * op.used;
    // Rows of whole units, as expert_down reads them.
    const auto hidden_view = [&] {
      return new_view(pairs, static_cast<int>(round_up(static_cast<uint64_t>(gate.rows), 32)));
    };
    const View gated = hidden_view();
    std::optional<View> other;  // up's own, where the two types differ
    {
      kernels::ExpertMatvecArgs args{};
      args.matvec.input = input(op.x);
      args.matvec.step = step();
      args.matvec.gated = gate.type == up.type ? 1 : 0;
      args.matvec.function = function_of(op.function);
      args.matvec.part_count = 2;
      if (args.matvec.gated == 0) other = hidden_view();
      args.matvec.parts[0] = expert_part(op.gate, experts, gated);
      args.matvec.parts[1] = expert_part(op.up, experts, other.value_or(gated));
      args.routing = routing(op, choice);
      launch("expert_matvec", args,
             {kernels::matvec_workgroups(args.matvec), static_cast<uint32_t>(pairs), 1});
    }
    kernels::ExpertDownArgs args{};
    args.matrix = expert_matrix(op.down, experts);
    // Units of the whole matrix are addressed in 32 bits.
    if (const uint64_t bytes =
            weights_.matrix(op.down).high.address - weights_.matrix(op.down).codes.address;
        bytes >> 32 != 0)
      throw Error(
          fmt::format("experts of {} bytes: the card takes matrices of less than 4 GiB", bytes),
          "Use --device cpu for this model, or a smaller quantization.");
    args.chosen = read_storage<const int32_t>(choice.chosen);
    args.weights = read_storage<const float>(choice.weights);
    args.x = pointer<const float>(read(gated));
    if (other) args.y = pointer<const float>(read(*other));
    args.stride = gated.stride;
    args.used = op.used;
    args.function = function_of(op.function);
    const View view = result_view(p);
    args.out = pointer<float>(write(view));
    args.out_stride = view.stride;
    args.accumulate = p.accumulate ? 1 : 0;
    if (p.accumulate) read(view);
    launch("expert_down", args,
           {kernels::expert_down_workgroups(args), static_cast<uint32_t>(tokens), 1});
    finish(p, view);
  }

  // Rows sorted by expert, so that an expert's matrices are read for all of its tokens at once.
  void many_rows(const program::Experts& op, const Choice& choice, const Product& p, int tokens) {
    const int experts = weights_.matrix(op.router).rows;
    const int pairs = tokens * op.used;
    const Half half = prepare_half(op.x, tokens);
    {
      kernels::RouteArgs args{};
      args.routing = routing(op, choice);
      args.tokens = tokens;
      launch("route", args, {static_cast<uint32_t>(tokens + 7) / 8, 1, 1});
    }
    const uint64_t pair_bytes = uint64_t{4} * static_cast<uint64_t>(pairs);
    const int slot_of = new_storage(pair_bytes);
    const int token_of = new_storage(pair_bytes);
    const int max_tiles = kernels::expert_max_tiles(pairs, experts);
    const int tiles = new_storage(sizeof(kernels::ExpertTile) * static_cast<uint64_t>(max_tiles));
    {
      kernels::ExpertSlotsArgs args{};
      args.chosen = read_storage<const int32_t>(choice.chosen);
      args.slot_of = write_storage<int32_t>(slot_of);
      args.token_of = write_storage<int32_t>(token_of);
      args.tiles = write_storage<kernels::ExpertTile>(tiles);
      args.tokens = tokens;
      args.used = op.used;
      args.experts = experts;
      args.tile_slots = kernels::expert_tile_slots(pairs, experts);
      args.max_tiles = max_tiles;
      launch("expert_slots", args, {1, 1, 1});
    }
    // Output rows are slots; those of the input, too, unless `rows` says otherwise.
    const auto multiply = [&](const Half& in, std::optional<int> rows,
                              std::initializer_list<std::pair<program::WeightId, View>> parts) {
      kernels::ExpertMatmulArgs args{};
      args.matmul.half = read_storage<const uint16_t>(in.half);
      args.matmul.factor = read_storage<const float>(in.factor);
      args.matmul.half_stride = in.stride;
      args.matmul.m = pairs;
      for (const auto& [id, view] : parts)
        args.matmul.parts[args.matmul.part_count++] = expert_part(id, experts, view);
      args.tiles = read_scalars<const kernels::ExpertTile>(tiles);
      if (rows) args.rows = read_storage<const int32_t>(*rows);
      args.max_tiles = max_tiles;
      launch("expert_matmul", args, {kernels::expert_matmul_workgroups(args), 1, 1});
    };
    const int hidden = expert_matrix(op.gate, experts).rows;
    const View gate = new_view(pairs, hidden), up = new_view(pairs, hidden);
    multiply(half, token_of, {{op.gate, gate}, {op.up, up}});

    kernels::Input in{};
    in.kind = kernels::InputKind::kGated;
    in.function = function_of(op.function);
    in.width = hidden;
    in.x = pointer<const float>(read(gate));
    in.y = pointer<const float>(read(up));
    in.x_stride = gate.stride;
    in.y_stride = up.stride;
    const Half gated = make_half(in, pairs);
    const View part = new_view(pairs, width_of(p.out));
    multiply(gated, std::nullopt, {{op.down, part}});

    kernels::ExpertSumArgs args{};
    args.part = pointer<const float>(read(part));
    args.slot_of = read_scalars<const int32_t>(slot_of);
    args.weights = read_scalars<const float>(choice.weights);
    const View view = result_view(p);
    args.out = pointer<float>(write(view));
    args.out_stride = view.stride;
    args.stride = part.stride;
    args.width = part.width;
    args.used = op.used;
    args.accumulate = p.accumulate ? 1 : 0;
    if (p.accumulate) read(view);
    launch("expert_sum", args, {static_cast<uint32_t>(tokens), 1, 1});
    finish(p, view);
  }

  // --- attention ---

  struct SplitsOf {
    ValueId value;
    View sums, stats;
    kernels::Splits args;
  };

  // A query or key: its rows before rope and head norm.
  struct Headed {
    View view;
    kernels::Norm norm;
    kernels::Rope rope;
  };
  Headed headed(ValueId id, int head_dim) {
    Headed h{};
    ValueId x = id;
    if (const auto* rope = op_of<program::Rope>(x); rope && rope->head_dim == head_dim) {
      h.rope = {rope->rotary, rope->neox ? 1 : 0, weights_.turns(*rope)};
      x = rope->x;
    }
    if (const auto* norm = op_of<program::RmsNorm>(x);
        norm && norm->group == head_dim && !views_[index(x)]) {
      h.norm = rms(*norm);
      x = norm->x;
    }
    h.view = materialize(x);
    return h;
  }

  int splits_for(int kv_heads) const {
    // Enough workgroups for 96 compute units, two each, while a split keeps 64 positions.
    constexpr int kWorkgroups = 192, kMostSplits = 32, kLeastPositions = 64;
    const int wanted = (kWorkgroups + kv_heads - 1) / kv_heads;
    const int useful = (memory_.context + kLeastPositions - 1) / kLeastPositions;
    return std::clamp(std::min(wanted, useful), 1, kMostSplits);
  }

  // Of the cache, only a state's own pages change; they are named by their first byte.
  Range cache_range(program::StateId id) const {
    return {memory_.kv + memory_.states[index(id)].keys, 1};
  }

  kernels::AttentionArgs attention_args(program::StateId id) const {
    const program::KvState& state = program_.states[index(id)];
    const StreamMemory::State& place = memory_.states[index(id)];
    kernels::AttentionArgs args{};
    args.cache.keys = pointer<uint16_t>(memory_.kv + place.keys);
    args.cache.values = pointer<uint16_t>(memory_.kv + place.values);
    args.cache.page_stride = memory_.page_bytes / 2;
    args.kv_heads = state.kv_heads;
    args.key_dim = state.key_dim;
    args.value_dim = state.value_dim;
    args.tokens = shape_.tokens;
    return args;
  }

  void put_keys(kernels::AttentionArgs& args, const Headed& k, const View& v) {
    args.k = pointer<float>(read(k.view));
    args.v = pointer<float>(read(v));
    args.k_stride = k.view.stride;
    args.v_stride = v.stride;
    args.k_norm = k.norm;
    args.k_rope = k.rope;
  }

  // Of decode steps: a launch that leaves its splits to whatever reads `out`.
  void attend_in_splits(kernels::AttentionArgs args, ValueId out) {
    SplitsOf splits{out, {}, {}, {}};
    splits.args.heads = args.heads;
    splits.args.value_dim = args.value_dim;
    splits.args.splits = splits_for(args.kv_heads);
    splits.args.window = args.window;
    splits.args.source = args.source;
    const int parts = args.heads * splits.args.splits;
    splits.sums = new_view(shape_.tokens, parts * args.value_dim);
    splits.stats = new_view(shape_.tokens, parts * 2);
    args.splits = splits.args;
    args.splits.sums = pointer<float>(write(splits.sums));
    args.splits.stats = pointer<float>(write(splits.stats));
    launch("attention_decode", args,
           {static_cast<uint32_t>(splits.args.splits), static_cast<uint32_t>(args.kv_heads),
            static_cast<uint32_t>(shape_.tokens)});
    splits_.push_back(splits);
  }

  void attend_in_tiles(kernels::AttentionArgs args, ValueId out) {
    const View view = output_view(out);
    args.out = pointer<float>(write(view));
    args.out_stride = view.stride;
    launch("attention_prompt", args,
           {static_cast<uint32_t>(shape_.tokens + 15) / 16, static_cast<uint32_t>(args.heads), 1});
    views_[index(out)] = view;
  }

  void lower_attention(const program::Attention& op, ValueId out) {
    const program::KvState& state = program_.states[index(op.state)];
    const Headed q = headed(op.q, state.key_dim);
    const Headed k = headed(op.k, state.key_dim);
    const View v = materialize(op.v);
    kernels::AttentionArgs args = attention_args(op.state);
    args.heads = op.heads;
    args.window = op.window;
    args.scale = op.scale;
    args.softcap = op.softcap;
    args.q_stride = q.view.stride;
    args.q_norm = q.norm;
    args.q_rope = q.rope;
    const auto fill = [&](bool q_changes) {
      args.step = step();
      args.q = pointer<float>(q_changes ? write(q.view) : read(q.view));
      if (q_changes) read(q.view);
      put_keys(args, k, v);
    };
    const Range cache = cache_range(op.state);
    if (shape_.decode) {
      fill(false);
      accesses_.reads.push_back(cache);
      accesses_.writes.push_back(cache);
      attend_in_splits(args, out);
      return;
    }
    fill(true);
    accesses_.writes.push_back(cache);
    launch("rope_kv", args, {static_cast<uint32_t>(shape_.tokens), 1, 1});
    fill(false);
    args.source = op.causal ? 0 : 1;
    accesses_.reads.push_back(cache);
    attend_in_tiles(args, out);
  }

  void lower_kv_write(const program::KvWrite& op) {
    const Headed k = headed(op.k, program_.states[index(op.state)].key_dim);
    const View v = materialize(op.v);
    kernels::AttentionArgs args = attention_args(op.state);
    args.step = step();
    put_keys(args, k, v);
    accesses_.writes.push_back(cache_range(op.state));
    launch("rope_kv", args, {static_cast<uint32_t>(shape_.tokens), 1, 1});
  }

  void lower_cross_attention(const program::CrossAttention& op, ValueId out) {
    const View q = materialize(op.q);
    kernels::AttentionArgs args = attention_args(op.state);
    args.step = step();
    args.q = {read(q)};
    args.q_stride = q.stride;
    args.heads = op.heads;
    args.scale = op.scale;
    args.source = 1;
    accesses_.reads.push_back(cache_range(op.state));
    if (shape_.decode)
      attend_in_splits(args, out);
    else
      attend_in_tiles(args, out);
  }

  const Program& program_;
  const StreamShape shape_;
  const WeightAddresses& weights_;
  const StreamMemory& memory_;
  std::vector<int> defined_by_;          // op that defines a value, -1 for the step's own
  std::vector<std::vector<int>> users_;  // ops that read it

  // Of one run:
  std::vector<std::optional<View>> views_;  // values whose rows are there
  std::vector<bool> done_;                  // ops that another one took along
  std::vector<SplitsOf> splits_;
  std::vector<Half> halves_;
  std::vector<Storage> storages_;
  int op_ = 0;
  int launch_ = 0;
  Accesses accesses_;  // of the launch that is being put together
  const std::vector<Storage>* placed_ = nullptr;
  Recorder recorder_;
  uint64_t arena_bytes_ = 0;
};

}  // namespace

uint64_t arena_bytes(const Program& program, const StreamShape& shape,
                     const WeightAddresses& weights, const StreamMemory& memory) {
  return Lowering(program, shape, weights, memory).measure();
}

Recorder lower(const Program& program, const StreamShape& shape, const WeightAddresses& weights,
               const StreamMemory& memory) {
  return Lowering(program, shape, weights, memory).record();
}

}  // namespace outboard::devices::amd
