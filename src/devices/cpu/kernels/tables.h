// Inside the kernels only: one table a set of instructions, and what they share.
//
// Each set is compiled with its own flags, so nothing inline with external linkage may appear in
// those files (the linker would keep one copy for all processors, perhaps the newest one's): their
// code lives in unnamed namespaces and calls the plain functions below.
#pragma once

#include "devices/cpu/kernels/kernels.h"

namespace outboard::devices::cpu {

// The part of a table for Packing::kGrouped and kGroupedBytes: as in Kernels.
struct Grouped {
  size_t (*row_bytes)(int64_t columns);
  size_t (*scratch_bytes)(int64_t max_columns);
  void (*pack)(bool bytes, const float* x, int64_t x_stride, int tokens, int64_t columns,
               std::byte* out);
  void (*linear)(const Matrix& w, const std::byte* packed, int tokens, float* y, int64_t y_stride,
                 int64_t row_begin, int64_t row_end, const float* bias, bool accumulate,
                 std::byte* scratch);
};

const Kernels& scalar_kernels();
#if defined(__x86_64__)
const Kernels& avx2_kernels();
const Kernels& avxvnni_kernels();
const Kernels& avx512_kernels();
const Kernels& avx512vbmi_kernels();
const Grouped& avx2_grouped();
const Grouped& avxvnni_grouped();
const Grouped& avx512_grouped();
const Grouped& avx512vbmi_grouped();
#elif defined(__aarch64__)
const Kernels& neon_kernels();
const Kernels& dotprod_kernels();
const Kernels& i8mm_kernels();
const Grouped& neon_grouped();
const Grouped& dotprod_grouped();
const Grouped& i8mm_grouped();
#endif

struct BlockShape {
  int64_t elements;
  size_t bytes;
};
BlockShape block_shape(formats::TensorType type);

// Decodes `elements` values starting at `blocks`; both at a block's boundary.
void decode(formats::TensorType type, const std::byte* blocks, int64_t elements, float* out);

}  // namespace outboard::devices::cpu
