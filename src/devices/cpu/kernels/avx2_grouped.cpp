// Block formats with AVX2.
// clang-format off
#include "devices/cpu/kernels/vec_avx2.h"
#include "devices/cpu/kernels/simd_grouped_table.h"
// clang-format on

namespace outboard::devices::cpu {

const Grouped& avx2_grouped() { return kGroupedKernels; }

}  // namespace outboard::devices::cpu
