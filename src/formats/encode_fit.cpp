// The searches (candidates, weights) are those of ggml's reference quantization; the codebook's
// extreme value is tried at both of its ends.
#include "formats/encode_fit.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "formats/encoders.h"

namespace outboard::formats {
namespace {

constexpr size_t kMostValues = 32;
constexpr float kNoScale = 1e-15f;  // groups smaller than this count as zero

float extreme_of(std::span<const float> x) {
  float extreme = 0;
  for (const float value : x)
    if (std::fabs(value) > std::fabs(extreme)) extreme = value;
  return extreme;
}

// The best scale for given levels, and by how much it lowers the error.
class BestScale {
 public:
  BestScale(std::span<const float> x, std::span<const float> weights) : x_(x), weights_(weights) {}

  // level_of(value) of each.
  template <typename LevelOf>
  void consider(LevelOf level_of) {
    float sum_lx = 0;
    float sum_ll = 0;
    for (size_t i = 0; i < x_.size(); ++i) {
      const float level = level_of(x_[i]);
      sum_lx += weights_[i] * x_[i] * level;
      sum_ll += weights_[i] * level * level;
    }
    // The error shrinks as (sum_lx)^2 / sum_ll grows.
    if (sum_ll > 0 && (!found_ || sum_lx * sum_lx > best_ * sum_ll)) {
      scale_ = sum_lx / sum_ll;
      best_ = scale_ * sum_lx;
      found_ = true;
    }
  }
  float scale() const { return scale_; }

 private:
  std::span<const float> x_, weights_;
  float scale_ = 0;
  float best_ = 0;
  bool found_ = false;
};

}  // namespace

void weigh(std::span<const float> values, const float* importance, std::span<float> weights) {
  float squares = 0;
  for (const float value : values) squares += value * value;
  const float mean = squares / static_cast<float>(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    weights[i] = importance[i] * std::sqrt(mean + values[i] * values[i]);
}

Affine fit_affine(std::span<const float> x, std::span<const float> w, float top,
                  const Search& search, bool is_free) {
  const size_t count = x.size();
  float sum_w = 0;
  float sum_x = 0;
  for (size_t i = 0; i < count; ++i) {
    sum_w += w[i];
    sum_x += w[i] * x[i];
  }
  float low = *std::min_element(x.begin(), x.end());
  if (!is_free) low = std::min(low, 0.0f);
  const float high = *std::max_element(x.begin(), x.end());
  if (!(high > low)) return {0, -low};

  std::array<float, kMostValues> levels;
  const auto round_levels = [&](float inverse) {
    for (size_t i = 0; i < count; ++i)
      levels[i] = static_cast<float>(nearest_level(inverse * (x[i] - low), 0, top));
  };
  const auto error = [&](float scale, float offset) {
    float sum = 0;
    for (size_t i = 0; i < count; ++i) {
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
    round_levels((search.start + search.step_size * static_cast<float>(step) + top) / (high - low));
    float sum_l = 0;
    float sum_ll = 0;
    float sum_lx = 0;
    for (size_t i = 0; i < count; ++i) {
      const float weighted = w[i] * levels[i];
      sum_l += weighted;
      sum_ll += weighted * levels[i];
      sum_lx += weighted * x[i];
    }
    const float determinant = sum_w * sum_ll - sum_l * sum_l;
    if (!(determinant > 0)) continue;
    float scale = (sum_w * sum_lx - sum_x * sum_l) / determinant;
    float offset = (sum_ll * sum_x - sum_l * sum_lx) / determinant;
    if (offset > 0 && !is_free) {
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

float fit_symmetric(std::span<const float> x, std::span<const float> weights, int low) {
  const float extreme = extreme_of(x);
  if (!(std::fabs(extreme) >= kNoScale)) return 0;
  const auto lowest = static_cast<float>(low);
  BestScale best(x, weights);
  const auto consider = [&](float inverse) {
    best.consider([&](float value) {
      return static_cast<float>(nearest_level(inverse * value, lowest, -lowest - 1));
    });
  };
  consider(lowest / extreme);
  for (int step = -9; step <= 9; ++step)
    if (step != 0) consider((lowest - 0.1f * static_cast<float>(step)) / extreme);
  // With few levels it may be better to have the extreme value at the shorter end.
  constexpr int kFewLevels = 8;
  if (low >= -kFewLevels)
    for (int step = -9; step <= 9; ++step)
      consider((-lowest - 1 - 0.1f * static_cast<float>(step)) / extreme);
  return best.scale();
}

float fit_codebook(std::span<const float> x, std::span<const float> weights,
                   std::span<const int8_t, 16> codebook) {
  const float extreme = extreme_of(x);
  if (!(std::fabs(extreme) >= kNoScale)) return 0;
  BestScale best(x, weights);
  constexpr int kSteps = 7;
  for (const int8_t end : {codebook.front(), codebook.back()})
    for (int step = -kSteps; step <= kSteps; ++step) {
      const float inverse = static_cast<float>(end + step) / extreme;
      best.consider([&](float value) {
        return static_cast<float>(
            codebook[static_cast<size_t>(nearest_in(codebook, inverse * value))]);
      });
    }
  return best.scale();
}

int nearest_in(std::span<const int8_t, 16> codebook, float value) {
  int level = 0;
  for (size_t i = 0; i + 1 < codebook.size(); ++i)
    level += value > 0.5f * static_cast<float>(codebook[i] + codebook[i + 1]) ? 1 : 0;
  return level;
}

}  // namespace outboard::formats
