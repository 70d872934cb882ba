// The firmware images that the card needs, out of the files of linux-firmware's folder amdgpu.
// Source: Linux amdgpu amdgpu_ucode.h and amdgpu_ucode.c (headers), amdgpu_psp.c (order).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace outboard::devices::amd::driver {

// Names of the files, as linux-firmware has them.
const std::vector<std::string>& firmware_files();

// Where images are looked for: `folder` when given, else the system's folders. Throws Error naming
// the file that is missing and where it was looked for.
std::filesystem::path find_firmware(const std::filesystem::path& folder);

struct Firmware {
  // One image that the secure OS loads; a few go to several engines.
  struct Image {
    std::vector<uint32_t> types;  // GFX_FW_TYPE_*
    std::span<const std::byte> bytes;
  };

  // Reads all files of a folder. Every offset and size in a header is checked against its file.
  static Firmware load(const std::filesystem::path& folder);

  std::map<uint32_t, std::span<const std::byte>> boot;  // by PSP_FW_TYPE_*
  Image smu;
  std::vector<Image> images;  // in the order in which they are loaded
  uint64_t mec_start = 0;     // where the compute engine's code begins, bytes

 private:
  std::vector<std::vector<std::byte>> files_;  // what the spans point into
};

}  // namespace outboard::devices::amd::driver
