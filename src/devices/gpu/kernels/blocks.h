// One lane's share of a matrix, 32 weights, out of the planes (plane_layout.h) and into numbers.
//
// Format<type> loads a unit and gives its codes as pairs of float16, each with an offset that the
// way of making them leaves behind: a code's bits are OR-ed into the mantissa of a power of two, as
// in 0x6400 | q = 1024 + q. Nothing subtracts it; minimum() takes it along:
//   weight = scale * pair + minimum, in float32, with scale and minimum of the weight's group
//   of 16.
#pragma once

#include "devices/gpu/kernels/device.h"
#include "devices/gpu/kernels/plane_layout.h"

namespace outboard::devices::gpu::kernels {

// Bytes of a row in each plane.
struct RowBytes {
  uint32_t codes;
  uint32_t high;
  uint32_t scales;
};
template <WeightType type>
DEVICE RowBytes row_bytes(uint32_t units) {
  constexpr UnitBytes unit = unit_bytes(type);
  return {units * unit.codes, units * unit.high, scale_bytes(unit, units)};
}

// A row's share of the planes; the same in all lanes.
struct Row {
  Ptr<const uint8_t> codes;
  Ptr<const uint8_t> high;
  Ptr<const uint8_t> scales;
  DEVICE void advance(const RowBytes& bytes) {
    codes += bytes.codes;
    high += bytes.high;
    scales += bytes.scales;
  }
};

// `units`: of a row.
template <WeightType type>
DEVICE Row row_of(const Matrix& m, uint32_t row, uint32_t units) {
  const RowBytes bytes = row_bytes<type>(units);
  const auto offset = [&](uint32_t of_row) { return static_cast<uint64_t>(row) * of_row; };
  return {m.codes + offset(bytes.codes), m.high + offset(bytes.high),
          m.scales + offset(bytes.scales)};
}

typedef uint16_t uint16_any __attribute__((aligned(1)));
typedef uint32_t uint32_half __attribute__((aligned(2)));

template <typename T>
DEVICE T at(Ptr<const uint8_t> plane, uint32_t offset) {
  return *reinterpret_cast<Ptr<const T>>(plane + offset);
}
// Two numbers of six bits each of unit j, which lie at bit 12 j.
struct SixBitPair {
  uint32_t word;
  uint32_t shift;
  DEVICE SixBitPair(Ptr<const uint8_t> plane, uint32_t offset, uint32_t j)
      : word(at<uint16_any>(plane, as_one(offset + (3 * j >> 1)))), shift(4 * (j & 1)) {}
  DEVICE uint32_t first() const { return word >> shift & 63; }
  DEVICE uint32_t second() const { return word >> (shift + 6) & 63; }

 private:
  // The compiler would add its parts to the address one by one, in 64 bits.
  DEVICE static uint32_t as_one(uint32_t offset) {
    asm("" : "+v"(offset));
    return offset;
  }
};

// What each group of 16 is multiplied with, and added to it; offsets are not in it yet.
struct Scales {
  float scale[2];
  float minimum[2];
};

DEVICE Scales same(float scale, float minimum) { return {{scale, scale}, {minimum, minimum}}; }
DEVICE float low_half(uint32_t w) { return bits_as<half2>(w).x; }
DEVICE float high_half(uint32_t w) { return bits_as<half2>(w).y; }
DEVICE float half_bits(uint32_t w) { return bits_as<half>(static_cast<uint16_t>(w)); }
// Of a float that was a half: as a + 0 the card does it in one instruction.
DEVICE float times(float from_half, float x) { return __builtin_fmaf(from_half, x, 0); }
// from_half * (code - zero), exactly.
DEVICE float times(float from_half, uint32_t code, int zero) {
  return __builtin_fmaf(from_half, static_cast<float>(code), times(from_half, -zero));
}

// Pairs 0 to 7 are group 0, 8 to 15 group 1.
struct Pairs {
  half2 pair[16];
};

DEVICE half2 magic(uint32_t w, uint32_t mask, uint32_t power) {
  return bits_as<half2>((w & mask) | power);
}

// Bits of h into a pair. Kept apart from what made the pair: AND-OR twice is two instructions, of
// all four steps together the compiler makes three.
DEVICE half2 with_bits(half2 pair, uint32_t h, uint32_t mask) {
  uint32_t w = bits_as<uint32_t>(pair);
  asm("" : "+v"(w));
  return bits_as<half2>((h & mask) | w);
}

// --- codes of 4 bits: group 0 in the low mantissa bits of 1024, group 1 four bits up, of 64 ---

struct FourBits {
  static constexpr float kOffset[2] = {1024, 64};

  DEVICE static Pairs pairs(uint4 codes) {
    Pairs out;
#pragma unroll
    for (int p = 0; p < 8; ++p) {
      const uint32_t w = codes[p / 2] >> (8 * (p % 2));
      out.pair[p] = magic(w, 0x000f000f, 0x64006400);
      out.pair[p + 8] = magic(w, 0x00f000f0, 0x54005400);
    }
    return out;
  }
};

struct FiveBits {
  static constexpr float kOffset[2] = {1024, 64};

  DEVICE static Pairs pairs(uint4 codes, uint32_t high) {
    Pairs out = FourBits::pairs(codes);
#pragma unroll
    for (int p = 0; p < 8; ++p) {
      const uint32_t h = p < 4 ? high << (4 - p) : high >> p;
      out.pair[p] = with_bits(out.pair[p], h, 0x00100010);
      out.pair[p + 8] = with_bits(out.pair[p + 8], h, 0x01000100);
    }
    return out;
  }
};

struct SixBits {
  static constexpr float kOffset[2] = {1024, 64};

  DEVICE static Pairs pairs(uint4 codes, uint2 high) {
    Pairs out = FourBits::pairs(codes);
#pragma unroll
    for (int p = 0; p < 8; ++p) {
      constexpr int kShift[4] = {-4, -2, 4, 6};
      const int shift = kShift[p % 4];
      const uint32_t h = shift < 0 ? high[p / 4] << -shift : high[p / 4] >> shift;
      out.pair[p] = with_bits(out.pair[p], h, 0x00300030);
      out.pair[p + 8] = with_bits(out.pair[p + 8], h, 0x03000300);
    }
    return out;
  }
};

// --- codes of 2 and 3 bits: group 1 two bits up, of 256 ---

struct TwoBits {
  static constexpr float kOffset[2] = {1024, 256};

  DEVICE static Pairs pairs(uint2 codes) {
    Pairs out;
#pragma unroll
    for (int p = 0; p < 8; ++p) {
      const uint32_t w = codes[p / 4] >> (4 * (p % 4));
      out.pair[p] = magic(w, 0x00030003, 0x64006400);
      out.pair[p + 8] = magic(w, 0x000c000c, 0x5c005c00);
    }
    return out;
  }
};

struct ThreeBits {
  static constexpr float kOffset[2] = {1024, 256};

  DEVICE static Pairs pairs(uint2 codes, uint32_t high) {
    Pairs out = TwoBits::pairs(codes);
#pragma unroll
    for (int p = 0; p < 8; ++p) {
      const int shift = p % 2 + 4 * (p / 2) - 2;
      const uint32_t h = shift < 0 ? high << -shift : high >> shift;
      out.pair[p] = with_bits(out.pair[p], h, 0x00040004);
      out.pair[p + 8] = with_bits(out.pair[p + 8], h, 0x00100010);
    }
    return out;
  }
};

// --- bytes, 128 added ---

struct Bytes {
  static constexpr float kOffset[2] = {1024 + 128, 1024 + 128};

  // Two bytes of w by number.
  template <int first, int second>
  DEVICE static half2 widen(uint32_t w) {
    return bits_as<half2>(__builtin_amdgcn_perm(0x64646464, w, 0x04000400U | second << 16 | first));
  }
  DEVICE static Pairs pairs(uint4 first, uint4 second) {
    Pairs out;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      out.pair[2 * k] = widen<0, 1>(first[k]);
      out.pair[2 * k + 1] = widen<2, 3>(first[k]);
      out.pair[2 * k + 8] = widen<0, 1>(second[k]);
      out.pair[2 * k + 9] = widen<2, 3>(second[k]);
    }
    return out;
  }
};

// --- 4 bits that number the 16 bytes of a codebook (128 added) ---

struct Codebook {
  uint32_t word[4];

  static constexpr float kOffset[2] = {1024 + 128, 1024 + 128};

  // Four bytes of the codebook by the low nibbles of w's bytes.
  DEVICE uint32_t look_up(uint32_t w) const {
    const uint32_t low_bits = w & 0x07070707;
    const uint32_t lower = __builtin_amdgcn_perm(word[1], word[0], low_bits);
    const uint32_t upper = __builtin_amdgcn_perm(word[3], word[2], low_bits);
    // The fourth bit chooses: byte i of `lower` is number i, of `upper` 4 + i.
    return __builtin_amdgcn_perm(upper, lower, (w >> 1 & 0x04040404) | 0x03020100);
  }
  DEVICE Pairs pairs(uint4 codes) const {
    Pairs out;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      // A word's bytes are weights 4 k, 4 k + 2, 4 k + 1, 4 k + 3 (plane_layout.h).
      const uint32_t first = look_up(codes[k]);
      const uint32_t second = look_up(codes[k] >> 4);
      out.pair[2 * k] = Bytes::widen<0, 2>(first);
      out.pair[2 * k + 1] = Bytes::widen<1, 3>(first);
      out.pair[2 * k + 8] = Bytes::widen<0, 2>(second);
      out.pair[2 * k + 9] = Bytes::widen<1, 3>(second);
    }
    return out;
  }
};

// formats/block_tables.h, 128 added: kIq4Values and kMxfp4Values.
constexpr Codebook kIq4 = {{0x3f2d1801, 0x766a5d4f, 0xa6998d81, 0xf1d9c5b5}};
constexpr Codebook kMxfp4 = {{0x83828180, 0x8c888684, 0x7d7e7f80, 0x74787a7c}};

// --- formats ---
// Unit u of a row; j is u % 8, which the caller may know better than the compiler.
// kScales: 1 where both groups have the same scale and minimum; kMinimums: false where minimums are
// 0. kOffset is what is subtracted from pairs. Of plain types values() takes the place of pairs(),
// and there are no scales.

template <WeightType>
struct Format;

// `zero`: the code that means 0, of types without minimums.
template <typename Codes, int zero = 0>
struct Coded : Codes {
  static constexpr bool kPlain = false;
  static constexpr bool kHalf = false;
  static constexpr int kScales = 1;
  static constexpr bool kMinimums = false;
  static constexpr float kOffset[2] = {Codes::kOffset[0] + zero, Codes::kOffset[1] + zero};
};
template <typename Codes>
struct CodedWithMinimums : Coded<Codes> {
  static constexpr bool kMinimums = true;
};

template <>
struct Format<WeightType::Q4_0> : Coded<FourBits, 8> {
  uint4 codes;
  uint16_t d;
  DEVICE Format(const Row& r, uint32_t u, uint32_t)
      : codes(at<uint4>(r.codes, 16 * u)), d(at<uint16_t>(r.scales, 2 * u)) {}
  DEVICE Pairs pairs() const { return FourBits::pairs(codes); }
  DEVICE Scales scales() const { return same(half_bits(d), 0); }
};

template <>
struct Format<WeightType::Q4_1> : CodedWithMinimums<FourBits> {
  uint4 codes;
  uint32_t dm;
  DEVICE Format(const Row& r, uint32_t u, uint32_t)
      : codes(at<uint4>(r.codes, 16 * u)), dm(at<uint32_t>(r.scales, 4 * u)) {}
  DEVICE Pairs pairs() const { return FourBits::pairs(codes); }
  DEVICE Scales scales() const { return same(low_half(dm), high_half(dm)); }
};

template <>
struct Format<WeightType::Q5_0> : Coded<FiveBits, 16> {
  uint4 codes;
  uint32_t high;
  uint16_t d;
  DEVICE Format(const Row& r, uint32_t u, uint32_t)
      : codes(at<uint4>(r.codes, 16 * u)),
        high(at<uint32_t>(r.high, 4 * u)),
        d(at<uint16_t>(r.scales, 2 * u)) {}
  DEVICE Pairs pairs() const { return FiveBits::pairs(codes, high); }
  DEVICE Scales scales() const { return same(half_bits(d), 0); }
};

template <>
struct Format<WeightType::Q5_1> : CodedWithMinimums<FiveBits> {
  uint4 codes;
  uint32_t high;
  uint32_t dm;
  DEVICE Format(const Row& r, uint32_t u, uint32_t)
      : codes(at<uint4>(r.codes, 16 * u)),
        high(at<uint32_t>(r.high, 4 * u)),
        dm(at<uint32_t>(r.scales, 4 * u)) {}
  DEVICE Pairs pairs() const { return FiveBits::pairs(codes, high); }
  DEVICE Scales scales() const { return same(low_half(dm), high_half(dm)); }
};

template <>
struct Format<WeightType::Q8_0> : Coded<Bytes> {
  uint4 first, second;
  uint16_t d;
  DEVICE Format(const Row& r, uint32_t u, uint32_t)
      : first(at<uint4>(r.codes, 32 * u)),
        second(at<uint4>(r.codes, 32 * u + 16)),
        d(at<uint16_t>(r.scales, 2 * u)) {}
  DEVICE Pairs pairs() const { return Bytes::pairs(first, second); }
  DEVICE Scales scales() const { return same(half_bits(d), 0); }
};

template <>
struct Format<WeightType::IQ4_NL> : Coded<Codebook> {
  uint4 codes;
  uint16_t d;
  DEVICE Format(const Row& r, uint32_t u, uint32_t)
      : codes(at<uint4>(r.codes, 16 * u)), d(at<uint16_t>(r.scales, 2 * u)) {}
  DEVICE Pairs pairs() const { return kIq4.pairs(codes); }
  DEVICE Scales scales() const { return same(half_bits(d), 0); }
};

template <>
struct Format<WeightType::IQ4_XS> : Coded<Codebook> {
  uint4 codes;
  uint32_t bits;
  uint16_t d;
  DEVICE Format(const Row& r, uint32_t u, uint32_t j) : codes(at<uint4>(r.codes, 16 * u)) {
    const uint32_t super = u / kSuperUnits * 8;
    const uint32_t bit = j * 6;
    bits = at<uint16_any>(r.scales, super + bit / 8) >> (bit % 8) & 63;
    d = at<uint16_t>(r.scales, super + 6);
  }
  DEVICE Pairs pairs() const { return kIq4.pairs(codes); }
  DEVICE Scales scales() const { return same(times(half_bits(d), bits, 32), 0); }
};

template <>
struct Format<WeightType::MXFP4> : Coded<Codebook> {
  uint4 codes;
  uint8_t e;
  DEVICE Format(const Row& r, uint32_t u, uint32_t)
      : codes(at<uint4>(r.codes, 16 * u)), e(at<uint8_t>(r.scales, u)) {}
  DEVICE Pairs pairs() const { return kMxfp4.pairs(codes); }
  // 2^(e - 128), for the codebook holds doubled values.
  DEVICE Scales scales() const { return same(__builtin_ldexpf(1, static_cast<int>(e) - 128), 0); }
};

// Q4_K and Q5_K: d * scale and -dmin * minimum.
struct KScales {
  uint32_t d;
  SixBitPair bits;
  DEVICE KScales(const Row& r, uint32_t u, uint32_t j)
      : d(at<uint32_t>(r.scales, u / kSuperUnits * 16)),
        bits(r.scales, u / kSuperUnits * 16 + 4, j) {}
  DEVICE Scales scales() const {
    return same(times(low_half(d), static_cast<float>(bits.first())),
                times(-high_half(d), static_cast<float>(bits.second())));
  }
};

template <>
struct Format<WeightType::Q4_K> : CodedWithMinimums<FourBits> {
  uint4 codes;
  KScales k;
  DEVICE Format(const Row& r, uint32_t u, uint32_t j)
      : codes(at<uint4>(r.codes, 16 * u)), k(r, u, j) {}
  DEVICE Pairs pairs() const { return FourBits::pairs(codes); }
  DEVICE Scales scales() const { return k.scales(); }
};

template <>
struct Format<WeightType::Q5_K> : CodedWithMinimums<FiveBits> {
  uint4 codes;
  uint32_t high;
  KScales k;
  DEVICE Format(const Row& r, uint32_t u, uint32_t j)
      : codes(at<uint4>(r.codes, 16 * u)), high(at<uint32_t>(r.high, 4 * u)), k(r, u, j) {}
  DEVICE Pairs pairs() const { return FiveBits::pairs(codes, high); }
  DEVICE Scales scales() const { return k.scales(); }
};

template <>
struct Format<WeightType::Q6_K> : Coded<SixBits, 32> {
  static constexpr int kScales = 2;
  uint4 codes;
  uint2 high;
  uint16_t bits;
  uint16_t d;
  DEVICE Format(const Row& r, uint32_t u, uint32_t j)
      : codes(at<uint4>(r.codes, 16 * u)), high(at<uint2>(r.high, 8 * u)) {
    const uint32_t super = u / kSuperUnits * 18;
    bits = at<uint16_t>(r.scales, super + 2 * (j));
    d = at<uint16_t>(r.scales, super + 16);
  }
  DEVICE Pairs pairs() const { return SixBits::pairs(codes, high); }
  DEVICE Scales scales() const {
    const float f = half_bits(d);
    return {{times(f, bits & 255, 128), times(f, bits >> 8 & 255, 128)}, {0, 0}};
  }
};

template <>
struct Format<WeightType::Q2_K> : CodedWithMinimums<TwoBits> {
  static constexpr int kScales = 2;
  uint2 codes;
  uint32_t d;
  uint16_t bits;
  DEVICE Format(const Row& r, uint32_t u, uint32_t j) : codes(at<uint2>(r.codes, 8 * u)) {
    const uint32_t super = u / kSuperUnits * 20;
    d = at<uint32_t>(r.scales, super);
    bits = at<uint16_t>(r.scales, super + 4 + 2 * (j));
  }
  DEVICE Pairs pairs() const { return TwoBits::pairs(codes); }
  DEVICE Scales scales() const {
    return {{times(low_half(d), static_cast<float>(bits & 15)),
             times(low_half(d), static_cast<float>(bits >> 8 & 15))},
            {times(-high_half(d), static_cast<float>(bits >> 4 & 15)),
             times(-high_half(d), static_cast<float>(bits >> 12))}};
  }
};

template <>
struct Format<WeightType::Q3_K> : Coded<ThreeBits, 4> {
  static constexpr int kScales = 2;
  uint2 codes;
  uint32_t high;
  SixBitPair bits;
  uint16_t d;
  DEVICE Format(const Row& r, uint32_t u, uint32_t j)
      : codes(at<uint2>(r.codes, 8 * u)),
        high(at<uint32_t>(r.high, 4 * u)),
        bits(r.scales, u / kSuperUnits * 14, j),
        d(at<uint16_t>(r.scales, u / kSuperUnits * 14 + 12)) {}
  DEVICE Pairs pairs() const { return ThreeBits::pairs(codes, high); }
  DEVICE Scales scales() const {
    const float f = half_bits(d);
    return {{times(f, bits.first(), 32), times(f, bits.second(), 32)}, {0, 0}};
  }
};

template <>
struct Format<WeightType::F16> {
  static constexpr bool kPlain = true;
  static constexpr int kScales = 0;
  static constexpr bool kHalf = true;
  uint4 part[4];
  DEVICE Format(const Row& r, uint32_t u, uint32_t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) part[i] = at<uint4>(r.codes, 64 * u + 16 * i);
  }
  DEVICE Pairs pairs() const {
    Pairs out;
#pragma unroll
    for (int p = 0; p < 16; ++p) out.pair[p] = bits_as<half2>(part[p / 4][p % 4]);
    return out;
  }
  DEVICE float value(int e) const {
    const half2 pair = bits_as<half2>(part[e / 8][e % 8 / 2]);
    return e % 2 == 0 ? pair.x : pair.y;
  }
};

template <>
struct Format<WeightType::BF16> {
  static constexpr bool kPlain = true;
  static constexpr int kScales = 0;
  static constexpr bool kHalf = false;
  uint4 part[4];
  DEVICE Format(const Row& r, uint32_t u, uint32_t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) part[i] = at<uint4>(r.codes, 64 * u + 16 * i);
  }
  DEVICE float value(int e) const {
    const uint32_t w = part[e / 8][e % 8 / 2];
    return bits_as<float>(e % 2 == 0 ? w << 16 : w & 0xffff0000U);
  }
};

template <>
struct Format<WeightType::F32> {
  static constexpr bool kPlain = true;
  static constexpr int kScales = 0;
  static constexpr bool kHalf = false;
  float4 part[8];
  DEVICE Format(const Row& r, uint32_t u, uint32_t) {
#pragma unroll
    for (int i = 0; i < 8; ++i) part[i] = at<float4>(r.codes, 128 * u + 16 * i);
  }
  DEVICE float value(int e) const { return part[e / 4][e % 4]; }
};

// The minimum with the offset of the pairs taken out.
template <typename F>
DEVICE float minimum(const Scales& s, int group) {
  return s.minimum[group] - F::kOffset[group] * s.scale[group];
}

// The unit's weights.
template <typename F>
DEVICE void dequantize(const F& weights, float (&out)[kUnit]) {
  if constexpr (F::kPlain) {
#pragma unroll
    for (int e = 0; e < kUnit; ++e) out[e] = weights.value(e);
  } else {
    const Pairs pairs = weights.pairs();
    const Scales s = weights.scales();
#pragma unroll
    for (int e = 0; e < kUnit; ++e) {
      const half2 pair = pairs.pair[e / 2];
      const float code = static_cast<float>(e % 2 == 0 ? pair.x : pair.y) - F::kOffset[e / 16];
      out[e] = __builtin_fmaf(s.scale[e / 16], code, s.minimum[e / 16]);
    }
  }
}

// The unit's weights as float16: eight in each part.
template <typename F>
DEVICE void dequantize(const F& weights, half8 (&out)[4]) {
  if constexpr (F::kHalf) {
#pragma unroll
    for (int i = 0; i < 4; ++i) out[i] = bits_as<half8>(weights.part[i]);
  } else if constexpr (F::kPlain) {
#pragma unroll
    for (int e = 0; e < kUnit; ++e) out[e / 8][e % 8] = static_cast<half>(weights.value(e));
  } else {
    const Pairs pairs = weights.pairs();
    const Scales s = weights.scales();
#pragma unroll
    for (int p = 0; p < kUnit / 2; ++p) {
      const int group = p / 8;
      const float m = minimum<F>(s, group);
      out[p / 4][p % 4 * 2] =
          static_cast<half>(__builtin_fmaf(s.scale[group], static_cast<float>(pairs.pair[p].x), m));
      out[p / 4][p % 4 * 2 + 1] =
          static_cast<half>(__builtin_fmaf(s.scale[group], static_cast<float>(pairs.pair[p].y), m));
    }
  }
}

// Calls body.template operator()<type>() for the type, the same in all lanes.
template <typename Body>
DEVICE void with_format(WeightType type, Body body) {
  switch (type) {
    case WeightType::F32:
      return body.template operator()<WeightType::F32>();
    case WeightType::F16:
      return body.template operator()<WeightType::F16>();
    case WeightType::BF16:
      return body.template operator()<WeightType::BF16>();
    case WeightType::Q4_0:
      return body.template operator()<WeightType::Q4_0>();
    case WeightType::Q4_1:
      return body.template operator()<WeightType::Q4_1>();
    case WeightType::Q5_0:
      return body.template operator()<WeightType::Q5_0>();
    case WeightType::Q5_1:
      return body.template operator()<WeightType::Q5_1>();
    case WeightType::Q8_0:
      return body.template operator()<WeightType::Q8_0>();
    case WeightType::Q2_K:
      return body.template operator()<WeightType::Q2_K>();
    case WeightType::Q3_K:
      return body.template operator()<WeightType::Q3_K>();
    case WeightType::Q4_K:
      return body.template operator()<WeightType::Q4_K>();
    case WeightType::Q5_K:
      return body.template operator()<WeightType::Q5_K>();
    case WeightType::Q6_K:
      return body.template operator()<WeightType::Q6_K>();
    case WeightType::IQ4_NL:
      return body.template operator()<WeightType::IQ4_NL>();
    case WeightType::IQ4_XS:
      return body.template operator()<WeightType::IQ4_XS>();
    case WeightType::MXFP4:
      return body.template operator()<WeightType::MXFP4>();
  }
}

}  // namespace outboard::devices::gpu::kernels
