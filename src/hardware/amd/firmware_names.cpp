#include "hardware/amd/firmware_names.h"

#include <fmt/format.h>

namespace outboard::hardware::amd {
namespace {

std::string name(std::string_view block, const Version& v, std::string_view part = {}) {
  return fmt::format("{}_{}_{}_{}{}.bin", block, v.major, v.minor, v.revision, part);
}

}  // namespace

FirmwareNames::FirmwareNames(const BlockVersions& blocks)
    : sos(name("psp", blocks.mp0, "_sos")),
      smu(name("smu", blocks.mp1)),
      sdma(name("sdma", blocks.sdma)),
      mec(name("gc", blocks.gc, "_mec")),
      imu(name("gc", blocks.gc, "_imu")),
      rlc(name("gc", blocks.gc, "_rlc")) {}

}  // namespace outboard::hardware::amd
