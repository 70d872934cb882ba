#include "simulator/card/mec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/mqd.h"
#include "simulator/card/mec_test_bench.h"

namespace outboard::simulator::card::testing {
namespace {

using ::testing::HasSubstr;

TEST_F(MecTest, ReadPointerIsReported) {
  bench.submit({packet(pm4::NOP, {0, 0, 0})});
  EXPECT_EQ(bench.vram<uint32_t>(Bench::kReport), 4u);
  EXPECT_EQ(bench.board.counters.pm4_packets, 1u);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(MecTest, RingWraps) {
  for (uint32_t i = 0; i < 40; ++i) bench.submit({write_data(kAddress + i * 4, i)});
  for (uint32_t i = 0; i < 40; ++i) EXPECT_EQ(data(i * 4), i);
  EXPECT_EQ(bench.vram<uint32_t>(Bench::kReport), 40 * 5 % Bench::kRingDwords);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(MecTest, StatusShowsABusyQueue) {
  using Status = gc::GRBM_STATUS;
  EXPECT_EQ(Status::GUI_ACTIVE.get(bench.get<Status>()), 0u);
  bench.submit({wait_mem(kAddress, 3, 1)});
  EXPECT_EQ(Status::GUI_ACTIVE.get(bench.get<Status>()), 1u);
  bench.set_vram<uint32_t>(kData, 1);
  bench.run();
  EXPECT_EQ(Status::GUI_ACTIVE.get(bench.get<Status>()), 0u);
}

// A program of one instruction, s_endpgm, in VRAM.
struct DispatchTest : MecTest {
  explicit DispatchTest(const char* faults = nullptr) : MecTest(faults) {
    bench.set_vram(kData + 0x1000,
                   std::vector<uint32_t>{0xbfb00000, 0xbf9f0000, 0xbf9f0000, 0xbf9f0000});
  }
  static std::vector<uint32_t> sh(uint32_t address, std::vector<uint32_t> values) {
    values.insert(values.begin(), address - pm4::SET_SH_REG_START);
    return packet(pm4::SET_SH_REG, values);
  }
  std::vector<uint32_t> state() {
    const uint64_t program = kAddress + 0x1000;
    std::vector<uint32_t> all =
        sh(gc::COMPUTE_PGM_LO::kAddress, {low(program >> 8), high(program >> 8)});
    for (const auto& more : {sh(gc::COMPUTE_NUM_THREAD_X::kAddress, {32, 1, 1})})
      all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  static constexpr uint32_t kInitiator = 1 | 1 << 2 | 1 << 15;
};

TEST_F(DispatchTest, RunsWorkgroups) {
  bench.submit({state(), packet(pm4::DISPATCH_DIRECT, {3, 2, 1, kInitiator}),
                packet(pm4::EVENT_WRITE, {7 | 4 << 8}), write_data(kAddress, 1)});
  EXPECT_EQ(bench.errors(), "");
  EXPECT_EQ(data(), 1u);
  EXPECT_EQ(bench.board.compute->counters().workgroups, 6u);
  EXPECT_EQ(bench.board.compute->counters().waves, 6u);
}

TEST_F(DispatchTest, Indirect) {
  bench.set_vram(kData + 0x100, std::vector<uint32_t>{4, 1, 1});
  bench.submit({state(), packet(pm4::DISPATCH_INDIRECT,
                                {low(kAddress + 0x100), high(kAddress), kInitiator})});
  EXPECT_EQ(bench.board.compute->counters().workgroups, 4u);
}

TEST_F(DispatchTest, StartsWhereToldUnlessForced) {
  bench.submit({state(), sh(gc::COMPUTE_START_X::kAddress, {1, 0, 0}),
                packet(pm4::DISPATCH_DIRECT, {4, 1, 1, kInitiator & ~4u}),
                packet(pm4::DISPATCH_DIRECT, {4, 1, 1, kInitiator})});
  EXPECT_EQ(bench.board.compute->counters().workgroups, 3u + 4u);
}

TEST_F(DispatchTest, NoThreadsHang) {
  bench.submit({packet(pm4::DISPATCH_DIRECT, {1, 1, 1, kInitiator})});
  EXPECT_THAT(bench.errors(), HasSubstr("workgroups of no threads"));
}

TEST_F(DispatchTest, NoComputeUnitHangs) {
  std::vector<uint32_t> off = sh(gc::COMPUTE_STATIC_THREAD_MGMT_SE0::kAddress, {0, 0});
  bench.submit({state(), off, sh(gc::COMPUTE_STATIC_THREAD_MGMT_SE2::kAddress, {0, 0}),
                sh(gc::COMPUTE_STATIC_THREAD_MGMT_SE4::kAddress, {0, 0, 0, 0}),
                packet(pm4::DISPATCH_DIRECT, {1, 1, 1, kInitiator})});
  EXPECT_THAT(bench.errors(), HasSubstr("enables no compute unit"));
}

// A GRE has no engine 5: what only that may run never runs.
TEST(DispatchOnSister, AFusedOffEngineHangs) {
  constexpr uint64_t kProgram = kAddress + 0x1000;
  for (const char* name : {"xtx", "gre"}) {
    CardOptions options = small_card();
    options.model = &card_model(name);
    Bench bench(options);
    bench.load_firmware();
    bench.start_compute_queue();
    bench.set_vram(kData + 0x1000, std::vector<uint32_t>{0xbfb00000, 0xbf9f0000});
    bench.submit(
        {DispatchTest::sh(gc::COMPUTE_PGM_LO::kAddress, {low(kProgram >> 8), high(kProgram >> 8)}),
         DispatchTest::sh(gc::COMPUTE_NUM_THREAD_X::kAddress, {32, 1, 1})});
    const std::vector<uint32_t> none(2), last = {0, ~0U};
    bench.submit({DispatchTest::sh(gc::COMPUTE_STATIC_THREAD_MGMT_SE0::kAddress, none),
                  DispatchTest::sh(gc::COMPUTE_STATIC_THREAD_MGMT_SE2::kAddress, none),
                  DispatchTest::sh(gc::COMPUTE_STATIC_THREAD_MGMT_SE4::kAddress, last),
                  packet(pm4::DISPATCH_DIRECT, {1, 1, 1, DispatchTest::kInitiator})});
    EXPECT_EQ(bench.hung(), name == std::string_view("gre"));
  }
}

TEST_F(DispatchTest, OneArraySelectedIsAMistake) {
  bench.set<gc::GRBM_GFX_INDEX>(gc::GRBM_GFX_INDEX::INSTANCE_BROADCAST_WRITES(1));
  bench.submit({state(), packet(pm4::DISPATCH_DIRECT, {1, 1, 1, kInitiator})});
  EXPECT_THAT(bench.errors(), HasSubstr("GRBM_GFX_INDEX selects one shader array"));
}

TEST_F(DispatchTest, IllegalInstructionHangsAndInterrupts) {
  bench.set_vram(kData + 0x1000, std::vector<uint32_t>{0xffffffff, 0xffffffff});
  bench.submit(
      {state(), packet(pm4::DISPATCH_DIRECT, {1, 1, 1, kInitiator}), write_data(kAddress, 1)});
  EXPECT_EQ(data(), 0u);
  EXPECT_THAT(bench.errors(), HasSubstr("the queue hangs"));
  ASSERT_EQ(bench.interrupt_count(), 1u);
  using Entry = hardware::amd::navi31::ih::Entry;
  EXPECT_EQ(Entry::SOURCE_ID.get(bench.entry(0).data()),
            hardware::amd::navi31::ih::GFX_11_0_0__SRCID__SQ_INTERRUPT_ID);
  EXPECT_EQ(bench.entry(0)[4] >> 21 & 0xf, 1u);
  EXPECT_EQ(bench.entry(0)[5] >> 6 & 0x3, 2u);
}

TEST_F(DispatchTest, ProgramThatIsNotMappedFaults) {
  bench.submit({state(), sh(gc::COMPUTE_PGM_LO::kAddress, {0x1000, 0}),
                packet(pm4::DISPATCH_DIRECT, {1, 1, 1, kInitiator})});
  EXPECT_THAT(bench.errors(), HasSubstr("instruction fetch"));
  EXPECT_GT(bench.board.counters.page_faults, 0u);
}

TEST_F(DispatchTest, DescriptorBringsTheUnitsMask) {
  hardware::amd::navi31::mqd::v11_compute_mqd descriptor{};
  descriptor.header = 0xC0310800;
  bench.set_vram(kData + 0x8000, descriptor);  // all masks zero
  bench.set<gc::GRBM_GFX_CNTL>(gc::GRBM_GFX_CNTL::MEID(1));
  bench.set<gc::CP_MQD_BASE_ADDR>(low(kAddress + 0x8000));
  bench.set<gc::CP_MQD_BASE_ADDR_HI>(high(kAddress + 0x8000));
  bench.set<gc::CP_HQD_PERSISTENT_STATE>(1);
  bench.start_compute_queue();
  bench.submit({state(), packet(pm4::DISPATCH_DIRECT, {1, 1, 1, kInitiator})});
  EXPECT_THAT(bench.errors(), HasSubstr("enables no compute unit"));
}

TEST_F(MecTest, DescriptorWithoutItsHeaderIsAnError) {
  bench.set<gc::GRBM_GFX_CNTL>(gc::GRBM_GFX_CNTL::MEID(1));
  bench.set<gc::CP_MQD_BASE_ADDR>(low(kAddress));
  bench.set<gc::CP_MQD_BASE_ADDR_HI>(high(kAddress));
  bench.set<gc::CP_HQD_PERSISTENT_STATE>(1);
  bench.start_compute_queue();
  EXPECT_THAT(bench.errors(), HasSubstr("queue descriptor"));
}

TEST_F(MecTest, DequeueStopsTheQueue) {
  bench.submit({wait_mem(kAddress, 3, 1)});
  bench.set<gc::GRBM_GFX_CNTL>(gc::GRBM_GFX_CNTL::MEID(1));
  EXPECT_EQ(bench.get<gc::CP_HQD_ACTIVE>(), 1u);
  bench.set<gc::CP_HQD_DEQUEUE_REQUEST>(2);
  EXPECT_EQ(bench.get<gc::CP_HQD_ACTIVE>(), 0u);
  bench.set_vram<uint32_t>(kData, 1);
  bench.run();
  bench.board.nbio->doorbell(6, 40);
  EXPECT_THAT(bench.errors(), HasSubstr("belongs to no active queue"));
}

TEST_F(MecTest, DrainAlsoStopsTheQueue) {
  bench.set<gc::GRBM_GFX_CNTL>(gc::GRBM_GFX_CNTL::MEID(1));
  bench.set<gc::CP_HQD_DEQUEUE_REQUEST>(1);
  bench.run();
  EXPECT_EQ(bench.get<gc::CP_HQD_ACTIVE>(), 0u);
}

TEST_F(MecTest, SoftResetNeedsTheEngineStartedAgain) {
  bench.set<gc::GRBM_SOFT_RESET>(gc::GRBM_SOFT_RESET::SOFT_RESET_CPC(1));
  bench.set<gc::GRBM_SOFT_RESET>(0);
  bench.start_compute_queue();
  EXPECT_THAT(bench.errors(), HasSubstr("the MEC does not run"));
  bench.set<gc::CP_MEC_RS64_CNTL>(gc::CP_MEC_RS64_CNTL::MEC_PIPE0_ACTIVE(1));
  bench.start_compute_queue();
  bench.submit({write_data(kAddress, 1)});
  EXPECT_EQ(data(), 1u);
}

// Packets that reset what executes them: the reset comes after the packet.
TEST_F(MecTest, PacketMayResetTheEngine) {
  const auto poke = [](uint32_t address, uint32_t value) {
    return packet(pm4::WRITE_DATA, {0, address, 0, value});
  };
  const auto step = [&] {
    bench.board.begin_step();
    bench.run();
    bench.board.end_step();
  };
  for (const uint32_t word :
       poke(gc::GRBM_SOFT_RESET::kAddress, gc::GRBM_SOFT_RESET::SOFT_RESET_CP(1))) {
    bench.set_vram(Bench::kRing + kept++ * 4, word);
  }
  bench.board.nbio->doorbell(6, kept);
  step();
  EXPECT_EQ(gc::CP_MEC_RS64_CNTL::MEC_HALT.get(bench.get<gc::CP_MEC_RS64_CNTL>()), 1u);

  bench.set<gc::CP_MEC_RS64_CNTL>(gc::CP_MEC_RS64_CNTL::MEC_PIPE0_ACTIVE(1));
  bench.start_compute_queue();
  kept = 0;
  for (const uint32_t word : poke(0x16000 + 0x28b, 2)) {  // MP1_SMN_C2PMSG_75: mode 1 reset
    bench.set_vram(Bench::kRing + kept++ * 4, word);
  }
  bench.board.nbio->doorbell(6, kept);
  step();
  EXPECT_FALSE(bench.board.power.sos_alive);
}

TEST_F(MecTest, DoorbellOutsideTheRangeIsIgnored) {
  bench.set<gc::CP_MEC_DOORBELL_RANGE_UPPER>(0x10);
  bench.submit({write_data(kAddress, 1)});
  EXPECT_EQ(data(), 0u);
  EXPECT_THAT(bench.errors(), HasSubstr("outside the MEC's range"));
}

TEST_F(MecTest, DoorbellMustNotRunOverTheRing) {
  bench.board.nbio->doorbell(6, Bench::kRingDwords + 5);
  EXPECT_THAT(bench.errors(), HasSubstr("runs over packets not yet read"));
}

TEST_F(MecTest, FaultInARingHangsTheQueue) {
  bench.submit({write_data(0x1000, 1)});
  EXPECT_THAT(bench.errors(), HasSubstr("WRITE_DATA cannot write 0x1000"));
}

TEST(MecStart, NeedsFirmware) {
  Bench bench;
  bench.set<gc::CP_MEC_RS64_CNTL>(gc::CP_MEC_RS64_CNTL::MEC_PIPE0_ACTIVE(1));
  EXPECT_THAT(bench.errors(), HasSubstr("before RLC autoload"));
}

struct HangAtPacket : MecTest {
  HangAtPacket() : MecTest(R"([{"what": "mec.queue-hang", "where": "WRITE_DATA", "skip": 1}])") {}
};
TEST_F(HangAtPacket, SecondWriteNeverHappens) {
  bench.submit({write_data(kAddress, 1), write_data(kAddress, 2)});
  EXPECT_EQ(data(), 1u);
  EXPECT_EQ(bench.errors(), "");
}

struct DequeueTimeout : MecTest {
  DequeueTimeout() : MecTest(R"([{"what": "mec.dequeue-timeout"}])") {}
};
TEST_F(DequeueTimeout, QueueStaysActive) {
  bench.set<gc::GRBM_GFX_CNTL>(gc::GRBM_GFX_CNTL::MEID(1));
  bench.set<gc::CP_HQD_DEQUEUE_REQUEST>(2);
  EXPECT_EQ(bench.get<gc::CP_HQD_ACTIVE>(), 1u);
}

}  // namespace
}  // namespace outboard::simulator::card::testing
