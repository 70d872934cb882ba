#include "devices/gpu/kernels/planes.h"

#include <algorithm>
#include <limits>

#include "devices/gpu/kernels/plane_layout.h"
#include "support/error.h"

namespace outboard::devices::gpu::kernels {
namespace {

using formats::TensorType;

#define OUTBOARD_SAME(TYPE) \
  static_assert(static_cast<uint32_t>(WeightType::TYPE) == static_cast<uint32_t>(TensorType::TYPE))
OUTBOARD_SAME(F32);
OUTBOARD_SAME(F16);
OUTBOARD_SAME(BF16);
OUTBOARD_SAME(Q4_0);
OUTBOARD_SAME(Q4_1);
OUTBOARD_SAME(Q5_0);
OUTBOARD_SAME(Q5_1);
OUTBOARD_SAME(Q8_0);
OUTBOARD_SAME(Q2_K);
OUTBOARD_SAME(Q3_K);
OUTBOARD_SAME(Q4_K);
OUTBOARD_SAME(Q5_K);
OUTBOARD_SAME(Q6_K);
OUTBOARD_SAME(IQ4_NL);
OUTBOARD_SAME(IQ4_XS);
OUTBOARD_SAME(MXFP4);
#undef OUTBOARD_SAME

UnitBytes bytes_of(TensorType type) {
  return unit_bytes(static_cast<WeightType>(static_cast<int32_t>(type)));
}

bool is_narrow(const Input& in) { return in.width <= kNarrowUnits * kUnit; }

size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

bool supported(TensorType type) { return bytes_of(type).codes > 0; }

Planes planes(TensorType type, int64_t rows, int64_t columns) {
  const formats::TypeInfo& info = formats::type_info(type);
  if (!supported(type)) fail("the card's kernels do not read {} weights", info.name);
  if (rows < 1 || columns < 1 || columns % info.block_elements != 0)
    fail("a matrix of {} x {} {} weights has no whole blocks of {}", rows, columns, info.name,
         info.block_elements);
  const UnitBytes unit = bytes_of(type);
  const int32_t units = units_of(static_cast<int32_t>(columns));
  const auto r = static_cast<size_t>(rows);
  const auto u = static_cast<size_t>(units);
  Planes p;
  p.high = aligned(r * u * static_cast<size_t>(unit.codes));
  p.scales = aligned(p.high + r * u * static_cast<size_t>(unit.high));
  p.bytes = aligned(p.scales + r * scale_bytes(unit, static_cast<uint32_t>(units)));
  return p;
}

Matrix matrix(TensorType type, int64_t rows, int64_t columns, uint64_t address) {
  const Planes p = planes(type, rows, columns);
  Matrix m;
  m.codes = {address};
  m.high = {address + p.high};
  m.scales = {address + p.scales};
  m.type = static_cast<int32_t>(type);
  m.rows = static_cast<int32_t>(rows);
  m.columns = static_cast<int32_t>(columns);
  return m;
}

bool is_plain(const Input& in) {
  const bool norm = in.norm.kind == NormKind::kNone ||
                    (in.norm.kind == NormKind::kRms && in.norm.weight.address != 0);
  return in.kind == InputKind::kRows && in.add.address == 0 && in.sum.address == 0 &&
         in.normed.address == 0 && norm && in.norm.bias.address == 0 && in.width % 4 == 0 &&
         in.width <= kTileUnits * kUnit;
}

std::string matvec_kernel(const MatvecArgs& args, int rows) {
  if (rows == 1 && is_plain(args.input))
    return is_narrow(args.input) ? "matvec_1_narrow" : "matvec_1_plain";
  return "matvec_" + std::to_string(rows <= 1 ? 1 : rows <= 2 ? 2 : rows <= 4 ? 4 : 8);
}

std::string expert_matvec_kernel(const ExpertMatvecArgs& args) {
  const Input& in = args.matvec.input;
  return is_plain(in) && is_narrow(in) ? "expert_matvec_narrow" : "expert_matvec";
}

uint32_t plan_matvec(MatvecArgs& args, int rows, int copies) {
  const int parts = args.gated != 0 ? 1 : args.part_count;
  int32_t pairs = 0;
  for (int i = 0; i < parts; ++i) pairs += matvec_pairs(args, i);
  const bool narrow = rows == 1 && is_plain(args.input) && is_narrow(args.input);
  const int32_t usual = matvec_pairs_a_wave(copies * pairs, args.input.width, narrow ? 4 : 2);
  // The parts' rows have as many units each; what a unit takes differs. A wave of the longest rows
  // would otherwise be at work when all others are done.
  const auto unit = [&](int part) {
    const auto type = static_cast<TensorType>(args.parts[part].matrix.type);
    const UnitBytes bytes = bytes_of(type);
    return std::max(1, 8 * (bytes.codes + bytes.high + bytes.scales) + bytes.super_scales);
  };
  int widest = 0;
  for (int i = 1; i < parts; ++i)
    if (matvec_pairs(args, i) > matvec_pairs(args, widest)) widest = i;
  int32_t waves = 0;
  args.most_pairs_a_wave = 0;
  for (int i = 0; i < kMaxParts; ++i) {
    args.first_wave[i] = i < parts ? waves : std::numeric_limits<int32_t>::max();
    args.pairs_a_wave[i] = usual;
    if (i >= parts) continue;
    args.pairs_a_wave[i] = std::clamp(usual * unit(widest) / unit(i), 1, usual);
    args.most_pairs_a_wave = std::max(args.most_pairs_a_wave, args.pairs_a_wave[i]);
    waves += (matvec_pairs(args, i) + args.pairs_a_wave[i] - 1) / args.pairs_a_wave[i];
  }
  return static_cast<uint32_t>((waves + kWaves - 1) / kWaves);
}

uint32_t matmul_workgroups(const MatmulArgs& args) {
  const int32_t row_tiles = matmul_row_tiles(args);
  const int32_t tokens = matmul_tokens(row_tiles, args.m);
  return static_cast<uint32_t>(row_tiles * ((args.m + tokens - 1) / tokens));
}

uint32_t expert_down_workgroups(const ExpertDownArgs& args) {
  const int32_t pairs = (args.matrix.rows + 1) / 2;
  const int32_t a_workgroup = kWaves * expert_down_pairs_a_wave(args);
  return static_cast<uint32_t>((pairs + a_workgroup - 1) / a_workgroup);
}

uint32_t few_workgroups(const MatmulArgs& args) {
  int32_t tiles = 0;
  for (const Part& part : args.parts) tiles += few_tiles_of(part);
  return static_cast<uint32_t>(tiles);
}
uint32_t expert_matmul_workgroups(const ExpertMatmulArgs& args) {
  return static_cast<uint32_t>(matmul_row_tiles(args.matmul) * args.max_tiles);
}

uint32_t elementwise_workgroups(const ElementwiseArgs& args) {
  return static_cast<uint32_t>((args.width + kElementwiseColumns - 1) / kElementwiseColumns);
}

uint32_t repack_workgroups(const RepackArgs& args) {
  return static_cast<uint32_t>(
      repack_workgroups(int64_t{args.rows} * units_of(args.matrix.columns)));
}

}  // namespace outboard::devices::gpu::kernels
