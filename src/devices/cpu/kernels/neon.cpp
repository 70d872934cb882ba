// Kernels for arm64: NEON is part of every such processor, the dot product of bytes of most since
// 2018. The order of the includes matters: the simd files are written over the vector type.
// clang-format off
#include "devices/cpu/kernels/tables.h"
#include "devices/cpu/kernels/vec_neon.h"
#include "devices/cpu/kernels/simd_rows.h"
#include "devices/cpu/kernels/simd_recurrence.h"
#include "devices/cpu/kernels/simd_float.h"
#include "devices/cpu/kernels/simd_attention.h"
#include "devices/cpu/kernels/simd_table.h"
// clang-format on

namespace outboard::devices::cpu {

const Kernels& neon_kernels() {
  static constexpr Kernels kTable = table<neon_grouped>("neon");
  return kTable;
}

const Kernels& dotprod_kernels() {
  static constexpr Kernels kTable = table<dotprod_grouped>("dotprod");
  return kTable;
}

const Kernels& i8mm_kernels() {
  static constexpr Kernels kTable = table<i8mm_grouped>("i8mm");
  return kTable;
}

}  // namespace outboard::devices::cpu
