// Operand codes turned into operands.
#pragma once

#include "hardware/amd/rdna3/instruction.h"
#include "hardware/amd/rdna3/isa_tables.h"

namespace outboard::hardware::amd::rdna3 {

// What an inline constant (codes 128..208, 240..248) stands for when read as `type`.
uint64_t inline_constant(uint16_t code, Type type);
// What a literal stands for: 64-bit types extend it. Guide, 6.1: zeros below for float64, the sign
// for signed integers, zeros above otherwise.
uint64_t literal_constant(uint32_t literal, Type type);

// An 8-bit or 9-bit source code, 9-bit ones with VGPRs. A literal leaves `value` to
// literal_constant(). False when the code is reserved, or the registers are beyond the last.
// Scalar register groups begin at an even register (two) or a multiple of four (more), as LLVM
// rounds them.
bool source_operand(uint16_t code, isa::Role role, Operand& out);
// A 7-bit scalar register code.
bool scalar_register(uint16_t code, isa::Role role, Operand& out);
bool vector_register(uint16_t vgpr, isa::Role role, Operand& out);

bool is_float(Type type);  // neg and abs mean something
bool is_16_bit(Type type);

}  // namespace outboard::hardware::amd::rdna3
