// Block formats with AVX-512 VNNI.
// clang-format off
#include "devices/cpu/kernels/vec_avx512.h"
#include "devices/cpu/kernels/simd_grouped_table.h"
// clang-format on

namespace outboard::devices::cpu {

const Grouped& avx512_grouped() { return kGroupedKernels; }

}  // namespace outboard::devices::cpu
