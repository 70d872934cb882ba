// Codebooks of the IQ and MXFP4 block formats (data: block_tables.cpp, generated).
#pragma once

#include <cstdint>

namespace outboard::formats {

extern const int8_t kIq4Values[16];    // IQ4_NL and IQ4_XS
extern const int8_t kMxfp4Values[16];  // E2M1 times two

// IQ2_XXS, IQ2_XS, IQ3_XXS store seven signs of eight; the eighth makes the parity even. Bit i of
// kSignPatterns[s]: element i is negative.
extern const uint8_t kSignPatterns[128];

// A grid row is a group of elements, the first in the lowest byte. 64-bit rows hold eight elements,
// 32-bit rows four. kIq1Grid's bytes are signed (-1, 0, 1), the others' unsigned.
extern const uint64_t kIq2XxsGrid[256];
extern const uint64_t kIq2XsGrid[512];
extern const uint64_t kIq2SGrid[1024];
extern const uint32_t kIq3XxsGrid[256];
extern const uint32_t kIq3SGrid[512];
extern const uint64_t kIq1Grid[2048];  // IQ1_S and IQ1_M

}  // namespace outboard::formats
