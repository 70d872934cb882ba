// `ssm_conv` against the same in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/devices/kernels/test_step.h"

namespace outboard::devices::gpu::kernels {
namespace {

constexpr int kWidth = 301, kStride = 304, kT = 16, kRuns = 4, kSlots = 6;

class SsmConv : public testing::TestWithParam<int> {
 protected:
  SsmConv()
      : layout(make_layout({.tokens = kT, .rows = 1, .runs = kRuns, .slots = true})),
        record(runner.allocate<uint8_t>(index(layout.bytes))),
        x(values(kT * kStride)),
        weight(values(kWidth * taps)),
        bias(values(kWidth)),
        states(values(kSlots * kSlotFloats)),
        out(runner.allocate<float>(kT * kStride)) {
    std::ranges::fill(out, -77.0F);
  }
  std::span<float> values(int count) {
    const auto made = runner.allocate<float>(index(count));
    std::normal_distribution<float> normal(0, 2);
    for (float& v : made) v = normal(random);
    return made;
  }
  // Runs of so many tokens, whose first has that position, one behind the other.
  void run(const std::vector<SlotRun>& runs, const std::vector<int>& first_positions,
           bool with_bias) {
    TestRecord r(record, layout);
    std::ranges::fill(r.positions(), -1);
    int tokens = 0;
    for (size_t i = 0; i < runs.size(); ++i) {
      r.slot_runs()[i] = runs[i];
      for (int t = 0; t < runs[i].tokens; ++t)
        r.positions()[index(runs[i].first + t)] = first_positions[i] + t;
      tokens += runs[i].tokens;
    }
    r.header() = {tokens, 0, static_cast<int>(runs.size()), 0};
    SsmConvArgs a{};
    a.step = {KernelRunner::const_ptr(record), layout};
    a.x = KernelRunner::const_ptr(x);
    a.out = KernelRunner::ptr(out);
    a.weight = KernelRunner::const_ptr(weight);
    if (with_bias) a.bias = KernelRunner::const_ptr(bias);
    a.states = KernelRunner::ptr(states);
    a.slot_stride = kSlotFloats;
    a.x_stride = a.out_stride = kStride;
    a.width = kWidth;
    a.taps = taps;
    a.tokens = kT;
    const std::vector<float> before(states.begin(), states.end());
    std::vector<float> after = before;
    runner.run("ssm_conv", a, {(kWidth + kThreads - 1) / kThreads, kRuns, 1});

    std::vector<bool> written(kT, false);
    for (size_t i = 0; i < runs.size(); ++i) {
      // What the channel has seen, the kept inputs first.
      for (int c = 0; c < kWidth; ++c) {
        std::vector<float> seen;
        for (int k = 0; k < taps - 1; ++k)
          seen.push_back(first_positions[i] == 0
                             ? 0
                             : before[index(runs[i].slot * kSlotFloats + k * kWidth + c)]);
        for (int t = 0; t < runs[i].tokens; ++t) {
          const int row = runs[i].first + t;
          written[index(row)] = true;
          seen.push_back(x[index(row * kStride + c)]);
          double sum = with_bias ? bias[index(c)] : 0, size = std::abs(sum);
          for (int tap = 0; tap < taps; ++tap) {
            const double product = static_cast<double>(weight[index(c * taps + tap)]) *
                                   seen[seen.size() - index(taps - tap)];
            sum += product;
            size += std::abs(product);
          }
          ASSERT_NEAR(out[index(row * kStride + c)], sum, 0x1p-20 * size) << row << " " << c;
        }
        for (int k = 0; k < taps - 1; ++k)
          after[index(runs[i].slot * kSlotFloats + k * kWidth + c)] =
              seen[seen.size() - index(taps - 1 - k)];
      }
    }
    // What is kept are inputs, bit for bit, and other slots are left alone.
    EXPECT_TRUE(std::ranges::equal(states, after));
    for (int t = 0; t < kT; ++t)
      for (int c = kWidth; c < kStride; ++c) EXPECT_EQ(out[index(t * kStride + c)], -77.0F);
    for (int t = tokens; t < kT; ++t)
      for (int c = 0; c < kWidth; ++c) ASSERT_EQ(out[index(t * kStride + c)], 0.0F) << t;
  }

  static constexpr int kSlotFloats = (kMaxTaps - 1) * kWidth + 5;
  const int taps = GetParam();
  std::mt19937 random{5};
  KernelRunner runner;
  StepLayout layout;
  std::span<uint8_t> record;
  std::span<float> x, weight, bias, states, out;
};
INSTANTIATE_TEST_SUITE_P(Taps, SsmConv, testing::Values(2, 3, 4, kMaxTaps),
                         testing::PrintToStringParamName());

// A prompt, one that goes on, and answers; runs shorter and longer than what is kept.
TEST_P(SsmConv, RunsFromTheirSlots) {
  run({{5, 0, 9, 0}, {0, 9, 2, 0}, {3, 11, 1, 0}, {1, 12, 1, 0}}, {0, 40, 7, 0}, true);
}

TEST_P(SsmConv, WithoutBias) { run({{2, 0, 16, 0}}, {3}, false); }

}  // namespace
}  // namespace outboard::devices::gpu::kernels
