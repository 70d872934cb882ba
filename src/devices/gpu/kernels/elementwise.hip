// What no other kernel takes along.
#include "devices/gpu/kernels/device.h"
#include "devices/gpu/kernels/functions.h"
#include "devices/gpu/kernels/reduce.h"
#include "devices/gpu/kernels/rope.h"

namespace outboard::devices::gpu::kernels {
namespace {

DEVICE int over(int a, int b) {
  return static_cast<int>(static_cast<uint32_t>(a) / static_cast<uint32_t>(b));
}

DEVICE float one(const ElementwiseArgs& a, Ptr<const float> x, Ptr<const float> y, int i) {
  switch (a.kind) {
    case RowsKind::kAdd:
      return x[i] + y[i];
    case RowsKind::kScale:
    case RowsKind::kPositionScale:
      return x[i] * a.factor * (a.y != nullptr ? y[over(i, a.each)] : 1);
    case RowsKind::kActivation:
      return apply(a.function, x[i]);
    case RowsKind::kGate:
      return gated(a.function, x[over(i, a.each)], y[i]);
    case RowsKind::kSoftcap:
      return a.factor * tanh(x[i] / a.factor);
    case RowsKind::kSelect:
    case RowsKind::kGather:
      return x[i];
    case RowsKind::kSlice: {
      const int run = over(i, a.each);
      return x[run * a.x_each + a.begin + i - run * a.each];
    }
    case RowsKind::kConcat: {
      const int run = over(i, a.each);
      const int within = i - run * a.each;
      return within < a.x_each ? x[run * a.x_each + within]
                               : y[run * (a.each - a.x_each) + within - a.x_each];
    }
  }
  return x[i];
}

}  // namespace

// See ElementwiseArgs.
KERNEL void elementwise(ElementwiseArgs a) {
  const int row = workgroup_y();
  int from = row;
  if (a.kind == RowsKind::kSelect)
    from = reinterpret_cast<Ptr<const int>>(a.step.record + a.step.layout.row_token)[row];
  if (a.kind == RowsKind::kGather) from = reinterpret_cast<Ptr<const int>>(a.y)[row];
  if (a.kind == RowsKind::kPositionScale) {
    const int position =
        reinterpret_cast<Ptr<const int>>(a.step.record + a.step.layout.positions)[row];
    a.factor =
        position_factor(a.factor, a.length, a.offset, __builtin_elementwise_max(position, 0));
  }
  const Ptr<const float> x = a.x + static_cast<int64_t>(from) * a.x_stride;
  const Ptr<const float> y = a.y + static_cast<int64_t>(row) * a.y_stride;
  const Ptr<float> out = a.out + static_cast<int64_t>(row) * a.out_stride;
  const int first = workgroup_x() * kElementwiseColumns;
  const int end = __builtin_elementwise_min(first + kElementwiseColumns, a.width);
  for (int i = first + thread(); i < end; i += kThreads) out[i] = one(a, x, y, i);
}

// See RopeArgs. A head a wave.
KERNEL void rope(RopeArgs a) {
  const int token = workgroup_x();
  const int position = __builtin_elementwise_max(
      reinterpret_cast<Ptr<const int>>(a.step.record + a.step.layout.positions)[token], 0);
  for (int head = wave(); head < a.heads; head += kThreads / 32) {
    const Ptr<const float> x = a.x + static_cast<int64_t>(token) * a.x_stride + head * a.x_head;
    const Ptr<float> out = a.out + static_cast<int64_t>(token) * a.out_stride + head * a.out_head;
    norm_and_turn(x, a.head_dim, position, Norm{}, a.rope, [&](int i, float v) { out[i] = v; });
  }
}

// See NumberHeadsArgs.
KERNEL void number_heads(NumberHeadsArgs a) {
  const int i = workgroup_x() * kThreads + thread();
  if (i < a.count) a.chosen[i] = static_cast<uint32_t>(i) % static_cast<uint32_t>(a.heads);
}

// See GroupNormArgs. A group a wave.
KERNEL void group_norm(GroupNormArgs a) {
  const int row = workgroup_x();
  const int groups = a.width / a.group;
  for (int g = wave(); g < groups; g += kThreads / 32) {
    const Ptr<const float> x = a.x + static_cast<int64_t>(row) * a.x_stride + g * a.group;
    const Ptr<float> out = a.out + static_cast<int64_t>(row) * a.out_stride + g * a.group;
    const auto size = static_cast<float>(a.group);
    float mean = 0;
    if (a.norm.kind == NormKind::kLayer) {
      float sum = 0;
      for (int i = lane(); i < a.group; i += 32) sum += x[i];
      mean = wave_sum(sum) / size;
    }
    float squares = 0;
    for (int i = lane(); i < a.group; i += 32) squares += (x[i] - mean) * (x[i] - mean);
    const float factor = a.norm.kind == NormKind::kNone
                             ? 1
                             : reciprocal_root(wave_sum(squares) / size + a.norm.epsilon);
    for (int i = lane(); i < a.group; i += 32) {
      float e = (x[i] - mean) * factor;
      const int at = g * a.weight_each + i;
      if (a.norm.weight != nullptr) e *= a.norm.weight[at];
      if (a.norm.bias != nullptr) e += a.norm.bias[at];
      out[i] = e;
    }
  }
}

}  // namespace outboard::devices::gpu::kernels
