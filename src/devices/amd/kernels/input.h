// Rows of activations on their way into a matrix: Input of arguments.h, in chunks of eight columns.
#pragma once

#include "devices/amd/kernels/functions.h"
#include "devices/amd/kernels/reduce.h"

namespace outboard::devices::amd::kernels {

constexpr int kChunk = 8;  // columns

// --- eight columns of a row in memory; those from width on are 0 ---

typedef float4 float4_any __attribute__((aligned(4)));

DEVICE float8 join(float4 a, float4 b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
}
DEVICE float8 load8(Ptr<const float> row, int column, int width) {
  if (width % kChunk == 0) {
    const Ptr<const float4_any> p = reinterpret_cast<Ptr<const float4_any>>(row + column);
    return join(p[0], p[1]);
  }
  float8 v = 0;
#pragma unroll
  for (int i = 0; i < kChunk; ++i)
    if (column + i < width) v[i] = row[column + i];
  return v;
}
DEVICE void store8(Ptr<float> row, int column, int width, float8 v) {
  if (width % kChunk == 0) {
    const Ptr<float4_any> p = reinterpret_cast<Ptr<float4_any>>(row + column);
    p[0] = float4{v[0], v[1], v[2], v[3]};
    p[1] = float4{v[4], v[5], v[6], v[7]};
    return;
  }
#pragma unroll
  for (int i = 0; i < kChunk; ++i)
    if (column + i < width) row[column + i] = v[i];
}

DEVICE float magnitude(float8 v) {
  float m = 0;
#pragma unroll
  for (int i = 0; i < kChunk; ++i) m = __builtin_fmaxf(m, __builtin_fabsf(v[i]));
  return m;
}
DEVICE float sum8(float8 v) {
  return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

DEVICE float8 apply8(Function function, float8 v) {
  switch (function) {
    case Function::kSilu:
#pragma unroll
      for (int i = 0; i < kChunk; ++i) v[i] = silu(v[i]);
      return v;
    case Function::kGeluTanh:
#pragma unroll
      for (int i = 0; i < kChunk; ++i) v[i] = gelu_tanh(v[i]);
      return v;
    case Function::kGeluErf:
#pragma unroll
      for (int i = 0; i < kChunk; ++i) v[i] = gelu_erf(v[i]);
      return v;
    case Function::kRelu:
#pragma unroll
      for (int i = 0; i < kChunk; ++i) v[i] = __builtin_fmaxf(v[i], 0);
      return v;
  }
  return v;
}

// --- the record of the step ---

DEVICE int step_int(const Step& step, int offset, int index) {
  return reinterpret_cast<Ptr<const int32_t>>(step.record + offset)[index];
}

// Partial results of attention, columns [column, column + 8) of the heads side by side. value_dim
// is a multiple of 8.
DEVICE float8 merged_splits(const Splits& s, int token, int position, int column) {
  const int head = static_cast<uint32_t>(column) / static_cast<uint32_t>(s.value_dim);
  const int within = column - head * s.value_dim;
  const int first = s.window > 0 ? __builtin_elementwise_max(position - s.window + 1, 0) : 0;
  const int count = position - first + 1;
  if (count <= 0) return 0;
  const int each = split_positions(count, s.splits);
  const int used = (count + each - 1) / each;
  const int base = (token * s.heads + head) * s.splits;
  const Ptr<const float2> stats = reinterpret_cast<Ptr<const float2>>(s.stats) + base;
  float maximum = stats[0].x;
  for (int i = 1; i < used; ++i) maximum = __builtin_fmaxf(maximum, stats[i].x);
  float8 sum = 0;
  float weights = 0;
  for (int i = 0; i < used; ++i) {
    const float2 stat = stats[i];
    const float factor = exp(stat.x - maximum);
    weights += factor * stat.y;
    sum += factor * load8(s.sums + (base + i) * s.value_dim, within, s.value_dim);
  }
  return sum * reciprocal(weights);
}

// A row that `waves` waves of the workgroup make together: all of them call run() alike. It goes
// over the row several times, for what a norm must know before it can begin, and works v out anew
// each time (from caches) unless a thread has one chunk only: code for that is there once.
template <int waves>
class InputRow {
 public:
  static constexpr int kRowColumns = 32 * waves * kChunk;  // a chunk for each thread
  // What run() begins with: everything, or columns alone after it has run before.
  enum Pass { kAddMean, kAddSquares, kMean, kSquares, kBuild };

  // `row` is the same in all lanes of a wave. `scratch`: a float for each wave of the workgroup.
  DEVICE InputRow(const Input& in, const Step& step, int row, float* scratch)
      : in_(in), scratch_(scratch) {
    token_ = in.selected ? step_int(step, step.layout.row_token, row) : row;
    token_ = __builtin_amdgcn_readfirstlane(token_);
    if (in.kind == InputKind::kSplits)
      position_ = __builtin_amdgcn_readfirstlane(step_int(step, step.layout.positions, token_));
  }

  // Calls build(column, v, normed v) for this thread's chunks with from <= column < to, multiples
  // of 1024, so that all lanes of a wave take part; 0 from width on.
  template <typename Build>
  DEVICE void run(Pass first, int from, int to, Build build) {
    const int own = (thread() & (kRowColumns / kChunk - 1)) * kChunk;
    const bool once = in_.width <= kRowColumns;
    bool known = false;
    float8 v = 0;
    for (int pass = first; pass <= kBuild; ++pass) {
      if (pass == kAddMean && !(adds() && in_.add_norm.kind == NormKind::kLayer)) continue;
      if (pass == kAddSquares && !(adds() && in_.add_norm.kind != NormKind::kNone)) continue;
      if (pass == kMean && in_.norm.kind != NormKind::kLayer) continue;
      const int end = pass == kBuild ? to : in_.width;
      float sum = 0;
      float largest = 0;
      float largest_bias = 0;
      for (int c = own + (pass == kBuild ? from : 0); c < end; c += kRowColumns) {
        if (pass <= kAddSquares) {
          v = load8(add_row(), c, in_.width);
        } else if (!known || c != own) {
          v = compute(c);
        }
        if (pass == kAddMean || pass == kMean) {
          sum += sum8(v);
        } else if (pass == kAddSquares) {
          sum += squares(in_.add_norm, v, c, add_moments_.mean);
        } else if (pass == kSquares) {
          sum += squares(in_.norm, v, c, moments_.mean);
          measure(v, c, largest, largest_bias);
        } else {
          build(c, v, normalize(in_.norm, moments_, v, c));
        }
      }
      known = once && pass >= kMean;
      if (pass == kBuild) break;
      const float n = 1.0F / static_cast<float>(in_.width);
      if (pass != kSquares || in_.norm.kind != NormKind::kNone) sum = all_sum(sum) * n;
      if (pass == kAddMean) add_moments_.mean = sum;
      if (pass == kAddSquares) add_moments_.scale = reciprocal_root(sum + in_.add_norm.epsilon);
      if (pass == kMean) moments_.mean = sum;
      if (pass == kSquares) {
        if (in_.norm.kind != NormKind::kNone)
          moments_.scale = reciprocal_root(sum + in_.norm.epsilon);
        set_exponent(all_max(largest) * moments_.scale, largest_bias);
      }
    }
  }

  // v before its norm, to where it is wanted.
  DEVICE void store_sum(float8 v, int column) const {
    if (column < in_.width)
      store8(in_.sum + static_cast<int64_t>(token_) * in_.sum_stride, column, in_.width, v);
  }

  // The row times 2^-exponent has a largest magnitude below 2^13, so that float16 holds it, with
  // all of its precision for what is above 2^-27 of that.
  DEVICE int exponent() const { return exponent_; }

 private:
  struct Moments {
    float mean = 0;
    float scale = 1;  // of v - mean
  };

  DEVICE bool adds() const { return in_.add != nullptr; }
  DEVICE Ptr<const float> add_row() const {
    return in_.add + static_cast<int64_t>(token_) * in_.add_stride;
  }

  // kind(x, y) + add_norm(add)
  DEVICE float8 compute(int column) const {
    if (column >= in_.width) return 0;
    float8 v;
    if (in_.kind == InputKind::kSplits) {
      v = merged_splits(in_.splits, token_, position_, column);
    } else {
      v = load8(in_.x + static_cast<int64_t>(token_) * in_.x_stride, column, in_.width);
      if (in_.kind != InputKind::kRows) v = apply8(in_.function, v);
      if (in_.kind == InputKind::kGated)
        v *= load8(in_.y + static_cast<int64_t>(token_) * in_.y_stride, column, in_.width);
    }
    if (adds()) {
      const float8 add = load8(add_row(), column, in_.width);
      v += normalize(in_.add_norm, add_moments_, add, column);
    }
    return v;
  }

  DEVICE float8 normalize(const Norm& norm, Moments m, float8 v, int column) const {
    if (norm.kind == NormKind::kNone) return v;
    if (column >= in_.width) return 0;
    v = (v - m.mean) * m.scale;
    if (norm.weight != nullptr) v *= load8(norm.weight, column, in_.width);
    if (norm.bias != nullptr) v += load8(norm.bias, column, in_.width);
    return v;
  }

  DEVICE float squares(const Norm& norm, float8 v, int column, float mean) const {
    if (norm.kind == NormKind::kLayer) v = centered(v, column, mean);
    return sum8(v * v);
  }
  // v - mean, 0 from width on.
  DEVICE float8 centered(float8 v, int column, float mean) const {
#pragma unroll
    for (int i = 0; i < kChunk; ++i) v[i] = column + i < in_.width ? v[i] - mean : 0;
    return v;
  }

  // Largest magnitudes of what the norm will multiply with its scale, and of its bias.
  DEVICE void measure(float8 v, int column, float& largest, float& largest_bias) const {
    if (in_.norm.kind != NormKind::kNone) {
      v -= moments_.mean;
      if (in_.norm.weight != nullptr) v *= load8(in_.norm.weight, column, in_.width);
      if (in_.norm.bias != nullptr)
        largest_bias = __builtin_fmaxf(largest_bias,
                                       magnitude(load8(in_.norm.bias, column, in_.width)));
    }
    largest = __builtin_fmaxf(largest, magnitude(v));
  }

  DEVICE void set_exponent(float largest, float largest_bias) {
    if (in_.norm.kind != NormKind::kNone && in_.norm.bias != nullptr)
      largest += all_max(largest_bias);
    // The magnitude is below 2^e; 0, infinity and NaN give 0.
    const int e = __builtin_amdgcn_frexp_expf(largest);
    exponent_ = __builtin_amdgcn_readfirstlane(__builtin_elementwise_max(e, -100)) - 13;
  }

  template <typename F>
  DEVICE float all(float x, F combine) const {
    x = wave_reduce(x, combine);
    if constexpr (waves > 1) {
      barrier();
      scratch_[wave()] = x;
      barrier();
      const int first = wave() / waves * waves;
      x = scratch_[first];
#pragma unroll
      for (int w = 1; w < waves; ++w) x = combine(x, scratch_[first + w]);
    }
    return x;
  }
  DEVICE float all_sum(float x) const {
    return all(x, [](float a, float b) { return a + b; });
  }
  DEVICE float all_max(float x) const {
    return all(x, [](float a, float b) { return __builtin_fmaxf(a, b); });
  }

  const Input& in_;
  float* scratch_;
  int token_ = 0;
  int position_ = 0;
  Moments add_moments_;
  Moments moments_;
  int exponent_ = 0;
};

DEVICE half8 to_half(float8 v, int exponent) {
  half8 out;
#pragma unroll
  for (int i = 0; i < kChunk; ++i) out[i] = static_cast<half>(__builtin_ldexpf(v[i], -exponent));
  return out;
}

}  // namespace outboard::devices::amd::kernels
