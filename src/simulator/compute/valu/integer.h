// Integers and bits: RDNA3 ISA guide, chapter 16. 16-bit operations read the low halves of words
// and leave their result there; the caller keeps the destination's other half.
#pragma once

#include "simulator/compute/valu/lanes.h"

namespace outboard::simulator::compute::valu {
namespace {

using U = uint32_t;
using I = int32_t;

OUTBOARD_VALU_INLINE I s24(U x) { return static_cast<I>(x << 8) >> 8; }
OUTBOARD_VALU_INLINE U u24(U x) { return x & 0xffffff; }
OUTBOARD_VALU_INLINE I s16(U x) { return static_cast<int16_t>(x); }
OUTBOARD_VALU_INLINE U u16(U x) { return x & 0xffff; }
OUTBOARD_VALU_INLINE U byte_of(U x, int i) { return x >> (8 * i) & 0xff; }

template <typename T>
OUTBOARD_VALU_INLINE T least(T a, T b) {
  return a < b ? a : b;
}
template <typename T>
OUTBOARD_VALU_INLINE T most(T a, T b) {
  return a < b ? b : a;
}
template <typename T>
OUTBOARD_VALU_INLINE T middle(T a, T b, T c) {
  return most(least(a, b), least(most(a, b), c));
}
OUTBOARD_VALU_INLINE I within(int64_t x, I low, I high) {
  return static_cast<I>(x < low ? low : x > high ? high : x);
}
constexpr I kMin32 = -0x7fffffff - 1, kMax32 = 0x7fffffff, kMin16 = -0x8000, kMax16 = 0x7fff;

// Operations on T read from words (int32_t, int16_t, uint16_t): the usual three shapes.
template <typename T, auto F>
constexpr auto two = words2<[](U a, U b) { return F(static_cast<T>(a), static_cast<T>(b)); }>;
template <typename T, auto F>
constexpr auto three = words3<[](U a, U b, U c) {
  return F(static_cast<T>(a), static_cast<T>(b), static_cast<T>(c));
}>;
// On both halves of words.
template <typename T, auto F>
constexpr auto packed2 = words2<[](U a, U b) {
  const U low = u16(static_cast<U>(F(static_cast<T>(a), static_cast<T>(b))));
  return low | static_cast<U>(F(static_cast<T>(a >> 16), static_cast<T>(b >> 16))) << 16;
}>;
template <typename T, auto F>
constexpr auto packed3 = words3<[](U a, U b, U c) {
  const U low = u16(static_cast<U>(F(static_cast<T>(a), static_cast<T>(b), static_cast<T>(c))));
  return low | static_cast<U>(
                   F(static_cast<T>(a >> 16), static_cast<T>(b >> 16), static_cast<T>(c >> 16)))
                   << 16;
}>;

// Of T promoted to int: results wrap when stored.
constexpr auto kAdd = [](auto a, auto b) { return static_cast<U>(a) + static_cast<U>(b); };
constexpr auto kSub = [](auto a, auto b) { return static_cast<U>(a) - static_cast<U>(b); };
constexpr auto kMul = [](auto a, auto b) { return static_cast<U>(a) * static_cast<U>(b); };
constexpr auto kMad = [](auto a, auto b, auto c) {
  return static_cast<U>(a) * static_cast<U>(b) + static_cast<U>(c);
};
constexpr auto kLeast = [](auto a, auto b) { return least(a, b); };
constexpr auto kMost = [](auto a, auto b) { return most(a, b); };
constexpr auto kLeast3 = [](auto a, auto b, auto c) { return least(least(a, b), c); };
constexpr auto kMost3 = [](auto a, auto b, auto c) { return most(most(a, b), c); };
constexpr auto kMiddle = [](auto a, auto b, auto c) { return middle(a, b, c); };
constexpr auto kMaxMin = [](auto a, auto b, auto c) { return least(most(a, b), c); };
constexpr auto kMinMax = [](auto a, auto b, auto c) { return most(least(a, b), c); };

// Clamped to T: 16-bit types hold every intermediate in int32_t, 32-bit ones in int64_t.
constexpr auto kAddSatI32 = [](I a, I b) { return within(int64_t{a} + b, kMin32, kMax32); };
constexpr auto kSubSatI32 = [](I a, I b) { return within(int64_t{a} - b, kMin32, kMax32); };
constexpr auto kAddSatU32 = [](U a, U b) { return a + b < a ? ~0U : a + b; };
constexpr auto kSubSatU32 = [](U a, U b) { return a < b ? 0U : a - b; };
constexpr auto kAddSatI16 = [](I a, I b) { return within(a + b, kMin16, kMax16); };
constexpr auto kSubSatI16 = [](I a, I b) { return within(a - b, kMin16, kMax16); };
constexpr auto kMadSatI16 = [](I a, I b, I c) { return within(a * b + c, kMin16, kMax16); };
constexpr auto kAddSatU16 = [](I a, I b) { return a + b > 0xffff ? 0xffff : a + b; };
constexpr auto kSubSatU16 = [](I a, I b) { return a < b ? 0 : a - b; };
constexpr auto kMulSatU16 = [](U a, U b) { return least(a * b, U{0xffff}); };
constexpr auto kMadSatU16 = [](U a, U b, U c) {  // 0xffff * 0xffff + 0xffff fits
  return least(a * b + c, U{0xffff});
};
constexpr auto kMadSatI32 = [](int64_t a, int64_t b, I c) {
  return within(a * b + c, kMin32, kMax32);
};
constexpr auto kMadSatU32 = [](uint64_t a, uint64_t b, U c) {
  const uint64_t sum = a * b + c;
  return sum > ~U{0} ? ~U{0} : static_cast<U>(sum);
};

constexpr auto kShiftLeft = [](U a, U b) { return b << (a & 31); };
constexpr auto kShiftRight = [](U a, U b) { return b >> (a & 31); };
constexpr auto kShiftRightI = [](U a, U b) { return static_cast<I>(b) >> (a & 31); };
constexpr auto kShiftLeft16 = [](uint16_t a, uint16_t b) { return static_cast<U>(b) << (a & 15); };
constexpr auto kShiftRight16 = [](uint16_t a, uint16_t b) { return static_cast<U>(b) >> (a & 15); };
constexpr auto kShiftRightI16 = [](int16_t a, int16_t b) { return static_cast<I>(b) >> (a & 15); };

OUTBOARD_VALU_INLINE U ones(U x) {
  x -= x >> 1 & 0x55555555;
  x = (x & 0x33333333) + (x >> 2 & 0x33333333);
  // Not by a multiplication: the compiler would see a population count, and count lane by lane.
  x = (x + (x >> 4)) & 0x0f0f0f0f;
  x += x >> 8;
  return (x + (x >> 16)) & 0x3f;
}
OUTBOARD_VALU_INLINE U reversed(U x) {
  x = (x >> 1 & 0x55555555) | (x & 0x55555555) << 1;
  x = (x >> 2 & 0x33333333) | (x & 0x33333333) << 2;
  x = (x >> 4 & 0x0f0f0f0f) | (x & 0x0f0f0f0f) << 4;
  x = (x >> 8 & 0x00ff00ff) | (x & 0x00ff00ff) << 8;
  return x >> 16 | x << 16;
}
// Bits from the highest one down, or -1.
OUTBOARD_VALU_INLINE U leading_zeros(U x) {
  x |= x >> 1;
  x |= x >> 2;
  x |= x >> 4;
  x |= x >> 8;
  x |= x >> 16;
  return x == 0 ? ~0U : 32 - ones(x);
}
OUTBOARD_VALU_INLINE U trailing_zeros(U x) { return x == 0 ? ~0U : ones((x & (0U - x)) - 1); }
OUTBOARD_VALU_INLINE U sign_bits(U x) {  // equal to the sign; -1 when all are
  const U folded = static_cast<I>(x) < 0 ? ~x : x;
  return leading_zeros(folded);
}

OUTBOARD_VALU_INLINE U extract_signed(U a, U offset, U width) {
  const U n = width & 31;
  const U field = static_cast<U>(static_cast<I>(a) >> (offset & 31)) & ((1U << n) - 1);
  const U sign = (1U << n) >> 1;
  return (field ^ sign) - sign;
}

// {a, b} >> shift, shift below 32.
OUTBOARD_VALU_INLINE U align(U a, U b, U shift) {
  return static_cast<U>((static_cast<uint64_t>(a) << 32 | b) >> shift);
}

// Bytes 0 to 3 are b's, 4 to 7 a's.
OUTBOARD_VALU_INLINE U permuted_byte(U a, U b, U select) {
  const U byte = ((select & 4) != 0 ? a : b) >> (8 * (select & 3)) & 0xff;
  // 8 to 11: the sign of bytes 1, 3, 5, 7.
  const U sign = (0U - (((select & 2) != 0 ? a : b) >> (15 + 16 * (select & 1)) & 1)) & 0xff;
  return select < 8 ? byte : select < 12 ? sign : select == 12 ? 0 : 0xff;
}
constexpr auto kPermute = [](U a, U b, U select) {
  return permuted_byte(a, b, byte_of(select, 0)) | permuted_byte(a, b, byte_of(select, 1)) << 8 |
         permuted_byte(a, b, byte_of(select, 2)) << 16 |
         permuted_byte(a, b, byte_of(select, 3)) << 24;
};

// Mostly the selectors name plain bytes.
uint32_t permute_bytes(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                       uint32_t extra) {
#if defined(__AVX2__) || defined(__aarch64__)
  VecU special{};
  for (int i = 0; i < kLanes; i += kWidth) special |= load_word(c + i) & 0xf8f8f8f8;
  if (any(special)) [[unlikely]]
    return words3<kPermute>(d, a, b, c, extra);
  VecU own;  // the lane's first byte among its sixteen, in each byte
  for (int k = 0; k < kWidth; ++k) own[k] = static_cast<U>(k % 4) * 0x04040404;
  for (int i = 0; i < kLanes; i += kWidth) {
    const VecU select = load_word(c + i), place = (select & 0x03030303) | own;
    const VecU upper = (VecU)((VecB)(select & 0x04040404) != 0);
    store(d + i, (shuffle_bytes(load_word(a + i), place) & upper) |
                     (shuffle_bytes(load_word(b + i), place) & ~upper));
  }
  return 0;
#else
  return words3<kPermute>(d, a, b, c, extra);
#endif
}

template <typename T>
OUTBOARD_VALU_INLINE U difference(T a, T b) {
  return static_cast<U>(a > b ? a - b : b - a);
}
OUTBOARD_VALU_INLINE U sad8(U a, U b) {
  U sum = 0;
  for (int i = 0; i < 4; ++i) sum += difference(byte_of(a, i), byte_of(b, i));
  return sum;
}
OUTBOARD_VALU_INLINE U masked_sad8(U a, U b) {  // bytes where b is zero do not count
  U sum = 0;
  for (int i = 0; i < 4; ++i) {
    sum += byte_of(b, i) == 0 ? 0 : difference(byte_of(a, i), byte_of(b, i));
  }
  return sum;
}
OUTBOARD_VALU_INLINE U lerp8(U a, U b, U c) {
  U out = 0;
  for (int i = 0; i < 4; ++i) {
    out |= (byte_of(a, i) + byte_of(b, i) + (byte_of(c, i) & 1)) >> 1 << (8 * i);
  }
  return out;
}

// v_qsad, v_mqsad: four windows of S0, one byte apart, against S1.
template <auto F>
uint32_t sad_windows16(U* d, const U* a, const U* b, const U* c, U) {
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t window = join(a, i), add = join(c, i);
    uint64_t out = 0;
    for (int k = 0; k < 4; ++k) {
      const U sum =
          F(static_cast<U>(window >> (8 * k)), b[i]) + u16(static_cast<U>(add >> (16 * k)));
      out |= static_cast<uint64_t>(u16(sum)) << (16 * k);
    }
    split(d, i, out);
  }
  return 0;
}
uint32_t mqsad_u32_u8(U* d, const U* a, const U* b, const U* c, U) {
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t window = join(a, i);
    const U other = b[i];
    U out[4];
    for (int k = 0; k < 4; ++k) {
      out[k] = masked_sad8(static_cast<U>(window >> (8 * k)), other) + c[kLanes * k + i];
    }
    for (int k = 0; k < 4; ++k) d[kLanes * k + i] = out[k];
  }
  return 0;
}

// v_sat_pk_u8_i16
OUTBOARD_VALU_INLINE U saturated_bytes(U x) {
  const I low = s16(x), high = static_cast<I>(x) >> 16;
  return static_cast<U>(within(low, 0, 255)) | static_cast<U>(within(high, 0, 255)) << 8;
}

// v_mbcnt: lanes below this one.
uint32_t mbcnt_lo(U* d, const U* a, const U* b, const U*, U extra) {
  const U all = (extra & kUpperBank) != 0 ? ~0U : 0U;
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) d[i] = ones(a[i] & (((1U << i) - 1) | all)) + b[i];
  return 0;
}
uint32_t mbcnt_hi(U* d, const U* a, const U* b, const U*, U extra) {
  const U upper = (extra & kUpperBank) != 0 ? ~0U : 0U;
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) d[i] = ones(a[i] & ((1U << i) - 1) & upper) + b[i];
  return 0;
}

// --- Lane masks in and out ---

uint32_t select_lanes(U* d, const U* a, const U* b, const U*, U mask) {
  alignas(64) U choice[kLanes];
  spread(mask, choice);
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) d[i] = (b[i] & choice[i]) | (a[i] & ~choice[i]);
  return 0;
}

// a + b + carry; kClamp: all ones on overflow.
template <bool kClamp>
uint32_t add_carry(U* d, const U* a, const U* b, const U*, U mask) {
  alignas(64) U carry[kLanes], out[kLanes], flags[kLanes];
  spread(mask, carry);
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) {
    const U sum = a[i] + b[i], total = sum - carry[i];
    flags[i] = sum < a[i] || total < sum ? ~0U : 0U;
    out[i] = kClamp ? total | flags[i] : total;
  }
  for (int i = 0; i < kLanes; ++i) d[i] = out[i];
  return collect(flags);
}
// a - b - borrow; kClamp: zero on underflow.
template <bool kClamp, bool kReverse>
uint32_t sub_borrow(U* d, const U* a, const U* b, const U*, U mask) {
  if constexpr (kReverse) {
    const U* t = a;
    a = b;
    b = t;
  }
  alignas(64) U borrow[kLanes], out[kLanes], flags[kLanes];
  spread(mask, borrow);
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) {
    const U part = a[i] - b[i], total = part + borrow[i];
    flags[i] = a[i] < b[i] || part < (borrow[i] & 1) ? ~0U : 0U;
    out[i] = kClamp ? total & ~flags[i] : total;
  }
  for (int i = 0; i < kLanes; ++i) d[i] = out[i];
  return collect(flags);
}
// Without carry in.
template <bool kClamp>
uint32_t add_carry_out(U* d, const U* a, const U* b, const U* c, U) {
  return add_carry<kClamp>(d, a, b, c, 0);
}
template <bool kClamp, bool kReverse>
uint32_t sub_borrow_out(U* d, const U* a, const U* b, const U* c, U) {
  return sub_borrow<kClamp, kReverse>(d, a, b, c, 0);
}

uint32_t mad_u64_u32(U* d, const U* a, const U* b, const U* c, U) {
  alignas(64) U flags[kLanes];
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t add = join(c, i), sum = static_cast<uint64_t>(a[i]) * b[i] + add;
    flags[i] = sum < add ? ~0U : 0U;
    split(d, i, sum);
  }
  return collect(flags);
}
// The 65-bit sum's top bit: its sign.
uint32_t mad_i64_i32(U* d, const U* a, const U* b, const U* c, U) {
  alignas(64) U flags[kLanes];
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) {
    const int64_t product = int64_t{static_cast<I>(a[i])} * static_cast<I>(b[i]);
    const uint64_t add = join(c, i), p = static_cast<uint64_t>(product), sum = p + add;
    // Signs of both, with the carry out of bit 63, make bit 64.
    flags[i] = ((p >> 63) + (add >> 63) + (sum < add)) % 2 != 0 ? ~0U : 0U;
    split(d, i, sum);
  }
  return collect(flags);
}

template <auto F>
uint32_t shift64(U* d, const U* a, const U* b, const U*, U) {
  OUTBOARD_VALU_LANES
  for (int i = 0; i < kLanes; ++i) split(d, i, F(join(b, i), a[i] & 63));
  return 0;
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
