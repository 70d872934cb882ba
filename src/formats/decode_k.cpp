// The K and ternary formats: 256 elements to a block.
#include "formats/decoders.h"
#include "formats/quantize.h"

namespace outboard::formats {

void decode(const BlockQ2_K& block, float* out) {
  const float d = half_to_float(block.d.get());
  const float dmin = half_to_float(block.dmin.get());
  for (int group = 0; group < 16; ++group) {
    const float scale = d * static_cast<float>(block.scales[group] & 15);
    const float minimum = dmin * static_cast<float>(block.scales[group] >> 4);
    const uint8_t* qs = block.qs + 32 * (group / 8) + 16 * (group % 2);
    const int shift = 2 * ((group % 8) / 2);
    for (int i = 0; i < 16; ++i) {
      *out++ = scale * static_cast<float>((qs[i] >> shift) & 3) - minimum;
    }
  }
}

void decode(const BlockQ3_K& block, float* out) {
  const float d = half_to_float(block.d.get());
  for (int group = 0; group < 16; ++group) {
    // Six bits: the low four in the nibbles of bytes 0..7 (groups 0..7 low, 8..15 high), the top
    // two in bytes 8..11.
    const int low = (block.scales[group % 8] >> (group < 8 ? 0 : 4)) & 15;
    const int high = (block.scales[8 + group % 4] >> (2 * (group / 4))) & 3;
    const float scale = d * static_cast<float>((low | (high << 4)) - 32);
    const uint8_t* qs = block.qs + 32 * (group / 8) + 16 * (group % 2);
    const uint8_t* hmask = block.hmask + 16 * (group % 2);
    const int shift = 2 * ((group % 8) / 2);
    for (int i = 0; i < 16; ++i) {
      const int top = (hmask[i] >> (group / 2)) & 1;
      *out++ = scale * static_cast<float>(((qs[i] >> shift) & 3) - (top != 0 ? 0 : 4));
    }
  }
}

void decode(const BlockQ4_K& block, float* out) {
  const float d = half_to_float(block.d.get());
  const float dmin = half_to_float(block.dmin.get());
  for (int group = 0; group < 8; ++group) {
    uint8_t scale = 0;
    uint8_t minimum = 0;
    unpack_scale_min(block.scales, group, scale, minimum);
    const float factor = d * static_cast<float>(scale);
    const float offset = dmin * static_cast<float>(minimum);
    const uint8_t* qs = block.qs + 32 * (group / 2);
    const int shift = 4 * (group % 2);
    for (int i = 0; i < 32; ++i) {
      *out++ = factor * static_cast<float>((qs[i] >> shift) & 15) - offset;
    }
  }
}

void decode(const BlockQ5_K& block, float* out) {
  const float d = half_to_float(block.d.get());
  const float dmin = half_to_float(block.dmin.get());
  for (int group = 0; group < 8; ++group) {
    uint8_t scale = 0;
    uint8_t minimum = 0;
    unpack_scale_min(block.scales, group, scale, minimum);
    const float factor = d * static_cast<float>(scale);
    const float offset = dmin * static_cast<float>(minimum);
    const uint8_t* qs = block.qs + 32 * (group / 2);
    const int shift = 4 * (group % 2);
    for (int i = 0; i < 32; ++i) {
      const int q = ((qs[i] >> shift) & 15) | (((block.qh[i] >> group) & 1) << 4);
      *out++ = factor * static_cast<float>(q) - offset;
    }
  }
}

void decode(const BlockQ6_K& block, float* out) {
  const float d = half_to_float(block.d.get());
  for (int row = 0; row < 8; ++row) {  // 32 elements, two groups
    const uint8_t* ql = block.ql + 64 * (row / 4) + 32 * (row % 2);
    const uint8_t* qh = block.qh + 32 * (row / 4);
    const int low_shift = 4 * ((row % 4) / 2);
    const int high_shift = 2 * (row % 4);
    for (int i = 0; i < 32; ++i) {
      const int group = 2 * row + i / 16;
      const float scale = d * static_cast<float>(block.scales[group]);
      const int q = ((ql[i] >> low_shift) & 15) | (((qh[i] >> high_shift) & 3) << 4);
      *out++ = scale * static_cast<float>(q - 32);
    }
  }
}

void decode(const BlockQ8_K& block, float* out) {
  const float d = block.d.get();
  for (int i = 0; i < kSuperBlock; ++i) out[i] = d * static_cast<float>(block.qs[i]);
}

void decode(const BlockTq1_0& block, float* out) {
  const float d = half_to_float(block.d.get());
  // A byte holds its digits as a fraction of 256: multiplying by 3^k (modulo 256) brings digit k to
  // the front, and times 3 divided by 256 reads it.
  constexpr uint8_t kPowers[5] = {1, 3, 9, 27, 81};
  const auto digits = [&](const uint8_t* bytes, int count, int per_byte) {
    for (int k = 0; k < per_byte; ++k) {
      for (int i = 0; i < count; ++i) {
        const auto shifted = static_cast<uint8_t>(bytes[i] * kPowers[k]);
        *out++ = d * static_cast<float>(((shifted * 3) >> 8) - 1);
      }
    }
  };
  digits(block.qs, 32, 5);
  digits(block.qs + 32, 16, 5);
  digits(block.qh, 4, 4);
}

void decode(const BlockTq2_0& block, float* out) {
  const float d = half_to_float(block.d.get());
  for (int row = 0; row < 8; ++row) {
    const uint8_t* qs = block.qs + 32 * (row / 4);
    const int shift = 2 * (row % 4);
    for (int i = 0; i < 32; ++i) *out++ = d * static_cast<float>(((qs[i] >> shift) & 3) - 1);
  }
}

}  // namespace outboard::formats
