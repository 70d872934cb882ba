// Recurrences of every table against the same in double, and bit for bit however a run is cut.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "devices/cpu/kernels/kernels.h"

namespace outboard::devices::cpu {
namespace {

class RecurrenceTest : public testing::TestWithParam<const Kernels*> {
 protected:
  std::vector<float> random(size_t n, float spread = 1) {
    std::normal_distribution<float> normal(0, spread);
    std::vector<float> values(n);
    for (float& v : values) v = normal(generator_);
    return values;
  }

 private:
  std::mt19937 generator_{3};
};
INSTANTIATE_TEST_SUITE_P(Tables, RecurrenceTest, testing::ValuesIn(available_kernels()),
                         [](const auto& test) { return std::string(test.param->name); });

constexpr int kTokens = 9;
constexpr int64_t kRows = 20, kStride = 48;

TEST_P(RecurrenceTest, GatedDelta) {
  for (const int64_t columns : {1, 16, 37, 48}) {
    const auto q = random(kTokens * kRows), k = random(kTokens * kRows, 0.2F);
    const auto v = random(kTokens * kStride);
    std::vector<DeltaToken> each;
    for (int t = 0; t < kTokens; ++t)
      each.push_back({0.9F - 0.05F * static_cast<float>(t), 0.8F, 0.5F, 0.25F});
    const std::vector<float> before = random(kRows * kStride);
    std::vector<float> state = before, out(kTokens * kStride, -77.0F);
    const auto run = [&](std::vector<float>& s, std::vector<float>& y, int first, int tokens) {
      DeltaRun r{};
      r.state = s.data();
      r.state_stride = r.v_stride = r.out_stride = kStride;
      r.rows = r.q_stride = r.k_stride = kRows;
      r.columns = columns;
      r.tokens = tokens;
      r.each = each.data() + first;
      r.q = q.data() + first * kRows;
      r.k = k.data() + first * kRows;
      r.v = v.data() + first * kStride;
      r.out = y.data() + first * kStride;
      GetParam()->gated_delta(r);
    };
    run(state, out, 0, kTokens);
    for (int64_t c = 0; c < kStride; ++c) {
      std::vector<double> s;
      for (int64_t r = 0; r < kRows; ++r) s.push_back(before[static_cast<size_t>(r * kStride + c)]);
      for (int t = 0; t < kTokens; ++t) {
        const DeltaToken& token = each[static_cast<size_t>(t)];
        const auto at = [&](const std::vector<float>& x, int64_t r) {
          return static_cast<double>(x[static_cast<size_t>(t * kRows + r)]);
        };
        const float got = out[static_cast<size_t>(t * kStride + c)];
        if (c >= columns) {
          ASSERT_EQ(got, -77.0F);
          continue;
        }
        double seen = 0, sum = 0;
        for (int64_t r = 0; r < kRows; ++r) seen += at(k, r) * s[static_cast<size_t>(r)];
        const double change =
            token.write * (v[static_cast<size_t>(t * kStride + c)] - token.recall * seen);
        for (int64_t r = 0; r < kRows; ++r) {
          double& e = s[static_cast<size_t>(r)];
          e = token.decay * e + at(k, r) * change;
          sum += at(q, r) * e;
        }
        ASSERT_NEAR(got, token.read * sum, 2e-5) << columns << " columns, " << c << ", token " << t;
      }
      for (int64_t r = 0; r < kRows; ++r)
        ASSERT_NEAR(state[static_cast<size_t>(r * kStride + c)], s[static_cast<size_t>(r)], 2e-5);
    }
    std::vector<float> cut = before, cut_out(out.size(), -77.0F);
    for (const auto& [first, tokens] : {std::pair(0, 1), {1, 5}, {6, 3}})
      run(cut, cut_out, first, tokens);
    EXPECT_EQ(cut, state);
    EXPECT_EQ(cut_out, out);
  }
}

TEST_P(RecurrenceTest, SelectiveScan) {
  for (const int64_t columns : {1, 16, 37, 48}) {
    const auto b = random(kTokens * kRows), c = random(kTokens * kRows);
    const auto x = random(kTokens * kStride);
    std::vector<ScanToken> each;
    for (int t = 0; t < kTokens; ++t) each.push_back({0.9F - 0.05F * static_cast<float>(t), 0.3F});
    const std::vector<float> before = random(kRows * kStride);
    std::vector<float> state = before, out(kTokens * kStride, -77.0F);
    const auto run = [&](std::vector<float>& s, std::vector<float>& y, int first, int tokens) {
      ScanRun r{};
      r.state = s.data();
      r.state_stride = r.x_stride = r.out_stride = kStride;
      r.rows = r.b_stride = r.c_stride = kRows;
      r.columns = columns;
      r.tokens = tokens;
      r.each = each.data() + first;
      r.skip = 0.7F;
      r.x = x.data() + first * kStride;
      r.b = b.data() + first * kRows;
      r.c = c.data() + first * kRows;
      r.out = y.data() + first * kStride;
      GetParam()->selective_scan(r);
    };
    run(state, out, 0, kTokens);
    for (int64_t i = 0; i < kStride; ++i) {
      std::vector<double> s;
      for (int64_t r = 0; r < kRows; ++r) s.push_back(before[static_cast<size_t>(r * kStride + i)]);
      for (int t = 0; t < kTokens; ++t) {
        const float got = out[static_cast<size_t>(t * kStride + i)];
        if (i >= columns) {
          ASSERT_EQ(got, -77.0F);
          continue;
        }
        const ScanToken& token = each[static_cast<size_t>(t)];
        const double in = x[static_cast<size_t>(t * kStride + i)];
        double sum = 0.7F * in;
        for (int64_t r = 0; r < kRows; ++r) {
          double& e = s[static_cast<size_t>(r)];
          e = token.decay * e + b[static_cast<size_t>(t * kRows + r)] * (token.step * in);
          sum += c[static_cast<size_t>(t * kRows + r)] * e;
        }
        ASSERT_NEAR(got, sum, 2e-5 * (1 + std::abs(sum))) << columns << " columns, " << i;
      }
    }
    std::vector<float> cut = before, cut_out(out.size(), -77.0F);
    for (const auto& [first, tokens] : {std::pair(0, 1), {1, 5}, {6, 3}})
      run(cut, cut_out, first, tokens);
    EXPECT_EQ(cut, state);
    EXPECT_EQ(cut_out, out);
  }
}

}  // namespace
}  // namespace outboard::devices::cpu
