// Firmware for the simulated card: true headers, made-up contents. The real images are AMD's and
// belong to a real card; the simulated one checks headers, order and sizes, and runs none of it.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "hardware/amd/navi31/chip.h"
#include "simulator/card/moods.h"

namespace outboard::simulator::card {

// By the names that linux-firmware's folder amdgpu has them under. The same bytes each time.
// moods: those of firmware.* change them.
std::map<std::string, std::vector<std::byte>> firmware_images(
    const Moods& moods = {}, const hardware::amd::Chip& chip = hardware::amd::navi31::kChip);

// Makes any bytes pass for an image: the head that the boot loader looks at. Shorter ones than such
// a head stay as they are.
void make_stand_in_image(std::span<std::byte> bytes);

}  // namespace outboard::simulator::card
