// How weights lie in VRAM, for both sides: what the kernels read, `repack` writes and planes.cpp
// measures.
//
// A row is cut into units of 32 consecutive weights (the last is filled up with zeros), the share
// of one lane. A unit has its codes in one plane, bits beyond the fourth (Q3_K: second) in another,
// scales in a third, together as many bytes as in the file; rows follow each other without gaps,
// so that a lane's codes are loads of 16 (Q2_K, Q3_K: 8) aligned bytes, side by side in a wave.
//
// Within a unit, weight e = 16 g + 2 p + i belongs to group g (0, 1), pair p (0 to 7), half i: a
// register holds the pair's two codes in its two halves, ready to become two float16 numbers by
// one AND-OR. Where a code's bits lie:
//   4 bits     word p / 2, from bit 16 i + 8 (p % 2) + 4 g
//   fifth bit  bit 16 i + p % 4 + 4 g + 8 (p / 4)
//   bits 4, 5  word p / 4, from bit 16 i + 2 (p % 2) + 8 (p / 2 % 2) + 4 g
//   2 bits     word p / 4, from bit 16 i + 4 (p % 4) + 2 g
//   third bit  bit 16 i + p % 2 + 4 (p / 2) + 2 g
//   8 bits     byte e, 128 added
#pragma once

#include "devices/gpu/kernels/arguments.h"
#include "hardware/amd/navi31/die.h"

namespace outboard::devices::gpu::kernels {

// GGML's numbers, as formats::TensorType.
enum class WeightType : int32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  IQ4_NL = 20,
  IQ4_XS = 23,
  BF16 = 30,
  MXFP4 = 39,
};

// Work is cut for the whole chip; on a card with less of it the same cuts are right, if not the
// best.
constexpr auto kComputeUnits = static_cast<int32_t>(hardware::amd::navi31::die::kUnits);

constexpr int32_t kUnit = 32;       // weights
constexpr int32_t kSuperUnits = 8;  // units in a block of 256

// Bytes of one unit in each plane; `super_scales` are bytes of a block of 256.
struct UnitBytes {
  int32_t codes = 0;
  int32_t high = 0;
  int32_t scales = 0;
  int32_t super_scales = 0;
};

// All zero: a type that has no planes.
constexpr UnitBytes unit_bytes(WeightType type) {
  switch (type) {
    case WeightType::F32:
      return {128, 0, 0, 0};
    case WeightType::F16:
    case WeightType::BF16:
      return {64, 0, 0, 0};
    case WeightType::Q8_0:
      return {32, 0, 2, 0};  // d
    case WeightType::Q4_0:
    case WeightType::IQ4_NL:
      return {16, 0, 2, 0};  // d
    case WeightType::MXFP4:
      return {16, 0, 1, 0};  // e
    case WeightType::Q4_1:
      return {16, 0, 4, 0};  // d, m
    case WeightType::Q5_0:
      return {16, 4, 2, 0};  // d
    case WeightType::Q5_1:
      return {16, 4, 4, 0};  // d, m
    // d, dmin; then for each unit 6 bits of scale and 6 of minimum
    case WeightType::Q4_K:
      return {16, 0, 0, 16};
    case WeightType::Q5_K:
      return {16, 4, 0, 16};
    // for each group 8 bits of scale, 128 added; then d
    case WeightType::Q6_K:
      return {16, 8, 0, 18};
    // d, dmin; then for each group 4 bits of scale and 4 of minimum
    case WeightType::Q2_K:
      return {8, 0, 0, 20};
    // for each group 6 bits of scale, 32 added; then d
    case WeightType::Q3_K:
      return {8, 4, 0, 14};
    // for each unit 6 bits of scale, 32 added; then d
    case WeightType::IQ4_XS:
      return {16, 0, 0, 8};
  }
  return {};
}

constexpr int32_t units_of(int32_t columns) {
  return static_cast<int32_t>(static_cast<uint32_t>(columns + kUnit - 1) / kUnit);
}
// Of a row of so many units.
constexpr uint32_t scale_bytes(const UnitBytes& unit, uint32_t units) {
  return units * unit.scales + units / kSuperUnits * unit.super_scales;
}

// Units of the input rows that a workgroup of `matvec` has in LDS, of all rows together.
constexpr int32_t kTileUnits = 448;
constexpr bool matvec_holds(int32_t columns, int32_t rows) {
  return columns <= kTileUnits / rows / 32 * 32 * kUnit;
}
// Of `matvec_1_narrow`: so few that a compute unit has room for four workgroups.
constexpr int32_t kNarrowUnits = 192;

// Pairs of rows that one wave of `matvec` works through, of all that the parts have, where a
// compute unit has room for so many workgroups: as many as are there at once, for each builds the
// input rows anew, and those that begin when others have ended leave the card half empty; and of
// narrow matrices, where the input is most of the work, enough that it pays, unless compute units
// would have nothing to do.
constexpr int32_t kWaves = kThreads / 32;
constexpr int32_t matvec_pairs_a_wave(int32_t pairs, int32_t columns, int32_t workgroups_a_unit) {
  const auto all = static_cast<uint32_t>(kWaves * kComputeUnits * workgroups_a_unit);
  const auto turns = static_cast<int32_t>((static_cast<uint32_t>(pairs) + all - 1) / all);
  int32_t least = columns >= 4096 ? 1 : columns >= 2048 ? 2 : 4;
  if (columns >= 2048 && pairs < 2 * kWaves * kComputeUnits) least = 1;
  return turns < least ? least : turns;
}
// Of a part; of a gate, where a pair is a row of each part, of the first.
constexpr int32_t matvec_pairs(const MatvecArgs& a, int32_t part) {
  return (a.parts[part].matrix.rows + 1 - a.gated) >> (1 - a.gated);
}

// A workgroup of `matmul` makes 128 rows of a matrix times so many rows of activations: 128, or
// fewer where there would be too few workgroups for the compute units.
constexpr int32_t kMatmulRows = 128;
constexpr int32_t kMatmulTokens = 128;
constexpr int32_t matmul_tiles_of(const Part& part) {
  return static_cast<int32_t>(static_cast<uint32_t>(part.matrix.rows + kMatmulRows - 1) /
                              kMatmulRows);
}
// Parts from part_count on have no rows.
constexpr int32_t matmul_row_tiles(const MatmulArgs& a) {
  return matmul_tiles_of(a.parts[0]) + matmul_tiles_of(a.parts[1]) + matmul_tiles_of(a.parts[2]) +
         matmul_tiles_of(a.parts[3]);
}
constexpr int32_t matmul_tokens(int32_t row_tiles, int32_t m) {
  int32_t tokens = kMatmulTokens;
  while (tokens > 32 && row_tiles * ((m + tokens - 1) / tokens) < kComputeUnits) tokens /= 2;
  return tokens;
}

// Pairs of output rows that one wave of `expert_down` works through.
constexpr int32_t expert_down_pairs_a_wave(const ExpertDownArgs& a) {
  return matvec_pairs_a_wave((a.matrix.rows + 1) / 2, a.used * a.matrix.columns, 4);
}
// A workgroup of `matmul_few` makes so many rows of a matrix, for up to kFewTokens rows of
// activations.
constexpr int32_t kFewRows = 32;
constexpr int32_t kFewTokens = 16;
constexpr int32_t few_tiles_of(const Part& part) {
  return static_cast<int32_t>(static_cast<uint32_t>(part.matrix.rows + kFewRows - 1) / kFewRows);
}
// Slots in a tile of `expert_matmul`: as many as an expert has on average.
constexpr int32_t expert_tile_slots(int32_t slots, int32_t experts) {
  int32_t n = 16;
  while (n < kMatmulTokens && n * experts < slots) n *= 2;
  return n;
}
constexpr int32_t expert_max_tiles(int32_t slots, int32_t experts) {
  const int32_t n = expert_tile_slots(slots, experts);
  return (slots + n - 1) / n + (experts < slots ? experts : slots);
}

// Of `repack`, for so many units: some for each thread.
constexpr int32_t repack_workgroups(int64_t units) {
  const int64_t n = (units + 4 * kThreads - 1) / (4 * kThreads);
  constexpr int32_t kMost = 16 * kComputeUnits;
  return static_cast<int32_t>(n < kMost ? n : kMost);
}

}  // namespace outboard::devices::gpu::kernels
