// TQ1_0 and TQ2_0, for models whose weights are -d, 0 and d. The rule of the Python package gguf;
// the results are equal byte for byte. Importances change nothing: there is nothing to choose.
#include <cmath>

#include "formats/encoders.h"
#include "formats/quantize.h"

namespace outboard::formats {
namespace {

// -1, 0 or 1: the nearest, from the middle on the one farther from zero.
int ternary(float value, float inverse) {
  return static_cast<int>(clamp_level(std::round(value * inverse), -1, 1));
}

}  // namespace

void encode(const float* values, const float* /*importance*/, BlockTq2_0& block) {
  block = {};
  const float d = greatest(values, kSuperBlock);
  const float inverse = d != 0 ? 1 / d : 0.0f;
  block.d.set(float_to_half(d));
  for (int i = 0; i < kSuperBlock; ++i) put_pair(block.qs, i, ternary(values[i], inverse) + 1);
}

void encode(const float* values, const float* /*importance*/, BlockTq1_0& block) {
  block = {};
  const float d = greatest(values, kSuperBlock);
  const float inverse = d != 0 ? 1 / d : 0.0f;
  block.d.set(float_to_half(d));
  // Five digits of base 3 as a fraction of 256, rounded up; of the last four bytes the fifth is 0.
  const auto digits = [&](uint8_t* bytes, int count, int per_byte) {
    for (int i = 0; i < count; ++i) {
      int number = 0;
      for (int k = 0; k < 5; ++k)
        number = 3 * number + (k < per_byte ? ternary(values[k * count + i], inverse) + 1 : 0);
      bytes[i] = static_cast<uint8_t>((number * 256 + 242) / 243);
    }
    values += count * per_byte;
  };
  digits(block.qs, 32, 5);
  digits(block.qs + 32, 16, 5);
  digits(block.qh, 4, 4);
}

}  // namespace outboard::formats
