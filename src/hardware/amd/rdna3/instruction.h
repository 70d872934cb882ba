// One decoded RDNA3 instruction (gfx1100). Source: AMD, "RDNA3 Instruction Set Architecture"
// reference guide; field layouts and operand sizes from AMD's machine-readable ISA description.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "hardware/amd/rdna3/opcodes.h"

namespace outboard::hardware::amd::rdna3 {

// The encoding that an instruction was found in.
enum class Format : uint8_t {
  kSop1,
  kSop2,
  kSopk,
  kSopc,
  kSopp,
  kSmem,
  kVop1,
  kVop2,
  kVopc,
  kVop3,
  kVop3Sd,
  kVop3p,
  kVopd,
  kVinterp,
  kLdsDirect,
  kDs,
  kFlat,
  kGlobal,
  kScratch,
  kMubuf,
  kMtbuf,
  kMimg,
  kExp,
};

// Codes of a source operand as encoded (9 bits; scalar operands use the lower 8). Guide, 6.1 and
// 7.2, "operand table".
namespace code {
inline constexpr uint16_t kVccLo = 106, kVccHi = 107, kTtmp0 = 108, kNull = 124, kM0 = 125;
inline constexpr uint16_t kExecLo = 126, kExecHi = 127, kZero = 128, kInteger64 = 192;
inline constexpr uint16_t kIntegerMinus16 = 208, kDpp8 = 233, kDpp8Fi = 234;
inline constexpr uint16_t kSharedBase = 235, kSharedLimit = 236, kPrivateBase = 237;
inline constexpr uint16_t kPrivateLimit = 238, kHalf = 240, kInverse2Pi = 248, kDpp16 = 250;
inline constexpr uint16_t kVccz = 251, kExecz = 252, kScc = 253, kLiteral = 255, kVgpr0 = 256;
}  // namespace code

// How the bits of an operand are read. Decides what an inline constant stands for (240 is 0.5 as
// float16, float32 or float64; integers are sign-extended).
enum class Type : uint8_t {
  kNone,
  kB8,
  kB16,
  kB32,
  kB64,
  kB96,
  kB128,
  kB256,
  kB512,
  kF16,
  kF32,
  kF64,
  kBF16,
  kI16,
  kI32,
  kI64,
  kU16,
  kU32,
  kU64,
  kPkF16,
  kPkI16,
  kPkU16,
  kPkBF16,
  kMask,  // kMask: a lane mask (wave32: 1 dword)
  kWmma,  // a WMMA matrix: 4 or 8 registers, see Operand::dwords
};

// A register, a constant, or nothing. Destinations and vector operands use code::kVgpr0 + n too.
struct Operand {
  uint16_t code = 0;   // as encoded, VGPR n as kVgpr0 + n; meaningless when dwords is 0
  uint8_t dwords = 0;  // consecutive 32-bit registers that it covers; 0: there is no such operand
  Type type = Type::kNone;
  bool high = false;    // 16-bit operand: the upper half (op_sel, or bit 7 of a VGPR number in the
                        // short encodings, which name v0 to v127 only)
  bool negate = false;  // applied after absolute; on VOP3P: negate the low half
  bool negate_high = false;  // VOP3P only
  bool absolute = false;
  bool high_from_high =
      true;  // VOP3P: op_sel_hi, the upper half of the operation reads the upper half
  // Set when the operand is an inline constant or a literal: what the register would hold (64-bit
  // operands: literals extended as the guide says, 6.1: high half for float64, sign for int64).
  bool constant = false;
  uint64_t value = 0;

  bool is_vgpr() const { return code >= code::kVgpr0; }
  int vgpr() const { return code - code::kVgpr0; }
  // SGPRs, VCC, TTMP: readable from the scalar register file.
  bool is_sgpr() const { return code < code::kNull; }
};

struct Instruction {
  Opcode op = Opcode::kInvalid;
  Format format = Format::kSopp;
  uint8_t size = 4;          // bytes: 4, 8, 12 (literal or DPP included)
  uint8_t destinations = 0;  // how many of destination[] are used
  uint8_t sources = 0;       // how many of source[] are used

  // In assembler order. VOPD: [0] of the X half, [1] of the Y half. VOPC in its short encoding: an
  // explicit VCC. Instructions that also write VCC implicitly (v_add_co_ci_u32 e32) list VCC
  // explicitly; SCC and EXEC are implied by the op (v_cmpx has no destination here).
  std::array<Operand, 2> destination;
  // VOP2 and VOP3 v_fmac and v_dot2acc, v_pk_fmac: the accumulator is source[2]. fmaak: src0,
  // vsrc1, literal; fmamk: src0, literal, vsrc1. s_addk, s_mulk, s_cmovk, s_cmpk, s_setreg and the
  // counter waits of SOPK: the SGPR is source[0]. VOPD: [0..2] X half (third: accumulator, VCC of
  // cndmask, or as VOP2's fmaak/fmamk), [3..5] Y half. DS: addr, data0, data1. FLAT family: vaddr,
  // vdata, saddr (dwords 0 when off). MUBUF/MTBUF: vaddr, vdata (as a source of stores and
  // atomics), srsrc, soffset. SMEM: sbase, soffset (dwords 0 when null). MIMG: srsrc, ssamp, vdata
  // (of stores and atomics), then up to 5 addresses. EXP: the four vsrc. Absent ones in between
  // have dwords 0; `sources` counts up to the last present one.
  std::array<Operand, 8> source;

  Opcode op_y = Opcode::kInvalid;  // VOPD: the Y half's operation

  // Modifiers; unused ones stay zero.
  bool clamp = false;
  uint8_t omod = 0;      // 0: none, 1: *2, 2: *4, 3: /2
  bool literal = false;  // a literal constant follows
  uint32_t literal_value = 0;
  uint16_t simm16 = 0;    // SOPK, SOPP
  uint8_t op_sel = 0;     // as encoded; bit 3 (VOP3): result goes to the upper half
  uint8_t op_sel_hi = 0;  // VOP3P as encoded
  uint8_t neg_lo = 0, neg_hi = 0;
  // DPP.
  enum class Dpp : uint8_t { kNone, kDpp16, kDpp8 } dpp = Dpp::kNone;
  uint16_t dpp_ctrl = 0;    // DPP16: dpp_ctrl (9 bits)
  uint32_t dpp8_lanes = 0;  // DPP8: eight 3-bit selects, lane 0 lowest
  uint8_t row_mask = 0xf, bank_mask = 0xf;
  bool bound_ctrl = false, fetch_inactive = false;
  // Memory.
  int32_t offset = 0;  // bytes; sign-extended where signed (FLAT family, SMEM); DS: offset0
                       // | offset1 << 8 as one 16-bit number for single-address ops
  uint8_t offset0 = 0, offset1 = 0;  // DS
  bool glc = false, slc = false, dlc = false, lds = false, gds = false, tfe = false;
  bool offen = false, idxen = false, sve = false;
  uint8_t format_code = 0;  // MTBUF
  uint8_t wait_exp = 7;     // VINTERP: wait_exp; LDSDIR: wait_vdst
  // LDSDIR.
  uint8_t attribute = 0, channel = 0;
  // Graphics instructions: decoded and disassembled only.
  struct Image {
    uint8_t dmask = 0, dim = 0;
    bool unnormalized = false, nsa = false, r128 = false, a16 = false, d16 = false, lwe = false;
  } image;
  struct Export {
    uint8_t target = 0, enabled = 0;
    bool done = false, row = false;
  } export_;
};

// Decodes the instruction at the start of `words` (at most 3 are looked at). Returns false, and
// leaves op at kInvalid and size at 4, when the bits are no instruction of gfx1100 or words are
// missing.
bool decode(std::span<const uint32_t> words, Instruction& out);

// LLVM's syntax for the instruction ("v_add_f32_e32 v0, 1.0, v1"). `address`: of the instruction,
// for branch targets.
std::string disassemble(const Instruction& instruction, uint64_t address);

// "v_add_f32", without an encoding's suffix.
std::string_view mnemonic(Opcode op);

}  // namespace outboard::hardware::amd::rdna3
