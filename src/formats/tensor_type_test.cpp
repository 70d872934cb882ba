#include "formats/tensor_type.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "formats/quantize.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

TEST(TensorType, NamesAndNumbersLeadBack) {
  int known = 0;
  for (uint32_t number = 0; number < 100; ++number) {
    const auto type = tensor_type(number);
    if (!type) continue;
    ++known;
    EXPECT_EQ(static_cast<uint32_t>(*type), number);
    EXPECT_EQ(tensor_type(type_info(*type).name), type);
  }
  EXPECT_EQ(known, 32);
  EXPECT_EQ(tensor_type("q4_k"), TensorType::Q4_K);
  EXPECT_EQ(tensor_type("Q4_KX"), std::nullopt);
}

TEST(TensorType, StorageBytes) {
  EXPECT_EQ(storage_bytes(TensorType::F32, 3), 12u);
  EXPECT_EQ(storage_bytes(TensorType::Q4_K, 512), 288u);
  EXPECT_EQ(storage_bytes(TensorType::Q8_0, 0), 0u);
  EXPECT_THROW(storage_bytes(TensorType::Q8_0, 33), Error);
  EXPECT_THROW(storage_bytes(TensorType::F64, int64_t{1} << 62), Error);
  EXPECT_THROW(storage_bytes(TensorType::F32, -1), Error);
  EXPECT_THROW(storage_bytes(static_cast<TensorType>(999), 1), Error);
}

TEST(Floats, EveryHalfLeadsBack) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = half_to_float(static_cast<uint16_t>(half));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      EXPECT_EQ(float_to_half(value), half);
    }
  }
}

TEST(Floats, RoundToNearestEven) {
  EXPECT_EQ(float_to_half(1.0f + 0x1p-11f), 0x3c00);             // a tie: down to even
  EXPECT_EQ(float_to_half(1.0f + 3 * 0x1p-11f), 0x3c02);         // a tie: up to even
  EXPECT_EQ(float_to_half(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);  // above the tie
  EXPECT_EQ(float_to_half(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(-0x1p-25f), 0x8000);  // half the smallest: to zero
  EXPECT_EQ(float_to_half(0x1.8p-25f), 0x0001);
  EXPECT_EQ(float_to_bfloat(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(float_to_bfloat(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_TRUE(std::isnan(bfloat_to_float(float_to_bfloat(std::bit_cast<float>(0x7f800001u)))));
}

// Blocks lie anywhere in a file: every format must decode from an odd address (the sanitizers
// watch).
TEST(Dequantize, NeedsNoAlignment) {
  for (uint32_t number = 0; number < 64; ++number) {
    const auto type = tensor_type(number);
    if (!type || *type == TensorType::Q8_1 ||
        (*type >= TensorType::I8 && *type <= TensorType::F64)) {
      continue;
    }
    const size_t bytes = storage_bytes(*type, 512);
    std::vector<std::byte> file(bytes + 1);
    for (size_t i = 0; i < file.size(); ++i) file[i] = static_cast<std::byte>(i * 7);
    std::vector<std::byte> aligned(file.begin() + 1, file.end());
    std::vector<float> odd(512);
    std::vector<float> even(512);
    dequantize(*type, file.data() + 1, odd);
    dequantize(*type, aligned.data(), even);
    EXPECT_EQ(std::memcmp(odd.data(), even.data(), 512 * sizeof(float)), 0) << number;
    if (can_quantize(*type)) quantize(*type, even, file.data() + 1);
  }
}

TEST(Dequantize, HalvesAreRoundedFloats) {
  std::vector<std::byte> block(144);
  for (size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::byte>(i + 30);
  std::vector<float> floats(256);
  std::vector<uint16_t> halves(256);
  dequantize(TensorType::Q4_K, block.data(), floats);
  dequantize_half(TensorType::Q4_K, block.data(), halves);
  for (size_t i = 0; i < 256; ++i) EXPECT_EQ(halves[i], float_to_half(floats[i]));
}

}  // namespace
}  // namespace outboard::formats
