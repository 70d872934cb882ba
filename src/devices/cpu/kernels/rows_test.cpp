// Every table's row kernels against double, and the choice of a table.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "devices/cpu/kernels/kernels.h"
#include "formats/quantize.h"

namespace outboard::devices::cpu {
namespace {

class RowsTest : public testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& kernels() const { return *GetParam(); }

  std::vector<float> random(size_t n, float size = 1) {
    std::normal_distribution<float> normal(0, size);
    std::vector<float> x(n);
    for (float& value : x) value = normal(engine_);
    return x;
  }

  std::mt19937 engine_{7};
};

const size_t kSizes[] = {1, 3, 8, 16, 17, 31, 64, 576, 1001};

TEST_P(RowsTest, RmsNorm) {
  for (const size_t n : kSizes) {
    const std::vector<float> x = random(n, 3);
    const std::vector<float> weight = random(n);
    double squares = 0;
    for (const float v : x) squares += static_cast<double>(v) * v;
    const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
    std::vector<float> plain(n);
    kernels().rms_norm(x.data(), nullptr, 1e-5F, static_cast<int64_t>(n), plain.data());
    std::vector<float> out = x;  // in place
    kernels().rms_norm(out.data(), weight.data(), 1e-5F, static_cast<int64_t>(n), out.data());
    for (size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(plain[i], x[i] * factor, 2e-6 * std::abs(x[i] * factor) + 1e-7);
      EXPECT_NEAR(out[i], x[i] * factor * weight[i],
                  2e-6 * std::abs(x[i] * factor * weight[i]) + 1e-7);
    }
  }
}

TEST_P(RowsTest, LayerNorm) {
  for (const size_t n : kSizes) {
    if (n < 3) continue;  // the variance of one number is all rounding
    std::vector<float> x = random(n, 3);
    for (float& v : x) v += 1.5F;
    const std::vector<float> weight = random(n);
    const std::vector<float> bias = random(n);
    double mean = 0;
    for (const float v : x) mean += v / static_cast<double>(n);
    double variance = 0;
    for (const float v : x) variance += (v - mean) * (v - mean) / static_cast<double>(n);
    const double factor = 1 / std::sqrt(variance + 1e-5);
    std::vector<float> plain(n);
    kernels().layer_norm(x.data(), nullptr, nullptr, 1e-5F, static_cast<int64_t>(n), plain.data());
    std::vector<float> out = x;
    kernels().layer_norm(out.data(), weight.data(), bias.data(), 1e-5F, static_cast<int64_t>(n),
                         out.data());
    for (size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(plain[i], (x[i] - mean) * factor, 3e-6);
      EXPECT_NEAR(out[i], (x[i] - mean) * factor * weight[i] + bias[i], 1e-5);
    }
  }
}

TEST_P(RowsTest, Rope) {
  for (const bool neox : {false, true}) {
    for (const int half : {1, 4, 12, 32, 37, 64}) {
      const auto n = static_cast<size_t>(half);
      std::vector<float> cos(n);
      std::vector<float> sin(n);
      for (size_t i = 0; i < n; ++i) {
        cos[i] = std::cos(static_cast<float>(i) + 1);
        sin[i] = std::sin(static_cast<float>(i) + 1);
      }
      const std::vector<float> x = random(2 * n + 5);
      std::vector<float> out = x;
      kernels().rope(out.data(), cos.data(), sin.data(), half, neox);
      for (size_t i = 0; i < n; ++i) {
        const size_t a = neox ? i : 2 * i;
        const size_t b = neox ? i + n : 2 * i + 1;
        EXPECT_NEAR(out[a], static_cast<double>(x[a]) * cos[i] - static_cast<double>(x[b]) * sin[i],
                    1e-6);
        EXPECT_NEAR(out[b], static_cast<double>(x[a]) * sin[i] + static_cast<double>(x[b]) * cos[i],
                    1e-6);
      }
      for (size_t i = 2 * n; i < x.size(); ++i) EXPECT_EQ(out[i], x[i]);
    }
  }
}

double reference(Unary f, double x) {
  switch (f) {
    case Unary::kSilu:
      return x / (1 + std::exp(-x));
    case Unary::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Unary::kGeluErf:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Unary::kRelu:
      return x > 0 ? x : 0;
    case Unary::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Unary::kReluSquared:
      return x > 0 ? x * x : 0;
    case Unary::kSwigluOai:
    case Unary::kIdentity:
      break;
  }
  return x;
}

TEST_P(RowsTest, UnaryAndGate) {
  for (const Unary f : {Unary::kSilu, Unary::kGeluTanh, Unary::kGeluErf, Unary::kRelu,
                        Unary::kSigmoid, Unary::kIdentity, Unary::kReluSquared}) {
    std::vector<float> x = random(2001, 4);
    for (const float edge :
         {0.0F, -0.0F, 1e-20F, -1e-6F, 30.0F, -30.0F, 90.0F, -90.0F, 1e4F, -1e4F}) {
      x.push_back(edge);
    }
    const std::vector<float> up = random(x.size());
    const auto n = static_cast<int64_t>(x.size());
    std::vector<float> out(x.size());
    std::vector<float> gated(x.size());
    kernels().unary(f, x.data(), n, out.data());
    kernels().gate(f, x.data(), up.data(), n, gated.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = reference(f, x[i]);
      const double tolerance =
          4e-7 * (std::abs(x[i]) < 1 && f != Unary::kSigmoid ? std::abs(x[i])
                                                             : std::abs(expected) + 1) +
          1e-30;
      EXPECT_NEAR(out[i], expected, tolerance) << x[i];
      EXPECT_NEAR(gated[i], expected * up[i], (tolerance + 1e-7) * (std::abs(up[i]) + 0.1)) << x[i];
    }
    const float nan = NAN;
    float result = 0;
    kernels().unary(f, &nan, 1, &result);
    if (f != Unary::kRelu) {
      EXPECT_TRUE(std::isnan(result));
    }
  }
}

// As gpt-oss's swiglu: the gate held below 7, up between -7 and 7.
TEST_P(RowsTest, SwigluOai) {
  std::vector<float> x = random(1003, 6), up = random(x.size(), 6);
  for (const float edge : {0.0F, 7.0F, 7.5F, -90.0F, 1e4F, -1e4F}) {
    x.push_back(edge);
    up.push_back(-edge);
  }
  std::vector<float> out(x.size());
  kernels().gate(Unary::kSwigluOai, x.data(), up.data(), static_cast<int64_t>(x.size()),
                 out.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const double g = std::min<double>(x[i], 7);
    const double u = std::clamp<double>(up[i], -7, 7);
    EXPECT_NEAR(out[i], g / (1 + std::exp(-1.702 * g)) * (u + 1), 6e-6) << x[i] << " " << up[i];
  }
}

TEST_P(RowsTest, SoftcapAddScaleHalf) {
  for (const size_t n : kSizes) {
    const auto count = static_cast<int64_t>(n);
    const std::vector<float> a = random(n, 20);
    const std::vector<float> b = random(n, 20);
    std::vector<float> out = a;
    kernels().softcap(out.data(), 30, count);
    for (size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(out[i], 30 * std::tanh(a[i] / 30.0),
                  4e-6 * std::min(30.0F, std::abs(a[i])) + 1e-12);
    }
    kernels().add(a.data(), b.data(), count, out.data());
    for (size_t i = 0; i < n; ++i) EXPECT_EQ(out[i], a[i] + b[i]);
    kernels().scale(a.data(), 0.3F, count, out.data());
    for (size_t i = 0; i < n; ++i) EXPECT_EQ(out[i], a[i] * 0.3F);
    std::vector<uint16_t> halves(n + 1, 0x1234);
    kernels().to_half(a.data(), count, halves.data());
    for (size_t i = 0; i < n; ++i) EXPECT_EQ(halves[i], formats::float_to_half(a[i]));
    EXPECT_EQ(halves[n], 0x1234);
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, RowsTest, testing::ValuesIn(available_kernels()),
                         [](const auto& row) { return std::string(row.param->name); });

TEST(Tables, ScalarIsAlwaysThereAndTheBestIsOneOfThem) {
  const std::vector<const Kernels*> tables = available_kernels();
  ASSERT_FALSE(tables.empty());
  EXPECT_STREQ(tables[0]->name, "scalar");
  bool found = false;
  for (const Kernels* table : tables) found = found || table == &best_kernels();
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace outboard::devices::cpu
