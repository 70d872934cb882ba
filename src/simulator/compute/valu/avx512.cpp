// The vector ALU's arithmetic for AVX-512 (F, BW, DQ, VL).
#include "simulator/compute/valu/bodies.h"

namespace outboard::simulator::compute::valu {

const Table& avx512_table() {
  static constexpr Table kTable = {"avx512",     kEntries,        run_mixed,    run_half,
                                   run_dual,     run_dual_direct, run_swizzled, blend_lanes,
                                   modify_lanes, fill_lanes,      merge_half,   &kLaneMemory};
  return kTable;
}

}  // namespace outboard::simulator::compute::valu
