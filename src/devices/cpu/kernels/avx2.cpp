// Kernels for x86-64 with AVX2, FMA and F16C.
//
// Without VNNI, 16-bit activations would take as many integer multiplications as float32 takes
// fused ones, so block formats are decoded to float32 and both packings are plain floats.
// The order of the includes matters: the simd files are written over the vector type.
// clang-format off
#include "devices/cpu/kernels/tables.h"
#include "devices/cpu/kernels/vec_avx2.h"
#include "devices/cpu/kernels/simd_rows.h"
#include "devices/cpu/kernels/simd_blocks.h"
#include "devices/cpu/kernels/simd_float.h"
#include "devices/cpu/kernels/simd_attention.h"
// clang-format on

namespace outboard::cpu {
namespace {

size_t packed_row_bytes(Packing, int64_t columns) { return float_row_bytes(columns); }

void pack(Packing, const float* x, int64_t x_stride, int tokens, int64_t columns, std::byte* out) {
  float_pack(x, x_stride, tokens, columns, out);
}

}  // namespace

const Kernels& avx2_kernels() {
  static const Kernels table = {"avx2",
                                packed_row_bytes,
                                pack,
                                float_linear,
                                float_scratch_bytes,
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
