// Every table, weight type and shape against sums in double over the decoded weights.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "devices/cpu/kernels/kernels.h"
#include "formats/quantize.h"

namespace outboard::devices::cpu {
namespace {

using formats::TensorType;

const TensorType kTypes[] = {
    TensorType::F32,   TensorType::F16,     TensorType::BF16,    TensorType::Q4_0,
    TensorType::Q4_1,  TensorType::Q5_0,    TensorType::Q5_1,    TensorType::Q8_0,
    TensorType::Q2_K,  TensorType::Q3_K,    TensorType::Q4_K,    TensorType::Q5_K,
    TensorType::Q6_K,  TensorType::Q8_K,    TensorType::IQ4_NL,  TensorType::IQ4_XS,
    TensorType::IQ1_S, TensorType::IQ1_M,   TensorType::IQ2_XXS, TensorType::IQ2_XS,
    TensorType::IQ2_S, TensorType::IQ3_XXS, TensorType::IQ3_S,   TensorType::TQ1_0,
    TensorType::TQ2_0, TensorType::MXFP4};

// Random blocks whose values are of a sane size: any bits are valid but for the scales.
std::vector<std::byte> random_weights(TensorType type, int64_t elements, std::mt19937& random) {
  const formats::TypeInfo& info = formats::type_info(type);
  std::vector<std::byte> bytes(formats::storage_bytes(type, elements));
  if (formats::can_quantize(type) && !info.quantized) {
    std::vector<float> values(static_cast<size_t>(elements));
    std::normal_distribution<float> normal;
    for (float& value : values) value = normal(random);
    formats::quantize(type, values, bytes.data());
    return bytes;
  }
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  std::vector<float> values(static_cast<size_t>(info.block_elements));
  for (size_t at = 0; at < bytes.size(); at += info.block_bytes) {
    // Draw blocks anew until all their values are finite and not huge.
    for (bool good = false; !good;) {
      formats::dequantize(type, bytes.data() + at, values);
      good = true;
      for (const float value : values) good = good && std::abs(value) < 1e4F;
      if (good) break;
      for (size_t i = 0; i < info.block_bytes; ++i)
        bytes[at + i] = static_cast<std::byte>(random());
    }
  }
  return bytes;
}

struct Shape {
  int64_t rows;
  int64_t columns;
};

// 64-byte aligned memory, as the kernels are promised.
class Buffer {
 public:
  explicit Buffer(size_t bytes) : bytes_(bytes + 64) {}
  std::byte* data() {
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    return bytes_.data() + (64 - address % 64) % 64;
  }

 private:
  std::vector<std::byte> bytes_;
};

class LinearTest : public testing::TestWithParam<std::tuple<const Kernels*, TensorType>> {
 protected:
  const Kernels& kernels() const { return *std::get<0>(GetParam()); }
  TensorType type() const { return std::get<1>(GetParam()); }

  // Inputs with a few large elements, as real activations have.
  std::vector<float> random_inputs(int64_t n) {
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<size_t>(n));
    for (size_t i = 0; i < x.size(); ++i) x[i] = normal(random_) * (i % 97 == 0 ? 50.0F : 1.0F);
    return x;
  }

  std::vector<float> run(const Matrix& w, const std::vector<float>& x, int tokens, int64_t split,
                         const float* bias, const std::vector<float>* start) {
    const Packing packing = packing_for(w.type, w.byte_inputs);
    const size_t row = kernels().packed_row_bytes(packing, w.columns);
    EXPECT_EQ(row % 64, 0U);
    Buffer packed(row * static_cast<size_t>(tokens));
    Buffer scratch(kernels().linear_scratch_bytes(w.columns));
    kernels().pack(packing, x.data(), w.columns, tokens, w.columns, packed.data());
    std::vector<float> y(static_cast<size_t>(tokens * w.rows), 777.0F);
    if (start != nullptr) y = *start;
    for (int64_t begin = 0; begin < w.rows; begin += split) {
      kernels().linear(w, packed.data(), tokens, y.data(), w.rows, begin,
                       std::min(begin + split, w.rows), bias, start != nullptr, scratch.data());
    }
    return y;
  }

  std::mt19937 random_{12345};
};

TEST_P(LinearTest, AgreesWithDoubleSums) {
  const int64_t block = formats::type_info(type()).block_elements;
  std::vector<Shape> shapes = {{1, 576}, {17, 32}, {100, 576}, {33, 1536}, {16, 256}, {40, 2816}};
  if (block == 1) shapes.insert(shapes.end(), {{19, 45}, {21, 1045}});
  for (const Shape shape : shapes) {
    if (shape.columns % block != 0) continue;
    // The weights lie at the end of their buffer, off any alignment: reads past them are caught.
    std::vector<std::byte> bytes = random_weights(type(), shape.rows * shape.columns, random_);
    bytes.insert(bytes.begin(), std::byte{0});
    bytes.shrink_to_fit();
    Matrix w{type(), shape.rows, shape.columns, bytes.data() + 1};
    std::vector<float> weights(static_cast<size_t>(shape.rows * shape.columns));
    formats::dequantize(type(), w.data, weights);
    for (const int tokens : {1, 2, 3, 5, 16, 33, 64}) {
      SCOPED_TRACE(testing::Message() << shape.rows << " x " << shape.columns << ", " << tokens);
      const std::vector<float> x = random_inputs(tokens * shape.columns);
      const std::vector<float> bias = random_inputs(shape.rows);
      const std::vector<float> start = random_inputs(tokens * shape.rows);
      const std::vector<float> y = run(w, x, tokens, shape.rows, nullptr, nullptr);
      const std::vector<float> more = run(w, x, tokens, 16, bias.data(), &start);
      w.byte_inputs = true;
      const std::vector<float> bytes_in = run(w, x, tokens, shape.rows, nullptr, nullptr);
      w.byte_inputs = false;
      double worst = 0;
      double worst_of_bytes = 0;
      for (int t = 0; t < tokens; ++t) {
        for (int64_t r = 0; r < shape.rows; ++r) {
          double sum = 0;
          double size = 0;
          double most = 0;  // of the input's group of 32
          double step = 0;  // sum over groups of |w| times `most`
          for (int64_t c = 0; c < shape.columns; ++c) {
            const double weight = weights[static_cast<size_t>(r * shape.columns + c)];
            const float* input = &x[static_cast<size_t>(t * shape.columns + c)];
            if (c % 32 == 0) {
              most = 0;
              for (int64_t i = 0; i < std::min<int64_t>(32, shape.columns - c); ++i) {
                most = std::max<double>(most, std::abs(input[i]));
              }
            }
            const double term = weight * *input;
            step += std::abs(weight) * most;
            sum += term;
            size += std::abs(term);
          }
          const auto at = static_cast<size_t>(t * shape.rows + r);
          // Half a step of 16-bit activations, and the rounding of float sums.
          double tolerance = step / 65000 + size * 1e-6 + 1e-30;
          worst = std::max(worst, std::abs(y[at] - sum) / tolerance);
          worst_of_bytes =
              std::max(worst_of_bytes, std::abs(bytes_in[at] - sum) / (tolerance + step / 250));
          const double added = std::abs(bias[static_cast<size_t>(r)]) + std::abs(start[at]);
          tolerance += added * 1e-6;
          sum += bias[static_cast<size_t>(r)];
          worst = std::max(worst, std::abs(more[at] - sum - start[at]) / tolerance);
        }
      }
      EXPECT_LT(worst, 1);
      EXPECT_LT(worst_of_bytes, 1);
    }
  }
}

TEST_P(LinearTest, GivesATokenTheSameBitsInAnyBatchAndSplit) {
  const int64_t rows = 90;
  const int64_t columns = 768;
  const std::vector<std::byte> bytes = random_weights(type(), rows * columns, random_);
  Matrix w{type(), rows, columns, bytes.data()};
  constexpr int kTokens = 29;
  const std::vector<float> x = random_inputs(kTokens * columns);
  for (const bool byte_inputs : {false, true}) {
    w.byte_inputs = byte_inputs;
    const std::vector<float> together = run(w, x, kTokens, rows, nullptr, nullptr);
    EXPECT_EQ(run(w, x, kTokens, 32, nullptr, nullptr), together);
    for (const int count : {1, 2, 4, 7, 13}) {
      for (int t = 0; t + count <= kTokens; t += count) {
        const std::vector<float> part(x.begin() + t * columns, x.begin() + (t + count) * columns);
        const std::vector<float> y = run(w, part, count, rows, nullptr, nullptr);
        ASSERT_EQ(std::memcmp(y.data(), together.data() + t * rows, y.size() * sizeof(float)), 0)
            << count << " tokens from " << t;
      }
    }
  }
}

TEST_P(LinearTest, KeepsZeroAndTinyInputsFiniteAndShowsNan) {
  const int64_t columns = 256;
  const std::vector<std::byte> bytes = random_weights(type(), columns, random_);
  for (const bool byte_inputs : {false, true}) {
    const Matrix w{type(), 1, columns, bytes.data(), byte_inputs};
    std::vector<float> x(static_cast<size_t>(columns), 0.0F);
    EXPECT_EQ(run(w, x, 1, 1, nullptr, nullptr)[0], 0.0F);
    x[3] = 1e-38F;
    EXPECT_LT(std::abs(run(w, x, 1, 1, nullptr, nullptr)[0]), 1e-30F);
    x[40] = NAN;
    EXPECT_TRUE(std::isnan(run(w, x, 1, 1, nullptr, nullptr)[0]));
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, LinearTest,
                         testing::Combine(testing::ValuesIn(available_kernels()),
                                          testing::ValuesIn(kTypes)),
                         [](const auto& row) {
                           return std::string(std::get<0>(row.param)->name) + "_" +
                                  std::string(formats::type_info(std::get<1>(row.param)).name);
                         });

}  // namespace
}  // namespace outboard::devices::cpu
