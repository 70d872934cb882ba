// The block formats of GGML as they lie in a file, byte for byte.
//
// Every struct has alignment 1, so a pointer to any byte of a mapped file may be cast to a block
// pointer. Numbers wider than a byte are little-endian and read through U16, U32 and F32 (a load
// without alignment, one instruction). Where a block holds several values to a byte, the comment
// says which element lies where.
// Source of the layouts: ggml's GGUF specification, ggml-common.h (llama.cpp) and the Python
// package gguf (quants.py).
#pragma once

#include <cstdint>
#include <cstring>

#include "formats/tensor_type.h"

namespace outboard::formats {

// Hosts are little-endian: x86-64 and arm64.
template <typename T>
struct Unaligned {
  uint8_t bytes[sizeof(T)];

  T get() const {
    T value;
    std::memcpy(&value, bytes, sizeof(T));
    return value;
  }
  void set(T value) { std::memcpy(bytes, &value, sizeof(T)); }
};
using U16 = Unaligned<uint16_t>;  // a plain integer, or the bits of a half
using S16 = Unaligned<int16_t>;
using U32 = Unaligned<uint32_t>;
using F32 = Unaligned<float>;

constexpr int kSmallBlock = 32;   // elements in a block of the plain formats
constexpr int kSuperBlock = 256;  // elements in a block of the K, IQ and TQ formats

// --- 32 elements, one scale ---
// qs of the 4-bit formats: byte i holds element i in its low and element i + 16 in its high nibble.
// qh of the 5-bit formats: bit i of the 32-bit number is the fifth bit of element i.

struct BlockQ4_0 {  // d * (q - 8)
  U16 d;
  uint8_t qs[16];
};

struct BlockQ4_1 {  // d * q + m
  U16 d;
  U16 m;
  uint8_t qs[16];
};

struct BlockQ5_0 {  // d * (q - 16)
  U16 d;
  U32 qh;
  uint8_t qs[16];
};

struct BlockQ5_1 {  // d * q + m
  U16 d;
  U16 m;
  U32 qh;
  uint8_t qs[16];
};

struct BlockQ8_0 {  // d * q
  U16 d;
  int8_t qs[32];
};

struct BlockQ8_1 {  // d * q; s = d * (sum of q), never stored in model files
  U16 d;
  U16 s;
  int8_t qs[32];
};

struct BlockIq4Nl {  // d * kIq4Values[q], nibbles as in Q4_0
  U16 d;
  uint8_t qs[16];
};

struct BlockMxfp4 {  // 2^(e - 128) * kMxfp4Values[q], nibbles as in Q4_0
  uint8_t e;         // E8M0: only an exponent
  uint8_t qs[16];
};

// --- 256 elements: K formats ---

struct BlockQ2_K {     // 16 groups of 16: d * (scale & 15) * q - dmin * (scale >> 4)
  uint8_t scales[16];  // low nibble scale, high nibble minimum
  uint8_t qs[64];      // bits 2k, 2k+1 of byte 32h + i: element 128h + 32k + i
  U16 d;
  U16 dmin;
};

struct BlockQ3_K {     // 16 groups of 16: d * (scale - 32) * (q - 4)
  uint8_t hmask[32];   // bit k of byte i: third bit of element 32k + i
  uint8_t qs[64];      // low two bits, laid out as in Q2_K
  uint8_t scales[12];  // 6 bits each: see decode() in decode_k.cpp
  U16 d;
};

struct BlockQ4_K {  // 8 groups of 32: d * scale * q - dmin * minimum
  U16 d;
  U16 dmin;
  uint8_t scales[12];  // 6 bits each: unpack_scale_min()
  uint8_t qs[128];     // byte 32h + i: element 64h + i low nibble, 64h + 32 + i high
};

struct BlockQ5_K {  // as Q4_K with a fifth bit
  U16 d;
  U16 dmin;
  uint8_t scales[12];
  uint8_t qh[32];   // bit k of byte i: fifth bit of element 32k + i
  uint8_t qs[128];  // as in Q4_K
};

struct BlockQ6_K {    // 16 groups of 16: d * scale * (q - 32)
  uint8_t ql[128];    // byte 64h + i (i < 64): element 128h + i low nibble, 128h + 64 + i high
  uint8_t qh[64];     // bits 2k, 2k+1 of byte 32h + i: top bits of element 128h + 32k + i
  int8_t scales[16];  // signed
  U16 d;
};

struct BlockQ8_K {  // d * q; sums[g] is the sum of q over group g of 16
  F32 d;
  int8_t qs[256];
  S16 sums[16];
};

// --- 256 elements: codebook formats; groups of 8 or 4 elements are rows of a grid ---

struct BlockIq2Xxs {  // 8 groups of 32: four grid indices (a byte each), then 4 x 7 sign bits + 4
                      // bits of scale
  U16 d;
  U32 qs[16];
};

struct BlockIq2Xs {  // 32 groups of 8: 9 bits of grid index, 7 of signs
  U16 d;
  U16 qs[32];
  uint8_t scales[8];  // a nibble for each 16 elements
};

struct BlockIq2S {  // 32 groups of 8: 10 bits of grid index (8 in qs, 2 in qh), 8 of signs
  U16 d;
  uint8_t qs[32];
  uint8_t signs[32];
  uint8_t qh[8];
  uint8_t scales[8];  // a nibble for each 16 elements
};

struct BlockIq3Xxs {  // 64 groups of 4: 8 bits of grid index
  U16 d;
  uint8_t qs[64];
  U32 signs_scales[8];  // for each 32 elements: 4 x 7 sign bits + 4 bits of scale
};

struct BlockIq3S {  // 64 groups of 4: 9 bits of grid index (8 in qs, 1 in qh)
  U16 d;
  uint8_t qs[64];
  uint8_t qh[8];
  uint8_t signs[32];
  uint8_t scales[4];  // a nibble for each 32 elements
};

struct BlockIq1S {  // 32 groups of 8: 11 bits of grid index (8 in qs, 3 in qh)
  U16 d;
  uint8_t qs[32];
  U16 qh[8];  // for each 32 elements: 4 x 3 index bits, 3 bits of scale, sign of the shift
};

struct BlockIq1M {  // 32 groups of 8: 11 bits of grid index (8 in qs, 3 in qh)
  uint8_t qs[32];
  uint8_t qh[16];  // a nibble for each group: 3 index bits, sign of the shift
  U16 scales[4];   // each 4 x 3 bits of scale; the top nibbles together are the bits of the half d
};

struct BlockIq4Xs {  // 8 groups of 32: d * (scale - 32) * kIq4Values[q]
  U16 d;
  U16 scales_h;         // two bits a group
  uint8_t scales_l[4];  // a nibble a group
  uint8_t qs[128];      // in each group of 32 as in Q4_0
};

// --- 256 elements: ternary ---

struct BlockTq1_0 {  // d * (q - 1), q in base 3, five elements to a byte
  uint8_t qs[48];
  uint8_t qh[4];  // four elements to a byte
  U16 d;
};

struct BlockTq2_0 {  // d * (q - 1), laid out as in Q2_K
  uint8_t qs[64];
  U16 d;
};

// Scale and minimum of group 0..7 from the 12 bytes of a Q4_K or Q5_K block: 6 bits each. The first
// four groups lie in the low bits of bytes 0..3 (scale) and 4..7 (minimum); the others have their
// low nibbles in bytes 8..11 and their two top bits in the top bits of bytes 0..7.
inline void unpack_scale_min(const uint8_t scales[12], int group, uint8_t& scale,
                             uint8_t& minimum) {
  if (group < 4) {
    scale = scales[group] & 63;
    minimum = scales[group + 4] & 63;
  } else {
    scale = static_cast<uint8_t>((scales[group + 4] & 15) | ((scales[group - 4] >> 6) << 4));
    minimum = static_cast<uint8_t>((scales[group + 4] >> 4) | ((scales[group] >> 6) << 4));
  }
}

// Ties each struct to its row of type_info(); tensor_type.cpp checks them all.
template <TensorType>
struct BlockOf;
#define OUTBOARD_BLOCK(TYPE, STRUCT, BYTES, ELEMENTS) \
  template <>                                         \
  struct BlockOf<TensorType::TYPE> {                  \
    using type = STRUCT;                              \
    static constexpr int elements = ELEMENTS;         \
  };                                                  \
  static_assert(sizeof(STRUCT) == (BYTES) && alignof(STRUCT) == 1)
OUTBOARD_BLOCK(Q4_0, BlockQ4_0, 18, kSmallBlock);
OUTBOARD_BLOCK(Q4_1, BlockQ4_1, 20, kSmallBlock);
OUTBOARD_BLOCK(Q5_0, BlockQ5_0, 22, kSmallBlock);
OUTBOARD_BLOCK(Q5_1, BlockQ5_1, 24, kSmallBlock);
OUTBOARD_BLOCK(Q8_0, BlockQ8_0, 34, kSmallBlock);
OUTBOARD_BLOCK(Q8_1, BlockQ8_1, 36, kSmallBlock);
OUTBOARD_BLOCK(IQ4_NL, BlockIq4Nl, 18, kSmallBlock);
OUTBOARD_BLOCK(MXFP4, BlockMxfp4, 17, kSmallBlock);
OUTBOARD_BLOCK(Q2_K, BlockQ2_K, 84, kSuperBlock);
OUTBOARD_BLOCK(Q3_K, BlockQ3_K, 110, kSuperBlock);
OUTBOARD_BLOCK(Q4_K, BlockQ4_K, 144, kSuperBlock);
OUTBOARD_BLOCK(Q5_K, BlockQ5_K, 176, kSuperBlock);
OUTBOARD_BLOCK(Q6_K, BlockQ6_K, 210, kSuperBlock);
OUTBOARD_BLOCK(Q8_K, BlockQ8_K, 292, kSuperBlock);
OUTBOARD_BLOCK(IQ2_XXS, BlockIq2Xxs, 66, kSuperBlock);
OUTBOARD_BLOCK(IQ2_XS, BlockIq2Xs, 74, kSuperBlock);
OUTBOARD_BLOCK(IQ2_S, BlockIq2S, 82, kSuperBlock);
OUTBOARD_BLOCK(IQ3_XXS, BlockIq3Xxs, 98, kSuperBlock);
OUTBOARD_BLOCK(IQ3_S, BlockIq3S, 110, kSuperBlock);
OUTBOARD_BLOCK(IQ1_S, BlockIq1S, 50, kSuperBlock);
OUTBOARD_BLOCK(IQ1_M, BlockIq1M, 56, kSuperBlock);
OUTBOARD_BLOCK(IQ4_XS, BlockIq4Xs, 136, kSuperBlock);
OUTBOARD_BLOCK(TQ1_0, BlockTq1_0, 54, kSuperBlock);
OUTBOARD_BLOCK(TQ2_0, BlockTq2_0, 66, kSuperBlock);
#undef OUTBOARD_BLOCK

}  // namespace outboard::formats
