// Linear layers in float32 over the vector type of a vec_*.h, which is included before this file.
//
// Columns lie in lanes: an output is the sum of kLanes partial sums over its columns, added in one
// fixed order at the end, so it is the same bits whatever the number of tokens and the split of
// rows. With few tokens F32, F16 and BF16 are read straight from the file; else, and for the block
// formats that have no whole-number product, some rows are decoded to floats in scratch that stays
// in the second-level cache.
#pragma once

#include <cstring>

#include "devices/cpu/kernels/tables.h"

namespace outboard::cpu {
namespace {

using formats::TensorType;

constexpr size_t kDecodedBytes = 256 << 10;
constexpr int kDirectTokens = 4;

size_t float_row_bytes(int64_t columns) {
  return (static_cast<size_t>(columns) * sizeof(float) + 63) / 64 * 64;
}
size_t float_scratch_bytes(int64_t max_columns) {
  const size_t least = float_row_bytes(max_columns) * kTileRows;
  return least > kDecodedBytes ? least : kDecodedBytes;
}

void float_pack(const float* x, int64_t x_stride, int tokens, int64_t columns, std::byte* out) {
  for (int t = 0; t < tokens; ++t) {
    std::memcpy(out, x + t * x_stride, static_cast<size_t>(columns) * sizeof(float));
    out += float_row_bytes(columns);
  }
}

// How one weight type is read. Weights in a file may lie at any byte: the vector loads allow that.
struct ReadF32 {
  using Element = float;
  static OUTBOARD_INLINE Vec whole(const float* p) { return load(p); }
  static OUTBOARD_INLINE TwoVecs two(const float* p) { return load_two(p); }
  static OUTBOARD_INLINE Vec part(const float* p, int64_t n) { return load_part(p, n); }
};
struct ReadF16 {
  using Element = uint16_t;
  static OUTBOARD_INLINE Vec whole(const uint16_t* p) { return load_half(p); }
  static OUTBOARD_INLINE TwoVecs two(const uint16_t* p) { return load_two_halves(p); }
  static OUTBOARD_INLINE Vec part(const uint16_t* p, int64_t n) { return load_half_part(p, n); }
};
struct ReadBf16 {
  using Element = uint16_t;
  static OUTBOARD_INLINE Vec whole(const uint16_t* p) { return load_bfloat(p); }
  static OUTBOARD_INLINE TwoVecs two(const uint16_t* p) { return load_two_bfloats(p); }
  static OUTBOARD_INLINE Vec part(const uint16_t* p, int64_t n) { return load_bfloat_part(p, n); }
};

struct FloatOutput {
  float* y;
  int64_t y_stride;
  const float* bias;
  bool accumulate;

  OUTBOARD_INLINE void put(int64_t token, int64_t row, float sum) const {
    float& at = y[token * y_stride + row];
    if (bias != nullptr) sum += bias[row];
    at = accumulate ? at + sum : sum;
  }
  // Four rows at once.
  OUTBOARD_INLINE void put(int64_t token, int64_t row, const float (&four)[4]) const {
    Four sums = load_four(four);
    float* at = y + token * y_stride + row;
    if (bias != nullptr) sums += load_four(bias + row);
    if (accumulate) sums = load_four(at) + sums;
    std::memcpy(at, &sums, sizeof(sums));
  }

 private:
  using Four __attribute__((vector_size(16))) = float;
  static OUTBOARD_INLINE Four load_four(const float* p) {
    Four four;
    std::memcpy(&four, p, sizeof(four));
    return four;
  }
};

// A block of R rows x T tokens.
template <typename Read, int R, int T>
OUTBOARD_INLINE void float_tile(const std::byte* w, size_t w_stride, const std::byte* x,
                                size_t x_stride, int64_t columns, int64_t token, int64_t row,
                                const FloatOutput& out, size_t ahead) {
  using Element = typename Read::Element;
  Vec sums[R][T];
  OUTBOARD_UNROLL
  for (int r = 0; r < R; ++r) {
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) sums[r][t] = all(0.0F);
  }
  const auto weight = [&](int r, int64_t c) OUTBOARD_INLINE_LAMBDA {
    return reinterpret_cast<const Element*>(w + static_cast<size_t>(r) * w_stride) + c;
  };
  const auto input = [&](int t, int64_t c) OUTBOARD_INLINE_LAMBDA {
    return reinterpret_cast<const float*>(x + static_cast<size_t>(t) * x_stride) + c;
  };
  int64_t c = 0;
  if constexpr (kTwoVectors && T < kTileTokens) {
    for (; c + 2 * kLanes <= columns; c += 2 * kLanes) {
      TwoVecs inputs[T];
      OUTBOARD_UNROLL
      for (int t = 0; t < T; ++t) inputs[t] = load_two(input(t, c));
      OUTBOARD_UNROLL
      for (int r = 0; r < R; ++r) {
        const TwoVecs v = Read::two(weight(r, c));
        OUTBOARD_UNROLL
        for (int t = 0; t < T; ++t) {
          sums[r][t] = fma(v.second, inputs[t].second, fma(v.first, inputs[t].first, sums[r][t]));
        }
      }
    }
  }
  for (; c + kLanes <= columns; c += kLanes) {
    Vec inputs[T];
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) inputs[t] = load(input(t, c));
    OUTBOARD_UNROLL
    for (int r = 0; r < R; ++r) {
      if constexpr (kPrefetch && T == kTileTokens) {
        // The next rows, from the second-level cache: there is time between so many products.
        __builtin_prefetch(weight(r, c) + R * columns, 0, 3);
      } else if (kPrefetch && ahead != 0) {
        // Into the second level: it can wait for more lines than the first.
        __builtin_prefetch(reinterpret_cast<const std::byte*>(weight(r, c)) + ahead, 0, 2);
      }
      const Vec v = Read::whole(weight(r, c));
      OUTBOARD_UNROLL
      for (int t = 0; t < T; ++t) sums[r][t] = fma(v, inputs[t], sums[r][t]);
    }
  }
  if (c < columns) {
    const int64_t left = columns - c;
    Vec inputs[T];
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) inputs[t] = load_part(input(t, c), left);
    OUTBOARD_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vec v = Read::part(weight(r, c), left);
      OUTBOARD_UNROLL
      for (int t = 0; t < T; ++t) sums[r][t] = fma(v, inputs[t], sums[r][t]);
    }
  }
  OUTBOARD_UNROLL
  for (int t = 0; t < T; ++t) {
    if constexpr (R % 4 == 0) {
      for (int r = 0; r < R; r += 4) {
        float four[4];
        sum_lanes(sums[r][t], sums[r + 1][t], sums[r + 2][t], sums[r + 3][t], four);
        out.put(token + t, row + r, four);
      }
    } else {
      for (int r = 0; r < R; ++r) out.put(token + t, row + r, sum_lanes(sums[r][t]));
    }
  }
}

// All rows in [begin, end) for `count` tokens; w is row `begin`.
template <typename Read, int T>
void float_rows(const std::byte* w, size_t w_stride, const std::byte* x, size_t x_stride,
                int64_t columns, int64_t token, int64_t begin, int64_t end, const FloatOutput& out,
                size_t ahead) {
  int64_t row = begin;
  // With one token there is room for more sums, and its columns are loaded for more rows.
  constexpr int kRows = kTwoVectors && T == 1 ? 2 * kTileRows : kTileRows;
  for (; row + kRows <= end; row += kRows) {
    float_tile<Read, kRows, T>(w, w_stride, x, x_stride, columns, token, row, out, ahead);
    w += kRows * w_stride;
  }
  for (; row < end; ++row) {
    float_tile<Read, 1, T>(w, w_stride, x, x_stride, columns, token, row, out, 0);
    w += w_stride;
  }
}

template <typename Read>
void float_tokens(const std::byte* w, size_t w_stride, const std::byte* packed, size_t x_stride,
                  int64_t columns, int tokens, int64_t begin, int64_t end, const FloatOutput& out,
                  size_t ahead) {
  int token = 0;
  while (token < tokens) {
    const std::byte* x = packed + static_cast<size_t>(token) * x_stride;
    const int left = tokens - token;
    if (left >= kTileTokens) {
      float_rows<Read, kTileTokens>(w, w_stride, x, x_stride, columns, token, begin, end, out, 0);
      token += kTileTokens;
    } else if (left >= 4) {
      float_rows<Read, 4>(w, w_stride, x, x_stride, columns, token, begin, end, out, ahead);
      token += 4;
    } else if (left >= 2) {
      float_rows<Read, 2>(w, w_stride, x, x_stride, columns, token, begin, end, out, ahead);
      token += 2;
    } else {
      float_rows<Read, 1>(w, w_stride, x, x_stride, columns, token, begin, end, out, ahead);
      token += 1;
    }
  }
}

template <typename Read>
void widen(const std::byte* from, int64_t n, float* to) {
  const auto* p = reinterpret_cast<const typename Read::Element*>(from);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, Read::whole(p + i));
  if (i < n) store_part(to + i, Read::part(p + i, n - i), n - i);
}

void decode_row(TensorType type, const std::byte* from, int64_t n, float* to) {
  switch (type) {
    case TensorType::F16:
      return widen<ReadF16>(from, n, to);
    case TensorType::BF16:
      return widen<ReadBf16>(from, n, to);
    default:
      decode(type, from, n, to);
  }
}

void float_linear(const Matrix& w, const std::byte* packed, int tokens, float* y, int64_t y_stride,
                  int64_t row_begin, int64_t row_end, const float* bias, bool accumulate,
                  std::byte* scratch) {
  const BlockShape block = block_shape(w.type);
  const size_t stride = static_cast<size_t>(w.columns / block.elements) * block.bytes;
  const size_t x_stride = float_row_bytes(w.columns);
  const FloatOutput out{y, y_stride, bias, accumulate};
  const std::byte* first = w.data + static_cast<size_t>(row_begin) * stride;
  const size_t ahead = 2 * kTileRows * stride;

  if (w.type == TensorType::F32) {
    // Each block of tokens reads all rows: as many at a time as stay in the second-level cache.
    int64_t rows = static_cast<int64_t>(kDecodedBytes / stride) / kTileRows * kTileRows;
    if (tokens <= kTileTokens) rows = row_end - row_begin;
    if (rows < kTileRows) rows = kTileRows;
    for (int64_t begin = row_begin; begin < row_end; begin += rows) {
      const int64_t end = begin + rows < row_end ? begin + rows : row_end;
      float_tokens<ReadF32>(w.data + static_cast<size_t>(begin) * stride, stride, packed, x_stride,
                            w.columns, tokens, begin, end, out, ahead);
    }
    return;
  }
  if (tokens <= kDirectTokens && w.type == TensorType::F16) {
    return float_tokens<ReadF16>(first, stride, packed, x_stride, w.columns, tokens, row_begin,
                                 row_end, out, ahead);
  }
  if (tokens <= kDirectTokens && w.type == TensorType::BF16) {
    return float_tokens<ReadBf16>(first, stride, packed, x_stride, w.columns, tokens, row_begin,
                                  row_end, out, ahead);
  }
  const size_t decoded_stride = float_row_bytes(w.columns);
  int64_t rows = static_cast<int64_t>(kDecodedBytes / decoded_stride) / kTileRows * kTileRows;
  if (rows < kTileRows) rows = kTileRows;
  for (int64_t begin = row_begin; begin < row_end; begin += rows) {
    const int64_t end = begin + rows < row_end ? begin + rows : row_end;
    for (int64_t row = begin; row < end; ++row) {
      decode_row(
          w.type, w.data + static_cast<size_t>(row) * stride, w.columns,
          reinterpret_cast<float*>(scratch + static_cast<size_t>(row - begin) * decoded_stride));
    }
    float_tokens<ReadF32>(scratch, decoded_stride, packed, x_stride, w.columns, tokens, begin, end,
                          out, 0);
  }
}

}  // namespace
}  // namespace outboard::cpu
