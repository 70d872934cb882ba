// Sums and maxima over the lanes of a wave, without LDS. All lanes get the result.
#pragma once

#include "devices/gpu/kernels/device.h"

namespace outboard::devices::gpu::kernels {

// DPP controls, RDNA3 ISA guide, "DPP_CTRL".
constexpr int kQuadSwap1 = 0xb1;  // quad_perm:[1,0,3,2]
constexpr int kQuadSwap2 = 0x4e;  // quad_perm:[2,3,0,1]
constexpr int kRowXmask = 0x160;  // lane ^ n, within 16 lanes

template <int control, typename T>
DEVICE T dpp(T x) {
  const int from = bits_as<int>(x);
  return bits_as<T>(__builtin_amdgcn_update_dpp(from, from, control, 0xf, 0xf, true));
}

// The same lane of the other 16.
template <typename T>
DEVICE T other_row(T x) {
  const int from = bits_as<int>(x);
  int to = __builtin_amdgcn_permlanex16(from, from, 0x76543210, 0xfedcba98, false, false);
  // Nothing, but here: clang 19 moves permlane below a later `if (lane() == 0)`, where the other
  // lanes have nothing to give.
  asm volatile("" : "+v"(to));
  return bits_as<T>(to);
}

template <typename T, typename F>
DEVICE T wave_reduce(T x, F combine) {
  x = combine(x, dpp<kQuadSwap1>(x));
  x = combine(x, dpp<kQuadSwap2>(x));
  x = combine(x, dpp<kRowXmask + 4>(x));
  x = combine(x, dpp<kRowXmask + 8>(x));
  return combine(x, other_row(x));
}

DEVICE float wave_sum(float x) {
  return wave_reduce(x, [](float a, float b) { return a + b; });
}
DEVICE float wave_max(float x) {
  return wave_reduce(x, [](float a, float b) { return __builtin_fmaxf(a, b); });
}
// Over the four lanes 4n to 4n + 3.
DEVICE float quad_sum(float x) {
  x += dpp<kQuadSwap1>(x);
  return x + dpp<kQuadSwap2>(x);
}

}  // namespace outboard::devices::gpu::kernels
