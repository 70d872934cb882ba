// Operands and immediate fields in LLVM's syntax.
#pragma once

#include <string>

#include "hardware/amd/rdna3/instruction.h"

namespace outboard::hardware::amd::rdna3 {

// A register, constant or literal, without modifiers. `literal` is the instruction's.
std::string operand_text(const Operand& operand, uint32_t literal);
// A literal, written as the inline constant of the same value where there is one.
std::string literal_text(uint32_t literal, Type type);
// "0x1f" of a number, "-0x1f" of a negative one.
std::string hex_text(int64_t value);

// Fields of SOPP, SOPK and s_sendmsg_rtn.
std::string delay_alu_text(uint16_t field);
std::string waitcnt_text(uint16_t field);
std::string depctr_text(uint16_t field);
std::string sendmsg_text(uint16_t field);
std::string hwreg_text(uint16_t field);
std::string version_text(uint16_t field);

// MTBUF's format field, with a leading space; empty for the default.
std::string buffer_format_text(uint8_t format);
// ds_swizzle_b32's offset, with a leading space; empty for zero.
std::string swizzle_text(uint16_t offset);
// quad_perm, row_shl and so on, masks and flags, with a leading space.
std::string dpp_text(const Instruction& instruction);
// False for a reserved dpp_ctrl.
bool is_dpp_control(uint16_t control);

}  // namespace outboard::hardware::amd::rdna3
