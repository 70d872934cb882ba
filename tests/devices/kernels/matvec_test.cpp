#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/devices/kernels/test_input.h"
#include "tests/devices/kernels/test_weights.h"

namespace outboard::devices::gpu::kernels {
namespace {

using formats::TensorType;

struct MatvecKernel {
  std::string name;
  int rows = 1;
};

const MatvecKernel kMatvecs[] = {{"matvec_1"},    {"matvec_1_plain"}, {"matvec_1_narrow"},
                                 {"matvec_2", 2}, {"matvec_4", 4},    {"matvec_8", 8}};

// One row may be for any of three kernels: the general one takes all, `plain` what `narrow` does.
bool takes(const MatvecKernel& kernel, const MatvecArgs& args) {
  if (kernel.name == "matvec_1_plain") return is_plain(args.input);
  return kernel.name != "matvec_1_narrow" || matvec_kernel(args, 1) == kernel.name;
}

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
  for (const auto& [kernel, rows] : kMatvecs) {
    // Less than a wave has lanes, not a multiple of that, more than a tile holds.
    for (const int columns : {plain ? 77 : small ? 96 : 256, plain ? 1153 : 1280}) {
      for (const int matrix_rows : {1, 37}) {
        SCOPED_TRACE(fmt::format("{}: {} x {}", kernel, matrix_rows, columns));
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
        if (!takes({kernel, rows}, args)) continue;
        runner.run(kernel, args, {plan_matvec(args, rows), 1, 1});
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

// Matrices that are more than GL2 holds (6 MiB), so that what `repack` left there does not help.
// The instructions are what more pairs of rows take, without what each workgroup begins with. The
// limits are what they were when this was written, and a tenth; some 0.3 are the end of each row,
// as much again what loads the next weights while these are multiplied.
double instruction_limit(TensorType type) {
  switch (type) {
    case TensorType::F16:
      return 1.2;
    case TensorType::F32:
      return 2.5;
    case TensorType::Q4_0:
    case TensorType::Q4_1:
    case TensorType::Q8_0:
      return 2.8;
    case TensorType::Q4_K:
      return 3.1;
    case TensorType::Q2_K:
      return 3.5;
    case TensorType::BF16:
    case TensorType::Q5_0:
    case TensorType::Q5_1:
      return 3.9;
    default:
      return 4.7;  // Q3_K, Q5_K, Q6_K, of codebooks
  }
}

TEST_P(MatvecTypes, ReadsEachByteOnceWithFewInstructions) {
  std::mt19937 random(4);
  constexpr int kColumns = 2048;
  double instructions[2];
  const int matrix_rows[2] = {12288, 18432};
  for (int i = 0; i < 2; ++i) {
    KernelRunner runner(false);
    const TestMatrix m = make_repeated_matrix(runner, GetParam(), matrix_rows[i], kColumns, random);
    TestInput input(runner, 1, kColumns, random);
    const std::span<float> out = runner.allocate<float>(static_cast<size_t>(matrix_rows[i]));
    MatvecArgs args{};
    args.step = input.step;
    args.input = input.input;
    args.parts[0].matrix = m.matrix;
    args.parts[0].out = KernelRunner::ptr(out);
    args.parts[0].stride = matrix_rows[i];
    args.part_count = 1;
    const simulator::compute::Counters before = runner.counters();
    runner.run(matvec_kernel(args, 1), args, {plan_matvec(args, 1), 1, 1});
    const simulator::compute::Counters& after = runner.counters();
    instructions[i] = static_cast<double>(after.instructions() - before.instructions());
    EXPECT_EQ(after.lds_bank_conflicts, before.lds_bank_conflicts);
    const auto bytes = static_cast<double>(planes(m.type, matrix_rows[i], kColumns).bytes);
    const auto read = static_cast<double>(after.gl2_read_misses - before.gl2_read_misses) * 128;
    EXPECT_LE(read, 1.01 * bytes);
    EXPECT_GE(read, 0.5 * bytes);
  }
  const double each =
      (instructions[1] - instructions[0]) * 32 / (matrix_rows[1] - matrix_rows[0]) / kColumns;
  RecordProperty("instructions_for_32_weights", std::to_string(each));
  EXPECT_LE(each, instruction_limit(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Types, MatvecTypes, testing::ValuesIn(kAllTypes),
                         [](const auto& type) { return type_name(type.param); });

// Every kind of input, with and without norms, over widths that do and do not divide.
struct InputCase {
  const char* name;
  int width;
  InputOptions options;
};

std::vector<InputCase> input_cases() {
  std::vector<InputCase> cases;
  const auto add = [&](const char* name, int width, auto change) {
    InputOptions o;
    change(o);
    cases.push_back({name, width, o});
  };
  add("Rms", 576, [](auto& o) { o.norm = NormKind::kRms; });
  add("RmsRagged", 99, [](auto& o) { o.norm = NormKind::kRms; });
  add("RmsWide", 5000, [](auto& o) { o.norm = NormKind::kRms; });
  add("RmsAsWideAsLds", 14336, [](auto& o) { o.norm = NormKind::kRms; });
  add("NoNorm", 1284, [](auto&) {});
  add("LayerBias", 768, [](auto& o) { o.norm = NormKind::kLayer, o.bias = true; });
  add("LayerRagged", 1030, [](auto& o) { o.norm = NormKind::kLayer, o.bias = true; });
  add("AddSum", 2112, [](auto& o) { o.add = o.sum = true, o.norm = NormKind::kRms; });
  add("AddSumWide", 16000, [](auto& o) { o.add = o.sum = true, o.norm = NormKind::kLayer; });
  add("AddNormed", 640,
      [](auto& o) { o.add = o.sum = true, o.add_norm = NormKind::kRms, o.norm = NormKind::kRms; });
  add("NormStored", 1031, [](auto& o) { o.norm = NormKind::kLayer, o.bias = o.normed = true; });
  add("SumAndNormStored", 640,
      [](auto& o) { o.add = o.sum = o.normed = true, o.norm = NormKind::kRms; });
  add("AddLayerNormed", 333,
      [](auto& o) { o.add = true, o.bias = true, o.add_norm = NormKind::kLayer; });
  add("Selected", 320, [](auto& o) { o.selected = true, o.norm = NormKind::kRms; });
  add("SelectedSum", 320, [](auto& o) { o.selected = o.add = o.sum = true; });
  for (const Function f :
       {Function::kSilu, Function::kGeluTanh, Function::kGeluErf, Function::kRelu}) {
    add("Gated", 416, [&](auto& o) { o.kind = InputKind::kGated, o.function = f; });
    add("Activated", 2500, [&](auto& o) { o.kind = InputKind::kActivated, o.function = f; });
  }
  return cases;
}

class MatvecInputs : public testing::TestWithParam<MatvecKernel> {};

TEST_P(MatvecInputs, EveryKind) {
  const auto& [kernel, rows] = GetParam();
  int taken = 0;
  std::mt19937 random(8);
  for (const InputCase& c : input_cases()) {
    SCOPED_TRACE(c.name);
    KernelRunner runner;
    constexpr int kRows = 21;
    const TestMatrix m = make_matrix(runner, TensorType::F16, kRows, c.width, random);
    TestInput input(runner, rows, c.width, random, c.options);
    const std::span<float> out = runner.allocate<float>(static_cast<size_t>(rows) * kRows);
    MatvecArgs args{};
    args.step = input.step;
    args.input = input.input;
    args.parts[0].matrix = m.matrix;
    args.parts[0].out = KernelRunner::ptr(out);
    args.parts[0].stride = kRows;
    args.part_count = 1;
    if (!takes(GetParam(), args)) continue;
    ++taken;
    runner.run(kernel, args, {plan_matvec(args, rows), 1, 1});
    const std::vector<ExpectedRow> x = input.expected();
    for (int b = 0; b < rows; ++b) {
      for (int r = 0; r < kRows; ++r) {
        const Expected e = product(m, r, x[b].value, x[b].bound);
        ASSERT_NEAR(out[b * kRows + r], e.value, e.bound) << "row " << r << " times row " << b;
      }
      for (int i = 0; c.options.normed && i < c.width; ++i)
        ASSERT_NEAR(input.normed()[static_cast<size_t>(b * input.input.normed_stride + i)],
                    x[b].value[i], x[b].bound[i] + std::abs(x[b].value[i]) * 0x1p-22 + 1e-30)
            << "normed, column " << i;
      if (!c.options.sum) continue;
      const ExpectedRow sum = input.before_norm(input.token_of(b));
      for (int i = 0; i < c.width; ++i) {
        const size_t at = static_cast<size_t>(input.token_of(b) * input.input.sum_stride + i);
        ASSERT_NEAR(input.sum()[at], sum.value[i], sum.bound[i] + 1e-30) << "sum, column " << i;
      }
    }
  }
  EXPECT_GE(taken, 4);
}

INSTANTIATE_TEST_SUITE_P(Kernels, MatvecInputs, testing::ValuesIn(kMatvecs),
                         [](const auto& test) { return test.param.name; });

// The same rows for matmul.
TEST(Prepare, EveryKind) {
  std::mt19937 random(9);
  constexpr int kRows = 8;
  for (const InputCase& c : input_cases()) {
    SCOPED_TRACE(c.name);
    KernelRunner runner;
    TestInput input(runner, kRows, c.width, random, c.options);
    PrepareArgs args{};
    args.step = input.step;
    args.input = input.input;
    args.half_stride = (c.width + 15) / 16 * 16 + 16;
    args.out_stride = c.width + 5;
    const auto half = runner.allocate<uint16_t>(static_cast<size_t>(kRows * args.half_stride));
    const auto factor = runner.allocate<float>(kRows);
    const auto out = runner.allocate<float>(static_cast<size_t>(kRows * args.out_stride));
    args.half = KernelRunner::ptr(half);
    args.factor = KernelRunner::ptr(factor);
    args.out = KernelRunner::ptr(out);
    runner.run("prepare", args, {kRows, 1, 1});
    const std::vector<ExpectedRow> x = input.expected();
    for (int r = 0; r < kRows; ++r) {
      double largest = 0;
      for (const double v : x[r].value) largest = std::max(largest, std::abs(v));
      for (int i = 0; i < c.width; ++i) {
        const double v = x[r].value[i];
        const double bound = x[r].bound[i] + std::abs(v) * 0x1p-22 + 1e-30;
        ASSERT_NEAR(out[r * args.out_stride + i], v, bound) << "row " << r << ", column " << i;
        const double h = formats::half_to_float(half[r * args.half_stride + i]);
        ASSERT_NEAR(h * factor[r], v, bound + std::abs(v) * 0x1p-11 + largest * 0x1p-27);
        if (!c.options.normed) continue;
        ASSERT_NEAR(input.normed()[static_cast<size_t>(r * input.input.normed_stride + i)], v,
                    bound);
      }
      for (int i = c.width; i < args.half_stride; ++i) ASSERT_EQ(half[r * args.half_stride + i], 0);
      for (int i = c.width; i < args.out_stride; ++i)
        ASSERT_EQ(std::bit_cast<uint32_t>(out[r * args.out_stride + i]), 0xeeeeeeee);
    }
  }
}

// --- what follows the product ---

struct Products {
  std::vector<TestMatrix> matrices;
  std::vector<std::span<float>> outs;
  std::vector<std::span<float>> biases;
  std::vector<std::vector<float>> before;
};

Products make_parts(KernelRunner& runner, MatvecArgs& args, int batch, int width,
                    std::span<const std::pair<TensorType, int>> parts, std::mt19937& random) {
  Products p;
  std::normal_distribution<float> normal(0, 3);
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto [type, rows] = parts[i];
    p.matrices.push_back(make_matrix(runner, type, rows, width, random));
    p.biases.push_back(runner.allocate<float>(static_cast<size_t>(rows)));
    for (float& v : p.biases[i]) v = normal(random);
    p.outs.push_back(runner.allocate<float>(static_cast<size_t>(rows * batch)));
    for (float& v : p.outs[i]) v = normal(random);
    p.before.emplace_back(p.outs[i].begin(), p.outs[i].end());
    args.parts[i].matrix = p.matrices[i].matrix;
    args.parts[i].out = KernelRunner::ptr(p.outs[i]);
    args.parts[i].stride = rows;
  }
  args.part_count = static_cast<int32_t>(parts.size());
  return p;
}

TEST(Matvec, PartsOfDifferentTypesWithBiasResidualAndSoftcap) {
  std::mt19937 random(10);
  for (const auto& [kernel, batch] : kMatvecs) {
    KernelRunner runner;
    constexpr int kWidth = 512;
    TestInput input(runner, batch, kWidth, random);
    MatvecArgs args{};
    args.step = input.step;
    args.input = input.input;
    args.softcap = 300;
    const std::pair<TensorType, int> parts[] = {{TensorType::Q4_K, 33},
                                                {TensorType::Q8_0, 9},
                                                {TensorType::Q6_K, 40},
                                                {TensorType::F32, 12}};
    const Products p = make_parts(runner, args, batch, kWidth, parts, random);
    args.parts[0].bias = KernelRunner::const_ptr(p.biases[0]);
    args.parts[1].accumulate = 1;
    args.parts[2].bias = KernelRunner::const_ptr(p.biases[2]);
    args.parts[2].accumulate = 1;
    ASSERT_TRUE(takes({kernel, batch}, args));
    runner.run(kernel, args, {plan_matvec(args, batch), 1, 1});
    const std::vector<ExpectedRow> x = input.expected();
    for (int i = 0; i < 4; ++i) {
      for (int b = 0; b < batch; ++b) {
        for (int r = 0; r < parts[i].second; ++r) {
          const auto at = static_cast<size_t>(b * parts[i].second + r);
          const Expected e = product(p.matrices[i], r, x[b].value, x[b].bound);
          double v = e.value + (i % 2 == 0 ? p.biases[i][r] : 0) +
                     (i == 1 || i == 2 ? p.before[i][at] : 0);
          v = 300 * std::tanh(v / 300);
          ASSERT_NEAR(p.outs[i][at], v, e.bound + 1e-4) << "part " << i << ", row " << r;
        }
      }
    }
  }
}

TEST(Matvec, Gated) {
  std::mt19937 random(11);
  for (const auto& [kernel, batch] : kMatvecs) {
    for (const Function f :
         {Function::kSilu, Function::kGeluTanh, Function::kGeluErf, Function::kRelu}) {
      KernelRunner runner;
      constexpr int kWidth = 256;
      constexpr int kRows = 45;
      TestInput input(runner, batch, kWidth, random);
      MatvecArgs args{};
      args.step = input.step;
      args.input = input.input;
      args.gated = 1;
      args.function = f;
      const std::pair<TensorType, int> parts[] = {{TensorType::Q4_K, kRows},
                                                  {TensorType::Q4_K, kRows}};
      const Products p = make_parts(runner, args, batch, kWidth, parts, random);
      for (int i = 0; i < 2; ++i) args.parts[i].bias = KernelRunner::const_ptr(p.biases[i]);
      ASSERT_TRUE(takes({kernel, batch}, args));
      runner.run(kernel, args, {plan_matvec(args, batch), 1, 1});
      const std::vector<ExpectedRow> x = input.expected();
      for (int b = 0; b < batch; ++b) {
        for (int r = 0; r < kRows; ++r) {
          const Expected gate = product(p.matrices[0], r, x[b].value, x[b].bound);
          const Expected up = product(p.matrices[1], r, x[b].value, x[b].bound);
          const double g = gate.value + p.biases[0][r];
          const double u = up.value + p.biases[1][r];
          // No activation is steeper than 1.13, or off by more than 2^-21 of its argument.
          const double bound = 1.13 * gate.bound * std::abs(u) +
                               (std::abs(g) + gate.bound) * (up.bound + std::abs(u) * 0x1p-21);
          ASSERT_NEAR(p.outs[0][static_cast<size_t>(b * kRows + r)], apply_function(f, g) * u,
                      bound + 1e-6)
              << "row " << r << ", function " << static_cast<int>(f);
        }
      }
      EXPECT_EQ(std::vector<float>(p.outs[1].begin(), p.outs[1].end()), p.before[1]);
    }
  }
}

}  // namespace
}  // namespace outboard::devices::gpu::kernels
