// Linear layers in float32 over the vector type of a vec_*.h, which is included before this file.
//
// Columns lie in lanes: an output is the sum of kLanes partial sums over its columns, added in one
// fixed order at the end, so it is the same bits whatever the number of tokens and the split of
// rows. With few tokens weights are read straight from the file; else some rows are first decoded
// to floats in scratch that stays in the second-level cache.
#pragma once

#include <cstring>

#include "devices/cpu/kernels/tables.h"

namespace outboard::devices::cpu {
namespace {

using formats::TensorType;

constexpr size_t kDecodedBytes = 256 << 10;
constexpr int kDirectTokens = 4;
constexpr int64_t kBlockColumns = 640;
constexpr int64_t kBlockTokens = 6;
static_assert(kBlockTokens % kTileTokens == 0);

size_t float_row_bytes(int64_t columns) {
  return (static_cast<size_t>(columns) * sizeof(float) + 63) / 64 * 64;
}
// Decoded at a time.
int64_t panel_rows(int64_t columns) {
  const auto rows =
      static_cast<int64_t>(kDecodedBytes / float_row_bytes(columns)) / kTileRows * kTileRows;
  return rows < kTileRows ? kTileRows : rows;
}
// The sums between blocks of columns, of which there are several only with more columns than one.
constexpr size_t kPartsBytes =
    kDecodedBytes / (kBlockColumns * sizeof(float)) * kBlockTokens * sizeof(Vec);
size_t float_scratch_bytes(int64_t max_columns) {
  const size_t least = float_row_bytes(max_columns) * kTileRows;
  return kPartsBytes + (least > kDecodedBytes ? least : kDecodedBytes);
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

// Rows of weights, and the columns [begin, end) of a product: what is not the end of the columns
// leaves its sums in `parts`, and what is not the beginning takes them up there.
struct Panel {
  const std::byte* w;  // its first row
  size_t w_stride;
  const std::byte* x;  // token 0
  size_t x_stride;
  int64_t columns;
  size_t ahead;  // bytes from a weight to what to fetch, or 0
  int64_t begin;
  int64_t end;
};

// A tile of R rows x T tokens; row: of the panel, of which the output has first_row + row.
template <typename Read, int R, int T>
OUTBOARD_INLINE void float_tile(const Panel& panel, int64_t row, int64_t token, int64_t first_row,
                                const FloatOutput& out, Vec* parts) {
  using Element = typename Read::Element;
  const std::byte* const w = panel.w + static_cast<size_t>(row) * panel.w_stride;
  const std::byte* const x = panel.x + static_cast<size_t>(token) * panel.x_stride;
  const auto weight = [&](int r, int64_t c) OUTBOARD_INLINE_LAMBDA {
    return reinterpret_cast<const Element*>(w + static_cast<size_t>(r) * panel.w_stride) + c;
  };
  const auto input = [&](int t, int64_t c) OUTBOARD_INLINE_LAMBDA {
    return reinterpret_cast<const float*>(x + static_cast<size_t>(t) * panel.x_stride) + c;
  };
  Vec sums[R][T];
  OUTBOARD_UNROLL
  for (int r = 0; r < R; ++r) {
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) sums[r][t] = panel.begin > 0 ? parts[r * T + t] : all(0.0F);
  }
  int64_t c = panel.begin;
  if constexpr (kTwoVectors && T < kTileTokens) {
    for (; c + 2 * kLanes <= panel.end; c += 2 * kLanes) {
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
  for (; c + kLanes <= panel.end; c += kLanes) {
    Vec inputs[T];
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) inputs[t] = load(input(t, c));
    OUTBOARD_UNROLL
    for (int r = 0; r < R; ++r) {
      if (kPrefetch && T < kTileTokens && panel.ahead != 0) {
        // Into the second level: it can wait for more lines than the first. A line is asked for
        // several times, since requests get lost: with one for 16 columns AVX-512 read F16 at two
        // thirds of the speed.
        OUTBOARD_UNROLL
        for (int i = 0; i < kLanes; i += 8) {
          __builtin_prefetch(reinterpret_cast<const std::byte*>(weight(r, c + i)) + panel.ahead, 0,
                             2);
        }
      }
      const Vec v = Read::whole(weight(r, c));
      OUTBOARD_UNROLL
      for (int t = 0; t < T; ++t) sums[r][t] = fma(v, inputs[t], sums[r][t]);
    }
  }
  if (panel.end < panel.columns) {
    OUTBOARD_UNROLL
    for (int r = 0; r < R; ++r) {
      OUTBOARD_UNROLL
      for (int t = 0; t < T; ++t) parts[r * T + t] = sums[r][t];
    }
    return;
  }
  if (c < panel.end) {
    const int64_t left = panel.end - c;
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
        out.put(token + t, first_row + row + r, four);
      }
    } else {
      for (int r = 0; r < R; ++r) out.put(token + t, first_row + row + r, sum_lanes(sums[r][t]));
    }
  }
}

// R rows for tokens [token, end).
template <typename Read, int R>
OUTBOARD_INLINE void float_row_tile(const Panel& panel, int64_t row, int64_t token, int64_t end,
                                    int64_t first_row, const FloatOutput& out, Vec* parts) {
  while (token < end) {
    const int64_t left = end - token;
    int64_t taken = 1;
    if (left >= kTileTokens) {
      float_tile<Read, R, kTileTokens>(panel, row, token, first_row, out, parts);
      taken = kTileTokens;
    } else if (kTileTokens > 4 && left >= 4) {
      float_tile<Read, R, 4>(panel, row, token, first_row, out, parts);
      taken = 4;
    } else if (left >= 2) {
      float_tile<Read, R, 2>(panel, row, token, first_row, out, parts);
      taken = 2;
    } else {
      float_tile<Read, R, 1>(panel, row, token, first_row, out, parts);
    }
    token += taken;
    if (parts != nullptr) parts += taken * R;
  }
}

// All rows of a panel for all tokens; parts: null where there are few. With many tokens in blocks
// of columns and tokens: the inputs of a block and the weights of a tile then stay in the
// first-level cache.
template <typename Read>
void float_panel(Panel panel, int64_t rows, int64_t first_row, int tokens, const FloatOutput& out,
                 Vec* parts) {
  int64_t block = panel.columns;
  if (tokens > kDirectTokens) {  // blocks of equal length, in whole vectors
    const int64_t blocks = (panel.columns + kBlockColumns - 1) / kBlockColumns;
    block = ((panel.columns + blocks - 1) / blocks + kLanes - 1) / kLanes * kLanes;
  }
  for (int64_t token = 0; token < tokens; token += kBlockTokens) {
    const int64_t end = token + kBlockTokens < tokens ? token + kBlockTokens : tokens;
    for (panel.begin = 0; panel.begin < panel.columns; panel.begin = panel.end) {
      panel.end = panel.begin + block < panel.columns ? panel.begin + block : panel.columns;
      Vec* at = parts;
      int64_t row = 0;
      if (kTwoVectors && tokens == 1) {
        // With one token there is room for more sums, and its columns are loaded for more rows.
        for (; row + 2 * kTileRows <= rows; row += 2 * kTileRows)
          float_tile<Read, 2 * kTileRows, 1>(panel, row, token, first_row, out, at);
      }
      for (; row + kTileRows <= rows; row += kTileRows) {
        float_row_tile<Read, kTileRows>(panel, row, token, end, first_row, out, at);
        if (parts != nullptr) at += kTileRows * kBlockTokens;
      }
      for (; row < rows; ++row) {
        float_row_tile<Read, 1>(panel, row, token, end, first_row, out, at);
        if (parts != nullptr) at += kBlockTokens;
      }
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
  const auto decode = type == TensorType::F16    ? widen<ReadF16>
                      : type == TensorType::BF16 ? widen<ReadBf16>
                                                 : widen<ReadF32>;
  decode(from, n, to);
}

void float_linear(const Matrix& w, const std::byte* packed, int tokens, float* y, int64_t y_stride,
                  int64_t row_begin, int64_t row_end, const float* bias, bool accumulate,
                  std::byte* scratch) {
  const BlockShape block = block_shape(w.type);
  const size_t stride = static_cast<size_t>(w.columns / block.elements) * block.bytes;
  const FloatOutput out{y, y_stride, bias, accumulate};
  Panel panel{w.data + static_cast<size_t>(row_begin) * stride,
              stride,
              packed,
              float_row_bytes(w.columns),
              w.columns,
              2 * kTileRows * stride,
              0,
              0};
  if (tokens <= kDirectTokens) {
    const auto direct = w.type == TensorType::F16    ? float_panel<ReadF16>
                        : w.type == TensorType::BF16 ? float_panel<ReadBf16>
                                                     : float_panel<ReadF32>;
    return direct(panel, row_end - row_begin, row_begin, tokens, out, nullptr);
  }
  // As many rows at a time as stay in the second-level cache.
  panel.ahead = 0;
  panel.w_stride = float_row_bytes(w.columns);
  auto* const parts = reinterpret_cast<Vec*>(scratch);
  std::byte* const decoded = scratch + kPartsBytes;
  const int64_t rows = panel_rows(w.columns);
  for (int64_t begin = row_begin; begin < row_end; begin += rows) {
    const int64_t count = row_end - begin < rows ? row_end - begin : rows;
    for (int64_t row = 0; row < count; ++row) {
      decode_row(w.type, w.data + static_cast<size_t>(begin + row) * stride, w.columns,
                 reinterpret_cast<float*>(decoded + static_cast<size_t>(row) * panel.w_stride));
    }
    panel.w = decoded;
    float_panel<ReadF32>(panel, count, begin, tokens, out, parts);
  }
}

}  // namespace
}  // namespace outboard::devices::cpu
