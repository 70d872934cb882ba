// Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. The rules are the formats' usual ones (the Python package gguf,
// quants.py): one scale from the extreme values, nearest level; the results are equal byte for
// byte. Where importances are known, the scale with the least weighted error is searched.
#include <array>
#include <cmath>

#include "formats/encode_fit.h"
#include "formats/encoders.h"
#include "formats/quantize.h"

namespace outboard::formats {
namespace {

constexpr int kHalfBlock = kSmallBlock / 2;

// The value farthest from zero, with its sign; the first of equals.
float extreme(const float* values) {
  float found = 0;
  for (int i = 0; i < kSmallBlock; ++i) {
    if (std::fabs(values[i]) > std::fabs(found)) found = values[i];
  }
  return found;
}

struct Range {
  float low;
  float high;
};

Range range(const float* values) {
  Range found{values[0], values[0]};
  for (int i = 1; i < kSmallBlock; ++i) {
    if (values[i] < found.low) found.low = values[i];
    if (values[i] > found.high) found.high = values[i];
  }
  return found;
}

std::array<float, kSmallBlock> weights_of(const float* values, const float* importance) {
  std::array<float, kSmallBlock> weights;
  weigh({values, kSmallBlock}, importance, weights);
  return weights;
}

float inverse(float d) { return d != 0 ? 1.0f / d : 0.0f; }

// Levels 0..top of offset + value * inverse, rounded half up, split into nibbles and fifth bits.
template <typename Level>
uint32_t put_levels(uint8_t* qs, Level level) {
  uint32_t fifth_bits = 0;
  for (int i = 0; i < kHalfBlock; ++i) {
    const int low = level(i);
    const int high = level(i + kHalfBlock);
    qs[i] = static_cast<uint8_t>((low & 15) | ((high & 15) << 4));
    fifth_bits |= static_cast<uint32_t>(low >> 4) << i;
    fifth_bits |= static_cast<uint32_t>(high >> 4) << (i + kHalfBlock);
  }
  return fifth_bits;
}

// Symmetric: the extreme value gets the lowest level, -half.
template <typename Block>
uint32_t encode_symmetric(const float* values, const float* importance, int half, Block& block) {
  const float d = importance != nullptr
                      ? fit_symmetric({values, kSmallBlock}, weights_of(values, importance), -half)
                      : extreme(values) / static_cast<float>(-half);
  const float id = inverse(d);
  const float top = static_cast<float>(2 * half - 1);
  const float offset = static_cast<float>(half) + 0.5f;
  block.d.set(float_to_half(d));
  return put_levels(block.qs, [&](int i) {
    return static_cast<int>(clamp_level(values[i] * id + offset, 0, top));
  });
}

// From the lowest value (level 0) to the highest (level top).
template <typename Block>
uint32_t encode_range(const float* values, const float* importance, int top, Block& block) {
  const Range found = range(values);
  float d = (found.high - found.low) / static_cast<float>(top);
  float low = found.low;
  if (importance != nullptr) {
    const Affine fit = fit_affine({values, kSmallBlock}, weights_of(values, importance),
                                  static_cast<float>(top), {-0.9f, 0.05f, 36}, true);
    d = half_to_float(float_to_half(fit.scale));
    low = half_to_float(float_to_half(-fit.minimum));
  }
  const float id = inverse(d);
  block.d.set(float_to_half(d));
  block.m.set(float_to_half(low));
  return put_levels(block.qs, [&](int i) {
    return static_cast<int>(clamp_level((values[i] - low) * id + 0.5f, 0, static_cast<float>(top)));
  });
}

}  // namespace

void encode(const float* values, const float* importance, BlockQ4_0& block) {
  encode_symmetric(values, importance, 8, block);
}
void encode(const float* values, const float* importance, BlockQ4_1& block) {
  encode_range(values, importance, 15, block);
}
void encode(const float* values, const float* importance, BlockQ5_0& block) {
  block.qh.set(encode_symmetric(values, importance, 16, block));
}
void encode(const float* values, const float* importance, BlockQ5_1& block) {
  block.qh.set(encode_range(values, importance, 31, block));
}

void encode(const float* values, const float* /*importance*/, BlockQ8_0& block) {
  const float d = greatest(values, kSmallBlock) / 127;
  const float id = inverse(d);
  block.d.set(float_to_half(d));
  for (int i = 0; i < kSmallBlock; ++i) {
    const float level = std::round(values[i] * id);  // half away from zero
    block.qs[i] = static_cast<int8_t>(clamp_level(level, -127, 127));
  }
}

}  // namespace outboard::formats
