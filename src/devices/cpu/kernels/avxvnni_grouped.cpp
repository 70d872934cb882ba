// Block formats with AVX-VNNI: vectors of AVX2, another product.
// clang-format off
#include "devices/cpu/kernels/vec_avx2.h"
#include "devices/cpu/kernels/simd_grouped_table.h"
// clang-format on

namespace outboard::devices::cpu {

const Grouped& avxvnni_grouped() { return kGroupedKernels; }

}  // namespace outboard::devices::cpu
