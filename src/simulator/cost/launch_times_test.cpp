#include "simulator/cost/launch_times.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string_view>

#include "hardware/amd/rdna3/occupancy.h"

namespace outboard::simulator::cost {
namespace {

using compute::GroupProfile;
using compute::kBest;
using compute::kLikely;
using compute::kTiming;
using compute::kWorst;
using compute::LaunchProfile;
using compute::Segment;

const card::CardModel& xtx() { return card::card_model("xtx"); }

TEST(ResidentGroups, AsRegistersAndLdsAllow) {
  using hardware::amd::rdna3::resident_groups;
  EXPECT_EQ(resident_groups(90, 33 << 10, 8), 1);
  EXPECT_EQ(resident_groups(90, 32 << 10, 8), 2);
  EXPECT_EQ(resident_groups(90, 9 << 10, 8), 4);
  EXPECT_EQ(resident_groups(192, 20 << 10, 8), 2);
  EXPECT_EQ(resident_groups(197, 32 << 10, 8), 1);  // 216 registers: 7 waves a SIMD
  EXPECT_EQ(resident_groups(64, 0, 1), 32);
}

LaunchProfile launch_of(size_t workgroups, uint32_t waves, uint32_t vgprs,
                        std::vector<Segment> segments) {
  LaunchProfile launch;
  launch.workgroups = workgroups;
  launch.waves = waves;
  launch.vgprs = vgprs;
  launch.waited = true;
  launch.groups.resize(workgroups, GroupProfile{std::move(segments)});
  return launch;
}

Segment reads(double bytes, double vram_waits) {
  Segment s;
  s.vram_bytes = s.infinity_bytes = s.second_level_bytes = bytes;
  for (const auto of : {kBest, kLikely, kWorst})
    s.seconds[of] = vram_waits * kTiming.vector_vram[of];
  return s;
}

// Much to read at once takes as long as VRAM gives it; little takes as long as it is waited for.
TEST(TimeOf, IsTheGreatestBound) {
  const LaunchTime much = time_of(launch_of(19200, 1, 64, {reads(1 << 16, 1)}), xtx());
  EXPECT_EQ(much.greatest(), Bound::kVram);
  EXPECT_NEAR(much.total(kLikely) - much.gap[kLikely], 19200.0 * 65536 / (960e9 * 0.85), 2e-6);
  const LaunchTime little = time_of(launch_of(1, 1, 64, {reads(128, 20)}), xtx());
  EXPECT_EQ(little.greatest(), Bound::kLatency);
  EXPECT_NEAR(little.total(kWorst) - little.gap[kWorst], 20 * 500e-9, 1e-9);
  EXPECT_NEAR(little.tail[kWorst], 0, 1e-9);
}

// 193 workgroups where 192 have room take two rounds: the last one is alone.
TEST(TimeOf, RoundsTakeTheirTime) {
  const auto of = [](size_t workgroups) {
    return time_of(launch_of(workgroups, 8, 192, {reads(128, 10)}), xtx());
  };
  EXPECT_EQ(of(192).resident, 192);
  EXPECT_NEAR(of(192).total(kLikely) - of(192).gap[kLikely], 3.5e-6, 1e-9);
  EXPECT_NEAR(of(193).total(kLikely) - of(193).gap[kLikely], 7e-6, 1e-9);
}

// A beginning that asks for nothing is a time in which VRAM has nothing to do.
TEST(TimeOf, PreludesAreATail) {
  Segment prelude;
  prelude.seconds = {2e-6, 2e-6, 2e-6};
  const LaunchTime time = time_of(launch_of(192, 8, 192, {prelude, reads(1 << 18, 1)}), xtx());
  EXPECT_EQ(time.greatest(), Bound::kVram);
  EXPECT_NEAR(time.tail[kLikely], 2e-6, 1e-8);
}

// --- public results of known kernels on an RX 7900 XTX, against the model ---

// A matrix of one row a workgroup of one wave, as llama.cpp has it on RDNA 3 (its PRs 23528 and
// 23349): arguments, then the row in two waits.
LaunchProfile row_matrix(double rows, double columns, double bits) {
  Segment s = reads(columns * bits / 8, 2);
  for (const auto of : {kBest, kLikely, kWorst}) s.seconds[of] += 2 * kTiming.scalar_second[of];
  s.issue_clocks = columns / 64 * 4;
  return launch_of(static_cast<size_t>(rows), 1, 64, {s});
}
// A norm, a rope, an addition and the like: some workgroups with some waits.
LaunchProfile small_launch() {
  Segment s = reads(4096, 0);
  for (const auto of : {kBest, kLikely, kWorst}) s.seconds[of] = 6 * kTiming.vector_second[of];
  return launch_of(32, 8, 64, {s});
}
double sum(const std::vector<std::pair<double, LaunchProfile>>& launches, compute::Case of) {
  double seconds = 0;
  for (const auto& [count, launch] : launches) seconds += count * time_of(launch, xtx()).total(of);
  return seconds;
}
// Of 32 layers: q, k, v, output, gate, up, down; `others` small launches a layer.
std::vector<std::pair<double, LaunchProfile>> decode(double width, double kv_width, double hidden,
                                                     double vocabulary, double bits,
                                                     double down_bits, double output_bits,
                                                     double others) {
  return {{64, row_matrix(width, width, bits)},
          {64, row_matrix(kv_width, width, bits)},
          {64, row_matrix(hidden, width, bits)},
          {32, row_matrix(width, hidden, down_bits)},
          {1, row_matrix(vocabulary, width, output_bits)},
          {32 * others, small_launch()}};
}
// rocBLAS: 128 x 128 tiles, two workgroups a compute unit.
std::vector<std::pair<double, LaunchProfile>> square_product(double n) {
  Segment s;
  const double wmma = 8 * 8 * n / 16;
  s.issue_clocks = wmma * (32 + 4);
  s.second_level_bytes = 2 * 128 * n * 2;
  s.vram_bytes = s.infinity_bytes = s.second_level_bytes / (n / 128);
  s.seconds = {1e-6, 1e-6, 1e-6};
  return {{1, launch_of(static_cast<size_t>(n / 128 * n / 128), 8, 192, {s})}};
}
// 16 bytes read and written a thread.
std::vector<std::pair<double, LaunchProfile>> copy(double bytes) {
  Segment s = reads(2 * 256 * 16, 1);
  return {{1, launch_of(static_cast<size_t>(bytes / 256 / 16), 8, 32, {s})}};
}

// How far the model is from what was measured, and that it does not go further unseen. Kernels are
// not simulated here, but drawn from what is known of them: bytes, launches, shape.
TEST(Calibration, PublicResults) {
  struct Known {
    std::string_view name, source;
    double measured;  // in `unit`
    std::string_view unit;
    double work;  // of the launches, in the unit times a second
    std::vector<std::pair<double, LaunchProfile>> launches;
    double most_error;  // of the likely case
  };
  const std::vector<Known> known = {
      {"Llama 2 7B Q4_0, decode, Vulkan", "llama.cpp issue 20934", 172, "tokens/s", 1,
       decode(4096, 4096, 11008, 32000, 4.5, 4.5, 6.5625, 6), 0.1},
      {"Llama 3.1 8B Q4_K_M, decode, HIP", "llama.cpp PR 26284", 105.8, "tokens/s", 1,
       decode(4096, 1024, 14336, 128256, 4.5, 5.53, 6.5625, 11), 0.3},
      {"4096 x 4096 x 4096, float16", "rocBLAS, 7900 XTX", 100, "TFLOPS",
       2 * 4096.0 * 4096 * 4096 / 1e12, square_product(4096), 0.1},
      {"copy of 256 MiB on the device", "ROCm issue 2253", 643, "GB/s", 2 * (1 << 28) / 1e9,
       copy(1 << 28), 0.3},
  };
  std::string table = fmt::format("{:<34} {:>9} {:>8} {:>8} {:>8} {:>7}  {}\n", "", "measured",
                                  "worst", "likely", "best", "error", "source");
  for (const Known& k : known) {
    const double likely = k.work / sum(k.launches, kLikely);
    const double error = likely / k.measured - 1;
    table += fmt::format("{:<34} {:>9.1f} {:>8.1f} {:>8.1f} {:>8.1f} {:>6.0f}%  {}, {}\n", k.name,
                         k.measured, k.work / sum(k.launches, kWorst), likely,
                         k.work / sum(k.launches, kBest), 100 * error, k.unit, k.source);
    EXPECT_LE(std::abs(error), k.most_error) << k.name;
  }
  std::fputs(table.c_str(), stdout);
}

}  // namespace
}  // namespace outboard::simulator::cost
