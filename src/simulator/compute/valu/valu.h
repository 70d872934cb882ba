// The vector ALU: VOP1, VOP2, VOPC, VOP3, VOP3SD, VOP3P (dot and WMMA included), VOPD, DPP.
#pragma once

#include "simulator/compute/wave.h"

namespace outboard::simulator::compute {

// Fills in run, type and the valu_ fields of `op` for a vector ALU instruction. False when the
// instruction is not one, or is one that this simulator lacks: v_movrel with DPP, reserved DPP
// controls.
//
// Results are the guide's, bit for bit, where it defines them. Where it does not:
// - v_exp, v_log, v_rcp, v_rsq, v_sqrt, v_sin, v_cos are within 0.51 ulp of the exact result (the
//   hardware: 1 ulp); v_rcp, v_rsq and v_sqrt of float64 within 1 ulp (the hardware: 2^29).
// - v_dot2 with a 16-bit result and WMMA keep float32 sums in a fixed order (valu/dot.h, matrix.h).
// - Without MODE.IEEE a signaling NaN of float16 is quieted all the same.
bool prepare_valu(Op& op, const Instruction& instruction);

// The set of host instructions that does the arithmetic: "avx512", "avx2", "neon" or "scalar", as
// OUTBOARD_CPU names them.
const char* valu_instruction_set();

}  // namespace outboard::simulator::compute
