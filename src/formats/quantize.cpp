#include "formats/quantize.h"

#include <algorithm>

#include "formats/encoders.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

using BlockEncoder = void (*)(const float* values, const float* importance, std::byte* block);

template <TensorType type>
void encode_block(const float* values, const float* importance, std::byte* block) {
  encode(values, importance, *reinterpret_cast<typename BlockOf<type>::type*>(block));
}

// Null for types without a block encoder.
BlockEncoder block_encoder(TensorType type) {
  switch (type) {
    case TensorType::Q4_0:
      return encode_block<TensorType::Q4_0>;
    case TensorType::Q4_1:
      return encode_block<TensorType::Q4_1>;
    case TensorType::Q5_0:
      return encode_block<TensorType::Q5_0>;
    case TensorType::Q5_1:
      return encode_block<TensorType::Q5_1>;
    case TensorType::Q8_0:
      return encode_block<TensorType::Q8_0>;
    case TensorType::Q2_K:
      return encode_block<TensorType::Q2_K>;
    case TensorType::Q3_K:
      return encode_block<TensorType::Q3_K>;
    case TensorType::Q4_K:
      return encode_block<TensorType::Q4_K>;
    case TensorType::Q5_K:
      return encode_block<TensorType::Q5_K>;
    case TensorType::Q6_K:
      return encode_block<TensorType::Q6_K>;
    case TensorType::IQ4_NL:
      return encode_block<TensorType::IQ4_NL>;
    case TensorType::IQ4_XS:
      return encode_block<TensorType::IQ4_XS>;
    case TensorType::MXFP4:
      return encode_block<TensorType::MXFP4>;
    case TensorType::TQ1_0:
      return encode_block<TensorType::TQ1_0>;
    case TensorType::TQ2_0:
      return encode_block<TensorType::TQ2_0>;
    default:
      return nullptr;
  }
}

bool is_float(TensorType type) {
  return type == TensorType::F32 || type == TensorType::F16 || type == TensorType::BF16;
}

template <typename Convert>
void convert_words(std::span<const float> values, std::byte* out, Convert convert) {
  for (size_t i = 0; i < values.size(); ++i) {
    reinterpret_cast<U16*>(out)[i].set(convert(values[i]));
  }
}

}  // namespace

bool can_quantize(TensorType type) { return is_float(type) || block_encoder(type) != nullptr; }

void quantize(TensorType type, std::span<const float> values, std::byte* blocks,
              std::span<const float> importance) {
  const size_t bytes = storage_bytes(type, static_cast<int64_t>(values.size()));
  if (!can_quantize(type)) fail("{} tensor: the type has no encoder", type_info(type).name);
  if (values.empty()) return;
  if (type == TensorType::F32) {
    std::memcpy(blocks, values.data(), bytes);
  } else if (type == TensorType::F16) {
    convert_words(values, blocks, float_to_half);
  } else if (type == TensorType::BF16) {
    convert_words(values, blocks, float_to_bfloat);
  } else {
    const BlockEncoder encoder = block_encoder(type);
    const TypeInfo& info = type_info(type);
    const auto elements = static_cast<size_t>(info.block_elements);
    for (size_t i = 0; i < values.size(); i += elements, blocks += info.block_bytes) {
      const float* important = importance.empty() ? nullptr : importance.data() + i;
      // Nothing of this block was ever used: all of it counts alike.
      if (important != nullptr &&
          std::all_of(important, important + elements, [](float x) { return x == 0; }))
        important = nullptr;
      encoder(values.data() + i, important, blocks);
    }
  }
}

}  // namespace outboard::formats
