// For tests: an Input of random rows, and what becomes of it in float64.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "tests/devices/kernels/test_step.h"

namespace outboard::devices::gpu::kernels {

struct ExpectedRow {
  std::vector<double> value;
  std::vector<double> bound;  // how far a float32 result may be from it
};

inline double apply_function(Function f, double x) {
  switch (f) {
    case Function::kSilu:
      return x / (1 + std::exp(-x));
    case Function::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Function::kGeluErf:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Function::kRelu:
      return std::max(x, 0.0);
    case Function::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Function::kReluSquared:
      return x > 0 ? x * x : 0;
    case Function::kIdentity:
      return x;
    case Function::kSwigluOai:
      break;
  }
  return 0;
}

struct InputOptions {
  InputKind kind = InputKind::kRows;
  Function function = Function::kSilu;
  bool selected = false;
  bool add = false;
  bool sum = false;
  bool normed = false;  // stored too
  NormKind add_norm = NormKind::kNone;
  NormKind norm = NormKind::kNone;
  bool bias = false;
};

class TestInput {
 public:
  TestInput(KernelRunner& runner, int rows, int width, std::mt19937& random,
            const InputOptions& options = {})
      : runner_(runner), random_(random), options_(options), rows_(rows), width_(width) {
    tokens_ = options.selected ? rows + 3 : rows;
    TestLimits limits;
    limits.tokens = tokens_;
    limits.rows = rows;
    layout_ = make_layout(limits);
    const std::span<uint8_t> record = runner.allocate<uint8_t>(static_cast<size_t>(layout_.bytes));
    TestRecord view(record, layout_);
    for (int t = 0; t < tokens_; ++t) view.positions()[t] = 0;
    for (int r = 0; r < rows; ++r) view.row_token()[r] = token_of(r);
    step = {KernelRunner::const_ptr(record), layout_};

    input.kind = options.kind;
    input.function = options.function;
    input.width = width;
    input.selected = options.selected ? 1 : 0;
    // Residual streams have a few columns that are much larger than all others.
    x_ = make_rows(width + 3, 1, 3000);
    input.x = KernelRunner::const_ptr(x_);
    input.x_stride = width + 3;
    if (options.kind == InputKind::kGated) {
      y_ = make_rows(width + 1, 1, 20);
      input.y = KernelRunner::const_ptr(y_);
      input.y_stride = width + 1;
    }
    if (options.kind != InputKind::kRows)
      for (float& v : x_) v = std::clamp(v, -30.0F, 30.0F);
    if (options.add) {
      add_ = make_rows(width + 2, 2, 50);
      input.add = KernelRunner::const_ptr(add_);
      input.add_stride = width + 2;
      if (options.sum) {
        sum_ = runner.allocate<float>(static_cast<size_t>(tokens_ * (width + 4)));
        input.sum = KernelRunner::ptr(sum_);
        input.sum_stride = width + 4;
      }
      input.add_norm = make_norm(options.add_norm, add_weight_, add_bias_);
    }
    input.norm = make_norm(options.norm, weight_, bias_);
    if (options.normed) {
      normed_ = runner.allocate<float>(static_cast<size_t>(tokens_ * (width + 5)));
      input.normed = KernelRunner::ptr(normed_);
      input.normed_stride = width + 5;
    }
  }

  int token_of(int row) const { return options_.selected ? (row * 5 + 2) % tokens_ : row; }

  // Rows as the matrix is to see them.
  std::vector<ExpectedRow> expected() const {
    std::vector<ExpectedRow> out;
    for (int r = 0; r < rows_; ++r) {
      ExpectedRow row = before_norm(token_of(r));
      normalize(input.norm, row, weight_, bias_);
      out.push_back(std::move(row));
    }
    return out;
  }
  // What `sum` is to be.
  ExpectedRow before_norm(int token) const {
    ExpectedRow row;
    for (int c = 0; c < width_; ++c) {
      double v = x_[static_cast<size_t>(token * input.x_stride + c)];
      double bound = 0;
      if (options_.kind == InputKind::kGated || options_.kind == InputKind::kActivated) {
        bound = std::abs(v) * 0x1p-20;
        v = apply_function(options_.function, v);
      }
      if (options_.kind == InputKind::kGated) {
        const double y = y_[static_cast<size_t>(token * input.y_stride + c)];
        v *= y;
        bound *= std::abs(y);
      }
      row.value.push_back(v);
      row.bound.push_back(bound);
    }
    if (options_.add) {
      ExpectedRow added;
      for (int c = 0; c < width_; ++c) {
        added.value.push_back(add_[static_cast<size_t>(token * input.add_stride + c)]);
        added.bound.push_back(0);
      }
      normalize(input.add_norm, added, add_weight_, add_bias_);
      for (int c = 0; c < width_; ++c) {
        const auto i = static_cast<size_t>(c);
        row.value[i] += added.value[i];
        row.bound[i] += added.bound[i] + std::abs(row.value[i]) * 0x1p-23;
      }
    }
    return row;
  }
  std::span<float> sum() const { return sum_; }
  std::span<float> normed() const { return normed_; }
  int tokens() const { return tokens_; }

  Step step;
  Input input;

 private:
  std::span<float> make_rows(int stride, float spread, float outlier) {
    const std::span<float> out = runner_.allocate<float>(static_cast<size_t>(tokens_ * stride));
    std::normal_distribution<float> normal(0.2F, spread);
    for (int t = 0; t < tokens_; ++t) {
      const float size = std::ldexp(1.0F, 3 * t - 6);  // rows of different sizes
      for (int c = 0; c < width_; ++c)
        out[static_cast<size_t>(t * stride + c)] =
            normal(random_) * (c % 200 == 50 ? outlier : 1) * size;
    }
    return out;
  }

  Norm make_norm(NormKind kind, std::span<float>& weight, std::span<float>& bias) {
    Norm norm;
    norm.kind = kind;
    norm.epsilon = 1e-5F;
    if (kind == NormKind::kNone) return norm;
    std::normal_distribution<float> normal(1, 0.5F);
    weight = runner_.allocate<float>(static_cast<size_t>(width_));
    for (float& v : weight) v = normal(random_);
    norm.weight = KernelRunner::const_ptr(weight);
    if (options_.bias) {
      bias = runner_.allocate<float>(static_cast<size_t>(width_));
      for (float& v : bias) v = normal(random_) - 1;
      norm.bias = KernelRunner::const_ptr(bias);
    }
    return norm;
  }

  void normalize(const Norm& norm, ExpectedRow& row, std::span<const float> weight,
                 std::span<const float> bias) const {
    if (norm.kind == NormKind::kNone) return;
    double mean = 0;
    if (norm.kind == NormKind::kLayer) {
      for (const double v : row.value) mean += v;
      mean /= width_;
    }
    double squares = 0;
    double largest = 0;
    for (size_t i = 0; i < row.value.size(); ++i) {
      squares += (row.value[i] - mean) * (row.value[i] - mean);
      largest = std::max(largest, std::abs(row.value[i]));
    }
    const double scale = 1 / std::sqrt(squares / width_ + norm.epsilon);
    for (size_t i = 0; i < row.value.size(); ++i) {
      const double normed = (row.value[i] - mean) * scale * weight[i];
      // The mean is a float32 sum of values up to `largest`; sums of squares are exact to 2^-20.
      row.bound[i] = (row.bound[i] + largest * 0x1p-22) * scale * std::abs(weight[i]) +
                     std::abs(normed) * 0x1p-20;
      row.value[i] = normed + (norm.bias.address != 0 ? bias[i] : 0);
    }
  }

  KernelRunner& runner_;
  std::mt19937& random_;
  InputOptions options_;
  int rows_;
  int width_;
  int tokens_ = 0;
  StepLayout layout_;
  std::span<float> x_, y_, add_, sum_, normed_, add_weight_, add_bias_, weight_, bias_;
};

}  // namespace outboard::devices::gpu::kernels
