// The vector ALU's arithmetic for 64-bit ARM.
#include "simulator/compute/valu/bodies.h"

namespace outboard::simulator::compute::valu {

const Table& neon_table() {
  static constexpr Table kTable = {"neon",       kEntries,        run_mixed,    run_half,
                                   run_dual,     run_dual_direct, run_swizzled, blend_lanes,
                                   modify_lanes, fill_lanes,      merge_half,   &kLaneMemory};
  return kTable;
}

}  // namespace outboard::simulator::compute::valu
