// Minimum, maximum and their combinations, for float32, float16 and float64.
#pragma once

#include "simulator/compute/valu/lanes.h"

namespace outboard::simulator::compute::valu {
namespace {

// A format's numbers in the upper bits of a word.
struct Single {
  using Word = uint32_t;
  using Signed = int32_t;
  static constexpr Word kInfinity = 0x7f800000, kQuiet = 0x00400000;
  static OUTBOARD_VALU_INLINE Word get(const uint32_t* x, int lane) { return x[lane]; }
  static OUTBOARD_VALU_INLINE void put(uint32_t* x, int lane, Word value) { x[lane] = value; }
};
struct Half {
  using Word = uint32_t;
  using Signed = int32_t;
  static constexpr Word kInfinity = 0x7c000000, kQuiet = 0x02000000;
  static OUTBOARD_VALU_INLINE Word get(const uint32_t* x, int lane) { return x[lane] << 16; }
  static OUTBOARD_VALU_INLINE void put(uint32_t* x, int lane, Word value) { x[lane] = value >> 16; }
};
struct Double {
  using Word = uint64_t;
  using Signed = int64_t;
  static constexpr Word kInfinity = 0x7ff0000000000000, kQuiet = 0x0008000000000000;
  static OUTBOARD_VALU_INLINE Word get(const uint32_t* x, int lane) { return join(x, lane); }
  static OUTBOARD_VALU_INLINE void put(uint32_t* x, int lane, Word value) { split(x, lane, value); }
};

template <typename Format>
struct Order {
  using Word = typename Format::Word;
  using Signed = typename Format::Signed;
  static constexpr int kTop = sizeof(Word) * 8 - 1;
  static constexpr Word kSignBit = Word{1} << kTop;

  // Numbers and infinities as signed integers, -0 below +0, as the guide's v_min and v_max want it.
  static OUTBOARD_VALU_INLINE Signed rank(Word x) {
    return static_cast<Signed>(x ^ (static_cast<Word>(static_cast<Signed>(x) >> kTop) >> 1));
  }
  static OUTBOARD_VALU_INLINE Word lower(Word a, Word b) { return rank(a) < rank(b) ? a : b; }
  static OUTBOARD_VALU_INLINE Word upper(Word a, Word b) { return rank(a) > rank(b) ? a : b; }
  static OUTBOARD_VALU_INLINE bool is_nan(Word x) { return (x & ~kSignBit) > Format::kInfinity; }
  static OUTBOARD_VALU_INLINE bool is_signaling(Word x) {
    return is_nan(x) && (x & Format::kQuiet) == 0;
  }
  // a == b, neither a NaN.
  static OUTBOARD_VALU_INLINE bool same(Word a, Word b) {
    return a == b || static_cast<Word>((a | b) << 1) == 0;
  }

  // The guide's order of tests when a NaN may be among the two.
  template <bool kUpper>
  static OUTBOARD_VALU_INLINE Word exact(Word a, Word b, uint32_t extra) {
    if ((extra & kIeee) != 0) {
      if (is_signaling(a)) return a | Format::kQuiet;
      if (is_signaling(b)) return b | Format::kQuiet;
    }
    if (is_nan(b)) return a;
    if (is_nan(a)) return b;
    return kUpper ? upper(a, b) : lower(a, b);
  }
  template <bool kUpper>
  static OUTBOARD_VALU_INLINE Word fast(Word a, Word b) {
    return kUpper ? upper(a, b) : lower(a, b);
  }
};

// v_min, v_max (kThird false); v_min3, v_max3, v_minmax (upper of lower), v_maxmin.
template <typename Format, bool kFirst, bool kThird, bool kSecond>
uint32_t extremes(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                  uint32_t extra) {
  using O = Order<Format>;
  if constexpr (!kThird) c = a;
  uint32_t nan = 0;
  for (int i = 0; i < kLanes; ++i) {
    nan |= static_cast<uint32_t>(O::is_nan(Format::get(a, i))) |
           static_cast<uint32_t>(O::is_nan(Format::get(b, i))) |
           static_cast<uint32_t>(O::is_nan(Format::get(c, i)));
  }
  if (nan != 0) [[unlikely]] {
    for (int i = 0; i < kLanes; ++i) {
      auto r = O::template exact<kFirst>(Format::get(a, i), Format::get(b, i), extra);
      if constexpr (kThird) r = O::template exact<kSecond>(r, Format::get(c, i), extra);
      Format::put(d, i, r);
    }
    return 0;
  }
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) {
    auto r = O::template fast<kFirst>(Format::get(a, i), Format::get(b, i));
    if constexpr (kThird) r = O::template fast<kSecond>(r, Format::get(c, i));
    Format::put(d, i, r);
  }
  return 0;
}
template <typename Format, bool kUpper>
constexpr auto extreme = extremes<Format, kUpper, false, false>;
template <typename Format, bool kFirst, bool kSecond>
constexpr auto extreme3 = extremes<Format, kFirst, true, kSecond>;

// v_med3: with a NaN, v_min3.
template <typename Format>
uint32_t median(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                uint32_t extra) {
  using O = Order<Format>;
  uint32_t nan = 0;
  for (int i = 0; i < kLanes; ++i) {
    nan |= static_cast<uint32_t>(O::is_nan(Format::get(a, i))) |
           static_cast<uint32_t>(O::is_nan(Format::get(b, i))) |
           static_cast<uint32_t>(O::is_nan(Format::get(c, i)));
  }
  const auto between = [](auto x, auto y, auto z) {
    const auto top = O::upper(O::upper(x, y), z);
    const auto xy = O::upper(x, y), xz = O::upper(x, z), yz = O::upper(y, z);
    return O::same(top, x) ? yz : O::same(top, y) ? xz : xy;
  };
  if (nan != 0) [[unlikely]] {
    for (int i = 0; i < kLanes; ++i) {
      const auto x = Format::get(a, i), y = Format::get(b, i), z = Format::get(c, i);
      const bool any = O::is_nan(x) || O::is_nan(y) || O::is_nan(z);
      const auto low = O::template exact<false>(x, y, extra);
      Format::put(d, i, any ? O::template exact<false>(low, z, extra) : between(x, y, z));
    }
    return 0;
  }
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) {
    Format::put(d, i, between(Format::get(a, i), Format::get(b, i), Format::get(c, i)));
  }
  return 0;
}

// Both halves of a word.
template <bool kUpper>
uint32_t extreme_halves(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t*,
                        uint32_t extra) {
  using O = Order<Half>;
  constexpr uint32_t kHigh = 0xffff0000;
  uint32_t nan = 0;
  for (int i = 0; i < kLanes; ++i) {
    nan |= static_cast<uint32_t>(O::is_nan(a[i] & kHigh)) |
           static_cast<uint32_t>(O::is_nan(b[i] & kHigh)) |
           static_cast<uint32_t>(O::is_nan(a[i] << 16)) |
           static_cast<uint32_t>(O::is_nan(b[i] << 16));
  }
  if (nan != 0) [[unlikely]] {
    for (int i = 0; i < kLanes; ++i) {
      d[i] = O::exact<kUpper>(a[i] & kHigh, b[i] & kHigh, extra) |
             O::exact<kUpper>(a[i] << 16, b[i] << 16, extra) >> 16;
    }
    return 0;
  }
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) {
    d[i] =
        O::fast<kUpper>(a[i] & kHigh, b[i] & kHigh) | O::fast<kUpper>(a[i] << 16, b[i] << 16) >> 16;
  }
  return 0;
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
