// IQ4_NL, IQ4_XS, MXFP4: sixteen values that do not lie evenly.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "formats/block_tables.h"
#include "formats/encode_fit.h"
#include "formats/encoders.h"
#include "formats/quantize.h"

namespace outboard::formats {
namespace {

constexpr std::span<const int8_t, 16> codebook() {
  return std::span<const int8_t, 16>(kIq4Values, 16);
}

template <size_t kCount>
std::array<float, kCount> weights_of(const float* x, const float* importance) {
  std::array<float, kCount> weights;
  if (importance != nullptr) {
    weigh({x, kCount}, importance, weights);
  } else {
    for (size_t i = 0; i < kCount; ++i) weights[i] = std::fabs(x[i]);
  }
  return weights;
}

// 32 elements as nibbles; level_of(value).
template <typename LevelOf>
void put_levels(const float* x, uint8_t* qs, LevelOf level_of) {
  for (int i = 0; i < kSmallBlock / 2; ++i)
    qs[i] = static_cast<uint8_t>(level_of(x[i]) | (level_of(x[i + kSmallBlock / 2]) << 4));
}

void put_nearest(const float* x, float scale, uint8_t* qs) {
  const float inverse = scale != 0 ? 1 / scale : 0.0f;
  put_levels(x, qs, [&](float value) { return nearest_in(codebook(), inverse * value); });
}

}  // namespace

void encode(const float* values, const float* importance, BlockIq4Nl& block) {
  const auto weights = weights_of<kSmallBlock>(values, importance);
  block.d.set(float_to_half(fit_codebook({values, kSmallBlock}, weights, codebook())));
  put_nearest(values, half_to_float(block.d.get()), block.qs);
}

void encode(const float* values, const float* importance, BlockIq4Xs& block) {
  constexpr size_t kGroups = 8;
  const auto weights = weights_of<kSuperBlock>(values, importance);
  std::array<float, kGroups> fits;
  float max_scale = 0;  // the one farthest from zero, with its sign
  for (size_t g = 0; g < kGroups; ++g) {
    fits[g] = fit_codebook({values + kSmallBlock * g, kSmallBlock},
                           std::span(weights).subspan(kSmallBlock * g, kSmallBlock), codebook());
    if (std::fabs(fits[g]) > std::fabs(max_scale)) max_scale = fits[g];
  }
  block = {};
  constexpr float kLowestCode = -32;
  block.d.set(float_to_half(max_scale / kLowestCode));
  const float d = half_to_float(block.d.get());
  uint32_t high = 0;
  for (size_t g = 0; g < kGroups; ++g) {
    const int code = max_scale != 0 ? nearest_level(kLowestCode / max_scale * fits[g], kLowestCode,
                                                    -kLowestCode - 1)
                                    : 0;
    put_nearest(values + kSmallBlock * g, d * static_cast<float>(code), block.qs + 16 * g);
    const auto stored = static_cast<uint32_t>(code + 32);
    block.scales_l[g / 2] =
        static_cast<uint8_t>(block.scales_l[g / 2] | ((stored & 15U) << (4 * (g % 2))));
    high |= (stored >> 4U) << (2 * g);
  }
  block.scales_h.set(static_cast<uint16_t>(high));
}

// The rule of the Python package gguf: the exponent from the greatest value, nearest values, of two
// equally near the one nearer to zero.
void encode(const float* values, const float* /*importance*/, BlockMxfp4& block) {
  const float most = greatest(values, kSmallBlock);
  constexpr int kBias = 127, kGreatest = 2;  // 6 is between 2^2 and 2^3
  int exponent = 0;
  if (most > 0)
    exponent = std::clamp(
        std::ilogb(std::min(most, std::numeric_limits<float>::max())) - kGreatest + kBias, 0, 254);
  block.e = static_cast<uint8_t>(exponent);
  const float unit = std::ldexp(1.0f, exponent - kBias - 1);  // of the doubled values
  put_levels(values, block.qs, [&](float value) {
    constexpr float kBetween[] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};
    const float size = std::fabs(value) / unit;
    int level = 0;
    for (const float limit : kBetween) level += size > limit ? 1 : 0;
    return level != 0 && value < 0 ? level + 8 : level;
  });
}

}  // namespace outboard::formats
