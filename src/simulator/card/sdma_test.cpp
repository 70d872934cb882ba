#include "simulator/card/sdma.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/nbio.h"
#include "hardware/amd/navi31/pm4.h"
#include "hardware/amd/navi31/sdma_packets.h"
#include "simulator/card/test_bench.h"

namespace outboard::simulator::card {
namespace {

using testing::Bench;
using ::testing::HasSubstr;
using testing::high;
using testing::low;
namespace gc = hardware::amd::navi31::gc;
namespace nb = hardware::amd::navi31::nbio;
namespace sd = hardware::amd::navi31::sdma;

constexpr uint64_t kData = Bench::kScratch;
constexpr uint64_t kAddress = value(Board::kFbBase) + kData;

std::vector<uint32_t> copy(uint64_t from, uint64_t to, uint32_t bytes) {
  return {sd::OP_COPY, bytes - 1, 0, low(from), high(from), low(to), high(to)};
}
std::vector<uint32_t> fence(uint64_t address, uint32_t value) {
  return {sd::OP_FENCE, low(address), high(address), value};
}

struct SdmaTest : ::testing::Test {
  explicit SdmaTest(const char* faults = nullptr) : bench(options(faults)) {
    bench.load_firmware();
    bench.start_interrupts();
    bench.start_sdma_queue();
  }
  static CardOptions options(const char* faults) {
    CardOptions result = testing::small_card();
    if (faults != nullptr) result.faults = FaultPlan::parse(faults, "test");
    return result;
  }
  uint32_t data(uint64_t offset = 0) { return bench.vram<uint32_t>(kData + offset); }
  Bench bench;
};

TEST_F(SdmaTest, CopiesAndReportsItsReadPointer) {
  bench.set_vram(kData, std::vector<uint32_t>{1, 2, 3, 4});
  bench.submit_sdma({copy(kAddress, kAddress + 0x100, 14), fence(kAddress + 0x200, 9)});
  EXPECT_EQ(data(0x104), 2u);
  EXPECT_EQ(data(0x10c), 4u & 0xffffu);  // two bytes of the last word
  EXPECT_EQ(data(0x200), 9u);
  EXPECT_EQ(bench.vram<uint64_t>(Bench::kSdmaReport), 11u * 4);
  EXPECT_EQ(bench.board.counters.sdma_bytes, 14u);
  EXPECT_EQ(bench.board.counters.sdma_packets, 2u);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(SdmaTest, RingWraps) {
  for (uint32_t i = 0; i < 60; ++i) bench.submit_sdma({fence(kAddress + i * 4, i + 1)});
  for (uint32_t i = 0; i < 60; ++i) EXPECT_EQ(data(i * 4), i + 1);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(SdmaTest, CopiesBetweenCardAndHost) {
  const auto region = bench.board.system.share(8192, false, 2);
  bench.enable_context(0);
  bench.map(0, 0x10000, value(region->segments()[0].address), Bench::kAllRights | Bench::kSystem);
  bench.map(0, 0x11000, value(region->segments()[1].address), Bench::kAllRights | Bench::kSystem);
  std::memset(region->bytes().data(), 0x5a, 8192);
  bench.submit_sdma({copy(0x10800, kAddress, 0x1000)});
  EXPECT_EQ(data(), 0x5a5a5a5au);
  EXPECT_EQ(data(0xffc), 0x5a5a5a5au);
  EXPECT_EQ(bench.board.counters.dma_read_bytes, 0x1000u);
  bench.set_vram<uint32_t>(kData, 77);
  bench.submit_sdma({copy(kAddress, 0x10000, 4)});
  EXPECT_EQ(std::to_integer<int>(region->bytes()[0]), 77);
  EXPECT_EQ(bench.board.counters.dma_write_bytes, 4u);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(SdmaTest, FaultHangsTheQueue) {
  bench.submit_sdma({copy(0x10000, kAddress, 4), fence(kAddress + 4, 1)});
  EXPECT_EQ(data(4), 0u);
  EXPECT_THAT(bench.errors(), HasSubstr("COPY cannot read 0x10000"));
}

TEST_F(SdmaTest, WritesAndFills) {
  bench.submit_sdma(
      {{sd::OP_WRITE, low(kAddress), high(kAddress), 2, 5, 6, 7},
       {sd::OP_CONST_FILL, low(kAddress + 0x40), high(kAddress), 0xabcd, 15},
       {sd::OP_CONST_FILL | 2u << 30, low(kAddress + 0x80), high(kAddress), 0x1234, 12}});
  EXPECT_EQ(data(8), 7u);
  EXPECT_EQ(data(0x4c), 0xabcdu);
  EXPECT_EQ(data(0x50), 0u);
  EXPECT_EQ(data(0x8c), 0x1234u);
  EXPECT_EQ(data(0x90), 0u);
}

TEST_F(SdmaTest, NopSkipsItsCount) {
  bench.submit_sdma({{sd::OP_NOP | 2 << 16, 0xdead, 0xbeef}, {0}, fence(kAddress, 1)});
  EXPECT_EQ(data(), 1u);
}

TEST_F(SdmaTest, TrapInterrupts) {
  bench.submit_sdma({{sd::OP_TRAP, 0x1234}});
  ASSERT_EQ(bench.interrupt_count(), 1u);
  using Entry = hardware::amd::navi31::ih::Entry;
  EXPECT_EQ(Entry::SOURCE_ID.get(bench.entry(0).data()),
            hardware::amd::navi31::ih::GFX_11_0_0__SRCID__SDMA_TRAP);
  EXPECT_EQ(Entry::CONTEXT_ID0.get(bench.entry(0).data()), 0x1234u);
  bench.set<gc::SDMA0_CNTL>(0);
  bench.submit_sdma({{sd::OP_TRAP, 0x1234}});
  EXPECT_EQ(bench.interrupt_count(), 1u);
}

TEST_F(SdmaTest, PollsMemory) {
  bench.submit_sdma(
      {{sd::OP_POLL_REGMEM | 5u << 28 | 1u << 31, low(kAddress), high(kAddress), 3, ~0u, 0xfff0004},
       fence(kAddress + 4, 1)});
  EXPECT_EQ(data(4), 0u);
  bench.set_vram<uint32_t>(kData, 3);
  bench.run();
  EXPECT_EQ(data(4), 1u);
}

TEST_F(SdmaTest, PollsRegistersAndFlushesHdp) {
  bench.board.vram.mark_unflushed(VramOffset{0}, 4);
  bench.submit_sdma(
      {{sd::OP_POLL_REGMEM | 1u << 26 | 3u << 28, nb::BIF_BX_PF0_GPU_HDP_FLUSH_DONE::kAddress * 4,
        nb::BIF_BX_PF0_GPU_HDP_FLUSH_REQ::kAddress * 4, 1u << 10, 1u << 10, 0xfff0004},
       fence(kAddress, 1)});
  EXPECT_EQ(data(), 1u);
  EXPECT_FALSE(bench.board.vram.is_unflushed(VramOffset{0}, 4));
  bench.submit_sdma({{sd::OP_POLL_REGMEM | 3u << 28, gc::SCRATCH_REG0::kAddress * 4, 0, 5, ~0u, 4},
                     fence(kAddress, 2)});
  EXPECT_EQ(data(), 1u);
  bench.set<gc::SCRATCH_REG0>(5);
  bench.run();
  EXPECT_EQ(data(), 2u);
}

TEST_F(SdmaTest, Timestamps) {
  bench.submit_sdma({{sd::OP_TIMESTAMP | 2 << 8, low(kAddress), high(kAddress)}});
  EXPECT_NE(bench.vram<uint64_t>(kData), 0u);
  bench.submit_sdma({{sd::OP_TIMESTAMP | 2 << 8, low(kAddress + 4), high(kAddress)}});
  EXPECT_THAT(bench.errors(), HasSubstr("TIMESTAMP at"));
}

TEST_F(SdmaTest, IndirectBuffers) {
  bench.set_vram(kData + 0x1000, fence(kAddress, 7));
  bench.submit_sdma({{0},
                     {0},
                     {sd::OP_INDIRECT, low(kAddress + 0x1000), high(kAddress), 4, 0, 0},
                     fence(kAddress + 4, 8)});
  EXPECT_EQ(data(0), 7u);
  EXPECT_EQ(data(4), 8u);
  EXPECT_EQ(bench.errors(), "");
  bench.submit_sdma({{sd::OP_INDIRECT, low(kAddress + 0x1000), high(kAddress), 4, 0, 0}});
  EXPECT_THAT(bench.errors(), HasSubstr("multiple of 8 dwords"));
}

TEST_F(SdmaTest, ConditionalExecution) {
  bench.set_vram<uint32_t>(kData, 1);
  bench.submit_sdma({{sd::OP_COND_EXE, low(kAddress), high(kAddress), 1, 4},
                     fence(kAddress + 4, 1),
                     {sd::OP_COND_EXE, low(kAddress), high(kAddress), 2, 4},
                     fence(kAddress + 8, 1)});
  EXPECT_EQ(data(4), 1u);
  EXPECT_EQ(data(8), 0u);
}

TEST_F(SdmaTest, Atomic) {
  bench.set_vram<uint64_t>(kData, 40);
  const uint32_t header = sd::OP_ATOMIC | hardware::amd::navi31::pm4::TC_OP_ATOMIC_ADD_RTN_64 << 25;
  bench.submit_sdma({{header, low(kAddress), high(kAddress), 2, 1, 0, 0, 0}});
  EXPECT_EQ(bench.vram<uint64_t>(kData), 0x10000002aull);
}

TEST_F(SdmaTest, RegisterWrite) {
  bench.submit_sdma({{sd::OP_SRBM_WRITE | 0xfu << 28, gc::SCRATCH_REG2::kAddress, 6}});
  EXPECT_EQ(bench.get<gc::SCRATCH_REG2>(), 6u);
}

TEST_F(SdmaTest, GcrRequestPasses) {
  bench.submit_sdma({{sd::OP_GCR_REQ, 0, 0, 0, 0}, fence(kAddress, 1)});
  EXPECT_EQ(data(), 1u);
}

TEST_F(SdmaTest, UnknownPacketHangsAndSaysWhere) {
  bench.submit_sdma({{0}, {0x3f}, fence(kAddress, 1)});
  EXPECT_EQ(data(), 0u);
  EXPECT_THAT(bench.errors(),
              HasSubstr("SDMA0 queue 0, ring dword 0x1: packet 0x0000003f has an unknown opcode"));
}

TEST_F(SdmaTest, WritePointerFromMemory) {
  using Control = gc::SDMA0_QUEUE0_RB_CNTL;
  bench.set<gc::SDMA0_QUEUE0_RB_WPTR_POLL_ADDR_LO>(low(kAddress + 0x100));
  bench.set<gc::SDMA0_QUEUE0_RB_WPTR_POLL_ADDR_HI>(high(kAddress));
  bench.set<Control>(bench.get<Control>() | Control::F32_WPTR_POLL_ENABLE(1));
  bench.set_vram(Bench::kSdmaRing, fence(kAddress, 3));
  bench.run();
  EXPECT_EQ(data(), 0u);
  bench.set_vram<uint64_t>(kData + 0x100, 16);
  bench.run();
  EXPECT_EQ(data(), 3u);
}

TEST_F(SdmaTest, SoftResetStopsTheEngine) {
  bench.set<gc::GRBM_SOFT_RESET>(gc::GRBM_SOFT_RESET::SOFT_RESET_SDMA0(1));
  EXPECT_EQ(gc::SDMA0_QUEUE0_RB_CNTL::RB_ENABLE.get(bench.get<gc::SDMA0_QUEUE0_RB_CNTL>()), 0u);
  EXPECT_EQ(gc::SDMA0_F32_CNTL::HALT.get(bench.get<gc::SDMA0_F32_CNTL>()), 1u);
  bench.start_sdma_queue();
  bench.submit_sdma({fence(kAddress, 1)});
  EXPECT_EQ(data(), 1u);
}

TEST_F(SdmaTest, DoorbellMustBeRouted) {
  bench.write(nb::S2A_DOORBELL_ENTRY_2_CTRL::kAddress, 0);
  bench.submit_sdma({fence(kAddress, 1)});
  EXPECT_EQ(data(), 0u);
  EXPECT_THAT(bench.errors(), HasSubstr("is not routed"));
}

TEST(SdmaStart, NeedsFirmware) {
  Bench bench;
  bench.start_sdma_queue();
  EXPECT_THAT(bench.errors(), HasSubstr("before RLC autoload"));
}

struct Hanging : SdmaTest {
  Hanging() : SdmaTest(R"([{"what": "sdma.hang", "skip": 1}])") {}
};
TEST_F(Hanging, SecondPacketNeverRuns) {
  bench.submit_sdma({fence(kAddress, 1), fence(kAddress, 2)});
  EXPECT_EQ(data(), 1u);
  EXPECT_EQ(bench.errors(), "");
}

}  // namespace
}  // namespace outboard::simulator::card
