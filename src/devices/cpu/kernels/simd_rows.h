// The row kernels over the vector type of a vec_*.h, which is included before this file.
#pragma once

#include "devices/cpu/kernels/kernels.h"

namespace outboard::devices::cpu {
namespace {

// --- functions ---

// exp(x) = 2^n * exp(r), |r| <= ln 2 / 2, with a minimax polynomial (Cephes' expf); about 1 ulp.
// The ends saturate near 1e-38 and 1e38.
OUTBOARD_INLINE Vec exponential(Vec x) {
  x = at_most(at_least(x, -87.0F), 88.0F);
  const Vec n = nearest(mul(x, all(1.44269504F)));
  Vec r = fma(n, all(-0.693359375F), x);  // ln 2 in two parts
  r = fma(n, all(2.12194440e-4F), r);
  Vec p = all(1.9875691500e-4F);
  p = fma(p, r, all(1.3981999507e-3F));
  p = fma(p, r, all(8.3334519073e-3F));
  p = fma(p, r, all(4.1665795894e-2F));
  p = fma(p, r, all(1.6666665459e-1F));
  p = fma(p, r, all(5.0000001201e-1F));
  p = fma(p, mul(r, r), add(r, all(1.0F)));
  return mul(p, power_of_two(n));
}

// Cephes' tanhf: a polynomial near 0, where 1 - 2 / (exp(2x) + 1) would cancel.
OUTBOARD_INLINE Vec hyperbolic_tangent(Vec x) {
  const Vec size = absolute(x);
  const Vec far = sub(all(1.0F), div(all(2.0F), add(exponential(add(size, size)), all(1.0F))));
  const Vec z = mul(x, x);
  Vec p = all(-5.70498872745e-3F);
  p = fma(p, z, all(2.06390887954e-2F));
  p = fma(p, z, all(-5.37397155531e-2F));
  p = fma(p, z, all(1.33314422036e-1F));
  p = fma(p, z, all(-3.33332819422e-1F));
  const Vec near = fma(mul(p, z), x, x);
  return select_less(size, all(0.625F), near, with_sign_of(far, x));
}

// Abramowitz and Stegun 7.1.26: error below 1.5e-7.
OUTBOARD_INLINE Vec error_function(Vec x) {
  const Vec size = absolute(x);
  const Vec t = div(all(1.0F), fma(size, all(0.3275911F), all(1.0F)));
  Vec p = all(1.061405429F);
  p = fma(p, t, all(-1.453152027F));
  p = fma(p, t, all(1.421413741F));
  p = fma(p, t, all(-0.284496736F));
  p = fma(p, t, all(0.254829592F));
  const Vec tail = exponential(sub(all(0.0F), mul(size, size)));
  return with_sign_of(sub(all(1.0F), mul(mul(p, t), tail)), x);
}

OUTBOARD_INLINE Vec sigmoid_times(Vec x, Vec argument) {  // x / (1 + exp(-argument))
  return div(x, add(all(1.0F), exponential(sub(all(0.0F), argument))));
}

template <Unary kFunction>
OUTBOARD_INLINE Vec evaluate(Vec x) {
  if constexpr (kFunction == Unary::kSilu) return sigmoid_times(x, x);
  if constexpr (kFunction == Unary::kGeluTanh) {
    // 0.5 (1 + tanh u) = 1 / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
    const Vec inner = fma(mul(mul(x, x), x), all(0.044715F), x);
    return sigmoid_times(x, mul(inner, all(2 * 0.7978845608F)));
  }
  if constexpr (kFunction == Unary::kGeluErf) {
    const Vec erf = error_function(mul(x, all(0.7071067812F)));
    return mul(mul(x, all(0.5F)), add(all(1.0F), erf));
  }
  if constexpr (kFunction == Unary::kSigmoid) return sigmoid_times(all(1.0F), x);
  if constexpr (kFunction == Unary::kIdentity) return x;
  const Vec positive = at_least(x, 0.0F);
  return kFunction == Unary::kReluSquared ? mul(positive, positive) : positive;
}

// Calls body(i, load, store) over a row: whole vectors, then the rest.
template <typename Body>
OUTBOARD_INLINE void for_vectors(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    body([i](const float* p) { return load(p + i); }, [i](float* p, Vec v) { store(p + i, v); });
  }
  if (i < n) {
    body([i, n](const float* p) { return load_part(p + i, n - i); },
         [i, n](float* p, Vec v) { store_part(p + i, v, n - i); });
  }
}

// --- kernels ---

float root(float x) { return __builtin_sqrtf(x); }

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* out) {
  Vec parts[4] = {all(0.0F), all(0.0F), all(0.0F), all(0.0F)};
  int64_t done = 0;
  for (; done + 4 * kLanes <= n; done += 4 * kLanes) {
    OUTBOARD_UNROLL
    for (int i = 0; i < 4; ++i) {
      const Vec v = load(x + done + i * kLanes);
      parts[i] = fma(v, v, parts[i]);
    }
  }
  Vec squares = add(add(parts[0], parts[1]), add(parts[2], parts[3]));
  for_vectors(n - done, [&](auto get, auto) {
    const Vec v = get(x + done);
    squares = fma(v, v, squares);
  });
  const Vec factor = all(1.0F / root(sum_lanes(squares) / static_cast<float>(n) + eps));
  for_vectors(n, [&](auto get, auto put) {
    const Vec v = mul(get(x), factor);
    put(out, weight != nullptr ? mul(v, get(weight)) : v);
  });
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n,
                float* out) {
  Vec sum = all(0.0F);
  for_vectors(n, [&](auto get, auto) { sum = add(sum, get(x)); });
  const float mean = sum_lanes(sum) / static_cast<float>(n);
  // The squares of the part past the end would be those of -mean: taken off again.
  Vec squares = all(0.0F);
  for_vectors(n, [&](auto get, auto) {
    const Vec v = sub(get(x), all(mean));
    squares = fma(v, v, squares);
  });
  const int64_t beyond = (kLanes - n % kLanes) % kLanes;
  const float variance =
      (sum_lanes(squares) - static_cast<float>(beyond) * mean * mean) / static_cast<float>(n);
  const Vec factor = all(1.0F / root((variance > 0 ? variance : 0) + eps));
  for_vectors(n, [&](auto get, auto put) {
    Vec v = mul(sub(get(x), all(mean)), factor);
    if (weight != nullptr) v = mul(v, get(weight));
    put(out, bias != nullptr ? add(v, get(bias)) : v);
  });
}

void rope(float* x, const float* cos, const float* sin, int half, bool neox) {
  if (!neox) {
    for (int i = 0; i < half; ++i) {
      const float a = x[2 * i];
      const float b = x[2 * i + 1];
      x[2 * i] = a * cos[i] - b * sin[i];
      x[2 * i + 1] = a * sin[i] + b * cos[i];
    }
    return;
  }
  for_vectors(half, [&](auto get, auto put) {
    const Vec a = get(x);
    const Vec b = get(x + half);
    const Vec c = get(cos);
    const Vec s = get(sin);
    put(x, sub(mul(a, c), mul(b, s)));
    put(x + half, fma(a, s, mul(b, c)));
  });
}

template <Unary kFunction>
void unary_row(const float* x, int64_t n, float* out) {
  for_vectors(n, [&](auto get, auto put) { put(out, evaluate<kFunction>(get(x))); });
}

void unary(Unary function, const float* x, int64_t n, float* out) {
  switch (function) {
    case Unary::kSilu:
      return unary_row<Unary::kSilu>(x, n, out);
    case Unary::kGeluTanh:
      return unary_row<Unary::kGeluTanh>(x, n, out);
    case Unary::kGeluErf:
      return unary_row<Unary::kGeluErf>(x, n, out);
    case Unary::kRelu:
      return unary_row<Unary::kRelu>(x, n, out);
    case Unary::kSigmoid:
      return unary_row<Unary::kSigmoid>(x, n, out);
    case Unary::kIdentity:
      return unary_row<Unary::kIdentity>(x, n, out);
    case Unary::kReluSquared:
      return unary_row<Unary::kReluSquared>(x, n, out);
    case Unary::kSwigluOai:
      return;
  }
}

template <Unary kFunction>
void gate_row(const float* x, const float* up, int64_t n, float* out) {
  for_vectors(n, [&](auto get, auto put) { put(out, mul(evaluate<kFunction>(get(x)), get(up))); });
}

void swiglu_oai_row(const float* x, const float* up, int64_t n, float* out) {
  constexpr float kAlpha = 1.702F, kLimit = 7;
  for_vectors(n, [&](auto get, auto put) {
    const Vec g = at_most(get(x), kLimit);
    const Vec u = at_most(at_least(get(up), -kLimit), kLimit);
    put(out, mul(sigmoid_times(g, mul(g, all(kAlpha))), add(u, all(1.0F))));
  });
}

void gate(Unary function, const float* x, const float* up, int64_t n, float* out) {
  switch (function) {
    case Unary::kSilu:
      return gate_row<Unary::kSilu>(x, up, n, out);
    case Unary::kGeluTanh:
      return gate_row<Unary::kGeluTanh>(x, up, n, out);
    case Unary::kGeluErf:
      return gate_row<Unary::kGeluErf>(x, up, n, out);
    case Unary::kRelu:
      return gate_row<Unary::kRelu>(x, up, n, out);
    case Unary::kSigmoid:
      return gate_row<Unary::kSigmoid>(x, up, n, out);
    case Unary::kIdentity:
      return gate_row<Unary::kIdentity>(x, up, n, out);
    case Unary::kReluSquared:
      return gate_row<Unary::kReluSquared>(x, up, n, out);
    case Unary::kSwigluOai:
      return swiglu_oai_row(x, up, n, out);
  }
}

void add_rows(const float* a, const float* b, int64_t n, float* out) {
  for_vectors(n, [&](auto get, auto put) { put(out, add(get(a), get(b))); });
}

void scale_row(const float* x, float factor, int64_t n, float* out) {
  for_vectors(n, [&](auto get, auto put) { put(out, mul(get(x), all(factor))); });
}

void softcap(float* x, float cap, int64_t n) {
  const Vec inverse = all(1.0F / cap);
  for_vectors(n, [&](auto get, auto put) {
    put(x, mul(hyperbolic_tangent(mul(get(x), inverse)), all(cap)));
  });
}

void to_half(const float* x, int64_t n, uint16_t* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_half(out + i, load(x + i));
  if (i < n) store_half_part(out + i, load_part(x + i, n - i), n - i);
}

void block_maxima(const float* x, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + kMaximaBlock <= n; i += kMaximaBlock) {
    Vec largest = load(x + i);
    for (int64_t k = kLanes; k < kMaximaBlock; k += kLanes) {
      largest = larger(largest, load(x + i + k));
    }
    *out++ = max_lanes(largest);
  }
  if (i == n) return;
  float largest = x[i];
  for (; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  *out = largest;
}

// Partial sums of blocks are added in double: a vocabulary has 50,000 terms.
float sum_exp(const float* x, float top, int64_t n) {
  double sum = 0;
  int64_t i = 0;
  for (; i + kMaximaBlock <= n; i += kMaximaBlock) {
    Vec block = all(0.0F);
    for (int64_t k = 0; k < kMaximaBlock; k += kLanes) {
      block = add(block, exponential(sub(load(x + i + k), all(top))));
    }
    sum += static_cast<double>(sum_lanes(block));
  }
  for (; i < n; ++i) {
    float lanes[kLanes];
    store(lanes, exponential(all(x[i] - top)));
    sum += static_cast<double>(lanes[0]);
  }
  return static_cast<float>(sum);
}

}  // namespace
}  // namespace outboard::devices::cpu
