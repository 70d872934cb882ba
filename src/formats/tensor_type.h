// The element types that tensors are stored in, and the sizes of their blocks.
// Source: ggml's GGUF specification and the Python package gguf (constants.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace outboard::formats {

// Values are GGML's type numbers, as stored in GGUF.
enum class TensorType : uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q8_1 = 9,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  Q8_K = 15,
  IQ2_XXS = 16,
  IQ2_XS = 17,
  IQ3_XXS = 18,
  IQ1_S = 19,
  IQ4_NL = 20,
  IQ3_S = 21,
  IQ2_S = 22,
  IQ4_XS = 23,
  I8 = 24,
  I16 = 25,
  I32 = 26,
  I64 = 27,
  F64 = 28,
  IQ1_M = 29,
  BF16 = 30,
  TQ1_0 = 34,
  TQ2_0 = 35,
  MXFP4 = 39,
};

struct TypeInfo {
  TensorType type;
  std::string_view name;   // as llama.cpp prints it: "Q4_K", "F16"
  int64_t block_elements;  // elements in a block; 1 for plain types
  size_t block_bytes;      // bytes of a block
  bool quantized;          // a block format, not a plain element type
};

// The facts of one type. Every enumerator has one.
const TypeInfo& type_info(TensorType type);
// By GGML number or by name (any case); nullopt when unknown.
std::optional<TensorType> tensor_type(uint32_t ggml_number);
std::optional<TensorType> tensor_type(std::string_view name);

// Bytes of `elements` consecutive elements. Throws Error when elements is no multiple of the block
// or the product overflows 64 bits.
size_t storage_bytes(TensorType type, int64_t elements);

}  // namespace outboard::formats
