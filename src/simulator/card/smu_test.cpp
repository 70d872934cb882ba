#include "simulator/card/smu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hardware/amd/navi31/mp.h"
#include "hardware/amd/navi31/nbio.h"
#include "simulator/card/test_bench.h"

namespace outboard::simulator::card {
namespace {

using testing::Bench;
using ::testing::HasSubstr;
namespace mp = hardware::amd::navi31::mp;
namespace gc = hardware::amd::navi31::gc;
namespace sm = hardware::amd::navi31::smu;
namespace nb = hardware::amd::navi31::nbio;

struct SmuTest : ::testing::Test {
  explicit SmuTest(const char* faults = nullptr) : bench(options(faults)) { bench.load_firmware(); }
  static CardOptions options(const char* faults) {
    CardOptions result = testing::small_card();
    if (faults != nullptr) result.faults = FaultPlan::parse(faults, "test");
    return result;
  }
  uint32_t send(uint32_t message, uint32_t argument = 0) {
    bench.set<mp::MP1_SMN_C2PMSG_90>(0);
    bench.set<mp::MP1_SMN_C2PMSG_82>(argument);
    bench.set<mp::MP1_SMN_C2PMSG_66>(message);
    return bench.get<mp::MP1_SMN_C2PMSG_90>();
  }
  uint32_t argument() { return bench.get<mp::MP1_SMN_C2PMSG_82>(); }
  Bench bench;
};

TEST_F(SmuTest, AnswersTestMessage) {
  EXPECT_EQ(send(sm::PPSMC_MSG_TestMessage, 41), sm::PPSMC_Result_OK);
  EXPECT_EQ(argument(), 42u);
  EXPECT_EQ(send(sm::PPSMC_MSG_GetSmuVersion), sm::PPSMC_Result_OK);
  EXPECT_NE(argument(), 0u);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(SmuTest, IsSilentWithoutFirmware) {
  Bench cold;
  cold.set<mp::MP1_SMN_C2PMSG_66>(sm::PPSMC_MSG_TestMessage);
  EXPECT_EQ(cold.get<mp::MP1_SMN_C2PMSG_90>(), 0u);
  EXPECT_THAT(cold.errors(), HasSubstr("before the SMU has its firmware"));
}

TEST_F(SmuTest, UnknownMessageGetsTheErrorCode) {
  EXPECT_EQ(send(0x7f), sm::PPSMC_Result_UnknownCmd);
  EXPECT_EQ(bench.events(CardEvent::Kind::kNotSimulated).size(), 1u);
}

TEST_F(SmuTest, AnswerRegisterMustBeCleared) {
  send(sm::PPSMC_MSG_TestMessage);
  bench.set<mp::MP1_SMN_C2PMSG_66>(sm::PPSMC_MSG_TestMessage);
  EXPECT_THAT(bench.errors(), HasSubstr("without clearing the answer register"));
}

TEST_F(SmuTest, FeaturesAreEnabled) {
  send(sm::PPSMC_MSG_EnableAllSmuFeatures);
  send(sm::PPSMC_MSG_GetRunningSmuFeaturesHigh);
  EXPECT_EQ(argument(), ~0u);
  send(sm::PPSMC_MSG_DisableSmuFeaturesLow, 0xf0);
  send(sm::PPSMC_MSG_GetRunningSmuFeaturesLow);
  EXPECT_EQ(argument(), ~0xf0u);
}

TEST_F(SmuTest, ClockLevelsCanBeListed) {
  EXPECT_EQ(send(sm::PPSMC_MSG_GetDpmFreqByIndex, sm::PPCLK_UCLK << 16 | 0xff),
            sm::PPSMC_Result_OK);
  const uint32_t count = argument();
  ASSERT_GT(count, 1u);
  uint32_t before = 0;
  for (uint32_t i = 0; i < count; ++i) {
    ASSERT_EQ(send(sm::PPSMC_MSG_GetDpmFreqByIndex, sm::PPCLK_UCLK << 16 | i), sm::PPSMC_Result_OK);
    EXPECT_GT(argument(), before);
    before = argument();
  }
  EXPECT_EQ(send(sm::PPSMC_MSG_GetMaxDpmFreq, sm::PPCLK_UCLK << 16), sm::PPSMC_Result_OK);
  EXPECT_EQ(argument(), before);
  EXPECT_EQ(send(sm::PPSMC_MSG_GetDpmFreqByIndex, sm::PPCLK_UCLK << 16 | count),
            sm::PPSMC_Result_Failed);
  EXPECT_EQ(send(sm::PPSMC_MSG_SetSoftMinByFreq, 99u << 16), sm::PPSMC_Result_Failed);
}

TEST_F(SmuTest, MetricsShowWhatWasSet) {
  send(sm::PPSMC_MSG_SetDriverDramAddrHigh, testing::high(Bench::mc(0x4000)));
  send(sm::PPSMC_MSG_SetDriverDramAddrLow, testing::low(Bench::mc(0x4000)));
  EXPECT_EQ(send(sm::PPSMC_MSG_SetSoftMaxByFreq, sm::PPCLK_GFXCLK << 16 | 1000),
            sm::PPSMC_Result_OK);
  EXPECT_EQ(send(sm::PPSMC_MSG_TransferTableSmu2Dram, sm::TABLE_SMU_METRICS), sm::PPSMC_Result_OK);
  const auto metrics = bench.vram<sm::SmuMetrics_t>(0x4000);
  EXPECT_EQ(metrics.CurrClock[sm::PPCLK_GFXCLK], 1000u);
  EXPECT_EQ(metrics.MetricsCounter, 1u);
}

TEST_F(SmuTest, MetricsNeedAPlace) {
  EXPECT_EQ(send(sm::PPSMC_MSG_TransferTableSmu2Dram, sm::TABLE_SMU_METRICS),
            sm::PPSMC_Result_Failed);
  EXPECT_EQ(send(sm::PPSMC_MSG_TransferTableSmu2Dram, sm::TABLE_OVERDRIVE),
            sm::PPSMC_Result_Failed);
}

TEST_F(SmuTest, PowerLimit) {
  EXPECT_EQ(send(sm::PPSMC_MSG_SetPptLimit, 200), sm::PPSMC_Result_OK);
  EXPECT_EQ(send(sm::PPSMC_MSG_GetPptLimit), sm::PPSMC_Result_OK);
  EXPECT_EQ(argument(), 200u);
}

TEST_F(SmuTest, Mode1ResetKeepsOnlyMemory) {
  bench.set<gc::SCRATCH_REG7>(0x1234);
  bench.set_vram<uint32_t>(0x4000, 77);
  bench.set<mp::MP1_SMN_C2PMSG_54>(0);
  bench.set<mp::MP1_SMN_C2PMSG_53>(0);
  bench.set<mp::MP1_SMN_C2PMSG_75>(2);
  EXPECT_EQ(bench.get<mp::MP1_SMN_C2PMSG_54>(), sm::PPSMC_Result_OK);
  EXPECT_EQ(bench.get<gc::SCRATCH_REG7>(), 0u);
  EXPECT_EQ(bench.get<mp::MP0_SMN_C2PMSG_81>(), 0u);
  EXPECT_EQ(bench.vram<uint32_t>(0x4000), 77u);
  EXPECT_EQ(bench.board.counters.resets, 1u);
}

struct NoAnswer : SmuTest {
  NoAnswer() : SmuTest(R"([{"what": "smu.no-answer", "where": "SetSoftMinByFreq"}])") {}
};
TEST_F(NoAnswer, OneMessageIsNotAnswered) {
  EXPECT_EQ(send(sm::PPSMC_MSG_SetSoftMinByFreq, 500), 0u);
  EXPECT_EQ(send(sm::PPSMC_MSG_TestMessage), sm::PPSMC_Result_OK);
}

TEST(Nbio, MemorySizeIsInMegabytes) {
  Bench bench;
  EXPECT_EQ(bench.read(0xde3), 240u);  // the fixed place that drivers look at before discovery
}

TEST(Nbio, WindowsReachFarRegisters) {
  Bench bench;
  bench.set<nb::BIF_BX_PF0_RSMU_INDEX>(nb::S2A_DOORBELL_ENTRY_0_CTRL::kAddress * 4);
  bench.set<nb::BIF_BX_PF0_RSMU_DATA>(0x30000007);
  EXPECT_EQ(bench.board.registers.get<nb::S2A_DOORBELL_ENTRY_0_CTRL>(), 0x30000007u);
  bench.set<nb::BIF_BX0_PCIE_INDEX2>(gc::SCRATCH_REG0::kAddress * 4);
  bench.set<nb::BIF_BX0_PCIE_DATA2>(5);
  EXPECT_EQ(bench.get<nb::BIF_BX0_PCIE_DATA2>(), 5u);
  EXPECT_EQ(bench.get<gc::SCRATCH_REG0>(), 5u);
}

TEST(Nbio, MmIndexReachesMemory) {
  Bench bench;
  bench.set_vram<uint32_t>(0x1234560, 0xfeed);
  bench.set<nb::BIF_BX_PF0_MM_INDEX_HI>(0);
  bench.set<nb::BIF_BX_PF0_MM_INDEX>(0x80000000 | 0x1234560);
  EXPECT_EQ(bench.get<nb::BIF_BX_PF0_MM_DATA>(), 0xfeedu);
  bench.set<nb::BIF_BX_PF0_MM_DATA>(0xbeef);
  EXPECT_EQ(bench.vram<uint32_t>(0x1234560), 0xbeefu);
  bench.set<nb::BIF_BX_PF0_MM_INDEX>(gc::SCRATCH_REG0::kAddress * 4);
  bench.set<nb::BIF_BX_PF0_MM_DATA>(9);
  EXPECT_EQ(bench.get<gc::SCRATCH_REG0>(), 9u);
}

// A window into itself once had no end.
TEST(Nbio, WindowsDoNotLeadIntoWindows) {
  Bench bench;
  bench.set<nb::BIF_BX_PF0_RSMU_INDEX>(nb::BIF_BX_PF0_RSMU_DATA::kAddress * 4);
  EXPECT_EQ(bench.get<nb::BIF_BX_PF0_RSMU_DATA>(), ~0u);
  bench.set<nb::BIF_BX_PF0_RSMU_DATA>(1);
  bench.set<nb::BIF_BX_PF0_MM_INDEX>(nb::BIF_BX0_PCIE_DATA2::kAddress * 4);
  EXPECT_EQ(bench.get<nb::BIF_BX_PF0_MM_DATA>(), ~0u);
  EXPECT_THAT(bench.errors(), HasSubstr("through another"));
}

TEST(Nbio, HdpIsFlushedFromThreePlaces) {
  Bench bench;
  const auto dirty = [&] { return bench.board.vram.is_unflushed(VramOffset{0}, 4); };
  const auto soil = [&] { bench.board.vram.mark_unflushed(VramOffset{0}, 4); };
  soil();
  bench.write(bench.get<nb::BIF_BX0_REMAP_HDP_MEM_FLUSH_CNTL>() / 4, 0);
  EXPECT_FALSE(dirty());
  soil();
  bench.set<nb::BIF_BX_PF0_HDP_MEM_COHERENCY_FLUSH_CNTL>(0);
  EXPECT_FALSE(dirty());
  soil();
  bench.set<nb::BIF_BX_PF0_GPU_HDP_FLUSH_REQ>(4);
  EXPECT_FALSE(dirty());
  EXPECT_EQ(bench.get<nb::BIF_BX_PF0_GPU_HDP_FLUSH_DONE>(), 4u);
}

TEST(Nbio, MemoryErrorIsShownAndCleared) {
  using Control = nb::BIF_BX0_BIF_DOORBELL_INT_CNTL;
  Bench bench;
  bench.start_interrupts();
  bench.board.nbio->report_memory_error();
  EXPECT_EQ(Control::RAS_ATHUB_ERR_EVENT_INTERRUPT_STATUS.get(bench.get<Control>()), 1u);
  EXPECT_EQ(bench.interrupt_count(), 1u);
  bench.set<Control>(bench.get<Control>() | Control::RAS_ATHUB_ERR_EVENT_INTERRUPT_CLEAR(1));
  EXPECT_EQ(Control::RAS_ATHUB_ERR_EVENT_INTERRUPT_STATUS.get(bench.get<Control>()), 0u);
}

TEST(Nbio, DoorbellsNeedTheirAperture) {
  Bench bench;
  bench.board.nbio->doorbell(6, 1);
  EXPECT_THAT(bench.errors(), HasSubstr("doorbell aperture is off"));
}

}  // namespace
}  // namespace outboard::simulator::card
