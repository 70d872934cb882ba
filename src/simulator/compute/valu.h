// The vector ALU: VOP1, VOP2, VOPC, VOP3, VOP3SD, VOP3P (dot and WMMA included), VOPD, DPP.
#pragma once

#include "simulator/compute/wave.h"

namespace outboard::simulator::compute {

// Fills in run, type and the valu_ fields of `op` for a vector ALU instruction. False when the
// instruction is not one (or is one that this simulator lacks).
bool prepare_valu(Op& op, const Instruction& instruction);

// The instruction set that the bodies were compiled for: "avx512", "avx2", "neon", "baseline".
const char* valu_instruction_set();

}  // namespace outboard::simulator::compute
