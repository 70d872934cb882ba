// Vector ALU formats.
#include "hardware/amd/rdna3/decode_parts.h"
#include "hardware/amd/rdna3/encodings.h"
#include "hardware/amd/rdna3/operand_text.h"
#include "hardware/amd/rdna3/operands.h"

namespace outboard::hardware::amd::rdna3 {
namespace {

using encoding::Field;

constexpr Operand kVcc{.code = code::kVccLo, .dwords = 1, .type = Type::kMask};

bool is_dpp(uint32_t code) {
  return code == code::kDpp8 || code == code::kDpp8Fi || code == code::kDpp16;
}

bool takes_modifiers(Opcode op, Type type) {
  return is_float(type) || op == Opcode::kVCndmaskB32 || op == Opcode::kVCndmaskB16;
}

// The dword that follows a DPP code in src0. `base` is the instruction's size without it.
bool decode_dpp(std::span<const uint32_t> words, uint32_t src0, const isa::Row& row,
                Instruction& out) {
  const size_t index = out.size / 4;
  if (words.size() <= index) return false;
  const uint32_t word = words[index];
  out.size += 4;
  const bool is_dpp16 = src0 == code::kDpp16;
  if ((row.flags & (is_dpp16 ? isa::kHasDpp16 : isa::kHasDpp8)) == 0) return false;
  using namespace encoding::dpp;
  if (!vector_register(static_cast<uint16_t>(kVsrc0(word)), row.source[0], out.source[0])) {
    return false;
  }
  if (!is_dpp16) {
    out.dpp = Instruction::Dpp::kDpp8;
    out.dpp8_lanes = kLaneSelects(word);
    out.fetch_inactive = src0 == code::kDpp8Fi;
    return true;
  }
  out.dpp = Instruction::Dpp::kDpp16;
  out.dpp_ctrl = static_cast<uint16_t>(kControl(word));
  if (!is_dpp_control(out.dpp_ctrl)) return false;
  out.row_mask = static_cast<uint8_t>(kRowMask(word));
  out.bank_mask = static_cast<uint8_t>(kBankMask(word));
  out.bound_ctrl = kBoundCtrl(word) != 0;
  out.fetch_inactive = kFi(word) != 0;
  if (out.format == Format::kVop1 || out.format == Format::kVop2 || out.format == Format::kVopc) {
    out.source[0].negate = kNeg0(word) != 0;
    out.source[0].absolute = kAbs0(word) != 0;
    out.source[1].negate = kNeg1(word) != 0;
    out.source[1].absolute = kAbs1(word) != 0;
    for (int i = 0; i < 2; ++i) {
      const Operand& operand = out.source[i];
      if ((operand.negate || operand.absolute) && !takes_modifiers(out.op, operand.type)) {
        return false;
      }
    }
  }
  return true;
}

// In the short encodings a 16-bit operand names a half of v0 to v127.
void split_half(Operand& operand) {
  constexpr uint16_t kUpperHalf = 128;
  if (!is_16_bit(operand.type) || !operand.is_vgpr()) return;
  operand.high = (operand.vgpr() & kUpperHalf) != 0;
  operand.code &= static_cast<uint16_t>(~kUpperHalf);
}

bool has_accumulator(Opcode op) {
  switch (op) {
    case Opcode::kVFmacF32:
    case Opcode::kVFmacF16:
    case Opcode::kVFmacDx9ZeroF32:
    case Opcode::kVDot2accF32F16:
    case Opcode::kVDot2accF32Bf16:
    case Opcode::kVPkFmacF16:
      return true;
    default:
      return false;
  }
}

// The multiplier sits between the factors in fmamk, behind them in fmaak.
bool is_fmamk(Opcode op) { return op == Opcode::kVFmamkF32 || op == Opcode::kVFmamkF16; }

bool decode_destination(uint32_t field, const isa::Row& row, Instruction& out) {
  if (row.destination.dwords == 0) return true;
  out.destinations = 1;
  const auto code = static_cast<uint16_t>(field);
  if ((row.flags & isa::kScalarDestination) == 0) {
    return vector_register(code, row.destination, out.destination[0]);
  }
  return code < code::kZero && scalar_register(code, row.destination, out.destination[0]);
}

bool decode_short_sources(uint32_t src0, uint32_t vsrc1, const isa::Row& row,
                          std::span<const uint32_t> words, Instruction& out) {
  if (row.source[0].dwords == 0) return true;  // v_nop, v_pipeflush: the field is not looked at
  out.sources = 1;
  const bool always_literal = (row.flags & isa::kTakesLiteral) != 0;
  if (row.source[1].dwords != 0) {
    out.sources = 2;
    const int index = is_fmamk(out.op) ? 2 : 1;
    if (!vector_register(static_cast<uint16_t>(vsrc1), row.source[1], out.source[index])) {
      return false;
    }
    split_half(out.source[index]);
  }
  if (always_literal) {
    out.sources = 3;
    out.source[is_fmamk(out.op) ? 1 : 2] = {
        .code = code::kLiteral, .dwords = 1, .type = row.source[0].type, .constant = true};
  }
  if (is_dpp(src0)) {
    if (always_literal || !decode_dpp(words, src0, row, out)) return false;
  } else if (!source_operand(static_cast<uint16_t>(src0), row.source[0], out.source[0]) ||
             ((row.flags & isa::kRegisterSource) != 0 && !out.source[0].is_vgpr())) {
    return false;
  }
  split_half(out.source[0]);
  return out.dpp != Instruction::Dpp::kNone || finish_literal(words, always_literal, out);
}

bool decode_vop1(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  using namespace encoding::vop1;
  const isa::Row* row = find_row(Format::kVop1, kOp(bits));
  if (!begin(row, Format::kVop1, bits, out) || !decode_destination(kVdst(bits), *row, out)) {
    return false;
  }
  split_half(out.destination[0]);
  return decode_short_sources(kSrc0(bits), 0, *row, words, out);
}

bool decode_vop2(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  using namespace encoding::vop2;
  const isa::Row* row = find_row(Format::kVop2, kOp(bits));
  if (!begin(row, Format::kVop2, bits, out) || !decode_destination(kVdst(bits), *row, out) ||
      !decode_short_sources(kSrc0(bits), kVsrc1(bits), *row, words, out)) {
    return false;
  }
  split_half(out.destination[0]);
  if (row->destination2.dwords != 0) out.destination[out.destinations++] = kVcc;
  if (row->source[2].type == Type::kMask) out.source[out.sources++] = kVcc;
  if (has_accumulator(out.op)) out.source[out.sources++] = out.destination[0];
  return true;
}

bool decode_vopc(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  using namespace encoding::vopc;
  const isa::Row* row = find_row(Format::kVopc, kOp(bits));
  if (!begin(row, Format::kVopc, bits, out) ||
      !decode_short_sources(kSrc0(bits), kVsrc1(bits), *row, words, out)) {
    return false;
  }
  if (!mnemonic(out.op).starts_with("v_cmpx")) out.destination[out.destinations++] = kVcc;
  return true;
}

// Sources that must not be VGPRs: lane numbers, values of v_writelane, selects of permlane, masks.
bool is_scalar_source(Opcode op, int index, Type type) {
  switch (op) {
    case Opcode::kVReadlaneB32:
      return index == 1;
    case Opcode::kVWritelaneB32:
      return true;
    case Opcode::kVPermlane16B32:
    case Opcode::kVPermlanex16B32:
      return index > 0;
    default:
      return type == Type::kMask;
  }
}

// Sources that must be VGPRs.
bool is_vector_source(Opcode op, int index) {
  switch (op) {
    case Opcode::kVReadlaneB32:
    case Opcode::kVReadfirstlaneB32:
    case Opcode::kVPermlane16B32:
    case Opcode::kVPermlanex16B32:
    case Opcode::kVMovrelsB32:
    case Opcode::kVMovrelsdB32:
    case Opcode::kVMovrelsd2B32:
      return index == 0;
    case Opcode::kVMqsadU32U8:
      return index == 2;
    default:
      return false;
  }
}

bool decode_vop3_sources(std::span<const uint32_t> words, uint64_t bits, const isa::Row& row,
                         Instruction& out) {
  using namespace encoding::vop3;
  constexpr Field kSource[3] = {kSrc0, kSrc1, kSrc2};
  for (int i = 0; i < 3 && row.source[i].dwords != 0; ++i) {
    const auto code = static_cast<uint16_t>(kSource[i](bits));
    out.sources = static_cast<uint8_t>(i + 1);
    if (i == 0 && is_dpp(code)) {
      if (!decode_dpp(words, code, row, out)) return false;
      continue;
    }
    if (!source_operand(code, row.source[i], out.source[i])) return false;
    if (is_vector_source(out.op, i) && !out.source[i].is_vgpr()) return false;
    if (is_scalar_source(out.op, i, row.source[i].type) && out.source[i].is_vgpr()) return false;
    if (row.source[i].type == Type::kMask && code > code::kM0) return false;
  }
  if (out.dpp == Instruction::Dpp::kNone) return finish_literal(words, false, out);
  for (const Operand& operand : out.source) {
    if (operand.code == code::kLiteral) return false;
  }
  return true;
}

}  // namespace

bool decode_vector_short(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  constexpr Field kEncoding{31, 25};
  if (kEncoding(bits) == 0b0111111) return decode_vop1(words, bits, out);
  if (kEncoding(bits) == 0b0111110) return decode_vopc(words, bits, out);
  return decode_vop2(words, bits, out);
}

bool decode_vop3(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  using namespace encoding::vop3;
  Format format = Format::kVop3;
  const isa::Row* row = find_row(format, kOp(bits));
  if (row == nullptr) {
    format = Format::kVop3Sd;
    row = find_row(format, kOp(bits));
  }
  if (!begin(row, format, bits, out) || !decode_destination(kVdst(bits), *row, out) ||
      !decode_vop3_sources(words, bits, *row, out)) {
    return false;
  }
  out.clamp = kClamp(bits) != 0;
  out.omod = static_cast<uint8_t>(kOmod(bits));
  uint32_t absolute = 0;
  if (format == Format::kVop3Sd) {
    out.destinations = 2;
    if (!scalar_register(static_cast<uint16_t>(kSdst(bits)), row->destination2,
                         out.destination[1])) {
      return false;
    }
  } else {
    absolute = kAbs(bits);
    out.op_sel = static_cast<uint8_t>(kOpSel(bits));
  }
  for (int i = 0; i < out.sources; ++i) {
    Operand& operand = out.source[i];
    if (takes_modifiers(out.op, operand.type)) {
      operand.negate = (kNeg(bits) >> i & 1) != 0;
      operand.absolute = (absolute >> i & 1) != 0;
    }
    operand.high = is_16_bit(operand.type) && (out.op_sel >> i & 1) != 0;
  }
  if (out.op == Opcode::kVPermlane16B32 || out.op == Opcode::kVPermlanex16B32) {
    out.fetch_inactive = (out.op_sel & 1) != 0;  // guide, v_permlane16: OPSEL[0] is FI, [1] is BC
    out.bound_ctrl = (out.op_sel & 2) != 0;
  }
  out.destination[0].high = is_16_bit(out.destination[0].type) && (out.op_sel & 8) != 0;
  if (has_accumulator(out.op)) {
    out.source[out.sources] = out.destination[0];
    ++out.sources;
  }
  return true;
}

namespace {

// The elements of a WMMA's C and D.
Type matrix_type(Opcode op) {
  switch (op) {
    case Opcode::kVWmmaF16_16x16x16F16:
      return Type::kF16;
    case Opcode::kVWmmaBf16_16x16x16Bf16:
      return Type::kBF16;
    default:
      return Type::kF32;
  }
}

}  // namespace

bool decode_vop3p(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  using namespace encoding::vop3p;
  const isa::Row* row = find_row(Format::kVop3p, kOp(bits));
  if (!begin(row, Format::kVop3p, bits, out) ||
      !decode_destination(encoding::vop3::kVdst(bits), *row, out) ||
      !decode_vop3_sources(words, bits, *row, out)) {
    return false;
  }
  out.clamp = encoding::vop3::kClamp(bits) != 0;
  out.op_sel = static_cast<uint8_t>(kOpSel(bits));
  out.op_sel_hi = static_cast<uint8_t>(kOpSelHi01(bits) | kOpSelHi2(bits) << 2);
  out.neg_lo = static_cast<uint8_t>(encoding::vop3::kNeg(bits));
  out.neg_hi = static_cast<uint8_t>(kNegHi(bits));
  const bool mix = out.op == Opcode::kVFmaMixF32 || out.op == Opcode::kVFmaMixloF16 ||
                   out.op == Opcode::kVFmaMixhiF16;
  for (int i = 0; i < out.sources; ++i) {
    Operand& operand = out.source[i];
    const bool lo = (out.op_sel >> i & 1) != 0, hi = (out.op_sel_hi >> i & 1) != 0;
    const bool neg_lo = (out.neg_lo >> i & 1) != 0, neg_hi = (out.neg_hi >> i & 1) != 0;
    if (operand.type == Type::kWmma && !operand.is_vgpr()) {
      // A and B are registers; C may be an inline constant, of the type of its elements.
      if (i < 2 || !operand.constant || out.literal) return false;
      operand.value = inline_constant(operand.code, matrix_type(out.op));
    }
    if (mix) {
      if (out.dpp != Instruction::Dpp::kNone && i == 1 && !operand.is_vgpr()) return false;
      // op_sel_hi: the source is float16, in the half that op_sel says. The neg_hi field is |x|.
      operand.type = hi ? Type::kF16 : Type::kF32;
      if (operand.constant) {
        operand.value = operand.code == code::kLiteral
                            ? literal_constant(out.literal_value, operand.type)
                            : inline_constant(operand.code, operand.type);
      }
      operand.high = hi && lo;
      operand.negate = neg_lo;
      operand.absolute = neg_hi;
      continue;
    }
    operand.high = lo;
    operand.high_from_high = hi;
    if (is_float(operand.type) || operand.type == Type::kWmma) {
      operand.negate = neg_lo;
      operand.negate_high = neg_hi;
    }
  }
  return true;
}

bool decode_vinterp(uint64_t bits, Instruction& out) {
  using namespace encoding::vinterp;
  const isa::Row* row = find_row(Format::kVinterp, kOp(bits));
  if (!begin(row, Format::kVinterp, bits, out) ||
      !decode_destination(encoding::vop3::kVdst(bits), *row, out) ||
      !decode_vop3_sources({}, bits, *row, out)) {
    return false;
  }
  out.wait_exp = static_cast<uint8_t>(kWaitExp(bits));
  out.clamp = encoding::vop3::kClamp(bits) != 0;
  out.op_sel = static_cast<uint8_t>(encoding::vop3::kOpSel(bits));
  for (int i = 0; i < out.sources; ++i) {
    Operand& operand = out.source[i];
    if (!operand.is_vgpr()) return false;
    operand.negate = (encoding::vop3::kNeg(bits) >> i & 1) != 0;
    operand.high = is_16_bit(operand.type) && (out.op_sel >> i & 1) != 0;
  }
  out.destination[0].high = is_16_bit(out.destination[0].type) && (out.op_sel & 8) != 0;
  return true;
}

namespace {

// One half of a VOPD, with its sources from source[first] on.
bool decode_dual_half(const isa::DualRow* row, uint32_t vdst, uint32_t src0, uint32_t vsrc1,
                      int half, Instruction& out) {
  if (row == nullptr) return false;
  constexpr int kSourcesOfHalf = 3;
  Operand* const source = &out.source[half * kSourcesOfHalf];
  Operand& destination = out.destination[half];
  if (!vector_register(static_cast<uint16_t>(vdst), {row->destination, 1}, destination) ||
      !source_operand(static_cast<uint16_t>(src0), {row->source0, 1}, source[0])) {
    return false;
  }
  const bool fmamk = is_fmamk(row->op);
  if (row->source1 != Type::kNone) {
    if (!vector_register(static_cast<uint16_t>(vsrc1), {row->source1, 1}, source[fmamk ? 2 : 1])) {
      return false;
    }
  } else if (vsrc1 != 0) {
    return false;
  }
  if (fmamk || row->op == Opcode::kVFmaakF32) {
    source[fmamk ? 1 : 2] = {
        .code = code::kLiteral, .dwords = 1, .type = Type::kF32, .constant = true};
  }
  if (has_accumulator(row->op)) source[2] = destination;
  if (row->op == Opcode::kVCndmaskB32) source[2] = kVcc;
  return true;
}

}  // namespace

bool decode_vopd(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  using namespace encoding::vopd;
  const isa::DualRow* x = find_dual_row(kOpX(bits));
  const isa::DualRow* y = find_dual_row(kOpY(bits));
  // The lowest bit of the Y half's register is the opposite of the X half's.
  const uint32_t vdst_x = kVdstX(bits), vdst_y = kVdstY(bits) << 1 | (~vdst_x & 1);
  out.format = Format::kVopd;
  out.size = 8;
  if (!decode_dual_half(x, vdst_x, kSrcX0(bits), kVsrcX1(bits), 0, out) ||
      !decode_dual_half(y, vdst_y, kSrcY0(bits), kVsrcY1(bits), 1, out)) {
    return false;
  }
  out.op = x->op;
  out.op_y = y->op;
  out.destinations = 2;
  out.sources = 6;
  return finish_literal(words, false, out);
}

bool decode_ldsdir(uint64_t bits, Instruction& out) {
  using namespace encoding::ldsdir;
  const isa::Row* row = find_row(Format::kLdsDirect, kOp(bits));
  if (!begin(row, Format::kLdsDirect, bits, out)) return false;
  out.attribute = static_cast<uint8_t>(kAttribute(bits));
  out.channel = static_cast<uint8_t>(kChannel(bits));
  out.wait_exp = static_cast<uint8_t>(kWaitVdst(bits));
  return decode_destination(kVdst(bits), *row, out);
}

}  // namespace outboard::hardware::amd::rdna3
