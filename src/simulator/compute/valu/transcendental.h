// v_exp, v_log, v_rcp, v_rsq, v_sqrt, v_sin, v_cos. The hardware's are within 1 ulp; these are
// computed in float64 (rcp, sqrt in the type itself) and rounded, which is within 0.51 ulp. Without
// fused operations, so that every instruction set gives the same bits.
//
// The float32 ones read denormals as zeros and give none, whatever the mode (LLVM's lowering of
// log2, exp2, sqrt and of division by v_rcp scales around that); the float16 ones keep them.
#pragma once

#include "simulator/compute/valu/float16.h"
#include "simulator/compute/valu/float64.h"

namespace outboard::simulator::compute::valu {
namespace {

OUTBOARD_VALU_INLINE float flushed(float x) {
  return (bits(x) & kInfinity) == 0 ? as_float(bits(x) & kSign) : x;
}

// c[0] + c[1] x + ...
template <int kTerms>
OUTBOARD_VALU_INLINE double polynomial(const double (&c)[kTerms], double x) {
  double sum = c[kTerms - 1];
  for (int i = kTerms - 2; i >= 0; --i) sum = sum * x + c[i];
  return sum;
}

constexpr double kWholeShift =
    0x1.8p52;  // adding it leaves the nearest whole number in the low bits

OUTBOARD_VALU_INLINE float exp2_of(float x) {
  // ln(2)^n / n!
  constexpr double kTerms[] = {1.0,
                               0.6931471805599453,
                               0.24022650695910072,
                               0.05550410866482158,
                               0.009618129107628477,
                               0.0013333558146428443,
                               0.0001540353039338161,
                               1.5252733804059841e-05,
                               1.321548679014431e-06,
                               1.01780860092397e-07};
  const float limited = x < -200.0F ? -200.0F : x > 200.0F ? 200.0F : x;
  const double shifted = static_cast<double>(limited) + kWholeShift;
  const double f = static_cast<double>(limited) - (shifted - kWholeShift);
  const uint64_t scale = (bits(shifted) + 1023) << 52;
  return static_cast<float>(polynomial(kTerms, f) * as_double(scale));
}

OUTBOARD_VALU_INLINE float log2_of(float x) {
  // 2 / ln(2) / (2 n + 1): of atanh((m - 1) / (m + 1)).
  constexpr double kTerms[] = {2.8853900817779268,  0.9617966939259756, 0.5770780163555853,
                               0.4121985831111324,  0.3205988979753252, 0.2623081892525388,
                               0.22195308321368667, 0.19235933878519512};
  const uint32_t word = bits(x);
  // m in [sqrt(1/2), sqrt(2)).
  const int32_t e = static_cast<int32_t>(word - 0x3f3504f3) >> 23;
  const double m = static_cast<double>(as_float(word - (static_cast<uint32_t>(e) << 23)));
  const double r = (m - 1.0) / (m + 1.0);
  const double log = static_cast<double>(e) + r * polynomial(kTerms, r * r);
  const float result = static_cast<float>(log);
  const float special = x == 0.0F  ? as_float(kSign | kInfinity)
                        : x > 0.0F ? x
                                   : as_float(kDefaultNan);
  const bool regular = x > 0.0F && x < as_float(kInfinity);
  return regular ? result : special;
}

// sin(2 pi x) for kQuarters 0, cos(2 pi x) for 1.
template <int kQuarters>
OUTBOARD_VALU_INLINE float sine_of(float x) {
  // (-1)^n (2 pi)^(2 n + 1) / (2 n + 1)! and the same of even powers.
  constexpr double kSine[] = {6.283185307179586,  -41.34170224039976, 81.60524927607506,
                              -76.70585975306139, 42.058693944897655, -15.09464257682299,
                              3.819952584848282,  -0.7181223017785006};
  constexpr double kCosine[] = {1.0,
                                -19.739208802178716,
                                64.9393940226683,
                                -85.45681720669373,
                                60.24464137187666,
                                -26.4262567833744,
                                7.903536371318469,
                                -1.714390711088672,
                                0.28200596845579123};
  const double whole_shift = static_cast<double>(x) + kWholeShift;
  const double turn = static_cast<double>(x) - (whole_shift - kWholeShift);  // [-1/2, 1/2], exact
  // Beyond 2^24 all numbers are whole; kWholeShift would be too small for the largest of them.
  const double f = magnitude_of(x) < 0x1p24F ? turn : static_cast<double>(x - x);
  const double shifted = f * 4.0 + kWholeShift;
  const double g = f - (shifted - kWholeShift) * 0.25;  // [-1/8, 1/8], exact
  const uint64_t quarter = bits(shifted) + kQuarters;
  const double s = g * polynomial(kSine, g * g), c = polynomial(kCosine, g * g);
  const double value = (quarter & 1) != 0 ? c : s;
  return static_cast<float>((quarter & 2) != 0 ? 0.0 - value : value);
}

OUTBOARD_VALU_INLINE float reciprocal_of(float x) { return 1.0F / x; }
OUTBOARD_VALU_INLINE float root_of(float x) { return __builtin_sqrtf(x); }
OUTBOARD_VALU_INLINE float reciprocal_root_of(float x) {
  return static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(x)));
}

template <auto F>
constexpr auto transcendental32 =
    floats_by_lane<1, [](float x, float, float) { return flushed(F(flushed(x))); }>;
template <auto F>
constexpr auto transcendental16 = halves_by_lane<1, [](float x, float, float) { return F(x); }>;

// v_trig_preop_f64: 53 bits of 2 / pi from a place on.
uint32_t trig_preop_f64(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t*,
                        uint32_t) {
  // The first 1280 bits of the fraction, highest first.
  static constexpr uint64_t kTwoOverPi[] = {
      0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561,
      0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484,
      0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f,
      0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d, 0x7527bac7ebe5f17b,
      0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab, 0xf0cfbc209af4361d,
  };
  for (int i = 0; i < kLanes; ++i) {
    const int exponent = exponent_field(join(a, i));
    int shift = static_cast<int>(b[i] & 31) * 53;
    if (exponent > 1077) shift += exponent - 1077;
    const int word = shift / 64, offset = shift % 64;
    uint64_t chunk = 0;
    constexpr int kWords = sizeof(kTwoOverPi) / sizeof(kTwoOverPi[0]);
    // The guide's constant has 1201 bits; what is beyond them is zero.
    if (word < kWords) chunk = kTwoOverPi[word] << offset;
    if (offset != 0 && word + 1 < kWords) chunk |= kTwoOverPi[word + 1] >> (64 - offset);
    chunk >>= 11;
    const int past = shift + 53 - 1201;
    if (past > 0) chunk = past >= 53 ? 0 : chunk >> past << past;
    int scale = -53 - shift;
    if (exponent >= 1968) scale += 128;
    split(d, i, bits(scaled(static_cast<double>(chunk), scale)));
  }
  return 0;
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
