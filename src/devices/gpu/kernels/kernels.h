// The kernels, compiled at build time for gfx1100, and what a launch of each needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace outboard::devices::gpu::kernels {

struct Kernel {
  std::string_view name;
  uint32_t entry;          // offset of the first instruction in the image, a multiple of 256
  uint32_t kernarg_bytes;  // size of its argument structure
  uint32_t lds_bytes;
  uint32_t rsrc1, rsrc2, rsrc3;  // COMPUTE_PGM_RSRC1..3, LDS size included
};

// Code and constants of all kernels: placed as it is at any address that is a multiple of 4096.
std::span<const std::byte> image();
std::span<const Kernel> all();
// Throws Error when there is none of that name: a caller's mistake.
const Kernel& find(std::string_view name);

}  // namespace outboard::devices::gpu::kernels
