// What no other kernel takes along. One row a workgroup.
#include "devices/gpu/kernels/device.h"
#include "devices/gpu/kernels/functions.h"
#include "devices/gpu/kernels/reduce.h"

namespace outboard::devices::gpu::kernels {
namespace {

DEVICE float one(const ElementwiseArgs& a, float x, Ptr<const float> y, int i) {
  switch (a.kind) {
    case RowsKind::kAdd:
      return x + y[i];
    case RowsKind::kScale:
      return x * a.factor;
    case RowsKind::kActivation:
      return apply(a.function, x);
    case RowsKind::kGate:
      return apply(a.function, x) * y[i];
    case RowsKind::kSoftcap:
      return a.factor * tanh(x / a.factor);
    case RowsKind::kSelect:
      return x;
  }
  return x;
}

}  // namespace

// See ElementwiseArgs.
KERNEL void elementwise(ElementwiseArgs a) {
  const int row = workgroup_x();
  int from = row;
  if (a.kind == RowsKind::kSelect)
    from = reinterpret_cast<Ptr<const int>>(a.step.record + a.step.layout.row_token)[row];
  const Ptr<const float> x = a.x + static_cast<int64_t>(from) * a.x_stride;
  const Ptr<const float> y = a.y + static_cast<int64_t>(row) * a.y_stride;
  const Ptr<float> out = a.out + static_cast<int64_t>(row) * a.out_stride;
  for (int i = thread(); i < a.width; i += kThreads) out[i] = one(a, x[i], y, i);
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
      if (a.norm.weight != nullptr) e *= a.norm.weight[i];
      if (a.norm.bias != nullptr) e += a.norm.bias[i];
      out[i] = e;
    }
  }
}

}  // namespace outboard::devices::gpu::kernels
