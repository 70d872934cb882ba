#include "support/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace outboard {
namespace {

TEST(ThreadTeam, RunsBodyOncePerThread) {
  ThreadTeam team(4);
  std::vector<int> calls(4, 0);
  for (int round = 0; round < 1000; ++round) team.run([&](int thread) { ++calls[thread]; });
  EXPECT_EQ(calls, (std::vector<int>{1000, 1000, 1000, 1000}));
}

TEST(ThreadTeam, BarrierOrdersPhases) {
  ThreadTeam team(3);
  std::vector<int> slots(3, 0);
  std::atomic<int> wrong{0};
  team.run([&](int thread) {
    for (int phase = 1; phase <= 500; ++phase) {
      slots[thread] = phase;
      team.barrier();
      for (const int slot : slots) wrong += slot != phase;
      team.barrier();
    }
  });
  EXPECT_EQ(wrong, 0);
}

TEST(ThreadTeam, WakesAfterSleep) {
  ThreadTeam team(2);
  std::atomic<int> count{0};
  team.run([&](int) { ++count; });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  team.run([&](int) { ++count; });
  EXPECT_EQ(count, 4);
}

}  // namespace
}  // namespace outboard
