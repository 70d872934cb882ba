// Weights as they lie in VRAM, and how many workgroups the kernels that read them take. The layout
// itself is plane_layout.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "devices/gpu/kernels/arguments.h"
#include "formats/tensor_type.h"

namespace outboard::devices::gpu::kernels {

// Of one matrix: offsets of its planes, multiples of 256, and bytes in all.
struct Planes {
  size_t high = 0;
  size_t scales = 0;
  size_t bytes = 0;
};

// Whether the kernels read this type; others are to be converted to F16.
bool supported(formats::TensorType type);
// Throws Error for a type that is not supported and for columns that are no whole blocks.
Planes planes(formats::TensorType type, int64_t rows, int64_t columns);
// The matrix whose planes lie at `address`, a multiple of 256.
Matrix matrix(formats::TensorType type, int64_t rows, int64_t columns, uint64_t address);

// The kernel for `rows` input rows: up to 8.
std::string matvec_kernel(const MatvecArgs& args, int rows);
std::string expert_matvec_kernel(const ExpertMatvecArgs& args);
// Whether `matvec_1_plain` may have the input; of few columns it is for `matvec_1_narrow`.
bool is_plain(const Input& input);

// Workgroups in x; 1 in y and z where nothing else is said.
// And which wave takes which rows of the matrices, in the arguments; copies: workgroups in y.
uint32_t plan_matvec(MatvecArgs& args, int rows, int copies = 1);
uint32_t matmul_workgroups(const MatmulArgs& args);
uint32_t few_workgroups(const MatmulArgs& args);              // of matmul_few
uint32_t expert_down_workgroups(const ExpertDownArgs& args);  // in x; T in y
uint32_t expert_matmul_workgroups(const ExpertMatmulArgs& args);
uint32_t elementwise_workgroups(const ElementwiseArgs& args);  // in x; rows in y
uint32_t repack_workgroups(const RepackArgs& args);

}  // namespace outboard::devices::gpu::kernels
