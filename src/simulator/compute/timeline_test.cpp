// What a workgroup waits for, told by loads that depend on each other.
#include "simulator/compute/timeline.h"

#include <gtest/gtest.h>

#include <array>

#include "simulator/compute/host_memory.h"

namespace outboard::simulator::compute {
namespace {

// Encoded by llvm-mc-19.
constexpr std::array<uint32_t, 15> kChase = {
    0xf4040100, 0xf8000000,  // s_load_b64 s[4:5], s[0:1], 0x0
    0x7e020280,              // v_mov_b32_e32 v1, 0
    0xbf89fc07,              // s_waitcnt lgkmcnt(0)
    0xdc520000, 0x01040001,  // global_load_b32 v1, v1, s[4:5]
    0xbf8903f7,              // s_waitcnt vmcnt(0)
    0xdc520000, 0x01040001,  // global_load_b32 v1, v1, s[4:5]
    0xbf8903f7,              // s_waitcnt vmcnt(0)
    0xdc520000, 0x01040001,  // global_load_b32 v1, v1, s[4:5]
    0xbf8903f7,              // s_waitcnt vmcnt(0)
    0xbfbd0000,              // s_barrier
    0xbfb00000,              // s_endpgm
};

class Chase : public testing::Test {
 protected:
  Chase() {
    chain_[0] = 4096;
    chain_[1024] = 8192;
    first_ = reinterpret_cast<uint64_t>(chain_.data());
    memory_.add_code(kChase.data(), sizeof kChase);
    memory_.allow_everything();
    dispatch_.program = reinterpret_cast<uint64_t>(kChase.data());
    dispatch_.pgm_rsrc2 = 16 << 1;
    const auto arguments = reinterpret_cast<uint64_t>(&first_);
    dispatch_.user_data = {static_cast<uint32_t>(arguments),
                           static_cast<uint32_t>(arguments >> 32)};
    dispatch_.workgroup_size = {64, 1, 1};
    units_.observe([this](const LaunchProfile& launch) { seen_ = launch; });
  }
  GroupProfile run() {
    EXPECT_EQ(units_.run(dispatch_).message, "");
    EXPECT_EQ(seen_.groups.size(), 1u);
    return seen_.groups.at(0);
  }

  alignas(4096) std::array<uint32_t, 4096> chain_{};
  uint64_t first_ = 0;
  HostMemory memory_;
  Options options_{.threads = 1, .strict = false};
  ComputeUnits units_{memory_, options_};
  Dispatch dispatch_;
  LaunchProfile seen_;
};

// A load after the other, each from VRAM, then each from GL2.
TEST_F(Chase, WaitsForEachLoad) {
  const GroupProfile cold = run();
  // The second wave finds the first one's lines in the first level.
  EXPECT_EQ(cold.waits, (std::array<uint64_t, 5>{4, 0, 0, 4, 0}));
  const GroupProfile warm = run();
  EXPECT_EQ(warm.waits, (std::array<uint64_t, 5>{4, 4, 0, 0, 0}));
  for (const Case of : {kBest, kLikely, kWorst}) {
    double cold_seconds = 0, warm_seconds = 0;
    for (const Segment& s : cold.segments) cold_seconds += s.seconds[of];
    for (const Segment& s : warm.segments) warm_seconds += s.seconds[of];
    const double cold_loads = kTiming.scalar_vram[of] + 3 * kTiming.vector_vram[of];
    const double warm_loads = kTiming.scalar_second[of] + 3 * kTiming.vector_second[of];
    EXPECT_GT(cold_seconds, cold_loads);
    EXPECT_NEAR(cold_seconds - cold_loads, warm_seconds - warm_loads, 1e-12);  // the same issue
    EXPECT_LT(cold_seconds - cold_loads, 20e-9);
  }
}

// What was asked for stands in the segments, from barrier to barrier.
TEST_F(Chase, CountsWhatIsAskedFor) {
  const GroupProfile cold = run();
  ASSERT_EQ(cold.segments.size(), 2u);
  EXPECT_EQ(cold.segments[0].vram_bytes, 4 * 128);
  EXPECT_EQ(cold.segments[0].second_level_bytes, 4 * 128);
  EXPECT_EQ(cold.segments[1].second_level_bytes, 0);
  EXPECT_EQ(cold.segments[0].issue_clocks + cold.segments[1].issue_clocks, 2 * 11);
  EXPECT_EQ(seen_.counters.instructions(), 2u * 11);
  EXPECT_EQ(seen_.waves, 2u);
}

}  // namespace
}  // namespace outboard::simulator::compute
