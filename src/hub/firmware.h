// The card's firmware, from linux-firmware: AMD's images, which this repository must not hold.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace outboard::hub {

// Where images come from: files below `url`, each with its SHA-256.
struct FirmwareSource {
  struct File {
    std::string name, sha256;
  };
  std::string url;
  std::vector<File> files;
};

// What the driver loads (devices/amd/driver/firmware.h), at one commit of linux-firmware.
// $OUTBOARD_FIRMWARE_URL names a mirror of that commit's folder amdgpu.
FirmwareSource linux_firmware();

// Where pulled images lie. Not created by asking.
std::filesystem::path firmware_folder();

// Gets what is missing and returns the folder. A file has its name once its hash has been checked;
// files that are there are checked again. Throws Error as download() does.
std::filesystem::path pull_firmware(const FirmwareSource& source,
                                    const std::filesystem::path& folder);

}  // namespace outboard::hub
