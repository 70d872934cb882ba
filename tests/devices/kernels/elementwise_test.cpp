// Kernels on single rows against the same in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "devices/gpu/kernels/planes.h"
#include "tests/devices/kernels/test_input.h"
#include "tests/devices/kernels/test_step.h"

namespace outboard::devices::gpu::kernels {
namespace {

constexpr int kRows = 3, kWidth = 1204, kStride = 1208;
constexpr int kPositions[kRows] = {0, 4095, 100000};

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
    ElementwiseArgs a{};
    a.kind = kind;
    a.function = function;
    a.factor = factor;
    a.x = KernelRunner::const_ptr(x);
    if (kind != RowsKind::kScale) a.y = KernelRunner::const_ptr(y);
    a.y_stride = kStride;
    run(a);
  }
  // With x, y and what goes along with the kind.
  void run(ElementwiseArgs a) {
    const StepLayout layout = make_layout({.tokens = kRows, .rows = kRows});
    const auto record = runner.allocate<uint8_t>(index(layout.bytes));
    TestRecord test(record, layout);
    const auto row_token = test.row_token();
    for (int r = 0; r < kRows; ++r) {
      row_token[index(r)] = kRows - 1 - r;
      test.positions()[index(r)] = kPositions[r];
    }
    a.step = {KernelRunner::const_ptr(record), layout};
    a.width = kWidth;
    a.out = KernelRunner::ptr(out);
    a.x_stride = a.out_stride = kStride;
    runner.run("elementwise", a, {elementwise_workgroups(a), kRows, 1});
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

// Seven elements a value of the vector.
TEST_F(Elementwise, ScaleByAVector) {
  ElementwiseArgs a{};
  a.kind = RowsKind::kScale;
  a.factor = -0.5F;
  a.x = KernelRunner::const_ptr(x);
  a.y = KernelRunner::const_ptr(y);
  a.each = 7;
  run(a);
  check([&](size_t r, size_t i) { return at_x(r, i) * -0.5 * at_y(0, i / 7); }, kRounding, 0);
}
TEST_F(Elementwise, PositionScale) {
  ElementwiseArgs a{};
  a.kind = RowsKind::kPositionScale;
  a.factor = 0.1F;
  a.length = 4096;
  a.offset = 1;
  a.x = KernelRunner::const_ptr(x);
  run(a);
  check(
      [&](size_t r, size_t i) {
        const double steps = std::floor((kPositions[r] + 1) / 4096.0);
        return at_x(r, i) * (1 + double{0.1F} * std::log(1 + steps));
      },
      kRounding, 0);
}
// A gate for 43 neighbours.
TEST_F(Elementwise, GateOfManyElements) {
  ElementwiseArgs a{};
  a.kind = RowsKind::kGate;
  a.function = Function::kSigmoid;
  a.x = KernelRunner::const_ptr(x);
  a.y = KernelRunner::const_ptr(y);
  a.y_stride = kStride;
  a.each = 43;
  run(a);
  check([&](size_t r, size_t i) { return at_y(r, i) / (1 + std::exp(-at_x(r, i / 43))); }, kExp, 0);
}
TEST_F(Elementwise, SwigluOai) {
  run(RowsKind::kGate, Function::kSwigluOai);
  check(
      [&](size_t r, size_t i) {
        const double gate = std::min(at_x(r, i), 7.0);
        const double up = std::clamp(at_y(r, i), -7.0, 7.0);
        return gate / (1 + std::exp(-1.702 * gate)) * (up + 1);
      },
      kExp, 8 * 0x1p-20);
}
// Of runs of 41 elements in x the seven from the fifth on.
TEST_F(Elementwise, Slice) {
  const auto wide = runner.allocate<float>(kRows * kWidth / 7 * 41);
  for (size_t i = 0; i < wide.size(); ++i) wide[i] = static_cast<float>(i);
  ElementwiseArgs a{};
  a.kind = RowsKind::kSlice;
  a.x = KernelRunner::const_ptr(wide);
  a.each = 7;
  a.x_each = 41;
  a.begin = 5;
  run(a);
  check(
      [&](size_t r, size_t i) { return static_cast<double>(r * kStride + i / 7 * 41 + 5 + i % 7); },
      0, 0);
}
// Three elements of x, four of y in turns.
TEST_F(Elementwise, Concat) {
  ElementwiseArgs a{};
  a.kind = RowsKind::kConcat;
  a.x = KernelRunner::const_ptr(x);
  a.y = KernelRunner::const_ptr(y);
  a.y_stride = kStride;
  a.each = 7;
  a.x_each = 3;
  run(a);
  check(
      [&](size_t r, size_t i) {
        const size_t run = i / 7, within = i % 7;
        return within < 3 ? at_x(r, run * 3 + within) : at_y(r, run * 4 + within - 3);
      },
      0, 0);
}
TEST_F(Elementwise, Gather) {
  const auto order = runner.allocate<int32_t>(kRows);
  for (int r = 0; r < kRows; ++r) order[index(r)] = (r + 2) % kRows;
  ElementwiseArgs a{};
  a.kind = RowsKind::kGather;
  a.x = KernelRunner::const_ptr(x);
  a.y = {KernelRunner::const_ptr(order).address};
  run(a);
  check([&](size_t r, size_t i) { return at_x((r + 2) % kRows, i); }, 0, 0);
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
                                         Function::kRelu, Function::kSigmoid));

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
INSTANTIATE_TEST_SUITE_P(Groups, GroupNorm, testing::Values(7, 43, kWidth));

}  // namespace
}  // namespace outboard::devices::gpu::kernels
