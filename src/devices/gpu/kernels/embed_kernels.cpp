// At build time: code objects in, one C++ file with their images and kernels out (kernels.h), and a
// list of what each kernel takes (occupancy.h).
//
//   embed_kernels OUT.cpp RESOURCES.txt A.co B.co ...
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "devices/gpu/kernels/arguments.h"
#include "devices/gpu/kernels/occupancy.h"
#include "hardware/amd/code_object.h"
#include "hardware/amd/rdna3/occupancy.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace {

using outboard::hardware::amd::CodeObject;
using outboard::hardware::amd::Kernel;

constexpr size_t kPage = 4096;
// Instructions are fetched ahead, beyond the last of a kernel.
constexpr size_t kFetchAhead = 256;
constexpr uint32_t kLdsGranule = 512;
constexpr uint32_t kLdsShift = 15;

void write(const std::string& path, const std::string& text) {
  std::ofstream stream(path);
  stream << text;
  if (!stream.flush()) outboard::fail("{}: could not be written", path);
}

// A line of the list. Throws Error where the kernel takes more than it may.
std::string resources_of(const Kernel& k, const std::string& file) {
  using outboard::devices::gpu::kernels::kOccupancy;
  // Registers that spill to memory would make every launch need scratch memory, and be slow.
  if (k.scratch_bytes > 0)
    outboard::fail("{}: kernel {} spills {} bytes a lane", file, k.name, k.scratch_bytes);
  // COMPUTE_PGM_RSRC1, GRANULATED_WORKITEM_VGPR_COUNT of wave32.
  const uint32_t registers = ((k.pgm_rsrc1 & 0x3f) + 1) * 8;
  const int fit = outboard::hardware::amd::rdna3::resident_groups(
      registers, k.lds_bytes, outboard::devices::gpu::kernels::kThreads / 32);
  const auto* row =
      std::ranges::find(kOccupancy, k.name, &outboard::devices::gpu::kernels::Occupancy::kernel);
  if (row == std::end(kOccupancy))
    outboard::fail("{}: kernel {} has no row in occupancy.h", file, k.name);
  if (fit < row->workgroups)
    outboard::fail(
        "{}: kernel {} takes {} registers a lane and {} bytes of LDS: {} workgroups fit into a "
        "compute unit, occupancy.h says {}",
        file, k.name, registers, k.lds_bytes, fit, row->workgroups);
  return fmt::format("{:<22} {:>9} {:>9} {:>10}\n", k.name, registers, k.lds_bytes, fit);
}

void run(const std::string& out, const std::string& resources,
         const std::vector<std::string>& files) {
  std::string list =
      fmt::format("{:<22} {:>9} {:>9} {:>10}\n", "kernel", "registers", "LDS bytes", "workgroups");
  std::vector<std::byte> image;
  std::string table;
  for (const std::string& name : files) {
    const outboard::MappedFile file(name);
    const CodeObject code = CodeObject::parse(file.bytes(), name);
    image.resize((image.size() + kPage - 1) / kPage * kPage);
    const size_t base = image.size();
    image.insert(image.end(), code.image.begin(), code.image.end());
    image.resize(image.size() + kFetchAhead);
    for (const Kernel& k : code.kernels) {
      list += resources_of(k, name);
      const uint32_t lds = (k.lds_bytes + kLdsGranule - 1) / kLdsGranule << kLdsShift;
      table +=
          fmt::format("    {{\"{}\", {}, {}, {}, {:#x}, {:#x}, {:#x}}},\n", k.name, base + k.entry,
                      k.kernarg_bytes, k.lds_bytes, k.pgm_rsrc1, k.pgm_rsrc2 | lds, k.pgm_rsrc3);
    }
  }
  image.resize((image.size() + kPage - 1) / kPage * kPage);
  std::string text =
      "// Written by embed_kernels.\n#include \"devices/gpu/kernels/kernels.h\"\n\n"
      "namespace outboard::devices::gpu::kernels {\nnamespace {\n\n"
      "alignas(4096) constexpr uint64_t kImage[] = {\n";
  for (size_t at = 0; at < image.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, image.data() + at, 8);
    text += fmt::format("{:#x},{}", word, at % 64 == 56 ? "\n" : "");
  }
  text += "};\n\nconstexpr Kernel kKernels[] = {\n" + table +
          "};\n\n}  // namespace\n\n"
          "std::span<const std::byte> image() { return std::as_bytes(std::span(kImage)); }\n"
          "std::span<const Kernel> all() { return kKernels; }\n\n"
          "}  // namespace outboard::devices::gpu::kernels\n";
  write(out, text);
  write(resources, list);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 4) outboard::fail("use: embed_kernels OUT.cpp RESOURCES.txt A.co ...");
    run(argv[1], argv[2], {argv + 3, argv + argc});
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "embed_kernels: {}\n", e.what());
    return 1;
  }
}
