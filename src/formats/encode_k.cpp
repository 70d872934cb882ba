// Q4_K, Q5_K, Q6_K: for each group the scale (and minimum) with the least weighted square error is
// searched; the groups' scales are then rounded to the block's own small integers, and the elements
// are rounded again with what the decoder will see.
// The search (candidates, weights) is that of ggml's reference quantization without importances;
// Q5_K tries Q4_K's wider range of scales too, which lowers its error.
#include <algorithm>
#include <array>
#include <cmath>

#include "formats/encoders.h"
#include "formats/quantize.h"

namespace outboard::formats {
namespace {

constexpr float kNoScale = 1e-15f;  // groups smaller than this count as zero

struct Affine {  // value = scale * level - minimum, both at least 0
  float scale = 0;
  float minimum = 0;
};

// How the inverse scale is varied: (start + 0.1 * step + top level) / range.
struct Search {
  float start;
  int steps;
};

constexpr int kGroup = 32;

// Larger values matter more: weight = root mean square + |x|.
void group_weights(const float* x, float* weights) {
  float squares = 0;
  for (int i = 0; i < kGroup; ++i) squares += x[i] * x[i];
  const float rms = std::sqrt(squares / kGroup);
  for (int i = 0; i < kGroup; ++i) weights[i] = rms + std::fabs(x[i]);
}

Affine fit_affine(const float* x, float top, const Search& search) {
  float w[kGroup];
  group_weights(x, w);
  float sum_w = 0;
  float sum_x = 0;
  for (int i = 0; i < kGroup; ++i) {
    sum_w += w[i];
    sum_x += w[i] * x[i];
  }
  const float low = std::min(*std::min_element(x, x + kGroup), 0.0f);
  const float high = *std::max_element(x, x + kGroup);
  if (!(high > low)) return {0, -low};

  float levels[kGroup];
  const auto round_levels = [&](float inverse) {
    for (int i = 0; i < kGroup; ++i) {
      levels[i] = static_cast<float>(nearest_level(inverse * (x[i] - low), 0, top));
    }
  };
  const auto error = [&](float scale, float offset) {
    float sum = 0;
    for (int i = 0; i < kGroup; ++i) {
      const float difference = scale * levels[i] + offset - x[i];
      sum += w[i] * (difference * difference);
    }
    return sum;
  };

  // First the plain range, then candidates: round with a varied scale, solve for the best line
  // through those levels (weighted least squares; through zero if it would lie above).
  const float inverse = top / (high - low);
  round_levels(inverse);
  float best_scale = 1 / inverse;
  float best_offset = low;
  float best_error = error(best_scale, best_offset);
  for (int step = 0; step <= search.steps; ++step) {
    round_levels((search.start + 0.1f * static_cast<float>(step) + top) / (high - low));
    float sum_l = 0;
    float sum_ll = 0;
    float sum_lx = 0;
    for (int i = 0; i < kGroup; ++i) {
      const float weighted = w[i] * levels[i];
      sum_l += weighted;
      sum_ll += weighted * levels[i];
      sum_lx += weighted * x[i];
    }
    const float determinant = sum_w * sum_ll - sum_l * sum_l;
    if (!(determinant > 0)) continue;
    float scale = (sum_w * sum_lx - sum_x * sum_l) / determinant;
    float offset = (sum_ll * sum_x - sum_l * sum_lx) / determinant;
    if (offset > 0) {
      offset = 0;
      scale = sum_lx / sum_ll;
    }
    const float found = error(scale, offset);
    if (found < best_error) {
      best_error = found;
      best_scale = scale;
      best_offset = offset;
    }
  }
  return {best_scale, -best_offset};
}

// Six bits each: the reverse of unpack_scale_min().
void pack_scales(const std::array<int, 8>& scales, const std::array<int, 8>& minima,
                 uint8_t out[12]) {
  for (int group = 0; group < 4; ++group) {
    out[group] = static_cast<uint8_t>(scales[group] | ((scales[group + 4] >> 4) << 6));
    out[group + 4] = static_cast<uint8_t>(minima[group] | ((minima[group + 4] >> 4) << 6));
    out[group + 8] =
        static_cast<uint8_t>((scales[group + 4] & 15) | ((minima[group + 4] & 15) << 4));
  }
}

// What Q4_K and Q5_K share: all but where the levels go. put(element, level).
template <typename Block, typename Put>
void encode_affine(const float* x, float top, const Search& search, Block& block, Put put) {
  std::array<Affine, 8> fits;
  float max_scale = 0;
  float max_minimum = 0;
  for (int group = 0; group < 8; ++group) {
    fits[group] = fit_affine(x + kGroup * group, top, search);
    max_scale = std::max(max_scale, fits[group].scale);
    max_minimum = std::max(max_minimum, fits[group].minimum);
  }
  const float inverse_scale = max_scale > 0 ? 63.0f / max_scale : 0.0f;
  const float inverse_minimum = max_minimum > 0 ? 63.0f / max_minimum : 0.0f;
  std::array<int, 8> scales;
  std::array<int, 8> minima;
  for (int group = 0; group < 8; ++group) {
    scales[group] = nearest_level(inverse_scale * fits[group].scale, 0, 63);
    minima[group] = nearest_level(inverse_minimum * fits[group].minimum, 0, 63);
  }
  block.d.set(float_to_half(max_scale / 63.0f));
  block.dmin.set(float_to_half(max_minimum / 63.0f));
  pack_scales(scales, minima, block.scales);

  const float d = half_to_float(block.d.get());
  const float dmin = half_to_float(block.dmin.get());
  for (int group = 0; group < 8; ++group) {
    const float scale = d * static_cast<float>(scales[group]);
    const float minimum = dmin * static_cast<float>(minima[group]);
    for (int i = 0; i < kGroup; ++i) {
      const int element = kGroup * group + i;
      put(element, scale != 0 ? nearest_level((x[element] + minimum) / scale, 0, top) : 0);
    }
  }
}

// Puts an element's low four bits where Q4_K and Q5_K keep them.
void put_nibble(uint8_t* qs, int element, int level) {
  const int byte = 32 * (element / 64) + element % 32;
  qs[byte] = static_cast<uint8_t>(qs[byte] | ((level & 15) << (4 * (element / 32 % 2))));
}

constexpr int kSignedGroup = 16;

// Scale of a group around zero with levels -32..31, weight x * x.
float fit_symmetric(const float* x) {
  float extreme = 0;
  for (int i = 0; i < kSignedGroup; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  if (!(std::fabs(extreme) >= kNoScale)) return 0;
  float best_scale = 0;
  float best = 0;
  const auto consider = [&](float inverse, bool first) {
    float sum_lx = 0;
    float sum_ll = 0;
    for (int i = 0; i < kSignedGroup; ++i) {
      const auto level = static_cast<float>(nearest_level(inverse * x[i], -32, 31));
      const float weight = x[i] * x[i];
      sum_lx += weight * x[i] * level;
      sum_ll += weight * level * level;
    }
    // The error shrinks as (sum_lx)^2 / sum_ll grows.
    if (sum_ll > 0 && (first || sum_lx * sum_lx > best * sum_ll)) {
      best_scale = sum_lx / sum_ll;
      best = best_scale * sum_lx;
    }
  };
  consider(-32.0f / extreme, true);
  for (int step = -9; step <= 9; ++step) {
    if (step != 0) consider(-(32.0f + 0.1f * static_cast<float>(step)) / extreme, false);
  }
  return best_scale;
}

}  // namespace

void encode(const float* values, BlockQ4_K& block) {
  std::fill(std::begin(block.qs), std::end(block.qs), uint8_t{0});
  encode_affine(values, 15, {-1.0f, 20}, block,
                [&](int element, int level) { put_nibble(block.qs, element, level); });
}

void encode(const float* values, BlockQ5_K& block) {
  std::fill(std::begin(block.qs), std::end(block.qs), uint8_t{0});
  std::fill(std::begin(block.qh), std::end(block.qh), uint8_t{0});
  encode_affine(values, 31, {-1.0f, 20}, block, [&](int element, int level) {
    put_nibble(block.qs, element, level);
    uint8_t& fifth = block.qh[element % 32];
    fifth = static_cast<uint8_t>(fifth | ((level >> 4) << (element / 32)));
  });
}

void encode(const float* values, BlockQ6_K& block) {
  block = {};
  std::array<float, 16> fits;
  float max_scale = 0;  // the one farthest from zero, with its sign
  for (int group = 0; group < 16; ++group) {
    fits[group] = fit_symmetric(values + kSignedGroup * group);
    if (std::fabs(fits[group]) > std::fabs(max_scale)) max_scale = fits[group];
  }
  if (!(std::fabs(max_scale) >= kNoScale)) return;
  const float inverse = -128.0f / max_scale;
  block.d.set(float_to_half(1 / inverse));
  const float d = half_to_float(block.d.get());
  for (int group = 0; group < 16; ++group) {
    const int group_scale = nearest_level(inverse * fits[group], -128, 127);
    block.scales[group] = static_cast<int8_t>(group_scale);
    const float scale = d * static_cast<float>(group_scale);
    for (int i = 0; i < kSignedGroup; ++i) {
      const int element = kSignedGroup * group + i;
      const int level = scale != 0 ? nearest_level(values[element] / scale, -32, 31) + 32 : 32;
      const int row = element / 32 % 4;  // of 32 elements, in this half of the block
      uint8_t& low = block.ql[64 * (element / 128) + 32 * (row % 2) + element % 32];
      uint8_t& high = block.qh[32 * (element / 128) + element % 32];
      low = static_cast<uint8_t>(low | ((level & 15) << (4 * (row / 2))));
      high = static_cast<uint8_t>(high | ((level >> 4) << (2 * row)));
    }
  }
}

}  // namespace outboard::formats
