// Comparisons and classes: v_cmp and v_cmpx (guide, VOPC).
#pragma once

#include "simulator/compute/valu/lanes.h"
#include "simulator/compute/valu/order.h"

namespace outboard::simulator::compute::valu {
namespace {

// How a float compares depends on which of these holds.
enum Relation { kLess = 1, kEqual = 2, kGreater = 4, kUnordered = 8 };

OUTBOARD_VALU_INLINE float comparable(uint32_t x) { return __builtin_bit_cast(float, x); }
OUTBOARD_VALU_INLINE double comparable(uint64_t x) { return __builtin_bit_cast(double, x); }
// A float16 as a float that compares alike.
OUTBOARD_VALU_INLINE float comparable_half(uint32_t x) {
  const uint32_t magnitude = (x & 0x7fff) << 13;
  const uint32_t special = magnitude >= 0x0f800000 ? 0x7f800000U : 0U;
  return __builtin_bit_cast(float, magnitude | special | (x & 0x8000) << 16);
}

// True when the relation of a and b is one of kWanted.
template <int kWanted, typename T>
OUTBOARD_VALU_INLINE bool relates(T a, T b) {
  constexpr bool kComplement = (kWanted & kUnordered) != 0;  // then test for the others, negated
  constexpr int kTest = kComplement ? ~kWanted & 15 : kWanted;
  bool holds;
  if constexpr (kTest == 0) holds = false;
  if constexpr (kTest == kLess) holds = a < b;
  if constexpr (kTest == kEqual) holds = a == b;
  if constexpr (kTest == kGreater) holds = a > b;
  if constexpr (kTest == (kLess | kEqual)) holds = a <= b;
  if constexpr (kTest == (kGreater | kEqual)) holds = a >= b;
  if constexpr (kTest == (kLess | kGreater)) holds = a < b || a > b;
  if constexpr (kTest == (kLess | kEqual | kGreater)) holds = a == a && b == b;
  return holds != kComplement;
}

template <int kWanted>
constexpr auto compare_f32 =
    test2<[](uint32_t a, uint32_t b) { return relates<kWanted>(comparable(a), comparable(b)); }>;
template <int kWanted>
constexpr auto compare_f16 = test2<[](uint32_t a, uint32_t b) {
  return relates<kWanted>(comparable_half(a), comparable_half(b));
}>;
template <int kWanted>
constexpr auto compare_f64 =
    test2_64<[](uint64_t a, uint64_t b) { return relates<kWanted>(comparable(a), comparable(b)); }>;

template <typename T, int kWanted>
OUTBOARD_VALU_INLINE bool relates_int(T a, T b) {
  if constexpr (kWanted == 0) return false;
  if constexpr (kWanted == kLess) return a < b;
  if constexpr (kWanted == kEqual) return a == b;
  if constexpr (kWanted == (kLess | kEqual)) return a <= b;
  if constexpr (kWanted == kGreater) return a > b;
  if constexpr (kWanted == (kLess | kGreater)) return a != b;
  if constexpr (kWanted == (kGreater | kEqual)) return a >= b;
  if constexpr (kWanted == (kLess | kEqual | kGreater)) return true;
}
template <typename T, int kWanted>
constexpr auto compare_int = test2<[](uint32_t a, uint32_t b) {
  return relates_int<T, kWanted>(static_cast<T>(a), static_cast<T>(b));
}>;
template <typename T, int kWanted>
constexpr auto compare_int64 = test2_64<[](uint64_t a, uint64_t b) {
  return relates_int<T, kWanted>(static_cast<T>(a), static_cast<T>(b));
}>;

// The bit of v_cmp_class's mask that a number belongs to.
template <typename Format>
OUTBOARD_VALU_INLINE int class_of(typename Format::Word x) {
  using O = Order<Format>;
  const bool negative = (x & O::kSignBit) != 0;
  const auto magnitude = x & ~O::kSignBit;
  constexpr auto kLeastNormal = Format::kQuiet * 2;  // exponent field 1, no fraction
  if (magnitude > Format::kInfinity) return (x & Format::kQuiet) != 0 ? 1 : 0;
  if (magnitude == Format::kInfinity) return negative ? 2 : 9;
  if (magnitude >= kLeastNormal) return negative ? 3 : 8;
  if (magnitude != 0) return negative ? 4 : 7;
  return negative ? 5 : 6;
}
template <typename Format>
uint32_t compare_class(uint32_t*, const uint32_t* a, const uint32_t* b, const uint32_t*, uint32_t) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= (b[i] >> class_of<Format>(Format::get(a, i)) & 1) << i;
  return mask;
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
