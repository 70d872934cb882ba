// Queues in HSA's packet format.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "simulator/card/mec.h"
#include "simulator/card/mec_test_bench.h"

namespace outboard::simulator::card::testing {
namespace {

// AQL: packets of 64 bytes in the same ring, which then holds four.
struct AqlTest : ::testing::Test {
  AqlTest() {
    bench.load_firmware();
    bench.start_compute_queue(true);
    for (uint64_t i = 0; i < 4; ++i) bench.set_vram<uint32_t>(Bench::kRing + i * 64, 1);  // invalid
  }
  static constexpr uint64_t kKernel = kData + 0x1000, kSignal = kData + 0x40;
  void kernel() {
    bench.set_vram<int64_t>(kKernel + 16, 256);
    bench.set_vram<uint16_t>(kKernel + 56, 1 << 10 | 1 << 3);
    bench.set_vram(kKernel + 256, std::vector<uint32_t>{0xbfb00000, 0xbf9f0000});
  }
  void put(uint64_t slot, const std::vector<uint32_t>& words) {
    bench.set_vram(Bench::kRing + slot * 64, words);
  }
  void ring(uint64_t newest) {
    bench.board.nbio->doorbell(6, newest);
    bench.run();
  }
  Bench bench;
};

TEST_F(AqlTest, DispatchesAndSignals) {
  kernel();
  bench.set_vram<uint64_t>(kSignal + 8, 1);
  std::vector<uint32_t> words(16);
  words[0] = 2 | 3 << 16;
  words[1] = 32 | 1 << 16;  // workgroup x, y
  words[2] = 1;
  words[3] = 96;
  words[4] = words[5] = 1;
  words[8] = low(Bench::mc(kKernel));
  words[9] = high(Bench::mc(kKernel));
  words[14] = low(Bench::mc(kSignal));
  words[15] = high(Bench::mc(kSignal));
  put(0, words);
  ring(0);
  EXPECT_EQ(bench.errors(), "");
  EXPECT_EQ(bench.board.compute->counters().workgroups, 3u);
  EXPECT_EQ(bench.vram<uint64_t>(kSignal + 8), 0u);
  EXPECT_EQ(bench.vram<uint64_t>(Bench::kReport), 1u);
  EXPECT_EQ(bench.vram<uint16_t>(Bench::kRing), 1u);  // given back as invalid
}

TEST_F(AqlTest, BarrierWaitsForItsSignals) {
  bench.set_vram<uint64_t>(kSignal + 8, 1);
  std::vector<uint32_t> words(16);
  words[0] = 3;
  words[2] = low(Bench::mc(kSignal));
  words[3] = high(Bench::mc(kSignal));
  put(0, words);
  ring(0);
  EXPECT_EQ(bench.vram<uint64_t>(Bench::kReport), 0u);
  bench.set_vram<uint64_t>(kSignal + 8, 0);
  bench.run();
  EXPECT_EQ(bench.vram<uint64_t>(Bench::kReport), 1u);
}

TEST_F(AqlTest, VendorPacketRunsPm4) {
  bench.set_vram(kData + 0x100, write_data(kAddress, 42));
  std::vector<uint32_t> words(16);
  words[0] = 0 | 1 << 16;
  const auto ib =
      packet(pm4::INDIRECT_BUFFER, {low(kAddress + 0x100), high(kAddress), 5 | 1 << 23});
  std::copy(ib.begin(), ib.end(), words.begin() + 1);
  words[5] = 10;
  put(0, words);
  ring(0);
  EXPECT_EQ(bench.vram<uint32_t>(kData), 42u);
  EXPECT_EQ(bench.errors(), "");
}

TEST_F(AqlTest, InvalidPacketIsWaitedFor) {
  ring(0);
  EXPECT_EQ(bench.vram<uint64_t>(Bench::kReport), 0u);
  EXPECT_EQ(bench.errors(), "");
}

}  // namespace
}  // namespace outboard::simulator::card::testing
