// Kernels for x86-64 with AVX-512 F, BW, VL, DQ and VNNI (Intel since Ice Lake, AMD since Zen 4).
// The order of the includes matters: the simd files are written over the vector type.
// clang-format off
#include "devices/cpu/kernels/tables.h"
#include "devices/cpu/kernels/vec_avx512.h"
#include "devices/cpu/kernels/simd_rows.h"

namespace outboard::cpu {
namespace {

// Block formats go to avx512_grouped.cpp; the rare ones are decoded by formats/.
bool decode_fast(formats::TensorType, const std::byte*, int64_t, float*) { return false; }
template <typename Put>
bool block_linear(const Matrix&, const float*, size_t, int, int64_t, int64_t, Put) {
  return false;
}

}  // namespace
}  // namespace outboard::cpu

#include "devices/cpu/kernels/simd_float.h"
#include "devices/cpu/kernels/simd_attention.h"
// clang-format on

namespace outboard::cpu {
namespace {

size_t packed_row_bytes(Packing packing, int64_t columns) {
  return packing == Packing::kFloat ? float_row_bytes(columns) : avx512_grouped_row_bytes(columns);
}

void pack(Packing packing, const float* x, int64_t x_stride, int tokens, int64_t columns,
          std::byte* out) {
  if (packing == Packing::kFloat) {
    float_pack(x, x_stride, tokens, columns, out);
  } else {
    avx512_grouped_pack(packing == Packing::kGroupedBytes, x, x_stride, tokens, columns, out);
  }
}

void linear(const Matrix& w, const std::byte* packed, int tokens, float* y, int64_t y_stride,
            int64_t row_begin, int64_t row_end, const float* bias, bool accumulate,
            std::byte* scratch) {
  const auto kernel = packing_for(w.type) == Packing::kFloat ? float_linear : avx512_grouped_linear;
  kernel(w, packed, tokens, y, y_stride, row_begin, row_end, bias, accumulate, scratch);
}

size_t linear_scratch_bytes(int64_t max_columns) {
  const size_t grouped = avx512_grouped_scratch_bytes(max_columns);
  const size_t floats = float_scratch_bytes(max_columns);
  return grouped > floats ? grouped : floats;
}

}  // namespace

const Kernels& avx512_kernels() {
  static const Kernels table = {"avx512",
                                packed_row_bytes,
                                pack,
                                linear,
                                linear_scratch_bytes,
                                attention,
                                attention_scratch_bytes,
                                rms_norm,
                                layer_norm,
                                rope,
                                unary,
                                gate,
                                add_rows,
                                scale_row,
                                softcap,
                                to_half,
                                block_maxima,
                                sum_exp};
  return table;
}

}  // namespace outboard::cpu
