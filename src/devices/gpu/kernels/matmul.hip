// A matrix times many rows with WMMA. See MatmulArgs and ExpertMatmulArgs. A workgroup makes 128
// rows of the matrix, each of its waves 16 of them, times up to 128 rows of activations, 64 columns
// at a time: every wave turns its own weights into float16 in LDS, activations are shared by all.
#include "devices/gpu/kernels/blocks.h"
#include "devices/gpu/kernels/math.h"

namespace outboard::devices::gpu::kernels {
namespace {

constexpr int kStep = 64;               // columns at a time, two units
constexpr int kStepChunks = kStep / 8;  // of 16 bytes
constexpr int kFragment = 16;           // rows, columns and depth of a WMMA
constexpr int kFragments = kMatmulTokens / kFragment;

// Rows of 64 columns. Chunk c of row r lies at c ^ (r % 8), so that eight lanes that read one chunk
// of eight rows meet different banks.
// 32 KiB, so that two workgroups share a compute unit's 64.
union Tile {
  struct {
    half8 activations[kMatmulTokens][kStepChunks];
    half8 weights[kWaves][kFragment][kStepChunks];
  };
  float factor[kMatmulTokens];  // when all products are done
};

// LDS that other lanes of this wave wrote is seen; LDS serves a wave in order.
DEVICE void wave_sync() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
  __builtin_amdgcn_wave_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}

DEVICE int swizzled(int row, int chunk) { return chunk ^ (row & 7); }

// Row `row` of a fragment, columns [16 * k, 16 * (k + 1)).
DEVICE half16 fragment(const half8 (&rows)[kStepChunks], int row, int k) {
  return __builtin_shufflevector(rows[swizzled(row, 2 * k)], rows[swizzled(row, 2 * k + 1)], 0, 1,
                                 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// Chunks of activations that a thread brings: number thread() + 256 * i.
constexpr int kBrought = kMatmulTokens * kStepChunks / kThreads;

// What a workgroup works on.
struct Work {
  Ptr<const uint16_t> half_rows;  // from the first token on; of experts: all
  int half_stride;
  int tokens;         // at most kMatmulTokens; a multiple of 16, but for experts
  int first_row;      // of the matrix, for this wave
  int base_row;       // the expert's first
  int row[kBrought];  // of half_rows, for each chunk that a thread brings; of experts
};

template <bool experts>
DEVICE void load_activations(const Work& w, int column, half8 (&out)[kBrought]) {
#pragma unroll
  for (int i = 0; i < kBrought; ++i) {
    const int token = (thread() + i * kThreads) / kStepChunks;
    const int at = column + thread() % kStepChunks * 8;
    out[i] = 0;
    if (token >= w.tokens || at >= w.half_stride) continue;
    const int64_t row = experts ? w.row[i] : token;
    out[i] = *reinterpret_cast<Ptr<const half8>>(w.half_rows + row * w.half_stride + at);
  }
}

template <WeightType type, bool experts>
DEVICE void multiply(const Matrix& matrix, const Work& w, Tile& tile, float8 (&sum)[kFragments]) {
  using F = Format<type>;
  const int units = units_of(matrix.columns);
  const int lane_row = lane() % kFragment;
  const int own_unit = lane() / kFragment;
  // Lanes 0 to 15 take a unit of the wave's 16 rows, 16 to 31 the next. Rows and units beyond the
  // matrix repeat its last: nobody wants those rows, and activations are 0 there.
  constexpr UnitBytes bytes = unit_bytes(type);
  const uint32_t row = __builtin_elementwise_min(w.first_row + lane_row, matrix.rows - 1);
  const uint64_t stacked = row + static_cast<uint64_t>(w.base_row);
  const uint64_t first = stacked * units;
  const Row planes = {matrix.codes + first * bytes.codes, matrix.high + first * bytes.high,
                      matrix.scales + stacked * scale_bytes(bytes, units)};
  const bool wanted = w.first_row < matrix.rows;
  const auto load_weights = [&](int u) __attribute__((always_inline)) {
    const uint32_t unit = __builtin_elementwise_min(u + own_unit, units - 1);
    return F(planes, unit, unit % kSuperUnits);
  };
  half8 brought[kBrought];
  load_activations<experts>(w, 0, brought);
  // What the next step multiplies is on its way while this one does; of whole floats there would be
  // too many.
  constexpr bool kAhead = bytes.codes <= 32;
  F weights = load_weights(0);
  for (int u = 0; u < units; u += 2) {
    if (!kAhead && u > 0) weights = load_weights(u);
    barrier();
#pragma unroll
    for (int i = 0; i < kBrought; ++i) {
      const int token = (thread() + i * kThreads) / kStepChunks;
      tile.activations[token][swizzled(token, thread() % kStepChunks)] = brought[i];
    }
    half8 part[4];
    dequantize(weights, part);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      tile.weights[wave()][lane_row][swizzled(lane_row, 4 * own_unit + i)] = part[i];
    barrier();
    load_activations<experts>(w, (u + 2) * kUnit, brought);
    if (kAhead) weights = load_weights(u + 2);
    if (!wanted) continue;
    half16 b[kStep / kFragment];
#pragma unroll
    for (int k = 0; k < kStep / kFragment; ++k)
      b[k] = fragment(tile.weights[wave()][lane_row], lane_row, k);
#pragma unroll
    for (int f = 0; f < kFragments; ++f) {
      if (f * kFragment >= w.tokens) continue;
#pragma unroll
      for (int k = 0; k < kStep / kFragment; ++k) {
        const half16 a = fragment(tile.activations[f * kFragment + lane_row], lane_row, k);
        sum[f] = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(a, b[k], sum[f]);
      }
    }
  }
}

// A workgroup's share: row_tile of all parts' rows, times the tokens of w, whose outputs start at
// row first_out; factor: of token thread().
template <bool experts>
DEVICE void matmul(const MatmulArgs& a, Tile& tile, int row_tile, Work w, int first_out,
                   float factor) {
  int number = 0;
  for (int tiles;
       number + 1 < a.part_count && row_tile >= (tiles = matmul_tiles_of(a.parts[number]));
       ++number)
    row_tile -= tiles;
  const Part& part = a.parts[number];
  w.first_row = row_tile * kMatmulRows + wave() * kFragment;
  w.base_row = w.base_row * part.expert_rows + part.expert_first;

  float8 sum[kFragments] = {};
  with_format(static_cast<WeightType>(part.matrix.type),
              [&]<WeightType type>() { multiply<type, experts>(part.matrix, w, tile, sum); });

  barrier();
  if (thread() < kMatmulTokens) tile.factor[thread()] = factor;
  barrier();
  // Lane l has row l % 16 of the wave's rows; number i of a sum is token 2 i + l / 16.
  const int row = w.first_row + lane() % kFragment;
  if (row >= part.matrix.rows) return;
  const float bias = part.bias != nullptr ? part.bias[w.base_row + row] : 0;
#pragma unroll
  for (int f = 0; f < kFragments; ++f) {
    if (f * kFragment >= w.tokens) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int token = f * kFragment + 2 * i + lane() / kFragment;
      if (experts && token >= w.tokens) continue;
      const Ptr<float> out = part.out + static_cast<int64_t>(first_out + token) * part.stride + row;
      float v = sum[f][i] * tile.factor[token] + bias;
      if (part.accumulate) v += *out;
      if (a.softcap != 0) v = a.softcap * tanh(v / a.softcap);
      *out = v;
    }
  }
}

// Of few rows of activations: a workgroup makes kFewRows rows of the matrix, of which each wave
// takes 16 and a share of their columns. Weights are read once, and so fast as memory gives them.
constexpr int kFewRowGroups = kFewRows / kFragment;
constexpr int kFewShares = kWaves / kFewRowGroups;

union FewTile {
  struct {  // each wave's own
    half8 weights[kWaves][kFragment][kStepChunks];
    half8 activations[kWaves][kFewTokens][kStepChunks];
  };
  float4 sums[kFewShares - 1][kFewRowGroups][2][32];
};

template <WeightType type>
DEVICE void multiply_few(const MatmulArgs& a, const Matrix& matrix, FewTile& tile, int first_row,
                         int share, float8& sum) {
  using F = Format<type>;
  constexpr UnitBytes bytes = unit_bytes(type);
  const int units = units_of(matrix.columns);
  const int steps = static_cast<uint32_t>((units + 1) / 2 + kFewShares - 1) / kFewShares;
  const int from = share * steps * 2;
  const int to = __builtin_elementwise_min(from + steps * 2, units);
  const int lane_row = lane() % kFragment;
  const int own_unit = lane() / kFragment;
  const uint32_t row = __builtin_elementwise_min(first_row + lane_row, matrix.rows - 1);
  const uint64_t first = static_cast<uint64_t>(row) * units;
  const Row planes = {matrix.codes + first * bytes.codes, matrix.high + first * bytes.high,
                      matrix.scales + static_cast<uint64_t>(row) * scale_bytes(bytes, units)};
  const auto load_weights = [&](int u) __attribute__((always_inline)) {
    const uint32_t unit = __builtin_elementwise_min(u + own_unit, units - 1);
    return F(planes, unit, unit % kSuperUnits);
  };
  // Eight lanes bring a row's columns of a step: whole lines, as rows that lie a power of two apart
  // would push each other out of the cache. Rows that are not there repeat the last one's: nobody
  // wants what comes of them.
  constexpr int kEach = kFewTokens * kStepChunks / 32;
  const int own_token = lane() / kStepChunks;
  const int own_chunk = lane() % kStepChunks;
  const auto load_activations = [&](int u, half8(&out)[kEach]) __attribute__((always_inline)) {
    const int column = u * kUnit + own_chunk * 8;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (i * (kFewTokens / kEach) >= a.m) break;
      const int token = __builtin_elementwise_min(i * (kFewTokens / kEach) + own_token, a.m - 1);
      out[i] = 0;
      if (column < a.half_stride)
        out[i] = *reinterpret_cast<Ptr<const half8>>(a.half + token * a.half_stride + column);
    }
  };
  if (from >= to) return;
  F weights = load_weights(from);
  half8 brought[kEach] = {};
  load_activations(from, brought);
  auto& own = tile.weights[wave()];
  auto& rows = tile.activations[wave()];
  for (int u = from; u < to; u += 2) {
    half8 part[4];
    dequantize(weights, part);
#pragma unroll
    for (int i = 0; i < 4; ++i) own[lane_row][swizzled(lane_row, 4 * own_unit + i)] = part[i];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int token = i * (kFewTokens / kEach) + own_token;
      rows[token][swizzled(token, own_chunk)] = brought[i];
    }
    // What the next step multiplies is on its way while this one does.
    if (u + 2 < to) {
      weights = load_weights(u + 2);
      load_activations(u + 2, brought);
    }
    wave_sync();
#pragma unroll
    for (int k = 0; k < kStep / kFragment; ++k)
      sum = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(fragment(rows[lane_row], lane_row, k),
                                                       fragment(own[lane_row], lane_row, k), sum);
    wave_sync();
  }
}

}  // namespace

// As matmul, of up to kFewTokens rows of activations.
KERNEL EIGHT_WAVES void matmul_few(MatmulArgs a) {
  static LDS FewTile tile;
  int row_tile = workgroup_x();
  int number = 0;
  for (int tiles; number + 1 < a.part_count && row_tile >= (tiles = few_tiles_of(a.parts[number]));
       ++number)
    row_tile -= tiles;
  const Part& part = a.parts[number];
  const int group = wave() % kFewRowGroups;
  const int share = wave() / kFewRowGroups;
  const int first_row = row_tile * kFewRows + group * kFragment;
  float8 sum = {};
  with_format(static_cast<WeightType>(part.matrix.type), [&]<WeightType type>() {
    multiply_few<type>(a, part.matrix, tile, first_row, share, sum);
  });
  barrier();
  if (share > 0) {
    tile.sums[share - 1][group][0][lane()] = float4{sum[0], sum[1], sum[2], sum[3]};
    tile.sums[share - 1][group][1][lane()] = float4{sum[4], sum[5], sum[6], sum[7]};
  }
  barrier();
  if (share > 0) return;
#pragma unroll
  for (int other = 0; other < kFewShares - 1; ++other)
#pragma unroll
    for (int i = 0; i < 8; ++i) sum[i] += tile.sums[other][group][i / 4][lane()][i % 4];
  // Lane l has row l % 16 of the wave's rows; number i of a sum is token 2 i + l / 16.
  const int row = first_row + lane() % kFragment;
  if (row >= part.matrix.rows) return;
  const float bias = part.bias != nullptr ? part.bias[row] : 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int token = 2 * i + lane() / kFragment;
    if (token >= a.m) continue;
    const Ptr<float> out = part.out + static_cast<int64_t>(token) * part.stride + row;
    float v = sum[i] * a.factor[token] + bias;
    if (part.accumulate) v += *out;
    if (a.softcap != 0) v = a.softcap * tanh(v / a.softcap);
    *out = v;
  }
}

KERNEL EIGHT_WAVES void matmul(MatmulArgs a) {
  static LDS Tile tile;
  const int tile_tokens = matmul_tokens(matmul_row_tiles(a), a.m);
  // Workgroups with the same rows of the matrix come one after the other, so that all but the first
  // find them in the cache.
  const uint32_t token_tiles = static_cast<uint32_t>(a.m + tile_tokens - 1) / tile_tokens;
  const int row_tile = static_cast<uint32_t>(workgroup_x()) / token_tiles;
  const int first_token = (workgroup_x() - row_tile * token_tiles) * tile_tokens;
  Work w{};
  w.half_stride = a.half_stride;
  w.half_rows = a.half + static_cast<int64_t>(first_token) * a.half_stride;
  w.tokens = __builtin_elementwise_min(a.m - first_token, tile_tokens);
  const float factor = thread() < w.tokens ? a.factor[first_token + thread()] : 0;
  matmul<false>(a, tile, row_tile, w, first_token, factor);
}

KERNEL EIGHT_WAVES void expert_matmul(ExpertMatmulArgs a) {
  static LDS Tile tile;
  // Tiles of one expert are neighbours, too.
  const int row_tile = static_cast<uint32_t>(workgroup_x()) / static_cast<uint32_t>(a.max_tiles);
  const Ptr<const ExpertTile> mine = a.tiles + (workgroup_x() - row_tile * a.max_tiles);
  const int count = mine->count;
  if (count == 0) return;
  const int first = mine->first;
  Work w{};
  w.half_stride = a.matmul.half_stride;
  w.half_rows = a.matmul.half;
  w.tokens = count;
  w.base_row = mine->expert;
  const auto row_of_token = [&](int token) {
    if (token >= count) return 0;
    return a.rows != nullptr ? a.rows[first + token] : first + token;
  };
#pragma unroll
  for (int i = 0; i < kBrought; ++i)
    w.row[i] = row_of_token((thread() + i * kThreads) / kStepChunks);
  const float factor = thread() < count ? a.matmul.factor[row_of_token(thread())] : 0;
  matmul<true>(a.matmul, tile, row_tile, w, first, factor);
}

}  // namespace outboard::devices::gpu::kernels
