#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/devices/kernels/test_step.h"
#include "tests/devices/kernels/test_weights.h"

namespace outboard::devices::gpu::kernels {
namespace {

using formats::TensorType;

// Scale, minimum and their sum with the code are float32, and of K formats a minimum as large as
// the largest weight may have been taken away.
double dequantize_bound(const TestMatrix& m, double value) {
  double largest = 0;
  for (const float v : m.values) largest = std::max(largest, std::abs(static_cast<double>(v)));
  return m.type == TensorType::F32 || m.type == TensorType::F16 || m.type == TensorType::BF16
             ? 0
             : std::abs(value) * 0x1p-22 + largest * 0x1p-22;
}

class Weights : public testing::TestWithParam<TensorType> {};

TEST_P(Weights, EmbedGivesWhatTheFileHolds) {
  std::mt19937 random(1);
  KernelRunner runner;
  const bool plain = formats::type_info(GetParam()).block_elements == 1;
  constexpr int kRows = 11;
  const TestMatrix m = make_matrix(runner, GetParam(), kRows, plain ? 771 : 768, random);

  TestLimits limits;
  limits.tokens = kRows;
  const StepLayout layout = make_layout(limits);
  const std::span<uint8_t> record = runner.allocate<uint8_t>(static_cast<size_t>(layout.bytes));
  TestRecord step(record, layout);
  for (int t = 0; t < kRows; ++t) {
    step.ids()[t] = kRows - 1 - t;
    step.positions()[t] = t;
  }
  const int stride = m.columns + 5;
  const std::span<float> out = runner.allocate<float>(static_cast<size_t>(kRows * stride));
  EmbedArgs args{};
  args.step = {KernelRunner::const_ptr(record), layout};
  args.table = m.matrix;
  args.positions.type = -1;
  args.scale = 2;
  args.stride = stride;
  args.out = KernelRunner::ptr(out);
  for (const bool by_token : {false, true}) {  // true: the table's rows are those of the tokens
    args.by_token = by_token ? 1 : 0;
    runner.run("embed", args, {kRows, 1, 1});
    for (int t = 0; t < kRows; ++t) {
      for (int c = 0; c < m.columns; ++c) {
        const double expected = 2 * m.at(by_token ? t : kRows - 1 - t, c);
        ASSERT_NEAR(out[t * stride + c], expected, 2 * dequantize_bound(m, expected))
            << "row " << t << ", column " << c;
      }
      for (int c = m.columns; c < stride; ++c)
        ASSERT_EQ(std::bit_cast<uint32_t>(out[t * stride + c]), 0xeeeeeeee);
    }
  }
}

// A matrix that comes in pieces lies as one that came at once.
TEST_P(Weights, RepackInPieces) {
  std::mt19937 random(2);
  KernelRunner runner;
  constexpr int kRows = 7;
  const TestMatrix m = make_matrix(runner, GetParam(), kRows, 512, random);
  const size_t bytes = planes(m.type, kRows, m.columns).bytes;
  const std::span<uint8_t> memory = runner.allocate<uint8_t>(bytes);
  const size_t row_bytes = m.blocks.size() / kRows;
  for (const auto& [first, rows] : {std::pair(0, 3), {3, 1}, {4, 3}}) {
    const auto piece = std::span<const std::byte>(m.blocks).subspan(
        static_cast<size_t>(first) * row_bytes, static_cast<size_t>(rows) * row_bytes);
    RepackArgs args{};
    args.blocks = {reinterpret_cast<uint64_t>(runner.upload(piece).data())};
    args.matrix = matrix(m.type, kRows, m.columns, KernelRunner::ptr(memory).address);
    args.first_row = first;
    args.rows = rows;
    runner.run("repack", args, {repack_workgroups(args), 1, 1});
  }
  const auto* whole = reinterpret_cast<const uint8_t*>(m.matrix.codes.address);
  EXPECT_EQ(std::memcmp(memory.data(), whole, bytes), 0);
}

TEST_P(Weights, PlanesTakeNoMoreThanTheFile) {
  for (const int64_t columns : {512, 768, 4096, 14336}) {
    for (const int64_t rows : {64, 151936}) {
      const auto file = static_cast<double>(formats::storage_bytes(GetParam(), rows * columns));
      EXPECT_LE(static_cast<double>(planes(GetParam(), rows, columns).bytes), file * 1.04)
          << rows << " x " << columns;
    }
  }
}

// Loading a model waits for it only if it takes more than the link does.
TEST_P(Weights, RepackIsCheap) {
  std::mt19937 random(3);
  KernelRunner runner;
  const TestMatrix m = make_matrix(runner, GetParam(), 256, 4096, random);
  const double waves = 256.0 * 4096 / 32 / 32;
  const double instructions = static_cast<double>(runner.counters().instructions()) / waves;
  RecordProperty("instructions", std::to_string(instructions));
  EXPECT_LT(instructions, 450) << "wave instructions for 1024 weights";
}

INSTANTIATE_TEST_SUITE_P(Types, Weights, testing::ValuesIn(kAllTypes),
                         [](const auto& type) { return type_name(type.param); });

TEST(Planes, RefusesWhatTheKernelsDoNotRead) {
  EXPECT_FALSE(supported(TensorType::IQ2_XXS));
  EXPECT_THROW(planes(TensorType::IQ2_XXS, 1, 256), std::exception);
  EXPECT_THROW(planes(TensorType::Q4_K, 1, 128), std::exception);
}

}  // namespace
}  // namespace outboard::devices::gpu::kernels
