// Blocks as they lie in a file (formats/blocks.h) into planes (plane_layout.h), a unit of 32
// weights to a thread.
#include "devices/gpu/kernels/device.h"
#include "devices/gpu/kernels/plane_layout.h"

namespace outboard::devices::gpu::kernels {
namespace {

// Blocks have no alignment: 18, 34, 210 bytes and the like.
typedef uint16_t uint16_any __attribute__((aligned(1)));
typedef uint32_t uint32_any __attribute__((aligned(1)));

DEVICE uint32_t byte(Ptr<const uint8_t> p) { return *p; }
DEVICE uint32_t word16(Ptr<const uint8_t> p) { return *reinterpret_cast<Ptr<const uint16_any>>(p); }
DEVICE uint32_t word32(Ptr<const uint8_t> p) { return *reinterpret_cast<Ptr<const uint32_any>>(p); }
template <typename T>
DEVICE void put(Ptr<const uint8_t> plane, uint64_t offset, T value) {
  *reinterpret_cast<Ptr<T>>(const_cast<Ptr<uint8_t>>(plane) + offset) = value;
}

// Where a unit's bytes go.
struct Target {
  const Matrix& matrix;
  UnitBytes bytes;
  uint64_t unit;       // of the matrix
  int in_row;          // of its row
  uint64_t scale_row;  // offset of the row's scales

  DEVICE uint64_t codes() const { return unit * bytes.codes; }
  DEVICE uint64_t high() const { return unit * bytes.high; }
  DEVICE uint64_t scales() const { return scale_row + in_row * bytes.scales; }
  DEVICE uint64_t super_scales() const {
    return scale_row + static_cast<uint32_t>(in_row) / kSuperUnits * bytes.super_scales;
  }
};

// The codes of a unit, a byte each: weight 4 k + j in byte j of word k.
struct Codes {
  uint32_t word[8];
};

// --- codes out of blocks ---

// Nibbles of 16 bytes: weight i low, i + 16 high.
DEVICE Codes small_nibbles(Ptr<const uint8_t> qs) {
  Codes c;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const uint32_t w = word32(qs + 4 * k);
    c.word[k] = w & 0x0f0f0f0fU;
    c.word[k + 4] = w >> 4 & 0x0f0f0f0fU;
  }
  return c;
}

// Bits shift, shift + 1, ... of 32 bytes.
DEVICE Codes fields(Ptr<const uint8_t> bytes, int shift, uint32_t mask) {
  Codes c;
#pragma unroll
  for (int k = 0; k < 8; ++k) c.word[k] = word32(bytes + 4 * k) >> shift & mask;
  return c;
}

// Adds bits of 32 bytes above those that are there.
DEVICE void add_fields(Codes& c, Ptr<const uint8_t> bytes, int from, uint32_t mask, int to) {
#pragma unroll
  for (int k = 0; k < 8; ++k) c.word[k] |= (word32(bytes + 4 * k) >> from & mask) << to;
}

// Adds bit i of the number as the fifth of weight i.
DEVICE void add_fifth_bits(Codes& c, uint32_t bits) {
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    const uint32_t four = bits >> (4 * k) & 15;
    // Bit j to bit 8 j: copies at distances of 7 bits, of which one bit each is kept.
    c.word[k] |= (four * 0x00204081U & 0x01010101U) << 4;
  }
}

// --- codes into planes ---

DEVICE uint32_t swap_middle(uint32_t w) { return __builtin_amdgcn_perm(0, w, 0x03010200); }

DEVICE void put_4_bits(const Target& t, const Codes& c) {
  uint4 out;
#pragma unroll
  for (int k = 0; k < 4; ++k)
    out[k] = swap_middle((c.word[k] & 0x0f0f0f0fU) | (c.word[k + 4] & 0x0f0f0f0fU) << 4);
  put(t.matrix.codes, t.codes(), out);
}

DEVICE uint32_t code(const Codes& c, int weight) {
  return c.word[weight / 4] >> (8 * (weight % 4)) & 0xff;
}

// Bits of the 32 codes from bit `from` on, `bits` of each, gathered into words by position(weight).
template <int words, typename Position>
DEVICE void gather(const Codes& c, int from, int bits, uint32_t (&out)[words], Position position) {
#pragma unroll
  for (int w = 0; w < words; ++w) out[w] = 0;
#pragma unroll
  for (int e = 0; e < kUnit; ++e) {
    const int at = position(e / 16, e % 16 / 2, e % 2);
    out[at / 32] |= (code(c, e) >> from & ((1U << bits) - 1)) << (at % 32);
  }
}

DEVICE void put_fifth_bits(const Target& t, const Codes& c) {
  uint32_t out[1];
  gather(c, 4, 1, out, [](int g, int p, int i) { return 16 * i + p % 4 + 4 * g + 8 * (p / 4); });
  put(t.matrix.high, t.high(), out[0]);
}

DEVICE void put_bits_4_5(const Target& t, const Codes& c) {
  uint32_t out[2];
  gather(c, 4, 2, out, [](int g, int p, int i) {
    return 32 * (p / 4) + 16 * i + 2 * (p % 2) + 8 * (p / 2 % 2) + 4 * g;
  });
  put(t.matrix.high, t.high(), uint2{out[0], out[1]});
}

DEVICE void put_2_bits(const Target& t, const Codes& c) {
  uint32_t out[2];
  gather(c, 0, 2, out,
         [](int g, int p, int i) { return 32 * (p / 4) + 16 * i + 4 * (p % 4) + 2 * g; });
  put(t.matrix.codes, t.codes(), uint2{out[0], out[1]});
}

DEVICE void put_third_bits(const Target& t, const Codes& c) {
  uint32_t out[1];
  gather(c, 2, 1, out, [](int g, int p, int i) { return 16 * i + p % 2 + 4 * (p / 2) + 2 * g; });
  put(t.matrix.high, t.high(), out[0]);
}

// --- one unit of each type; `block` is the block that it lies in, `j` its number there ---

DEVICE void put_u16(const Target& t, uint64_t offset, uint32_t value) {
  put(t.matrix.scales, offset, static_cast<uint16_t>(value));
}

// Six bits of each unit (Q4_K, Q5_K: twelve) lie bit by bit next to each other, so neighbours share
// bytes. The first thread of a block writes those of all its units.
struct Packed {
  uint32_t word[3] = {0, 0, 0};
  DEVICE void add(int bit, uint32_t value) {
    const int shift = bit % 32;
    word[bit / 32] |= value << shift;
    if (shift > 20 && bit / 32 < 2) word[bit / 32 + 1] |= value >> (32 - shift);
  }
};

// d, dmin, and 12 bytes of scales and minimums, as unpack_scale_min() in formats/blocks.h.
DEVICE void k_scales(const Target& t, Ptr<const uint8_t> block, int j) {
  if (j != 0) return;
  const uint32_t w0 = word32(block + 4);
  const uint32_t w1 = word32(block + 8);
  const uint32_t w2 = word32(block + 12);
  Packed packed;
#pragma unroll
  for (int g = 0; g < kSuperUnits; ++g) {
    uint32_t scale = w0 >> (8 * (g % 4)) & 63;
    uint32_t minimum = w1 >> (8 * (g % 4)) & 63;
    if (g >= 4) {
      const uint32_t low = w2 >> (8 * (g % 4)) & 255;
      scale = (low & 15) | (w0 >> (8 * (g % 4) + 6) & 3) << 4;
      minimum = low >> 4 | (w1 >> (8 * (g % 4) + 6) & 3) << 4;
    }
    packed.add(12 * g, scale | minimum << 6);
  }
  put(t.matrix.scales, t.super_scales(),
      uint4{word32(block), packed.word[0], packed.word[1], packed.word[2]});
}

// Whether bytes 16-bit by 16-bit: these records are multiples of two bytes only.
DEVICE void put_packed(const Target& t, uint64_t offset, const Packed& packed, int words16) {
  for (int i = 0; i < words16; ++i)
    put_u16(t, offset + 2 * i, packed.word[i / 2] >> (16 * (i % 2)));
}

DEVICE void q3_scales(const Target& t, Ptr<const uint8_t> block, int j) {
  if (j != 0) return;
  const Ptr<const uint8_t> scales = block + 96;
  Packed packed;
#pragma unroll
  for (int g = 0; g < 16; ++g) {
    const uint32_t low = byte(scales + g % 8) >> (g < 8 ? 0 : 4) & 15;
    const uint32_t high = byte(scales + 8 + g % 4) >> (2 * (g / 4)) & 3;
    packed.add(6 * g, low | high << 4);
  }
  put_packed(t, t.super_scales(), packed, 6);
  put_u16(t, t.super_scales() + 12, word16(block + 108));
}

DEVICE void iq4_xs_scales(const Target& t, Ptr<const uint8_t> block, int j) {
  if (j != 0) return;
  const uint32_t high = word16(block + 2);
  const uint32_t low = word32(block + 4);
  Packed packed;
#pragma unroll
  for (int g = 0; g < kSuperUnits; ++g)
    packed.add(6 * g, (low >> (4 * g) & 15) | (high >> (2 * g) & 3) << 4);
  put_packed(t, t.super_scales(), packed, 3);
  put_u16(t, t.super_scales() + 6, word16(block));
}

// Whole elements; a row's last unit is filled up with zeros.
template <typename T>
DEVICE void plain(const Target& t, Ptr<const uint8_t> row, int columns) {
  const int from = t.in_row * kUnit;
  for (int i = 0; i < kUnit; ++i) {
    T value = 0;
    if (from + i < columns) value = reinterpret_cast<Ptr<const T>>(row)[from + i];
    put(t.matrix.codes, t.codes() + i * sizeof(T), value);
  }
}
template <typename T>
DEVICE void plain_whole(const Target& t, Ptr<const uint8_t> row) {
  typedef uint4 uint4_any __attribute__((aligned(4)));
  constexpr int kLoads = kUnit * sizeof(T) / 16;
  const Ptr<const uint4_any> from =
      reinterpret_cast<Ptr<const uint4_any>>(row + t.in_row * kUnit * sizeof(T));
#pragma unroll
  for (int i = 0; i < kLoads; ++i) put(t.matrix.codes, t.codes() + 16 * i, uint4{from[i]});
}

DEVICE void repack_unit(const Target& t, Ptr<const uint8_t> row) {
  const int u = t.in_row;
  const int j = u % kSuperUnits;
  const int block_index = u / kSuperUnits;
  const int columns = t.matrix.columns;
  switch (static_cast<WeightType>(t.matrix.type)) {
    case WeightType::F32:
      if (columns % kUnit == 0) return plain_whole<uint32_t>(t, row);
      return plain<uint32_t>(t, row, columns);
    case WeightType::F16:
    case WeightType::BF16:
      if (columns % kUnit == 0) return plain_whole<uint16_t>(t, row);
      return plain<uint16_t>(t, row, columns);
    case WeightType::Q4_0:
    case WeightType::IQ4_NL: {
      const Ptr<const uint8_t> block = row + u * 18;
      put_4_bits(t, small_nibbles(block + 2));
      return put_u16(t, t.scales(), word16(block));
    }
    case WeightType::Q4_1: {
      const Ptr<const uint8_t> block = row + u * 20;
      put_4_bits(t, small_nibbles(block + 4));
      return put(t.matrix.scales, t.scales(), word32(block));
    }
    case WeightType::MXFP4: {
      const Ptr<const uint8_t> block = row + u * 17;
      put_4_bits(t, small_nibbles(block + 1));
      return put(t.matrix.scales, t.scales(), *block);
    }
    case WeightType::Q5_0: {
      const Ptr<const uint8_t> block = row + u * 22;
      Codes c = small_nibbles(block + 6);
      add_fifth_bits(c, word32(block + 2));
      put_4_bits(t, c);
      put_fifth_bits(t, c);
      return put_u16(t, t.scales(), word16(block));
    }
    case WeightType::Q5_1: {
      const Ptr<const uint8_t> block = row + u * 24;
      Codes c = small_nibbles(block + 8);
      add_fifth_bits(c, word32(block + 4));
      put_4_bits(t, c);
      put_fifth_bits(t, c);
      return put(t.matrix.scales, t.scales(), word32(block));
    }
    case WeightType::Q8_0: {
      const Ptr<const uint8_t> block = row + u * 34;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint4 out;
#pragma unroll
        for (int k = 0; k < 4; ++k) out[k] = word32(block + 2 + 16 * half + 4 * k) ^ 0x80808080U;
        put(t.matrix.codes, t.codes() + 16 * half, out);
      }
      return put_u16(t, t.scales(), word16(block));
    }
    case WeightType::Q2_K: {
      const Ptr<const uint8_t> block = row + block_index * 84;
      put_2_bits(t, fields(block + 16 + 32 * (j / 4), 2 * (j % 4), 0x03030303U));
      if (j == 0) put(t.matrix.scales, t.super_scales(), word32(block + 80));
      return put_u16(t, t.super_scales() + 4 + 2 * j, word16(block + 2 * j));
    }
    case WeightType::Q3_K: {
      const Ptr<const uint8_t> block = row + block_index * 110;
      Codes c = fields(block + 32 + 32 * (j / 4), 2 * (j % 4), 0x03030303U);
      add_fields(c, block, j, 0x01010101U, 2);
      put_2_bits(t, c);
      put_third_bits(t, c);
      return q3_scales(t, block, j);
    }
    case WeightType::Q4_K: {
      const Ptr<const uint8_t> block = row + block_index * 144;
      put_4_bits(t, fields(block + 16 + 32 * (j / 2), 4 * (j % 2), 0x0f0f0f0fU));
      return k_scales(t, block, j);
    }
    case WeightType::Q5_K: {
      const Ptr<const uint8_t> block = row + block_index * 176;
      Codes c = fields(block + 48 + 32 * (j / 2), 4 * (j % 2), 0x0f0f0f0fU);
      add_fields(c, block + 16, j, 0x01010101U, 4);
      put_4_bits(t, c);
      put_fifth_bits(t, c);
      return k_scales(t, block, j);
    }
    case WeightType::Q6_K: {
      const Ptr<const uint8_t> block = row + block_index * 210;
      Codes c = fields(block + 64 * (j / 4) + 32 * (j % 2), 4 * (j % 4 / 2), 0x0f0f0f0fU);
      add_fields(c, block + 128 + 32 * (j / 4), 2 * (j % 4), 0x03030303U, 4);
      put_4_bits(t, c);
      put_bits_4_5(t, c);
      if (j == 0) put_u16(t, t.super_scales() + 16, word16(block + 208));
      return put_u16(t, t.super_scales() + 2 * j, word16(block + 192 + 2 * j) ^ 0x8080U);
    }
    case WeightType::IQ4_XS: {
      const Ptr<const uint8_t> block = row + block_index * 136;
      put_4_bits(t, small_nibbles(block + 8 + 16 * j));
      return iq4_xs_scales(t, block, j);
    }
  }
}

// Bytes of a row in the file.
DEVICE uint64_t file_row_bytes(WeightType type, int columns) {
  const UnitBytes unit = unit_bytes(type);
  if (type == WeightType::F32) return static_cast<uint64_t>(columns) * 4;
  if (type == WeightType::F16 || type == WeightType::BF16)
    return static_cast<uint64_t>(columns) * 2;
  const int units = columns / kUnit;
  return static_cast<uint64_t>(units) * (unit.codes + unit.high) + scale_bytes(unit, units);
}

}  // namespace

// See RepackArgs. Any number of workgroups, as many as repack_workgroups() says.
KERNEL void repack(RepackArgs a) {
  const WeightType type = static_cast<WeightType>(a.matrix.type);
  const UnitBytes bytes = unit_bytes(type);
  const int units = units_of(a.matrix.columns);
  const int scale_row = scale_bytes(bytes, units);
  const uint64_t row_bytes = file_row_bytes(type, a.matrix.columns);
  const int64_t total = static_cast<int64_t>(a.rows) * units;
  const int64_t step = static_cast<int64_t>(repack_workgroups(total)) * kThreads;
  for (int64_t at = workgroup_x() * kThreads + thread(); at < total; at += step) {
    const uint32_t row = static_cast<uint32_t>(at) / static_cast<uint32_t>(units);
    const int in_row = static_cast<int>(static_cast<uint32_t>(at) - row * units);
    const uint64_t matrix_row = a.first_row + row;
    const Target target{a.matrix, bytes, matrix_row * units + in_row, in_row,
                        matrix_row * scale_row};
    repack_unit(target, a.blocks + row * row_bytes);
  }
}

}  // namespace outboard::devices::gpu::kernels
