// The blocks of a chip that the driver touches, as its discovery table names them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "hardware/amd/chip.h"
#include "hardware/amd/navi31/discovery.h"
#include "hardware/amd/navi31/ip_bases.h"

namespace outboard::hardware::amd::navi31 {

struct IpBlock {
  std::string_view name;
  uint32_t hardware_id;     // in the discovery table
  std::optional<Ip> bases;  // whose registers the driver touches
  Version BlockVersions::* version;
};
inline constexpr std::array<IpBlock, 8> kIpBlocks = {{
    {"GC", discovery::GC_HWID, Ip::kGc, &BlockVersions::gc},
    {"MMHUB", discovery::MMHUB_HWID, Ip::kMmhub, &BlockVersions::mmhub},
    {"MP0", discovery::MP0_HWID, Ip::kMp0, &BlockVersions::mp0},
    {"MP1", discovery::MP1_HWID, Ip::kMp1, &BlockVersions::mp1},
    {"NBIO", discovery::NBIF_HWID, Ip::kNbio, &BlockVersions::nbio},
    {"OSSSYS", discovery::OSSSYS_HWID, Ip::kOsssys, &BlockVersions::osssys},
    {"HDP", discovery::HDP_HWID, Ip::kHdp, &BlockVersions::hdp},
    {"SDMA0", discovery::SDMA0_HWID, std::nullopt, &BlockVersions::sdma},
}};

}  // namespace outboard::hardware::amd::navi31
