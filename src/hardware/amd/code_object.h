// Code objects as clang writes them for gfx1100: an ELF file with kernels, their descriptors and
// what they want as arguments. Source: LLVM's AMDGPU usage guide, "ELF Code Object" and "Code
// Object V5 Metadata".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace outboard::hardware::amd {

// One argument of a kernel, from the metadata.
struct KernelArgument {
  std::string name;
  std::string kind;  // "global_buffer", "by_value", "hidden_block_count_x", ...
  uint32_t offset = 0, size = 0;
};

// kernel_code_properties, in the order in which they take user SGPRs.
enum KernelProperty : uint16_t {
  kPrivateSegmentBuffer = 1 << 0,
  kDispatchPtr = 1 << 1,
  kQueuePtr = 1 << 2,
  kKernargSegmentPtr = 1 << 3,
  kDispatchId = 1 << 4,
  kFlatScratchInit = 1 << 5,
  kPrivateSegmentSize = 1 << 6,
  kWave32 = 1 << 10,
};

struct Kernel {
  std::string name;
  uint64_t entry = 0;          // of the first instruction, in the image
  uint64_t code_bytes = 0;     // 0: the symbol table does not tell
  uint32_t lds_bytes = 0;      // fixed part
  uint32_t scratch_bytes = 0;  // a lane
  uint32_t kernarg_bytes = 0;
  uint32_t pgm_rsrc1 = 0, pgm_rsrc2 = 0, pgm_rsrc3 = 0;
  uint16_t properties = 0;  // of KernelProperty
  std::vector<KernelArgument> arguments;
};

// A loaded code object. Its image can be placed anywhere aligned to 4096 bytes; relocations are
// relative and already applied.
struct CodeObject {
  std::vector<std::byte> image;
  std::vector<Kernel> kernels;

  // Throws Error naming `source` for anything that is no code object of gfx1100.
  static CodeObject parse(std::span<const std::byte> file, std::string_view source);
  // Throws Error listing the kernels when there is none of that name. Empty: the only one.
  const Kernel& kernel(std::string_view name) const;
};

// Bytes of scratch memory a wave needs.
uint32_t scratch_bytes_per_wave(const Kernel& kernel);
bool uses_wave32(const Kernel& kernel);

}  // namespace outboard::hardware::amd
