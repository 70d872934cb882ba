// A wave in flight, and the executable form of an instruction.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "simulator/compute/dispatch.h"
#include "simulator/compute/isa.h"

namespace outboard::simulator::compute {

// One VGPR of 32 lanes. A 64-bit operand is two that follow each other. Wave64 keeps lanes 32 to 63
// in a second bank and executes vector instructions as two passes over the banks, as the hardware
// does.
struct alignas(64) VectorRegister {
  std::array<uint32_t, 32> lane;
};

struct Wave;
struct Op;
struct Workgroup;

// Executes one instruction. The program counter already stands on the next one.
using Handler = void (*)(Wave& wave, const Op& op);

// What an instruction counts as.
// (kNone: not counted, the simulator's own.)
enum class Class : uint8_t {
  kSalu,
  kSmem,
  kValu,
  kTranscendental,
  kDot,
  kWmma,
  kLds,
  kVmemLoad,
  kVmemStore,
  kVmemAtomic,
  kScratch,
  kBranch,
  kBarrier,
  kWaitcnt,
  kOther,
  kNone,
  kCount,
};

// Whether waves can go on to the next instruction unseen.
enum class Flow : uint8_t {
  kAnywhere,  // it may jump, stop, wait, or ask where it is
  kOn,
  kNothing,  // there is nothing to run
};

// The executable form: what the handler needs at once, prepared when a page of code is decoded.
// Ops of a code page lie in an array by dword, so the next one is `this + dwords`. Each is a line
// of the host's cache: long code streams through it.
struct alignas(64) Op {
  Handler run = nullptr;
  const Instruction* instruction = nullptr;  // all the rest
  uint8_t dwords = 1;
  Class type = Class::kOther;
  // Of the vector ALU (valu/operands.h): how operands are fetched and what is done with them.
  uint8_t valu_flags = 0;
  uint8_t valu_detail = 0;
  std::array<uint8_t, 3> modify{};  // of each source
  Flow flow = Flow::kAnywhere;
  const void* body = nullptr;        // function of the chosen instruction set
  const void* body_y = nullptr;      // of a VOPD's Y half; of DPP the Swizzle
  std::array<uint16_t, 6> source{};  // places; VOPD: three of each half
  std::array<uint16_t, 2> destination{};
  uint16_t valu_traits = 0;
  uint16_t vgpr_end = 0;    // one past the last VGPR that the instruction names
  bool keeps_exec = false;  // EXEC stays as it is, for certain
  uint16_t hazards = 0;     // hazards.h
};

// Floating-point mode of a wave, MODE register (guide, 3.3.1): rounding and denormals, low two bits
// for float32, high two for float64 and float16.
struct Mode {
  uint8_t round = 0;     // 0 nearest even, 1 up, 2 down, 3 toward zero
  uint8_t denorm = 0xf;  // 0 flush in and out, 1 allow in, 2 allow out, 3 allow both
  bool dx10_clamp = true, ieee = false;
  uint8_t round32() const { return round & 3; }
  uint8_t round16_64() const { return round >> 2; }
  uint8_t denorm32() const { return denorm & 3; }
  uint8_t denorm16_64() const { return denorm >> 2; }
};

enum class WaveStatus : uint8_t { kRunning, kAtBarrier, kDone };

struct Wave {
  // Scalar registers by operand code (instruction.h): 0..105 SGPRs, VCC, TTMP, [124] null (always
  // zero), M0, EXEC. Wave32 keeps vcc_hi as an ordinary register; exec_hi is zero. A few more, so
  // that an operand of several registers at the end stays inside.
  std::array<uint32_t, 144> sgpr{};
  bool scc = false;
  bool wave64 = false;
  Mode mode;

  // Vector registers: bank 0 is lanes 0..31, bank 1 lanes 32..63 (wave64 only). kVgprs of them lie
  // there whatever the dispatch allocates, so that no instruction leaves them; vgpr_count is what
  // it may use.
  static constexpr size_t kVgprs = 256 + 16;
  std::array<VectorRegister*, 2> bank{};
  int vgpr_count = 0;

  const Op* next = nullptr;   // the instruction to execute next
  uint64_t page_address = 0;  // GPU address of the code page that `next` lies in
  const Op* page = nullptr;   // first op of that page

  Workgroup* workgroup = nullptr;
  uint32_t index = 0;  // in its workgroup
  WaveStatus status = WaveStatus::kRunning;
  uint64_t executed = 0;   // instructions
  uint64_t slice_end = 0;  // value of `executed` at which another wave gets its turn
  std::array<uint64_t, static_cast<size_t>(Class::kCount)> counts{};
  uint64_t valu_lanes = 0;

  int banks() const { return wave64 ? 2 : 1; }
  uint32_t exec(int bank_index) const { return sgpr[code::kExecLo + bank_index]; }
  uint64_t exec64() const {
    return sgpr[code::kExecLo] | (static_cast<uint64_t>(sgpr[code::kExecHi]) << 32);
  }
  void set_exec(uint64_t mask) {
    sgpr[code::kExecLo] = static_cast<uint32_t>(mask);
    sgpr[code::kExecHi] = wave64 ? static_cast<uint32_t>(mask >> 32) : 0;
  }
  uint64_t vcc64() const {
    return sgpr[code::kVccLo] | (static_cast<uint64_t>(sgpr[code::kVccHi]) << 32);
  }
  // Writing null is allowed and does nothing.
  void write_sgpr(uint16_t number, uint32_t value) {
    if (number != code::kNull) sgpr[number] = value;
  }
  // A lane mask as VCC, an SGPR or SGPR pair: one dword in wave32, two in wave64.
  uint64_t read_mask(uint16_t number) const {
    return wave64 ? sgpr[number] | (static_cast<uint64_t>(sgpr[number + 1]) << 32) : sgpr[number];
  }
  void write_mask(uint16_t number, uint64_t mask) {
    if (number == code::kNull) return;
    sgpr[number] = static_cast<uint32_t>(mask);
    if (wave64) sgpr[number + 1] = static_cast<uint32_t>(mask >> 32);
  }
  // Scalar value of an operand that is a constant, an SGPR or one of the special codes (SCC, VCCZ,
  // EXECZ, apertures).
  uint32_t read_scalar(const Operand& operand) const;
  uint64_t read_scalar64(const Operand& operand) const;

  // Which piece of the dispatch's scratch memory is the wave's.
  uint32_t scratch_slot() const;

  // Stops the wave, and with it the dispatch (illegal instruction, fault, trap).
  void stop(Stop why, std::string message, uint64_t address = 0);
  // Address of the next instruction, and of the one that is executing.
  uint64_t next_pc() const { return page_address + static_cast<uint64_t>(next - page) * 4; }
  uint64_t pc_of(const Op& op) const { return next_pc() - op.dwords * 4U; }
  // Continues at another address; stops the wave when no code can be had there.
  void jump(uint64_t address);
};

// In strict mode: code changed in memory and no instruction-cache invalidate followed.
void report_stale_code(Wave& wave, uint64_t address);

}  // namespace outboard::simulator::compute
