// Rows of activations on their way into a matrix: Input of arguments.h, in chunks of eight columns.
#pragma once

#include "devices/gpu/kernels/functions.h"
#include "devices/gpu/kernels/reduce.h"

namespace outboard::devices::gpu::kernels {

constexpr int kChunk = 8;  // columns

DEVICE float8 join(float4 a, float4 b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
}

// A row of floats in memory, the same in all lanes, as a buffer: what lies beyond its width reads
// as 0 and is not written, without a branch. Such a check takes an access as a whole, so rows that
// are no multiple of four floats wide go float by float, with a comparison each: the compiler would
// join neighbours.
template <bool fours = false>  // known to be a multiple
class RowBuffer {
 public:
  DEVICE RowBuffer(Ptr<const float> row, int width)
      : width_(width),
        resource_(__builtin_amdgcn_make_buffer_rsrc(const_cast<float*>((const float*)row), 0,
                                                    4 * width, kRawBuffer)) {}

  // Columns [column, column + 8).
  DEVICE float8 load(int column) const {
    float8 v;
    if (!fours && width_ % 4 != 0) {
#pragma unroll
      for (int i = 0; i < kChunk; ++i)
        v[i] =
            bits_as<float>(__builtin_amdgcn_raw_buffer_load_b32(resource_, at(column + i), 0, 0));
    } else {
      const uint4 a = __builtin_amdgcn_raw_buffer_load_b128(resource_, 4 * column, 0, 0);
      const uint4 b = __builtin_amdgcn_raw_buffer_load_b128(resource_, 4 * column + 16, 0, 0);
      v = join(bits_as<float4>(a), bits_as<float4>(b));
    }
    return v;
  }
  DEVICE void store(int column, float8 v) const {
    if (!fours && width_ % 4 != 0) {
#pragma unroll
      for (int i = 0; i < kChunk; ++i)
        __builtin_amdgcn_raw_buffer_store_b32(bits_as<uint32_t>(v[i]), resource_, at(column + i), 0,
                                              0);
    } else {
      const float4 a = {v[0], v[1], v[2], v[3]};
      const float4 b = {v[4], v[5], v[6], v[7]};
      __builtin_amdgcn_raw_buffer_store_b128(bits_as<uint4>(a), resource_, 4 * column, 0, 0);
      __builtin_amdgcn_raw_buffer_store_b128(bits_as<uint4>(b), resource_, 4 * column + 16, 0, 0);
    }
  }

 private:
  // Of one float; beyond the width nowhere.
  DEVICE int at(int column) const { return column < width_ ? 4 * column : 4 * FloatBuffer::kNone; }

  int width_;
  __amdgpu_buffer_rsrc_t resource_;
};

// The bits of the largest magnitude: they are ordered as the numbers are, and integers need no care
// for NaN.
DEVICE uint32_t magnitude(float8 v) {
  uint32_t m = 0;
#pragma unroll
  for (int i = 0; i < kChunk; ++i)
    m = __builtin_elementwise_max(m, bits_as<uint32_t>(v[i]) & 0x7fffffff);
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
    case Function::kSigmoid:
#pragma unroll
      for (int i = 0; i < kChunk; ++i) v[i] = sigmoid(v[i]);
      return v;
    case Function::kReluSquared:
#pragma unroll
      for (int i = 0; i < kChunk; ++i) v[i] = __builtin_fmaxf(v[i], 0) * __builtin_fmaxf(v[i], 0);
      return v;
    case Function::kSwigluOai:
    case Function::kIdentity:
      break;
  }
  return v;
}
DEVICE float8 gated8(Function function, float8 gate, float8 up) {
  if (function == Function::kSwigluOai) {
#pragma unroll
    for (int i = 0; i < kChunk; ++i) gate[i] = gated(Function::kSwigluOai, gate[i], up[i]);
    return gate;
  }
  return apply8(function, gate) * up;
}

// --- the record of the step ---

DEVICE int step_int(const Step& step, int offset, int index) {
  return reinterpret_cast<Ptr<const int32_t>>(step.record + offset)[index];
}

// What the waves of a workgroup tell each other. A slot is used again after a barrier that comes
// after its reading.
struct Scratch {
  float2 slot[3][kWaves];
};

// Over `waves` neighbouring waves that have a row together, of which each thread has gone over its
// share.
template <int waves>
DEVICE void all_sum_max(float2 (&slot)[kWaves], float& sum, uint32_t& maximum) {
  const auto add = [](float a, float b) { return a + b; };
  const auto max = [](uint32_t a, uint32_t b) { return __builtin_elementwise_max(a, b); };
  sum = wave_reduce(sum, add);
  maximum = wave_reduce(maximum, max);
  if constexpr (waves > 1) {
    slot[wave()] = {sum, bits_as<float>(maximum)};
    barrier();
    // The other waves' in turn in the lanes.
    const int first = waves == kWaves ? 0 : wave() & -waves;
    const float2 told = slot[first + (lane() & (waves - 1))];
    const auto over_waves = [](auto x, auto combine) {
      x = combine(x, dpp<kQuadSwap1>(x));
      if constexpr (waves > 2) x = combine(x, dpp<kQuadSwap2>(x));
      if constexpr (waves > 4) x = combine(x, dpp<kRowXmask + 4>(x));
      return x;
    };
    sum = over_waves(told.x, add);
    maximum = over_waves(bits_as<uint32_t>(told.y), max);
  }
}

// What rows whose magnitudes are up to `bound` are divided by to be float16: 2^(this).
DEVICE int exponent_for(float bound) {
  // The magnitude is below 2^e; 0, infinity and NaN give 0.
  const int e = __builtin_amdgcn_frexp_expf(bound);
  return __builtin_elementwise_max(__builtin_amdgcn_readfirstlane(e), -100) - 13;
}

// A row that `waves` waves of the workgroup make together; all of them call the same functions.
// What a norm must know before it can begin takes passes over the row; v is worked out anew in each
// (from caches), unless a thread has one chunk only. `plain`: is_plain(Input).
template <int waves, bool plain = false>
class InputRow {
 public:
  static constexpr int kRowColumns = 32 * waves * kChunk;  // a chunk for each thread
  // Whether a thread that has one chunk only keeps it. A single wave's rows are wider.
  static constexpr bool kKeeps = waves > 1;

  // `row` is the same in all lanes of a wave.
  DEVICE InputRow(const Input& in, const Step& step, int row, Scratch& scratch)
      : in_(in), scratch_(scratch), width_(in.width), token_(row), last_(zero()) {
    if (in.selected)
      token_ = __builtin_amdgcn_readfirstlane(step_int(step, step.layout.row_token, row));
  }

  // Before anything else: the norms' moments and the exponent. When `stores`, v before its norm
  // goes to Input::sum.
  DEVICE void measure(bool stores) {
    const float n = reciprocal(static_cast<float>(width_));
    if (adds() && in_.add_norm.kind != NormKind::kNone) {
      const Buffer add = add_row();
      if (centers(in_.add_norm))
        add_moments_.mean = n * all_sum<0>(sum_over([&](int c) { return sum8(add.load(c)); }));
      const float squares = all_sum<1>(sum_over([&](int c) {
        const float8 v = centered(in_.add_norm, add_moments_, add.load(c), c);
        return sum8(v * v);
      }));
      add_moments_.scale = reciprocal_root(n * squares + in_.add_norm.epsilon);
    }
    const NormKind kind = in_.norm.kind;
    if (centers(in_.norm))
      moments_.mean = n * all_sum<2>(sum_over([&](int c) { return sum8(compute(c)); }));
    uint32_t largest = 0;
    uint32_t largest_bias = 0;
    const bool sum_wanted = stores && in_.sum != nullptr;
    float squares = sum_over([&](int c) {
      float8 v = compute(c);
      if (sum_wanted)
        Buffer(in_.sum + static_cast<int64_t>(token_) * in_.sum_stride, width_).store(c, v);
      float sum = 0;
      if (kind != NormKind::kNone) {
        v = centered(in_.norm, moments_, v, c);
        sum = sum8(v * v);
        v = weighted(in_.norm, v, c);
        if (biased(in_.norm))
          largest_bias = __builtin_elementwise_max(
              largest_bias, magnitude(Buffer(in_.norm.bias, width_).load(c)));
      }
      largest = __builtin_elementwise_max(largest, magnitude(v));
      if (kKeeps) last_ = v;
      return sum;
    });
    // Both at once: a barrier is what takes the time.
    all_sum_max<0>(squares, largest);
    float bound = bits_as<float>(largest);
    if (kind != NormKind::kNone) {
      moments_.scale = reciprocal_root(n * squares + in_.norm.epsilon);
      bound *= moments_.scale;
      if (biased(in_.norm)) bound += all_max<1>(largest_bias);
    }
    exponent_ = exponent_for(bound);
  }

  // Calls f(column, normed v) for this thread's chunks with from <= column < to. These are
  // multiples of 256, so that all lanes of a wave take part; 0 from width on. Where a thread has
  // kept its chunk `from` is 0.
  template <typename F>
  DEVICE void each(int from, int to, F f) const {
    if (kKeeps && width_ <= kRowColumns) {
      int base = own_base();
      if (base >= to) return;
      float8 v = finished(in_.norm, moments_, last_, base + lane() * kChunk);
      do {
        f(base + lane() * kChunk, v);
        v = 0;
        base += kRowColumns;
      } while (base < to);
      return;
    }
    for (int base = from + own_base(); base < to; base += kRowColumns) {
      const int c = base + lane() * kChunk;
      f(c, normalized(in_.norm, moments_, compute(c), c));
    }
  }

  // v after its norm, to where it is wanted.
  DEVICE void store(float8 normed, int column) const {
    if (in_.normed != nullptr)
      Buffer(in_.normed + static_cast<int64_t>(token_) * in_.normed_stride, width_)
          .store(column, normed);
  }

  // The row times 2^-exponent has a largest magnitude below 2^13, so that float16 holds it, with
  // all of its precision for what is above 2^-27 of that.
  DEVICE int exponent() const { return exponent_; }

 private:
  struct Moments {
    float mean = 0;
    float scale = 1;  // of v - mean
  };

  using Buffer = RowBuffer<>;

  DEVICE bool adds() const { return in_.add != nullptr; }
  DEVICE static bool centers(const Norm& norm) { return norm.kind == NormKind::kLayer; }
  DEVICE static bool biased(const Norm& norm) { return norm.bias != nullptr; }

  DEVICE Buffer row(Ptr<const float> rows, int stride) const {
    return {rows + static_cast<int64_t>(token_) * stride, width_};
  }
  DEVICE Buffer add_row() const { return row(in_.add, in_.add_stride); }
  // This wave's number among the row's.
  DEVICE static int own_wave() { return waves == kWaves ? wave() : wave() & (waves - 1); }
  // The first column of this wave's first chunks.
  DEVICE static int own_base() { return own_wave() * (32 * kChunk); }

  // The compiler makes a vector of constants in scalar registers first.
  DEVICE static float8 zero() {
    float z = 0;
    asm("" : "+v"(z));
    return z;
  }

  // Over all of this thread's chunks.
  template <typename F>
  DEVICE float sum_over(F f) const {
    float sum = 0;
    for (int base = own_base(); base < width_; base += kRowColumns)
      sum += f(base + lane() * kChunk);
    return sum;
  }

  // kind(x, y) + add_norm(add), 0 from width on
  DEVICE float8 compute(int column) const {
    float8 v = row(in_.x, in_.x_stride).load(column);
    if (in_.kind == InputKind::kActivated) v = apply8(in_.function, v);
    if (in_.kind == InputKind::kGated)
      v = gated8(in_.function, v, row(in_.y, in_.y_stride).load(column));
    if (adds()) v += normalized(in_.add_norm, add_moments_, add_row().load(column), column);
    return v;
  }

  // A norm in its three steps.
  DEVICE float8 normalized(const Norm& norm, Moments m, float8 v, int column) const {
    return finished(norm, m, weighted(norm, centered(norm, m, v, column), column), column);
  }
  // v - mean, 0 from width on.
  DEVICE float8 centered(const Norm& norm, Moments m, float8 v, int column) const {
    if (!centers(norm)) return v;
#pragma unroll
    for (int i = 0; i < kChunk; ++i) v[i] = column + i < width_ ? v[i] - m.mean : 0;
    return v;
  }
  DEVICE float8 weighted(const Norm& norm, float8 v, int column) const {
    if (norm.kind != NormKind::kNone && norm.weight != nullptr)
      v *= Buffer(norm.weight, width_).load(column);
    return v;
  }
  DEVICE float8 finished(const Norm& norm, Moments m, float8 v, int column) const {
    if (norm.kind == NormKind::kNone) return v;
    v *= m.scale;
    if (biased(norm)) v += Buffer(norm.bias, width_).load(column);
    return v;
  }

  template <int slot>
  DEVICE void all_sum_max(float& sum, uint32_t& maximum) const {
    kernels::all_sum_max<waves>(scratch_.slot[slot], sum, maximum);
  }
  template <int slot>
  DEVICE float all_sum(float x) const {
    uint32_t none = 0;
    all_sum_max<slot>(x, none);
    return x;
  }
  template <int slot>
  DEVICE float all_max(uint32_t x) const {
    float none = 0;
    all_sum_max<slot>(none, x);
    return bits_as<float>(x);
  }

  const Input& in_;
  Scratch& scratch_;
  int width_;
  int token_;
  Moments add_moments_;
  Moments moments_;
  int exponent_ = 0;
  float8 last_;  // v but for `finished`
};

DEVICE half8 to_half(float8 v, int exponent) {
  const float factor = __builtin_ldexpf(1, -exponent);
  half8 out;
#pragma unroll
  for (int i = 0; i < kChunk; ++i) out[i] = static_cast<half>(v[i] * factor);
  return out;
}

}  // namespace outboard::devices::gpu::kernels
