// How an executable op names its operands, and inline constants ready to be read as lanes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "simulator/compute/wave.h"

namespace outboard::simulator::compute::valu {

// A place: the number of a VGPR, or with one of these bits something else.
constexpr uint16_t kConstantPlace = 0x8000;  // register-sized steps into kConstants
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
constexpr uint8_t kGeneral = 4;  // DPP, clamp, omod: only run_general knows them

// Op::valu_detail of a VOPD: the X half may write before the Y half reads. (Of others: how many
// dwords the destination has.)
constexpr uint8_t kXFirst = 1;

// How far bodies reach from a pointer: four dwords of 32 lanes.
constexpr size_t kLanesOfRegister = 32, kMaxDwords = 4;
struct alignas(64) Buffer {
  std::array<uint32_t, kLanesOfRegister * kMaxDwords> word;
};

// The bits that inline constants stand for (instruction.h), whatever the type: -16 to 64 as int64,
// then floats of 32, 16 and 64 bits and bfloat16. Each as 32 low and 32 high words.
constexpr size_t kConstantCount = 81 + 4 * 9;
constexpr std::array<uint64_t, kConstantCount> constant_values() {
  std::array<uint64_t, kConstantCount> values{};
  size_t n = 0;
  for (int64_t i = -16; i <= 64; ++i) values[n++] = static_cast<uint64_t>(i);
  // 0.5, 1, 2, 4 and 1 / (2 pi)
  constexpr uint64_t kPositive[4][5] = {
      {0x3f000000, 0x3f800000, 0x40000000, 0x40800000, 0x3e22f983},
      {0x3800, 0x3c00, 0x4000, 0x4400, 0x3118},
      {0x3fe0000000000000, 0x3ff0000000000000, 0x4000000000000000, 0x4010000000000000,
       0x3fc45f306dc9c882},
      {0x3f00, 0x3f80, 0x4000, 0x4080, 0x3e22}};
  constexpr int kTopBit[4] = {31, 15, 63, 15};
  for (int type = 0; type < 4; ++type) {
    for (int i = 0; i < 5; ++i) {
      values[n++] = kPositive[type][i];
      if (i < 4) values[n++] = kPositive[type][i] | uint64_t{1} << kTopBit[type];
    }
  }
  return values;
}
struct alignas(64) ConstantLanes {
  std::array<uint32_t, kConstantCount * 2 * kLanesOfRegister> word;
};
extern const ConstantLanes kConstants;

}  // namespace outboard::simulator::compute::valu
