// Runs the workgroups of one dispatch on the compute units.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hardware/amd/navi31/chip.h"
#include "simulator/compute/memory.h"
#include "simulator/compute/timing.h"

namespace outboard::simulator::compute {

// The state that DISPATCH_DIRECT finds in the COMPUTE_* registers. Register meanings: Linux amdgpu
// gc_11_0_0_sh_mask.h; user SGPR and initial VGPR rules: LLVM's AMDGPU usage guide, "Initial Kernel
// Execution State".
struct Dispatch {
  uint64_t program = 0;  // address of the first instruction (COMPUTE_PGM_LO/HI << 8)
  uint32_t pgm_rsrc1 = 0, pgm_rsrc2 = 0, pgm_rsrc3 = 0;
  std::array<uint32_t, 16> user_data{};  // COMPUTE_USER_DATA_0..15; rsrc2 says how many are loaded
  std::array<uint32_t, 3> workgroup_size{1, 1, 1};  // threads
  std::array<uint32_t, 3> workgroups{1, 1, 1};
  std::array<uint32_t, 3> start{0, 0, 0};  // COMPUTE_START_X..Z, in workgroups
  bool wave32 = true;                      // CS_W32_EN
  uint64_t scratch_base = 0;               // COMPUTE_DISPATCH_SCRATCH_BASE << 8
  uint32_t scratch_bytes_per_wave = 0;     // COMPUTE_TMPRING_SIZE.WAVESIZE in bytes
  uint32_t scratch_waves = 0;              // COMPUTE_TMPRING_SIZE.WAVES
  // SH_MEM_BASES: where FLAT addresses mean LDS and scratch; 4 GiB each.
  uint64_t shared_base = uint64_t{1} << 48, private_base = uint64_t{2} << 48;
  uint32_t vmid = 0;
  uint64_t id = 0;      // counts dispatches; names this one in reports
  bool waited = false;  // for all that came before
  std::string name;     // kernel, when known; else "program at 0x..."
};

// SGPRs that a wave finds filled: user data and workgroup ids (COMPUTE_PGM_RSRC2: USER_SGPR,
// TGID_X/Y/Z_EN, TG_SIZE_EN).
uint32_t initial_sgprs(uint32_t rsrc2);
// gfx1100 may fill SGPRs wrongly when a launch of wave32 asks for fewer (LLVM's
// user-sgpr-init16-bug; SIISelLowering.cpp, allocateSystemSGPRs, fills up to as many).
inline constexpr uint32_t kLeastSgprs = 16;

// Deterministic: equal for equal inputs whatever the number of host threads.
struct Counters {
  uint64_t dispatches = 0, workgroups = 0, waves = 0;
  // Instructions issued, by class; a wave64 instruction counts once.
  uint64_t salu = 0, smem = 0, valu = 0, transcendental = 0, dot = 0, wmma = 0, lds = 0;
  uint64_t vmem_load = 0, vmem_store = 0, vmem_atomic = 0, scratch = 0, branch = 0, barrier = 0;
  uint64_t waitcnt = 0, other = 0;
  uint64_t valu_lanes = 0;                         // active lanes summed over VALU instructions
  uint64_t lds_bytes = 0, lds_bank_conflicts = 0;  // conflict: extra cycles beyond the first
  // 128-byte lines asked of each level, vector and scalar together.
  uint64_t gl2_reads = 0, gl2_writes = 0, gl2_read_misses = 0;
  uint64_t vram_read_bytes = 0, vram_write_bytes = 0;      // past the Infinity Cache
  uint64_t gl2_miss_bytes = 0;                             // past GL2 (to Infinity Cache or VRAM)
  uint64_t system_read_bytes = 0, system_write_bytes = 0;  // over the link

  uint64_t instructions() const {
    return salu + smem + valu + transcendental + dot + wmma + lds + vmem_load + vmem_store +
           vmem_atomic + scratch + branch + barrier + waitcnt + other;
  }
  Counters& operator+=(const Counters& other);
  Counters& operator-=(const Counters& earlier);  // what has been counted since
};

// A rule of the hardware or of the programming model that was broken.
struct Violation {
  std::string rule;  // short name: "missing-waitcnt", "uninitialized-vgpr", "race", ...
  std::string kernel;
  uint64_t pc = 0;          // of the instruction, 0 when none
  std::string instruction;  // disassembled
  uint64_t dispatch = 0;
  uint32_t workgroup = 0;    // linear index
  uint32_t wave = 0;         // in its workgroup
  int lane = -1;             // -1: not of a lane
  uint64_t address = 0;      // memory or LDS address, 0 when none
  std::string detail;        // what was expected, and the earlier access where there is one
  std::string text() const;  // all of it in one paragraph
};

// What a workgroup does between two barriers, were it alone on the card. Bytes of vector and scalar
// loads and of stores.
struct Segment {
  OfCases seconds{};        // of its longest wave: what it issues, and what it waits for
  double issue_clocks = 0;  // of a SIMD, all waves together
  double lds_clocks = 0;    // of the LDS
  double second_level_bytes = 0, infinity_bytes = 0, vram_bytes = 0;  // asked of each level
};
struct GroupProfile {
  std::vector<Segment> segments;
  uint64_t longest_wave = 0;  // instructions, as clocks of issue
  // Waits that really waited, in the likely case, by the level that the last answer came from:
  // first level or LDS, GL2, Infinity Cache, VRAM, system memory.
  std::array<uint64_t, 5> waits{};
};
// A launch that has ended.
struct LaunchProfile {
  uint64_t program = 0;
  uint64_t workgroups = 0;
  uint32_t waves = 0;  // a workgroup
  uint32_t vgprs = 0, lds_bytes = 0;
  bool wave32 = true;
  bool waited = false;  // for the launches before
  Counters counters;
  std::vector<GroupProfile> groups;
};

enum class Stop : uint8_t { kDone, kMemoryViolation, kIllegalInstruction, kHang, kTrap };

struct Result {
  Stop stop = Stop::kDone;
  std::string message;  // what stopped it, empty when done
  uint64_t fault_address = 0;
};

struct Options {
  unsigned threads = 0;  // host threads; 0: all cores
  bool strict = true;
  bool cache_model = true;
  // Of a whole Navi 31 where no card says otherwise.
  uint64_t second_level_bytes = hardware::amd::navi31::kChip.die.second_level_bytes;
  uint64_t infinity_cache_bytes = hardware::amd::navi31::kChip.die.infinity_cache_bytes();
  uint64_t instruction_limit = 0;  // a wave; 0: none. Beyond it the dispatch stops with kHang.
  size_t violation_limit = 64;     // further ones are counted, not kept
};

class MemoryOrder;  // memory_order.h: who wrote what, seen across dispatches
class CacheModel;   // cache_model.h: GL2 and Infinity Cache contents

// The compute units of one card, or of none (host memory). Keeps decoded programs and caches
// between dispatches. One dispatch at a time.
class ComputeUnits {
 public:
  ComputeUnits(Memory& memory, Options options);
  ~ComputeUnits();
  ComputeUnits(const ComputeUnits&) = delete;
  ComputeUnits& operator=(const ComputeUnits&) = delete;

  // Runs every workgroup to its end or to the first fault.
  Result run(const Dispatch& dispatch);
  // Forgets decoded instructions (after an instruction-cache invalidate) and translations (after a
  // TLB invalidate).
  void invalidate_instructions();
  void invalidate_translations();
  // Called after each dispatch, by the thread that ran it; null: nobody asks how long it would
  // take. Needs the cache model. REQUIRES: nothing runs.
  void observe(std::function<void(const LaunchProfile&)> on_launch);
  // Stops a running dispatch from another thread (queue reset).
  void cancel();

  const std::vector<Violation>& violations() const;
  uint64_t violation_count() const;
  // The command processor tells them what it does to caches; used only when run() does not run.
  // Null when not strict, or without a cache model.
  MemoryOrder* order();
  CacheModel* caches();
  // Written-back lines and the like are counted here too.
  Counters& counters();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outboard::simulator::compute
