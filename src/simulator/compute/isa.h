// The instruction set that the compute units run, by the names that this room uses for it.
#pragma once

#include "hardware/amd/rdna3/instruction.h"

namespace outboard::simulator::compute {

namespace code = hardware::amd::rdna3::code;
using hardware::amd::rdna3::decode;
using hardware::amd::rdna3::disassemble;
using hardware::amd::rdna3::Format;
using hardware::amd::rdna3::Instruction;
using hardware::amd::rdna3::kOpcodeCount;
using hardware::amd::rdna3::mnemonic;
using hardware::amd::rdna3::Opcode;
using hardware::amd::rdna3::Operand;
using hardware::amd::rdna3::Type;

}  // namespace outboard::simulator::compute
