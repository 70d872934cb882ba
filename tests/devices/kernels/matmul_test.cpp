#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/devices/kernels/test_weights.h"

namespace outboard::devices::gpu::kernels {
namespace {

using formats::TensorType;

// Rows as `prepare` leaves them: float16 times 2^-exponent, zeros behind the width.
struct HalfRows {
  int m = 0;
  int stride = 0;
  std::span<uint16_t> half;
  std::span<float> factor;

  double at(int row, int column) const {
    return static_cast<double>(
               formats::half_to_float(half[static_cast<size_t>(row * stride + column)])) *
           factor[static_cast<size_t>(row)];
  }
};

HalfRows make_rows(KernelRunner& runner, int m, int width, std::mt19937& random) {
  HalfRows rows;
  rows.m = m;
  rows.stride = (width + 15) / 16 * 16;
  rows.half = runner.allocate<uint16_t>(static_cast<size_t>(m * rows.stride));
  rows.factor = runner.allocate<float>(static_cast<size_t>(m));
  std::normal_distribution<float> normal(0.1F, 1);
  for (int r = 0; r < m; ++r) {
    rows.factor[r] = std::ldexp(1.0F, static_cast<int>(random() % 8) - 12);
    for (int c = 0; c < rows.stride; ++c) {
      const float v = normal(random) * (c % 100 == 7 ? 4000.0F : 50.0F);
      rows.half[r * rows.stride + c] = c < width ? formats::float_to_half(v) : uint16_t{0};
    }
  }
  return rows;
}

// The weight is rounded to float16, from a float32 that has 1024 times its scale added and taken
// away again; products are summed in float32.
void expect_product(const TestMatrix& m, const HalfRows& x, int row, int token, double add,
                    double softcap, float actual) {
  double value = 0;
  double bound = 0;
  double largest = 0;
  double sum = 0;
  for (int c = 0; c < m.columns; ++c) {
    const double product = m.at(row, c) * x.at(token, c);
    value += product;
    bound += std::abs(product) * 0x1p-11;
    largest = std::max(largest, std::abs(m.at(row, c)));
    sum += std::abs(x.at(token, c));
  }
  value += add;
  bound += sum * largest * 0x1p-16 + std::abs(value) * 0x1p-20;
  if (softcap != 0) value = softcap * std::tanh(value / softcap);
  ASSERT_NEAR(actual, value, bound) << "row " << row << ", token " << token;
}

MatmulArgs make_args(const HalfRows& x) {
  MatmulArgs args{};
  args.half = KernelRunner::const_ptr(x.half);
  args.factor = KernelRunner::const_ptr(x.factor);
  args.half_stride = x.stride;
  args.m = x.m;
  return args;
}

class MatmulTypes : public testing::TestWithParam<TensorType> {};

TEST_P(MatmulTypes, ShapesThatDoNotDivide) {
  std::mt19937 random(5);
  const int64_t block = formats::type_info(GetParam()).block_elements;
  const int columns[] = {block == 1 ? 77 : block == 32 ? 96 : 256, block == 1 ? 130 : 768};
  for (const auto& [rows, width, m] : {std::tuple(1, columns[0], 16),
                                       {37, columns[0], 48},
                                       {131, columns[0], 144},
                                       {16, columns[1], 32}}) {
    SCOPED_TRACE(fmt::format("{} x {} times {} rows", rows, width, m));
    KernelRunner runner;
    const TestMatrix matrix = make_matrix(runner, GetParam(), rows, width, random);
    const HalfRows x = make_rows(runner, m, width, random);
    const int stride = rows + 3;
    const std::span<float> out = runner.allocate<float>(static_cast<size_t>(m * stride));
    MatmulArgs args = make_args(x);
    args.parts[0].matrix = matrix.matrix;
    args.parts[0].out = KernelRunner::ptr(out);
    args.parts[0].stride = stride;
    args.part_count = 1;
    runner.run("matmul", args, {matmul_workgroups(args), 1, 1});
    for (int t = 0; t < m; ++t) {
      for (int r = 0; r < rows; ++r) expect_product(matrix, x, r, t, 0, 0, out[t * stride + r]);
      for (int r = rows; r < stride; ++r)
        ASSERT_EQ(std::bit_cast<uint32_t>(out[t * stride + r]), 0xeeeeeeee);
    }
  }
}

TEST_P(MatmulTypes, FewRows) {
  std::mt19937 random(5);
  const int64_t block = formats::type_info(GetParam()).block_elements;
  const int columns[] = {block == 1 ? 77 : block == 32 ? 96 : 256, block == 1 ? 290 : 2304};
  for (const auto& [rows, width, m] : {std::array{70, columns[0], 4},
                                       {33, columns[1], 16},
                                       {17, columns[1], 7},
                                       {5, columns[0], 1}}) {
    SCOPED_TRACE(fmt::format("{} x {} times {} rows", rows, width, m));
    KernelRunner runner;
    const TestMatrix matrix = make_matrix(runner, GetParam(), rows, width, random);
    const HalfRows x = make_rows(runner, m, width, random);
    const int stride = rows + 3;
    const std::span<float> out = runner.allocate<float>(static_cast<size_t>(m * stride));
    MatmulArgs args = make_args(x);
    args.parts[0].matrix = matrix.matrix;
    args.parts[0].out = KernelRunner::ptr(out);
    args.parts[0].stride = stride;
    args.part_count = 1;
    runner.run("matmul_few", args, {few_workgroups(args), 1, 1});
    for (int t = 0; t < m; ++t) {
      for (int r = 0; r < rows; ++r) expect_product(matrix, x, r, t, 0, 0, out[t * stride + r]);
      for (int r = rows; r < stride; ++r)
        ASSERT_EQ(std::bit_cast<uint32_t>(out[t * stride + r]), 0xeeeeeeee);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, MatmulTypes, testing::ValuesIn(kAllTypes),
                         [](const auto& type) { return type_name(type.param); });

void multiply_parts(const char* kernel, int kM, uint32_t (*workgroups)(const MatmulArgs&)) {
  std::mt19937 random(6);
  KernelRunner runner;
  constexpr int kWidth = 256;
  const HalfRows x = make_rows(runner, kM, kWidth, random);
  MatmulArgs args = make_args(x);
  args.part_count = 4;
  args.softcap = 900;
  std::vector<TestMatrix> matrices;
  std::vector<std::span<float>> outs;
  std::vector<std::vector<float>> before;
  std::vector<std::span<float>> biases;
  const TensorType types[] = {TensorType::Q4_K, TensorType::F16, TensorType::Q6_K, TensorType::F32};
  const int rows[] = {150, 40, 129, 48};
  std::normal_distribution<float> normal(0, 100);
  for (int i = 0; i < 4; ++i) {
    matrices.push_back(make_matrix(runner, types[i], rows[i], kWidth, random));
    biases.push_back(runner.allocate<float>(static_cast<size_t>(rows[i])));
    for (float& v : biases[i]) v = normal(random);
    outs.push_back(runner.allocate<float>(static_cast<size_t>(rows[i] * kM)));
    for (float& v : outs[i]) v = normal(random);
    before.emplace_back(outs[i].begin(), outs[i].end());
    args.parts[i].matrix = matrices[i].matrix;
    args.parts[i].out = KernelRunner::ptr(outs[i]);
    args.parts[i].stride = rows[i];
    if (i != 1) args.parts[i].bias = KernelRunner::const_ptr(biases[i]);
    args.parts[i].accumulate = i == 0 ? 0 : 1;
  }
  runner.run(kernel, args, {workgroups(args), 1, 1});
  for (int i = 0; i < 4; ++i) {
    for (int t = 0; t < kM; ++t) {
      for (int r = 0; r < rows[i]; ++r) {
        const auto at = static_cast<size_t>(t * rows[i] + r);
        double add = i != 1 ? biases[i][r] : 0;
        if (i != 0) add += before[i][at];
        expect_product(matrices[i], x, r, t, add, 900, outs[i][at]);
      }
    }
  }
}

TEST(Matmul, PartsOfDifferentTypesWithBiasResidualAndSoftcap) {
  multiply_parts("matmul", 32, matmul_workgroups);
}
TEST(MatmulFew, PartsOfDifferentTypesWithBiasResidualAndSoftcap) {
  multiply_parts("matmul_few", 11, few_workgroups);
}

TEST(MatmulFew, ReadsWeightsOnce) {
  std::mt19937 random(8);
  KernelRunner runner(false);
  constexpr int kRows = 4096;
  constexpr int kColumns = 4096;
  constexpr int kM = 8;
  const TestMatrix matrix = make_repeated_matrix(runner, TensorType::Q4_K, kRows, kColumns, random);
  const HalfRows x = make_rows(runner, kM, kColumns, random);
  const std::span<float> out = runner.allocate<float>(size_t{kM} * kRows);
  MatmulArgs args = make_args(x);
  args.parts[0].matrix = matrix.matrix;
  args.parts[0].out = KernelRunner::ptr(out);
  args.parts[0].stride = kRows;
  args.part_count = 1;
  const simulator::compute::Counters before = runner.counters();
  runner.run("matmul_few", args, {few_workgroups(args), 1, 1});
  const simulator::compute::Counters& after = runner.counters();
  const auto bytes = static_cast<double>(planes(matrix.type, kRows, kColumns).bytes);
  const auto missed = static_cast<double>(after.gl2_read_misses - before.gl2_read_misses) * 128;
  EXPECT_LE(missed, 1.02 * bytes);
  // Activations are asked for by each workgroup, by two waves at most. Lines of weights hold four
  // steps' and may be gone before all have been: rows lie a power of two apart.
  const auto read = static_cast<double>(after.gl2_reads - before.gl2_reads) * 128;
  EXPECT_LE(read, 4 * bytes + few_workgroups(args) * 2 * 2.0 * kM * kColumns);
  EXPECT_EQ(after.lds_bank_conflicts, before.lds_bank_conflicts);
  const auto instructions = static_cast<double>(after.instructions() - before.instructions());
  const double a_wmma = instructions / static_cast<double>(after.wmma - before.wmma);
  EXPECT_LE(a_wmma, 64);
}

// No more WMMAs than rounding up to fragments needs, and no bank conflicts.
TEST(Matmul, CountsWhatItShould) {
  std::mt19937 random(7);
  for (const int m : {16, 32, 64, 512}) {
    SCOPED_TRACE(m);
    KernelRunner runner(false);
    constexpr int kRows = 1000;
    constexpr int kColumns = 1024;
    const TestMatrix matrix =
        make_repeated_matrix(runner, TensorType::Q4_K, kRows, kColumns, random);
    const HalfRows x = make_rows(runner, m, kColumns, random);
    const std::span<float> out = runner.allocate<float>(static_cast<size_t>(m * kRows));
    MatmulArgs args = make_args(x);
    args.parts[0].matrix = matrix.matrix;
    args.parts[0].out = KernelRunner::ptr(out);
    args.parts[0].stride = kRows;
    args.part_count = 1;
    const simulator::compute::Counters before = runner.counters();
    runner.run("matmul", args, {matmul_workgroups(args), 1, 1});
    const simulator::compute::Counters& after = runner.counters();
    const double needed = (kRows + 15) / 16 * (m / 16) * (kColumns / 16);
    EXPECT_LE(static_cast<double>(after.wmma - before.wmma), 1.2 * needed);
    EXPECT_GE(static_cast<double>(after.wmma - before.wmma), needed);
    EXPECT_EQ(after.lds_bank_conflicts, before.lds_bank_conflicts);
  }
}

// More weights than GL2 holds (6 MiB), for four workgroups each: all but the first find them there.
TEST(Matmul, ReadsWeightsOnce) {
  std::mt19937 random(8);
  KernelRunner runner(false);
  constexpr int kRows = 8192;
  constexpr int kColumns = 2048;
  constexpr int kM = 512;
  const TestMatrix matrix = make_repeated_matrix(runner, TensorType::Q4_0, kRows, kColumns, random);
  const HalfRows x = make_rows(runner, kM, kColumns, random);
  const std::span<float> out = runner.allocate<float>(size_t{kM} * kRows);
  MatmulArgs args = make_args(x);
  args.parts[0].matrix = matrix.matrix;
  args.parts[0].out = KernelRunner::ptr(out);
  args.parts[0].stride = kRows;
  args.part_count = 1;
  const simulator::compute::Counters before = runner.counters();
  runner.run("matmul", args, {matmul_workgroups(args), 1, 1});
  const simulator::compute::Counters& after = runner.counters();
  const auto bytes = static_cast<double>(planes(matrix.type, kRows, kColumns).bytes);
  const auto read = static_cast<double>(after.gl2_read_misses - before.gl2_read_misses) * 128;
  // The activations may be read again as the output passes through.
  RecordProperty("weights_read", std::to_string(read / bytes));
  EXPECT_LE(read, 2 * bytes);
  const auto instructions = static_cast<double>(after.instructions() - before.instructions());
  const double a_wmma = instructions / static_cast<double>(after.wmma - before.wmma);
  RecordProperty("instructions_a_wmma", std::to_string(a_wmma));
  EXPECT_LE(a_wmma, 20);
}

}  // namespace
}  // namespace outboard::devices::gpu::kernels
