// Block formats with the products of matrices of bytes of Armv8.6.
// clang-format off
#include "devices/cpu/kernels/vec_neon.h"
#include "devices/cpu/kernels/simd_grouped_table.h"
// clang-format on

namespace outboard::devices::cpu {

const Grouped& i8mm_grouped() { return kGroupedKernels; }

}  // namespace outboard::devices::cpu
