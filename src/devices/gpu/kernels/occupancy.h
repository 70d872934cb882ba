// How many workgroups of each kernel a compute unit has room for, by registers and LDS: more of
// them wait for memory at the same time. embed_kernels holds the compiler to it, and writes what
// each kernel really takes into resources.txt of the build's folder.
#pragma once

#include <string_view>

namespace outboard::devices::gpu::kernels {

struct Occupancy {
  std::string_view kernel;
  int workgroups;  // at least; 4 is all there can be
};
inline constexpr Occupancy kOccupancy[] = {
    {"attention_decode", 2},
    {"attention_prompt", 1},
    {"attention_tiles_64", 2},
    {"attention_tiles_128", 2},
    {"rope_kv", 2},
    {"matvec_1", 2},
    {"matvec_1_plain", 2},
    {"matvec_1_narrow", 4},
    {"matvec_2", 2},
    {"matvec_4", 2},
    {"matvec_8", 2},
    {"matmul", 2},
    {"matmul_few", 2},
    {"expert_matvec", 2},
    {"expert_matvec_narrow", 4},
    {"expert_down", 2},
    {"expert_matmul", 2},
    {"route", 4},
    {"expert_slots", 4},
    {"expert_sum", 4},
    {"prepare", 4},
    {"embed", 2},
    {"elementwise", 4},
    {"rope", 4},
    {"number_heads", 4},
    {"group_norm", 4},
    {"ssm_conv", 4},
    {"gated_delta_16", 4},
    {"gated_delta_64", 2},
    {"selective_scan_32", 4},
    {"selective_scan_64", 2},
    {"sample", 1},
    {"begin", 4},
    {"copy_pages", 4},
    {"repack", 4},
};

}  // namespace outboard::devices::gpu::kernels
