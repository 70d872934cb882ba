// How an executable op names its operands, and constants ready to be read as lanes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "simulator/compute/wave.h"

namespace outboard::simulator::compute::valu {

// A place: the number of a VGPR, or with one of these bits something else.
constexpr uint16_t kConstantPlace = 0x8000;  // a register of `constants`
constexpr uint16_t kSgprPlace = 0x4000;      // one SGPR, broadcast when executed
constexpr uint16_t kOperandPlace = 0x2000;   // as Instruction::source says, broadcast when executed
constexpr uint16_t kPlaceNumber = 0x1fff;

// Op::modify: what happens to a source before the body sees it.
constexpr uint8_t kLowFromHigh = 1;  // the low half of each word is its high half
constexpr uint8_t kHighFromLow = 2;
constexpr uint8_t kAbsoluteLow = 4, kAbsoluteHigh = 8;  // of the low and the high half's sign bit
constexpr uint8_t kNegateLow = 16, kNegateHigh = 32;
constexpr uint8_t kSecondDword = 64;  // the sign is in the second dword: float64

// Op::valu_flags.
constexpr uint8_t kToLowHalf = 1;  // the result goes to a half of the destination's words
constexpr uint8_t kToHighHalf = 2;
constexpr uint8_t kGeneral = 4;  // only run_general knows how: clamp, omod, most of DPP
constexpr uint8_t kScalars = 8;  // a source is an SGPR

// Op::valu_detail of a VOPD: the X half may write before the Y half reads. (Of others: how many
// dwords the destination has.)
constexpr uint8_t kXFirst = 1;

// How far bodies reach from a pointer: four dwords of 32 lanes.
constexpr size_t kLanesOfRegister = 32, kMaxDwords = 4;
struct alignas(64) Buffer {
  std::array<uint32_t, kLanesOfRegister * kMaxDwords> word;
};

// The lanes of one bank that DPP names. Op::body_y points to the one of bank 0 with all lanes
// active.
struct Swizzle {
  alignas(64) std::array<uint32_t, kLanesOfRegister> from;  // where each lane reads, times 4
  uint32_t zero;                                            // lanes that read zero instead
  uint32_t disabled;                                        // lanes that do not write
};

// Constants as lanes: a register's worth of each, of 64-bit ones two. Filled by constant_place().
constexpr size_t kConstantRegisters = kPlaceNumber + 1;
struct alignas(64) ConstantLanes {
  std::array<uint32_t, kConstantRegisters * kLanesOfRegister> word;
};
extern ConstantLanes constants;

}  // namespace outboard::simulator::compute::valu
