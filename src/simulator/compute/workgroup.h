// The life of a workgroup: its initial state, its turns, its end.
#pragma once

#include "simulator/compute/worker.h"

namespace outboard::simulator::compute {

// What each wave and workgroup is given: vector registers of a lane, bytes of LDS.
uint32_t allocated_vgprs(const Dispatch& dispatch);
uint32_t allocated_lds(const Dispatch& dispatch);

// Initial state of registers: LLVM's AMDGPU usage guide, "Initial Kernel Execution State" and
// "compute_pgm_rsrc1/2". Reuses the memory of a workgroup that ended.
void begin_workgroup(Workgroup& workgroup, const Dispatch& dispatch, uint32_t index, uint32_t slot);

// Runs the waves until all have ended (done is set, counters are complete) or one has used up its
// slice.
void run_workgroup(Workgroup& workgroup, uint64_t slice);

// Adds up the counters of waves that were stopped.
void end_workgroup(Workgroup& workgroup);

}  // namespace outboard::simulator::compute
