// The packets of the compute queues, one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/nbio.h"
#include "simulator/card/atomics.h"
#include "simulator/card/mec.h"
#include "simulator/card/mec_test_bench.h"

namespace outboard::simulator::card::testing {
namespace {

using ::testing::HasSubstr;
namespace nb = hardware::amd::navi31::nbio;

std::vector<uint32_t> release_mem(uint64_t address, uint64_t value, uint32_t data_sel,
                                  uint32_t int_sel = 0) {
  return packet(pm4::RELEASE_MEM, {0x14 | 5 << 8, data_sel << 29 | int_sel << 24, low(address),
                                   high(address), low(value), high(value), 0x77});
}

TEST_F(MecTest, OneDwordFillers) {
  bench.submit({{0xffff1000}, {0x80000000}, write_data(kAddress, 3)});
  EXPECT_EQ(data(), 3u);
}

TEST_F(MecTest, SetShAndUconfigRegisters) {
  const uint32_t user = gc::COMPUTE_USER_DATA_0::kAddress - pm4::SET_SH_REG_START;
  const uint32_t scratch = gc::SCRATCH_REG0::kAddress;
  bench.submit({packet(pm4::SET_SH_REG, {user, 11, 12}),
                packet(pm4::SET_UCONFIG_REG, {scratch - pm4::SET_UCONFIG_REG_START, 13})});
  const SelectionGuard queue(bench.board.registers, {1, 0, 0, 0});
  EXPECT_EQ(bench.board.registers.get<gc::COMPUTE_USER_DATA_0>(), 11u);
  EXPECT_EQ(bench.board.registers.get<gc::COMPUTE_USER_DATA_1>(), 12u);
  EXPECT_EQ(bench.board.registers.get<gc::SCRATCH_REG0>(), 13u);
}

TEST_F(MecTest, RegistersOutsideTheRangeHang) {
  bench.submit({packet(pm4::SET_SH_REG, {0x3ff, 1, 2})});
  EXPECT_THAT(bench.errors(), HasSubstr("outside"));
}

TEST_F(MecTest, IndirectBuffersNestAndChain) {
  const uint64_t first = kData + 0x1000, second = kData + 0x2000, chained = kData + 0x3000;
  const auto ib = [](uint64_t place, uint32_t size, uint32_t flags) {
    return packet(pm4::INDIRECT_BUFFER,
                  {low(Bench::mc(place)), high(Bench::mc(place)), size | 1 << 23 | flags});
  };
  std::vector<uint32_t> outer = write_data(kAddress, 1);
  const auto inner = ib(second, 5, 0);
  outer.insert(outer.end(), inner.begin(), inner.end());
  const auto jump = ib(chained, 5, 1 << 20);
  outer.insert(outer.end(), jump.begin(), jump.end());
  const auto never = write_data(kAddress + 12, 9);
  outer.insert(outer.end(), never.begin(), never.end());
  bench.set_vram(first, outer);
  bench.set_vram(second, write_data(kAddress + 4, 2));
  bench.set_vram(chained, write_data(kAddress + 8, 3));
  bench.submit({ib(first, static_cast<uint32_t>(outer.size()), 0), write_data(kAddress + 16, 4)});
  EXPECT_EQ(data(0), 1u);
  EXPECT_EQ(data(4), 2u);
  EXPECT_EQ(data(8), 3u);
  EXPECT_EQ(data(12), 0u);
  EXPECT_EQ(data(16), 4u);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(MecTest, IndirectBufferNeedsItsValidBit) {
  bench.submit({packet(pm4::INDIRECT_BUFFER, {low(kAddress), high(kAddress), 4})});
  EXPECT_THAT(bench.errors(), HasSubstr("valid bit"));
}

TEST_F(MecTest, PacketOverTheEndOfItsBufferHangs) {
  bench.set_vram(kData, packet(pm4::NOP, {0, 0, 0}));
  bench.submit({packet(pm4::INDIRECT_BUFFER, {low(kAddress), high(kAddress), 2 | 1 << 23})});
  EXPECT_THAT(bench.errors(), HasSubstr("runs over the end of its buffer"));
}

TEST_F(MecTest, UnknownPacketHangsAndSaysWhere) {
  bench.submit({packet(pm4::NOP, {0}), packet(0xee, {0}), write_data(kAddress, 1)});
  EXPECT_EQ(data(), 0u);
  EXPECT_THAT(bench.errors(), HasSubstr("queue 1.0.0, ring dword 0x2"));
  EXPECT_THAT(bench.errors(), HasSubstr("unknown opcode 0xee"));
  const auto entry = bench.entry(0);
  EXPECT_EQ(hardware::amd::navi31::ih::Entry::SOURCE_ID.get(entry.data()),
            hardware::amd::navi31::ih::GFX_11_0_0__SRCID__CP_BAD_OPCODE_ERROR);
}

TEST_F(MecTest, ZerosAreNoPacket) {
  bench.submit({{0, 0}});
  EXPECT_THAT(bench.errors(), HasSubstr("no packet header"));
}

TEST_F(MecTest, ShortPacketHangs) {
  bench.submit({packet(pm4::RELEASE_MEM, {0, 0})});
  EXPECT_THAT(bench.errors(), HasSubstr("RELEASE_MEM of 3 dwords, it takes 8"));
}

TEST_F(MecTest, HalfAPacketWaitsForTheRest) {
  bench.submit({{write_data(kAddress, 5)[0]}});
  EXPECT_THAT(bench.errors(), HasSubstr("write pointer is 1 dwords ahead"));
  const auto whole = write_data(kAddress, 5);
  bench.submit({std::vector<uint32_t>(whole.begin() + 1, whole.end())});
  EXPECT_EQ(data(), 5u);
}

TEST_F(MecTest, ReleaseMemWritesData) {
  bench.set_vram<uint64_t>(kData, ~0ull);
  bench.submit({release_mem(kAddress, 0x1111222233334444, 1),
                release_mem(kAddress + 8, 0x1111222233334444, 2),
                release_mem(kAddress + 16, 0, 3)});
  EXPECT_EQ(bench.vram<uint64_t>(kData), 0xffffffff33334444u);
  EXPECT_EQ(bench.vram<uint64_t>(kData + 8), 0x1111222233334444u);
  const auto first = bench.vram<uint64_t>(kData + 16);
  bench.submit({release_mem(kAddress + 16, 0, 3)});
  EXPECT_GE(bench.vram<uint64_t>(kData + 16), first);
  EXPECT_LT(first, 100000000ull * 60);  // 100 MHz since power-on, not the host's clock
}

TEST_F(MecTest, ReleaseMemInterruptsWhenEnabled) {
  bench.submit({release_mem(kAddress, 1, 1, 2)});
  EXPECT_EQ(bench.interrupt_count(), 0u);
  bench.set<gc::CP_ME1_PIPE0_INT_CNTL>(gc::CP_ME1_PIPE0_INT_CNTL::TIME_STAMP_INT_ENABLE(1));
  bench.submit({release_mem(kAddress, 1, 1, 2)});
  ASSERT_EQ(bench.interrupt_count(), 1u);
  using Entry = hardware::amd::navi31::ih::Entry;
  EXPECT_EQ(Entry::SOURCE_ID.get(bench.entry(0).data()),
            hardware::amd::navi31::ih::GFX_11_0_0__SRCID__CP_EOP_INTERRUPT);
  EXPECT_EQ(Entry::CONTEXT_ID0.get(bench.entry(0).data()), 0x77u);
  EXPECT_EQ(Entry::RING_ID.get(bench.entry(0).data()), 1u << 2);  // micro engine 1
}

TEST_F(MecTest, ReleaseMemNeedsAnEndOfPipeBuffer) {
  bench.set<gc::GRBM_GFX_CNTL>(gc::GRBM_GFX_CNTL::MEID(1));
  bench.set<gc::CP_HQD_EOP_BASE_ADDR>(0);
  bench.set<gc::CP_HQD_EOP_BASE_ADDR_HI>(0);
  bench.submit({release_mem(kAddress, 1, 1)});
  EXPECT_THAT(bench.errors(), HasSubstr("without an end-of-pipe buffer"));
}

TEST_F(MecTest, ReleaseMemMustBeAligned) {
  bench.submit({release_mem(kAddress + 4, 1, 2)});
  EXPECT_THAT(bench.errors(), HasSubstr("RELEASE_MEM writes 8 bytes"));
}

TEST_F(MecTest, WaitsOnMemory) {
  bench.submit({wait_mem(kAddress, 5, 3), write_data(kAddress + 4, 1)});
  EXPECT_EQ(data(4), 0u);
  bench.set_vram<uint32_t>(kData, 2);
  bench.run();
  EXPECT_EQ(data(4), 0u);
  bench.set_vram<uint32_t>(kData, 4);
  bench.run();
  EXPECT_EQ(data(4), 1u);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(MecTest, WaitFunctionsAndMask) {
  bench.set_vram<uint32_t>(kData, 0xf5);
  for (const auto& [function, reference] :
       std::map<uint32_t, uint32_t>{{0, 9}, {1, 6}, {2, 5}, {3, 5}, {4, 6}, {5, 5}, {6, 4}}) {
    bench.submit(
        {wait_mem(kAddress, function, reference, 0xf), write_data(kAddress + 4, function + 1)});
    EXPECT_EQ(data(4), function + 1);
  }
  bench.submit({wait_mem(kAddress, 7, 0)});
  EXPECT_THAT(bench.errors(), HasSubstr("unknown function"));
}

TEST_F(MecTest, WaitsOnRegistersAndFlushesHdp) {
  bench.board.vram.mark_unflushed(VramOffset{0}, 4);
  bench.submit(
      {packet(pm4::WAIT_REG_MEM, {5 | 1 << 6, nb::BIF_BX_PF0_GPU_HDP_FLUSH_REQ::kAddress,
                                  nb::BIF_BX_PF0_GPU_HDP_FLUSH_DONE::kAddress, ~0u, ~0u, 4}),
       write_data(kAddress, 1)});
  EXPECT_EQ(data(), 1u);
  EXPECT_FALSE(bench.board.vram.is_unflushed(VramOffset{0}, 4));
  bench.submit({packet(pm4::WAIT_REG_MEM, {3, gc::SCRATCH_REG0::kAddress, 0, 7, ~0u, 4}),
                write_data(kAddress, 2)});
  EXPECT_EQ(data(), 1u);
  bench.set<gc::SCRATCH_REG0>(7);
  bench.run();
  EXPECT_EQ(data(), 2u);
}

TEST_F(MecTest, WriteDataToMemoryAndRegisters) {
  bench.submit(
      {packet(pm4::WRITE_DATA, {2 << 8, low(kAddress), high(kAddress), 1, 2, 3}),
       packet(pm4::WRITE_DATA, {1 << 8 | 1 << 16, low(kAddress + 16), high(kAddress), 4, 5}),
       packet(pm4::WRITE_DATA, {0, gc::SCRATCH_REG1::kAddress, 0, 6})});
  EXPECT_EQ(data(0), 1u);
  EXPECT_EQ(data(8), 3u);
  EXPECT_EQ(data(16), 5u);
  EXPECT_EQ(data(20), 0u);
  EXPECT_EQ(bench.get<gc::SCRATCH_REG1>(), 6u);
}

TEST_F(MecTest, CopyData) {
  bench.set_vram<uint64_t>(kData, 0x123456789abcdef0);
  bench.set<gc::SCRATCH_REG0>(0x55);
  const auto copy = [](uint32_t from, uint32_t to, bool wide, uint64_t source, uint64_t target) {
    return packet(pm4::COPY_DATA, {from | to << 8 | (wide ? 1u : 0u) << 16, low(source),
                                   high(source), low(target), high(target)});
  };
  bench.submit(
      {copy(2, 2, true, kAddress, kAddress + 8), copy(1, 5, false, kAddress, kAddress + 16),
       copy(0, 2, false, gc::SCRATCH_REG0::kAddress, kAddress + 24),
       copy(5, 2, true, 0x1122334455667788, kAddress + 32), copy(9, 2, true, 0, kAddress + 40),
       copy(5, 0, false, 0x66, gc::SCRATCH_REG1::kAddress)});
  EXPECT_EQ(bench.vram<uint64_t>(kData + 8), 0x123456789abcdef0u);
  EXPECT_EQ(bench.vram<uint64_t>(kData + 16), 0x9abcdef0u);
  EXPECT_EQ(data(24), 0x55u);
  EXPECT_EQ(bench.vram<uint64_t>(kData + 32), 0x1122334455667788u);
  EXPECT_NE(bench.vram<uint64_t>(kData + 40), 0u);
  EXPECT_EQ(bench.get<gc::SCRATCH_REG1>(), 0x66u);
  bench.submit({copy(3, 2, false, 0, kAddress)});
  EXPECT_THAT(bench.errors(), HasSubstr("COPY_DATA from source 3"));
}

TEST_F(MecTest, CondExecSkips) {
  bench.submit({packet(pm4::COND_EXEC, {low(kAddress), high(kAddress), 0, 5}),
                write_data(kAddress + 4, 1), write_data(kAddress + 8, 2)});
  EXPECT_EQ(data(4), 0u);
  EXPECT_EQ(data(8), 2u);
  bench.set_vram<uint32_t>(kData, 1);
  bench.submit(
      {packet(pm4::COND_EXEC, {low(kAddress), high(kAddress), 0, 5}), write_data(kAddress + 4, 1)});
  EXPECT_EQ(data(4), 1u);
}

TEST_F(MecTest, PredExecIsForOtherDies) {
  bench.submit({packet(pm4::PRED_EXEC, {2u << 24 | 5}), write_data(kAddress, 1),
                packet(pm4::PRED_EXEC, {1u << 24 | 5}), write_data(kAddress + 4, 2)});
  EXPECT_EQ(data(0), 0u);
  EXPECT_EQ(data(4), 2u);
}

TEST_F(MecTest, DmaDataCopiesAndFills) {
  bench.set_vram(kData, std::vector<uint32_t>{1, 2, 3, 4});
  bench.submit(
      {packet(pm4::DMA_DATA,
              {0, low(kAddress), high(kAddress), low(kAddress + 64), high(kAddress), 16}),
       packet(pm4::DMA_DATA, {2u << 29, 0xabcdef01, 0, low(kAddress + 128), high(kAddress), 12})});
  EXPECT_EQ(data(76), 4u);
  EXPECT_EQ(data(136), 0xabcdef01u);
  EXPECT_EQ(data(140), 0u);
}

TEST_F(MecTest, AtomicMem) {
  bench.set_vram<uint32_t>(kData, 5);
  const auto atomic = [](uint32_t operation, uint32_t command, uint64_t source, uint64_t compared) {
    return packet(pm4::ATOMIC_MEM, {operation | command << 8, low(kAddress), high(kAddress),
                                    low(source), high(source), low(compared), high(compared), 0});
  };
  bench.submit({atomic(pm4::TC_OP_ATOMIC_ADD_32, 0, 3, 0)});
  EXPECT_EQ(data(), 8u);
  // Loops until the comparand is found.
  bench.submit({atomic(pm4::TC_OP_ATOMIC_CMPSWAP_RTN_32, 1, 1, 99), write_data(kAddress + 4, 7)});
  EXPECT_EQ(data(4), 0u);
  bench.set_vram<uint32_t>(kData, 99);
  bench.run();
  EXPECT_EQ(data(), 1u);
  EXPECT_EQ(data(4), 7u);
}

TEST(Atomics, EveryOperation) {
  const auto apply = [](uint32_t operation, uint64_t memory, uint64_t source,
                        uint64_t compared = 0) {
    return apply_atomic(operation, memory, source, compared)->value;
  };
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_SWAP_32, 1, 2), 2u);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_SUB_32, 1, 2), 0xffffffffu);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_SUB_64, 1, 2), ~0ull);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_SMIN_32, 0xffffffff, 1), 0xffffffffu);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_UMIN_32, 0xffffffff, 1), 1u);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_SMAX_32, 0xffffffff, 1), 1u);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_UMAX_64, ~0ull, 1), ~0ull);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_AND_32, 6, 3), 2u);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_OR_32, 6, 3), 7u);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_XOR_32, 6, 3), 5u);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_INC_32, 3, 3), 0u);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_INC_32, 2, 3), 3u);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_DEC_32, 0, 3), 3u);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_DEC_32, 2, 3), 1u);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_CMPSWAP_RTN_64, 4, 9, 4), 9u);
  EXPECT_EQ(apply(pm4::TC_OP_ATOMIC_CMPSWAP_RTN_64, 4, 9, 5), 4u);
  EXPECT_FALSE(apply_atomic(0, 0, 0, 0).has_value());
}

}  // namespace
}  // namespace outboard::simulator::card::testing
