// Kernels for x86-64 with AVX-512 F, BW, VL, DQ and VNNI (Intel since Ice Lake, AMD since Zen 4).
// The order of the includes matters: the simd files are written over the vector type.
// clang-format off
#include "devices/cpu/kernels/tables.h"
#include "devices/cpu/kernels/vec_avx512.h"
#include "devices/cpu/kernels/simd_rows.h"
#include "devices/cpu/kernels/simd_recurrence.h"
#include "devices/cpu/kernels/simd_float.h"
#include "devices/cpu/kernels/simd_attention.h"
#include "devices/cpu/kernels/simd_table.h"
// clang-format on

namespace outboard::devices::cpu {

const Kernels& avx512_kernels() {
  static constexpr Kernels kTable = table<avx512_grouped>("avx512");
  return kTable;
}

}  // namespace outboard::devices::cpu
