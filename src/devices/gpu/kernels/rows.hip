// Rows that no matrix is part of: prepare and embed. See PrepareArgs and EmbedArgs.
#include "devices/gpu/kernels/blocks.h"
#include "devices/gpu/kernels/input.h"

namespace outboard::devices::gpu::kernels {
namespace {

// Unit u of a table's row.
DEVICE void table_unit(const Matrix& table, int row, int u, float (&out)[kUnit]) {
  with_format(static_cast<WeightType>(table.type), [&]<WeightType type>() {
    dequantize(Format<type>(row_of<type>(table, row, units_of(table.columns)), u, u % kSuperUnits),
               out);
  });
}

}  // namespace

// A workgroup makes one row.
KERNEL void prepare(PrepareArgs a) {
  static LDS Scratch scratch;
  const int row = workgroup_x();
  const int width = a.input.width;
  const int wanted = __builtin_elementwise_max(width, a.half != nullptr ? a.half_stride : 0);
  InputRow<kWaves> input(a.input, a.step, row, scratch);
  input.measure(true);
  input.each(0, (wanted + 255) & -256, [&](int column, float8 normed) {
    input.store(normed, column);
    if (a.out != nullptr)
      RowBuffer<>(a.out + static_cast<int64_t>(row) * a.out_stride, width).store(column, normed);
    if (a.half != nullptr && column < a.half_stride) {
      const Ptr<uint16_t> to = a.half + static_cast<int64_t>(row) * a.half_stride;
      *reinterpret_cast<Ptr<half8>>(to + column) = to_half(normed, input.exponent());
    }
  });
  if (a.factor != nullptr && thread() == 0) a.factor[row] = __builtin_ldexpf(1, input.exponent());
}

// A thread makes 32 columns of one row at a time.
KERNEL void embed(EmbedArgs a) {
  const int token = workgroup_x();
  const int id = a.by_token != 0 ? token : step_int(a.step, a.step.layout.ids, token);
  const int position =
      __builtin_elementwise_max(step_int(a.step, a.step.layout.positions, token), 0);
  const RowBuffer<> out(a.out + static_cast<int64_t>(token) * a.stride, a.table.columns);
  for (int u = thread(); u < units_of(a.table.columns); u += kThreads) {
    float v[kUnit];
    table_unit(a.table, id, u, v);
#pragma unroll
    for (int e = 0; e < kUnit; ++e) v[e] *= a.scale;
    if (a.positions.type >= 0) {
      float add[kUnit];
      table_unit(a.positions, position, u, add);
#pragma unroll
      for (int e = 0; e < kUnit; ++e) v[e] += add[e];
    }
#pragma unroll
    for (int e = 0; e < kUnit; e += kChunk)
      out.store(u * kUnit + e,
                float8{v[e], v[e + 1], v[e + 2], v[e + 3], v[e + 4], v[e + 5], v[e + 6], v[e + 7]});
  }
}

}  // namespace outboard::devices::gpu::kernels
