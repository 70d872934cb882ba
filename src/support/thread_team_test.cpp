#include "support/thread_team.h"

#include <gtest/gtest.h>
#if defined(__linux__)
#include <sched.h>
#endif
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/machine.h"

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

// Far more threads than cores: whoever waits sleeps, so that the others come to their turn.
TEST(ThreadTeam, BearsMoreThreadsThanCores) {
  constexpr int kThreads = 24;
  ThreadTeam team(kThreads);
  std::atomic<int> sum{0}, wrong{0};
  for (int round = 1; round <= 20; ++round) {
    team.run([&](int) {
      for (int phase = 0; phase < 10; ++phase) {
        ++sum;
        team.barrier();
        wrong += sum % kThreads != 0;
        team.barrier();
      }
    });
  }
  EXPECT_EQ(sum, kThreads * 20 * 10);
  EXPECT_EQ(wrong, 0);
}

TEST(ThreadTeam, IsLimitedToWhatCanBeUsed) {
  EXPECT_EQ(ThreadTeam::limited(0), usable_processors());
  EXPECT_EQ(ThreadTeam::limited(1), 1);
  EXPECT_EQ(ThreadTeam::limited(1000), usable_processors());
}

#if defined(__linux__)
TEST(UsableProcessors, FollowAffinity) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  for (size_t i = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(i, &before)) continue;
    CPU_SET(i, &one);
    break;
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(usable_processors(), 1);
  sched_setaffinity(0, sizeof before, &before);
}
#endif

// Tests on a tree of files such as a system shows.
class SystemFiles : public ::testing::Test {
 protected:
  ~SystemFiles() override { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  std::filesystem::path root_ =
      std::filesystem::temp_directory_path() / ("outboard-system-" + std::to_string(::getpid()));
};

class FastProcessors : public SystemFiles {
 protected:
  void capacities(const std::vector<int>& each) {
    for (size_t i = 0; i < each.size(); ++i)
      write("system/cpu/cpu" + std::to_string(i) + "/cpu_capacity", std::to_string(each[i]) + "\n");
  }
  std::vector<int> fast(const std::vector<int>& allowed) { return fast_processors(root_, allowed); }
};

TEST_F(FastProcessors, AreAllWhereNothingIsTold) {
  EXPECT_EQ(fast({0, 2, 5}), (std::vector{0, 2, 5}));
  EXPECT_EQ(fast({}), std::vector<int>{});
}

TEST_F(FastProcessors, HaveHalfTheGreatestCapacity) {
  capacities({400, 400, 1024, 760, 512, 511});
  EXPECT_EQ(fast({0, 1, 2, 3, 4, 5}), (std::vector{2, 3, 4}));
  EXPECT_EQ(fast({0, 1}), (std::vector{0, 1}));  // pinned to slow ones: they are what there is
  EXPECT_EQ(fast({0, 2, 9}), (std::vector{0, 2, 9}));  // one tells nothing
}

TEST_F(FastProcessors, AreThoseOfIntelsList) {
  write("cpu_core/cpus", "0-3,6\n");
  write("cpu_atom/cpus", "4-5,7-8\n");
  EXPECT_EQ(fast({0, 1, 2, 3, 4, 5, 6, 7, 8}), (std::vector{0, 1, 2, 3, 6}));
  EXPECT_EQ(fast({4, 5}), (std::vector{4, 5}));
}

class GrantedProcessors : public SystemFiles {
 protected:
  std::optional<double> granted() { return granted_processors(root_ / "cgroup", root_ / "fs"); }
};

TEST_F(GrantedProcessors, OfVersionTwoTheLeastOfAllGroupsAbove) {
  write("cgroup", "0::/user.slice/job\n");
  EXPECT_EQ(granted(), std::nullopt);
  write("fs/user.slice/job/cpu.max", "max 100000\n");
  EXPECT_EQ(granted(), std::nullopt);
  write("fs/user.slice/cpu.max", "150000 100000\n");
  EXPECT_EQ(granted(), 1.5);
  write("fs/user.slice/job/cpu.max", "50000 100000\n");
  EXPECT_EQ(granted(), 0.5);
}

TEST_F(GrantedProcessors, OfVersionOneTheCpuControllerCounts) {
  write("cgroup", "4:memory:/a\n3:cpu,cpuacct:/docker/0123\n1:name=systemd:/b\n");
  write("fs/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  write("fs/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  write("fs/memory/cpu.cfs_quota_us", "1\n");
  EXPECT_EQ(granted(), std::nullopt);
  // In a container the path is the host's, and the group's own files lie at the mount.
  write("fs/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
  EXPECT_EQ(granted(), 2);
}

TEST_F(GrantedProcessors, NothingToReadIsNoLimit) { EXPECT_EQ(granted(), std::nullopt); }

}  // namespace
}  // namespace outboard
