// The chips that this room drives, and their registers.
#pragma once

#include "hardware/address.h"
#include "hardware/amd/chips.h"
#include "hardware/amd/navi31/register.h"

namespace outboard::devices::amd {

namespace hw = hardware::amd::navi31;

using hardware::BarOffset;
using hardware::BusAddress;
using hardware::ControllerAddress;
using hardware::GpuAddress;
using hardware::RegisterAddress;
using hardware::VramOffset;
using hardware::amd::Chip;
using hardware::amd::Chips;

}  // namespace outboard::devices::amd
