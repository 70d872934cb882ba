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

#include "devices/amd/chip.h"

namespace outboard::devices::amd::driver {

// Contents of firmware files, by the names that linux-firmware has them under.
using FirmwareFiles = std::map<std::string, std::vector<std::byte>>;

std::vector<std::string> firmware_files(const Chip& chip);

// Where Linux keeps firmware.
std::vector<std::filesystem::path> system_firmware_folders();

// The first of the folders that holds all files, plain or compressed (.zst, .xz). Throws Error
// naming what is missing in each.
std::filesystem::path find_firmware(const std::vector<std::filesystem::path>& folders,
                                    const Chip& chip);

// Reads all files of a folder. Compressed ones go through the programs zstd and xz.
FirmwareFiles read_firmware(const std::filesystem::path& folder, const Chip& chip);

// REQUIRES: not copied, only moved: it points into itself.
class Firmware {
 public:
  Firmware() = default;
  Firmware(Firmware&&) = default;
  Firmware& operator=(Firmware&&) = default;

  // One image that the secure OS loads; a few go to several engines.
  struct Image {
    std::vector<uint32_t> types;  // GFX_FW_TYPE_*
    std::span<const std::byte> bytes;
  };

  // Takes the files apart. Every offset and size in a header is checked against its file; errors
  // name the file in `place` (a folder, or what stands for one).
  static Firmware load(FirmwareFiles files, const Chip& chip, const std::string& place);

  std::map<uint32_t, std::span<const std::byte>> boot;  // by PSP_FW_TYPE_*
  Image smu;
  std::vector<Image> images;  // in the order in which they are loaded
  uint64_t mec_start = 0;     // where the compute engine's code begins, bytes

 private:
  FirmwareFiles files_;  // what the spans point into
};

}  // namespace outboard::devices::amd::driver
