// Block formats with NEON alone.
// clang-format off
#include "devices/cpu/kernels/vec_neon.h"
#include "devices/cpu/kernels/simd_grouped_table.h"
// clang-format on

namespace outboard::devices::cpu {

const Grouped& neon_grouped() { return kGroupedKernels; }

}  // namespace outboard::devices::cpu
