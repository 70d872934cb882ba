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
  if (tokens != nullptr && tokens->by_host) {
    const StreamMemory::HostTable& table = host_table(tokens->table);
    args.table = table.rows;
    args.by_token = 1;
    accesses_.reads.push_back(table.planes());
  } else if (tokens != nullptr) {
    args.table = weights_.matrix(tokens->table);
  }
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
  const bool own = norm.weight != kNone && program_.weights[index(norm.weight)].shape.size() == 2;
  return group_norm(norm.x, rms(norm), norm.group, own ? static_cast<int>(norm.group) : 0, id);
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

View Lowerer::prepare_rows(ValueId id, const View& out) {
  kernels::PrepareArgs args{};
  args.input = input(id, false);
  args.step = step();
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

View Lowerer::make(const program::KeptRows&, ValueId id) {
  const View out = output_view(id);
  kernels::ElementwiseArgs args{};
  args.step = step();
  args.kind = kernels::RowsKind::kGather;
  args.width = out.width;
  args.x = pointer<const float>(read({kKept, 0, kept_stride(), out.width}));
  args.x_stride = kept_stride();
  args.y = pointer<const float>(memory_.begin.record.address +
                                static_cast<uint64_t>(memory_.begin.layout.kept));
  args.out = pointer<float>(write(out));
  args.out_stride = out.stride;
  launch_elementwise(args, shape_.tokens);
  return out;
}

std::pair<View, int> Lowerer::heads_of(ValueId id, int head_dim) {
  const auto* slice = op_of<program::Slice>(id);
  if (slice == nullptr || views_[index(id)]) return {materialize(id), head_dim};
  View view = materialize(slice->x);
  const int each = view.width / slice->heads;
  view.column += slice->begin;
  view.width = width_of(id);
  return {view, slice->heads > 1 ? each : head_dim};
}

View Lowerer::make(const program::Rope& rope, ValueId id) {
  const View out = output_view(id);
  turn(rope, id, out, rope.head_dim);
  return out;
}

void Lowerer::turn(const program::Rope& rope, ValueId id, const View& out, int out_head) {
  const auto [x, x_head] = heads_of(rope.x, rope.head_dim);
  kernels::RopeArgs args{};
  args.step = step();
  args.x = pointer<const float>(read(x));
  args.out = pointer<float>(write(out));
  args.x_stride = x.stride;
  args.out_stride = out.stride;
  args.x_head = x_head;
  args.out_head = out_head;
  args.heads = width_of(id) / rope.head_dim;
  args.head_dim = rope.head_dim;
  args.rope = rope_of(rope);
  launch("rope", args, {static_cast<uint32_t>(rows_of(id)), 1, 1});
}

View Lowerer::make(const program::Gate& gate, ValueId id) {
  kernels::ElementwiseArgs args{};
  args.kind = kernels::RowsKind::kGate;
  args.function = function_of(gate.function);
  args.each = width_of(gate.up) / width_of(gate.gate);
  return elementwise(args, gate.gate, gate.up, id);
}

// What stands second is written into place where it is turned heads, and what stands first where it
// is a norm's row; a product of heads was so already.
View Lowerer::make(const program::Concat& concat, ValueId id) {
  const int first = width_of(concat.a) / concat.heads;
  const auto* turned = op_of<program::Rope>(concat.b);
  if (turned != nullptr && only_user(concat.b) != nullptr && !views_[index(concat.b)] &&
      turned->head_dim * concat.heads == width_of(concat.b)) {
    if (concat.heads == 1 && !begun_[index(id)] && only_user(concat.a) != nullptr &&
        !views_[index(concat.a)] && strip_norm(concat.a).second != concat.a) {
      begun_[index(id)] = output_view(id);
      View front = *begun_[index(id)];
      front.width = first;
      prepare_rows(concat.a, front);
    }
    if (begun_[index(id)]) {
      View back = *begun_[index(id)];
      back.column += first;
      turn(*turned, concat.b, back, width_of(id) / concat.heads);
      return *begun_[index(id)];
    }
  }
  kernels::ElementwiseArgs args{};
  args.kind = kernels::RowsKind::kConcat;
  args.each = width_of(id) / concat.heads;
  args.x_each = first;
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

void Lowerer::launch_elementwise(const kernels::ElementwiseArgs& args, int rows) {
  launch("elementwise", args,
         {kernels::elementwise_workgroups(args), static_cast<uint32_t>(rows), 1});
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
  launch_elementwise(args, rows_of(id));
  return out;
}

}  // namespace outboard::devices::gpu
