#include "simulator/compute/strict.h"

#include <algorithm>
#include <bit>

#include "simulator/compute/memory_order.h"
#include "simulator/compute/worker.h"
#include "support/error.h"

namespace outboard::simulator::compute {
namespace {

constexpr uint32_t kAll = 0xffffffff;

// These two rely on the order of Format: vector and scalar formats stand together.
bool is_vector_alu(Format f) { return f >= Format::kVop1 && f <= Format::kVinterp; }
bool is_scalar_alu(Format f) { return f <= Format::kSopc; }
static_assert(Format::kSop1 < Format::kSopc && Format::kSopc < Format::kSopp);
static_assert(Format::kVop1 < Format::kVopd && Format::kVopd < Format::kVinterp);

using RegisterSet = std::array<uint64_t, 4>;

bool contains(const RegisterSet& set, size_t number) {
  return (set[number / 64 % 4] >> (number % 64) & 1) != 0;
}
void insert(RegisterSet& set, size_t number) {
  set[number / 64 % 4] |= uint64_t{1} << (number % 64);
}
void erase(RegisterSet& set, size_t number) {
  set[number / 64 % 4] &= ~(uint64_t{1} << (number % 64));
}

bool is_vector_memory(Format f) {
  return f == Format::kFlat || f == Format::kGlobal || f == Format::kScratch ||
         f == Format::kMubuf || f == Format::kMtbuf;
}

// Lanes look into each other's registers.
bool crosses_lanes(const Instruction& i) {
  if (i.dpp != Instruction::Dpp::kNone) return true;
  switch (i.op) {
    case Opcode::kVReadlaneB32:
    case Opcode::kVReadfirstlaneB32:
    case Opcode::kVPermlane16B32:
    case Opcode::kVPermlanex16B32:
    case Opcode::kVPermlane64B32:
    case Opcode::kVMovrelsB32:
    case Opcode::kVMovrelsdB32:
    case Opcode::kVMovrelsd2B32:
    case Opcode::kVMovreldB32:
    case Opcode::kDsPermuteB32:
    case Opcode::kDsBpermuteB32:
    case Opcode::kDsSwizzleB32:
      return true;
    default:
      return false;
  }
}

// One of the operand's registers is in the set of its kind.
bool meets(const RegisterSet& vgprs, const RegisterSet& sgprs, const Operand& operand) {
  if (operand.constant) return false;
  const RegisterSet& set = operand.is_vgpr() ? vgprs : sgprs;
  const auto first = static_cast<size_t>(operand.is_vgpr() ? operand.vgpr() : operand.code);
  for (size_t n = first; n < first + operand.dwords; ++n) {
    if (contains(set, n)) return true;
  }
  return false;
}

// The low half of the result depends on the low halves of the operands only, and compilers leave
// the upper ones unwritten when they do not need them.
bool low_half_suffices(Opcode op) {
  return op == Opcode::kVMadU64U32 || op == Opcode::kVMadI64I32 || op == Opcode::kVLshlrevB64;
}

std::string register_name(const Operand& operand, int dword) {
  if (operand.is_vgpr()) return fmt::format("v{}", operand.vgpr() + dword);
  const int number = operand.code + dword;
  switch (number) {
    case code::kVccLo:
      return "vcc_lo";
    case code::kVccHi:
      return "vcc_hi";
    case code::kM0:
      return "m0";
    default:
      return fmt::format("s{}", number);
  }
}

}  // namespace

void report_stale_code(Wave& wave, uint64_t address) {
  if (wave.workgroup->strict == nullptr) return;
  static const Instruction kNone;
  Op op;
  op.instruction = &kNone;
  op.dwords = 0;
  wave.workgroup->strict->report(
      wave, op, "stale-instruction-cache", -1, address,
      "the code changed in memory since it last ran and no instruction-cache invalidate followed");
}

// At most `at_most` may be left unfinished. What returns in any order is known to be finished only
// when nothing is left.
void Strict::Counter::wait(uint32_t at_most) {
  if (at_most == 0) {
    done = issued;
  } else if (last_unordered <= done && issued > at_most) {
    done = std::max(done, issued - at_most);
  }
}

Strict::Strict(Workgroup& workgroup) : workgroup_(workgroup), hazards_(*this) {}

void Strict::begin() {
  const size_t waves = workgroup_.waves.size();
  waves_.resize(waves);
  hazards_.begin(waves);
  for (size_t w = 0; w < waves; ++w) {
    const auto vgprs = static_cast<size_t>(workgroup_.waves[w].vgpr_count);
    WaveState& state = waves_[w];
    state = WaveState();
    state.vgpr_loads.assign(vgprs, Load());
    state.sgpr_loads.assign(128, Load());
    state.vgpr_written.assign(vgprs, Lanes{0, 0});
    if (vgprs > 0) {  // work-item ids
      state.vgpr_written[0] = {kAll, kAll};
      insert(state.vgpr_complete, 0);
    }
    for (int s = 0; s < workgroup_.initial_sgprs; ++s)
      state.sgpr_written[static_cast<size_t>(s)] = true;
    for (const uint16_t s : {code::kExecLo, code::kExecHi, code::kNull})
      state.sgpr_written[s] = true;
    // Trap temporaries hold what the hardware put there.
    std::fill(state.sgpr_written.begin() + code::kTtmp0, state.sgpr_written.begin() + code::kNull,
              true);
  }
  lds_.assign(workgroup_.lds.size() / 4, LdsWord());
  epoch_ = 1;
  reported_.clear();
}

// --- Around an instruction ---

void Strict::before(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  WaveState& state = waves_[wave.index];
  hazards_.before(wave, op, state.scratch_store > state.counters[kVs].done);
  if (op.vgpr_end > wave.vgpr_count) check_allocation(wave, op);
  if (state.counters[kVm].busy() || state.counters[kLgkm].busy()) check_pending(wave, op);
  unwritten_loaded_ = {0, 0};
  if (is_vector_alu(i.format) && sources_complete(state, i)) {
    result_ = result_low_ = {kAll, kAll};
  } else if (is_vector_alu(i.format) || is_scalar_alu(i.format)) {
    result_ = result_lanes(wave, op, false);
    if (low_half_suffices(i.op)) result_low_ = result_lanes(wave, op, true);
    if (i.op == Opcode::kSSetpcB64 || i.op == Opcode::kSSwappcB64) {
      check_used(wave, op, i.source[0], "jump target");
    }
  } else if (i.format == Format::kSmem) {
    if (i.sources > 0) check_used(wave, op, i.source[0], "address");
    if (i.sources > 1) check_used(wave, op, i.source[1], "address");
  } else if (is_vector_memory(i.format)) {
    check_used(wave, op, i.source[0], "address");
    check_used(wave, op, i.source[1], "stored data");
    check_used(wave, op, i.source[2], "address");
    check_used(wave, op, i.source[3], "address");
  } else if (i.format == Format::kDs) {
    if (crosses_lanes(i)) {
      result_ = result_lanes(wave, op, false);
    } else {
      check_used(wave, op, i.source[0], "address");
      check_used(wave, op, i.source[1], "stored data");
      check_used(wave, op, i.source[2], "stored data");
    }
  } else if (i.op == Opcode::kSCbranchVccz || i.op == Opcode::kSCbranchVccnz) {
    if (!state.sgpr_written[code::kVccLo]) {
      report(wave, op, "uninitialized-sgpr", -1, 0, "vcc decides a jump and was never written");
    }
  }
}

void Strict::after(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  if (op.type == Class::kWaitcnt) {
    wait(wave, op);
  } else if (is_vector_alu(i.format)) {
    for (int d = 0; d < i.destinations; ++d) {
      Operand to = i.destination[static_cast<size_t>(d)];
      if (to.type == Type::kMask && wave.wave64) to.dwords = 2;
      // Lane masks (compare results, carries) count as written whatever went in.
      set_written(wave, to, to.is_vgpr() || to.type != Type::kMask ? result_ : Lanes{kAll, kAll},
                  false);
    }
    if (low_half_suffices(i.op)) {
      Operand low = i.destination[0];
      low.dwords = 1;
      set_written(wave, low, result_low_, false);
    }
    if (i.op == Opcode::kVWritelaneB32) set_written(wave, i.destination[0], {kAll, kAll}, true);
  } else if (is_scalar_alu(i.format)) {
    for (int d = 0; d < i.destinations; ++d)
      set_written(wave, i.destination[static_cast<size_t>(d)], result_, true);
  } else if (i.format == Format::kSmem) {
    for (int d = 0; d < i.destinations; ++d)
      set_written(wave, i.destination[0], {kAll, kAll}, true);
    if (i.destinations > 0) start_load(wave, op, false, true, false);
  } else if (is_vector_memory(i.format)) {
    WaveState& state = waves_[wave.index];
    if (i.destinations > 0) {
      set_written(wave, i.destination[0], {kAll, kAll}, false);
      const bool flat = i.format == Format::kFlat;
      start_load(wave, op, true, flat, !flat);
    } else if (i.op == Opcode::kBufferGl0Inv) {
      if (MemoryOrder* order = workgroup_.worker->shared->order) order->acquire(workgroup_.index);
    } else {
      ++state.counters[kVs].issued;
      if (i.format == Format::kScratch) state.scratch_store = state.counters[kVs].issued;
    }
  } else if (i.format == Format::kDs) {
    if (i.destinations > 0) {
      const Lanes good =
          crosses_lanes(i) ? result_ : Lanes{~unwritten_loaded_[0], ~unwritten_loaded_[1]};
      set_written(wave, i.destination[0], good, false);
    }
    start_load(wave, op, false, true, true);
  } else {
    for (int d = 0; d < i.destinations; ++d)
      set_written(wave, i.destination[static_cast<size_t>(d)], {kAll, kAll}, true);
  }
}

void Strict::barrier() {
  ++epoch_;
  for (WaveState& state : waves_) state.lgkm_done_at_barrier = state.counters[kLgkm].done;
}

// Registers past what the dispatch allocates belong to another wave.
void Strict::check_allocation(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const auto check = [&](const Operand& operand) {
    if (operand.dwords == 0 || !operand.is_vgpr() ||
        operand.vgpr() + operand.dwords <= wave.vgpr_count)
      return;
    report(wave, op, "vgpr-out-of-range", -1, 0,
           fmt::format("{} lies past the {} registers that the dispatch allocates",
                       register_name(operand, operand.dwords - 1), wave.vgpr_count));
  };
  for (int s = 0; s < i.sources; ++s) check(i.source[static_cast<size_t>(s)]);
  for (int d = 0; d < i.destinations; ++d) check(i.destination[static_cast<size_t>(d)]);
}

// --- Loads and waiting ---

bool Strict::is_pending(const WaveState& state, const Load& load) const {
  return load.number[kVm] > state.counters[kVm].done ||
         load.number[kLgkm] > state.counters[kLgkm].done;
}

void Strict::check_pending(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const WaveState& state = waves_[wave.index];
  for (size_t s = 0; s < i.sources; ++s) {
    if (meets(state.vgpr_loading, state.sgpr_loading, i.source[s])) {
      check_operand_pending(wave, op, i.source[s], kKinds);
    }
  }
  // Loads of one kind return in order, so one may follow another into the same register (two halves
  // of it, for example).
  Kind same = kKinds;
  if (is_vector_memory(i.format) && i.format != Format::kFlat) same = kVm;
  if (i.format == Format::kDs) same = kLgkm;
  for (size_t d = 0; d < i.destinations; ++d) {
    if (meets(state.vgpr_loading, state.sgpr_loading, i.destination[d])) {
      check_operand_pending(wave, op, i.destination[d], same);
    }
  }
}

void Strict::check_operand_pending(Wave& wave, const Op& op, const Operand& operand, Kind except) {
  if (operand.constant || operand.dwords == 0) return;
  WaveState& state = waves_[wave.index];
  for (int d = 0; d < operand.dwords; ++d) {
    const auto number =
        static_cast<size_t>(operand.is_vgpr() ? operand.vgpr() + d : operand.code + d);
    RegisterSet& loading = operand.is_vgpr() ? state.vgpr_loading : state.sgpr_loading;
    if (!contains(loading, number)) continue;
    std::vector<Load>& loads = operand.is_vgpr() ? state.vgpr_loads : state.sgpr_loads;
    if (number >= loads.size()) continue;
    if (!is_pending(state, loads[number])) {
      erase(loading, number);
      continue;
    }
    if (except == kVm && loads[number].number[kLgkm] == 0) continue;
    if (except == kLgkm && loads[number].number[kVm] == 0) continue;
    const bool vm = loads[number].number[kVm] > state.counters[kVm].done;
    report(
        wave, op, "missing-waitcnt", -1, 0,
        fmt::format(
            "{} is still being loaded by the instruction at {:#x}; no s_waitcnt {}cnt came between",
            register_name(operand, d), loads[number].pc, vm ? "vm" : "lgkm"));
    loads[number] = Load();
  }
}

void Strict::start_load(Wave& wave, const Op& op, bool vm, bool lgkm, bool ordered) {
  const Instruction& i = *op.instruction;
  WaveState& state = waves_[wave.index];
  Load load;
  load.pc = wave.pc_of(op);
  for (const Kind kind : {kVm, kLgkm}) {
    if (!(kind == kVm ? vm : lgkm)) continue;
    Counter& counter = state.counters[kind];
    load.number[kind] = ++counter.issued;
    if (!ordered) counter.last_unordered = counter.issued;
  }
  for (int d = 0; d < i.destinations; ++d) {
    const Operand& to = i.destination[static_cast<size_t>(d)];
    std::vector<Load>& loads = to.is_vgpr() ? state.vgpr_loads : state.sgpr_loads;
    const auto first = static_cast<size_t>(to.is_vgpr() ? to.vgpr() : to.code);
    for (size_t n = first; n < first + to.dwords && n < loads.size(); ++n) {
      loads[n] = load;
      insert(to.is_vgpr() ? state.vgpr_loading : state.sgpr_loading, n);
    }
  }
}

void Strict::wait(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  WaveState& state = waves_[wave.index];
  const auto amount = [&] {
    return (i.sources > 0 ? wave.read_scalar(i.source[0]) + i.simm16 : i.simm16) & 0x3fU;
  };
  switch (i.op) {
    case Opcode::kSWaitcnt:  // guide, 16.5: vmcnt [15:10], lgkmcnt [9:4], expcnt [2:0]
      state.counters[kVm].wait(i.simm16 >> 10 & 0x3f);
      state.counters[kLgkm].wait(i.simm16 >> 4 & 0x3f);
      break;
    case Opcode::kSWaitcntVmcnt:
      state.counters[kVm].wait(amount());
      break;
    case Opcode::kSWaitcntLgkmcnt:
      state.counters[kLgkm].wait(amount());
      break;
    case Opcode::kSWaitcntVscnt:
      state.counters[kVs].wait(amount());
      // The wave's writes have reached GL2: what follows may tell others.
      if (MemoryOrder* order = workgroup_.worker->shared->order;
          order != nullptr && !state.counters[kVs].busy()) {
        order->release(workgroup_.index);
      }
      break;
    case Opcode::kSWaitIdle:
      for (Counter& counter : state.counters) counter.wait(0);
      break;
    default:
      break;  // s_waitcnt_expcnt and s_waitcnt_depctr: nothing here counts there
  }
}

// --- What was written ---

// Every register that the instruction reads was written in all lanes.
bool Strict::sources_complete(const WaveState& state, const Instruction& i) const {
  for (int s = 0; s < i.sources; ++s) {
    const Operand& operand = i.source[static_cast<size_t>(s)];
    if (operand.constant) continue;
    for (int d = 0; d < operand.dwords; ++d) {
      if (operand.is_vgpr()) {
        if (!contains(state.vgpr_complete, static_cast<size_t>(operand.vgpr() + d))) return false;
      } else {
        const size_t n = operand.code + static_cast<size_t>(d);
        if (n < state.sgpr_written.size() && !state.sgpr_written[n]) return false;
      }
    }
  }
  return true;
}

Strict::Lanes Strict::written_lanes(const Wave& wave, const Operand& operand) const {
  if (operand.constant || operand.dwords == 0) return {kAll, kAll};
  const WaveState& state = waves_[wave.index];
  Lanes out{kAll, kAll};
  for (int d = 0; d < operand.dwords; ++d) {
    if (operand.is_vgpr()) {
      const auto n = static_cast<size_t>(operand.vgpr() + d);
      if (n >= state.vgpr_written.size()) return {kAll, kAll};  // reported as out of range
      out[0] &= state.vgpr_written[n][0];
      out[1] &= state.vgpr_written[n][1];
    } else {
      const size_t n = operand.code + static_cast<size_t>(d);
      if (n < state.sgpr_written.size() && !state.sgpr_written[n]) return {0, 0};
    }
  }
  return out;
}

// Lanes in which everything that the result depends on was written.
Strict::Lanes Strict::result_lanes(const Wave& wave, const Op& op, bool low_half) const {
  const Instruction& i = *op.instruction;
  Lanes out{kAll, kAll};
  const bool crosses = crosses_lanes(i);
  const auto take = [&](Operand operand) {
    if (low_half) operand.dwords = std::min<uint8_t>(operand.dwords, 1);
    Lanes lanes = written_lanes(wave, operand);
    if (crosses && operand.is_vgpr()) {
      const bool any = (lanes[0] | lanes[1]) != 0;
      lanes = any ? Lanes{kAll, kAll} : Lanes{0, 0};
    }
    out[0] &= lanes[0];
    out[1] &= lanes[1];
  };
  // A selection needs only what it selects.
  if (i.op == Opcode::kVCndmaskB32 && i.sources >= 3 && i.format != Format::kVopd) {
    const uint64_t mask = wave.read_mask(i.source[2].code);
    const Lanes no = written_lanes(wave, i.source[0]), yes = written_lanes(wave, i.source[1]);
    const Lanes which{static_cast<uint32_t>(mask), static_cast<uint32_t>(mask >> 32)};
    return {(yes[0] & which[0]) | (no[0] & ~which[0]), (yes[1] & which[1]) | (no[1] & ~which[1])};
  }
  if (i.op == Opcode::kSCselectB32 || i.op == Opcode::kSCselectB64) {
    return written_lanes(wave, i.source[wave.scc ? 0 : 1]);
  }
  for (int s = 0; s < i.sources; ++s) take(i.source[static_cast<size_t>(s)]);
  if (op.type == Class::kWmma && (out[0] != kAll || (wave.wave64 && out[1] != kAll))) return {0, 0};
  return out;
}

void Strict::set_written(Wave& wave, const Operand& operand, const Lanes& good, bool whole) {
  WaveState& state = waves_[wave.index];
  for (int d = 0; d < operand.dwords; ++d) {
    if (operand.is_vgpr()) {
      const auto n = static_cast<size_t>(operand.vgpr() + d);
      if (n >= state.vgpr_written.size()) return;
      if (good[0] == kAll && good[1] == kAll && contains(state.vgpr_complete, n)) continue;
      for (int bank = 0; bank < 2; ++bank) {
        const uint32_t exec = whole ? kAll : wave.exec(bank);
        uint32_t& lanes = state.vgpr_written[n][static_cast<size_t>(bank)];
        lanes = (lanes & ~exec) | (good[static_cast<size_t>(bank)] & exec);
      }
      const Lanes& now = state.vgpr_written[n];
      if (now[0] == kAll && (now[1] == kAll || !wave.wave64)) {
        insert(state.vgpr_complete, n);
      } else {
        erase(state.vgpr_complete, n);
      }
    } else if (operand.code + static_cast<size_t>(d) < code::kExecLo &&
               operand.code != code::kNull) {
      state.sgpr_written[operand.code + static_cast<size_t>(d)] = good[0] != 0;
    }
  }
}

void Strict::check_used(Wave& wave, const Op& op, const Operand& operand, std::string_view role) {
  const Lanes lanes = written_lanes(wave, operand);
  const Lanes missing{~lanes[0] & wave.exec(0), ~lanes[1] & wave.exec(1)};
  if ((missing[0] | missing[1]) == 0) return;
  const int lane =
      missing[0] != 0 ? std::countr_zero(missing[0]) : 32 + std::countr_zero(missing[1]);
  if (operand.is_vgpr()) {
    report(wave, op, "uninitialized-vgpr", lane, 0,
           fmt::format(
               "{} is used as {} and depends on a register that was never written in this lane",
               register_name(operand, 0), role));
  } else {
    report(wave, op, "uninitialized-sgpr", -1, 0,
           fmt::format("{} is used as {} and depends on a register that was never written",
                       register_name(operand, 0), role));
  }
}

// --- LDS ---

void Strict::lds_access(Wave& wave, const Op& op, int bank, int lane, uint64_t address,
                        uint32_t bytes, bool write, bool atomic) {
  WaveState& state = waves_[wave.index];
  const auto self = static_cast<uint16_t>(wave.index + 1);
  const uint64_t pc = wave.pc_of(op);
  const int shown = lane < 0 ? lane : bank * 32 + lane;
  for (uint64_t w = address / 4; w <= (address + bytes - 1) / 4 && w < lds_.size(); ++w) {
    LdsWord& word = lds_[w];
    const bool read = !write || atomic;
    const bool foreign = word.writer != 0 && word.writer != self;
    const auto earlier_write = [&] {
      return fmt::format("wave {} wrote it at {:#x} and no barrier came between", word.writer - 1,
                         word.writer_pc);
    };
    if (read && foreign && word.epoch == epoch_ && !word.atomic) {
      report(wave, op, "race-in-lds", shown, w * 4, earlier_write());
    } else if (read && foreign && word.epoch < epoch_ &&
               word.number > waves_[word.writer - 1U].lgkm_done_at_barrier) {
      report(wave, op, "missing-waitcnt", shown, w * 4,
             fmt::format(
                 "wave {} wrote it at {:#x} and went through the barrier without s_waitcnt lgkmcnt",
                 word.writer - 1, word.writer_pc));
    } else if (write && foreign && word.epoch == epoch_ && !(atomic && word.atomic)) {
      report(wave, op, "race-in-lds", shown, w * 4, earlier_write());
    } else if (write && !atomic && word.reader_epoch == epoch_ && word.reader != self) {
      report(
          wave, op, "race-in-lds", shown, w * 4,
          fmt::format("another wave read it at {:#x} and no barrier came between", word.reader_pc));
    }
    if (read && word.writer == 0 && lane >= 0)
      unwritten_loaded_[static_cast<size_t>(bank)] |= 1U << lane;
    if (!write) {
      word.reader = word.reader_epoch == epoch_ && word.reader != self ? kSeveral : self;
      word.reader_epoch = epoch_;
      word.reader_pc = pc;
    } else {
      word.writer = self;
      word.epoch = epoch_;
      word.number = state.counters[kLgkm].issued + 1;  // what start_load() will give it
      word.atomic = atomic;
      word.writer_pc = pc;
    }
  }
}

void Strict::lds_out_of_range(Wave& wave, const Op& op, int lane, uint64_t address) {
  report(wave, op, "lds-out-of-range", lane, address,
         fmt::format("the workgroup has {} bytes of LDS", workgroup_.lds.size()));
}

// --- Global memory ---

void Strict::global_access(Wave& wave, const Op& op, const uint64_t* addresses, uint32_t mask,
                           uint32_t bytes, bool write, bool atomic) {
  MemoryOrder* order = workgroup_.worker->shared->order;
  if (order == nullptr) return;
  MemoryOrder::Who who;
  who.workgroup = workgroup_.index;
  who.pc = wave.pc_of(op);
  who.write = write;
  who.atomic = atomic;
  who.bypass = op.instruction->glc;
  if (const auto finding = order->access(who, addresses, mask, bytes)) {
    report(wave, op, finding->rule, finding->lane, finding->address, finding->earlier);
  }
}

void Strict::scalar_access(Wave& wave, const Op& op, uint64_t address, uint32_t bytes) {
  MemoryOrder* order = workgroup_.worker->shared->order;
  if (order == nullptr) return;
  MemoryOrder::Who who;
  who.workgroup = workgroup_.index;
  who.pc = wave.pc_of(op);
  who.scalar = true;
  who.bypass = op.instruction->glc;
  if (const auto finding = order->access(who, &address, 1, bytes)) {
    report(wave, op, finding->rule, -1, finding->address, finding->earlier);
  }
}

void Strict::report(Wave& wave, const Op& op, std::string_view rule, int lane, uint64_t address,
                    std::string detail) {
  ++workgroup_.violation_count;
  const uint64_t pc = wave.pc_of(op);
  if (!reported_.insert({rule, pc}).second) return;
  if (workgroup_.violations.size() >= workgroup_.worker->shared->options->violation_limit) return;
  Violation v;
  v.rule = rule;
  v.kernel = workgroup_.dispatch->name;
  v.pc = pc;
  if (op.instruction->op != Opcode::kInvalid) v.instruction = disassemble(*op.instruction, pc);
  v.dispatch = workgroup_.dispatch->id;
  v.workgroup = workgroup_.index;
  v.wave = wave.index;
  v.lane = lane;
  v.address = address;
  v.detail = std::move(detail);
  workgroup_.violations.push_back(std::move(v));
}

}  // namespace outboard::simulator::compute
