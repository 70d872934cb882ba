// The IP discovery binary that the card's firmware leaves at the end of VRAM. Source: Linux amdgpu
// include/discovery.h, amdgpu_discovery.c.
#pragma once

#include <cstddef>
#include <vector>

namespace outboard::simulator {

// The table of a 7900 XTX: blocks with versions and register bases, shader arrays, harvested parts.
std::vector<std::byte> make_discovery_table();

}  // namespace outboard::simulator
