// For tests: a wave without a workgroup, and vector ALU instructions made by hand.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <random>
#include <vector>

#include "hardware/amd/rdna3/isa_tables.h"
#include "simulator/compute/valu/general.h"
#include "simulator/compute/wave.h"

namespace outboard::simulator::compute::test {

namespace isa = hardware::amd::rdna3::isa;

constexpr uint32_t kLanes = 32;
// Where vector_instruction() puts things: the destination at v0, source n at v[16 (n + 1)].
constexpr uint16_t kDestination = 0, kSourceStride = 16, kMaskDestination = 10, kMaskSource = 20;

inline int source_register(size_t n) { return static_cast<int>(kSourceStride * (n + 1)); }

inline Operand vgpr(int number, Type type = Type::kB32, uint8_t dwords = 1) {
  return {.code = static_cast<uint16_t>(code::kVgpr0 + number), .dwords = dwords, .type = type};
}
inline Operand sgpr(uint16_t number, Type type = Type::kB32, uint8_t dwords = 1) {
  return {.code = number, .dwords = dwords, .type = type};
}
inline Operand constant(uint64_t value, Type type = Type::kB32, uint8_t dwords = 1) {
  return {.code = code::kLiteral, .dwords = dwords, .type = type, .constant = true, .value = value};
}

inline bool find_row(Opcode op, Format& format, isa::Row& row) {
  for (const Format f : {Format::kVop3, Format::kVop3Sd, Format::kVop3p, Format::kVop2,
                         Format::kVop1, Format::kVopc}) {
    for (const isa::Row& r : isa::rows(f)) {
      if (r.op != op) continue;
      format = f;
      row = r;
      return true;
    }
  }
  return false;
}

// An instruction with VGPRs for all that can be one.
inline Instruction vector_instruction(Opcode op) {
  Instruction out;
  isa::Row row{};
  if (!find_row(op, out.format, row)) return out;
  out.op = op;
  const bool scalar = (row.flags & isa::kScalarDestination) != 0;
  if (row.destination.dwords != 0) {
    out.destination[out.destinations++] =
        scalar ? sgpr(kMaskDestination, row.destination.type)
               : vgpr(kDestination, row.destination.type, row.destination.dwords);
  }
  if (row.destination2.dwords != 0) {
    out.destination[out.destinations++] = sgpr(kMaskDestination, row.destination2.type);
  }
  for (size_t i = 0; i < 3; ++i) {
    const isa::Role& role = row.source[i];
    if (role.dwords == 0) break;
    out.source[out.sources++] = role.type == Type::kMask
                                    ? sgpr(kMaskSource, Type::kMask)
                                    : vgpr(source_register(i), role.type, role.dwords);
  }
  // The accumulator, which is the destination, is a third source like any other.
  const bool accumulates = op == Opcode::kVFmacF32 || op == Opcode::kVFmacF16 ||
                           op == Opcode::kVFmacDx9ZeroF32 || op == Opcode::kVDot2accF32F16 ||
                           op == Opcode::kVPkFmacF16;
  if (accumulates) out.source[out.sources++] = vgpr(source_register(2), row.destination.type);
  return out;
}

class Machine {
 public:
  explicit Machine(bool wave64 = false) : registers_(2 * Wave::kVgprs) {
    wave.wave64 = wave64;
    wave.vgpr_count = 256;
    wave.bank = {registers_.data(), registers_.data() + Wave::kVgprs};
    wave.mode.ieee = true;
    wave.set_exec(~uint64_t{0});
  }

  // False when the vector ALU does not know the instruction.
  bool run(const Instruction& instruction, const valu::Table& table = valu::chosen_table()) {
    Op op;
    op.instruction = &instruction;
    if (!valu::prepare(table, op, instruction)) return false;
    op.run(wave, op);
    return true;
  }

  uint32_t& word(int vgpr_number, uint32_t lane) {
    return wave.bank[lane / kLanes][vgpr_number].lane[lane % kLanes];
  }
  uint64_t pair(int vgpr_number, uint32_t lane) {
    return word(vgpr_number, lane) | static_cast<uint64_t>(word(vgpr_number + 1, lane)) << 32;
  }
  void set_pair(int vgpr_number, uint32_t lane, uint64_t value) {
    word(vgpr_number, lane) = static_cast<uint32_t>(value);
    word(vgpr_number + 1, lane) = static_cast<uint32_t>(value >> 32);
  }
  void fill(int vgpr_number, uint32_t value) {
    for (uint32_t lane = 0; lane < 2 * kLanes; ++lane) word(vgpr_number, lane) = value;
  }

  Wave wave;

 private:
  std::vector<VectorRegister> registers_;
};

// Words that numbers of every kind are made of: zeros, ones, denormals, infinities, NaNs, halves of
// powers, extremes; and noise.
inline uint32_t edge_word(std::mt19937& random) {
  constexpr uint32_t kEdges[] = {
      0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x00800000, 0x807fffff,
      0x3f800000, 0xbf800000, 0x3f7fffff, 0x3f800001, 0x40000000, 0x3f000000, 0xbf000000,
      0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x7f800001,
      0xffbfffff, 0x4b000000, 0x4b7fffff, 0x4f000000, 0xcf000000, 0x4effffff, 0x5f800000,
      0x477fe000, 0x477ff000, 0x38800000, 0x387fc000, 0x33800000, 0x33000000, 0x33000001,
      0x3c003c00, 0x7c00fc00, 0x7e007d01, 0x00018001, 0x03ff0400, 0x7bfffbff, 0x38003c01,
      0x7fffffff, 0xffffffff, 0x0000ffff, 0xffff0000, 0x00007fff, 0x00008000, 0x80808080,
      0x7f7f7f7f, 0x3ff00000, 0x7ff00000, 0x7ff80000, 0x7ff00001, 0x00100000, 0x000fffff,
      0x7fefffff, 0x41e00000, 0xc1e00000, 0x00000020, 0x0000001f, 0x3e22f983};
  constexpr uint32_t kCount = sizeof(kEdges) / sizeof(kEdges[0]);
  switch (random() % 4) {
    case 0:
      return static_cast<uint32_t>(random());
    case 1: {  // a float of moderate size
      const uint32_t exponent = 120 + static_cast<uint32_t>(random()) % 16;
      return (static_cast<uint32_t>(random()) & 0x807fffff) | exponent << 23;
    }
    default:
      return kEdges[random() % kCount];
  }
}

inline float as_float(uint32_t x) { return std::bit_cast<float>(x); }
inline double as_double(uint64_t x) { return std::bit_cast<double>(x); }
inline uint32_t bits(float x) { return std::bit_cast<uint32_t>(x); }
inline uint64_t bits(double x) { return std::bit_cast<uint64_t>(x); }

}  // namespace outboard::simulator::compute::test
