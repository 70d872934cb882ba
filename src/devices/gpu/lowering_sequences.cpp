// Ops that go through the tokens of a run in order, and the slots that they keep their states in.
#include <algorithm>

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
  // Named by its first byte, as a state's pages are: no other op has it.
  accesses_.reads.push_back({states, 1});
  accesses_.writes.push_back({states, 1});
  const int runs = std::min(shape_.tokens, memory_.begin.layout.max_runs);
  launch("ssm_conv", args,
         {static_cast<uint32_t>((args.width + kernels::kThreads - 1) / kernels::kThreads),
          static_cast<uint32_t>(runs), 1});
  views_[index(out)] = view;
}

}  // namespace outboard::devices::gpu
