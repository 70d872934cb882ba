// The firmware of a chip, by linux-firmware's names, which hold the versions of its blocks. Source:
// Linux amdgpu amdgpu_ucode.c, amdgpu_ucode_ip_version_decode.
#pragma once

#include <string>

#include "hardware/amd/chip.h"

namespace outboard::hardware::amd {

struct FirmwareNames {
  explicit FirmwareNames(const BlockVersions& blocks);

  std::string sos, smu, sdma, mec, imu, rlc;
};

}  // namespace outboard::hardware::amd
