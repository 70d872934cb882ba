// float32 arithmetic. Meaning: RDNA3 ISA guide, chapter 16 (VOP2, VOP3). NaN results: the first
// operand that is one, quieted (in IEEE mode); an operation that makes one of its own gives
// 0xffc00000, the pattern that the guide names for 0/0 in v_div_fixup_f32.
#pragma once

#include "simulator/compute/valu/lanes.h"

namespace outboard::simulator::compute::valu {
namespace {

constexpr uint32_t kSign = 0x80000000, kInfinity = 0x7f800000, kQuiet = 0x00400000;
constexpr uint32_t kDefaultNan = 0xffc00000;

OUTBOARD_VALU_INLINE bool is_nan(uint32_t x) { return (x & ~kSign) > kInfinity; }
OUTBOARD_VALU_INLINE bool is_signaling(uint32_t x) { return is_nan(x) && (x & kQuiet) == 0; }
OUTBOARD_VALU_INLINE uint32_t quieted(uint32_t x, uint32_t extra) {
  return (extra & kIeee) != 0 ? x | kQuiet : x;
}
OUTBOARD_VALU_INLINE uint32_t nan_of(uint32_t a, uint32_t b, uint32_t c, uint32_t extra) {
  if (is_nan(a)) return quieted(a, extra);
  if (is_nan(b)) return quieted(b, extra);
  return is_nan(c) ? quieted(c, extra) : kDefaultNan;
}

// Out of line: NaNs are rare.
__attribute__((noinline, cold)) void settle_nans(uint32_t* r, const uint32_t* a, const uint32_t* b,
                                                 const uint32_t* c, int lanes, uint32_t extra) {
  for (int i = 0; i < lanes; ++i) {
    if (is_nan(r[i])) r[i] = nan_of(a[i], b[i], c[i], extra);
  }
}

// F on whole vectors: the arithmetic that kernels are made of.
template <int kSources, auto F>
uint32_t floats(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                uint32_t extra) {
  for (int i = 0; i < kLanes; i += kWidth) {
    const VecF x = load_float(a + i);
    const VecF y = kSources > 1 ? load_float(b + i) : x;
    const VecF z = kSources > 2 ? load_float(c + i) : x;
    const VecF r = F(x, y, z);
    if (any_nan(r)) [[unlikely]] {
      alignas(64) uint32_t part[4][kWidth];
      store(part[0], r);
      store(part[1], x);
      store(part[2], y);
      store(part[3], z);
      settle_nans(part[0], part[1], part[2], part[3], kWidth, extra);
      store(d + i, load_word(part[0]));
      continue;
    }
    store(d + i, r);
  }
  return 0;
}

// F on the floats of one lane; lanes whose result is NaN are settled as above.
template <int kSources, auto F>
uint32_t floats_by_lane(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                        uint32_t extra) {
  if constexpr (kSources < 2) b = a;
  if constexpr (kSources < 3) c = a;
  alignas(64) uint32_t out[kLanes];
  uint32_t nan = 0;
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) {
    const float r = F(as_float(a[i]), as_float(b[i]), as_float(c[i]));
    out[i] = bits(r);
    nan |= is_nan(out[i]);
  }
  if (nan != 0) [[unlikely]]
    settle_nans(out, a, b, c, kLanes, extra);
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) d[i] = out[i];
  return 0;
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
