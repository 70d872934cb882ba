// Q2_K to Q6_K: for each group the scale (and minimum) with the least weighted square error is
// searched; the groups' scales are then rounded to the block's own small integers, and the elements
// are rounded again with what the decoder will see. Q5_K tries Q4_K's wider range of scales too,
// which lowers its error; so does trying the neighbours of a rounded scale where it has few bits.
#include <algorithm>
#include <array>
#include <cmath>

#include "formats/encode_fit.h"
#include "formats/encoders.h"
#include "formats/quantize.h"

namespace outboard::formats {
namespace {

using Weights = std::array<float, kSuperBlock>;

constexpr float kNoScale = 1e-15f;  // scales smaller than this count as zero

// Without importances larger values matter more: root mean square of the group + |x|.
Weights affine_weights(const float* x, const float* importance, int group) {
  Weights weights;
  if (importance != nullptr) {
    weigh({x, kSuperBlock}, importance, weights);
    return weights;
  }
  for (int begin = 0; begin < kSuperBlock; begin += group) {
    float squares = 0;
    for (int i = begin; i < begin + group; ++i) squares += x[i] * x[i];
    const float rms = std::sqrt(squares / static_cast<float>(group));
    for (int i = begin; i < begin + group; ++i)
      weights[static_cast<size_t>(i)] = rms + std::fabs(x[i]);
  }
  return weights;
}

// Of formats around zero: x^2 where there are many levels, |x| where there are few.
Weights symmetric_weights(const float* x, const float* importance, int low) {
  constexpr int kFewLevels = 8;
  Weights weights;
  if (importance != nullptr) {
    weigh({x, kSuperBlock}, importance, weights);
  } else {
    for (size_t i = 0; i < kSuperBlock; ++i)
      weights[i] = low >= -kFewLevels ? std::fabs(x[i]) : x[i] * x[i];
  }
  return weights;
}

// Six bits each: the reverse of unpack_scale_min().
void pack_scales(const std::array<int, 16>& scales, const std::array<int, 16>& minima,
                 uint8_t out[12]) {
  for (size_t group = 0; group < 4; ++group) {
    out[group] = static_cast<uint8_t>(scales[group] | ((scales[group + 4] >> 4) << 6));
    out[group + 4] = static_cast<uint8_t>(minima[group] | ((minima[group + 4] >> 4) << 6));
    out[group + 8] =
        static_cast<uint8_t>((scales[group + 4] & 15) | ((minima[group + 4] & 15) << 4));
  }
}

// A block's scales and minima as small integers.
struct AffineCodes {
  std::array<int, 16> scales{};
  std::array<int, 16> minima{};
};

// What Q2_K, Q4_K and Q5_K share: all but where the levels go. put(element, level).
template <typename Block, typename Put>
AffineCodes encode_affine(const float* x, const float* importance, int group, float top,
                          float code_top, const Search& plain_search, Block& block, Put put) {
  const Weights weights = affine_weights(x, importance, group);
  const int groups = kSuperBlock / group;
  std::array<Affine, 16> fits;
  float max_scale = 0;
  float max_minimum = 0;
  const auto values_of = [&](int g) {
    return std::span(x + g * group, static_cast<size_t>(group));
  };
  const auto weights_of = [&](int g) {
    return std::span(weights).subspan(static_cast<size_t>(g * group), static_cast<size_t>(group));
  };
  const Search search = importance != nullptr ? Search{-0.9f, 0.05f, 36} : plain_search;
  for (int g = 0; g < groups; ++g) {
    Affine& fit = fits[static_cast<size_t>(g)];
    fit = fit_affine(values_of(g), weights_of(g), top, search);
    max_scale = std::max(max_scale, fit.scale);
    max_minimum = std::max(max_minimum, fit.minimum);
  }
  const float inverse_scale = max_scale > 0 ? code_top / max_scale : 0.0f;
  const float inverse_minimum = max_minimum > 0 ? code_top / max_minimum : 0.0f;
  block.d.set(float_to_half(max_scale / code_top));
  block.dmin.set(float_to_half(max_minimum / code_top));
  const float d = half_to_float(block.d.get());
  const float dmin = half_to_float(block.dmin.get());

  AffineCodes codes;
  const auto level_of = [&](float value, int scale, int minimum) {
    const float factor = d * static_cast<float>(scale);
    if (factor == 0) return 0;
    return nearest_level((value + dmin * static_cast<float>(minimum)) / factor, 0, top);
  };
  const auto error_of = [&](int g, int scale, int minimum) {
    const std::span<const float> values = values_of(g), w = weights_of(g);
    float sum = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const float back =
          d * static_cast<float>(scale) * static_cast<float>(level_of(values[i], scale, minimum)) -
          dmin * static_cast<float>(minimum);
      sum += w[i] * (back - values[i]) * (back - values[i]);
    }
    return sum;
  };
  constexpr float kFewCodes = 15;
  const bool are_neighbours_tried = code_top <= kFewCodes || importance != nullptr;
  for (int g = 0; g < groups; ++g) {
    const Affine& fit = fits[static_cast<size_t>(g)];
    int scale = nearest_level(inverse_scale * fit.scale, 0, code_top);
    int minimum = nearest_level(inverse_minimum * fit.minimum, 0, code_top);
    if (are_neighbours_tried) {
      const int first_scale = scale, first_minimum = minimum;
      float best = error_of(g, scale, minimum);
      for (int s = first_scale - 1; s <= first_scale + 1; ++s)
        for (int m = first_minimum - 1; m <= first_minimum + 1; ++m) {
          if (s < 0 || m < 0 || s > static_cast<int>(code_top) || m > static_cast<int>(code_top))
            continue;
          if (const float error = error_of(g, s, m); error < best) {
            best = error;
            scale = s;
            minimum = m;
          }
        }
    }
    codes.scales[static_cast<size_t>(g)] = scale;
    codes.minima[static_cast<size_t>(g)] = minimum;
    for (int i = g * group; i < (g + 1) * group; ++i) put(i, level_of(x[i], scale, minimum));
  }
  return codes;
}

// What Q3_K and Q6_K share: 16 groups of 16 around zero, with signed scales. put(element, level -
// low).
template <typename Put>
void encode_symmetric(const float* x, const float* importance, int low, int code_low, bool is_tried,
                      U16& block_d, std::array<int, 16>& codes, Put put) {
  constexpr int kGroup = 16;
  const Weights weights = symmetric_weights(x, importance, low);
  std::array<float, 16> fits;
  float max_scale = 0;  // the one farthest from zero, with its sign
  for (size_t g = 0; g < fits.size(); ++g) {
    fits[g] = fit_symmetric({x + kGroup * g, kGroup},
                            std::span(weights).subspan(kGroup * g, kGroup), low);
    if (std::fabs(fits[g]) > std::fabs(max_scale)) max_scale = fits[g];
  }
  codes.fill(0);
  block_d.set(0);
  const auto lowest = static_cast<float>(low);
  const auto lowest_code = static_cast<float>(code_low);
  const bool is_zero = !(std::fabs(max_scale) >= kNoScale);
  if (!is_zero) block_d.set(float_to_half(max_scale / lowest_code));
  const float d = half_to_float(block_d.get());
  const auto level_of = [&](float value, int code) {
    const float scale = d * static_cast<float>(code);
    return scale != 0 ? nearest_level(value / scale, lowest, -lowest - 1) : 0;
  };
  for (size_t g = 0; g < fits.size(); ++g) {
    const float* values = x + kGroup * g;
    const auto error_of = [&](int code) {
      float sum = 0;
      for (size_t i = 0; i < kGroup; ++i) {
        const float back =
            d * static_cast<float>(code) * static_cast<float>(level_of(values[i], code));
        sum += weights[kGroup * g + i] * (back - values[i]) * (back - values[i]);
      }
      return sum;
    };
    const int first =
        is_zero ? 0
                : nearest_level(lowest_code / max_scale * fits[g], lowest_code, -lowest_code - 1);
    codes[g] = first;
    if (is_tried) {
      float best = error_of(first);
      for (const int code : {first - 1, first + 1}) {
        if (code < code_low || code >= -code_low) continue;
        if (const float error = error_of(code); error < best) {
          best = error;
          codes[g] = code;
        }
      }
    }
    for (int i = 0; i < kGroup; ++i)
      put(kGroup * static_cast<int>(g) + i, level_of(values[i], codes[g]) - low);
  }
}

// Puts an element's low four bits where Q4_K and Q5_K keep them.
void put_nibble(uint8_t* qs, int element, int level) {
  const int byte = 32 * (element / 64) + element % 32;
  qs[byte] = static_cast<uint8_t>(qs[byte] | ((level & 15) << (4 * (element / 32 % 2))));
}

}  // namespace

void encode(const float* values, const float* importance, BlockQ2_K& block) {
  block = {};
  const AffineCodes codes =
      encode_affine(values, importance, 16, 3, 15, {-0.9f, 0.05f, 36}, block,
                    [&](int element, int level) { put_pair(block.qs, element, level); });
  for (size_t g = 0; g < 16; ++g)
    block.scales[g] = static_cast<uint8_t>(codes.scales[g] | (codes.minima[g] << 4));
}

void encode(const float* values, const float* importance, BlockQ3_K& block) {
  block = {};
  std::array<int, 16> codes;
  encode_symmetric(values, importance, -4, -32, true, block.d, codes, [&](int element, int level) {
    put_pair(block.qs, element, level);
    uint8_t& third = block.hmask[element % 32];
    third = static_cast<uint8_t>(third | ((level >> 2) << (element / 32)));
  });
  for (size_t g = 0; g < 16; ++g) {
    const int code = codes[g] + 32;
    uint8_t& low = block.scales[g % 8];
    uint8_t& high = block.scales[8 + g % 4];
    low = static_cast<uint8_t>(low | ((code & 15) << (g < 8 ? 0 : 4)));
    high = static_cast<uint8_t>(high | ((code >> 4) << (2 * (g / 4))));
  }
}

void encode(const float* values, const float* importance, BlockQ4_K& block) {
  block = {};
  const AffineCodes codes =
      encode_affine(values, importance, 32, 15, 63, {-1.0f, 0.1f, 20}, block,
                    [&](int element, int level) { put_nibble(block.qs, element, level); });
  pack_scales(codes.scales, codes.minima, block.scales);
}

void encode(const float* values, const float* importance, BlockQ5_K& block) {
  block = {};
  const AffineCodes codes = encode_affine(
      values, importance, 32, 31, 63, {-1.0f, 0.1f, 20}, block, [&](int element, int level) {
        put_nibble(block.qs, element, level);
        uint8_t& fifth = block.qh[element % 32];
        fifth = static_cast<uint8_t>(fifth | ((level >> 4) << (element / 32)));
      });
  pack_scales(codes.scales, codes.minima, block.scales);
}

void encode(const float* values, const float* importance, BlockQ6_K& block) {
  block = {};
  std::array<int, 16> codes;
  encode_symmetric(values, importance, -32, -128, importance != nullptr, block.d, codes,
                   [&](int element, int level) {
                     const int row = element / 32 % 4;  // of 32 elements, in this half of the block
                     uint8_t& low = block.ql[64 * (element / 128) + 32 * (row % 2) + element % 32];
                     uint8_t& high = block.qh[32 * (element / 128) + element % 32];
                     low = static_cast<uint8_t>(low | ((level & 15) << (4 * (row / 2))));
                     high = static_cast<uint8_t>(high | ((level >> 4) << (2 * row)));
                   });
  for (size_t g = 0; g < 16; ++g) block.scales[g] = static_cast<int8_t>(codes[g]);
}

}  // namespace outboard::formats
