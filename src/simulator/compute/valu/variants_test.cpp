// The vector ALU is compiled for several sets of host instructions; all must give the same bits.
#include <gtest/gtest.h>

#include "simulator/compute/valu/fixture.h"

namespace outboard::simulator::compute {
namespace {

using namespace test;

constexpr size_t kTrials = 4;  // inputs for each instruction and mode

struct Outcome {
  std::vector<uint32_t> registers;
  std::array<uint32_t, 4> masks{};
  bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(Machine& m) {
  Outcome out;
  for (int r = 0; r < kSourceStride; ++r) {
    for (uint32_t lane = 0; lane < 2 * kLanes; ++lane) out.registers.push_back(m.word(r, lane));
  }
  out.masks = {m.wave.sgpr[kMaskDestination], m.wave.sgpr[kMaskDestination + 1],
               m.wave.sgpr[code::kExecLo], m.wave.sgpr[code::kExecHi]};
  return out;
}

void randomize(Machine& m, uint32_t seed) {
  std::mt19937 random(seed);
  for (int r = 0; r < kSourceStride * 4; ++r) {
    for (uint32_t lane = 0; lane < 2 * kLanes; ++lane) m.word(r, lane) = edge_word(random);
  }
  for (uint16_t s = 0; s < 40; ++s) m.wave.sgpr[s] = edge_word(random);
  m.wave.sgpr[code::kVccLo] = static_cast<uint32_t>(random());
  m.wave.sgpr[code::kVccHi] = static_cast<uint32_t>(random());
}

// All that the lane-by-lane tables name, wherever it is encoded.
std::vector<Instruction> all_instructions() {
  std::vector<Instruction> out;
  for (const valu::Entry& entry : valu::scalar_table().entries) {
    if (entry.variant != 0) continue;
    const Instruction i = vector_instruction(entry.op);
    if (i.op != Opcode::kInvalid) out.push_back(i);
  }
  return out;
}

void compare_all(const std::vector<Mode>& modes, bool wave64, bool clamp, uint64_t exec) {
  const auto tables = valu::available_tables();
  for (const Instruction& plain : all_instructions()) {
    Instruction i = plain;
    i.clamp = clamp;
    // Signs of factors, where they mean something.
    for (uint8_t signs = 0; signs < 4; ++signs) {
      i.neg_lo = signs;
      if (signs != 0 && i.format != Format::kVop3p) break;
      for (size_t trial = 0; trial < kTrials * modes.size(); ++trial) {
        const size_t mode = trial % modes.size();
        Outcome first;
        for (size_t t = 0; t < tables.size(); ++t) {
          Machine m(wave64);
          m.wave.mode = modes[mode];
          m.wave.set_exec(exec);
          randomize(m, static_cast<uint32_t>(i.op) * 64 + static_cast<uint32_t>(trial));
          ASSERT_TRUE(m.run(i, *tables[t])) << mnemonic(i.op);
          const Outcome outcome = outcome_of(m);
          if (t == 0) first = outcome;
          EXPECT_EQ(outcome == first, true)
              << mnemonic(i.op) << " of " << tables[t]->name << " is not what " << tables[0]->name
              << " gives, mode " << mode << ", signs " << int{signs};
        }
      }
    }
  }
}

TEST(ValuVariants, AllInstructionsAreCovered) { EXPECT_GT(all_instructions().size(), 450U); }

TEST(ValuVariants, SameBitsInTheUsualMode) {
  compare_all({{.ieee = true}}, false, false, ~uint64_t{0});
}
TEST(ValuVariants, SameBitsUnderAPartialMask) {
  compare_all({{.ieee = true}}, false, false, 0x0f35a0c1);
}
TEST(ValuVariants, SameBitsWithClamp) { compare_all({{.ieee = true}}, false, true, ~uint64_t{0}); }
TEST(ValuVariants, SameBitsInWave64) {
  compare_all({{.ieee = true}, {}}, true, false, 0xfff0f0f0123456ff);
}
TEST(ValuVariants, SameBitsInEveryRoundingMode) {
  compare_all({{.round = 0x5, .ieee = true}, {.round = 0xa, .ieee = true}, {.round = 0xf}}, false,
              false, ~uint64_t{0});
}
TEST(ValuVariants, SameBitsWithDenormalsFlushed) {
  compare_all({{.denorm = 0, .ieee = true}, {.denorm = 0x5}, {.denorm = 0xa}}, false, false,
              ~uint64_t{0});
}

}  // namespace
}  // namespace outboard::simulator::compute
