// The IP discovery binary that the card's firmware leaves at the end of VRAM. Source: Linux amdgpu
// include/discovery.h, amdgpu_discovery.c.
#pragma once

#include <cstddef>
#include <vector>

#include "simulator/card/card_model.h"
#include "simulator/card/moods.h"

namespace outboard::simulator::card {

// Blocks with versions and register bases, shader arrays of the chip, memory parts that a card
// lacks.
std::vector<std::byte> make_discovery_table(const CardModel& model, const Moods& moods = {});

}  // namespace outboard::simulator::card
