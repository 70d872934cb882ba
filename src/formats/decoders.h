// Decoders of single blocks: internal to formats; use dequantize().
//
// The order of float operations is that of the Python package gguf (quants.py), so that results are
// equal bit for bit. Products and sums must not be contracted to fused multiply-adds:
// CMakeLists.txt compiles these files with -ffp-contract=off.
#pragma once

#include "formats/blocks.h"

namespace outboard::formats {

// Each writes kSmallBlock or kSuperBlock floats.
void decode(const BlockQ4_0& block, float* out);
void decode(const BlockQ4_1& block, float* out);
void decode(const BlockQ5_0& block, float* out);
void decode(const BlockQ5_1& block, float* out);
void decode(const BlockQ8_0& block, float* out);
void decode(const BlockIq4Nl& block, float* out);
void decode(const BlockMxfp4& block, float* out);
void decode(const BlockQ2_K& block, float* out);
void decode(const BlockQ3_K& block, float* out);
void decode(const BlockQ4_K& block, float* out);
void decode(const BlockQ5_K& block, float* out);
void decode(const BlockQ6_K& block, float* out);
void decode(const BlockQ8_K& block, float* out);
void decode(const BlockTq1_0& block, float* out);
void decode(const BlockTq2_0& block, float* out);
void decode(const BlockIq2Xxs& block, float* out);
void decode(const BlockIq2Xs& block, float* out);
void decode(const BlockIq2S& block, float* out);
void decode(const BlockIq3Xxs& block, float* out);
void decode(const BlockIq3S& block, float* out);
void decode(const BlockIq1S& block, float* out);
void decode(const BlockIq1M& block, float* out);
void decode(const BlockIq4Xs& block, float* out);

}  // namespace outboard::formats
