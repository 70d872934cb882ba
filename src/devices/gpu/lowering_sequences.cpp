// Ops that go through the tokens of a run in order, and the slots that they keep their states in.
#include <algorithm>
#include <array>

#include "devices/gpu/lowerer.h"

namespace outboard::devices::gpu {

void Lowerer::lower(const program::SsmConv& op, ValueId out) {
  const View x = materialize(op.x);
  const auto taps = static_cast<int>(program_.weights[index(op.weight)].shape[1]);
  if (taps > kernels::kMaxTaps)
    throw Error(fmt::format("{}: {} taps of a convolution, but the card's kernel takes up to {}",
                            program_.weights[index(op.weight)].name, taps, kernels::kMaxTaps),
                "Use --device cpu for this model.");
  const View view = output_view(out);
  const uint64_t states = memory_.slots + memory_.slot_states[index(op.state)];
  kernels::SsmConvArgs args{};
  args.step = step();
  args.x = pointer<const float>(read(x));
  args.x_stride = x.stride;
  args.out = pointer<float>(write(view));
  args.out_stride = view.stride;
  args.weight = weights_.vector(op.weight);
  args.bias = weights_.vector(op.bias);
  args.states = pointer<float>(states);
  args.slot_stride = memory_.slot_bytes / 4;
  args.width = x.width;
  args.taps = taps;
  args.tokens = shape_.tokens;
  args.function = function_of(op.function);
  // Named by its first byte, as a state's pages are: no other op has it.
  accesses_.reads.push_back({states, 1});
  accesses_.writes.push_back({states, 1});
  launch(
      "ssm_conv", args,
      {static_cast<uint32_t>((args.width + kernels::kThreads - 1) / kernels::kThreads), runs(), 1});
  views_[index(out)] = view;
}

uint32_t Lowerer::runs() const {
  return static_cast<uint32_t>(std::min(shape_.tokens, memory_.begin.layout.max_runs));
}

kernels::RecurrenceArgs Lowerer::recurrence(const HeadsOut& target, const View& view,
                                            program::SlotStateId state, int heads, int rows) {
  kernels::RecurrenceArgs args{};
  args.heads = heads;
  args.rows = rows;
  args.columns = target.columns;
  args.lanes = 32;
  while (args.lanes < args.columns) args.lanes *= 2;
  const int shares = kernels::kThreads / std::max(1, args.lanes);
  if (args.columns > kernels::kMaxStateColumns || rows > shares * 64)
    throw Error(fmt::format("a recurrent state of {} by {} a head: the card's kernels take up to "
                            "{} columns, and with these {} rows",
                            rows, args.columns, kernels::kMaxStateColumns, shares * 64),
                "Use --device cpu for this model.");
  const uint64_t states = memory_.slots + memory_.slot_states[index(state)];
  args.step = step();
  args.out = pointer<float>(write(view));
  args.out_stride = view.stride;
  args.states = pointer<float>(states);
  args.slot_stride = memory_.slot_bytes / 4;
  args.norm = target.norm;
  if (target.gate) {
    args.gate = pointer<const float>(read(*target.gate));
    args.gate_stride = target.gate->stride;
    args.function = target.function;
  }
  args.tokens = shape_.tokens;
  // Named by its first byte, as a state's pages are: no other op has it.
  accesses_.reads.push_back({states, 1});
  accesses_.writes.push_back({states, 1});
  return args;
}

void Lowerer::lower(const program::GatedDelta& op, ValueId out) {
  std::array<View, 5> in;
  std::ranges::transform(std::array{op.q, op.k, op.v, op.alpha, op.beta}, in.begin(),
                         [&](ValueId id) { return materialize(id); });
  const HeadsOut target = heads_out(out, op.heads);
  const View view = output_view(target.result);
  kernels::GatedDeltaArgs args{};
  args.state = recurrence(target, view, op.state, op.heads, width_of(op.q) / op.key_heads);
  args.q = pointer<const float>(read(in[0]));
  args.k = pointer<const float>(read(in[1]));
  args.v = pointer<const float>(read(in[2]));
  args.alpha = pointer<const float>(read(in[3]));
  args.beta = pointer<const float>(read(in[4]));
  // The same for all lanes.
  for (const View& each : {in[3], in[4]}) accesses_.scalar_reads.push_back(range_of(each));
  args.q_stride = in[0].stride;
  args.k_stride = in[1].stride;
  args.v_stride = in[2].stride;
  args.alpha_stride = in[3].stride;
  args.beta_stride = in[4].stride;
  args.a = weights_.vector(op.a);
  args.dt = weights_.vector(op.dt);
  args.key_heads = op.key_heads;
  args.neighbours = op.neighbours ? 1 : 0;
  args.epsilon = op.epsilon;
  const bool few = args.state.rows <= kernels::kThreads / args.state.lanes * 16;
  launch(few ? "gated_delta_16" : "gated_delta_64", args,
         {static_cast<uint32_t>(op.heads), runs(), 1});
  views_[index(target.result)] = view;
}

void Lowerer::lower(const program::SelectiveScan& op, ValueId out) {
  std::array<View, 4> in;
  std::ranges::transform(std::array{op.x, op.b, op.c, op.dt}, in.begin(),
                         [&](ValueId id) { return materialize(id); });
  const HeadsOut target = heads_out(out, op.heads);
  const View view = output_view(target.result);
  kernels::SelectiveScanArgs args{};
  args.state = recurrence(target, view, op.state, op.heads, width_of(op.b) / op.groups);
  args.x = pointer<const float>(read(in[0]));
  args.b = pointer<const float>(read(in[1]));
  args.c = pointer<const float>(read(in[2]));
  args.dt = pointer<const float>(read(in[3]));
  accesses_.scalar_reads.push_back(range_of(in[3]));  // the same for all lanes
  args.x_stride = in[0].stride;
  args.b_stride = in[1].stride;
  args.c_stride = in[2].stride;
  args.dt_stride = in[3].stride;
  args.a = weights_.vector(op.a);
  args.dt_bias = weights_.vector(op.dt_bias);
  args.skip = weights_.vector(op.skip);
  args.groups = op.groups;
  const bool few = args.state.rows <= kernels::kThreads / args.state.lanes * 32;
  launch(few ? "selective_scan_32" : "selective_scan_64", args,
         {static_cast<uint32_t>(op.heads), runs(), 1});
  views_[index(target.result)] = view;
}

}  // namespace outboard::devices::gpu
