#include "simulator/card/ih.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/osssys.h"
#include "simulator/card/test_bench.h"

namespace outboard::simulator::card {
namespace {

using testing::Bench;
namespace oss = hardware::amd::navi31::osssys;
namespace ih = hardware::amd::navi31::ih;

Interrupts::Entry numbered(uint32_t number) {
  Interrupts::Entry entry;
  entry.client = 0x14;
  entry.source = 0xb5;
  entry.ring = 0x25;
  entry.vmid = 3;
  entry.pasid = 0x8001;
  entry.context = {number, 2, 3, 4};
  return entry;
}

TEST(Interrupts, EntryHasTheDriversLayout) {
  Bench bench;
  bench.start_interrupts();
  bench.board.interrupts->raise(numbered(77));
  const auto words = bench.entry(0);
  // amdkfd/soc15_int.h, spelled out: this must not go through the table that the card uses.
  EXPECT_EQ(words[0] & 0xff, 0x14u);
  EXPECT_EQ(words[0] >> 8 & 0xff, 0xb5u);
  EXPECT_EQ(words[0] >> 16 & 0xff, 0x25u);
  EXPECT_EQ(words[0] >> 24 & 0xf, 3u);
  EXPECT_EQ(words[3] & 0xffff, 0x8001u);
  EXPECT_EQ(words[4], 77u);
  EXPECT_EQ(words[7], 4u);
  EXPECT_EQ(bench.interrupt_count(), 1u);
}

TEST(Interrupts, RingWrapsAndOverflows) {
  Bench bench;
  bench.start_interrupts();
  for (uint32_t i = 0; i < 7; ++i) bench.board.interrupts->raise(numbered(i));
  EXPECT_EQ(oss::IH_RB_WPTR::RB_OVERFLOW.get(bench.get<oss::IH_RB_WPTR>()), 0u);
  bench.set<oss::IH_RB_RPTR>(2 * 32);
  bench.board.interrupts->raise(numbered(7));
  bench.board.interrupts->raise(numbered(8));
  EXPECT_EQ(bench.entry(0)[4], 8u);
  EXPECT_EQ(oss::IH_RB_WPTR::RB_OVERFLOW.get(bench.get<oss::IH_RB_WPTR>()), 0u);
  bench.board.interrupts->raise(numbered(9));
  EXPECT_EQ(oss::IH_RB_WPTR::RB_OVERFLOW.get(bench.get<oss::IH_RB_WPTR>()), 1u);
  bench.set<oss::IH_RB_CNTL>(bench.get<oss::IH_RB_CNTL>() |
                             oss::IH_RB_CNTL::WPTR_OVERFLOW_CLEAR(1));
  EXPECT_EQ(oss::IH_RB_WPTR::RB_OVERFLOW.get(bench.get<oss::IH_RB_WPTR>()), 0u);
}

TEST(Interrupts, WritePointerIsCopiedToMemory) {
  Bench bench;
  bench.start_interrupts();
  bench.set<oss::IH_RB_CNTL>(bench.get<oss::IH_RB_CNTL>() |
                             oss::IH_RB_CNTL::WPTR_WRITEBACK_ENABLE(1));
  bench.set<oss::IH_RB_WPTR_ADDR_LO>(testing::low(Bench::mc(0x3000)));
  bench.set<oss::IH_RB_WPTR_ADDR_HI>(testing::high(Bench::mc(0x3000)));
  bench.board.interrupts->raise(numbered(1));
  EXPECT_EQ(bench.vram<uint32_t>(0x3000), 32u);
}

TEST(Interrupts, NothingIsWrittenWhileTheRingIsOff) {
  Bench bench;
  bench.board.interrupts->raise(numbered(1));
  EXPECT_EQ(bench.get<oss::IH_RB_WPTR>(), 0u);
  EXPECT_EQ(bench.errors(), "");
}

TEST(Interrupts, RingOutsideMemoryIsAnError) {
  Bench bench;
  bench.start_interrupts();
  bench.set<oss::IH_RB_BASE>(0);
  bench.board.interrupts->raise(numbered(1));
  EXPECT_THAT(bench.errors(), ::testing::HasSubstr("no memory of the card"));
}

// A ring size beyond what the pointers reach once divided by zero.
TEST(Interrupts, SizeIsBounded) {
  Bench bench;
  bench.start_interrupts();
  for (const uint32_t size : {0u, 16u, 30u, 31u}) {
    bench.set<oss::IH_RB_CNTL>(oss::IH_RB_CNTL::RB_ENABLE(1) | oss::IH_RB_CNTL::RB_SIZE(size));
    bench.board.interrupts->raise(numbered(size));
  }
  EXPECT_EQ(bench.board.counters.interrupts, 4u);
}

TEST(Interrupts, CanBeLost) {
  CardOptions options = testing::small_card();
  options.faults = FaultPlan::parse(R"([{"what": "ih.lost-interrupt", "count": 1}])", "test");
  Bench bench(options);
  bench.start_interrupts();
  bench.board.interrupts->raise(numbered(1));
  EXPECT_EQ(bench.interrupt_count(), 0u);
  bench.board.interrupts->raise(numbered(2));
  EXPECT_EQ(bench.interrupt_count(), 1u);
}

}  // namespace
}  // namespace outboard::simulator::card
