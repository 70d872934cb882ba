// Block formats to floats and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/tensor_type.h"

namespace outboard::formats {

// IEEE half and bfloat16, round to nearest even; NaN stays NaN.
float half_to_float(uint16_t half);
uint16_t float_to_half(float value);
float bfloat_to_float(uint16_t value);
uint16_t float_to_bfloat(float value);

// Decodes whole blocks: out.size() elements from storage_bytes(type, out.size()) bytes at `blocks`,
// which need no alignment. Bit-exact to the Python package gguf. Throws Error for types without a
// decoder (I8 to I64, Q8_1).
void dequantize(TensorType type, const std::byte* blocks, std::span<float> out);
// The same, rounded to half.
void dequantize_half(TensorType type, const std::byte* blocks, std::span<uint16_t> out);

// Encodes whole blocks: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL, IQ4_XS,
// MXFP4, TQ1_0, TQ2_0. importance: empty, or one a value, how much its error counts, none below 0
// (Q8_0, MXFP4, the ternary types and floats leave it). Throws Error for a type without an encoder.
void quantize(TensorType type, std::span<const float> values, std::byte* blocks,
              std::span<const float> importance = {});
bool can_quantize(TensorType type);

}  // namespace outboard::formats
