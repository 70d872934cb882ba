// Inside the vector ALU: what its files share.
#pragma once

#include "simulator/compute/valu/operands.h"
#include "simulator/compute/valu/operations.h"
#include "simulator/compute/valu/tables.h"

namespace outboard::simulator::compute::valu {

// As prepare_valu, with a given table.
bool prepare(const Table& table, Op& op, const Instruction& instruction);
// Operations across lanes or register files.
bool prepare_special(Op& op, const Instruction& instruction);

// Values of dpp_ctrl that mean something.
bool is_dpp_control(uint32_t control);
Swizzle swizzle_of(const Instruction& instruction, uint32_t exec, int bank);
// Of bank 0 with all lanes active, kept for the life of the process; null when there is no room.
const Swizzle* kept_swizzle(const Instruction& instruction);

// Registers of one bank as words.
inline uint32_t* bank_words(Wave& wave, int bank) {
  return wave.bank[static_cast<size_t>(bank)]->lane.data();
}
inline uint32_t* register_words(Wave& wave, int bank, int vgpr) {
  return bank_words(wave, bank) + static_cast<size_t>(vgpr) * kLanesOfRegister;
}
inline const uint32_t* register_words(const Wave& wave, int bank, int vgpr) {
  return wave.bank[static_cast<size_t>(bank)][vgpr].lane.data();
}

}  // namespace outboard::simulator::compute::valu
