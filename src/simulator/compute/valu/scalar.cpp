// The vector ALU's arithmetic for x86-64 without extensions (or any processor).
#include "simulator/compute/valu/bodies.h"

namespace outboard::simulator::compute::valu {

const Table& scalar_table() {
  static constexpr Table kTable = {"scalar",     kEntries,        run_mixed,    run_half,
                                   run_dual,     run_dual_direct, run_swizzled, blend_lanes,
                                   modify_lanes, fill_lanes,      merge_half,   &kLaneMemory};
  return kTable;
}

}  // namespace outboard::simulator::compute::valu
