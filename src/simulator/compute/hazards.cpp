#include "simulator/compute/hazards.h"

#include <algorithm>
#include <optional>

#include "simulator/compute/operand_rules.h"
#include "simulator/compute/strict.h"
#include "support/error.h"

namespace outboard::simulator::compute {
namespace {

static_assert(sizeof(Op) == 64);  // one line of the host's cache: Op::hazards costs nothing

enum Hazard : uint16_t {
  kVector = 1,
  kTranscendental = 2,
  kMatrix = 4,
  kScalar = 8,        // scalar ALU
  kWritesExec = 16,   // of the scalar ALU
  kCompareExec = 32,  // v_cmpx
  kPermlane = 64,
  kSettles = 128,    // what reads vector registers elsewhere waits for the vector ALU
  kReadsMask = 256,  // a lane mask that selects or carries
  kWaitAlu = 512,    // s_waitcnt_depctr
  kMessage = 1024,   // s_sendmsg
  kNop = 2048,       // s_nop
  kEmpty = 4096,     // v_nop
  kBadOperands = 8192,
};

// What a clause is made of (SIInsertHardClauses.cpp; local data and the vector ALU, which LLVM does
// not put into clauses, are allowed by the guide).
enum Kind : uint8_t {
  kNone,
  kLoad,
  kStore,
  kAtomic,
  kFlatLoad,
  kFlatStore,
  kFlatAtomic,
  kScalarLoad,
  kLocal,
  kArithmetic,
  kInternal,
  kForbidden
};

constexpr uint32_t kLongestClause = 32;  // the hardware's own limit of 63 meets a bug

bool is_vector(Format f) { return f >= Format::kVop1 && f <= Format::kVinterp; }
bool is_scalar(Format f) { return f <= Format::kSopc; }

bool is_memory(Format f) { return f >= Format::kDs && f <= Format::kExp; }

bool writes_exec(const Instruction& i) {
  for (size_t d = 0; d < i.destinations; ++d) {
    const Operand& to = i.destination[d];
    if (to.code <= code::kExecHi && to.code + to.dwords > code::kExecLo) return true;
  }
  const std::string_view name = mnemonic(i.op);
  return name.find("saveexec") != std::string_view::npos ||
         name.find("wrexec") != std::string_view::npos;
}

bool is_permlane(Opcode op) {
  return op == Opcode::kVPermlane16B32 || op == Opcode::kVPermlanex16B32 ||
         op == Opcode::kVPermlane64B32;
}

bool reads_mask(const Instruction& i) {
  switch (i.op) {
    case Opcode::kVCndmaskB16:
    case Opcode::kVCndmaskB32:
    case Opcode::kVAddCoCiU32:
    case Opcode::kVSubCoCiU32:
    case Opcode::kVSubrevCoCiU32:
    case Opcode::kVDivFmasF32:
    case Opcode::kVDivFmasF64:
      return i.format != Format::kVopd;
    default:
      return false;
  }
}

Kind kind_of(const Op& op) {
  const Instruction& i = *op.instruction;
  const bool flat = i.format == Format::kFlat;
  switch (i.format) {
    case Format::kFlat:
    case Format::kGlobal:
    case Format::kScratch:
    case Format::kMubuf:
    case Format::kMtbuf:
      if (op.type == Class::kVmemAtomic) return flat ? kFlatAtomic : kAtomic;
      if (i.destinations > 0) return flat ? kFlatLoad : kLoad;
      return i.sources > 0 ? (flat ? kFlatStore : kStore) : kForbidden;
    case Format::kSmem:
      return kScalarLoad;
    case Format::kDs:
      return i.gds ? kForbidden : kLocal;
    case Format::kSopp:
      return op.flow == Flow::kNothing && op.type != Class::kWaitcnt && i.op != Opcode::kSSendmsg &&
                     i.op != Opcode::kSClause
                 ? kInternal
                 : kForbidden;
    default:
      return is_vector(i.format) ? kArithmetic : kForbidden;
  }
}

}  // namespace

uint16_t hazards_of(const Op& op) {
  const Instruction& i = *op.instruction;
  uint32_t out = 0;
  if (is_vector(i.format)) {
    out |= kVector;
    if (op.type == Class::kTranscendental) out |= kTranscendental;
    if (op.type == Class::kWmma) out |= kMatrix;
    if (is_permlane(i.op)) out |= kPermlane;
    if (i.op == Opcode::kVNop) out |= kEmpty;
    if (reads_mask(i)) out |= kReadsMask;
    if ((i.format == Format::kVopc || i.format == Format::kVop3) && i.destinations == 0 &&
        mnemonic(i.op).starts_with("v_cmpx"))
      out |= kCompareExec;
    if (operand_mistake(i)) out |= kBadOperands;
  } else if (is_scalar(i.format)) {
    out |= kScalar;
    if (writes_exec(i)) out |= kWritesExec;
  } else if (is_memory(i.format)) {
    out |= kSettles;
  } else if (i.op == Opcode::kSWaitcntDepctr) {
    out |= kWaitAlu;
  } else if (i.op == Opcode::kSSendmsg) {
    out |= kMessage;
  } else if (i.op == Opcode::kSNop) {
    out |= kNop;
  }
  return static_cast<uint16_t>(out);
}

void Hazards::before(Wave& wave, const Op& op, bool scratch_stored) {
  if (op.type == Class::kNone) return;  // the simulator's own
  WaveState& state = waves_[wave.index];
  const Instruction& i = *op.instruction;
  if (state.clause_left != 0 || i.op == Opcode::kSClause) check_clause(wave, op, state);
  if (state.deallocated && op.vgpr_end > 0) {
    report(wave, op, "vgpr-dealloc",
           "it names vector registers, which the wave gave back by MSG_DEALLOC_VGPRS");
  }
  if ((op.hazards & kVector) != 0) {
    check_vector(wave, op, state);
  } else if ((op.hazards & kSettles) != 0) {
    state.settled = state.issued;
  } else if ((op.hazards & kWaitAlu) != 0) {
    // s_waitcnt_depctr: va_vdst in bits 15:12, sa_sdst in bit 0.
    if (i.simm16 >> 12 == 0) state.settled = state.issued;
    if ((i.simm16 & 1) == 0) {
      state.mask_read = {};
      state.mask_written = {};
    }
  } else if ((op.hazards & kMessage) != 0) {
    check_message(wave, op, state, scratch_stored);
  }
  if (wave.wave64) check_masks(wave, op, state);
  if ((op.hazards & kWritesExec) != 0) ++state.exec_writes;
  state.nop_before = (op.hazards & kNop) != 0;
}

// The vector instruction so many before this one (0: the last), if it may not have written yet.
const Hazards::VectorOp* Hazards::earlier(const WaveState& state, uint32_t back) const {
  if (back >= kHistory || back >= state.issued - state.settled) return nullptr;
  return &state.history[(state.issued - 1 - back) % kHistory];
}

void Hazards::check_clause(Wave& wave, const Op& op, WaveState& state) {
  const Kind kind = kind_of(op);
  if (state.clause_left != 0 && kind != kInternal) {
    --state.clause_left;
    if (state.clause_kind == kNone) state.clause_kind = kind;
    if (kind == kForbidden || kind != state.clause_kind) {
      report(wave, op, "clause",
             fmt::format("it stands in a clause (s_clause) with {} more to come, which must be of "
                         "one kind: loads, stores or atomics of one kind of memory",
                         state.clause_left + 1));
      state.clause_left = 0;
    }
  } else if (state.clause_left != 0) {
    --state.clause_left;
  }
  if (op.instruction->op != Opcode::kSClause) return;
  const uint32_t length = (op.instruction->simm16 & 0x3fU) + 1;
  if (length < 2 || length > kLongestClause) {
    report(
        wave, op, "clause",
        fmt::format("a clause of {} instructions; it must have 2 to {}", length, kLongestClause));
  }
  state.clause_left = length;
  state.clause_kind = kNone;
}

void Hazards::check_message(Wave& wave, const Op& op, WaveState& state, bool scratch_stored) {
  constexpr uint32_t kDeallocVgprs = 3;
  if ((op.instruction->simm16 & 0xffU) != kDeallocVgprs) return;
  if (!state.nop_before)
    report(wave, op, "vgpr-dealloc", "MSG_DEALLOC_VGPRS needs an s_nop right before it");
  if (scratch_stored) {
    report(wave, op, "vgpr-dealloc",
           "a store to scratch is under way, and the wave's scratch goes with its registers; no "
           "s_waitcnt_vscnt null, 0 came between");
  }
  state.deallocated = true;
}

void Hazards::check_vector(Wave& wave, const Op& op, WaveState& state) {
  const Instruction& i = *op.instruction;
  if ((op.hazards & kBadOperands) != 0) {
    if (const auto mistake = operand_mistake(i)) report(wave, op, mistake->rule, mistake->detail);
  }
  if ((op.hazards & kPermlane) != 0 && state.after_cmpx) {
    report(wave, op, "cmpx-permlane",
           "a v_cmpx has just changed EXEC; a vector instruction that is no v_nop must stand "
           "between");
  }
  if (state.after_matrix && (op.hazards & kMatrix) != 0) {
    const VectorOp& before = state.history[(state.issued - 1) % kHistory];
    for (size_t s = 0; s < 2; ++s) {
      const Operand& from = i.source[s];
      if (!from.is_vgpr() || !before.results[0].meets({from.vgpr(), from.dwords})) continue;
      report(wave, op, "wmma-operand",
             fmt::format("it multiplies by what the WMMA at {:#x}, just before, has not written "
                         "yet; a vector instruction (v_nop) must stand between",
                         before.pc));
      break;
    }
  }
  check_transcendental(wave, op, state);
  if (wave.wave64) check_partial_forwarding(wave, op, state);

  if ((op.hazards & kCompareExec) != 0) {
    state.after_cmpx = true;
  } else if ((op.hazards & kEmpty) == 0) {
    state.after_cmpx = false;
  }
  state.after_matrix = (op.hazards & kMatrix) != 0;
  VectorOp& now = state.history[state.issued % kHistory];
  now = {};
  for (size_t d = 0; d < i.destinations; ++d) {
    const Operand& to = i.destination[d];
    if (to.is_vgpr()) now.results[d] = {to.vgpr(), to.dwords};
  }
  now.transcendental = (op.hazards & kTranscendental) != 0;
  now.exec_writes = state.exec_writes;
  now.pc = wave.pc_of(op);
  ++state.issued;
}

// The result of a transcendental is read within five vector instructions, of which at most one is
// another transcendental.
void Hazards::check_transcendental(Wave& wave, const Op& op, const WaveState& state) {
  constexpr uint32_t kBetween = 5;
  int others = 0;
  for (uint32_t back = 0; back <= kBetween && others <= 1; ++back) {
    const VectorOp* before = earlier(state, back);
    if (before == nullptr) return;
    if (!before->transcendental) continue;
    ++others;
    for (size_t s = 0; s < op.instruction->sources; ++s) {
      const Operand& from = op.instruction->source[s];
      if (from.constant || !from.is_vgpr() || !before->results[0].meets({from.vgpr(), from.dwords}))
        continue;
      report(wave, op, "transcendental-use",
             fmt::format("v{} may not be there yet: the transcendental at {:#x} writes it, {} "
                         "vector instructions before; no s_waitcnt_depctr 0xfff came between",
                         from.vgpr(), before->pc, back));
      return;
    }
  }
}

// Wave64: two operands, one written before a scalar instruction changed EXEC, one after, with at
// most two vector instructions between those and four until here.
void Hazards::check_partial_forwarding(Wave& wave, const Op& op, const WaveState& state) {
  constexpr uint32_t kBeforeAndAfter = 2, kUntilUse = 4, kAll = kBeforeAndAfter + kUntilUse + 2;
  const Instruction& i = *op.instruction;
  std::array<Registers, 8> from{};
  size_t count = 0;
  for (size_t s = 0; s < i.sources; ++s) {
    const Operand& operand = i.source[s];
    if (operand.constant || operand.dwords == 0 || !operand.is_vgpr()) continue;
    const auto same = [&](const Registers& r) {
      return r.first == operand.vgpr() && r.count == operand.dwords;
    };
    if (std::none_of(from.begin(), from.begin() + static_cast<ptrdiff_t>(count), same))
      from[count++] = {operand.vgpr(), operand.dwords};
  }
  if (count < 2) return;

  std::array<bool, 8> found{};
  std::optional<uint32_t> after;  // the nearest that wrote one of them
  for (uint32_t back = 0; back <= kAll; ++back) {
    const VectorOp* before = earlier(state, back);
    if (before == nullptr) return;
    const bool is_before_change =
        after && before->exec_writes != earlier(state, *after)->exec_writes;
    for (size_t s = 0; s < count; ++s) {
      const bool writes = before->results[0].meets(from[s]) || before->results[1].meets(from[s]);
      if (found[s] || !writes) continue;
      found[s] = true;
      if (!after) {
        after = back;
        continue;
      }
      if (!is_before_change) continue;
      // back - *after - 1 vector instructions stand between the two.
      if (*after <= kUntilUse && back - *after - 1 <= kBeforeAndAfter) {
        report(wave, op, "partial-forwarding",
               fmt::format("of its operands v{} was written at {:#x}, before EXEC changed, and "
                           "another at {:#x}, after; no s_waitcnt_depctr 0xfff came between",
                           from[s].first, before->pc, earlier(state, *after)->pc));
      }
      return;
    }
  }
}

// Wave64: the scalar ALU writes a register that the vector ALU has read as a lane mask, and reads
// it again before the write is through.
void Hazards::check_masks(Wave& wave, const Op& op, WaveState& state) {
  const Instruction& i = *op.instruction;
  const auto bit = [&](size_t n) -> uint64_t { return uint64_t{1} << (n % 64); };
  if ((op.hazards & kScalar) != 0) {
    for (size_t s = 0; s < i.sources; ++s) {
      const Operand& from = i.source[s];
      if (from.constant || !is_scalar_register(from)) continue;
      for (size_t n = from.code; n < size_t{from.code} + from.dwords && n < 128; ++n) {
        if ((state.mask_written[n / 64] & bit(n)) == 0) continue;
        state.mask_written[n / 64] &= ~bit(n);
        report(wave, op, "mask-write",
               "it reads a register that the scalar ALU wrote after the vector ALU had read it as "
               "a lane mask; no s_waitcnt_depctr 0xfffe came between");
      }
    }
  } else if ((op.hazards & kVector) != 0) {
    bool reads_scalars = (op.hazards & kReadsMask) != 0;
    for (size_t s = 0; s < i.sources; ++s) {
      reads_scalars |= is_scalar_register(i.source[s]) ||
                       (i.source[s].constant && i.source[s].code == code::kLiteral);
    }
    if (reads_scalars) state.mask_read = {};
    if ((op.hazards & kReadsMask) != 0) {
      const bool is_vcc = i.op == Opcode::kVDivFmasF32 || i.op == Opcode::kVDivFmasF64;
      state.mask_read = {is_vcc ? int{code::kVccLo} : int{i.source[2].code}, 2};
    }
  }
  for (size_t d = 0; d < i.destinations; ++d) {
    Operand to = i.destination[d];
    if (to.is_vgpr() || to.code >= code::kNull) continue;
    if (to.type == Type::kMask) to.dwords = 2;
    const bool hazard = (op.hazards & kScalar) != 0 && state.mask_read.meets({to.code, to.dwords});
    for (size_t n = to.code; n < size_t{to.code} + to.dwords; ++n) {
      if (hazard) {
        state.mask_written[n / 64] |= bit(n);
      } else {
        state.mask_written[n / 64] &= ~bit(n);
      }
    }
  }
}

void Hazards::report(Wave& wave, const Op& op, std::string_view rule, std::string detail) {
  strict_.report(wave, op, rule, -1, 0, std::move(detail));
}

}  // namespace outboard::simulator::compute
