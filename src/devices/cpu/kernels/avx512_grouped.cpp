// Linear layers on block formats with AVX-512 VNNI.
//
// Activations are quantized to 16 bits for each group of 32: x = scale * (256 * hi + lo) with
// signed bytes hi and lo, so an error is below max|x| / 65000 of its group: 8 bits alone would show
// in the text of small models. Weights are unsigned bytes with a float scale and minimum for each
// group (avx512_formats.h). So
//   sum of w * x = scale_w * scale_x * (256 * sum(u * hi) + sum(u * lo)) + minimum * sum(x)
// where the integer part is exact, and the float part adds the groups in order of the columns. With
// 8-bit activations (Packing::kGroupedBytes) there is no lo, and x = scale * hi. Rows lie in lanes.
// Hence an output is the same bits whatever the number of tokens and the split of rows.
#include <immintrin.h>

#include <cstring>

#include "devices/cpu/kernels/avx512_formats.h"
#include "devices/cpu/kernels/tables.h"

namespace outboard::cpu {
namespace {

using formats::TensorType;

constexpr int kGroup = 32;       // columns that share a scale
constexpr int kTokenTile = 12;   // tokens whose sums fit in registers
constexpr int kFusedTokens = 4;  // up to here weights go from the file straight to the sums
constexpr size_t kNearTileBytes = 12 << 10;
constexpr size_t kPanelBytes = 256 << 10;  // unpacked weights that stay in the second-level cache

// A group of packed activations.
struct PackedGroup {
  int8_t hi[kGroup];
  int8_t lo[kGroup];
  float scale;
  float sum[2];  // of x over each half of the group
  float total;   // sum[0] + sum[1]
};
static_assert(sizeof(PackedGroup) == 80);

// A group of 16 unpacked rows.
template <int kHalves>
struct alignas(64) PanelGroup {
  Weights weights;
  Scales<kHalves> scales;
};

// Scratch: a copy of a short tile, then panels.
size_t short_tile_bytes(int64_t columns) {
  constexpr size_t kMostBytesOfGroup = 34;  // Q8_0
  return (static_cast<size_t>(columns / kGroup) * kMostBytesOfGroup * kRowTile + 63) / 64 * 64;
}
size_t panel_bytes(int64_t columns) {
  const size_t tile = static_cast<size_t>(columns / kGroup) * sizeof(PanelGroup<2>);
  return tile > kPanelBytes ? tile : kPanelBytes;
}

size_t row_bytes(int64_t columns) {
  return (static_cast<size_t>(columns / kGroup) * sizeof(PackedGroup) + 63) / 64 * 64;
}

OUTBOARD_INLINE __m512i four_columns(const int8_t* at) {
  int32_t value;
  std::memcpy(&value, at, sizeof(value));
  return _mm512_set1_epi32(value);
}

// The integer part of `kColumns` registers of columns for T tokens.
template <bool kBytes, int T, int kColumns>
OUTBOARD_INLINE void integer_sums(const __m512i* weights, const std::byte* packed, size_t stride,
                                  size_t offset, __m512i (&sums)[T]) {
  const std::byte* hi = packed + offsetof(PackedGroup, hi) + offset;
  const std::byte* lo = packed + offsetof(PackedGroup, lo) + offset;
  OUTBOARD_UNROLL
  for (int t = 0; t < T; ++t) sums[t] = _mm512_setzero_si512();
  OUTBOARD_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    const __m512i w = weights[c];
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) {
      sums[t] = _mm512_dpbusd_epi32(
          sums[t], w,
          four_columns(reinterpret_cast<const int8_t*>(hi + static_cast<size_t>(t) * stride) +
                       4 * c));
    }
  }
  if constexpr (kBytes) return;
  OUTBOARD_UNROLL
  for (int t = 0; t < T; ++t) sums[t] = _mm512_slli_epi32(sums[t], 8);
  OUTBOARD_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    const __m512i w = weights[c];
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) {
      sums[t] = _mm512_dpbusd_epi32(
          sums[t], w,
          four_columns(reinterpret_cast<const int8_t*>(lo + static_cast<size_t>(t) * stride) +
                       4 * c));
    }
  }
}

OUTBOARD_INLINE __m512 packed_float(const std::byte* at) {
  float value;
  std::memcpy(&value, at, sizeof(value));
  return _mm512_set1_ps(value);
}

// sums[t] += one group of 16 rows times token t; packed is the group of the first token.
template <bool kBytes, int T, int kHalves>
OUTBOARD_INLINE void add_group(const Weights& w, const Scales<kHalves>& s, const std::byte* packed,
                               size_t stride, __m512 (&sums)[T]) {
  OUTBOARD_UNROLL
  for (int half = 0; half < kHalves; ++half) {
    constexpr int kColumns = 8 / kHalves;
    __m512i integers[T];
    integer_sums<kBytes, T, kColumns>(w.column + half * kColumns, packed, stride,
                                      static_cast<size_t>(half) * 4 * kColumns, integers);
    const size_t sum_at = kHalves == 1 ? offsetof(PackedGroup, total)
                                       : offsetof(PackedGroup, sum) + sizeof(float) * half;
    OUTBOARD_UNROLL
    for (int t = 0; t < T; ++t) {
      const std::byte* group = packed + static_cast<size_t>(t) * stride;
      const __m512 scale =
          _mm512_mul_ps(s.scale[half], packed_float(group + offsetof(PackedGroup, scale)));
      sums[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(integers[t]), scale, sums[t]);
      sums[t] = _mm512_fmadd_ps(s.minimum[half], packed_float(group + sum_at), sums[t]);
    }
  }
}

// Where the sums of a tile go.
struct Output {
  float* y;
  int64_t y_stride;
  const float* bias;  // may be null
  bool accumulate;
  __mmask16 rows;  // the rows that exist

  OUTBOARD_INLINE void put(int64_t token, int64_t row, __m512 sum) const {
    float* at = y + token * y_stride + row;
    if (bias != nullptr) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(rows, bias + row));
    if (accumulate) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(rows, at), sum);
    _mm512_mask_storeu_ps(at, rows, sum);
  }
};

// --- few tokens: straight from the file ---

// Fetches part `index` of `parts` of a tile's next block.
template <size_t kBytes, size_t kParts, bool kNear>
OUTBOARD_INLINE void prefetch(const uint8_t* block, size_t index) {
  constexpr size_t kLines = (kBytes * kRowTile / kParts + 63) / 64;
  const auto* at = reinterpret_cast<const char*>(block) + index * (kBytes * kRowTile / kParts);
  OUTBOARD_UNROLL
  for (size_t line = 0; line < kLines; ++line) {
    _mm_prefetch(at + 64 * line, kNear ? _MM_HINT_T0 : _MM_HINT_T1);
  }
}

template <typename Format, bool kBytes, int T, bool kNear>
void fused_tile(const uint8_t* tile, size_t stride, int64_t blocks, const std::byte* packed,
                size_t packed_stride, int64_t row, const Output& out, size_t ahead) {
  __m512 sums[T];
  OUTBOARD_UNROLL
  for (int t = 0; t < T; ++t) sums[t] = _mm512_setzero_ps();
  const uint8_t* next = tile + ahead;  // the tile's bytes lie together; fetch the next tile's
  for (int64_t b = 0; b < blocks; ++b) {
    const std::byte* x = packed + static_cast<size_t>(b * Format::kGroups) * sizeof(PackedGroup);
    Format::for_each_group(
        tile + static_cast<size_t>(b) * Format::kBytes, stride,
        [&](int group, const Weights& w, const Scales<Format::kHalves>& s)
            __attribute__((always_inline)) {
              prefetch<Format::kBytes, Format::kGroups, kNear>(next, static_cast<size_t>(group));
              add_group<kBytes, T>(w, s, x + static_cast<size_t>(group) * sizeof(PackedGroup),
                                   packed_stride, sums);
            });
    next += Format::kBytes * kRowTile;
  }
  OUTBOARD_UNROLL
  for (int t = 0; t < T; ++t) out.put(t, row, sums[t]);
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
void unpack_tile(const uint8_t* tile, size_t stride, int64_t blocks,
                 PanelGroup<Format::kHalves>* panel) {
  for (int64_t b = 0; b < blocks; ++b) {
    Format::for_each_group(tile + static_cast<size_t>(b) * Format::kBytes, stride,
                           [&](int group, const Weights& w, const Scales<Format::kHalves>& s)
                               __attribute__((always_inline)) {
                                 panel[group].weights = w;
                                 panel[group].scales = s;
                               });
    panel += Format::kGroups;
  }
}

template <bool kBytes, int kHalves, int T>
void panel_tile(const PanelGroup<kHalves>* panel, int64_t groups, const std::byte* packed,
                size_t packed_stride, int64_t token, int64_t row, const Output& out) {
  __m512 sums[T];
  OUTBOARD_UNROLL
  for (int t = 0; t < T; ++t) sums[t] = _mm512_setzero_ps();
  for (int64_t g = 0; g < groups; ++g) {
    add_group<kBytes, T>(panel[g].weights, panel[g].scales, packed, packed_stride, sums);
    packed += sizeof(PackedGroup);
  }
  OUTBOARD_UNROLL
  for (int t = 0; t < T; ++t) out.put(token + t, row, sums[t]);
}

template <bool kBytes, int kHalves>
void panel_tokens(const PanelGroup<kHalves>* panel, int64_t groups, const std::byte* packed,
                  size_t stride, int64_t token, int count, int64_t row, const Output& out) {
  switch (count) {
    case 12:
      return panel_tile<kBytes, kHalves, 12>(panel, groups, packed, stride, token, row, out);
    case 8:
      return panel_tile<kBytes, kHalves, 8>(panel, groups, packed, stride, token, row, out);
    case 6:
      return panel_tile<kBytes, kHalves, 6>(panel, groups, packed, stride, token, row, out);
    case 4:
      return panel_tile<kBytes, kHalves, 4>(panel, groups, packed, stride, token, row, out);
    case 2:
      return panel_tile<kBytes, kHalves, 2>(panel, groups, packed, stride, token, row, out);
    default:
      return panel_tile<kBytes, kHalves, 1>(panel, groups, packed, stride, token, row, out);
  }
}

int next_count(int left) {
  if (left >= kTokenTile) return kTokenTile;
  if (left >= 8) return 8;
  if (left >= 6) return 6;
  if (left >= 4) return 4;
  return left >= 2 ? 2 : 1;
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

template <typename Format, bool kBytes>
void run_packed(const Job& job, Output out) {
  const int64_t groups = job.w.columns / kGroup;
  const int64_t blocks = groups / Format::kGroups;
  const size_t stride = static_cast<size_t>(blocks) * Format::kBytes;
  const size_t packed_stride = row_bytes(job.w.columns);
  const size_t panel_groups = static_cast<size_t>(groups);
  using Group = PanelGroup<Format::kHalves>;

  // The last tile may be short: its rows are copied, so that sixteen can be read.
  std::byte* const short_tile = job.scratch;
  auto* const panel = reinterpret_cast<Group*>(job.scratch + short_tile_bytes(job.w.columns));
  const auto tile_at = [&](int64_t row) {
    const std::byte* tile = job.w.data + static_cast<size_t>(row) * stride;
    const int64_t rows = job.row_end - row;
    out.rows = static_cast<__mmask16>(rows >= kRowTile ? 0xFFFF : (1 << rows) - 1);
    if (rows < kRowTile) {
      std::memcpy(short_tile, tile, static_cast<size_t>(rows) * stride);
      std::memset(short_tile + static_cast<size_t>(rows) * stride, 0,
                  static_cast<size_t>(kRowTile - rows) * stride);
      tile = short_tile;
    }
    return reinterpret_cast<const uint8_t*>(tile);
  };

  if (job.tokens <= kFusedTokens) {
    for (int64_t row = job.row_begin; row < job.row_end; row += kRowTile) {
      const uint8_t* tile = tile_at(row);
      const size_t ahead = row + 2 * kRowTile <= job.row_end ? kRowTile * stride : 0;
      // Two tiles in the first-level cache, or the next one only in the second.
      const auto kernel = stride * kRowTile <= kNearTileBytes ? fused_tokens<Format, kBytes, true>
                                                              : fused_tokens<Format, kBytes, false>;
      kernel(tile, stride, blocks, job.packed, packed_stride, job.tokens, row, out, ahead);
    }
    return;
  }

  const size_t tile_bytes = panel_groups * sizeof(Group);
  const int64_t tiles =
      tile_bytes * 2 > kPanelBytes ? 1 : static_cast<int64_t>(kPanelBytes / tile_bytes);
  for (int64_t first = job.row_begin; first < job.row_end; first += tiles * kRowTile) {
    const int64_t end =
        first + tiles * kRowTile < job.row_end ? first + tiles * kRowTile : job.row_end;
    for (int64_t row = first; row < end; row += kRowTile) {
      unpack_tile<Format>(tile_at(row), stride, blocks,
                          panel + static_cast<size_t>((row - first) / kRowTile) * panel_groups);
    }
    for (int token = 0; token < job.tokens;) {
      const int count = next_count(job.tokens - token);
      const std::byte* x = job.packed + static_cast<size_t>(token) * packed_stride;
      for (int64_t row = first; row < end; row += kRowTile) {
        const int64_t rows = job.row_end - row;
        out.rows = static_cast<__mmask16>(rows >= kRowTile ? 0xFFFF : (1 << rows) - 1);
        panel_tokens<kBytes, Format::kHalves>(
            panel + static_cast<size_t>((row - first) / kRowTile) * panel_groups, groups, x,
            packed_stride, token, count, row, out);
      }
      token += count;
    }
  }
}

template <typename Format>
void run(const Job& job, const Output& out) {
  job.w.byte_inputs ? run_packed<Format, true>(job, out) : run_packed<Format, false>(job, out);
}

// --- packing ---

template <bool kBytes>
void pack_group(const float* x, std::byte* at) {
  const __m512 x0 = _mm512_loadu_ps(x);
  const __m512 x1 = _mm512_loadu_ps(x + 16);
  // Comparing the bits of absolute values as integers lets NaN and infinity win.
  const __m512i most = _mm512_max_epu32(_mm512_castps_si512(_mm512_abs_ps(x0)),
                                        _mm512_castps_si512(_mm512_abs_ps(x1)));
  const float largest = _mm_cvtss_f32(
      _mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(_mm512_reduce_max_epu32(most)))));
  constexpr float kMost = kBytes ? 127 : 32639;  // 127 * 256 + 127
  PackedGroup group;
  // Too small to divide by: as good as zero beside any other term.
  const float inverse = largest > 1e-30F ? kMost / largest : 0.0F;
  group.scale = largest > 1e-30F || !(largest >= 0) ? largest / kMost : 0.0F;
  const __m512i q[2] = {_mm512_cvtps_epi32(_mm512_mul_ps(x0, _mm512_set1_ps(inverse))),
                        _mm512_cvtps_epi32(_mm512_mul_ps(x1, _mm512_set1_ps(inverse)))};
  for (int i = 0; i < 2; ++i) {
    const __m512i hi =
        kBytes ? q[i] : _mm512_srai_epi32(_mm512_add_epi32(q[i], _mm512_set1_epi32(128)), 8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(group.hi + 16 * i), _mm512_cvtepi32_epi8(hi));
    if constexpr (!kBytes) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(group.lo + 16 * i),
                       _mm512_cvtepi32_epi8(q[i]));  // q - 256 * hi, of which the low byte is q's
    }
    group.sum[i] = static_cast<float>(_mm512_reduce_add_epi32(q[i])) * group.scale;
  }
  group.total = group.sum[0] + group.sum[1];
  std::memcpy(at, &group, sizeof(group));
}

}  // namespace

size_t avx512_grouped_row_bytes(int64_t columns) { return row_bytes(columns); }

size_t avx512_grouped_scratch_bytes(int64_t max_columns) {
  return short_tile_bytes(max_columns) + panel_bytes(max_columns);
}

void avx512_grouped_pack(bool bytes, const float* x, int64_t x_stride, int tokens, int64_t columns,
                         std::byte* out) {
  const auto pack = bytes ? pack_group<true> : pack_group<false>;
  for (int t = 0; t < tokens; ++t) {
    for (int64_t g = 0; g < columns / kGroup; ++g) {
      pack(x + t * x_stride + g * kGroup, out + static_cast<size_t>(g) * sizeof(PackedGroup));
    }
    out += row_bytes(columns);
  }
}

void avx512_grouped_linear(const Matrix& w, const std::byte* packed, int tokens, float* y,
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
    default:  // packing_for() sends all others to the float kernels
      return;
  }
}

}  // namespace outboard::cpu
