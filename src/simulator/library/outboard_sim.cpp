#include "simulator/library/outboard_sim.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "hardware/amd/code_object.h"
#include "simulator/compute/host_memory.h"
#include "simulator/compute/isa.h"
#include "support/error.h"

namespace {

using outboard::simulator::compute::ComputeUnits;
using outboard::simulator::compute::Counters;
using outboard::simulator::compute::Dispatch;
using outboard::simulator::compute::HostMemory;
using outboard::simulator::compute::Options;
using outboard::simulator::compute::Result;

void copy_text(char* out, size_t bytes, const std::string& text) {
  const size_t length = std::min(bytes - 1, text.size());
  std::memcpy(out, text.data(), length);
  out[length] = '\0';
}

outboard_sim_counters to_c(const Counters& c) {
  outboard_sim_counters out{};
  out.workgroups = c.workgroups;
  out.waves = c.waves;
  out.instructions = c.instructions();
  out.salu = c.salu;
  out.smem = c.smem;
  out.valu = c.valu;
  out.transcendental = c.transcendental;
  out.dot = c.dot;
  out.wmma = c.wmma;
  out.lds = c.lds;
  out.vmem_load = c.vmem_load;
  out.vmem_store = c.vmem_store;
  out.vmem_atomic = c.vmem_atomic;
  out.scratch = c.scratch;
  out.branch = c.branch;
  out.barrier = c.barrier;
  out.waitcnt = c.waitcnt;
  out.other = c.other;
  out.valu_lanes = c.valu_lanes;
  out.lds_bytes = c.lds_bytes;
  out.lds_bank_conflicts = c.lds_bank_conflicts;
  out.gl2_reads = c.gl2_reads;
  out.gl2_writes = c.gl2_writes;
  out.gl2_read_misses = c.gl2_read_misses;
  out.gl2_miss_bytes = c.gl2_miss_bytes;
  out.vram_read_bytes = c.vram_read_bytes;
  out.vram_write_bytes = c.vram_write_bytes;
  return out;
}

Dispatch to_dispatch(const outboard_sim_launch& run) {
  Dispatch d;
  d.name = run.name != nullptr ? run.name : "kernel";
  d.program = reinterpret_cast<uint64_t>(run.code);
  d.pgm_rsrc1 = run.pgm_rsrc1;
  const uint32_t lds_units = (run.lds_bytes + 511) / 512;
  d.pgm_rsrc2 = (run.pgm_rsrc2 & ~(0x1ffU << 15)) | lds_units << 15;
  d.pgm_rsrc3 = run.pgm_rsrc3;
  std::copy(std::begin(run.workgroups), std::end(run.workgroups), d.workgroups.begin());
  std::copy(std::begin(run.workgroup_size), std::end(run.workgroup_size), d.workgroup_size.begin());
  std::copy(std::begin(run.user_sgprs), std::end(run.user_sgprs), d.user_data.begin());
  if (run.kernel_arguments != nullptr) {
    const auto address = reinterpret_cast<uint64_t>(run.kernel_arguments);
    d.user_data[0] = static_cast<uint32_t>(address);
    d.user_data[1] = static_cast<uint32_t>(address >> 32);
  }
  d.wave32 = (run.flags & OUTBOARD_SIM_WAVE64) == 0;
  return d;
}

// What is wrong with the arguments; empty: nothing.
std::string complaint(const outboard_sim_launch& run) {
  constexpr uint32_t kMaxLds = 65536;
  if (run.size != sizeof(outboard_sim_launch))
    return "size is not sizeof(struct outboard_sim_launch)";
  if (run.code == nullptr || reinterpret_cast<uint64_t>(run.code) % 4 != 0 || run.code_bytes == 0) {
    return "code must be aligned to 4 bytes and not be empty";
  }
  if (run.lds_bytes > kMaxLds) return "lds_bytes is more than 65536";
  if (run.regions == nullptr && run.region_count != 0) return "regions is null";
  return {};
}

void run_checked(const outboard_sim_launch& run, outboard_sim_result& result) {
  HostMemory memory;
  memory.add_code(run.code, run.code_bytes);
  if (run.regions == nullptr) {
    memory.allow_everything();
  } else {
    for (uint64_t i = 0; i < run.region_count; ++i) {
      memory.add(run.regions[i].address, run.regions[i].bytes, run.regions[i].writable != 0);
    }
  }
  Options options;
  options.threads = run.threads;
  options.strict = (run.flags & OUTBOARD_SIM_STRICT) != 0;
  options.cache_model = (run.flags & OUTBOARD_SIM_CACHES) != 0;
  options.instruction_limit = run.instruction_limit;
  Dispatch dispatch = to_dispatch(run);
  const outboard::AlignedBuffer scratch = memory.give_scratch(dispatch, run.scratch_bytes);
  ComputeUnits units(memory, options);
  const Result outcome = units.run(dispatch);
  result.status = static_cast<uint32_t>(outcome.stop);
  result.fault_address = outcome.fault_address;
  result.violations = units.violation_count();
  result.counters = to_c(units.counters());
  copy_text(result.message, sizeof(result.message), outcome.message);
  std::string violations;
  for (const auto& violation : units.violations()) violations += violation.text() + "\n";
  copy_text(result.violation_text, sizeof(result.violation_text), violations);
}

}  // namespace

extern "C" int outboard_sim_run(const struct outboard_sim_launch* run,
                                struct outboard_sim_result* result) {
  if (run == nullptr || result == nullptr || result->size != sizeof(outboard_sim_result)) {
    return OUTBOARD_SIM_BAD_ARGUMENT;
  }
  *result = {};
  result->size = sizeof(outboard_sim_result);
  result->status = OUTBOARD_SIM_BAD_ARGUMENT;
  try {
    const std::string wrong = complaint(*run);
    if (!wrong.empty()) {
      copy_text(result->message, sizeof(result->message), wrong);
    } else {
      run_checked(*run, *result);
    }
  } catch (const std::exception& e) {  // nothing is thrown across C
    copy_text(result->message, sizeof(result->message), e.what());
  }
  return static_cast<int>(result->status);
}

extern "C" size_t outboard_sim_disassemble(const uint32_t* words, size_t count, uint64_t address,
                                           char* out, size_t out_bytes) {
  using namespace outboard::simulator::compute;  // NOLINT: the decoder's names
  if (out == nullptr || out_bytes == 0) return 0;
  out[0] = '\0';
  try {
    Instruction instruction;
    if (words == nullptr || !decode({words, count}, instruction)) return 0;
    copy_text(out, out_bytes, disassemble(instruction, address));
    return instruction.size;
  } catch (const std::exception&) {  // out of memory
    return 0;
  }
}
