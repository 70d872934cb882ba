#include "hardware/amd/rdna3/operands.h"

namespace outboard::hardware::amd::rdna3 {
namespace {

constexpr uint16_t kSgprCount = 106, kTtmpCount = 16, kVgprCount = 256;
constexpr uint16_t kFloatConstants = 9;  // 0.5, -0.5, 1, -1, 2, -2, 4, -4, 1/(2 pi)

// The last one is rounded for each type, not converted from another: guide, table of operands.
constexpr uint32_t kFloat32[kFloatConstants] = {0x3f000000, 0xbf000000, 0x3f800000,
                                                0xbf800000, 0x40000000, 0xc0000000,
                                                0x40800000, 0xc0800000, 0x3e22f983};
constexpr uint16_t kFloat16[kFloatConstants] = {0x3800, 0xb800, 0x3c00, 0xbc00, 0x4000,
                                                0xc000, 0x4400, 0xc400, 0x3118};
constexpr uint64_t kFloat64[kFloatConstants] = {
    0x3fe0000000000000, 0xbfe0000000000000, 0x3ff0000000000000,
    0xbff0000000000000, 0x4000000000000000, 0xc000000000000000,
    0x4010000000000000, 0xc010000000000000, 0x3fc45f306dc9c882};

bool is_64_bit(Type type) {
  return type == Type::kB64 || type == Type::kF64 || type == Type::kI64 || type == Type::kU64;
}

bool is_float_constant(uint16_t code) { return code >= code::kHalf && code <= code::kInverse2Pi; }

bool is_integer_constant(uint16_t code) {
  return code >= code::kZero && code <= code::kIntegerMinus16;
}

}  // namespace

bool is_float(Type type) {
  switch (type) {
    case Type::kF16:
    case Type::kF32:
    case Type::kF64:
    case Type::kBF16:
    case Type::kPkF16:
    case Type::kPkBF16:
      return true;
    default:
      return false;
  }
}

bool is_16_bit(Type type) {
  return type == Type::kF16 || type == Type::kBF16 || type == Type::kB16 || type == Type::kI16 ||
         type == Type::kU16;
}

uint64_t inline_constant(uint16_t code, Type type) {
  if (is_float_constant(code)) {
    const uint16_t index = code - code::kHalf;
    switch (type) {
      case Type::kF16:
      case Type::kPkF16:  // the low half; the high one is zero
        return kFloat16[index];
      case Type::kBF16:
      case Type::kPkBF16:
        return kFloat32[index] >> 16;
      default:
        // Integer operands of 16 bits, packed or not, get the float32 pattern as well (LLVM,
        // AMDGPU getInlineEncodingV2I16 and isInlinableLiteralI16).
        return is_64_bit(type) ? kFloat64[index] : kFloat32[index];
    }
  }
  const int64_t integer = code <= code::kInteger64 ? code - code::kZero : code::kInteger64 - code;
  return is_64_bit(type) ? static_cast<uint64_t>(integer) : static_cast<uint32_t>(integer);
}

uint64_t literal_constant(uint32_t literal, Type type) {
  switch (type) {
    case Type::kF64:
      return static_cast<uint64_t>(literal) << 32;
    case Type::kI64:
      return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(literal)));
    default:
      return literal;
  }
}

bool scalar_register(uint16_t code, isa::Role role, Operand& out) {
  out.type = role.type;
  out.dwords = role.dwords;
  const uint16_t alignment = role.dwords == 1 ? 1 : role.dwords == 2 ? 2 : 4;
  uint16_t last = kSgprCount;
  if (code >= code::kTtmp0 && code < code::kTtmp0 + kTtmpCount) {
    last = code::kTtmp0 + kTtmpCount;
  } else if (code >= kSgprCount) {
    // VCC, null, M0, EXEC.
    out.code = code;
    if (code == code::kNull) return true;
    if (role.dwords == 2) return code == code::kVccLo || code == code::kExecLo;
    return role.dwords == 1 && code <= code::kExecHi;
  }
  out.code = static_cast<uint16_t>(code - code % alignment);
  return out.code + role.dwords <= last;
}

bool vector_register(uint16_t vgpr, isa::Role role, Operand& out) {
  out.code = static_cast<uint16_t>(code::kVgpr0 + vgpr);
  out.type = role.type;
  out.dwords = role.dwords;
  return vgpr + role.dwords <= kVgprCount;
}

bool source_operand(uint16_t code, isa::Role role, Operand& out) {
  if (code >= code::kVgpr0) return vector_register(code - code::kVgpr0, role, out);
  if (code < code::kZero) return scalar_register(code, role, out);
  out.code = code;
  out.type = role.type;
  out.dwords = role.dwords;
  if (code == code::kLiteral) {
    out.constant = true;
    return true;
  }
  if (is_integer_constant(code) || is_float_constant(code)) {
    out.constant = true;
    out.value = inline_constant(code, role.type);
    return true;
  }
  constexpr uint16_t kPopsExitingWaveId = 239;
  return (code >= code::kSharedBase && code <= kPopsExitingWaveId) || code == code::kVccz ||
         code == code::kExecz || code == code::kScc;
}

}  // namespace outboard::hardware::amd::rdna3
