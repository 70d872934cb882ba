// What the multipliers of this processor can do, measured: the bound of a prompt's product.
#pragma once

#include <string_view>

#include "devices/cpu/kernels/kernels.h"
#include "support/thread_team.h"

namespace outboard::devices::cpu {

// Multiply-adds a second (of all threads together) of the instructions that the table multiplies
// with, in chains that wait for nothing: of floats for Packing::kFloat, else of weights by
// activations of 16 bits. 0 if the table has none of its own.
double peak_rate(std::string_view table, Packing packing, ThreadTeam& team);

}  // namespace outboard::devices::cpu
