// Scales with the least weighted square error: what the encoders search. Internal to formats.
#pragma once

#include <cstdint>
#include <span>

namespace outboard::formats {

// A value's weight where importances are known: its importance times sqrt(mean square + x^2), so
// that large values of a row keep counting more. weights.size() == values.size(), importance points
// to as many.
void weigh(std::span<const float> values, const float* importance, std::span<float> weights);

// How the inverse scale is varied: (start + step_size * step + top level) / range.
struct Search {
  float start;
  float step_size;
  int steps;
};

struct Affine {  // value = scale * level - minimum
  float scale = 0;
  float minimum = 0;
};
// For levels 0..top. is_free: the minimum may be below 0, else the levels' line begins at 0 or
// below. Both spans have the same size, at most 32.
Affine fit_affine(std::span<const float> x, std::span<const float> weights, float top,
                  const Search& search, bool is_free = false);

// value = scale * level, levels low..-low - 1. Zero for values that are (nearly) all zero.
float fit_symmetric(std::span<const float> x, std::span<const float> weights, int low);

// value = scale * codebook[level], ascending values.
float fit_codebook(std::span<const float> x, std::span<const float> weights,
                   std::span<const int8_t, 16> codebook);
// The level whose value is nearest; a NaN gets the lowest.
int nearest_in(std::span<const int8_t, 16> codebook, float value);

}  // namespace outboard::formats
