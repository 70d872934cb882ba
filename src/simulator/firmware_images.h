// Firmware for the simulated card: true headers, made-up contents. The real images are AMD's and
// belong to a real card; the simulated one checks headers, order and sizes, and runs none of it.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace outboard::simulator {

// By the names that linux-firmware's folder amdgpu has them under. The same bytes each time.
std::map<std::string, std::vector<std::byte>> firmware_images();

}  // namespace outboard::simulator
