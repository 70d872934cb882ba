// The blocks of the chip that the driver touches, and the versions that the tables here are for.
// Source: Linux amdgpu amdgpu_discovery.c, which drives these versions with the files of GC 11.0.0.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "hardware/amd/navi31/discovery.h"
#include "hardware/amd/navi31/ip_bases.h"

namespace outboard::hardware::amd::navi31 {

struct IpBlock {
  std::string_view name;
  uint32_t hardware_id;     // in the discovery table
  std::optional<Ip> bases;  // whose registers the driver touches
  uint32_t major, minor, revision;
};
inline constexpr std::array<IpBlock, 8> kIpBlocks = {{
    {"GC", discovery::GC_HWID, Ip::kGc, 11, 0, 0},
    {"MMHUB", discovery::MMHUB_HWID, Ip::kMmhub, 3, 0, 0},
    {"MP0", discovery::MP0_HWID, Ip::kMp0, 13, 0, 0},
    {"MP1", discovery::MP1_HWID, Ip::kMp1, 13, 0, 0},
    {"NBIO", discovery::NBIF_HWID, Ip::kNbio, 4, 3, 0},
    {"OSSSYS", discovery::OSSSYS_HWID, Ip::kOsssys, 6, 0, 0},
    {"HDP", discovery::HDP_HWID, Ip::kHdp, 6, 0, 0},
    {"SDMA0", discovery::SDMA0_HWID, std::nullopt, 6, 0, 0},
}};

}  // namespace outboard::hardware::amd::navi31
