// The table of one set of instructions: included by scalar.cpp, avx2.cpp, avx512.cpp and neon.cpp.
#pragma once

#include "simulator/compute/valu/compare.h"
#include "simulator/compute/valu/convert.h"
#include "simulator/compute/valu/handlers.h"
#include "simulator/compute/valu/lane_memory.h"
#include "simulator/compute/valu/matrix.h"
#include "simulator/compute/valu/operations.h"
#include "simulator/compute/valu/order.h"
#include "simulator/compute/valu/transcendental.h"

namespace outboard::simulator::compute::valu {
namespace {

constexpr auto kSame = [](U x) { return x; };
constexpr auto kInt = [](U x) { return static_cast<I>(x); };
constexpr auto kInt16 = [](U x) { return s16(x); };
constexpr auto kWord16 = [](U x) { return u16(x); };

constexpr auto kAddF = [](VecF a, VecF b, VecF) { return a + b; };
constexpr auto kSubF = [](VecF a, VecF b, VecF) { return a - b; };
constexpr auto kSubrevF = [](VecF a, VecF b, VecF) { return b - a; };
constexpr auto kMulF = [](VecF a, VecF b, VecF) { return a * b; };
constexpr auto kFmaF = [](VecF a, VecF b, VecF c) { return fused(a, b, c); };
constexpr auto kFmaH = [](VecF a, VecF b, VecF c) { return fused_to_odd(a, b, c); };
// DirectX 9: zero times anything is zero.
constexpr auto kMulLegacy = [](float a, float b, float) { return a == 0 || b == 0 ? 0.0F : a * b; };
uint32_t fma_legacy(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                    uint32_t extra) {
  alignas(64) uint32_t out[kLanes];
  floats<3, kFmaF>(out, a, b, c, extra);
  for (int i = 0; i < kLanes; ++i) d[i] = is_zero(a[i]) || is_zero(b[i]) ? c[i] : out[i];
  return 0;
}

constexpr auto kMullit = [](float a, float b, float c) { return multiply_lit(a, b, c); };
template <auto F>
constexpr auto words3_of_floats =
    words3<[](U a, U b, U c) { return bits(F(as_float(a), as_float(b), as_float(c))); }>;
constexpr auto kCubeFace = [](float x, float y, float z) { return cube_face(x, y, z); };
constexpr auto kCubeS = [](float x, float y, float z) { return cube_s(x, y, z); };
constexpr auto kCubeT = [](float x, float y, float z) { return cube_t(x, y, z); };
constexpr auto kCubeMajor = [](float x, float y, float z) { return cube_major(x, y, z); };

constexpr auto kTrunc = [](float x, float, float) { return truncated(x); };
constexpr auto kCeil = [](float x, float, float) { return ceil_of(x); };
constexpr auto kFloor = [](float x, float, float) { return floor_of(x); };
constexpr auto kRound = [](float x, float, float) { return nearest_even(x); };
constexpr auto kFract = [](float x, float, float) { return fraction(x); };
constexpr auto kFractHalf = [](float x, float, float) {
  constexpr float kBelowOne = 0x1.ffcp-1F;
  const float f = x - floor_of(x);
  return f > kBelowOne ? kBelowOne : f;
};
constexpr auto kMantissa = [](float x, float, float) { return mantissa_of(x); };
constexpr auto kExponent = [](U x) { return exponent_of(x); };
constexpr auto kExponentOfFloat = [](float x) { return exponent_of(bits(x)); };
constexpr auto kDivideFixup = [](U a, U b, U c) { return divide_fixup(a, b, c); };
constexpr auto kDivideFixupHalf = [](U a, U b, U c) { return divide_fixup_half(a, b, c); };

constexpr auto kExp = [](float x) { return exp2_of(x); };
constexpr auto kLog = [](float x) { return log2_of(x); };
constexpr auto kRcp = [](float x) { return reciprocal_of(x); };
constexpr auto kRsq = [](float x) { return reciprocal_root_of(x); };
constexpr auto kSqrt = [](float x) { return root_of(x); };
constexpr auto kSin = [](float x) { return sine_of<0>(x); };
constexpr auto kCos = [](float x) { return sine_of<1>(x); };

constexpr auto kAddD = [](double a, double b, double) { return a + b; };
constexpr auto kMulD = [](double a, double b, double) { return a * b; };
constexpr auto kFmaD = [](double a, double b, double c) { return __builtin_fma(a, b, c); };
constexpr auto kTruncD = [](double x, double, double) { return truncated(x); };
constexpr auto kCeilD = [](double x, double, double) { return ceil_of(x); };
constexpr auto kFloorD = [](double x, double, double) { return floor_of(x); };
constexpr auto kRoundD = [](double x, double, double) { return nearest_even(x); };
constexpr auto kFractD = [](double x, double, double) { return fraction(x); };
constexpr auto kMantissaD = [](double x, double, double) { return mantissa_of(x); };
constexpr auto kExponentD = [](double x) { return exponent_of(bits(x)); };
constexpr auto kRcpD = [](double x, double, double) { return 1.0 / x; };
constexpr auto kRsqD = [](double x, double, double) { return 1.0 / __builtin_sqrt(x); };
constexpr auto kSqrtD = [](double x, double, double) { return __builtin_sqrt(x); };

constexpr auto kToI32 = [](float x) { return float_to_int(x); };
constexpr auto kToU32 = [](float x) { return float_to_unsigned(x); };
constexpr auto kNearestToI32 = [](float x) { return float_to_int(floor_of(x + 0.5F)); };
constexpr auto kFloorToI32 = [](float x) { return float_to_int(floor_of(x)); };
constexpr auto kToI32D = [](double x) { return to_int(x); };
constexpr auto kToU32D = [](double x) { return to_unsigned(x); };
constexpr auto kSixteenths = [](U x) {
  return static_cast<float>(static_cast<I>(x << 28) >> 28) * 0.0625F;
};
constexpr auto kPack = [](U a, U b) { return u16(a) | b << 16; };
constexpr auto kPackU32 = [](U a, U b) { return least(a, U{0xffff}) | least(b, U{0xffff}) << 16; };
constexpr auto kPackI32 = [](U a, U b) {
  return pair(within(static_cast<I>(a), kMin16, kMax16), within(static_cast<I>(b), kMin16, kMax16));
};
constexpr auto kSatPk = [](U x) { return saturated_bytes(x); };

constexpr auto kSubrev = [](auto a, auto b) { return kSub(b, a); };
constexpr auto kSubrevSatU32 = [](U a, U b) { return kSubSatU32(b, a); };
constexpr auto kAdd3 = [](U a, U b, U c) { return a + b + c; };
constexpr auto kMulHiU = [](U a, U b) {
  return static_cast<U>(static_cast<uint64_t>(a) * b >> 32);
};
constexpr auto kMulHiI = [](U a, U b) {
  return static_cast<U>(int64_t{static_cast<I>(a)} * static_cast<I>(b) >> 32);
};
constexpr auto kMul24I = [](U a, U b) { return static_cast<U>(s24(a)) * static_cast<U>(s24(b)); };
constexpr auto kMul24U = [](U a, U b) { return u24(a) * u24(b); };
constexpr auto kMulHi24I = [](U a, U b) { return static_cast<U>(int64_t{s24(a)} * s24(b) >> 32); };
constexpr auto kMulHi24U = [](U a, U b) {
  return static_cast<U>(static_cast<uint64_t>(u24(a)) * u24(b) >> 32);
};
constexpr auto kMad24I = [](U a, U b, U c) { return kMul24I(a, b) + c; };
constexpr auto kMad24U = [](U a, U b, U c) { return kMul24U(a, b) + c; };
constexpr auto kMad24SatI = [](U a, U b, U c) {
  return kMadSatI32(s24(a), s24(b), static_cast<I>(c));
};
constexpr auto kMad24SatU = [](U a, U b, U c) { return kMadSatU32(u24(a), u24(b), c); };
constexpr auto kMul24SatI = [](U a, U b) { return kMad24SatI(a, b, 0); };
constexpr auto kMul24SatU = [](U a, U b) { return kMad24SatU(a, b, 0); };
constexpr auto kMad16I = [](U a, U b, U c) { return static_cast<U>(s16(a) * s16(b)) + c; };
constexpr auto kMad16U = [](U a, U b, U c) { return u16(a) * u16(b) + c; };
constexpr auto kMad16SatI = [](U a, U b, U c) {
  return kMadSatI32(s16(a), s16(b), static_cast<I>(c));
};
constexpr auto kMad16SatU = [](U a, U b, U c) { return kMadSatU32(u16(a), u16(b), c); };

constexpr auto kAnd = [](U a, U b) { return a & b; };
constexpr auto kOr = [](U a, U b) { return a | b; };
constexpr auto kXor = [](U a, U b) { return a ^ b; };
constexpr auto kXnor = [](U a, U b) { return ~(a ^ b); };
constexpr auto kNot = [](U a) { return ~a; };
constexpr auto kOr3 = [](U a, U b, U c) { return a | b | c; };
constexpr auto kXor3 = [](U a, U b, U c) { return a ^ b ^ c; };
constexpr auto kAndOr = [](U a, U b, U c) { return (a & b) | c; };
constexpr auto kXorAdd = [](U a, U b, U c) { return (a ^ b) + c; };
constexpr auto kShiftAdd = [](U a, U b, U c) { return (a << (b & 31)) + c; };
constexpr auto kAddShift = [](U a, U b, U c) { return (a + b) << (c & 31); };
constexpr auto kShiftOr = [](U a, U b, U c) { return a << (b & 31) | c; };
constexpr auto kExtract = [](U a, U b, U c) { return a >> (b & 31) & ((1U << (c & 31)) - 1); };
constexpr auto kExtractI = [](U a, U b, U c) { return extract_signed(a, b, c); };
constexpr auto kInsert = [](U a, U b, U c) { return (a & b) | (~a & c); };
constexpr auto kFieldMask = [](U a, U b) { return ((1U << (a & 31)) - 1) << (b & 31); };
constexpr auto kReverse = [](U a) { return reversed(a); };
constexpr auto kCount = [](U a, U b) { return ones(a) + b; };
constexpr auto kLeading = [](U a) { return leading_zeros(a); };
constexpr auto kTrailing = [](U a) { return trailing_zeros(a); };
constexpr auto kSignBits = [](U a) { return sign_bits(a); };
constexpr auto kAlignBit = [](U a, U b, U c) { return align(a, b, c & 31); };
constexpr auto kAlignByte = [](U a, U b, U c) { return align(a, b, (c & 3) * 8); };
constexpr auto kLerp = [](U a, U b, U c) { return lerp8(a, b, c); };
constexpr auto kSad8 = [](U a, U b, U c) { return sad8(a, b) + c; };
constexpr auto kSadHi8 = [](U a, U b, U c) { return (sad8(a, b) << 16) + c; };
constexpr auto kSad16 = [](U a, U b, U c) {
  return difference(u16(a), u16(b)) + difference(a >> 16, b >> 16) + c;
};
constexpr auto kSad32 = [](U a, U b, U c) { return difference(a, b) + c; };
constexpr auto kMaskedSad = [](U a, U b, U c) { return masked_sad8(a, b) + c; };
constexpr auto kSad8Sat = [](U a, U b, U c) { return kAddSatU32(sad8(a, b), c); };
constexpr auto kSadHi8Sat = [](U a, U b, U c) { return kAddSatU32(sad8(a, b) << 16, c); };
constexpr auto kSad16Sat = [](U a, U b, U c) { return kAddSatU32(kSad16(a, b, 0), c); };
constexpr auto kSad32Sat = [](U a, U b, U c) { return kAddSatU32(difference(a, b), c); };
constexpr auto kMaskedSadSat = [](U a, U b, U c) { return kAddSatU32(masked_sad8(a, b), c); };
constexpr auto kSad8Of = [](U a, U b) { return sad8(a, b); };
constexpr auto kMaskedSadOf = [](U a, U b) { return masked_sad8(a, b); };
constexpr auto kShiftLeft64 = [](uint64_t x, U n) { return x << n; };
constexpr auto kShiftRight64 = [](uint64_t x, U n) { return x >> n; };
constexpr auto kShiftRightI64 = [](uint64_t x, U n) {
  return static_cast<uint64_t>(static_cast<int64_t>(x) >> n);
};

#define OPERATION(op, traits, ...) {Opcode::op, 0, __VA_ARGS__, run_direct<__VA_ARGS__, (traits)>},
#define VARIANT(op, number, traits, ...) \
  {Opcode::op, number, __VA_ARGS__, run_direct<__VA_ARGS__, (traits)>},
#define SIGNS(op, traits, number, body, clamp, a, b) \
  {Opcode::op, number, body<Clamp::clamp, a, b>, run_direct<body<Clamp::clamp, a, b>, (traits)>},
#define SIGNED_OPERATION(op, traits, body)                    \
  SIGNS(op, traits, 0, body, kNone, false, false)             \
  SIGNS(op, traits, 1, body, kNone, true, false)              \
  SIGNS(op, traits, 2, body, kNone, false, true)              \
  SIGNS(op, traits, 3, body, kNone, true, true)               \
  SIGNS(op, traits, kClamped, body, kSigned, false, false)    \
  SIGNS(op, traits, kClamped + 1, body, kSigned, true, false) \
  SIGNS(op, traits, kClamped + 2, body, kSigned, false, true) \
  SIGNS(op, traits, kClamped + 3, body, kSigned, true, true)
#define COMPARE(name, traits, ...)                                                         \
  {Opcode::kVCmp##name, 0, __VA_ARGS__, run_direct < __VA_ARGS__, (traits) | kCompare > }, \
      {Opcode::kVCmpx##name, 0, __VA_ARGS__, run_direct < __VA_ARGS__, (traits) | kCompare > },

constexpr Entry kEntries[] = {
#include "simulator/compute/valu/compare_rows.h"
#include "simulator/compute/valu/operations.def"
};

}  // namespace
}  // namespace outboard::simulator::compute::valu
