// What the card computes in one or few instructions, within an ulp or two of float32.
#pragma once

#include "devices/gpu/kernels/device.h"

namespace outboard::devices::gpu::kernels {

constexpr float kLog2E = 1.44269504088896341F;
constexpr float kLn2 = 0.693147180559945309F;

DEVICE float exp2(float x) { return __builtin_amdgcn_exp2f(x); }
DEVICE float exp(float x) { return exp2(x * kLog2E); }
DEVICE float log(float x) { return __builtin_amdgcn_logf(x) * kLn2; }
DEVICE float reciprocal(float x) { return __builtin_amdgcn_rcpf(x); }
DEVICE float reciprocal_root(float x) { return __builtin_amdgcn_rsqf(x); }
// Absolute error about 2^-23.
DEVICE float tanh(float x) { return 1 - 2 * reciprocal(exp(2 * x) + 1); }

// The first position that a token at `position` sees.
DEVICE int first_seen(int window, int chunked, int position) {
  if (window <= 0) return 0;
  if (chunked != 0)
    return static_cast<int>(static_cast<uint32_t>(__builtin_elementwise_max(position, 0)) /
                            static_cast<uint32_t>(window)) *
           window;
  return __builtin_elementwise_max(position - window + 1, 0);
}

}  // namespace outboard::devices::gpu::kernels
