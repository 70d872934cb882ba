// Block formats with the dot product of bytes of Armv8.2.
// clang-format off
#include "devices/cpu/kernels/vec_neon.h"
#include "devices/cpu/kernels/simd_grouped_table.h"
// clang-format on

namespace outboard::devices::cpu {

const Grouped& dotprod_grouped() { return kGroupedKernels; }

}  // namespace outboard::devices::cpu
