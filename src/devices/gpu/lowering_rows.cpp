// Rows that are asked for as such.
#include "devices/gpu/lowerer.h"

namespace outboard::devices::gpu {

View Lowerer::materialize(ValueId id) {
  auto& view = views_[index(id)];
  if (view) return *view;
  const Op* op = defining(id);
  if (op == nullptr) fail("a value of the step is used as rows");
  std::optional<View> made = made_together(id);
  if (!made) made = std::visit([&](const auto& kind) { return make(kind, id); }, op->kind);
  views_[index(id)] = made;
  return *made;
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
  return group_norm(norm.x, rms(norm), norm.group, 0, id);
}

View Lowerer::make(const program::LayerNorm& norm, ValueId id) {
  if (norm.group == 0 || norm.group == width_of(id)) return prepare_rows(id);
  return group_norm(norm.x,
                    {kernels::NormKind::kLayer, norm.epsilon, weights_.vector(norm.weight),
                     weights_.vector(norm.bias)},
                    norm.group, static_cast<int>(norm.group), id);
}

View Lowerer::group_norm(ValueId x_id, kernels::Norm norm, int64_t group, int weight_each,
                         ValueId id) {
  kernels::GroupNormArgs args{};
  const View x = materialize(x_id);
  const View out = output_view(id);
  args.x = pointer<const float>(read(x));
  args.out = pointer<float>(write(out));
  args.x_stride = x.stride;
  args.out_stride = out.stride;
  args.width = x.width;
  args.group = static_cast<int>(group);
  args.norm = norm;
  args.weight_each = weight_each;
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
  if (slice.heads > 1) {
    kernels::ElementwiseArgs args{};
    args.kind = kernels::RowsKind::kSlice;
    args.each = static_cast<int>(slice.size);
    args.x_each = width_of(slice.x) / slice.heads;
    args.begin = static_cast<int>(slice.begin);
    return elementwise(args, slice.x, kNone, id);
  }
  View view = materialize(slice.x);
  view.column += slice.begin;
  view.width = width_of(id);
  return view;
}

View Lowerer::make(const program::Rope& rope, ValueId id) {
  const View x = materialize(rope.x);
  const View out = output_view(id);
  kernels::RopeArgs args{};
  args.step = step();
  args.x = pointer<const float>(read(x));
  args.out = pointer<float>(write(out));
  args.x_stride = x.stride;
  args.out_stride = out.stride;
  args.heads = x.width / rope.head_dim;
  args.head_dim = rope.head_dim;
  args.rope = rope_of(rope);
  launch("rope", args, {static_cast<uint32_t>(rows_of(id)), 1, 1});
  return out;
}

View Lowerer::make(const program::Gate& gate, ValueId id) {
  kernels::ElementwiseArgs args{};
  args.kind = kernels::RowsKind::kGate;
  args.function = function_of(gate.function);
  args.each = width_of(gate.up) / width_of(gate.gate);
  return elementwise(args, gate.gate, gate.up, id);
}

View Lowerer::make(const program::Concat& concat, ValueId id) {
  kernels::ElementwiseArgs args{};
  args.kind = kernels::RowsKind::kConcat;
  args.each = width_of(id) / concat.heads;
  args.x_each = width_of(concat.a) / concat.heads;
  return elementwise(args, concat.a, concat.b, id);
}

View Lowerer::make(const program::PositionScale& scale, ValueId id) {
  kernels::ElementwiseArgs args{};
  args.kind = kernels::RowsKind::kPositionScale;
  args.factor = scale.scale;
  args.length = scale.length;
  args.offset = scale.offset;
  return elementwise(args, scale.x, kNone, id);
}

View Lowerer::make(const program::Scale& scale, ValueId id) {
  kernels::ElementwiseArgs args{};
  args.kind = kernels::RowsKind::kScale;
  args.factor = scale.factor;
  if (scale.weight != kNone) {
    args.y = weights_.vector(scale.weight);
    args.each = program_.weights[index(scale.weight)].shape[0] == 1 ? width_of(id) : 1;
  }
  return elementwise(args, scale.x, kNone, id);
}

View Lowerer::elementwise(kernels::RowsKind kind, ValueId x_id, ValueId y_id, float factor,
                          program::Function function, ValueId id) {
  kernels::ElementwiseArgs args{};
  args.kind = kind;
  args.function = function_of(function);
  args.factor = factor;
  return elementwise(args, x_id, y_id, id);
}

View Lowerer::elementwise(kernels::ElementwiseArgs args, ValueId x_id, ValueId y_id, ValueId id) {
  const View x = materialize(x_id);
  std::optional<View> y;
  if (y_id != kNone) y = materialize(y_id);
  args.step = step();
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

}  // namespace outboard::devices::gpu
