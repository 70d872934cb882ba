// The block formats' part of a table: what simd_grouped.h, which is included before this file,
// makes of the vectors of a vec_*.h.
#pragma once

#include "devices/cpu/kernels/simd_grouped.h"

namespace outboard::devices::cpu {
namespace {

// --- packing ---

template <bool kBytes>
void pack_group(const float* x, std::byte* at) {
  constexpr int kVectors = kGroup / kLanes;
  Vec v[kVectors];
  // Comparing the bits of absolute values as integers lets NaN and infinity win.
  Ints most = all_ints(0);
  OUTBOARD_UNROLL
  for (int i = 0; i < kVectors; ++i) {
    v[i] = load(x + i * kLanes);
    most = larger(most, as_ints(absolute(v[i])));
  }
  const float largest = __builtin_bit_cast(float, largest_lane(most));
  constexpr float kMost = kBytes ? 127 : kMostInput;
  PackedGroup group;
  // Too small to divide by: as good as zero beside any other term.
  const float inverse = largest > 1e-30F ? kMost / largest : 0.0F;
  group.scale = largest > 1e-30F || !(largest >= 0) ? largest / kMost : 0.0F;
  Ints sums[2] = {all_ints(0), all_ints(0)};
  OUTBOARD_UNROLL
  for (int i = 0; i < kVectors; ++i) {
    const Ints q = to_ints(mul(v[i], all(inverse)));
    store_inputs<kBytes>(at, i, q);
    Ints& sum = sums[i / (kVectors / 2)];
    sum = add(sum, q);
  }
  for (int i = 0; i < 2; ++i) group.sum[i] = static_cast<float>(sum_lanes(sums[i])) * group.scale;
  group.total = group.sum[0] + group.sum[1];
  constexpr size_t kFrom = offsetof(PackedGroup, scale);
  std::memcpy(at + kFrom, &group.scale, sizeof(group) - kFrom);
}

size_t grouped_scratch_bytes(int64_t max_columns) {
  return short_tile_bytes(max_columns) + panel_bytes(max_columns);
}

void grouped_pack(bool bytes, const float* x, int64_t x_stride, int tokens, int64_t columns,
                  std::byte* out) {
  const auto pack = bytes ? pack_group<true> : pack_group<false>;
  for (int t = 0; t < tokens; ++t) {
    for (int64_t g = 0; g < columns / kGroup; ++g) {
      pack(x + t * x_stride + g * kGroup, out + static_cast<size_t>(g) * kPackedBytes);
    }
    out += row_bytes(columns);
  }
}

void grouped_linear(const Matrix& w, const std::byte* packed, int tokens, float* y,
                    int64_t y_stride, int64_t row_begin, int64_t row_end, const float* bias,
                    bool accumulate, std::byte* scratch) {
  const Job job{w, packed, tokens, row_begin, row_end, scratch};
  const Output out{y, y_stride, bias, accumulate, 0};
  switch (w.type) {
    case TensorType::Q4_0:
      return run<FormatQ4_0>(job, out);
    case TensorType::Q4_1:
      return run<FormatQ4_1>(job, out);
    case TensorType::Q5_0:
      return run<FormatQ5_0>(job, out);
    case TensorType::Q5_1:
      return run<FormatQ5_1>(job, out);
    case TensorType::Q8_0:
      return run<FormatQ8_0>(job, out);
    case TensorType::IQ4_NL:
      return run<FormatIq4Nl>(job, out);
    case TensorType::MXFP4:
      return run<FormatMxfp4>(job, out);
    case TensorType::IQ4_XS:
      return run<FormatIq4Xs>(job, out);
    case TensorType::Q2_K:
      return run<FormatQ2K>(job, out);
    case TensorType::Q3_K:
      return run<FormatQ3K>(job, out);
    case TensorType::Q4_K:
      return run<FormatQ4K>(job, out);
    case TensorType::Q5_K:
      return run<FormatQ5K>(job, out);
    case TensorType::Q6_K:
      return run<FormatQ6K>(job, out);
    case TensorType::IQ1_S:
      return run<FormatIq1S>(job, out);
    case TensorType::IQ1_M:
      return run<FormatIq1M>(job, out);
    case TensorType::IQ2_XXS:
      return run<FormatIq2Xxs>(job, out);
    case TensorType::IQ2_XS:
      return run<FormatIq2Xs>(job, out);
    case TensorType::IQ2_S:
      return run<FormatIq2S>(job, out);
    case TensorType::IQ3_XXS:
      return run<FormatIq3Xxs>(job, out);
    case TensorType::IQ3_S:
      return run<FormatIq3S>(job, out);
    case TensorType::TQ1_0:
      return run<FormatTq1_0>(job, out);
    case TensorType::TQ2_0:
      return run<FormatTq2_0>(job, out);
    case TensorType::Q8_K:
      return run<FormatQ8K>(job, out);
    default:  // packing_for() sends all others to the float kernels
      return;
  }
}

constexpr Grouped kGroupedKernels = {row_bytes, grouped_scratch_bytes, grouped_pack,
                                     grouped_linear};

}  // namespace
}  // namespace outboard::devices::cpu
