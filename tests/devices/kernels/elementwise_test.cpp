// Kernels on single rows against the same in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "tests/devices/kernels/test_input.h"
#include "tests/devices/kernels/test_step.h"

namespace outboard::devices::gpu::kernels {
namespace {

constexpr int kRows = 3, kWidth = 301, kStride = 305;

class RowKernels : public testing::Test {
 protected:
  RowKernels() {
    x = rows();
    y = rows();
    out = runner.allocate<float>(kRows * kStride);
    std::ranges::fill(out, -77.0F);
  }
  std::span<float> rows() {
    const auto values = runner.allocate<float>(kRows * kStride);
    std::normal_distribution<float> normal(0, 4);
    for (float& v : values) v = normal(random);
    return values;
  }
  // expected(row, column); nothing between rows is touched.
  void check(const std::function<double(size_t, size_t)>& expected, double relative,
             double absolute) {
    for (size_t r = 0; r < kRows; ++r)
      for (size_t i = 0; i < kStride; ++i) {
        const float value = out[r * kStride + i];
        if (i >= kWidth) {
          ASSERT_EQ(value, -77.0F);
          continue;
        }
        const double want = expected(r, i);
        ASSERT_NEAR(value, want, relative * std::abs(want) + absolute) << "row " << r << " " << i;
      }
  }

  std::mt19937 random{5};
  KernelRunner runner;
  std::span<float> x, y, out;
};

class Elementwise : public RowKernels {
 protected:
  void run(RowsKind kind, Function function = {}, float factor = 0) {
    const StepLayout layout = make_layout({.tokens = kRows, .rows = kRows});
    const auto record = runner.allocate<uint8_t>(index(layout.bytes));
    const auto row_token = TestRecord(record, layout).row_token();
    for (int r = 0; r < kRows; ++r) row_token[index(r)] = kRows - 1 - r;
    ElementwiseArgs a{};
    a.step = {KernelRunner::const_ptr(record), layout};
    a.kind = kind;
    a.function = function;
    a.factor = factor;
    a.width = kWidth;
    a.x = KernelRunner::const_ptr(x);
    a.y = KernelRunner::const_ptr(y);
    a.out = KernelRunner::ptr(out);
    a.x_stride = a.y_stride = a.out_stride = kStride;
    runner.run("elementwise", a, {kRows, 1, 1});
  }
  double at_x(size_t r, size_t i) { return x[r * kStride + i]; }
  double at_y(size_t r, size_t i) { return y[r * kStride + i]; }
};

// A rounding or two of float32.
constexpr double kRounding = 0x1p-22;
// exp and tanh of a float32 argument, whose own rounding counts with its size.
constexpr double kExp = 0x1p-18;

TEST_F(Elementwise, Add) {
  run(RowsKind::kAdd);
  check([&](size_t r, size_t i) { return at_x(r, i) + at_y(r, i); }, kRounding, 0);
}
TEST_F(Elementwise, Scale) {
  run(RowsKind::kScale, {}, 1.7F);
  check([&](size_t r, size_t i) { return at_x(r, i) * static_cast<double>(1.7F); }, kRounding, 0);
}
TEST_F(Elementwise, Softcap) {
  run(RowsKind::kSoftcap, {}, 3);
  check([&](size_t r, size_t i) { return 3 * std::tanh(at_x(r, i) / 3); }, kRounding, 3 * 0x1p-21);
}
TEST_F(Elementwise, Select) {
  run(RowsKind::kSelect);
  check([&](size_t r, size_t i) { return at_x(kRows - 1 - r, i); }, 0, 0);
}

class ElementwiseFunctions : public Elementwise, public testing::WithParamInterface<Function> {};

// Absolute errors count with x: 1 + tanh and 1 + erf lose what they cancel.
TEST_P(ElementwiseFunctions, Activation) {
  run(RowsKind::kActivation, GetParam());
  check([&](size_t r, size_t i) { return apply_function(GetParam(), at_x(r, i)); }, kExp,
        20 * 0x1p-22);
}
TEST_P(ElementwiseFunctions, Gate) {
  run(RowsKind::kGate, GetParam());
  check([&](size_t r, size_t i) { return apply_function(GetParam(), at_x(r, i)) * at_y(r, i); },
        kExp, 20 * 20 * 0x1p-22);
}
INSTANTIATE_TEST_SUITE_P(All, ElementwiseFunctions,
                         testing::Values(Function::kSilu, Function::kGeluTanh, Function::kGeluErf,
                                         Function::kRelu));

class GroupNorm : public RowKernels, public testing::WithParamInterface<int> {};

TEST_P(GroupNorm, RootMeanSquare) {
  const int group = GetParam();
  const auto weight = runner.allocate<float>(index(group));
  for (float& w : weight) w = std::normal_distribution<float>(1, 0.5F)(random);
  GroupNormArgs a{};
  a.x = KernelRunner::const_ptr(x);
  a.out = KernelRunner::ptr(out);
  a.x_stride = a.out_stride = kStride;
  a.width = kWidth;
  a.group = group;
  a.norm = {NormKind::kRms, 1e-5F, KernelRunner::const_ptr(weight), {}};
  runner.run("group_norm", a, {kRows, 1, 1});
  check(
      [&](size_t r, size_t i) {
        const size_t in_group = i % index(group);
        double squares = 0;
        for (size_t e = 0; e < index(group); ++e) {
          const double v = x[r * kStride + i - in_group + e];
          squares += v * v;
        }
        return x[r * kStride + i] / std::sqrt(squares / group + double{1e-5F}) * weight[in_group];
      },
      (group / 32.0 + 10) * 0x1p-24, 0);
}
INSTANTIATE_TEST_SUITE_P(Groups, GroupNorm, testing::Values(7, 43, 301));

}  // namespace
}  // namespace outboard::devices::gpu::kernels
