// What the sweep against llvm-mc (tests/simulator/test_decode.py) does not see: operands,
// constants, and robustness. Encodings and texts below are llvm-mc-19's.
#include "hardware/amd/rdna3/instruction.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace outboard::hardware::amd::rdna3 {
namespace {

Instruction decoded(std::vector<uint32_t> words) {
  Instruction in;
  EXPECT_TRUE(decode(words, in));
  EXPECT_EQ(in.size, words.size() * 4);
  return in;
}

TEST(Decode, SourcesAndDestinationsOfVop2) {
  const Instruction in = decoded({0x06080d02});  // v_add_f32_e32 v4, v2, v6
  EXPECT_EQ(in.op, Opcode::kVAddF32);
  EXPECT_EQ(in.format, Format::kVop2);
  ASSERT_EQ(in.destinations, 1);
  EXPECT_EQ(in.destination[0].vgpr(), 4);
  ASSERT_EQ(in.sources, 2);
  EXPECT_EQ(in.source[0].vgpr(), 2);
  EXPECT_EQ(in.source[1].vgpr(), 6);
  EXPECT_EQ(in.source[1].type, Type::kF32);
}

TEST(Decode, InlineConstantsDependOnTheOperandsType) {
  // 240 is 0.5: v_add_f32, v_add_f16, v_add_f64, v_pk_add_f16, v_pk_add_i16, s_mov_b64.
  EXPECT_EQ(decoded({0x06080cf0}).source[0].value, 0x3f000000u);
  EXPECT_EQ(decoded({0x64080cf0}).source[0].value, 0x3800u);
  EXPECT_EQ(decoded({0xd7270004, 0x0001e102}).source[1].value, 0x3fe0000000000000u);
  EXPECT_EQ(decoded({0xcc0f4004, 0x1801e102}).source[1].value, 0x3800u);
  EXPECT_EQ(decoded({0xcc024004, 0x1801e102}).source[1].value, 0x3f000000u);
  EXPECT_EQ(decoded({0xbe8401f0}).source[0].value, 0x3fe0000000000000u);
  // Integers extend their sign: -1 in s_mov_b32 and s_mov_b64.
  EXPECT_EQ(decoded({0xbe8400c1}).source[0].value, 0xffffffffu);
  EXPECT_EQ(decoded({0xbe8401c1}).source[0].value, ~uint64_t{0});
}

TEST(Decode, LiteralsExtendByType) {
  EXPECT_EQ(decoded({0xbe8401ff, 0x80000001}).source[0].value, 0x80000001u);          // b64
  EXPECT_EQ(decoded({0x7e0830ff, 0x3ff80000}).source[0].value, 0x3ff8000000000000u);  // f64
  EXPECT_EQ(decoded({0x867fff04, 0x80000000}).source[1].value, 0x80000000u);
  // v_cmp_lt_i64_e64 s4, 0x80000000, ...: signed.
  EXPECT_EQ(decoded({0xd4510004, 0x0001feff, 0x80000000}).source[0].value, 0xffffffff80000000u);
}

TEST(Decode, MatricesTakeFourOrEightRegisters) {
  const Instruction f16 = decoded({0xcc404004, 0x1c1a0902});  // v_wmma_f32_16x16x16_f16
  EXPECT_EQ(f16.destination[0].dwords, 8);
  EXPECT_EQ(f16.source[0].dwords, 8);
  const Instruction iu8 = decoded({0xcc444004, 0x1c1a0902});
  EXPECT_EQ(iu8.source[0].dwords, 4);
  EXPECT_EQ(iu8.source[2].dwords, 8);
  EXPECT_EQ(decoded({0xcc454004, 0x1c1a0902}).source[1].dwords, 2);
}

TEST(Decode, HalvesOfRegisters) {
  const Instruction e64 = decoded({0xd5324804, 0x00020902});  // v_add_f16_e64 op_sel:[1,0,1]
  EXPECT_TRUE(e64.source[0].high);
  EXPECT_FALSE(e64.source[1].high);
  EXPECT_TRUE(e64.destination[0].high);
  const Instruction e32 = decoded({0x64080d82});  // v_add_f16 of v2.h and v6.l
  EXPECT_EQ(e32.source[0].vgpr(), 2);
  EXPECT_TRUE(e32.source[0].high);
}

TEST(Decode, DualHalvesHaveTheirOwnSources) {
  // v_dual_fmaak_f32 v8, v2, v6, 0x1234567 :: v_dual_cndmask_b32 v5, v1, v137
  const Instruction in = decoded({0xc8520d02, 0x08051301, 0x01234567});
  EXPECT_EQ(in.op, Opcode::kVFmaakF32);
  EXPECT_EQ(in.op_y, Opcode::kVCndmaskB32);
  EXPECT_EQ(in.source[2].value, 0x01234567u);
  EXPECT_EQ(in.destination[1].vgpr(), 5);
  EXPECT_EQ(in.source[4].vgpr(), 137);
  EXPECT_EQ(in.source[5].code, code::kVccLo);
}

TEST(Decode, MissingWordsAreRefused) {
  const std::vector<std::vector<uint32_t>> cut = {{},
                                                  {0xbe8401ff},
                                                  {0xd5030004},
                                                  {0xd5030004, 0x0001ff02},
                                                  {0xcc404004},
                                                  {0x7e0802fa},
                                                  {0xc8520d02, 0x08051301},
                                                  {0xf0000f05, 0}};
  for (const std::vector<uint32_t>& words : cut) {
    Instruction in;
    EXPECT_FALSE(decode(words, in));
    EXPECT_EQ(in.op, Opcode::kInvalid);
    EXPECT_EQ(in.size, 4);
  }
}

// Any words at all: no read beyond the span (the sanitizers watch), and text for whatever decodes.
TEST(Decode, RandomWords) {
  std::mt19937 random{1};
  int valid = 0;
  for (int i = 0; i < 300000; ++i) {
    const std::vector<uint32_t> words(random() % 4);
    std::vector<uint32_t> filled = words;
    for (uint32_t& word : filled) word = random();
    Instruction in;
    if (!decode(filled, in)) continue;
    ++valid;
    EXPECT_LE(in.size, filled.size() * 4);
    EXPECT_FALSE(disassemble(in, 0).empty());
  }
  EXPECT_GT(valid, 50000);
}

}  // namespace
}  // namespace outboard::hardware::amd::rdna3
