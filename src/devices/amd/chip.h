// The chip that this room drives.
#pragma once

#include "hardware/amd/navi31/register.h"

namespace outboard::devices::amd {

namespace hw = hardware::amd::navi31;

}  // namespace outboard::devices::amd
