// Program flow, waiting, messages and the mode registers. Guide: sections 4 (program flow), 3.3
// (state registers), 16.5 (SOPP).
#include <string_view>
#include <unordered_map>

#include "simulator/compute/handlers.h"
#include "simulator/compute/worker.h"
#include "support/error.h"

namespace outboard::simulator::compute {
namespace {

// --- Jumps ---

// Targets count dwords from the next instruction.
ptrdiff_t distance(const Op& op) { return static_cast<int16_t>(op.source[0]); }
uint64_t target(const Wave& wave, const Op& op) {
  return wave.next_pc() + static_cast<uint64_t>(distance(op) * 4);
}

void branch(Wave& wave, const Op& op) {
  const ptrdiff_t to = wave.next - wave.page + distance(op);
  // Within the page the op is at hand.
  if (to >= 0 && to < static_cast<ptrdiff_t>(CodePage::kDwords)) {
    wave.next = wave.page + to;
  } else {
    wave.jump(target(wave, op));
  }
}

bool vcc_zero(const Wave& w) { return (w.wave64 ? w.vcc64() : w.sgpr[code::kVccLo]) == 0; }
bool scc_clear(const Wave& w) { return !w.scc; }
bool scc_set(const Wave& w) { return w.scc; }
bool vcc_some(const Wave& w) { return !vcc_zero(w); }
bool exec_zero(const Wave& w) { return w.exec64() == 0; }
bool exec_some(const Wave& w) { return w.exec64() != 0; }
bool never(const Wave&) { return false; }  // debugger conditions: no debugger is attached

template <bool (*Condition)(const Wave&)>
void branch_if(Wave& wave, const Op& op) {
  if (Condition(wave)) branch(wave, op);
}

void write_pc(Wave& wave, const Operand& to, uint64_t address) {
  wave.write_sgpr(to.code, static_cast<uint32_t>(address));
  if (to.code != code::kNull) {
    wave.write_sgpr(static_cast<uint16_t>(to.code + 1), static_cast<uint32_t>(address >> 32));
  }
}
void get_pc(Wave& wave, const Op& op) {
  write_pc(wave, op.instruction->destination[0], wave.next_pc());
}
void set_pc(Wave& wave, const Op& op) { wave.jump(wave.read_scalar64(op.instruction->source[0])); }
void swap_pc(Wave& wave, const Op& op) {
  const uint64_t to = wave.read_scalar64(op.instruction->source[0]);
  write_pc(wave, op.instruction->destination[0], wave.next_pc());
  wave.jump(to);
}
void call(Wave& wave, const Op& op) {
  const uint64_t to = target(wave, op);
  write_pc(wave, op.instruction->destination[0], wave.next_pc());
  wave.jump(to);
}

// --- Ends and waits ---

void end_program(Wave& wave, const Op&) { wave.status = WaveStatus::kDone; }
void code_end(Wave& wave, const Op& op) {
  wave.stop(Stop::kIllegalInstruction,
            fmt::format("ran past the end of the program (s_code_end at {:#x})", wave.pc_of(op)));
}
void barrier(Wave& wave, const Op&) {
  if (wave.workgroup->waves.size() > 1) wave.status = WaveStatus::kAtBarrier;
}
void nothing(Wave&, const Op&) {}
// Somebody else's turn: what a sleeping wave waits for is another wave's doing.
void sleep(Wave& wave, const Op&) { wave.slice_end = 0; }
void halt(Wave& wave, const Op& op) {
  if ((op.instruction->simm16 & 1) != 0) {
    wave.stop(Stop::kHang,
              fmt::format("s_sethalt at {:#x}: the wave never goes on", wave.pc_of(op)));
  }
}
// A privileged wave takes `s_trap 2` for a no-op (LLVM's priv-enabled-trap2-nop-bug; what it puts
// behind that trap for gfx1100 ends in a halt).
void trap(Wave& wave, const Op& op) {
  constexpr uint32_t kPrivileged = 1 << 20;  // COMPUTE_PGM_RSRC1.PRIV
  if ((wave.workgroup->dispatch->pgm_rsrc1 & kPrivileged) != 0 &&
      (op.instruction->simm16 & 0xff) == 2)
    return;
  wave.stop(Stop::kTrap,
            fmt::format("s_trap {} at {:#x}", op.instruction->simm16 & 0xff, wave.pc_of(op)));
}

// s_sendmsg_rtn: values that the wave asks of the hardware (guide, 16.2, "message return").
void message_with_answer(Wave& wave, const Op& op) {
  constexpr uint16_t kRealtime = 0x83;
  const Instruction& i = *op.instruction;
  uint64_t value = 0;
  // Time is counted in instructions, so that runs repeat.
  if (i.simm16 == kRealtime) value = wave.executed;
  wave.write_sgpr(i.destination[0].code, static_cast<uint32_t>(value));
  if (i.destination[0].dwords == 2) {
    wave.write_sgpr(static_cast<uint16_t>(i.destination[0].code + 1),
                    static_cast<uint32_t>(value >> 32));
  }
}

// --- Hardware registers (guide, 3.3 and 16.2, S_GETREG_B32) ---

enum HardwareRegister : uint32_t {
  kMode = 1,
  kStatus = 2,
  kTrapStatus = 3,
  kGprAlloc = 5,
  kLdsAlloc = 6,
  kShMemBases = 15,
  kFlatScratchLo = 20,
  kFlatScratchHi = 21,
  kHwId1 = 23,
  kHwId2 = 24,
  kShaderCycles = 29,
};

uint32_t read_mode(const Mode& mode) {
  return mode.round | static_cast<uint32_t>(mode.denorm) << 4 |
         static_cast<uint32_t>(mode.dx10_clamp) << 8 | static_cast<uint32_t>(mode.ieee) << 9;
}
void write_mode(Mode& mode, uint32_t value) {
  mode.round = value & 0xf;
  mode.denorm = value >> 4 & 0xf;
  mode.dx10_clamp = (value >> 8 & 1) != 0;
  mode.ieee = (value >> 9 & 1) != 0;
}

uint32_t read_register(const Wave& wave, uint32_t number) {
  const Dispatch& dispatch = *wave.workgroup->dispatch;
  const uint64_t scratch = dispatch.scratch_base + static_cast<uint64_t>(wave.scratch_slot()) *
                                                       dispatch.scratch_bytes_per_wave;
  switch (number) {
    case kMode:
      return read_mode(wave.mode);
    case kStatus:
      return static_cast<uint32_t>(wave.scc) | static_cast<uint32_t>(wave.exec64() == 0) << 9 |
             static_cast<uint32_t>(vcc_zero(wave)) << 10 |
             static_cast<uint32_t>(wave.workgroup->waves.size() > 1) << 11;
    case kShMemBases:
      return static_cast<uint32_t>(dispatch.private_base >> 48) |
             static_cast<uint32_t>(dispatch.shared_base >> 48) << 16;
    case kFlatScratchLo:
      return static_cast<uint32_t>(scratch);
    case kFlatScratchHi:
      return static_cast<uint32_t>(scratch >> 32);
    case kHwId1:
      return wave.index & 0x1f;
    case kShaderCycles:
      return static_cast<uint32_t>(wave.executed) & 0xfffff;
    default:
      return 0;  // trap status, allocations, the second id: nothing to tell
  }
}

struct Field {
  uint32_t number, offset, mask;
};
Field field(uint16_t simm16) {
  const uint32_t size = (simm16 >> 11 & 0x1fU) + 1;
  return {simm16 & 0x3fU, simm16 >> 6 & 0x1fU, size == 32 ? ~0U : (1U << size) - 1};
}

void get_register(Wave& wave, const Op& op) {
  const Field f = field(op.instruction->simm16);
  wave.write_sgpr(op.instruction->destination[0].code,
                  read_register(wave, f.number) >> f.offset & f.mask);
}
void set_field(Wave& wave, const Op& op, uint32_t value) {
  const Field f = field(op.instruction->simm16);
  if (f.number != kMode) return;  // the others are privileged, or read-only
  const uint32_t bits = f.mask << f.offset;
  write_mode(wave.mode, (read_mode(wave.mode) & ~bits) | (value << f.offset & bits));
}
void set_register(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  // The value's register stands in the destination field of the encoding.
  const Operand& from = i.sources != 0 ? i.source[0] : i.destination[0];
  set_field(wave, op, wave.read_scalar(from));
}
void set_register_constant(Wave& wave, const Op& op) {
  set_field(wave, op, op.instruction->literal_value);
}
void round_mode(Wave& wave, const Op& op) { wave.mode.round = op.instruction->simm16 & 0xf; }
void denorm_mode(Wave& wave, const Op& op) { wave.mode.denorm = op.instruction->simm16 & 0xf; }

struct Entry {
  Handler run;
  Class type;
};

const std::unordered_map<std::string_view, Entry>& table() {
  static const std::unordered_map<std::string_view, Entry> entries = {
      {"s_branch", {branch, Class::kBranch}},
      {"s_cbranch_scc0", {branch_if<scc_clear>, Class::kBranch}},
      {"s_cbranch_scc1", {branch_if<scc_set>, Class::kBranch}},
      {"s_cbranch_vccz", {branch_if<vcc_zero>, Class::kBranch}},
      {"s_cbranch_vccnz", {branch_if<vcc_some>, Class::kBranch}},
      {"s_cbranch_execz", {branch_if<exec_zero>, Class::kBranch}},
      {"s_cbranch_execnz", {branch_if<exec_some>, Class::kBranch}},
      {"s_cbranch_cdbgsys", {branch_if<never>, Class::kBranch}},
      {"s_cbranch_cdbguser", {branch_if<never>, Class::kBranch}},
      {"s_cbranch_cdbgsys_or_user", {branch_if<never>, Class::kBranch}},
      {"s_cbranch_cdbgsys_and_user", {branch_if<never>, Class::kBranch}},
      {"s_getpc_b64", {get_pc, Class::kSalu}},
      {"s_setpc_b64", {set_pc, Class::kBranch}},
      {"s_swappc_b64", {swap_pc, Class::kBranch}},
      {"s_rfe_b64", {set_pc, Class::kBranch}},
      {"s_call_b64", {call, Class::kBranch}},
      {"s_endpgm", {end_program, Class::kOther}},
      {"s_endpgm_saved", {end_program, Class::kOther}},
      {"s_code_end", {code_end, Class::kOther}},
      {"s_barrier", {barrier, Class::kBarrier}},
      {"s_waitcnt", {nothing, Class::kWaitcnt}},
      {"s_waitcnt_vscnt", {nothing, Class::kWaitcnt}},
      {"s_waitcnt_vmcnt", {nothing, Class::kWaitcnt}},
      {"s_waitcnt_expcnt", {nothing, Class::kWaitcnt}},
      {"s_waitcnt_lgkmcnt", {nothing, Class::kWaitcnt}},
      {"s_waitcnt_depctr", {nothing, Class::kWaitcnt}},
      {"s_wait_idle", {nothing, Class::kWaitcnt}},
      {"s_wait_event", {nothing, Class::kWaitcnt}},
      {"s_nop", {nothing, Class::kOther}},
      {"s_clause", {nothing, Class::kOther}},
      {"s_delay_alu", {nothing, Class::kOther}},
      {"s_set_inst_prefetch_distance", {nothing, Class::kOther}},
      {"s_setprio", {nothing, Class::kOther}},
      {"s_setkill", {nothing, Class::kOther}},
      {"s_wakeup", {nothing, Class::kOther}},
      {"s_version", {nothing, Class::kOther}},
      {"s_incperflevel", {nothing, Class::kOther}},
      {"s_decperflevel", {nothing, Class::kOther}},
      {"s_ttracedata", {nothing, Class::kOther}},
      {"s_ttracedata_imm", {nothing, Class::kOther}},
      {"s_icache_inv", {nothing, Class::kOther}},
      {"s_sendmsg", {nothing, Class::kOther}},
      {"s_sleep", {sleep, Class::kOther}},
      {"s_sethalt", {halt, Class::kOther}},
      {"s_trap", {trap, Class::kOther}},
      {"s_sendmsg_rtn_b32", {message_with_answer, Class::kOther}},
      {"s_sendmsg_rtn_b64", {message_with_answer, Class::kOther}},
      {"s_getreg_b32", {get_register, Class::kSalu}},
      {"s_setreg_b32", {set_register, Class::kSalu}},
      {"s_setreg_imm32_b32", {set_register_constant, Class::kSalu}},
      {"s_round_mode", {round_mode, Class::kOther}},
      {"s_denorm_mode", {denorm_mode, Class::kOther}},
  };
  return entries;
}

}  // namespace

bool prepare_flow(Op& op, const Instruction& instruction) {
  const auto found = table().find(mnemonic(instruction.op));
  if (found == table().end()) return false;
  op.run = found->second.run;
  op.type = found->second.type;
  op.source[0] = instruction.simm16;  // at hand for branches
  if (op.run == nothing) op.flow = Flow::kNothing;
  return true;
}

}  // namespace outboard::simulator::compute
