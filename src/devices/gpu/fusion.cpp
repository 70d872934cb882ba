// Which ops become one launch: all of it in the tables below.
//
// Only the ops of kStanding have launches of their own, in the Program's order. All others wait,
// and what is asked for their rows looks here first. The tables of things that are read are gone
// through from the launch back to where its rows lie in memory: at each op that is not there yet
// the first row that fits makes it a part of the launch, and where none fits the op gets a launch
// of its own (`elementwise`, `prepare`, `group_norm`, `embed`), so every Program runs. The table of
// things that are stored looks the other way, at the one op that reads a product.
#include "devices/gpu/fusion.h"

#include <algorithm>
#include <tuple>

#include "devices/gpu/lowerer.h"

namespace outboard::devices::gpu {

using namespace program;  // NOLINT: the tables are written in the Program's words

constexpr auto kAlways = nullptr;
constexpr uint32_t kNothing = 0;
constexpr uint32_t kNorms = bit(Part::kNorm), kRows = bit(Part::kRows), kRopes = bit(Part::kRope);
constexpr uint32_t kScales = bit(Part::kPositionScale), kAfter = bit(Part::kNormAfter);

// clang-format off

// What a matrix product multiplies with (`matvec`, `expert_matvec`), and what `prepare` writes.
const Fusion<InputOf> Lowerer::kInputs[] = {
    // op                     becomes        from behind     when                    how
    {kKind<RmsNorm>,          Part::kNorm,   kRows,          &Lowerer::spans_row,    &Lowerer::take_norm},
    {kKind<LayerNorm>,        Part::kNorm,   kRows,          &Lowerer::layer_norm_spans_row, &Lowerer::take_norm},
    {kKind<SelectRows>,       Part::kRows,   kNorms,         kAlways,                &Lowerer::take_selection},
    {kKind<Add>,              Part::kSum,    kNorms | kRows, &Lowerer::has_terms,    &Lowerer::take_sum},
    {kKind<Gate>,             Part::kSource, kNorms | kRows, &Lowerer::gates_each,   &Lowerer::take_gate},
    {kKind<Activation>,       Part::kSource, kNorms | kRows, kAlways,                &Lowerer::take_activation},
};

// Queries and keys, as attention and the KV write (`attention_decode`, `rope_kv`) read them.
const Fusion<Headed> Lowerer::kHeads[] = {
    {kKind<PositionScale>, Part::kPositionScale, kNothing,            kAlways,                    &Lowerer::take_position_scale},
    {kKind<RmsNorm>,       Part::kNormAfter,     kScales,             &Lowerer::is_after_rope,    &Lowerer::take_norm_after},
    {kKind<Rope>,          Part::kRope,          kScales | kAfter,    &Lowerer::turns_heads,      &Lowerer::take_rope},
    {kKind<RmsNorm>,       Part::kHeadNorm,      kScales | kRopes,    &Lowerer::is_norm_of_heads, &Lowerer::take_head_norm},
};

// What becomes of a product as it is stored (`matvec`, `matmul`, `expert_down`, `expert_sum`): by
// the op that alone reads it.
const Fusion<Product> Lowerer::kStores[] = {
    {kKind<Softcap>, Part::kStore, kNothing, &Lowerer::is_linear,           &Lowerer::take_softcap},
    {kKind<Add>,     Part::kStore, kNothing, &Lowerer::may_change_residual, &Lowerer::take_residual},
};

// What becomes of two products of one launch (`matvec`): by the op that alone reads both.
const Fusion<Products> Lowerer::kPairs[] = {
    {kKind<Gate>, Part::kStore, kNothing, &Lowerer::are_of_one_type, &Lowerer::take_gate_of},
};

// What a recurrence does to a head's row before it stores it (`gated_delta`, `selective_scan`): by the
// op that alone reads it.
const Fusion<HeadsOut> Lowerer::kHeadsOut[] = {
    {kKind<RmsNorm>, Part::kStateNorm, kNothing,              &Lowerer::is_norm_of_columns, &Lowerer::take_state_norm},
    {kKind<Gate>,    Part::kStore,     bit(Part::kStateNorm), &Lowerer::is_gated,           &Lowerer::take_state_gate},
};

// Rows that are asked for as such (`embed`).
const Fusion<RowsOf> Lowerer::kRowsMade[] = {
    {kKind<Add>, Part::kSum, kNothing, &Lowerer::adds_positions, &Lowerer::take_positions},
};

const Standing Lowerer::kStanding[] = {
    // op                   how                                       makes its input's norm itself
    {kKind<Linear>,         &Lowerer::lower_standing<Linear>,         true},
    {kKind<Experts>,        &Lowerer::lower_standing<Experts>,        true},
    {kKind<Attention>,      &Lowerer::lower_standing<Attention>,      false},
    {kKind<CrossAttention>, &Lowerer::lower_standing<CrossAttention>, false},
    {kKind<KvWrite>,        &Lowerer::lower_standing<KvWrite>,        false},
    {kKind<SsmConv>,        &Lowerer::lower_standing<SsmConv>,        false},
    {kKind<GatedDelta>,     &Lowerer::lower_standing<GatedDelta>,     false},
    {kKind<SelectiveScan>,  &Lowerer::lower_standing<SelectiveScan>,  false},
    {kKind<KeepRows>,       &Lowerer::lower_standing<KeepRows>,       false},
};

// clang-format on

template <typename Target>
bool Lowerer::take_along(std::span<const Fusion<Target>> table, const Op* op, Target& target) {
  if (op == nullptr) return false;
  for (const Fusion<Target>& row : table) {
    if (row.op != op->kind.index() || (target.parts & bit(row.part)) != 0 ||
        (target.parts & ~row.behind) != 0 || (row.when != nullptr && !(this->*row.when)(target)))
      continue;
    (this->*row.take)(target);
    target.parts |= bit(row.part);
    return true;
  }
  return false;
}

const Standing* Lowerer::standing(const Op& op) {
  const auto* row = std::ranges::find(kStanding, op.kind.index(), &Standing::op);
  return row != std::end(kStanding) ? row : nullptr;
}

// --- kInputs ---

kernels::Input Lowerer::input(ValueId id, bool keeps_rows) {
  InputOf target{.x = id, .keeps_rows = keeps_rows};
  target.in.width = width_of(id);
  while (!views_[index(target.x)] && (target.parts & bit(Part::kSource)) == 0 &&
         take_along<InputOf>(kInputs, defining(target.x), target)) {
  }
  if ((target.parts & bit(Part::kSource)) == 0) target.x_view = materialize(target.x);

  kernels::Input& in = target.in;
  in.x = pointer<const float>(read(target.x_view));
  in.x_stride = target.x_view.stride;
  if (target.y_view) {
    in.y = pointer<const float>(read(*target.y_view));
    in.y_stride = target.y_view->stride;
  }
  if (target.add_view) {
    in.add = pointer<const float>(read(*target.add_view));
    in.add_stride = target.add_view->stride;
  }
  if (target.sum_view) {
    in.sum = pointer<float>(write(*target.sum_view));
    in.sum_stride = target.sum_view->stride;
  }
  if (target.normed_view) {
    in.normed = pointer<float>(write(*target.normed_view));
    in.normed_stride = target.normed_view->stride;
  }
  return in;
}

std::pair<kernels::Norm, ValueId> Lowerer::strip_norm(ValueId id) const {
  if (!views_[index(id)]) {
    if (const auto* norm = op_of<RmsNorm>(id); norm && norm->group == width_of(id))
      return {rms(*norm), norm->x};
    if (const auto* norm = op_of<LayerNorm>(id);
        norm && (norm->group == 0 || norm->group == width_of(id)))
      return {{kernels::NormKind::kLayer, norm->epsilon, weights_.vector(norm->weight),
               weights_.vector(norm->bias)},
              norm->x};
  }
  return {{}, id};
}

bool Lowerer::spans_row(const InputOf& target) const {
  return op_of<RmsNorm>(target.x)->group == width_of(target.x);
}

bool Lowerer::layer_norm_spans_row(const InputOf& target) const {
  const int64_t group = op_of<LayerNorm>(target.x)->group;
  return group == 0 || group == width_of(target.x);
}

bool Lowerer::gates_each(const InputOf& target) const {
  const auto& gate = *op_of<Gate>(target.x);
  return width_of(gate.gate) == width_of(gate.up);
}

// The norm's rows are written beside where an op wants them that does not take the norm along: a
// residual that goes on from them. Not of selected rows, which nothing goes on from.
void Lowerer::take_norm(InputOf& target) {
  const ValueId id = target.x;
  std::tie(target.in.norm, target.x) = strip_norm(id);
  const bool selects = target.in.selected != 0 ||
                       (op_of<SelectRows>(target.x) != nullptr && !views_[index(target.x)]);
  const bool wanted = std::ranges::any_of(users_[index(id)], [&](int user) {
    const Standing* row = standing(program_.ops[index(user)]);
    return row == nullptr || !row->takes_norm;
  });
  if (target.keeps_rows && !selects && wanted)
    views_[index(id)] = target.normed_view = new_view(rows_of(id), width_of(id));
}

void Lowerer::take_selection(InputOf& target) {
  target.in.selected = 1;
  target.x = op_of<SelectRows>(target.x)->x;
}

std::optional<Lowerer::Terms> Lowerer::terms_of(ValueId id) const {
  const auto* add = op_of<Add>(id);
  for (const auto& [residual, branch] : {std::pair(add->a, add->b), std::pair(add->b, add->a)}) {
    const auto [norm, base] = strip_norm(branch);
    if (views_[index(residual)] && views_[index(base)]) return Terms{residual, base, norm};
  }
  return std::nullopt;
}

bool Lowerer::has_terms(const InputOf& target) const { return terms_of(target.x).has_value(); }

// The sum is written, too, where others read it.
void Lowerer::take_sum(InputOf& target) {
  const Terms terms = *terms_of(target.x);
  target.in.add_norm = terms.norm;
  target.add_view = views_[index(terms.branch)];
  if (target.in.selected == 0 && users_[index(target.x)].size() > 1)
    views_[index(target.x)] = target.sum_view = new_view(rows_of(target.x), width_of(target.x));
  target.x = terms.residual;
}

void Lowerer::take_gate(InputOf& target) {
  const auto& gate = *op_of<Gate>(target.x);
  target.in.kind = kernels::InputKind::kGated;
  target.in.function = function_of(gate.function);
  target.x_view = materialize(gate.gate);
  target.y_view = materialize(gate.up);
}

void Lowerer::take_activation(InputOf& target) {
  const auto& activation = *op_of<Activation>(target.x);
  target.in.kind = kernels::InputKind::kActivated;
  target.in.function = function_of(activation.function);
  target.x_view = materialize(activation.x);
}

// --- kHeads ---

Headed Lowerer::headed(ValueId id, int head_dim) {
  Headed h{.x = id, .head_dim = head_dim};
  while (!views_[index(h.x)] && take_along<Headed>(kHeads, defining(h.x), h)) {
  }
  h.view = materialize(h.x);
  return h;
}

Headed Lowerer::headed_value(ValueId id, int head_dim) {
  Headed h{.x = id, .head_dim = head_dim};
  if (!views_[index(id)] && op_of<RmsNorm>(id) != nullptr && is_norm_of_heads(h)) take_head_norm(h);
  h.view = materialize(h.x);
  return h;
}

bool Lowerer::turns_heads(const Headed& h) const {
  return op_of<Rope>(h.x)->head_dim == h.head_dim;
}

kernels::Rope Lowerer::rope_of(const Rope& rope) const {
  kernels::Rope args{};
  args.rotary = rope.rotary;
  args.neox = rope.neox ? 1 : 0;
  args.turns = weights_.turns(rope);
  args.magnitude = rope.magnitude;
  return args;
}

void Lowerer::take_rope(Headed& h) {
  const auto& rope = *op_of<Rope>(h.x);
  const kernels::Rope behind = h.rope;  // what stands behind the rope
  h.rope = rope_of(rope);
  h.rope.norm_after = behind.norm_after;
  h.rope.position_scale = behind.position_scale;
  h.rope.position_length = behind.position_length;
  h.rope.position_offset = behind.position_offset;
  h.x = rope.x;
}

void Lowerer::take_position_scale(Headed& h) {
  const auto& scale = *op_of<PositionScale>(h.x);
  h.rope.position_scale = scale.scale;
  h.rope.position_length = scale.length;
  h.rope.position_offset = scale.offset;
  h.x = scale.x;
}

// A turn changes no length, so the norm's factor can be found before it.
bool Lowerer::is_after_rope(const Headed& h) const {
  const auto& norm = *op_of<RmsNorm>(h.x);
  const auto* rope = op_of<Rope>(norm.x);
  return norm.group == h.head_dim && rope != nullptr && !views_[index(norm.x)] &&
         rope->head_dim == h.head_dim && rope->magnitude == 1;
}

void Lowerer::take_norm_after(Headed& h) {
  const auto& norm = *op_of<RmsNorm>(h.x);
  h.norm = rms(norm);
  h.rope.norm_after = 1;
  h.x = norm.x;
}

bool Lowerer::is_norm_of_heads(const Headed& h) const {
  return op_of<RmsNorm>(h.x)->group == h.head_dim && h.norm.kind == kernels::NormKind::kNone;
}

void Lowerer::take_head_norm(Headed& h) {
  const auto& norm = *op_of<RmsNorm>(h.x);
  h.norm = rms(norm);
  h.x = norm.x;
}

// --- kStores ---

Product Lowerer::product(const Linear* linear, ValueId out) {
  Product p{.linear = linear, .out = out, .result = out};
  take_along<Product>(kStores, only_user(out), p);
  return p;
}

bool Lowerer::is_linear(const Product& p) const { return p.linear != nullptr; }

void Lowerer::take_softcap(Product& p) {
  const Op& user = *only_user(p.out);
  p.softcap = std::get<Softcap>(user.kind).cap;
  p.result = user.out;
}

ValueId Lowerer::residual_of(const Product& p) const {
  const auto& add = std::get<Add>(only_user(p.out)->kind);
  return add.a == p.out ? add.b : add.a;
}

// The sum takes the residual's memory, so nothing may want the residual later.
bool Lowerer::may_change_residual(const Product& p) const {
  const ValueId residual = residual_of(p);
  return residual != p.out && views_[index(residual)] && !has_rows(p.out) &&
         op_of<Slice>(residual) == nullptr && is_settled(residual, only_user(p.out));
}

void Lowerer::take_residual(Product& p) {
  p.accumulate = true;
  p.result = only_user(p.out)->out;
}

bool Lowerer::is_settled(ValueId id, const Op* last) const {
  return std::ranges::all_of(users_[index(id)], [&](int user) {
    const Op& op = program_.ops[index(user)];
    if (&op == last) return true;
    // Experts read their input before the last of their launches, which stores.
    if (user == op_ && std::holds_alternative<Experts>(op.kind)) return true;
    if (user >= op_) return false;
    return standing(op) != nullptr ||
           (views_[index(op.out)] && !std::holds_alternative<Slice>(op.kind)) ||
           is_settled(op.out, last);
  });
}

// --- kPairs ---

bool Lowerer::are_of_one_type(const Products& pair) const {
  // A wave takes a row of each at a time, with one format's code.
  return width_of(pair.all[0].out) == width_of(pair.all[1].out) &&
         weights_.matrix(pair.all[0].linear->weight).type ==
             weights_.matrix(pair.all[1].linear->weight).type;
}

void Lowerer::take_gate_of(Products& pair) {
  const Op& user = *only_user(pair.all[0].out);
  const auto& gate = std::get<Gate>(user.kind);
  if (pair.all[0].out != gate.gate) std::swap(pair.all[0], pair.all[1]);
  pair.function = function_of(gate.function);
  for (Product& p : pair.all) p.result = user.out;
}

const Op* Lowerer::only_user_of_both(const Products& products) const {
  const auto& all = products.all;
  if (all.size() != 2 || all[0].parts != 0 || all[1].parts != 0) return nullptr;
  const Op* first = only_user(all[0].out);
  return first == only_user(all[1].out) ? first : nullptr;
}

// --- kHeadsOut ---

HeadsOut Lowerer::heads_out(ValueId out, int heads) {
  HeadsOut target{.out = out, .result = out, .columns = width_of(out) / heads};
  while (take_along<HeadsOut>(kHeadsOut, only_user(target.result), target)) {
  }
  return target;
}

bool Lowerer::is_norm_of_columns(const HeadsOut& target) const {
  const auto& norm = std::get<RmsNorm>(only_user(target.result)->kind);
  return norm.group == target.columns && norm.weight != kNone &&
         program_.weights[index(norm.weight)].shape.size() == 1;
}

void Lowerer::take_state_norm(HeadsOut& target) {
  const Op& user = *only_user(target.result);
  target.norm = rms(std::get<RmsNorm>(user.kind));
  target.result = user.out;
}

// The gate's rows are there, or a part of some that are.
bool Lowerer::is_gated(const HeadsOut& target) const {
  const auto& gate = std::get<Gate>(only_user(target.result)->kind);
  if (gate.up != target.result || width_of(gate.gate) != width_of(gate.up) ||
      gate.function == program::Function::kSwigluOai)
    return false;
  const auto* slice = op_of<Slice>(gate.gate);
  return views_[index(gate.gate)] ||
         (slice != nullptr && slice->heads == 1 && views_[index(slice->x)]);
}

void Lowerer::take_state_gate(HeadsOut& target) {
  const Op& user = *only_user(target.result);
  const auto& gate = std::get<Gate>(user.kind);
  target.gate = materialize(gate.gate);
  target.function = function_of(gate.function);
  target.result = user.out;
}

// --- kRowsMade ---

bool Lowerer::adds_positions(const RowsOf& rows) const {
  return tokens_and_positions(rows.id).has_value();
}

std::optional<std::pair<const Embed*, const Embed*>> Lowerer::tokens_and_positions(
    ValueId id) const {
  const auto& add = *op_of<Add>(id);
  const auto* a = op_of<Embed>(add.a);
  const auto* b = op_of<Embed>(add.b);
  if (a == nullptr || b == nullptr || views_[index(add.a)] || views_[index(add.b)])
    return std::nullopt;
  if (a->ids == Program::kPositions) std::swap(a, b);
  if (a->ids != Program::kTokens || b->ids != Program::kPositions || b->scale != 1)
    return std::nullopt;
  return std::pair(a, b);
}

void Lowerer::take_positions(RowsOf& rows) {
  const auto [tokens, positions] = *tokens_and_positions(rows.id);
  rows.view = embed_rows(tokens, positions, rows.id);
}

std::optional<View> Lowerer::made_together(ValueId id) {
  RowsOf rows{.id = id};
  take_along<RowsOf>(kRowsMade, defining(id), rows);
  return rows.view;
}

void Lowerer::take_pair(Products& products) {
  take_along<Products>(kPairs, only_user_of_both(products), products);
}

}  // namespace outboard::devices::gpu
