// Masks, halves, modifiers, wave64, DPP, VOPD and instructions across lanes.
#include <gtest/gtest.h>

#include "simulator/compute/valu/fixture.h"

namespace outboard::simulator::compute {
namespace {

using namespace test;

constexpr int kA = 16, kB = 32, kC = 48;  // source registers of vector_instruction()

void number_lanes(Machine& m, int vgpr_number, uint32_t first = 0) {
  for (uint32_t lane = 0; lane < 2 * kLanes; ++lane) m.word(vgpr_number, lane) = first + lane;
}

// --- EXEC and masks ---

TEST(ValuMasks, InactiveLanesKeepTheirRegisters) {
  for (const bool wave64 : {false, true}) {
    for (const Opcode op : {Opcode::kVAddNcU32, Opcode::kVAddF16, Opcode::kVLshlrevB64}) {
      Machine m(wave64);
      number_lanes(m, kA, 1);
      number_lanes(m, kB, 1);
      m.fill(0, 0x55555555);
      m.fill(1, 0x55555555);
      const uint64_t exec = 0x8000000180000001;
      m.wave.set_exec(exec);
      ASSERT_TRUE(m.run(vector_instruction(op)));
      for (uint32_t lane = 0; lane < 2 * kLanes; ++lane) {
        const bool active = (exec >> lane & 1) != 0 && (wave64 || lane < kLanes);
        EXPECT_EQ(m.word(0, lane) != 0x55555555, active) << mnemonic(op) << " lane " << lane;
      }
    }
  }
}

TEST(ValuMasks, ComparisonsClearTheBitsOfInactiveLanes) {
  for (const bool wave64 : {false, true}) {
    Machine m(wave64);
    number_lanes(m, kA);
    m.fill(kB, 40);
    m.wave.set_exec(0xff00ff00ff00ff00);
    m.wave.sgpr[kMaskDestination] = m.wave.sgpr[kMaskDestination + 1] = 0xffffffff;
    ASSERT_TRUE(m.run(vector_instruction(Opcode::kVCmpLtU32)));
    EXPECT_EQ(m.wave.sgpr[kMaskDestination], 0xff00ff00U);
    EXPECT_EQ(m.wave.sgpr[kMaskDestination + 1], wave64 ? 0U : 0xffffffffU);
    Instruction x = vector_instruction(Opcode::kVCmpxGeU32);
    ASSERT_EQ(x.destinations, 0);
    m.fill(kB, 12);
    ASSERT_TRUE(m.run(x));
    EXPECT_EQ(m.wave.exec64(), wave64 ? 0xff00ff00ff00f000U : 0xff00f000U);
  }
}

TEST(ValuMasks, CarriesGoFromAddToAdd) {
  for (const bool wave64 : {false, true}) {
    Machine m(wave64);
    // 64-bit sums of lane << 31 and 2^32 - 1.
    for (uint32_t lane = 0; lane < 2 * kLanes; ++lane) m.set_pair(kA, lane, uint64_t{lane} << 31);
    for (uint32_t lane = 0; lane < 2 * kLanes; ++lane) m.set_pair(kB, lane, 0xffffffff);
    Instruction low = vector_instruction(Opcode::kVAddCoU32);
    Instruction high = vector_instruction(Opcode::kVAddCoCiU32);
    low.destination[1] = high.source[2] = sgpr(code::kVccLo, Type::kMask);
    high.destination[0] = vgpr(1);
    high.destination[1] = sgpr(code::kNull, Type::kMask);
    high.source[0] = vgpr(kA + 1);
    high.source[1] = vgpr(kB + 1);
    ASSERT_TRUE(m.run(low));
    ASSERT_TRUE(m.run(high));
    for (uint32_t lane = 0; lane < (wave64 ? 2 : 1) * kLanes; ++lane) {
      EXPECT_EQ(m.pair(0, lane), (uint64_t{lane} << 31) + 0xffffffff) << lane;
    }
    EXPECT_EQ(m.wave.sgpr[code::kNull], 0U);
  }
}

TEST(ValuMasks, MadReportsTheSixtyFifthBit) {
  Machine m;
  m.fill(kA, 0xffffffff);
  m.fill(kB, 0xffffffff);
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    m.set_pair(kC, lane, lane % 2 == 0 ? 0x1fffffffe : 0x1ffffffff);
  }
  ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMadU64U32)));
  EXPECT_EQ(m.pair(0, 0), 0xffffffffffffffffU);
  EXPECT_EQ(m.pair(0, 1), 0U);
  EXPECT_EQ(m.wave.sgpr[kMaskDestination], 0xaaaaaaaaU);
}

TEST(ValuMasks, SelectTakesEachLanesBit) {
  for (const bool wave64 : {false, true}) {
    Machine m(wave64);
    m.fill(kA, 1);
    m.fill(kB, 2);
    m.wave.sgpr[kMaskSource] = 0xf0000001;
    m.wave.sgpr[kMaskSource + 1] = 0x00000003;
    ASSERT_TRUE(m.run(vector_instruction(Opcode::kVCndmaskB32)));
    EXPECT_EQ(m.word(0, 0), 2U);
    EXPECT_EQ(m.word(0, 1), 1U);
    EXPECT_EQ(m.word(0, 31), 2U);
    if (wave64) {
      EXPECT_EQ(m.word(0, 33), 2U);
      EXPECT_EQ(m.word(0, 34), 1U);
    }
  }
}

TEST(ValuMasks, CountsLanesBelow) {
  Machine m(true);
  m.fill(kA, 0xff0000ff);
  m.fill(kB, 100);
  ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMbcntLoU32B32)));
  EXPECT_EQ(m.word(0, 0), 100U);
  EXPECT_EQ(m.word(0, 9), 108U);
  EXPECT_EQ(m.word(0, 40), 116U);
  ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMbcntHiU32B32)));
  EXPECT_EQ(m.word(0, 31), 100U);
  EXPECT_EQ(m.word(0, 34), 102U);
  EXPECT_EQ(m.word(0, 63), 115U);
}

// --- Operands ---

TEST(ValuOperands, ScalarsAndLiteralsReachEveryLane) {
  Machine m;
  number_lanes(m, kB, 5);
  m.wave.sgpr[7] = 1000;
  Instruction i = vector_instruction(Opcode::kVAddNcU32);
  i.source[0] = sgpr(7);
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(m.word(0, 31), 1036U);
  i.source[0] = constant(0x12345678);
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(m.word(0, 3), 0x12345680U);
  Instruction wide = vector_instruction(Opcode::kVAddF64);
  m.wave.sgpr[8] = 0;
  m.wave.sgpr[9] = 0x40080000;  // 3
  wide.source[0] = sgpr(8, Type::kF64, 2);
  wide.source[1] = constant(bits(0.5), Type::kF64, 2);
  ASSERT_TRUE(m.run(wide));
  EXPECT_EQ(as_double(m.pair(0, 20)), 3.5);
}

TEST(ValuOperands, SignsAreChangedAfterTheAbsoluteValue) {
  struct Case {
    bool negate, absolute;
    float expected;
  };
  for (const Case& c :
       {Case{false, false, -3}, {true, false, 3}, {false, true, 3}, {true, true, -3}}) {
    Machine m;
    m.fill(kA, bits(-3.0F));
    m.fill(kB, bits(1.0F));
    Instruction i = vector_instruction(Opcode::kVMulF32);
    i.source[0].negate = c.negate;
    i.source[0].absolute = c.absolute;
    ASSERT_TRUE(m.run(i));
    EXPECT_EQ(as_float(m.word(0, 1)), c.expected);
    // The same of a constant, and of float64.
    i.source[0] = constant(bits(-3.0F), Type::kF32);
    i.source[0].negate = c.negate;
    i.source[0].absolute = c.absolute;
    ASSERT_TRUE(m.run(i));
    EXPECT_EQ(as_float(m.word(0, 1)), c.expected);
    Instruction d = vector_instruction(Opcode::kVMulF64);
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      m.set_pair(kA, lane, bits(-3.0));
      m.set_pair(kB, lane, bits(1.0));
    }
    d.source[0].negate = c.negate;
    d.source[0].absolute = c.absolute;
    ASSERT_TRUE(m.run(d));
    EXPECT_EQ(as_double(m.pair(0, 1)), static_cast<double>(c.expected));
  }
}

TEST(ValuOperands, HalvesOfRegisters) {
  for (int select = 0; select < 8; ++select) {
    Machine m;
    m.fill(kA, 0x00070003);
    m.fill(kB, 0x00500020);
    m.fill(0, 0xaaaabbbb);
    Instruction i = vector_instruction(Opcode::kVAddNcU16);
    i.source[0].high = (select & 1) != 0;
    i.source[1].high = (select & 2) != 0;
    i.destination[0].high = (select & 4) != 0;
    ASSERT_TRUE(m.run(i));
    const uint32_t sum = ((select & 1) != 0 ? 7U : 3U) + ((select & 2) != 0 ? 0x50U : 0x20U);
    EXPECT_EQ(m.word(0, 30), (select & 4) != 0 ? sum << 16 | 0xbbbb : 0xaaaa0000 | sum);
  }
}

TEST(ValuOperands, PackedHalvesChooseTheirSources) {
  for (int select = 0; select < 16; ++select) {
    Machine m;
    m.fill(kA, 0x00070003);
    m.fill(kB, 0x00500020);
    Instruction i = vector_instruction(Opcode::kVPkSubI16);
    i.source[0].high = (select & 1) != 0;
    i.source[0].high_from_high = (select & 2) != 0;
    i.source[1].high = (select & 4) != 0;
    i.source[1].high_from_high = (select & 8) != 0;
    ASSERT_TRUE(m.run(i));
    const auto a = [&](bool high) { return high ? 7U : 3U; };
    const auto b = [&](bool high) { return high ? 0x50U : 0x20U; };
    const uint32_t low = a((select & 1) != 0) - b((select & 4) != 0);
    const uint32_t high = a((select & 2) != 0) - b((select & 8) != 0);
    EXPECT_EQ(m.word(0, 2), (low & 0xffff) | high << 16);
  }
}

TEST(ValuResults, ClampOfFloats) {
  struct Case {
    float in, out;
  };
  for (const Case& c : {Case{2, 1}, {-1, 0}, {0.25F, 0.25F}, {1, 1}, {-0.0F, 0}}) {
    Machine m;
    m.fill(kA, bits(c.in));
    m.fill(kB, bits(1.0F));
    Instruction i = vector_instruction(Opcode::kVMulF32);
    i.clamp = true;
    ASSERT_TRUE(m.run(i));
    EXPECT_EQ(m.word(0, 0), bits(c.out));
  }
  for (const bool dx10 : {false, true}) {
    Machine m;
    m.wave.mode.dx10_clamp = dx10;
    m.fill(kA, 0x7fc00000);
    Instruction i = vector_instruction(Opcode::kVMulF32);
    i.clamp = true;
    ASSERT_TRUE(m.run(i));
    EXPECT_EQ(m.word(0, 0), dx10 ? 0U : 0x7fc00000U);
  }
}

// Ignored in IEEE mode and where denormals may come out.
TEST(ValuResults, OutputModifiers) {
  for (const bool ieee : {false, true}) {
    for (const uint8_t denorm : {uint8_t{0xd}, uint8_t{0xf}}) {
      for (uint8_t omod = 0; omod < 4; ++omod) {
        Machine m;
        m.wave.mode.ieee = ieee;
        m.wave.mode.denorm = denorm;
        m.fill(kA, bits(3.0F));
        m.fill(kB, bits(1.0F));
        Instruction i = vector_instruction(Opcode::kVMulF32);
        i.omod = omod;
        ASSERT_TRUE(m.run(i));
        constexpr float kFactor[4] = {1, 2, 4, 0.5F};
        const bool works = !ieee && denorm == 0xd;
        EXPECT_EQ(as_float(m.word(0, 0)), works ? 3 * kFactor[omod] : 3);
        m.fill(kA, 0x80000000);
        ASSERT_TRUE(m.run(i));
        EXPECT_EQ(m.word(0, 0), works && omod != 0 ? 0 : 0x80000000U);
      }
    }
  }
}

// --- DPP: each control by what the guide says of lane `i` of a row of 16. ---

int expected_lane(uint32_t control, int i) {
  const int n = static_cast<int>(control & 15);
  if (control < 0x100) {
    const int quad[4] = {static_cast<int>(control & 3), static_cast<int>(control >> 2 & 3),
                         static_cast<int>(control >> 4 & 3), static_cast<int>(control >> 6)};
    return i / 4 * 4 + quad[i % 4];
  }
  if (control < 0x110) return i + n > 15 ? -1 : i + n;
  if (control < 0x120) return i < n ? -1 : i - n;
  if (control < 0x130) return (i + 16 - n) % 16;
  if (control == 0x140) return 15 - i;
  if (control == 0x141) return i / 8 * 8 + 7 - i % 8;
  if (control < 0x160) return n;
  return i ^ n;
}

TEST(ValuDpp, EveryControl) {
  std::vector<uint32_t> controls;
  for (uint32_t c = 0; c < 0x100; c += 7) controls.push_back(c);
  for (const uint32_t base : {0x100U, 0x110U, 0x120U}) {
    for (uint32_t n = 1; n < 16; ++n) controls.push_back(base + n);
  }
  controls.insert(controls.end(), {0x140, 0x141});
  for (uint32_t n = 0; n < 16; ++n) controls.insert(controls.end(), {0x150 + n, 0x160 + n});
  for (const bool wave64 : {false, true}) {
    for (const uint32_t control : controls) {
      for (const bool bound : {false, true}) {
        for (const bool inactive : {false, true}) {
          Machine m(wave64);
          number_lanes(m, kA, 1000);
          m.fill(0, 7);
          const uint64_t exec = 0xfffffff1fffefff7;
          m.wave.set_exec(exec);
          Instruction i = vector_instruction(Opcode::kVMovB32);
          i.dpp = Instruction::Dpp::kDpp16;
          i.dpp_ctrl = static_cast<uint16_t>(control);
          i.row_mask = 0xd;
          i.bank_mask = 0xe;
          i.bound_ctrl = bound;
          i.fetch_inactive = inactive;
          ASSERT_TRUE(m.run(i));
          for (uint32_t lane = 0; lane < (wave64 ? 2 : 1) * kLanes; ++lane) {
            const uint32_t row = lane / 16;
            const int from = expected_lane(control, static_cast<int>(lane % 16));
            uint32_t expected = 7;
            const bool writes = (exec >> lane & 1) != 0 && (0xd >> row & 1) != 0 &&
                                (0xe >> (lane % 16 / 4) & 1) != 0;
            if (writes) {
              const bool readable =
                  from >= 0 &&
                  (inactive || (exec >> (row * 16 + static_cast<uint32_t>(from)) & 1) != 0);
              if (readable) expected = 1000 + row * 16 + static_cast<uint32_t>(from);
              if (!readable && bound) expected = 0;
            }
            EXPECT_EQ(m.word(0, lane), expected) << std::hex << control << " lane " << lane;
          }
        }
      }
    }
  }
}

TEST(ValuDpp, EightLanes) {
  Machine m;
  number_lanes(m, kA, 1000);
  m.wave.set_exec(0xfffffffe);
  Instruction i = vector_instruction(Opcode::kVMovB32);
  i.dpp = Instruction::Dpp::kDpp8;
  for (uint32_t lane = 0; lane < 8; ++lane) i.dpp8_lanes |= (7 - lane) << (3 * lane);
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(m.word(0, 1), 1006U);
  EXPECT_EQ(m.word(0, 7), 0U);  // lane 0 is not active
  EXPECT_EQ(m.word(0, 24), 1031U);
  i.fetch_inactive = true;
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(m.word(0, 7), 1000U);
}

TEST(ValuDpp, ReservedControlsAreRefused) {
  Machine m;
  Instruction i = vector_instruction(Opcode::kVMovB32);
  i.dpp = Instruction::Dpp::kDpp16;
  for (const uint16_t control : {0x100, 0x110, 0x120, 0x130, 0x13f, 0x142, 0x14f, 0x170, 0x1ff}) {
    i.dpp_ctrl = control;
    EXPECT_FALSE(m.run(i)) << std::hex << control;
  }
}

// --- VOPD ---

Instruction dual(Opcode x, Opcode y) {
  Instruction i;
  i.format = Format::kVopd;
  i.op = x;
  i.op_y = y;
  i.destinations = 2;
  i.sources = 6;
  return i;
}

TEST(ValuDual, BothHalvesReadBeforeEitherWrites) {
  for (const uint32_t exec : {0xffffffffU, 0x0000ffffU}) {
    Machine m;
    m.wave.set_exec(exec);
    m.fill(2, bits(2.0F));
    m.fill(3, bits(3.0F));
    // v2 = v3 :: v3 = v2 * v2
    Instruction i = dual(Opcode::kVMovB32, Opcode::kVMulF32);
    i.destination = {vgpr(2, Type::kF32), vgpr(3, Type::kF32)};
    i.source[0] = vgpr(3);
    i.source[3] = i.source[4] = vgpr(2, Type::kF32);
    ASSERT_TRUE(m.run(i));
    EXPECT_EQ(as_float(m.word(2, 4)), 3.0F);
    EXPECT_EQ(as_float(m.word(3, 4)), 4.0F);
    EXPECT_EQ(as_float(m.word(2, 20)), exec == 0xffffffff ? 3.0F : 2.0F);
  }
}

TEST(ValuDual, AccumulatorsLiteralsMasksAndModes) {
  for (const bool usual : {true, false}) {
    Machine m;
    if (!usual) m.wave.mode.round = 3;  // goes the general way; nothing here is inexact
    m.fill(4, bits(1.5F));
    m.fill(5, bits(2.0F));
    m.fill(6, bits(10.0F));
    m.wave.sgpr[code::kVccLo] = 0x0000000f;
    m.wave.sgpr[3] = bits(4.0F);
    // v6 += v4 * s3 :: v7 = vcc ? v5 : v4
    Instruction i = dual(Opcode::kVFmacF32, Opcode::kVCndmaskB32);
    i.destination = {vgpr(6, Type::kF32), vgpr(7)};
    i.source[0] = sgpr(3, Type::kF32);
    i.source[1] = vgpr(4, Type::kF32);
    i.source[2] = vgpr(6, Type::kF32);
    i.source[3] = vgpr(4);
    i.source[4] = vgpr(5);
    i.source[5] = sgpr(code::kVccLo, Type::kMask);
    ASSERT_TRUE(m.run(i));
    EXPECT_EQ(as_float(m.word(6, 9)), 16.0F);
    EXPECT_EQ(as_float(m.word(7, 3)), 2.0F);
    EXPECT_EQ(as_float(m.word(7, 4)), 1.5F);
  }
}

// --- Across lanes ---

TEST(ValuLanes, ReadAndWriteOneLane) {
  for (const bool wave64 : {false, true}) {
    Machine m(wave64);
    number_lanes(m, kA, 500);
    m.wave.set_exec(0xffffffff00000100);
    Instruction first = vector_instruction(Opcode::kVReadfirstlaneB32);
    ASSERT_TRUE(m.run(first));
    EXPECT_EQ(m.wave.sgpr[kMaskDestination], 508U);
    m.wave.set_exec(0);
    ASSERT_TRUE(m.run(first));
    EXPECT_EQ(m.wave.sgpr[kMaskDestination], 500U);
    Instruction read = vector_instruction(Opcode::kVReadlaneB32);
    read.source[1] = constant(45);
    ASSERT_TRUE(m.run(read));
    EXPECT_EQ(m.wave.sgpr[kMaskDestination], wave64 ? 545U : 513U);
    Instruction write = vector_instruction(Opcode::kVWritelaneB32);
    m.fill(0, 0);
    m.wave.sgpr[5] = 77;
    write.source[0] = sgpr(5);
    write.source[1] = constant(45);
    ASSERT_TRUE(m.run(write));
    EXPECT_EQ(m.word(0, wave64 ? 45 : 13), 77U);
    EXPECT_EQ(m.word(0, wave64 ? 13 : 45), 0U);
  }
}

TEST(ValuLanes, PermlaneWithinAndAcrossRows) {
  Machine m(true);
  number_lanes(m, kA, 100);
  m.wave.sgpr[5] = 0x76543210;
  m.wave.sgpr[6] = 0x0000000f;
  m.wave.set_exec(~uint64_t{1});
  for (const bool other : {false, true}) {
    Instruction i = vector_instruction(other ? Opcode::kVPermlanex16B32 : Opcode::kVPermlane16B32);
    i.source[1] = sgpr(5);
    i.source[2] = sgpr(6);
    m.fill(0, 9);
    ASSERT_TRUE(m.run(i));
    const auto row = [&](uint32_t r) { return 100 + 16 * (other ? r ^ 1 : r); };
    EXPECT_EQ(m.word(0, 3), row(0) + 3);
    EXPECT_EQ(m.word(0, 8), row(0) + 15);
    EXPECT_EQ(m.word(0, 37), row(2) + 5);
    EXPECT_EQ(m.word(0, 0), 9U);  // not active
    // Lane 0 has nothing to give: lanes keep theirs, or get zero with BOUND_CTRL, or it with FI.
    const uint32_t reader = other ? 25 : 9;
    EXPECT_EQ(m.word(0, reader), 9U);
    i.bound_ctrl = true;
    ASSERT_TRUE(m.run(i));
    EXPECT_EQ(m.word(0, reader), 0U);
    i.fetch_inactive = true;
    ASSERT_TRUE(m.run(i));
    EXPECT_EQ(m.word(0, reader), 100U);
  }
}

TEST(ValuLanes, Permlane64ExchangesHalves) {
  for (const bool wave64 : {false, true}) {
    Machine m(wave64);
    number_lanes(m, kA);
    m.fill(0, 999);
    ASSERT_TRUE(m.run(vector_instruction(Opcode::kVPermlane64B32)));
    EXPECT_EQ(m.word(0, 3), wave64 ? 35U : 999U);
    if (wave64) {
      EXPECT_EQ(m.word(0, 63), 31U);
    }
  }
}

TEST(ValuLanes, SwapAndRelativeRegisters) {
  Machine m;
  m.fill(0, 1);
  m.fill(kA, 2);
  m.wave.set_exec(0xffff);
  ASSERT_TRUE(m.run(vector_instruction(Opcode::kVSwapB32)));
  EXPECT_EQ(m.word(0, 0), 2U);
  EXPECT_EQ(m.word(kA, 0), 1U);
  EXPECT_EQ(m.word(0, 16), 1U);
  m.wave.sgpr[code::kM0] = 3;
  m.fill(kA + 3, 33);
  ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMovrelsB32)));
  EXPECT_EQ(m.word(0, 0), 33U);
  m.fill(kA, 44);
  ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMovreldB32)));
  EXPECT_EQ(m.word(3, 0), 44U);
  m.wave.sgpr[code::kM0] = 5 << 16 | 3;
  ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMovrelsd2B32)));
  EXPECT_EQ(m.word(5, 0), 33U);
  // Out of range: nothing is written, v0 is read.
  m.wave.vgpr_count = 64;
  m.wave.sgpr[code::kM0] = 1000;
  m.fill(0, 5);
  ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMovreldB32)));
  m.fill(4, 0);
  Instruction out = vector_instruction(Opcode::kVMovrelsB32);
  out.destination[0] = vgpr(4);
  ASSERT_TRUE(m.run(out));
  EXPECT_EQ(m.word(4, 0), 5U);
}

TEST(ValuLanes, InterpolationReadsItsQuad) {
  Machine m;
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    m.word(kA, lane) = bits(static_cast<float>(100 + lane));
    m.word(kB, lane) = bits(2.0F);
    m.word(kC, lane) = bits(static_cast<float>(10 + lane));
  }
  Instruction i;
  i.format = Format::kVinterp;
  i.destinations = 1;
  i.sources = 3;
  i.destination[0] = vgpr(0, Type::kF32);
  for (size_t s = 0; s < 3; ++s) i.source[s] = vgpr(source_register(s), Type::kF32);
  i.op = Opcode::kVInterpP10F32;
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(as_float(m.word(0, 6)), 105.0F * 2 + 14);
  i.op = Opcode::kVInterpP2F32;
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(as_float(m.word(0, 6)), 106.0F * 2 + 16);
}

}  // namespace
}  // namespace outboard::simulator::compute
