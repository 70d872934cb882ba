// What goes through the tokens of a run in order, and keeps what it has come to in the run's slot.
#include "devices/gpu/kernels/device.h"

namespace outboard::devices::gpu::kernels {

// See SsmConvArgs. A channel a thread.
KERNEL void ssm_conv(SsmConvArgs a) {
  const int channel = workgroup_x() * kThreads + thread();
  const int run = workgroup_y();
  const Ptr<const uint8_t> record = a.step.record;
  const Ptr<const StepHeader> header = reinterpret_cast<Ptr<const StepHeader>>(record);
  if (channel >= a.width) return;
  if (run == 0)
    for (int t = header->tokens; t < a.tokens; ++t)
      a.out[static_cast<int64_t>(t) * a.out_stride + channel] = 0;
  if (run >= header->runs) return;
  const Ptr<const SlotRun> r =
      reinterpret_cast<Ptr<const SlotRun>>(record + a.step.layout.slot_runs) + run;
  const int first = r->first;
  const int count = r->tokens;
  const bool begins =
      reinterpret_cast<Ptr<const int>>(record + a.step.layout.positions)[first] == 0;
  const Ptr<float> kept = a.states + static_cast<uint64_t>(r->slot) * a.slot_stride + channel;

  // The window's last place is the token's own; places before its taps have weight 0.
  float weight[kMaxTaps], window[kMaxTaps];
  const int unused = kMaxTaps - a.taps;
#pragma unroll
  for (int i = 0; i < kMaxTaps; ++i) {
    weight[i] = i >= unused ? a.weight[channel * a.taps + i - unused] : 0;
    window[i] = i > unused && !begins ? kept[static_cast<int64_t>(i - unused - 1) * a.width] : 0;
  }
  const float bias = a.bias != nullptr ? a.bias[channel] : 0;
  // `window` holds what came before in its places 1 to kMaxTaps - 1 here, and moves up each token.
  for (int t = 0; t < count; ++t) {
#pragma unroll
    for (int i = 0; i < kMaxTaps - 1; ++i) window[i] = window[i + 1];
    const int64_t row = first + t;
    window[kMaxTaps - 1] = a.x[row * a.x_stride + channel];
    float sum = bias;
#pragma unroll
    for (int i = 0; i < kMaxTaps; ++i) sum += weight[i] * window[i];
    a.out[row * a.out_stride + channel] = sum;
  }
#pragma unroll
  for (int i = 0; i < kMaxTaps; ++i)
    if (i > unused) kept[static_cast<int64_t>(i - unused - 1) * a.width] = window[i];
}

}  // namespace outboard::devices::gpu::kernels
