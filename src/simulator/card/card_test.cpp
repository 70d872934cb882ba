#include "simulator/card/card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/pm4.h"
#include "simulator/card/test_bench.h"

namespace outboard::simulator::card {
namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
namespace gc = hardware::amd::navi31::gc;

CardOptions with_faults(const char* rules) {
  CardOptions options = testing::small_card();
  options.faults = FaultPlan::parse(rules, "test");
  return options;
}

uint32_t read32(Card& card, int bar, uint64_t offset) {
  uint32_t value = 0;
  card.bar_read(bar, link::BarOffset{offset}, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

bool write32(Card& card, int bar, uint64_t offset, uint32_t value) {
  return card.bar_write(bar, link::BarOffset{offset}, std::as_bytes(std::span(&value, 1)));
}

TEST(Card, VramIsSeenThroughBarZero) {
  Card card(testing::small_card());
  EXPECT_TRUE(write32(card, 0, 0x1000, 7));
  EXPECT_EQ(read32(card, 0, 0x1000), 7u);
  EXPECT_EQ(card.counters().mmio_writes[0], 1u);
  EXPECT_EQ(card.counters().mmio_read_bytes[0], 4u);
}

TEST(Card, AccessesBeyondTheBarAreRefused) {
  Card card(testing::small_card());
  const uint64_t end = card.bar(0).size;
  EXPECT_EQ(end, uint64_t{256} << 20);
  EXPECT_FALSE(write32(card, 0, end - 2, 7));
  EXPECT_EQ(read32(card, 0, end), ~0u);
  EXPECT_EQ(read32(card, 1, 0), ~0u);
  EXPECT_EQ(read32(card, -1, 0), ~0u);
  EXPECT_EQ(read32(card, 5, ~0ull), ~0u);
}

// As Linux counts compute units (gfx_v11_0_get_cu_info, with the arrays that are off left out).
TEST(Card, TellsWhatIsFusedOff) {
  using Index = gc::GRBM_GFX_INDEX;
  struct Expected {
    const char* name;
    int wgps;
    uint32_t arrays_off;
  };
  for (const Expected& expected :
       {Expected{"xtx", 48, 0}, Expected{"xt", 42, 0}, Expected{"gre", 40, 0xc00}}) {
    CardOptions options(card_model(expected.name));
    Card card(options);
    const auto reg = [&](uint32_t address) { return read32(card, 5, uint64_t{address} * 4); };
    const uint32_t off = reg(gc::CC_GC_SA_UNIT_DISABLE::kAddress) >> 8;
    EXPECT_EQ(off, expected.arrays_off);
    int wgps = 0;
    for (uint32_t array = 0; array < 12; ++array) {
      write32(card, 5, Index::kAddress * 4,
              Index::SE_INDEX(array / 2) | Index::SA_INDEX(array % 2));
      const uint32_t inactive = reg(gc::CC_GC_SHADER_ARRAY_CONFIG::kAddress) >> 16;
      if ((off >> array & 1) == 0) wgps += std::popcount(~inactive & 0xfU);
    }
    EXPECT_EQ(wgps, expected.wgps) << expected.name;
    EXPECT_EQ(card.options().model->compute_units(), 2U * static_cast<uint32_t>(wgps));
    EXPECT_EQ(card.config_read(8, 1), card.options().model->revision);
    EXPECT_GE(card.bar(0).size, card.options().vram_bytes);
    EXPECT_LT(card.bar(0).size, 2 * card.options().vram_bytes);
    EXPECT_THAT(card.events(), ::testing::IsEmpty());
    write32(card, 5, Index::kAddress * 4, Index::SE_INDEX(6));
    EXPECT_EQ(reg(gc::CC_GC_SHADER_ARRAY_CONFIG::kAddress), 0U);
    EXPECT_THAT(card.events(),
                Contains(Field(&CardEvent::text, HasSubstr("an array that does not exist"))));
  }
}

TEST(Card, RegistersAreWholeWords) {
  Card card(testing::small_card());
  const uint64_t scratch = gc::SCRATCH_REG0::kAddress * 4;
  write32(card, 5, scratch, 0x1234);
  EXPECT_EQ(read32(card, 5, scratch), 0x1234u);
  std::byte byte{};
  card.bar_read(5, link::BarOffset{scratch + 1}, std::span(&byte, 1));
  EXPECT_EQ(byte, std::byte{0xff});
  EXPECT_THAT(card.events(), Contains(Field(&CardEvent::text, HasSubstr("registers are 32-bit"))));
}

TEST(Card, DoorbellsAreFourOrEightBytes) {
  Card card(testing::small_card());
  const std::byte three[3]{};
  card.bar_write(2, link::BarOffset{0}, three);
  EXPECT_THAT(card.events(),
              Contains(Field(&CardEvent::text, HasSubstr("doorbells are 4 or 8 bytes"))));
}

TEST(Card, ClosingTheClientTurnsMemoryOff) {
  Card card(testing::small_card());
  EXPECT_EQ(read32(card, 5, 0xde3 * 4), 240u);
  card.close_client();
  EXPECT_EQ(read32(card, 5, 0xde3 * 4), ~0u);
  card.config_write(4, 6, 2);
  EXPECT_EQ(read32(card, 5, 0xde3 * 4), 240u);
}

TEST(Card, FunctionResetForgetsRegistersAndKeepsBars) {
  Card card(testing::small_card());
  write32(card, 5, gc::SCRATCH_REG0::kAddress * 4, 5);
  card.reset();
  EXPECT_EQ(read32(card, 5, gc::SCRATCH_REG0::kAddress * 4), 0u);
  EXPECT_NE(card.bar(0).address, link::BusAddress{0u});
  EXPECT_EQ(card.counters().resets, 1u);
}

TEST(Card, SharesAndUnshares) {
  Card card(testing::small_card());
  const auto region = card.share(32 << 10, false, 4);
  ASSERT_NE(region, nullptr);
  EXPECT_GE(region->descriptor(), 0);
  EXPECT_EQ(card.counters().system_bytes, 32u << 10);
  card.unshare(region->id());
  EXPECT_EQ(card.share(0, false, 4), nullptr);
}

TEST(Card, LargeWindowIsLargerThanTheMemory) {
  CardOptions options = testing::small_card();
  options.vram_bytes = uint64_t{192} << 20;
  Card card(options);
  EXPECT_EQ(read32(card, 0, uint64_t{200} << 20), ~0u);
  EXPECT_TRUE(write32(card, 0, uint64_t{200} << 20, 1));
  EXPECT_THAT(card.events(), Contains(Field(&CardEvent::text, HasSubstr("beyond the memory"))));
}

TEST(CardFaults, CablePulled) {
  Card card(with_faults(R"([{"what": "bar.all-ones", "skip": 2}])"));
  EXPECT_EQ(read32(card, 5, 0xde3 * 4), 240u);
  write32(card, 0, 0, 1);
  EXPECT_EQ(read32(card, 0, 0), ~0u);
  EXPECT_EQ(card.config_read(0, 2), 0xffffu);
}

TEST(CardFaults, WhatTheHostFinds) {
  EXPECT_EQ(Card(with_faults(R"([{"what": "pci.absent"}])")).config_read(0, 4), ~0u);
  EXPECT_EQ(Card(with_faults(R"([{"what": "pci.audio-function"}])")).config_read(0, 4),
            0xab301002u);
  EXPECT_EQ(Card(with_faults(R"([{"what": "bar.unassigned"}])")).bar(0).address,
            link::BusAddress{0u});
  CardOptions large = with_faults(R"([{"what": "bar.small"}])");
  large.bar0_bytes = uint64_t{32} << 30;
  Card small(large);
  EXPECT_EQ(small.bar(0).size, uint64_t{256} << 20);
  EXPECT_FALSE(small.resize_bar(0));
}

TEST(CardFaults, LeftDirty) {
  Card card(with_faults(R"([{"what": "card.dirty"}])"));
  EXPECT_NE(read32(card, 5, 0x16091 * 4), 0u);  // MP0_SMN_C2PMSG_81: the secure OS runs
  EXPECT_EQ(read32(card, 5, gc::SCRATCH_REG7::kAddress * 4), 0xA0000008u);
  write32(card, 5, gc::GRBM_GFX_CNTL::kAddress * 4, gc::GRBM_GFX_CNTL::MEID(1));
  EXPECT_EQ(read32(card, 5, gc::CP_HQD_ACTIVE::kAddress * 4), 1u);
}

TEST(CardFaults, MemoryError) {
  Card card(with_faults(R"([{"what": "ecc.error", "count": 1}])"));
  const uint64_t control = (0xd20 + 0xfe) * 4;
  EXPECT_EQ(read32(card, 5, control) & 4, 4u);
}

// The engines' thread: a doorbell on one side, a word in memory on the other.
TEST(Card, EnginesRunOnTheirOwn) {
  Card card(with_faults(R"([{"what": "card.dirty"}])"));
  const auto reg = [&](uint32_t address, uint32_t value) {
    write32(card, 5, uint64_t{address} * 4, value);
  };
  using testing::high;
  using testing::low;
  const uint64_t ring = testing::Bench::mc(0x100000);
  reg(0xd20 + 0xc0, 1);  // RCC_DOORBELL_APER_EN
  const uint64_t port2 = uint64_t{0x10400 + 0x4f7642} * 4;
  reg(0x14, low(port2));
  reg(0x15, 1 | 0x200 << 7);
  reg(gc::SDMA0_F32_CNTL::kAddress, 0);
  reg(gc::SDMA0_QUEUE0_RB_BASE::kAddress, low(ring >> 8));
  reg(gc::SDMA0_QUEUE0_RB_BASE_HI::kAddress, high(ring >> 8));
  reg(gc::SDMA0_QUEUE0_DOORBELL_OFFSET::kAddress, 0x200 << 2);
  reg(gc::SDMA0_QUEUE0_DOORBELL::kAddress, 1 << 28);
  reg(gc::SDMA0_QUEUE0_RB_CNTL::kAddress, 1 | 10 << 1);
  const uint64_t target = testing::Bench::mc(0x2000);
  const uint32_t words[] = {8 | 3u << 28 | 1u << 31,
                            low(target + 4),
                            high(target),
                            1,
                            ~0u,
                            4,  // POLL_REGMEM
                            5,
                            low(target),
                            high(target),
                            99};  // FENCE
  card.bar_write(0, link::BarOffset{0x100000}, std::as_bytes(std::span(words)));
  const uint64_t wptr = sizeof words;
  card.bar_write(2, link::BarOffset{0x800}, std::as_bytes(std::span(&wptr, 1)));
  card.settle();
  EXPECT_EQ(read32(card, 0, 0x2000), 0u);
  write32(card, 0, 0x2004, 1);  // no doorbell: the engine looks by itself
  card.settle();
  EXPECT_EQ(read32(card, 0, 0x2000), 99u);
  EXPECT_EQ(card.counters().doorbells, 1u);
}

// A kernel that never ends: the host is still answered, and the queue can be taken down.
TEST(Card, EndlessKernelCanBeStopped) {
  Card card(with_faults(R"([{"what": "card.dirty"}])"));
  const auto reg = [&](uint32_t address, uint32_t value) {
    write32(card, 5, uint64_t{address} * 4, value);
  };
  using testing::high;
  using testing::low;
  using testing::packet;
  namespace pm4 = hardware::amd::navi31::pm4;
  const uint64_t ring = testing::Bench::mc(0x100000), program = testing::Bench::mc(0x200000);
  reg(0xd20 + 0xc0, 1);                              // RCC_DOORBELL_APER_EN
  reg(0x14, low(uint64_t{0x10400 + 0x4f7640} * 4));  // S2A_DOORBELL_ENTRY_0_CTRL
  reg(0x15, 1);
  reg(gc::CP_MEC_RS64_CNTL::kAddress, gc::CP_MEC_RS64_CNTL::MEC_PIPE0_ACTIVE(1));
  reg(gc::CP_MEC_DOORBELL_RANGE_LOWER::kAddress, 0);
  reg(gc::CP_MEC_DOORBELL_RANGE_UPPER::kAddress, 0xf8);
  reg(gc::GRBM_GFX_CNTL::kAddress, gc::GRBM_GFX_CNTL::MEID(1));
  reg(gc::CP_HQD_PERSISTENT_STATE::kAddress, 0);
  reg(gc::CP_HQD_PQ_BASE::kAddress, low(ring >> 8));
  reg(gc::CP_HQD_PQ_BASE_HI::kAddress, high(ring >> 8));
  reg(gc::CP_HQD_PQ_CONTROL::kAddress, gc::CP_HQD_PQ_CONTROL::QUEUE_SIZE(9));
  reg(gc::CP_HQD_PQ_DOORBELL_CONTROL::kAddress, 1u << 30 | 6 << 2);
  reg(gc::CP_HQD_ACTIVE::kAddress, 1);
  write32(card, 0, 0x200000, 0xbfa0ffff);  // s_branch to itself
  std::vector<uint32_t> words;
  const auto sh = [](uint32_t address, std::vector<uint32_t> values) {
    values.insert(values.begin(), address - pm4::SET_SH_REG_START);
    return packet(pm4::SET_SH_REG, values);
  };
  for (const auto& p : {sh(gc::COMPUTE_PGM_LO::kAddress, {low(program >> 8), high(program >> 8)}),
                        sh(gc::COMPUTE_NUM_THREAD_X::kAddress, {32, 1, 1}),
                        packet(pm4::DISPATCH_DIRECT, {1, 1, 1, 1 | 1 << 15})}) {
    words.insert(words.end(), p.begin(), p.end());
  }
  card.bar_write(0, link::BarOffset{0x100000}, std::as_bytes(std::span(words)));
  const uint64_t wptr = words.size();
  card.bar_write(2, link::BarOffset{24}, std::as_bytes(std::span(&wptr, 1)));
  EXPECT_FALSE(card.settle(0.2));
  EXPECT_EQ(read32(card, 5, 0xde3 * 4), 240u);
  EXPECT_EQ(card.counters().compute.dispatches, 0u);
  reg(gc::CP_HQD_DEQUEUE_REQUEST::kAddress, 2);
  EXPECT_EQ(read32(card, 5, gc::CP_HQD_ACTIVE::kAddress * 4), 0u);
  EXPECT_TRUE(card.settle(10));
  EXPECT_THAT(card.events(), ::testing::Not(Contains(Field(&CardEvent::where, "compute"))));
}

}  // namespace
}  // namespace outboard::simulator::card
