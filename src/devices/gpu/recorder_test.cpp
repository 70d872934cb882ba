#include "devices/gpu/recorder.h"

#include <gtest/gtest.h>

#include "devices/gpu/kernels/arguments.h"

namespace outboard::devices::gpu {
namespace {

constexpr Range kRows{0x1000, 0x100}, kOthers{0x2000, 0x100};

class RecorderTest : public ::testing::Test {
 protected:
  // What stands before the launch.
  Recorder::Launch launch(const Accesses& accesses) {
    recorder_.launch("expert_sum", kernels::ExpertSumArgs{}, {1, 1, 1}, accesses);
    return recorder_.launches().back();
  }
  Recorder recorder_;
};

TEST_F(RecorderTest, ABarrierHasTheLeastThatCachesNeed) {
  EXPECT_FALSE(launch({.reads = {kOthers}, .scalar_reads = {}, .writes = {kRows}}).barrier);
  EXPECT_FALSE(launch({.reads = {kOthers}, .scalar_reads = {}, .writes = {}}).barrier);
  const auto read = launch({.reads = {kRows}, .scalar_reads = {}, .writes = {}});
  EXPECT_TRUE(read.barrier && read.vector && !read.scalar);
  const auto overwritten = launch({.reads = {}, .scalar_reads = {}, .writes = {kRows}});
  EXPECT_TRUE(overwritten.barrier && !overwritten.vector && !overwritten.scalar);
}

// Between who wrote and who reads stood a launch that only overwrote something: its barrier
// invalidates nothing, and what had been written before it was taken for seen. Heads of latents
// were sorted by numbers out of a stale cache then.
TEST_F(RecorderTest, ABarrierForOthersLeavesWhatWasWrittenUnseen) {
  launch({.reads = {kOthers}, .scalar_reads = {}, .writes = {kRows}});
  const auto overwrites = launch({.reads = {}, .scalar_reads = {}, .writes = {kOthers}});
  EXPECT_TRUE(overwrites.barrier && !overwrites.vector);
  const auto read = launch({.reads = {kRows}, .scalar_reads = {}, .writes = {}});
  EXPECT_TRUE(read.barrier && read.vector && !read.scalar);
  // The scalar cache has not seen it yet, either.
  const auto scalar = launch({.reads = {}, .scalar_reads = {kRows}, .writes = {}});
  EXPECT_TRUE(scalar.barrier && scalar.vector && scalar.scalar);
  EXPECT_FALSE(launch({.reads = {kRows}, .scalar_reads = {kRows}, .writes = {}}).barrier);
}

}  // namespace
}  // namespace outboard::devices::gpu
