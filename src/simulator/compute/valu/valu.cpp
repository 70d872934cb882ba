// Turns vector ALU instructions into executable ops.
#include "simulator/compute/valu/valu.h"

#include "hardware/amd/rdna3/operands.h"
#include "simulator/compute/valu/general.h"

namespace outboard::simulator::compute {
namespace valu {
namespace {

bool is_packed(Type type) {
  return type == Type::kPkF16 || type == Type::kPkI16 || type == Type::kPkU16 ||
         type == Type::kPkBF16 || type == Type::kWmma;
}

// Op::modify for what an operand says.
uint8_t modifiers_of(const Operand& operand) {
  uint8_t how = 0;
  if (is_packed(operand.type)) {
    // WMMA's op_sel is about C and D as a whole: run_matrix.
    if (operand.type != Type::kWmma) {
      if (operand.high) how |= kLowFromHigh;
      if (!operand.high_from_high) how |= kHighFromLow;
    }
    if (operand.negate) how |= kNegateLow;
    if (operand.negate_high) how |= kNegateHigh;
    return how;
  }
  if (is_16_bit(operand.type)) {
    if (operand.high) how |= kLowFromHigh;
    if (operand.absolute) how |= kAbsoluteLow;
    if (operand.negate) how |= kNegateLow;
    return how;
  }
  if (operand.absolute) how |= kAbsoluteHigh;
  if (operand.negate) how |= kNegateHigh;
  if (how != 0 && operand.type == Type::kF64) how |= kSecondDword;
  return how;
}

// Op::modify for v_fma_mix: how its body reads a source.
uint8_t mix_of(const Operand& operand) {
  uint32_t how = 0;
  if (operand.type == Type::kF16) how |= kMixHalf;
  if (operand.high) how |= kMixUpper;
  if (operand.absolute) how |= kMixAbsolute;
  if (operand.negate) how |= kMixNegate;
  return static_cast<uint8_t>(how);
}

// A constant with its modifiers applied, once and for all.
uint64_t modified(uint64_t value, uint8_t how) {
  const int sign = (how & kSecondDword) != 0 ? 32 : 0;
  auto word = static_cast<uint32_t>(value >> sign);
  const uint32_t low = word & 0xffff, high = word >> 16;
  word = ((how & kLowFromHigh) != 0 ? high : low) | ((how & kHighFromLow) != 0 ? low : high) << 16;
  if ((how & kAbsoluteLow) != 0) word &= ~0x8000U;
  if ((how & kAbsoluteHigh) != 0) word &= ~0x80000000U;
  if ((how & kNegateLow) != 0) word ^= 0x8000U;
  if ((how & kNegateHigh) != 0) word ^= 0x80000000U;
  return (value & ~(uint64_t{0xffffffff} << sign)) | static_cast<uint64_t>(word) << sign;
}

// Where a source is found; clears `how` when nothing is left of it to be done there.
uint16_t place_of(const Operand& operand, uint8_t& how) {
  if (operand.dwords == 0) return 0;
  if (operand.is_vgpr()) return static_cast<uint16_t>(operand.vgpr());
  if (operand.constant) {
    const uint16_t place = constant_place(modified(operand.value, how), operand.dwords);
    if (place == 0) return kOperandPlace;
    how = 0;
    return place;
  }
  if (operand.dwords == 1 && operand.code < code::kZero) {
    return static_cast<uint16_t>(kSgprPlace | operand.code);
  }
  return kOperandPlace;
}

bool is_direct(uint16_t place) { return (place & (kSgprPlace | kOperandPlace)) == 0; }
bool is_single(uint16_t place) { return (place & kOperandPlace) == 0; }

// Clamp of an integer result is another body; so are the signs of v_dot4_i32_iu8 and its like.
int variant_of(const Instruction& i) {
  const bool is_signed_dot = i.op == Opcode::kVDot4I32Iu8 || i.op == Opcode::kVDot8I32Iu4 ||
                             i.op == Opcode::kVWmmaI32_16x16x16Iu8 ||
                             i.op == Opcode::kVWmmaI32_16x16x16Iu4;
  return (i.clamp ? kClamped : 0) + (is_signed_dot ? i.neg_lo & 3 : 0);
}

Class class_of(uint16_t traits) {
  if ((traits & kTranscendental) != 0) return Class::kTranscendental;
  if ((traits & kWmma) != 0) return Class::kWmma;
  return (traits & kDot) != 0 ? Class::kDot : Class::kValu;
}

// A lane mask goes to its SGPR: of v_cmpx, EXEC.
uint16_t mask_destination(const Instruction& i, uint16_t traits) {
  if ((traits & kCompare) != 0) return i.destinations == 0 ? code::kExecLo : i.destination[0].code;
  return i.destination[1].code;
}

void prepare_destination(Op& op, const Instruction& i) {
  if ((op.valu_traits & kCompare) == 0) {
    const Operand& d = i.destination[0];
    op.destination[0] = static_cast<uint16_t>(d.vgpr());
    op.valu_detail = d.dwords;
    const bool high = d.high || i.op == Opcode::kVFmaMixhiF16;
    if (is_16_bit(d.type)) op.valu_flags |= high ? kToHighHalf : kToLowHalf;
    if ((is_float(d.type) && i.clamp) || i.omod != 0) op.valu_flags |= kGeneral;
  }
  if ((op.valu_traits & (kMaskOut | kCompare)) != 0) {
    op.destination[1] = mask_destination(i, op.valu_traits);
  }
}

// The second half of a VOPD can be fetched once the first has written, unless it reads the result.
bool reads(const Instruction& i, int first_source, int vgpr) {
  for (int s = first_source; s < first_source + 3; ++s) {
    const Operand& operand = i.source[static_cast<size_t>(s)];
    if (operand.dwords != 0 && operand.is_vgpr() && operand.vgpr() == vgpr) return true;
  }
  return false;
}

bool prepare_dual(const Table& table, Op& op, const Instruction& i) {
  const Operation x = find_operation(table, i.op, 0), y = find_operation(table, i.op_y, 0);
  if (x.body == nullptr || y.body == nullptr) return false;
  op.type = i.op == Opcode::kVDot2accF32F16 || i.op == Opcode::kVDot2accF32Bf16 ||
                    i.op_y == Opcode::kVDot2accF32F16 || i.op_y == Opcode::kVDot2accF32Bf16
                ? Class::kDot
                : Class::kValu;
  op.body = reinterpret_cast<const void*>(x.body);
  op.body_y = reinterpret_cast<const void*>(y.body);
  uint8_t nothing = 0;
  for (size_t s = 0; s < op.source.size(); ++s) op.source[s] = place_of(i.source[s], nothing);
  op.destination = {static_cast<uint16_t>(i.destination[0].vgpr()),
                    static_cast<uint16_t>(i.destination[1].vgpr())};
  op.valu_traits = static_cast<uint16_t>((x.traits & kMaskIn) != 0 ? 1 : 0) |
                   static_cast<uint16_t>((y.traits & kMaskIn) != 0 ? 2 : 0);
  op.valu_detail = reads(i, 3, i.destination[0].vgpr()) ? 0 : kXFirst;
  bool all_direct = op.valu_traits == 0 && op.valu_detail == kXFirst;
  for (const uint16_t place : op.source) all_direct = all_direct && is_direct(place);
  op.run = all_direct ? table.dual_direct : table.dual;
  return true;
}

}  // namespace

bool prepare(const Table& table, Op& op, const Instruction& i) {
  if (i.format == Format::kVopd) return prepare_dual(table, op, i);
  const Operation operation = find_operation(table, i.op, variant_of(i));
  if (i.dpp == Instruction::Dpp::kDpp16 && !is_dpp_control(i.dpp_ctrl)) return false;
  if (operation.body == nullptr) return prepare_special(op, i);
  op.type = class_of(operation.traits);
  op.valu_traits = operation.traits;
  op.body = reinterpret_cast<const void*>(operation.body);
  const bool mix = (operation.traits & kMix) != 0;
  bool all_direct = true, all_single = true, all_plain = true;
  for (size_t s = 0; s < i.sources && s < 3; ++s) {
    uint8_t how = mix || i.source[s].type == Type::kMask ? 0 : modifiers_of(i.source[s]);
    op.source[s] = place_of(i.source[s], how);
    if (i.source[s].type == Type::kMask) continue;
    op.modify[s] = mix ? mix_of(i.source[s]) : how;
    all_direct = all_direct && is_direct(op.source[s]);
    all_single = all_single && is_single(op.source[s]);
    all_plain = all_plain && (mix || op.modify[s] == 0);
  }
  prepare_destination(op, i);
  if (op.type == Class::kWmma) op.valu_flags |= kGeneral;
  if (i.dpp != Instruction::Dpp::kNone) {
    op.body_y = kept_swizzle(i);
    constexpr uint16_t kOthers = kMaskIn | kVccIn | kMaskOut | kCompare | kMix;
    if (op.body_y != nullptr && op.valu_flags == 0 && op.valu_detail == 1 &&
        (op.valu_traits & kOthers) == 0 && is_direct(op.source[0])) {
      op.run = table.swizzled;
      return true;
    }
    op.valu_flags |= kGeneral;
  }
  if ((op.valu_flags & kGeneral) != 0) {
    op.run = run_general;
  } else if (all_single && all_plain && op.valu_flags == 0) {
    op.run = operation.direct;
    if (!all_direct) op.valu_flags |= kScalars;
  } else if (all_direct && all_plain && (operation.traits & kMaskIn) == 0) {
    op.run = table.half;
  } else {
    op.run = table.mixed;
  }
  return true;
}

uint64_t scalar_source(const Wave& wave, const Op& op, int index) {
  const Operand& operand = op.instruction->source[static_cast<size_t>(index)];
  return operand.dwords == 2 ? wave.read_scalar64(operand) : wave.read_scalar(operand);
}

}  // namespace valu

bool prepare_valu(Op& op, const Instruction& instruction) {
  switch (instruction.format) {
    case Format::kVop1:
    case Format::kVop2:
    case Format::kVopc:
    case Format::kVop3:
    case Format::kVop3Sd:
    case Format::kVop3p:
    case Format::kVopd:
    case Format::kVinterp:
      return valu::prepare(valu::chosen_table(), op, instruction);
    default:
      return false;
  }
}

}  // namespace outboard::simulator::compute
