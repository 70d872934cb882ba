// Linear layers on block formats in whole numbers, over the vectors of a vec_*.h.
//
// Activations are quantized to 16 bits for each group of 32, x = scale * q, so an error is below
// max|x| / 65000 of its group: 8 bits alone would show in the text of small models. Weights are
// bytes with a float scale and minimum for each group (simd_formats.h). So
//   sum of w * x = scale_w * scale_x * sum(u * q) + minimum * sum(x)
// where the integer part is exact, and the float part adds the groups in order of the columns.
// Rows lie in lanes. Hence an output is the same bits whatever the number of tokens and the split
// of rows. With Packing::kGroupedBytes q has 8 bits.
//
// A vec_*.h has the product, since sets of instructions differ in what they multiply:
//   kMostInput               the largest q of 16 bits
//   store_inputs<kBytes>()   lays out q in a packed group, as the product wants it: most often two
//                            planes of signed bytes, q = radix * hi + lo
//   token_tile(kBytes, kHalves), kPanelTile   tokens and panels (of kLanes rows) whose sums stay in
//                            registers
//   IntegerSum<kBound, kBytes>  adds up columns of weights from 0 to kBound (255: any byte, less
//                            kByteZero) times q, in kPlanes passes over the columns
//   kReadsPieces, piece_sum()  the product of one token with weights that lie as in the file: with
//                            few tokens it is cheaper to exchange lanes of the sums than of the
//                            weights, and inputs are read once for all rows
//   sums_of_two()            with kRowPairs, the same for two tokens at once with 8 bits
#pragma once

#include <cstring>
#include <type_traits>

#include "devices/cpu/kernels/simd_codebooks.h"
#include "devices/cpu/kernels/tables.h"

namespace outboard::devices::cpu {
namespace {

using formats::TensorType;

constexpr int kGroup = 32;       // columns that share a scale
constexpr int kFusedTokens = 4;  // up to here weights go from the file straight to the sums
// Tiles to fetch into the first-level cache (with more, those under way push out what is in use),
// and how far ahead to fetch others into the second.
constexpr size_t kNearBytes = 4 << 10;
constexpr size_t kFarBytes = 16 << 10;
constexpr size_t kPanelBytes = 256 << 10;  // unpacked weights that stay in the second-level cache

// A group of packed activations; kWordBytes follow. The floats are used as FourFloats.
struct PackedGroup {
  int8_t planes[2 * kGroup];
  float scale;
  float sum[2];  // of x over each half of the group
  float total;   // sum[0] + sum[1]
};
static_assert(sizeof(PackedGroup) == kWordsAt);
constexpr size_t kPackedBytes = sizeof(PackedGroup) + kWordBytes;

// A group of kLanes unpacked rows.
template <int kHalves>
struct alignas(64) PanelGroup {
  Weights weights;
  Scales<kHalves> scales;
};

// Scratch: a copy of a short tile, then panels.
constexpr size_t short_tile_bytes(int64_t columns) {
  constexpr size_t kMostBytesOfGroup = 37;  // Q8_K
  return (static_cast<size_t>(columns / kGroup) * kMostBytesOfGroup * kLanes + 63) / 64 * 64;
}
constexpr size_t panel_bytes(int64_t columns) {
  const size_t tile = static_cast<size_t>(columns / kGroup) * sizeof(PanelGroup<2>);
  return tile > kPanelBytes ? tile : kPanelBytes;
}

constexpr size_t row_bytes(int64_t columns) {
  return (static_cast<size_t>(columns / kGroup) * kPackedBytes + 63) / 64 * 64;
}

// A group of P tiles, side by side: kLanes rows each.
template <int kHalves, int P>
struct Tiles {
  const Weights* weights[P];
  const Scales<kHalves>* scales[P];
};

// The integer part of registers [kBegin, kEnd) of columns for T tokens.
template <int kBound, bool kBytes, int kBegin, int kEnd, int kHalves, int P, int T>
OUTBOARD_INLINE void integer_sums(const Tiles<kHalves, P>& tiles, const std::byte* packed,
                                  size_t stride, Ints (&totals)[P][T]) {
  if constexpr (kRowPairs && kBytes && T % 2 == 0) {
    OUTBOARD_UNROLL
    for (int i = 0; i < P * T; i += 2) {
      const std::byte* x = packed + static_cast<size_t>(i % T) * stride;
      sums_of_two<kBegin, kEnd>(tiles.weights[i / T]->at, x, x + stride, totals[i / T][i % T],
                                totals[i / T][i % T + 1]);
    }
    return;
  }
  IntegerSum<kBound, kBytes> sums[P][T];
  OUTBOARD_UNROLL
  for (int plane = 0; plane < IntegerSum<kBound, kBytes>::kPlanes; ++plane) {
    if (plane > 0) {
      OUTBOARD_UNROLL
      for (int i = 0; i < P * T; ++i) sums[i / T][i % T].next_plane();
    }
    OUTBOARD_UNROLL
    for (int c = kBegin; c < kEnd; ++c) {
      OUTBOARD_UNROLL
      for (int p = 0; p < P; ++p) {
        const Ints w = tiles.weights[p]->at[c];
        OUTBOARD_UNROLL
        for (int t = 0; t < T; ++t) {
          sums[p][t].add(plane, c, kEnd, w, packed + static_cast<size_t>(t) * stride);
        }
      }
    }
  }
  OUTBOARD_UNROLL
  for (int i = 0; i < P * T; ++i) totals[i / T][i % T] = sums[i / T][i % T].total();
}

constexpr bool has_minimum(int most) { return most < 255 || kByteZero != 0; }

// Of each piece of 16 bytes: lane k of the result is the sum of z[k]'s four lanes.
OUTBOARD_INLINE Ints sums_of_pieces(const Ints (&z)[4]) {
  const Ints a = add(zip_low_32(z[0], z[1]), zip_high_32(z[0], z[1]));
  const Ints b = add(zip_low_32(z[2], z[3]), zip_high_32(z[2], z[3]));
  return add(zip_low_64(a, b), zip_high_64(a, b));
}

// The integer part of half kHalf of a group (kHalves = 1: of all of it), by tiles and tokens.
template <typename Layout, int kBound, bool kBytes, int kHalf, int kHalves, int P, int T>
OUTBOARD_INLINE void integer_totals(const Tiles<kHalves, P>& tiles, const std::byte* packed,
                                    size_t stride, Ints (&totals)[P][T]) {
  if constexpr (!std::is_same_v<Layout, ByPieces>) {
    constexpr int kColumns = 8 / kHalves;
    integer_sums<kBound, kBytes, kHalf * kColumns, (kHalf + 1) * kColumns>(tiles, packed, stride,
                                                                           totals);
  } else {
    OUTBOARD_UNROLL
    for (int i = 0; i < P * T; ++i) {
      Ints z[4];
      OUTBOARD_UNROLL
      for (int k = 0; k < 4; ++k) {
        z[k] = piece_sum<kBound, kBytes, kHalf, kHalf + 2 / kHalves>(
            tiles.weights[i / T]->at, k, packed + static_cast<size_t>(i % T) * stride);
      }
      totals[i / T][i % T] = sums_of_pieces(z);
    }
  }
}

// The float part of half kHalf of a group.
template <int kHalf, bool kMinimum, int kHalves>
OUTBOARD_INLINE void add_scaled(Ints total, const Scales<kHalves>& s, FourFloats floats, Vec& sum) {
  constexpr int kSum = kHalves == 1 ? 3 : 1 + kHalf;
  sum = fma(to_float(total), mul(s.scale[kHalf], copies<0>(floats)), sum);
  if constexpr (kMinimum) sum = fma(s.minimum[kHalf], copies<kSum>(floats), sum);
}

// sums[p][t] += half kHalf of one group of tile p times token t; packed is the group of the first
// token.
template <typename Layout, int kBound, bool kMinimum, bool kBytes, int kHalf, int kHalves, int P,
          int T>
OUTBOARD_INLINE void add_half(const Tiles<kHalves, P>& tiles, const std::byte* packed,
                              size_t stride, Vec (&sums)[P][T]) {
  Ints totals[P][T];
  integer_totals<Layout, kBound, kBytes, kHalf>(tiles, packed, stride, totals);
  OUTBOARD_UNROLL
  for (int t = 0; t < T; ++t) {
    const FourFloats floats =
        four_floats(packed + static_cast<size_t>(t) * stride + offsetof(PackedGroup, scale));
    OUTBOARD_UNROLL
    for (int p = 0; p < P; ++p)
      add_scaled<kHalf, kMinimum>(totals[p][t], *tiles.scales[p], floats, sums[p][t]);
  }
}
template <typename Layout, int kBound, bool kMinimum, bool kBytes, int kHalves, int P, int T>
OUTBOARD_INLINE void add_group(const Tiles<kHalves, P>& tiles, const std::byte* packed,
                               size_t stride, Vec (&sums)[P][T]) {
  add_half<Layout, kBound, kMinimum, kBytes, 0>(tiles, packed, stride, sums);
  if constexpr (kHalves == 2)
    add_half<Layout, kBound, kMinimum, kBytes, 1>(tiles, packed, stride, sums);
}

// Where the sums of a tile go.
struct Output {
  float* y;
  int64_t y_stride;
  const float* bias;  // may be null
  bool accumulate;
  int64_t rows;  // of the tile, that exist: at most kLanes

  OUTBOARD_INLINE void put(int64_t token, int64_t row, Vec sum) const {
    float* at = y + token * y_stride + row;
    if (rows >= kLanes) {
      if (bias != nullptr) sum = add(sum, load(bias + row));
      if (accumulate) sum = add(load(at), sum);
      store(at, sum);
    } else {
      if (bias != nullptr) sum = add(sum, load_part(bias + row, rows));
      if (accumulate) sum = add(load_part(at, rows), sum);
      store_part(at, sum, rows);
    }
  }
};

// --- few tokens: straight from the file ---

// Fetches part `index` of kParts of a tile's next block.
template <size_t kBytes, size_t kParts, bool kNear>
OUTBOARD_INLINE void prefetch(const uint8_t* block, size_t index) {
  if constexpr (!kPrefetch) return;
  constexpr size_t kLines = (kBytes * kLanes / kParts + 63) / 64;
  const auto* at = reinterpret_cast<const char*>(block) + index * (kBytes * kLanes / kParts);
  OUTBOARD_UNROLL
  for (size_t line = 0; line < kLines; ++line) {
    __builtin_prefetch(at + 64 * line, 0, kNear ? 3 : 2);
  }
}

template <typename Format, bool kBytes, int T, bool kNear>
void fused_tile(const uint8_t* tile, size_t stride, int64_t blocks, const std::byte* packed,
                size_t packed_stride, int64_t row, const Output& out, size_t ahead) {
  Vec sums[1][T];
  OUTBOARD_UNROLL
  for (int t = 0; t < T; ++t) sums[0][t] = all(0.0F);
  constexpr bool kPieces = kReadsPieces && !requires { Format::kByColumns; };
  using Layout = std::conditional_t<kPieces, ByPieces, PanelLayout>;
  const uint8_t* next = tile + ahead;  // a tile's bytes lie together: fetch those of a later one
  for (int64_t b = 0; b < blocks; ++b) {
    const std::byte* x = packed + static_cast<size_t>(b * Format::kGroups) * kPackedBytes;
    Format::template for_each_group<Layout>(
        tile + static_cast<size_t>(b) * Format::kBytes, stride,
        [&](int group, const Weights& w, const Scales<Format::kHalves>& s)
            __attribute__((always_inline)) {
              prefetch<Format::kBytes, Format::kGroups, kNear>(next, static_cast<size_t>(group));
              add_group<Layout, sum_bound(Format::kMost), has_minimum(Format::kMost), kBytes>(
                  Tiles<Format::kHalves, 1>{{&w}, {&s}},
                  x + static_cast<size_t>(group) * kPackedBytes, packed_stride, sums);
              end_of_group();
            });
    next += Format::kBytes * kLanes;
  }
  OUTBOARD_UNROLL
  for (int t = 0; t < T; ++t) out.put(t, row, sums[0][t]);
}

template <typename Format, bool kBytes, bool kNear>
void fused_tokens(const uint8_t* tile, size_t stride, int64_t blocks, const std::byte* packed,
                  size_t packed_stride, int tokens, int64_t row, const Output& out, size_t ahead) {
  const auto kernel = tokens == 1   ? fused_tile<Format, kBytes, 1, kNear>
                      : tokens == 2 ? fused_tile<Format, kBytes, 2, kNear>
                      : tokens == 3 ? fused_tile<Format, kBytes, 3, kNear>
                                    : fused_tile<Format, kBytes, 4, kNear>;
  kernel(tile, stride, blocks, packed, packed_stride, row, out, ahead);
}

// --- many tokens: unpacked once, used for all ---

template <typename Format>
void unpack_tile(const uint8_t* tile, size_t stride, int64_t blocks, size_t ahead,
                 PanelGroup<Format::kHalves>* panel) {
  const uint8_t* next = tile + ahead;
  for (int64_t b = 0; b < blocks; ++b) {
    Format::template for_each_group<PanelLayout>(
        tile + static_cast<size_t>(b) * Format::kBytes, stride,
        [&](int group, const Weights& w, const Scales<Format::kHalves>& s)
            __attribute__((always_inline)) {
              prefetch<Format::kBytes, Format::kGroups, false>(next, static_cast<size_t>(group));
              panel[group].weights = w;
              panel[group].scales = s;
            });
    next += Format::kBytes * kLanes;
    panel += Format::kGroups;
  }
}

// T tokens with the rows of P panels.
template <int kBound, bool kMinimum, bool kBytes, int kHalves, int T, int P>
void panel_tile(const PanelGroup<kHalves>* panel, int64_t groups, const std::byte* packed,
                size_t packed_stride, int64_t token, int64_t row, Output out) {
  Vec sums[P][T];
  OUTBOARD_UNROLL
  for (int p = 0; p < P; ++p) {
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) sums[p][t] = all(0.0F);
  }
  for (int64_t g = 0; g < groups; ++g) {
    Tiles<kHalves, P> tiles;
    OUTBOARD_UNROLL
    for (int p = 0; p < P; ++p) {
      const PanelGroup<kHalves>& group = panel[p * groups + g];
      tiles.weights[p] = &group.weights;
      tiles.scales[p] = &group.scales;
    }
    add_group<PanelLayout, kBound, kMinimum, kBytes>(tiles, packed, packed_stride, sums);
    packed += kPackedBytes;
  }
  OUTBOARD_UNROLL
  for (int p = 0; p < P; ++p) {
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) out.put(token + t, row, sums[p][t]);
    row += kLanes;
    out.rows -= kLanes;
  }
}

// How many tokens of those left are taken together.
template <bool kBytes, int kHalves>
constexpr int next_count(int left) {
  constexpr int kMost = token_tile(kBytes, kHalves);
  if (left >= kMost) return kMost;
  for (const int count : {12, 8, 6, 4, 2}) {
    if (count <= kMost && left >= count) return count;
  }
  return 1;
}

// The first of the panels that are left, or some; how many it were.
template <int kBound, bool kMinimum, bool kBytes, int kHalves, int T>
int64_t panel_tokens(const PanelGroup<kHalves>* panel, int64_t groups, const std::byte* packed,
                     size_t stride, int64_t token, int count, int64_t row, const Output& out,
                     int64_t left) {
  if (count == T) {
    constexpr int kPanels = T == token_tile(kBytes, kHalves) ? kPanelTile : 1;
    if (left < kPanels) {
      panel_tile<kBound, kMinimum, kBytes, kHalves, T, 1>(panel, groups, packed, stride, token, row,
                                                          out);
      return 1;
    }
    panel_tile<kBound, kMinimum, kBytes, kHalves, T, kPanels>(panel, groups, packed, stride, token,
                                                              row, out);
    return kPanels;
  }
  if constexpr (T > 1) {
    return panel_tokens<kBound, kMinimum, kBytes, kHalves, next_count<kBytes, kHalves>(T - 1)>(
        panel, groups, packed, stride, token, count, row, out, left);
  }
  return 1;
}

// --- one format ---

struct Job {
  const Matrix& w;
  const std::byte* packed;
  int tokens;
  int64_t row_begin;
  int64_t row_end;
  std::byte* scratch;
};

// The weights of kLanes rows from `row` on, as stored. The last tile may be short: its rows are
// copied, so that kLanes can be read.
OUTBOARD_INLINE const uint8_t* tile_at(const Job& job, size_t stride, int64_t row, Output& out) {
  const std::byte* tile = job.w.data + static_cast<size_t>(row) * stride;
  out.rows = job.row_end - row;
  if (out.rows < kLanes) {
    std::memcpy(job.scratch, tile, static_cast<size_t>(out.rows) * stride);
    std::memset(job.scratch + static_cast<size_t>(out.rows) * stride, 0,
                static_cast<size_t>(kLanes - out.rows) * stride);
    tile = job.scratch;
  }
  return reinterpret_cast<const uint8_t*>(tile);
}

// From the tile of these rows to the one to fetch. Short tiles are fetched into the first-level
// cache, long ones into the second. Of small blocks not the next tile unless it is long: its last
// rows would come too late, for a tile's first step reads all its rows. With large blocks that step
// takes long enough.
template <typename Format>
OUTBOARD_INLINE size_t bytes_ahead(const Job& job, size_t stride, int64_t row) {
  const size_t fit = Format::kGroups > 1 ? 1 : 2 * kFarBytes / (stride * kLanes);
  const int64_t distance = kLanes * (fit < 1 ? 1 : fit > 3 ? 3 : static_cast<int64_t>(fit));
  return row + distance + kLanes <= job.row_end ? static_cast<size_t>(distance) * stride : 0;
}

// With few tokens: calls tile(near, weights, row, out, ahead) for all tiles of the job, where
// `ahead` bytes behind the weights lies the tile to fetch, into the first-level cache if near.
template <typename Format, typename Tile>
OUTBOARD_INLINE void each_tile(const Job& job, size_t stride, Output out, Tile tile) {
  const bool near = stride * kLanes <= kNearBytes;
  for (int64_t row = job.row_begin; row < job.row_end; row += kLanes) {
    const uint8_t* weights = tile_at(job, stride, row, out);
    tile(near, weights, row, out, bytes_ahead<Format>(job, stride, row));
  }
}

template <typename Format>
constexpr size_t stride_of(int64_t columns) {
  return static_cast<size_t>(columns / kGroup / Format::kGroups) * Format::kBytes;
}

template <typename Format, bool kBytes>
void run_packed(const Job& job, Output out) {
  const int64_t groups = job.w.columns / kGroup;
  const int64_t blocks = groups / Format::kGroups;
  const size_t stride = stride_of<Format>(job.w.columns);
  const size_t packed_stride = row_bytes(job.w.columns);

  if (job.tokens <= kFusedTokens) {
    each_tile<Format>(
        job, stride, out,
        [&](bool near, const uint8_t* tile, int64_t row, const Output& to, size_t ahead) {
          const auto kernel =
              near ? fused_tokens<Format, kBytes, true> : fused_tokens<Format, kBytes, false>;
          kernel(tile, stride, blocks, job.packed, packed_stride, job.tokens, row, to, ahead);
        });
    return;
  }

  const size_t panel_groups = static_cast<size_t>(groups);
  using Group = PanelGroup<Format::kHalves>;
  auto* const panel = reinterpret_cast<Group*>(job.scratch + short_tile_bytes(job.w.columns));
  const size_t tile_bytes = panel_groups * sizeof(Group);
  const int64_t tiles =
      tile_bytes * 2 > kPanelBytes ? 1 : static_cast<int64_t>(kPanelBytes / tile_bytes);
  for (int64_t first = job.row_begin; first < job.row_end; first += tiles * kLanes) {
    const int64_t end = first + tiles * kLanes < job.row_end ? first + tiles * kLanes : job.row_end;
    for (int64_t row = first; row < end; row += kLanes) {
      unpack_tile<Format>(tile_at(job, stride, row, out), stride, blocks,
                          bytes_ahead<Format>(job, stride, row),
                          panel + static_cast<size_t>((row - first) / kLanes) * panel_groups);
    }
    for (int token = 0; token < job.tokens;) {
      const int count = next_count<kBytes, Format::kHalves>(job.tokens - token);
      const std::byte* x = job.packed + static_cast<size_t>(token) * packed_stride;
      for (int64_t row = first; row < end;) {
        const int64_t tile = (row - first) / kLanes;
        out.rows = job.row_end - row;
        row +=
            kLanes * panel_tokens<panel_bound(Format::kMost, kBytes), has_minimum(Format::kMost),
                                  kBytes, Format::kHalves, token_tile(kBytes, Format::kHalves)>(
                         panel + static_cast<size_t>(tile) * panel_groups, groups, x, packed_stride,
                         token, count, row, out, (end - first + kLanes - 1) / kLanes - tile);
      }
      token += count;
    }
  }
}

template <typename Format>
void run(const Job& job, const Output& out) {
  job.w.byte_inputs ? run_packed<Format, true>(job, out) : run_packed<Format, false>(job, out);
}

}  // namespace
}  // namespace outboard::devices::cpu
