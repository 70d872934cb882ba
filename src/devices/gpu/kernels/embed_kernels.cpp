// At build time: code objects in, one C++ file with their images and kernels out (kernels.h).
//
//   embed_kernels OUT.cpp A.co B.co ...
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "hardware/amd/code_object.h"
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

void run(const std::string& out, const std::vector<std::string>& files) {
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
      // Registers that spill to memory would make every launch need scratch memory, and be slow.
      if (k.scratch_bytes > 0)
        outboard::fail("{}: kernel {} spills {} bytes a lane", name, k.name, k.scratch_bytes);
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
  std::ofstream stream(out);
  stream << text;
  if (!stream.flush()) outboard::fail("{}: could not be written", out);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 3) outboard::fail("use: embed_kernels OUT.cpp A.co ...");
    run(argv[1], {argv + 2, argv + argc});
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "embed_kernels: {}\n", e.what());
    return 1;
  }
}
