#include "hardware/amd/rdna3/operand_text.h"

#include <array>
#include <iterator>

#include "hardware/amd/rdna3/encodings.h"
#include "hardware/amd/rdna3/operands.h"

namespace outboard::hardware::amd::rdna3 {
namespace {

std::string group(const char* name, int first, int count) {
  if (count == 1) return name + std::to_string(first);
  return std::string(name) + "[" + std::to_string(first) + ":" + std::to_string(first + count - 1) +
         "]";
}

const char* special_register(uint16_t code, int dwords) {
  switch (code) {
    case code::kVccLo:
      return dwords == 2 ? "vcc" : "vcc_lo";
    case code::kVccHi:
      return "vcc_hi";
    case code::kNull:
      return "null";
    case code::kM0:
      return "m0";
    case code::kExecLo:
      return dwords == 2 ? "exec" : "exec_lo";
    case code::kExecHi:
      return "exec_hi";
    case code::kSharedBase:
      return "src_shared_base";
    case code::kSharedLimit:
      return "src_shared_limit";
    case code::kPrivateBase:
      return "src_private_base";
    case code::kPrivateLimit:
      return "src_private_limit";
    case 239:
      return "src_pops_exiting_wave_id";
    case code::kVccz:
      return "src_vccz";
    case code::kExecz:
      return "src_execz";
    case code::kScc:
      return "src_scc";
    default:
      return "?";
  }
}

constexpr std::array<const char*, 9> kFloatNames = {"0.5",  "-0.5", "1.0",  "-1.0",      "2.0",
                                                    "-2.0", "4.0",  "-4.0", "0.15915494"};

// The inline float constant with this bit pattern, or null.
const char* float_name(uint64_t value, Type type) {
  for (uint16_t i = 0; i < kFloatNames.size(); ++i) {
    if (inline_constant(static_cast<uint16_t>(code::kHalf + i), type) != value) continue;
    const bool is_double =
        type == Type::kF64 || type == Type::kB64 || type == Type::kI64 || type == Type::kU64;
    return i == 8 && is_double ? "0.15915494309189532" : kFloatNames[i];
  }
  return nullptr;
}

bool is_inline_integer(int64_t value) { return value >= -16 && value <= 64; }

bool is_16_bit_integer(Type type) {
  return type == Type::kB16 || type == Type::kI16 || type == Type::kU16;
}

std::string vgpr_text(const Operand& operand) {
  std::string text = group("v", operand.vgpr(), operand.dwords);
  return operand.high && is_16_bit(operand.type) ? text + ".h" : text;
}

}  // namespace

std::string hex_text(int64_t value) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string digits;
  uint64_t rest = value < 0 ? static_cast<uint64_t>(-value) : static_cast<uint64_t>(value);
  do {
    digits.insert(digits.begin(), kDigits[rest % 16]);
    rest /= 16;
  } while (rest != 0);
  return (value < 0 ? "-0x" : "0x") + digits;
}

std::string literal_text(uint32_t literal, Type type) {
  constexpr uint32_t kLowHalf = 0xffff;
  switch (type) {
    case Type::kF64: {
      const uint64_t value = literal_constant(literal, type);
      if (value == 0) return "0";
      const char* name = float_name(value, type);
      return name != nullptr ? name : hex_text(literal);
    }
    case Type::kB64:
    case Type::kI64:
    case Type::kU64:
      return is_inline_integer(literal) ? std::to_string(literal) : hex_text(literal);
    case Type::kF16:
    case Type::kBF16: {
      const uint32_t low = literal & kLowHalf;
      if (is_inline_integer(static_cast<int16_t>(low))) {
        return std::to_string(static_cast<int16_t>(low));
      }
      const char* name = float_name(low, type);
      if (name != nullptr) return name;
      return hex_text(type == Type::kF16 ? low : literal);
    }
    default: {
      const auto value = static_cast<int32_t>(literal);
      if (is_inline_integer(value)) return std::to_string(value);
      const char* name = float_name(literal, type);
      if (name != nullptr) return name;
      return hex_text(is_16_bit_integer(type) ? literal & kLowHalf : literal);
    }
  }
}

std::string operand_text(const Operand& operand, uint32_t literal) {
  if (operand.is_vgpr()) return vgpr_text(operand);
  if (operand.code == code::kLiteral) return literal_text(literal, operand.type);
  if (operand.constant) {
    if (operand.code >= code::kHalf) {
      // LLVM takes float constants of 16-bit integers for float16 patterns here, though its
      // assembler does not.
      if (is_16_bit_integer(operand.type)) {
        return hex_text(static_cast<int64_t>(inline_constant(operand.code, Type::kF16)));
      }
      const char* name = float_name(inline_constant(operand.code, operand.type), operand.type);
      return name != nullptr ? name : "?";
    }
    const int code = operand.code;
    return std::to_string(code <= code::kInteger64 ? code - code::kZero : code::kInteger64 - code);
  }
  constexpr uint16_t kSgprCount = 106, kTtmpCount = 16;
  if (operand.code < kSgprCount) return group("s", operand.code, operand.dwords);
  if (operand.code >= code::kTtmp0 && operand.code < code::kTtmp0 + kTtmpCount) {
    return group("ttmp", operand.code - code::kTtmp0, operand.dwords);
  }
  return special_register(operand.code, operand.dwords);
}

}  // namespace outboard::hardware::amd::rdna3
