// The formats with 32 elements to a block.
#include <bit>

#include "formats/block_tables.h"
#include "formats/decoders.h"
#include "formats/quantize.h"

namespace outboard::formats {
namespace {

constexpr int kHalfBlock = kSmallBlock / 2;

// Calls put(element, nibble) for all 32 elements.
template <typename Put>
void each_nibble(const uint8_t* qs, Put&& put) {
  for (int i = 0; i < kHalfBlock; ++i) {
    put(i, qs[i] & 15);
    put(i + kHalfBlock, qs[i] >> 4);
  }
}

int fifth_bit(uint32_t qh, int element) { return static_cast<int>((qh >> element) & 1) << 4; }

}  // namespace

void decode(const BlockQ4_0& block, float* out) {
  const float d = half_to_float(block.d.get());
  each_nibble(block.qs, [&](int i, int q) { out[i] = d * static_cast<float>(q - 8); });
}

void decode(const BlockQ4_1& block, float* out) {
  const float d = half_to_float(block.d.get());
  const float m = half_to_float(block.m.get());
  each_nibble(block.qs, [&](int i, int q) { out[i] = d * static_cast<float>(q) + m; });
}

void decode(const BlockQ5_0& block, float* out) {
  const float d = half_to_float(block.d.get());
  const uint32_t qh = block.qh.get();
  each_nibble(block.qs,
              [&](int i, int q) { out[i] = d * static_cast<float>((q | fifth_bit(qh, i)) - 16); });
}

void decode(const BlockQ5_1& block, float* out) {
  const float d = half_to_float(block.d.get());
  const float m = half_to_float(block.m.get());
  const uint32_t qh = block.qh.get();
  each_nibble(block.qs,
              [&](int i, int q) { out[i] = d * static_cast<float>(q | fifth_bit(qh, i)) + m; });
}

void decode(const BlockQ8_0& block, float* out) {
  const float d = half_to_float(block.d.get());
  for (int i = 0; i < kSmallBlock; ++i) out[i] = static_cast<float>(block.qs[i]) * d;
}

void decode(const BlockIq4Nl& block, float* out) {
  const float d = half_to_float(block.d.get());
  each_nibble(block.qs, [&](int i, int q) { out[i] = d * static_cast<float>(kIq4Values[q]); });
}

void decode(const BlockMxfp4& block, float* out) {
  // 2^(e - 128): half of the E8M0 value, for the table holds doubled values. The two smallest are
  // subnormal.
  const uint32_t bits =
      block.e < 2 ? 0x00200000u << block.e : static_cast<uint32_t>(block.e - 1) << 23;
  const auto d = std::bit_cast<float>(bits);
  each_nibble(block.qs, [&](int i, int q) { out[i] = d * static_cast<float>(kMxfp4Values[q]); });
}

}  // namespace outboard::formats
