// The instruction set as data: what each opcode number of each encoding is. The tables themselves
// are generated (isa_tables.cpp).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "hardware/amd/rdna3/instruction.h"

namespace outboard::hardware::amd::rdna3::isa {

// What one operand field holds; dwords is 0 when the opcode has no such operand.
struct Role {
  Type type = Type::kNone;
  uint8_t dwords = 0;
};

enum RowFlag : uint16_t {
  kHasDpp16 = 1,
  kHasDpp8 = 2,
  kTakesLiteral = 4,       // a literal always follows
  kScalarDestination = 8,  // of a vector instruction: an SGPR or lane mask
  kGdsOnly = 16,           // global wave sync
  kRegisterSource = 32,    // VOP1: src0 must be a VGPR; SOP1: not a constant
  kStore = 64,             // buffers: vdata is read, not written
  kAtomic = 128,           // memory: data is read, and written when glc asks for it
};

struct Row {
  uint16_t number;  // opcode field
  Opcode op;
  uint16_t flags;
  // Vector: vdst, sdst, src0, src1, src2. SOP: sdst, -, ssrc0, ssrc1. SMEM: sdata, -, sbase,
  // soffset. DS: vdst, -, addr, data0, data1. FLAT family: vdst, -, addr, data, saddr. Buffers:
  // vdata (both ways), -, vaddr, -, srsrc.
  Role destination, destination2;
  Role source[3];
  uint8_t op_sel;    // bits of op_sel that LLVM writes out
  uint64_t refused;  // bits of the first two dwords that must be zero
};

struct DualRow {
  uint8_t number;  // opcode field of a VOPD half
  Opcode op;
  Type destination, source0, source1;  // kNone: no such operand; all are 32 bits wide
};

// Rows of a format, by rising number. Empty for EXP and VOPD, which have no opcode field of this
// kind.
std::span<const Row> rows(Format format);
std::span<const DualRow> dual_rows();

// By Opcode; the first is empty.
std::span<const std::string_view> mnemonics();

}  // namespace outboard::hardware::amd::rdna3::isa
