#include "formats/tensor_type.h"

#include <algorithm>
#include <array>

#include "formats/blocks.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr TypeInfo plain(TensorType type, std::string_view name, size_t bytes) {
  return {type, name, 1, bytes, false};
}

template <TensorType type>
constexpr TypeInfo block(std::string_view name) {
  return {type, name, BlockOf<type>::elements, sizeof(typename BlockOf<type>::type), true};
}

constexpr std::array kTypes = {
    plain(TensorType::F32, "F32", 4),      plain(TensorType::F16, "F16", 2),
    block<TensorType::Q4_0>("Q4_0"),       block<TensorType::Q4_1>("Q4_1"),
    block<TensorType::Q5_0>("Q5_0"),       block<TensorType::Q5_1>("Q5_1"),
    block<TensorType::Q8_0>("Q8_0"),       block<TensorType::Q8_1>("Q8_1"),
    block<TensorType::Q2_K>("Q2_K"),       block<TensorType::Q3_K>("Q3_K"),
    block<TensorType::Q4_K>("Q4_K"),       block<TensorType::Q5_K>("Q5_K"),
    block<TensorType::Q6_K>("Q6_K"),       block<TensorType::Q8_K>("Q8_K"),
    block<TensorType::IQ2_XXS>("IQ2_XXS"), block<TensorType::IQ2_XS>("IQ2_XS"),
    block<TensorType::IQ3_XXS>("IQ3_XXS"), block<TensorType::IQ1_S>("IQ1_S"),
    block<TensorType::IQ4_NL>("IQ4_NL"),   block<TensorType::IQ3_S>("IQ3_S"),
    block<TensorType::IQ2_S>("IQ2_S"),     block<TensorType::IQ4_XS>("IQ4_XS"),
    plain(TensorType::I8, "I8", 1),        plain(TensorType::I16, "I16", 2),
    plain(TensorType::I32, "I32", 4),      plain(TensorType::I64, "I64", 8),
    plain(TensorType::F64, "F64", 8),      block<TensorType::IQ1_M>("IQ1_M"),
    plain(TensorType::BF16, "BF16", 2),    block<TensorType::TQ1_0>("TQ1_0"),
    block<TensorType::TQ2_0>("TQ2_0"),     block<TensorType::MXFP4>("MXFP4"),
};

const TypeInfo* find(uint32_t number) {
  const auto* row = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeInfo& info) {
    return static_cast<uint32_t>(info.type) == number;
  });
  return row == kTypes.end() ? nullptr : row;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

const TypeInfo& type_info(TensorType type) {
  const TypeInfo* row = find(static_cast<uint32_t>(type));
  if (row == nullptr) fail("tensor type: no type has the number {}", static_cast<uint32_t>(type));
  return *row;
}

std::optional<TensorType> tensor_type(uint32_t ggml_number) {
  const TypeInfo* row = find(ggml_number);
  return row == nullptr ? std::nullopt : std::optional(row->type);
}

std::optional<TensorType> tensor_type(std::string_view name) {
  for (const TypeInfo& info : kTypes) {
    if (std::equal(name.begin(), name.end(), info.name.begin(), info.name.end(),
                   [](char a, char b) { return lower(a) == lower(b); })) {
      return info.type;
    }
  }
  return std::nullopt;
}

size_t storage_bytes(TensorType type, int64_t elements) {
  const TypeInfo& info = type_info(type);
  if (elements < 0) fail("{} tensor: found {} elements, expected at least 0", info.name, elements);
  if (elements % info.block_elements != 0) {
    fail("{} tensor: found {} elements, expected a multiple of the block of {}", info.name,
         elements, info.block_elements);
  }
  size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<size_t>(elements / info.block_elements), info.block_bytes,
                             &bytes)) {
    fail("{} tensor: {} elements take more than 2^64 bytes", info.name, elements);
  }
  return bytes;
}

}  // namespace outboard::formats
