// Mistakes in command streams that only show in caches and order: each is named, and its right twin
// passes. Mistakes in kernels: tests/simulator/test_strict.py; in a driver: the tests of each
// block.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hardware/amd/navi31/pm4.h"
#include "simulator/card/test_bench.h"

namespace outboard::simulator::card {
namespace {

using testing::Bench;
using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using testing::high;
using ::testing::IsEmpty;
using testing::low;
using testing::packet;
namespace gc = hardware::amd::navi31::gc;
namespace pm4 = hardware::amd::navi31::pm4;
using Words = std::vector<uint32_t>;

constexpr uint64_t kBuffer = value(Board::kFbBase) + Bench::kScratch;
constexpr uint64_t kCode = Bench::kScratch + 0x10000;  // in VRAM

// v_lshlrev_b32 v1, 2, v0; global_store_b32 v1, v0, s[0:1]; s_endpgm
const Words kWriter = {0x30020082, 0xdc6a0000, 0x00000001, 0xbfb00000};
// v_lshlrev_b32 v1, 2, v0; global_load_b32 v2, v1, s[0:1]; s_waitcnt vmcnt(0); s_endpgm
const Words kReader = {0x30020082, 0xdc520000, 0x02000001, 0xbf8903f7, 0xbfb00000};
// s_load_b32 s2, s[0:1], null; s_waitcnt lgkmcnt(0); s_endpgm
const Words kScalarReader = {0xf4000080, 0xf8000000, 0xbf89fc07, 0xbfb00000};
// s_nop 0; s_endpgm, and s_nop 1; s_endpgm
const Words kIdle = {0xbf800000, 0xbfb00000};
constexpr uint32_t kOtherNop = 0xbf800001;

enum Program : uint32_t { kWrite, kRead, kReadScalar, kNothing };

Words set_sh(uint32_t address, Words values) {
  values.insert(values.begin(), address - pm4::SET_SH_REG_START);
  return packet(pm4::SET_SH_REG, values);
}

constexpr uint32_t kUserSgprs = 16;  // as many as gfx1100 wants loaded

Words dispatch(Program program, uint32_t sgprs = kUserSgprs) {
  constexpr uint32_t kInitiator = 1 | 1 << 2 | 1 << 15;  // enabled, from workgroup 0, waves of 32
  const uint64_t address = value(Board::kFbBase) + kCode + program * 0x1000;
  Words out = set_sh(gc::COMPUTE_PGM_LO::kAddress, {low(address >> 8), high(address >> 8)});
  const auto add = [&](const Words& more) { out.insert(out.end(), more.begin(), more.end()); };
  add(set_sh(gc::COMPUTE_PGM_RSRC1::kAddress, {0, sgprs << 1}));  // 8 VGPRs
  add(set_sh(gc::COMPUTE_NUM_THREAD_X::kAddress, {32, 1, 1}));
  Words user(kUserSgprs);
  user[0] = low(kBuffer);
  user[1] = high(kBuffer);
  add(set_sh(gc::COMPUTE_USER_DATA_0::kAddress, user));
  add(packet(pm4::DISPATCH_DIRECT, {1, 1, 1, kInitiator}));
  return out;
}

Words flush() { return packet(pm4::EVENT_WRITE, {7 | 4 << 8}); }  // CS_PARTIAL_FLUSH

constexpr uint32_t kInstructions = 1 << 0, kScalar = 1 << 7, kVector = 1 << 8, kL1 = 1 << 9;
Words acquire(uint32_t caches) { return packet(pm4::ACQUIRE_MEM, {0, ~0U, 0xff, 0, 0, 0, caches}); }

Words write_data(uint64_t address, uint32_t value) {
  return packet(pm4::WRITE_DATA, {5 << 8, low(address), high(address), value});
}

struct Case {
  const char* name;
  const char* rule;
  std::vector<Words> before;  // the stream up to where something is forgotten ...
  Words forgotten;            // ... what it is ...
  std::vector<Words> after;   // ... and how it goes on
};

std::vector<Case> cases() {
  const uint64_t code = value(Board::kFbBase) + kCode + kNothing * 0x1000;
  return {
      {"ReadWithoutBarrier",
       "missing-barrier",
       {dispatch(kWrite)},
       flush(),
       {acquire(kScalar | kVector | kL1), dispatch(kRead)}},
      {"OverwriteWithoutBarrier",
       "missing-barrier",
       {dispatch(kWrite)},
       flush(),
       {dispatch(kWrite)}},
      {"OverwriteWhatIsStillRead",
       "missing-barrier",
       {dispatch(kRead)},
       flush(),
       {dispatch(kWrite)}},
      {"ScalarReadWithoutBarrier",
       "missing-barrier",
       {dispatch(kWrite)},
       flush(),
       {acquire(kScalar | kVector | kL1), dispatch(kReadScalar)}},
      {"VectorCachesKeepOldLines",
       "stale-vector-cache",
       {dispatch(kWrite), flush()},
       acquire(kVector | kL1),
       {dispatch(kRead)}},
      {"OnlyTheFirstLevelInvalidated",
       "stale-vector-cache",
       {dispatch(kWrite), flush(), acquire(kVector)},
       acquire(kVector | kL1),
       {dispatch(kRead)}},
      {"ScalarCacheKeepsOldLines",
       "stale-scalar-cache",
       {dispatch(kWrite), flush(), acquire(kVector | kL1)},
       acquire(kScalar),
       {dispatch(kReadScalar)}},
      {"InvalidatedBeforeTheBarrier",
       "stale-vector-cache",
       {dispatch(kWrite), acquire(kVector | kL1), flush()},
       acquire(kVector | kL1),
       {dispatch(kRead)}},
      {"WhatTheProcessorWroteIsNotInvalidated",
       "stale-vector-cache",
       {dispatch(kRead), flush(), write_data(kBuffer, 7)},
       acquire(kVector | kL1),
       {dispatch(kRead)}},
      {"InstructionCacheKeepsOldCode",
       "stale-instruction-cache",
       {dispatch(kNothing), flush(), write_data(code, kOtherNop)},
       acquire(kInstructions),
       {dispatch(kNothing)}},
  };
}

class StreamMistake : public ::testing::TestWithParam<Case> {
 protected:
  // The rules that a stream breaks.
  std::vector<compute::Violation> run(bool forget) {
    CardOptions options = testing::small_card();
    options.strict = true;
    Bench bench(options);
    bench.load_firmware();
    bench.start_compute_queue();
    const std::vector<Words> programs = {kWriter, kReader, kScalarReader, kIdle};
    for (size_t p = 0; p < programs.size(); ++p) bench.set_vram(kCode + p * 0x1000, programs[p]);
    const auto submit = [&](const std::vector<Words>& stream) {
      for (const Words& part : stream) bench.submit({part});
    };
    submit(GetParam().before);
    if (!forget) bench.submit({GetParam().forgotten});
    submit(GetParam().after);
    EXPECT_EQ(bench.errors(), "");
    return bench.board.compute->violations();
  }
};

TEST_P(StreamMistake, IsNamedAndItsTwinPasses) {
  EXPECT_THAT(run(true), Contains(Field(&compute::Violation::rule, GetParam().rule)));
  const auto right = run(false);
  EXPECT_THAT(right, IsEmpty()) << right.front().text();
}

// No more packets are forgotten here, but a number is too small.
TEST(LaunchMistake, TooFewInitialSgprs) {
  for (const uint32_t sgprs : {kUserSgprs - 1, kUserSgprs}) {
    CardOptions options = testing::small_card();
    options.strict = true;
    Bench bench(options);
    bench.load_firmware();
    bench.start_compute_queue();
    bench.set_vram(kCode + kNothing * 0x1000, kIdle);
    bench.submit({dispatch(kNothing, sgprs)});
    EXPECT_EQ(bench.errors(), "");
    EXPECT_EQ(bench.board.compute->violation_count(), sgprs < kUserSgprs ? 1U : 0U);
    for (const compute::Violation& violation : bench.board.compute->violations())
      EXPECT_EQ(violation.rule, "few-initial-sgprs");
  }
}

INSTANTIATE_TEST_SUITE_P(Every, StreamMistake, ::testing::ValuesIn(cases()),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace outboard::simulator::card
