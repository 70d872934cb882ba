// Vector ALU instructions in full: wave64 as two passes, every mode, DPP, clamp, omod, WMMA.
#include "simulator/compute/valu/general.h"

#include <algorithm>
#include <cfenv>

#include "hardware/amd/rdna3/operands.h"

namespace outboard::simulator::compute::valu {
namespace {

constexpr size_t kLanes = kLanesOfRegister;
constexpr int kRows = 16;  // of a WMMA matrix, and its columns

Body body_of(const void* p) {
  return reinterpret_cast<Body>(
      reinterpret_cast<uintptr_t>(p));  // NOLINT(performance-no-int-to-ptr)
}

// The host rounds as MODE.round says while this lives.
class HostRounding {
 public:
  explicit HostRounding(int round) : changed_(round != 0) {
    constexpr int kModes[4] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    if (changed_) std::fesetround(kModes[round]);
  }
  ~HostRounding() {
    if (changed_) std::fesetround(FE_TONEAREST);
  }
  HostRounding(const HostRounding&) = delete;
  HostRounding& operator=(const HostRounding&) = delete;

 private:
  bool changed_;
};

// MODE.round for a result of this type; conversions go by what they convert to.
int rounding_of(const Mode& mode, Type type) {
  switch (type) {
    case Type::kF32:
      return mode.round32();
    case Type::kF16:
    case Type::kPkF16:
    case Type::kF64:
      return mode.round16_64();
    default:
      return 0;
  }
}

// Two bits of MODE.denorm: 1 keeps those that come in, 2 those that go out.
int denormals_of(const Mode& mode, Type type) {
  switch (type) {
    case Type::kF32:
      return mode.denorm32();
    case Type::kF16:
    case Type::kPkF16:
    case Type::kF64:
      return mode.denorm16_64();
    default:
      return 3;
  }
}

uint32_t flush_half(uint32_t x) { return (x & 0x7c00) == 0 ? x & 0x8000 : x & 0xffff; }

// Denormals to zeros of the same sign.
void flush_denormals(uint32_t* x, Type type) {
  for (size_t i = 0; i < kLanes; ++i) {
    if (type == Type::kF32) {
      if ((x[i] & 0x7f800000) == 0) x[i] &= 0x80000000;
    } else if (type == Type::kF64) {
      if ((x[kLanes + i] & 0x7ff00000) == 0) {
        x[i] = 0;
        x[kLanes + i] &= 0x80000000;
      }
    } else {
      x[i] = flush_half(x[i]) | flush_half(x[i] >> 16) << 16;
    }
  }
}

uint32_t clamp_half(uint32_t x, bool nan_to_zero) {
  constexpr uint32_t kOne = 0x3c00, kInfinity = 0x7c00;
  x &= 0xffff;
  if ((x & 0x7fff) > kInfinity) return nan_to_zero ? 0 : x;
  if ((x & 0x8000) != 0) return 0;
  return x > kOne ? kOne : x;
}

// To [0, 1]. Sign-magnitude numbers compare as integers.
void clamp_result(uint32_t* x, Type type, bool nan_to_zero) {
  for (size_t i = 0; i < kLanes; ++i) {
    if (type == Type::kF32) {
      const bool nan = (x[i] & 0x7fffffff) > 0x7f800000;
      if (nan) {
        x[i] = nan_to_zero ? 0 : x[i];
      } else {
        x[i] = x[i] >> 31 != 0 ? 0 : x[i] > 0x3f800000 ? 0x3f800000 : x[i];
      }
    } else if (type == Type::kF64) {
      constexpr uint64_t kOne = 0x3ff0000000000000, kInfinity = 0x7ff0000000000000;
      uint64_t v = x[i] | static_cast<uint64_t>(x[kLanes + i]) << 32;
      if ((v & ~(uint64_t{1} << 63)) > kInfinity) {
        v = nan_to_zero ? 0 : v;
      } else {
        v = v >> 63 != 0 ? 0 : v > kOne ? kOne : v;
      }
      x[i] = static_cast<uint32_t>(v);
      x[kLanes + i] = static_cast<uint32_t>(v >> 32);
    } else {
      x[i] = clamp_half(x[i], nan_to_zero) | clamp_half(x[i] >> 16, nan_to_zero) << 16;
    }
  }
}

// Guide, 7.2.2: output modifiers are ignored where output denormals are allowed and in IEEE mode;
// they turn -0 into +0.
void modify_result(uint32_t* x, Type type, int omod, const Mode& mode) {
  if (omod == 0 || mode.ieee || (denormals_of(mode, type) & 2) != 0) return;
  constexpr uint32_t kFactor32[4] = {0, 0x40000000, 0x40800000, 0x3f000000};
  constexpr uint32_t kFactor16[4] = {0, 0x4000, 0x4400, 0x3800};
  constexpr uint32_t kFactor64[4] = {0, 0x40000000, 0x40100000, 0x3fe00000};
  Buffer factor{};
  Opcode multiply = Opcode::kVMulF32;
  for (size_t i = 0; i < kLanes; ++i) {
    if (type == Type::kF32) {
      factor.word[i] = kFactor32[omod];
    } else if (type == Type::kF16) {
      multiply = Opcode::kVMulF16;
      factor.word[i] = kFactor16[omod];
    } else if (type == Type::kF64) {
      multiply = Opcode::kVMulF64;
      factor.word[kLanes + i] = kFactor64[omod];
    } else {
      return;
    }
  }
  find_operation(chosen_table(), multiply, 0).body(x, x, factor.word.data(), nullptr, 0);
  flush_denormals(x, type);
  for (size_t i = 0; i < kLanes; ++i) {
    if (type == Type::kF64) {
      if (x[i] == 0 && x[kLanes + i] == 0x80000000) x[kLanes + i] = 0;
    } else if (x[i] == (type == Type::kF32 ? 0x80000000 : 0x8000)) {
      x[i] = 0;
    }
  }
}

void swizzle(uint32_t* out, const uint32_t* in, const Swizzle& how) {
  alignas(64) static constexpr std::array<uint32_t, kLanes> kZeros{};
  const Table& table = chosen_table();
  table.memory->permute(out, in, how.from.data(), 0, ~0U);
  if (how.zero != 0) table.blend(out, kZeros.data(), how.zero);
}

const Swizzle& find_swizzle(const Op& op, uint32_t exec, int bank, Swizzle& buffer) {
  if (exec == ~0U && bank == 0 && op.body_y != nullptr)
    return *static_cast<const Swizzle*>(op.body_y);
  buffer = swizzle_of(*op.instruction, exec, bank);
  return buffer;
}

// One source of one pass; `buffer` is used when it is not as it lies in its register.
const uint32_t* fetch(Wave& wave, const Op& op, size_t index, int bank, const Swizzle* dpp,
                      Buffer& buffer) {
  const Table& table = chosen_table();
  const Operand& operand = op.instruction->source[index];
  uint32_t* words = buffer.word.data();
  const uint16_t place = op.source[index];
  const uint32_t* p = words;
  if ((place & kConstantPlace) != 0) {
    p = constants.word.data() + static_cast<size_t>(place & kPlaceNumber) * kLanes;
  } else if (place < kOperandPlace) {
    p = register_words(wave, bank, place);
  } else {
    const uint64_t value = scalar_source(wave, op, static_cast<int>(index));
    table.fill(words, static_cast<uint32_t>(value));
    table.fill(words + kLanes, static_cast<uint32_t>(value >> 32));
  }
  if (dpp != nullptr && index == 0) {
    swizzle(words, p, *dpp);
    p = words;
  }
  if (op.modify[index % 3] != 0 && (op.valu_traits & kMix) == 0) {
    table.modify(words, p, op.modify[index]);
    p = words;
  }
  const bool keeps = (op.valu_traits & kKeepsDenormals) != 0;
  if (!keeps && (denormals_of(wave.mode, operand.type) & 1) == 0) {
    if (p != words) {
      std::copy_n(p, operand.dwords * kLanes, words);
      p = words;
    }
    flush_denormals(words, operand.type);
  }
  return p;
}

uint32_t mode_bits(const Wave& wave, int bank) {
  return (wave.mode.ieee ? kIeee : 0) | (bank != 0 ? kUpperBank : 0);
}

uint64_t mask_source(const Wave& wave, const Op& op) {
  if ((op.valu_traits & kVccIn) != 0) return wave.read_mask(code::kVccLo);
  if ((op.valu_traits & kMaskIn) == 0) return 0;
  const Operand& operand = op.instruction->source[op.instruction->sources - 1U];
  return operand.code == code::kNull ? 0 : wave.read_mask(operand.code);
}

// Puts what a pass computed into its destination.
void write_result(Wave& wave, const Op& op, int bank, uint32_t* result, uint32_t write) {
  const Table& table = chosen_table();
  const Instruction& i = *op.instruction;
  const Operand& d = i.destination[0];
  if (is_float(d.type)) {
    modify_result(result, d.type, i.omod, wave.mode);
    if (i.clamp) clamp_result(result, d.type, wave.mode.dx10_clamp);
    const bool keeps = (op.valu_traits & kKeepsDenormals) != 0;
    if (!keeps && (denormals_of(wave.mode, d.type) & 2) == 0) flush_denormals(result, d.type);
  }
  uint32_t* out = register_words(wave, bank, op.destination[0]);
  if ((op.valu_flags & (kToLowHalf | kToHighHalf)) != 0) {
    table.merge_half(result, out, (op.valu_flags & kToHighHalf) != 0);
  }
  for (size_t dword = 0; dword < d.dwords; ++dword) {
    table.blend(out + dword * kLanes, result + dword * kLanes, write);
  }
}

// --- WMMA ---

// A's or B's registers, with the signs of their elements changed as asked.
const uint32_t* fetch_factor(Wave& wave, const Op& op, size_t index,
                             std::array<uint32_t, 8 * kLanes>& buffer) {
  const Operand& operand = op.instruction->source[index];
  const uint32_t* in = register_words(wave, 0, operand.vgpr());
  const bool is_float_matrix = op.instruction->op != Opcode::kVWmmaI32_16x16x16Iu8 &&
                               op.instruction->op != Opcode::kVWmmaI32_16x16x16Iu4;
  if (op.modify[index] == 0 || !is_float_matrix) return in;
  for (size_t r = 0; r < operand.dwords; ++r) {
    chosen_table().modify(&buffer[r * kLanes], in + r * kLanes, op.modify[index]);
  }
  return buffer.data();
}

// C and D by rows of 16: wave32 holds them so, 8 registers of two rows; wave64 in 4 registers whose
// lanes go over four rows (guide, 7.9).
uint32_t* row_of(Wave& wave, int vgpr, int row) {
  if (!wave.wave64) return register_words(wave, 0, vgpr) + row * kRows;
  return register_words(wave, row >> 1 & 1, vgpr + row / 4) + (row & 1) * kRows;
}

void run_matrix(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const Operand& source = i.source[2];
  const bool halves =
      i.op == Opcode::kVWmmaF16_16x16x16F16 || i.op == Opcode::kVWmmaBf16_16x16x16Bf16;
  const bool integers =
      i.op == Opcode::kVWmmaI32_16x16x16Iu8 || i.op == Opcode::kVWmmaI32_16x16x16Iu4;
  // OPSEL[2]: which halves C and D are in.
  const bool high = halves && (i.op_sel & 4) != 0;
  alignas(64) std::array<uint32_t, 8 * kLanes> a_buffer, b_buffer;
  alignas(64) std::array<uint32_t, static_cast<size_t>(kRows * kRows)> c, result;
  const uint32_t* a = fetch_factor(wave, op, 0, a_buffer);
  const uint32_t* b = fetch_factor(wave, op, 1, b_buffer);
  // neg_lo of C negates it, neg_hi makes it positive first.
  const uint32_t sign = halves ? 0x8000 : 0x80000000;
  for (int row = 0; row < kRows; ++row) {
    const uint32_t* in = source.is_vgpr() ? row_of(wave, source.vgpr(), row) : nullptr;
    for (int column = 0; column < kRows; ++column) {
      uint32_t x = in != nullptr ? in[column] : static_cast<uint32_t>(source.value);
      if (halves) x = high && in != nullptr ? x >> 16 : x & 0xffff;
      if (!integers && source.negate_high) x &= ~sign;
      if (!integers && source.negate) x ^= sign;
      c[static_cast<size_t>(row) * kRows + static_cast<size_t>(column)] = x;
    }
  }
  body_of(op.body)(result.data(), a, b, c.data(), kIeee);
  for (int row = 0; row < kRows; ++row) {
    uint32_t* out = row_of(wave, op.destination[0], row);
    for (int column = 0; column < kRows; ++column) {
      const uint32_t x = result[static_cast<size_t>(row) * kRows + static_cast<size_t>(column)];
      if (!halves) {
        out[column] = x;
      } else if (high) {
        out[column] = (out[column] & 0xffff) | x << 16;
      } else {
        out[column] = (out[column] & 0xffff0000) | x;
      }
    }
  }
}

}  // namespace

void run_general(Wave& wave, const Op& op) {
  const uint32_t traits = op.valu_traits;
  if ((traits & kWmma) != 0) {  // EXEC is ignored
    run_matrix(wave, op);
    return;
  }
  const Instruction& i = *op.instruction;
  const bool compares = (traits & kCompare) != 0;
  const bool reads_mask = (traits & (kMaskIn | kVccIn)) != 0;
  const uint64_t mask_in = mask_source(wave, op);
  const size_t sources = (traits & kMaskIn) != 0 ? i.sources - 1U : i.sources;
  uint64_t mask_out = 0;
  for (int bank = 0; bank < wave.banks(); ++bank) {
    uint32_t write = wave.exec(bank);
    if (write == 0) continue;
    Swizzle dpp_buffer;
    const Swizzle* dpp = nullptr;
    if (i.dpp != Instruction::Dpp::kNone) {
      dpp = &find_swizzle(op, write, bank, dpp_buffer);
      write &= ~dpp->disabled;
    }
    std::array<Buffer, 3> buffers;
    std::array<const uint32_t*, 3> p{};
    for (size_t s = 0; s < sources; ++s) {
      p[s] = fetch(wave, op, s, bank, dpp, buffers[s]);
    }
    uint32_t extra = mode_bits(wave, bank);
    if (reads_mask) extra = static_cast<uint32_t>(mask_in >> (32 * bank));
    if ((traits & kMix) != 0) {
      const uint32_t how = op.modify[0] | static_cast<uint32_t>(op.modify[1]) << 8 |
                           static_cast<uint32_t>(op.modify[2]) << 16;
      extra |= how << kSelectShift;
    }
    Buffer result;
    uint32_t mask;
    {
      const bool nearest = (traits & (kNearest | kTranscendental)) != 0;
      const HostRounding rounding(nearest ? 0 : rounding_of(wave.mode, i.destination[0].type));
      mask = body_of(op.body)(result.word.data(), p[0], p[1], p[2], extra);
    }
    mask_out |= static_cast<uint64_t>(mask & write) << (32 * bank);
    if (!compares) write_result(wave, op, bank, result.word.data(), write);
  }
  if ((traits & (kCompare | kMaskOut)) == 0) return;
  if (compares && i.destinations == 0) {
    wave.set_exec(mask_out);
  } else {
    wave.write_mask(op.destination[1], mask_out);
  }
}

// VOPD outside of the usual mode; it exists in wave32 only.
void run_general_dual(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const uint32_t write = wave.exec(0);
  std::array<Buffer, 2> result;
  for (size_t half = 0; half < 2; ++half) {
    // As an instruction of its own, with the sources where fetch() looks for them.
    Instruction single;
    single.op = half == 0 ? i.op : i.op_y;
    Op part = op;
    part.instruction = &single;
    part.valu_traits = (op.valu_traits >> half & 1) != 0 ? kMaskIn : 0;
    std::array<Buffer, 3> buffers;
    std::array<const uint32_t*, 3> p{};
    for (size_t s = 0; s < 3; ++s) {
      single.source[s] = i.source[half * 3 + s];
      part.source[s] = op.source[half * 3 + s];
    }
    const size_t sources = part.valu_traits != 0 ? 2 : 3;
    for (size_t s = 0; s < sources; ++s) {
      if (single.source[s].dwords != 0) p[s] = fetch(wave, part, s, 0, nullptr, buffers[s]);
    }
    const uint32_t extra = part.valu_traits != 0
                               ? static_cast<uint32_t>(wave.read_mask(i.source[half * 3 + 2].code))
                               : mode_bits(wave, 0);
    const Type type = i.destination[half].type;
    const HostRounding rounding(rounding_of(wave.mode, type));
    body_of(half == 0 ? op.body : op.body_y)(result[half].word.data(), p[0], p[1], p[2], extra);
    if ((denormals_of(wave.mode, type) & 2) == 0) flush_denormals(result[half].word.data(), type);
  }
  for (size_t half = 0; half < 2; ++half) {
    chosen_table().blend(register_words(wave, 0, op.destination[half]), result[half].word.data(),
                         write);
  }
}

}  // namespace outboard::simulator::compute::valu
