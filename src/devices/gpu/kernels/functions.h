// Activations, in float32.
#pragma once

#include "devices/gpu/kernels/math.h"

namespace outboard::devices::gpu::kernels {

DEVICE float sigmoid(float x) { return reciprocal(1 + exp(-x)); }

DEVICE float silu(float x) { return x * reciprocal(1 + exp(-x)); }

DEVICE float gelu_tanh(float x) {
  constexpr float kRoot2OverPi = 0.797884560802865355F;
  return 0.5F * x * (1 + tanh(kRoot2OverPi * x * (1 + 0.044715F * x * x)));
}

// Abramowitz and Stegun, 7.1.26: absolute error below 1.5e-7.
DEVICE float erf(float x) {
  const float a = __builtin_fabsf(x);
  const float t = reciprocal(1 + 0.3275911F * a);
  const float poly =
      t * (0.254829592F +
           t * (-0.284496736F + t * (1.421413741F + t * (-1.453152027F + t * 1.061405429F))));
  return __builtin_copysignf(1 - poly * exp(-a * a), x);
}

DEVICE float gelu_erf(float x) {
  constexpr float kRootHalf = 0.707106781186547524F;
  return 0.5F * x * (1 + erf(kRootHalf * x));
}

DEVICE float apply(Function function, float x) {
  switch (function) {
    case Function::kSilu:
      return silu(x);
    case Function::kGeluTanh:
      return gelu_tanh(x);
    case Function::kGeluErf:
      return gelu_erf(x);
    case Function::kRelu:
      return __builtin_fmaxf(x, 0);
    case Function::kSigmoid:
      return sigmoid(x);
    case Function::kReluSquared:
      x = __builtin_fmaxf(x, 0);
      return x * x;
    case Function::kSwigluOai:
    case Function::kIdentity:
      break;
  }
  return x;
}

// function(gate) * up, or what kSwigluOai makes of both.
DEVICE float gated(Function function, float gate, float up) {
  if (function == Function::kSwigluOai) {
    constexpr float kAlpha = 1.702F, kLimit = 7;
    const float g = __builtin_fminf(gate, kLimit);
    const float u = __builtin_fmaxf(__builtin_fminf(up, kLimit), -kLimit);
    return g * sigmoid(kAlpha * g) * (u + 1);
  }
  return apply(function, gate) * up;
}

}  // namespace outboard::devices::gpu::kernels
