// Attention, and the KV cache.
#include <algorithm>

#include "devices/gpu/lowerer.h"

namespace outboard::devices::gpu {

int Lowerer::splits_for(int kv_heads) const {
  // Enough workgroups for the compute units, two each, while a split keeps 64 positions.
  constexpr int kLeastPositions = 64;
  const int wanted = (2 * memory_.compute_units + kv_heads - 1) / kv_heads;
  const int useful = (memory_.context + kLeastPositions - 1) / kLeastPositions;
  return std::clamp(std::min(wanted, useful), 1, kernels::kMaxSplits);
}

kernels::AttentionArgs Lowerer::attention_args(program::StateId id) const {
  const program::KvState& state = program_.states[index(id)];
  const StreamMemory::State& place = memory_.states[index(id)];
  kernels::AttentionArgs args{};
  const StreamMemory::Pages& pages = memory_.pages_of(place);
  const kernels::StepLayout& layout = memory_.begin.layout;
  args.cache.keys = pointer<uint16_t>(pages.memory + place.keys);
  args.cache.values = pointer<uint16_t>(pages.memory + place.values);
  args.cache.page_stride = pages.bytes / 2;
  args.pages = place.kind == PageKind::kWindow ? layout.window_pages : layout.pages;
  args.kv_heads = state.kv_heads;
  args.key_dim = state.key_dim;
  args.value_dim = state.value_dim;
  args.values_in_keys = state.values_in_keys ? 1 : 0;
  args.tokens = shape_.tokens;
  return args;
}

void Lowerer::put_keys(kernels::AttentionArgs& args, const AttentionInput& in) {
  if (!in.k) return;
  args.k = pointer<float>(read(in.k->view));
  args.k_stride = in.k->view.stride;
  args.k_norm = in.k->norm;
  args.k_rope = in.k->rope;
  if (!in.v) return;
  args.v = pointer<float>(read(in.v->view));
  args.v_stride = in.v->view.stride;
  args.v_norm = in.v->norm;
}

void Lowerer::attend_in_splits(kernels::AttentionArgs args, ValueId out) {
  kernels::Splits& splits = args.splits;
  splits.splits = splits_for(args.kv_heads);
  const int parts = args.heads * splits.splits;
  splits.sums = pointer<float>(write(new_view(shape_.tokens, parts * args.value_dim)));
  splits.stats = pointer<float>(write(new_view(shape_.tokens, parts * 2)));
  splits.ended = counters();
  const View view = output_view(out);
  args.out = pointer<float>(write(view));
  args.out_stride = view.stride;
  launch("attention_decode", args,
         {static_cast<uint32_t>(splits.splits), static_cast<uint32_t>(args.kv_heads),
          static_cast<uint32_t>(shape_.tokens)});
  views_[index(out)] = view;
}

// Whether units of 16 queries share keys and values, four a workgroup: where heads have the size
// for it, and there are enough of them for the compute units. Of few, waves share the positions.
bool Lowerer::tiles_share_keys(const kernels::AttentionArgs& args) const {
  if (args.key_dim != args.value_dim || (args.key_dim != 64 && args.key_dim != 128)) return false;
  if (args.values_in_keys != 0 || args.step.layout.page_tokens % 4 != 0) return false;
  const int workgroups =
      kernels::attention_tiles(shape_.tokens, args.heads, args.kv_heads) * args.kv_heads;
  return 3 * workgroups >= 2 * memory_.compute_units;
}

void Lowerer::attend_in_tiles(kernels::AttentionArgs args, ValueId out) {
  const View view = output_view(out);
  args.out = pointer<float>(write(view));
  args.out_stride = view.stride;
  if (tiles_share_keys(args)) {
    launch(
        args.key_dim == 64 ? "attention_tiles_64" : "attention_tiles_128", args,
        {static_cast<uint32_t>(kernels::attention_tiles(shape_.tokens, args.heads, args.kv_heads)),
         static_cast<uint32_t>(args.kv_heads), 1});
    views_[index(out)] = view;
    return;
  }
  launch("attention_prompt", args,
         {static_cast<uint32_t>(shape_.tokens + 15) / 16, static_cast<uint32_t>(args.heads),
          static_cast<uint32_t>(args.value_dim + 255) / 256});
  views_[index(out)] = view;
}

void Lowerer::lower(const program::Attention& op, ValueId out) {
  const program::KvState& state = program_.states[index(op.state)];
  AttentionInput in{headed(op.q, state.key_dim), {}, {}};
  if (op.k != kNone) in.k = headed(op.k, state.key_dim);
  if (op.v != kNone) in.v = headed_value(op.v, state.value_dim);
  const Headed& q = in.q;
  kernels::AttentionArgs args = attention_args(op.state);
  if (args.key_dim > kernels::kMaxKeyDim || args.value_dim > kernels::kMaxValueDim)
    throw Error(
        fmt::format("heads of {} and {} elements: the card takes keys of up to {}, values of "
                    "up to {}",
                    args.key_dim, args.value_dim, kernels::kMaxKeyDim, kernels::kMaxValueDim),
        "Use --device cpu for this model.");
  args.heads = op.heads;
  args.window = op.window;
  args.scale = op.scale;
  args.softcap = op.softcap;
  args.chunked = op.chunked ? 1 : 0;
  args.sinks = weights_.vector(op.sinks);
  args.q_stride = q.view.stride;
  args.q_norm = q.norm;
  args.q_rope = q.rope;
  const auto fill = [&](bool q_changes) {
    args.step = step();
    args.q = pointer<float>(q_changes ? write(q.view) : read(q.view));
    if (q_changes) read(q.view);
    put_keys(args, in);
  };
  const Range cache = cache_range(op.state);
  if (shape_.decode) {
    fill(false);
    accesses_.reads.push_back(cache);
    if (in.k) accesses_.writes.push_back(cache);
    attend_in_splits(args, out);
    return;
  }
  fill(true);
  if (in.k) accesses_.writes.push_back(cache);
  launch("rope_kv", args, {static_cast<uint32_t>(shape_.tokens), 1, 1});
  fill(false);
  args.source = op.causal ? 0 : 1;
  accesses_.reads.push_back(cache);
  attend_in_tiles(args, out);
}

void Lowerer::lower(const program::KvWrite& op, ValueId) {
  const program::KvState& state = program_.states[index(op.state)];
  AttentionInput in{};
  in.k = headed(op.k, state.key_dim);
  if (op.v != kNone) in.v = headed_value(op.v, state.value_dim);
  kernels::AttentionArgs args = attention_args(op.state);
  args.step = step();
  put_keys(args, in);
  accesses_.writes.push_back(cache_range(op.state));
  launch("rope_kv", args, {static_cast<uint32_t>(shape_.tokens), 1, 1});
}

void Lowerer::lower(const program::CrossAttention& op, ValueId out) {
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

}  // namespace outboard::devices::gpu
