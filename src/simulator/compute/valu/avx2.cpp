// The vector ALU's arithmetic for AVX2, FMA and F16C.
#include "simulator/compute/valu/bodies.h"

namespace outboard::simulator::compute::valu {

const Table& avx2_table() {
  static constexpr Table kTable = {"avx2",       kEntries,        run_mixed,    run_half,
                                   run_dual,     run_dual_direct, run_swizzled, blend_lanes,
                                   modify_lanes, fill_lanes,      merge_half,   &kLaneMemory};
  return kTable;
}

}  // namespace outboard::simulator::compute::valu
