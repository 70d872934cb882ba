// Sequences of instructions that gfx1100 gets wrong unless something stands between them, and
// single instructions that break a rule of their encoding. A compiler keeps to all of this by
// itself; code written by hand may not. Source: LLVM 19's AMDGPU backend, GCNHazardRecognizer.cpp
// (the fix...Hazard functions that run for gfx1100), SIInsertHardClauses.cpp, SIInsertWaitcnts.cpp,
// AMDGPU.td (features of gfx1100), SIInstrInfo.cpp (constant bus), AMDGPUAsmParser.cpp (VOPD
// banks); AMD's RDNA3 guide, 7.6 (dual issue) and 16.5 (S_CLAUSE, S_SENDMSG).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "simulator/compute/wave.h"

namespace outboard::simulator::compute {

// Op::hazards: what of an instruction matters here, found once when it is decoded.
uint16_t hazards_of(const Op& op);

class Strict;

// Of one workgroup. Follows the waves' own sequence of instructions, jumps included: what a
// compiler must rule out on every path is looked for on the paths that are taken.
class Hazards {
 public:
  explicit Hazards(Strict& strict) : strict_(strict) {}
  void begin(size_t waves) { waves_.assign(waves, WaveState()); }
  // Before every instruction. scratch_stored: a store to scratch is not known to be finished.
  void before(Wave& wave, const Op& op, bool scratch_stored);

 private:
  struct Registers {  // consecutive ones
    int first = 0, count = 0;
    bool meets(const Registers& other) const {
      return first < other.first + other.count && other.first < first + count;
    }
  };
  struct VectorOp {
    std::array<Registers, 2> results;  // VGPRs
    bool transcendental = false;
    uint32_t exec_writes = 0;  // of the scalar ALU before it
    uint64_t pc = 0;
  };
  // As many vector instructions as any rule looks back upon.
  static constexpr uint32_t kHistory = 16;
  struct WaveState {
    std::array<VectorOp, kHistory> history;
    uint32_t issued = 0;       // vector instructions
    uint32_t settled = 0;      // those before this number have written their results for certain
    uint32_t exec_writes = 0;  // by the scalar ALU
    bool after_cmpx = false;   // and no vector instruction since
    bool after_matrix = false;
    Registers mask_read;                     // SGPRs that the vector ALU may still be reading
    std::array<uint64_t, 2> mask_written{};  // of those, what the scalar ALU has written since
    uint32_t clause_left = 0;
    uint8_t clause_kind = 0;
    bool nop_before = false, deallocated = false;
  };

  const VectorOp* earlier(const WaveState& state, uint32_t back) const;
  void check_clause(Wave& wave, const Op& op, WaveState& state);
  void check_message(Wave& wave, const Op& op, WaveState& state, bool scratch_stored);
  void check_vector(Wave& wave, const Op& op, WaveState& state);
  void check_transcendental(Wave& wave, const Op& op, const WaveState& state);
  void check_partial_forwarding(Wave& wave, const Op& op, const WaveState& state);
  void check_masks(Wave& wave, const Op& op, WaveState& state);
  void report(Wave& wave, const Op& op, std::string_view rule, std::string detail);

  Strict& strict_;
  std::vector<WaveState> waves_;
};

}  // namespace outboard::simulator::compute
