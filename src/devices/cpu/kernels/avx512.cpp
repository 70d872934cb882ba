// Kernels for x86-64 with AVX-512 F, BW, VL, DQ and VNNI (Intel since Cascade Lake, AMD since Zen
// 4), and with VBMI and GFNI, too (Intel since Ice Lake, AMD since Zen 4), which block formats use.
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

const Kernels& avx512vbmi_kernels() {
  static constexpr Kernels kTable = table<avx512vbmi_grouped>("avx512vbmi");
  return kTable;
}

}  // namespace outboard::devices::cpu
