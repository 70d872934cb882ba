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

}  // namespace outboard::devices::gpu
