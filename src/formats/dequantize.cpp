#include <algorithm>

#include "formats/decoders.h"
#include "formats/quantize.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr int64_t kPlainChunk = 256;  // elements of a plain type handled as if they were a block

template <TensorType type>
void decode_block(const std::byte* block, float* out) {
  decode(*reinterpret_cast<const typename BlockOf<type>::type*>(block), out);
}

using BlockDecoder = void (*)(const std::byte* block, float* out);

BlockDecoder block_decoder(TensorType type) {
  switch (type) {
#define OUTBOARD_CASE(TYPE) \
  case TensorType::TYPE:    \
    return decode_block<TensorType::TYPE>
    OUTBOARD_CASE(Q4_0);
    OUTBOARD_CASE(Q4_1);
    OUTBOARD_CASE(Q5_0);
    OUTBOARD_CASE(Q5_1);
    OUTBOARD_CASE(Q8_0);
    OUTBOARD_CASE(Q2_K);
    OUTBOARD_CASE(Q3_K);
    OUTBOARD_CASE(Q4_K);
    OUTBOARD_CASE(Q5_K);
    OUTBOARD_CASE(Q6_K);
    OUTBOARD_CASE(Q8_K);
    OUTBOARD_CASE(IQ2_XXS);
    OUTBOARD_CASE(IQ2_XS);
    OUTBOARD_CASE(IQ3_XXS);
    OUTBOARD_CASE(IQ1_S);
    OUTBOARD_CASE(IQ4_NL);
    OUTBOARD_CASE(IQ3_S);
    OUTBOARD_CASE(IQ2_S);
    OUTBOARD_CASE(IQ4_XS);
    OUTBOARD_CASE(IQ1_M);
    OUTBOARD_CASE(TQ1_0);
    OUTBOARD_CASE(TQ2_0);
    OUTBOARD_CASE(MXFP4);
#undef OUTBOARD_CASE
    case TensorType::F32:
    case TensorType::F16:
    case TensorType::BF16:
    case TensorType::Q8_1:
    case TensorType::I8:
    case TensorType::I16:
    case TensorType::I32:
    case TensorType::I64:
    case TensorType::F64:
      break;
  }
  fail("{} tensor: the type has no decoder to float32", type_info(type).name);
}

template <typename Convert>
void convert_words(const std::byte* words, std::span<float> out, Convert convert) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = convert(reinterpret_cast<const U16*>(words)[i].get());
  }
}

}  // namespace

void dequantize(TensorType type, const std::byte* blocks, std::span<float> out) {
  const size_t bytes = storage_bytes(type, static_cast<int64_t>(out.size()));
  if (out.empty()) return;
  if (type == TensorType::F32) {
    std::memcpy(out.data(), blocks, bytes);
  } else if (type == TensorType::F16) {
    convert_words(blocks, out, half_to_float);
  } else if (type == TensorType::BF16) {
    convert_words(blocks, out, bfloat_to_float);
  } else {
    const BlockDecoder decoder = block_decoder(type);
    const TypeInfo& info = type_info(type);
    for (float* next = out.data(); next != out.data() + out.size();
         next += info.block_elements, blocks += info.block_bytes) {
      decoder(blocks, next);
    }
  }
}

void dequantize_half(TensorType type, const std::byte* blocks, std::span<uint16_t> out) {
  const size_t bytes = storage_bytes(type, static_cast<int64_t>(out.size()));
  if (out.empty()) return;
  if (type == TensorType::F16) {  // as it is, NaN payloads included
    std::memcpy(out.data(), blocks, bytes);
    return;
  }
  const TypeInfo& info = type_info(type);
  float values[kPlainChunk];
  for (size_t done = 0; done < out.size();) {
    const size_t count = std::min<size_t>(kPlainChunk, out.size() - done);  // whole blocks
    dequantize(type, blocks, {values, count});
    for (size_t i = 0; i < count; ++i) out[done + i] = float_to_half(values[i]);
    done += count;
    blocks += count / static_cast<size_t>(info.block_elements) * info.block_bytes;
  }
}

}  // namespace outboard::formats
