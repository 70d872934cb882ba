// Rows: what no kernel of its own computes, and what goes into matrix products.
#include <algorithm>
#include <tuple>

#include "devices/gpu/lowerer.h"

namespace outboard::devices::gpu {

View Lowerer::materialize(ValueId id) {
  auto& view = views_[index(id)];
  if (view) return *view;
  const int op = defined_by_[index(id)];
  if (op < 0) fail("a value of the step is used as rows");
  const View made =
      std::visit([&](const auto& kind) { return make(kind, id); }, program_.ops[index(op)].kind);
  views_[index(id)] = made;
  return made;
}

View Lowerer::make(const program::Embed& embed, ValueId id) {
  const bool by_position = embed.ids == Program::kPositions;
  return by_position ? embed_rows(nullptr, &embed, id) : embed_rows(&embed, nullptr, id);
}

View Lowerer::embed_rows(const program::Embed* tokens, const program::Embed* positions,
                         ValueId id) {
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

View Lowerer::make(const program::RmsNorm& norm, ValueId id) {
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

View Lowerer::prepare_rows(ValueId id) {
  kernels::PrepareArgs args{};
  args.input = input(id, false);
  args.step = step();
  const View out = output_view(id);
  args.out = pointer<float>(write(out));
  args.out_stride = out.stride;
  launch("prepare", args, {static_cast<uint32_t>(rows_of(id)), 1, 1});
  return out;
}

View Lowerer::make(const program::Slice& slice, ValueId id) {
  View view = materialize(slice.x);
  view.column += slice.begin;
  view.width = width_of(id);
  return view;
}

View Lowerer::make(const program::Rope&, ValueId) {
  throw Error("the card has no kernel for a rope that no attention follows",
              "Use --device cpu for this model.");
}

View Lowerer::make(const program::Add& add, ValueId id) {
  const auto* a = op_of<program::Embed>(add.a);
  const auto* b = op_of<program::Embed>(add.b);
  if (a != nullptr && b != nullptr && !views_[index(add.a)] && !views_[index(add.b)]) {
    if (a->ids == Program::kPositions) std::swap(a, b);
    if (a->ids == Program::kTokens && b->ids == Program::kPositions && b->scale == 1)
      return embed_rows(a, b, id);
  }
  return elementwise(kernels::RowsKind::kAdd, add.a, add.b, 0, {}, id);
}

View Lowerer::elementwise(kernels::RowsKind kind, ValueId x_id, ValueId y_id, float factor,
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

std::pair<kernels::Norm, ValueId> Lowerer::strip_norm(ValueId id) const {
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

bool Lowerer::is_wanted_as_rows(ValueId id) const {
  return std::ranges::any_of(users_[index(id)], [&](int user) {
    const Op& op = program_.ops[index(user)];
    return !std::holds_alternative<program::Linear>(op.kind) &&
           !std::holds_alternative<program::Experts>(op.kind);
  });
}

kernels::Input Lowerer::input(ValueId id, bool keeps_rows) {
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
    for (const auto& [residual, branch] : {std::pair(add->a, add->b), std::pair(add->b, add->a)}) {
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

}  // namespace outboard::devices::gpu
