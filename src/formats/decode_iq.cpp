// The codebook formats: 256 elements to a block, groups of 8 or 4 from a grid.
#include "formats/block_tables.h"
#include "formats/decoders.h"
#include "formats/quantize.h"

namespace outboard::formats {
namespace {

// One row of a grid of magnitudes, times scale, negated where signs has a bit. Multiplying by
// the magnitude first and the sign after is exact, so any order gives the same bits.
template <typename Row>
float* put_row(Row row, float scale, uint8_t signs, float* out) {
  for (size_t i = 0; i < sizeof(Row); ++i) {
    const auto magnitude = static_cast<float>((row >> (8 * i)) & 255);
    const float value = scale * magnitude;
    *out++ = ((signs >> i) & 1) != 0 ? -value : value;
  }
  return out;
}

// A row of the ternary grid, shifted by delta.
float* put_ternary(uint64_t row, float scale, float delta, float* out) {
  for (int i = 0; i < 8; ++i) {
    const auto digit = static_cast<int8_t>((row >> (8 * i)) & 255);
    *out++ = scale * (static_cast<float>(digit) + delta);
  }
  return out;
}

uint8_t sign_pattern(uint32_t packed, int index) {
  return kSignPatterns[(packed >> (7 * index)) & 127];
}

int nibble(const uint8_t* bytes, int index) { return (bytes[index / 2] >> (4 * (index % 2))) & 15; }

constexpr float kTernaryShift = 0.125f;

}  // namespace

void decode(const BlockIq2Xxs& block, float* out) {
  const float d = half_to_float(block.d.get());
  for (int group = 0; group < 8; ++group) {
    const uint32_t indices = block.qs[2 * group].get();
    const uint32_t packed = block.qs[2 * group + 1].get();
    const float scale = d * (0.5f + static_cast<float>(packed >> 28)) * 0.25f;
    for (int k = 0; k < 4; ++k) {
      out = put_row(kIq2XxsGrid[(indices >> (8 * k)) & 255], scale, sign_pattern(packed, k), out);
    }
  }
}

void decode(const BlockIq2Xs& block, float* out) {
  const float d = half_to_float(block.d.get());
  for (int group = 0; group < 32; ++group) {
    const uint16_t q = block.qs[group].get();
    const float scale = d * (0.5f + static_cast<float>(nibble(block.scales, group / 2))) * 0.25f;
    out = put_row(kIq2XsGrid[q & 511], scale, kSignPatterns[q >> 9], out);
  }
}

void decode(const BlockIq2S& block, float* out) {
  const float d = half_to_float(block.d.get());
  for (int group = 0; group < 32; ++group) {
    const int high = (block.qh[group / 4] >> (2 * (group % 4))) & 3;
    const float scale = d * (0.5f + static_cast<float>(nibble(block.scales, group / 2))) * 0.25f;
    out = put_row(kIq2SGrid[block.qs[group] | (high << 8)], scale, block.signs[group], out);
  }
}

void decode(const BlockIq3Xxs& block, float* out) {
  const float d = half_to_float(block.d.get());
  for (int group = 0; group < 64; ++group) {
    const uint32_t packed = block.signs_scales[group / 8].get();
    const float scale = d * (0.5f + static_cast<float>(packed >> 28)) * 0.5f;
    const uint8_t signs = sign_pattern(packed, (group % 8) / 2);
    out = put_row(kIq3XxsGrid[block.qs[group]], scale,
                  static_cast<uint8_t>(signs >> (4 * (group % 2))), out);
  }
}

void decode(const BlockIq3S& block, float* out) {
  const float d = half_to_float(block.d.get());
  for (int group = 0; group < 64; ++group) {
    const int high = (block.qh[group / 8] >> (group % 8)) & 1;
    const float scale = d * static_cast<float>(1 + 2 * nibble(block.scales, group / 8));
    const auto signs = static_cast<uint8_t>(block.signs[group / 2] >> (4 * (group % 2)));
    out = put_row(kIq3SGrid[block.qs[group] | (high << 8)], scale, signs, out);
  }
}

void decode(const BlockIq1S& block, float* out) {
  const float d = half_to_float(block.d.get());
  for (int group = 0; group < 32; ++group) {
    const uint16_t qh = block.qh[group / 4].get();
    const float scale = d * static_cast<float>(2 * ((qh >> 12) & 7) + 1);
    const float delta = (qh & 0x8000) != 0 ? -kTernaryShift : kTernaryShift;
    const int high = (qh >> (3 * (group % 4))) & 7;
    out = put_ternary(kIq1Grid[block.qs[group] | (high << 8)], scale, delta, out);
  }
}

void decode(const BlockIq1M& block, float* out) {
  uint32_t bits = 0;
  for (int i = 0; i < 4; ++i) {
    bits |= static_cast<uint32_t>(block.scales[i].get() >> 12) << (4 * i);
  }
  const float d = half_to_float(static_cast<uint16_t>(bits));
  for (int group = 0; group < 32; ++group) {
    const int scale_bits = (block.scales[group / 8].get() >> (3 * ((group / 2) % 4))) & 7;
    const float scale = d * static_cast<float>(2 * scale_bits + 1);
    const int qh = nibble(block.qh, group);
    const float delta = (qh & 8) != 0 ? -kTernaryShift : kTernaryShift;
    out = put_ternary(kIq1Grid[block.qs[group] | ((qh & 7) << 8)], scale, delta, out);
  }
}

void decode(const BlockIq4Xs& block, float* out) {
  const float d = half_to_float(block.d.get());
  for (int group = 0; group < 8; ++group) {
    const int high = (block.scales_h.get() >> (2 * group)) & 3;
    const float scale = d * static_cast<float>((nibble(block.scales_l, group) | (high << 4)) - 32);
    const uint8_t* qs = block.qs + 16 * group;
    for (int i = 0; i < 16; ++i) {
      out[i] = scale * static_cast<float>(kIq4Values[qs[i] & 15]);
      out[i + 16] = scale * static_cast<float>(kIq4Values[qs[i] >> 4]);
    }
    out += 32;
  }
}

}  // namespace outboard::formats
