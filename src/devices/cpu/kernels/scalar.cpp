// Plain C++ for any processor: slow, short, and what the other tables are compared with.
// Weights are decoded to floats a row at a time; both packings are the floats themselves.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "devices/cpu/kernels/tables.h"
#include "formats/quantize.h"

namespace outboard::devices::cpu {
namespace {

// --- linear ---

size_t packed_row_bytes(Packing, int64_t columns) {
  return (static_cast<size_t>(columns) * sizeof(float) + 63) / 64 * 64;
}

void pack(Packing packing, const float* x, int64_t x_stride, int tokens, int64_t columns,
          std::byte* out) {
  const size_t row_bytes = packed_row_bytes(packing, columns);
  for (int t = 0; t < tokens; ++t) {
    std::memcpy(out + static_cast<size_t>(t) * row_bytes, x + t * x_stride,
                static_cast<size_t>(columns) * sizeof(float));
  }
}

// Sixteen partial sums: the compiler may keep them in vectors without reordering additions.
float dot(const float* a, const float* b, int64_t n) {
  constexpr int64_t kLanes = 16;
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < n; ++i) lanes[i % kLanes] += a[i] * b[i];
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

void linear(const Matrix& w, const std::byte* packed, int tokens, float* y, int64_t y_stride,
            int64_t row_begin, int64_t row_end, const float* bias, bool accumulate,
            std::byte* scratch) {
  const BlockShape block = block_shape(w.type);
  const size_t weight_stride = static_cast<size_t>(w.columns / block.elements) * block.bytes;
  const size_t packed_stride = packed_row_bytes(packing_for(w.type), w.columns);
  auto* row = reinterpret_cast<float*>(scratch);
  for (int64_t r = row_begin; r < row_end; ++r) {
    decode(w.type, w.data + static_cast<size_t>(r) * weight_stride, w.columns, row);
    for (int t = 0; t < tokens; ++t) {
      const auto* x =
          reinterpret_cast<const float*>(packed + static_cast<size_t>(t) * packed_stride);
      float& out = y[t * y_stride + r];
      const float sum = dot(row, x, w.columns) + (bias != nullptr ? bias[r] : 0.0F);
      out = accumulate ? out + sum : sum;
    }
  }
}

size_t linear_scratch_bytes(int64_t max_columns) {
  return packed_row_bytes(Packing::kFloat, max_columns);
}

// --- attention ---

float element(float x) { return x; }
float element(uint16_t x) { return formats::half_to_float(x); }

template <typename T>  // of keys and values
void attend(const AttentionRun& run, std::byte* scratch) {
  const T* keys = static_cast<const T*>(run.keys);
  const T* values = static_cast<const T*>(run.values);
  auto* sum = reinterpret_cast<float*>(scratch);
  for (int t = 0; t < run.tokens; ++t) {
    const int position = run.first_position + t;
    const int end = run.causal ? position + 1 : run.context;
    int begin = 0;
    if (run.causal && run.window > 0)
      begin = run.chunked ? position / run.window * run.window : std::max(0, end - run.window);
    for (int head = 0; head < run.group; ++head) {
      const float* q = run.q + t * run.q_stride + head * run.key_dim;
      float* out = run.out + t * run.out_stride + head * run.value_dim;
      float top = run.sinks != nullptr ? run.sinks[head] : -INFINITY;
      float total = run.sinks != nullptr ? 1 : 0;
      for (int d = 0; d < run.value_dim; ++d) sum[d] = 0;
      for (int p = begin; p < end; ++p) {
        const int64_t page = run.pages[p / run.page_tokens];
        const int64_t slot = p % run.page_tokens;
        const T* key = keys + page * run.key_page_stride + slot * run.key_dim;
        const T* value = values + page * run.value_page_stride + slot * run.value_row;
        float score = 0;
        for (int d = 0; d < run.key_dim; ++d) score += q[d] * element(key[d]);
        score *= run.scale;
        if (run.softcap > 0) score = run.softcap * std::tanh(score / run.softcap);
        if (score > top) {  // rescale what has been summed to the new maximum
          const float shrink = std::exp(top - score);
          total *= shrink;
          for (int d = 0; d < run.value_dim; ++d) sum[d] *= shrink;
          top = score;
        }
        const float weight = std::exp(score - top);
        total += weight;
        for (int d = 0; d < run.value_dim; ++d) {
          sum[d] += weight * element(value[d]);
        }
      }
      for (int d = 0; d < run.value_dim; ++d) out[d] = total == 0 ? 0.0F : sum[d] / total;
    }
  }
}

void attention(const AttentionRun& run, std::byte* scratch) {
  run.float_kv ? attend<float>(run, scratch) : attend<uint16_t>(run, scratch);
}

size_t attention_scratch_bytes(int, int, int value_dim) {
  return static_cast<size_t>(value_dim) * sizeof(float);
}

// --- recurrences ---

void gated_delta(const DeltaRun& run) {
  for (int t = 0; t < run.tokens; ++t) {
    const DeltaToken& token = run.each[t];
    const float* q = run.q + t * run.q_stride;
    const float* k = run.k + t * run.k_stride;
    for (int64_t c = 0; c < run.columns; ++c) {
      float seen = 0, out = 0;
      for (int64_t r = 0; r < run.rows; ++r) seen += k[r] * run.state[r * run.state_stride + c];
      const float change = token.write * (run.v[t * run.v_stride + c] - token.recall * seen);
      for (int64_t r = 0; r < run.rows; ++r) {
        float& s = run.state[r * run.state_stride + c];
        s = token.decay * s + k[r] * change;
        out += q[r] * s;
      }
      run.out[t * run.out_stride + c] = token.read * out;
    }
  }
}

void selective_scan(const ScanRun& run) {
  for (int t = 0; t < run.tokens; ++t) {
    const ScanToken& token = run.each[t];
    for (int64_t c = 0; c < run.columns; ++c) {
      const float x = run.x[t * run.x_stride + c];
      float out = 0;
      for (int64_t r = 0; r < run.rows; ++r) {
        float& s = run.state[r * run.state_stride + c];
        s = token.decay * s + run.b[t * run.b_stride + r] * (token.step * x);
        out += run.c[t * run.c_stride + r] * s;
      }
      run.out[t * run.out_stride + c] = out + run.skip * x;
    }
  }
}

// --- rows ---

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* out) {
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
  const auto factor = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(n) + eps));
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * factor * (weight != nullptr ? weight[i] : 1.0F);
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n,
                float* out) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(n);
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double factor = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
  for (int64_t i = 0; i < n; ++i) {
    const auto normal = static_cast<float>((x[i] - mean) * factor);
    out[i] = normal * (weight != nullptr ? weight[i] : 1.0F) + (bias != nullptr ? bias[i] : 0.0F);
  }
}

void rope(float* x, const float* cos, const float* sin, int half, bool neox) {
  for (int i = 0; i < half; ++i) {
    float& a = neox ? x[i] : x[2 * i];
    float& b = neox ? x[i + half] : x[2 * i + 1];
    const float rotated = a * cos[i] - b * sin[i];
    b = a * sin[i] + b * cos[i];
    a = rotated;
  }
}

float apply(Unary f, float x) {
  constexpr float kSqrt2OverPi = 0.79788456F;
  constexpr float kSqrtHalf = 0.70710678F;
  switch (f) {
    case Unary::kSilu:
      return x / (1.0F + std::exp(-x));
    case Unary::kGeluTanh:
      return 0.5F * x * (1.0F + std::tanh(kSqrt2OverPi * (x + 0.044715F * x * x * x)));
    case Unary::kGeluErf:
      return 0.5F * x * (1.0F + std::erf(x * kSqrtHalf));
    case Unary::kRelu:
      return x < 0 ? 0 : x;  // NaN stays
    case Unary::kSigmoid:
      return 1.0F / (1.0F + std::exp(-x));
    case Unary::kReluSquared:
      return x < 0 ? 0 : x * x;
    case Unary::kSwigluOai:
    case Unary::kIdentity:
      break;
  }
  return x;
}

void unary(Unary f, const float* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = apply(f, x[i]);
}

void gate(Unary f, const float* gates, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    if (f == Unary::kSwigluOai) {
      constexpr float kAlpha = 1.702F, kLimit = 7;
      const float x = gates[i] > kLimit ? kLimit : gates[i];
      const float y = up[i] > kLimit ? kLimit : up[i] < -kLimit ? -kLimit : up[i];
      out[i] = x / (1.0F + std::exp(-kAlpha * x)) * (y + 1);
    } else {
      out[i] = apply(f, gates[i]) * up[i];
    }
  }
}

void add(const float* a, const float* b, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

void scale(const float* x, float factor, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * factor;
}

void softcap(float* x, float cap, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = cap * std::tanh(x[i] / cap);
}

void to_half(const float* x, int64_t n, uint16_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = formats::float_to_half(x[i]);
}

void block_maxima(const float* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kMaximaBlock)
    *out++ = *std::max_element(x + i, x + std::min(i + kMaximaBlock, n));
}

float sum_exp(const float* x, float top, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) - top);
  return static_cast<float>(sum);
}

}  // namespace

const Kernels& scalar_kernels() {
  static const Kernels table = {.name = "scalar",
                                .packed_row_bytes = packed_row_bytes,
                                .pack = pack,
                                .linear = linear,
                                .linear_scratch_bytes = linear_scratch_bytes,
                                .attention = attention,
                                .attention_scratch_bytes = attention_scratch_bytes,
                                .gated_delta = gated_delta,
                                .selective_scan = selective_scan,
                                .rms_norm = rms_norm,
                                .layer_norm = layer_norm,
                                .rope = rope,
                                .unary = unary,
                                .gate = gate,
                                .add = add,
                                .scale = scale,
                                .softcap = softcap,
                                .to_half = to_half,
                                .block_maxima = block_maxima,
                                .sum_exp = sum_exp};
  return table;
}

}  // namespace outboard::devices::cpu
