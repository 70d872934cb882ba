#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "devices/amd/kernels/test_input.h"
#include "devices/amd/kernels/test_weights.h"

namespace outboard::devices::amd::kernels {
namespace {

using formats::TensorType;

std::string kernel_name(int rows) { return "matvec_" + std::to_string(rows); }

// A product's expected value and how far a right result may be from it.
struct Expected {
  double value = 0;
  double bound = 0;
};

// Row `row` of the matrix times an input row: the input is rounded to float16 relative to its
// largest magnitude (2^-11, and nothing below 2^-27 of that), products are summed in float32 with
// codes offset by up to 1152 of a weight's 1 / 127 to 1 / 2 of the largest: 2^-24 of that for each
// sum, which go both ways.
Expected product(const TestMatrix& m, int row, std::span<const double> x,
                 std::span<const double> x_bound) {
  Expected e;
  double largest = 0;
  for (const double v : x) largest = std::max(largest, std::abs(v));
  double largest_weight = 0;
  double sum_x = 0;
  for (int c = 0; c < m.columns; ++c) {
    const double w = m.at(row, c);
    e.value += w * x[c];
    e.bound += std::abs(w) * (std::abs(x[c]) * 0x1p-11 + x_bound[c] + largest * 0x1p-27);
    largest_weight = std::max(largest_weight, std::abs(w));
    sum_x += std::abs(x[c]);
  }
  e.bound += largest_weight * sum_x * 0x1p-15 + 1e-30;
  return e;
}


class MatvecTypes : public testing::TestWithParam<TensorType> {};

TEST_P(MatvecTypes, EveryNumberOfRows) {
  std::mt19937 random(3);
  const bool plain = formats::type_info(GetParam()).block_elements == 1;
  const bool small = formats::type_info(GetParam()).block_elements == 32;
  for (const int rows : {1, 2, 4, 8}) {
    // Less than a wave has lanes, not a multiple of that, more than a tile holds.
    for (const int columns : {plain ? 77 : small ? 96 : 256, plain ? 1153 : 1280}) {
      for (const int matrix_rows : {1, 37}) {
        SCOPED_TRACE(fmt::format("{} x {} times {} rows", matrix_rows, columns, rows));
        KernelRunner runner;
        const TestMatrix m = make_matrix(runner, GetParam(), matrix_rows, columns, random);
        TestInput input(runner, rows, columns, random);
        const std::span<float> out = runner.allocate<float>(static_cast<size_t>(rows) * 40);
        MatvecArgs args{};
        args.step = input.step;
        args.input = input.input;
        args.parts[0].matrix = m.matrix;
        args.parts[0].out = KernelRunner::ptr(out);
        args.parts[0].stride = 40;
        args.part_count = 1;
        runner.run(kernel_name(rows), args, {matvec_workgroups(args), 1, 1});
        const std::vector<ExpectedRow> x = input.expected();
        for (int b = 0; b < rows; ++b) {
          for (int r = 0; r < matrix_rows; ++r) {
            const Expected e = product(m, r, x[b].value, x[b].bound);
            ASSERT_NEAR(out[b * 40 + r], e.value, e.bound) << "row " << r << " times row " << b;
          }
          for (int r = matrix_rows; r < 40; ++r)
            ASSERT_EQ(std::bit_cast<uint32_t>(out[b * 40 + r]), 0xeeeeeeee);
        }
      }
    }
  }
}

// What the card would do for a matrix of usual shape.
TEST_P(MatvecTypes, ReadsEachByteOnceWithFewInstructions) {
  std::mt19937 random(4);
  for (const int rows : {1, 2, 4, 8}) {
    KernelRunner runner(false);
    constexpr int kRows = 1024;
    constexpr int kColumns = 2048;
    const TestMatrix m = make_matrix(runner, GetParam(), kRows, kColumns, random);
    InputOptions options;
    options.norm = NormKind::kRms;
    TestInput input(runner, rows, kColumns, random, options);
    const std::span<float> out = runner.allocate<float>(static_cast<size_t>(rows) * kRows);
    MatvecArgs args{};
    args.step = input.step;
    args.input = input.input;
    args.parts[0].matrix = m.matrix;
    args.parts[0].out = KernelRunner::ptr(out);
    args.parts[0].stride = kRows;
    args.part_count = 1;
    const simulator::compute::Counters before = runner.counters();
    runner.run(kernel_name(rows), args, {matvec_workgroups(args), 1, 1});
    const simulator::compute::Counters& after = runner.counters();
    const double weights = double{kRows} * kColumns;
    const auto instructions = static_cast<double>(after.instructions() - before.instructions());
    fmt::print("{} B={}: {:.2f} instructions for 32 weights; valu {:.2f} dot {:.2f} lds {:.2f} vmem {:.2f} salu {:.2f} wait {:.2f} other {:.2f} branch {:.2f} smem {:.2f}; conflicts {} miss {:.3f} of planes\n", type_name(GetParam()), rows, instructions * 32 / weights,
               double(after.valu-before.valu)*32/weights, double(after.dot-before.dot)*32/weights, double(after.lds-before.lds)*32/weights, double(after.vmem_load-before.vmem_load)*32/weights, double(after.salu-before.salu)*32/weights, double(after.waitcnt-before.waitcnt)*32/weights, double(after.other-before.other)*32/weights, double(after.branch-before.branch)*32/weights, double(after.smem-before.smem)*32/weights,
               after.lds_bank_conflicts - before.lds_bank_conflicts, double(after.gl2_miss_bytes - before.gl2_miss_bytes)/double(planes(m.type, kRows, kColumns).bytes));
  }
}

INSTANTIATE_TEST_SUITE_P(Types, MatvecTypes, testing::ValuesIn(kAllTypes),
                         [](const auto& type) { return type_name(type.param); });

}  // namespace
}  // namespace outboard::devices::amd::kernels
