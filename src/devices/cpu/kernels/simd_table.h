// The table of one set of instructions: what the simd files before this one make of its vec_*.h,
// and the block formats' part, which lies in a file of its own.
#pragma once

#include "devices/cpu/kernels/tables.h"

namespace outboard::devices::cpu {
namespace {

template <const Grouped& (*kGrouped)()>
size_t packed_row_bytes(Packing packing, int64_t columns) {
  return packing == Packing::kFloat ? float_row_bytes(columns) : kGrouped().row_bytes(columns);
}

template <const Grouped& (*kGrouped)()>
void pack(Packing packing, const float* x, int64_t x_stride, int tokens, int64_t columns,
          std::byte* out) {
  if (packing == Packing::kFloat) {
    float_pack(x, x_stride, tokens, columns, out);
  } else {
    kGrouped().pack(packing == Packing::kGroupedBytes, x, x_stride, tokens, columns, out);
  }
}

template <const Grouped& (*kGrouped)()>
void linear(const Matrix& w, const std::byte* packed, int tokens, float* y, int64_t y_stride,
            int64_t row_begin, int64_t row_end, const float* bias, bool accumulate,
            std::byte* scratch) {
  const auto kernel = packing_for(w.type) == Packing::kFloat ? float_linear : kGrouped().linear;
  kernel(w, packed, tokens, y, y_stride, row_begin, row_end, bias, accumulate, scratch);
}

template <const Grouped& (*kGrouped)()>
size_t linear_scratch_bytes(int64_t max_columns) {
  const size_t grouped = kGrouped().scratch_bytes(max_columns);
  const size_t floats = float_scratch_bytes(max_columns);
  return grouped > floats ? grouped : floats;
}

template <const Grouped& (*kGrouped)()>
constexpr Kernels table(const char* name) {
  return {.name = name,
          .packed_row_bytes = packed_row_bytes<kGrouped>,
          .pack = pack<kGrouped>,
          .linear = linear<kGrouped>,
          .linear_scratch_bytes = linear_scratch_bytes<kGrouped>,
          .attention = attention,
          .attention_scratch_bytes = attention_scratch_bytes,
          .gated_delta = gated_delta,
          .selective_scan = selective_scan,
          .rms_norm = rms_norm,
          .layer_norm = layer_norm,
          .rope = rope,
          .unary = unary,
          .gate = gate,
          .add = add_rows,
          .scale = scale_row,
          .softcap = softcap,
          .to_half = to_half,
          .block_maxima = block_maxima,
          .sum_exp = sum_exp};
}

}  // namespace
}  // namespace outboard::devices::cpu
