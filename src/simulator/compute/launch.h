// From a kernel of a code object to what the compute units run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "hardware/amd/code_object.h"
#include "simulator/compute/dispatch.h"

namespace outboard::simulator::compute {

using hardware::amd::Kernel;

// What a launch adds to a kernel.
struct Launch {
  uint64_t image_address = 0;  // where the code object's image lies
  std::array<uint32_t, 3> workgroups{1, 1, 1};
  std::array<uint32_t, 3> workgroup_size{1, 1, 1};
  uint64_t kernarg_address = 0;
  uint64_t dispatch_packet_address = 0;  // 64 bytes, filled in by fill_dispatch_packet()
  uint32_t dynamic_lds_bytes = 0;
  uint64_t scratch_address = 0;  // for `scratch_waves` waves
  uint32_t scratch_waves = 0;
};

// Registers and user SGPRs for a launch, as a command processor would set them up.
Dispatch make_dispatch(const Kernel& kernel, const Launch& launch);
// Writes the values that the compiler's hidden arguments ask for (block counts, group sizes, ...).
void fill_hidden_arguments(const Kernel& kernel, const Launch& launch,
                           std::span<std::byte> kernargs);
// The HSA packet that kernels may read sizes from (64 bytes).
void fill_dispatch_packet(const Kernel& kernel, const Launch& launch, std::span<std::byte> packet);

}  // namespace outboard::simulator::compute
