// Kernels for x86-64 with AVX2, FMA and F16C, and for those that have AVX-VNNI besides (Intel since
// Alder Lake without AVX-512, AMD since Zen 5).
// The order of the includes matters: the simd files are written over the vector type.
// clang-format off
#include "devices/cpu/kernels/tables.h"
#include "devices/cpu/kernels/vec_avx2.h"
#include "devices/cpu/kernels/simd_rows.h"
#include "devices/cpu/kernels/simd_recurrence.h"
#include "devices/cpu/kernels/simd_float.h"
#include "devices/cpu/kernels/simd_attention.h"
#include "devices/cpu/kernels/simd_table.h"
// clang-format on

namespace outboard::devices::cpu {

const Kernels& avx2_kernels() {
  static constexpr Kernels kTable = table<avx2_grouped>("avx2");
  return kTable;
}

const Kernels& avxvnni_kernels() {
  static constexpr Kernels kTable = table<avxvnni_grouped>("avxvnni");
  return kTable;
}

}  // namespace outboard::devices::cpu
