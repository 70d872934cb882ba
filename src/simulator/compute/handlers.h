// The groups of instructions besides the vector ALU. Each prepare function fills in run, type and
// body of `op` and returns true when the instruction is of its group.
#pragma once

#include "simulator/compute/wave.h"

namespace outboard::simulator::compute {

bool prepare_scalar(Op& op, const Instruction& instruction);         // SOP1, SOP2, SOPC, SOPK
bool prepare_flow(Op& op, const Instruction& instruction);           // SOPP, jumps, mode registers
bool prepare_scalar_memory(Op& op, const Instruction& instruction);  // SMEM
bool prepare_vector_memory(Op& op,
                           const Instruction& instruction);  // FLAT, GLOBAL, SCRATCH, MUBUF, MTBUF
bool prepare_lds(Op& op, const Instruction& instruction);    // DS

}  // namespace outboard::simulator::compute
