// Vector ALU instructions that look across lanes or choose registers as they run.
// Source: RDNA3 ISA guide, chapter 16 (VOP1, VOP3, VINTERP).
#include <algorithm>
#include <bit>
#include <cmath>

#include "simulator/compute/valu/general.h"

namespace outboard::simulator::compute::valu {
namespace {

constexpr int kLanes = static_cast<int>(kLanesOfRegister);
constexpr int kRow = 16, kQuad = 4;

void run_nothing(Wave&, const Op&) {}

uint32_t scalar_of(const Wave& wave, const Op& op, int index) {
  return static_cast<uint32_t>(scalar_source(wave, op, index));
}

// One lane of a register, lanes counted through the banks.
uint32_t& lane_of(Wave& wave, int vgpr, uint32_t lane) {
  return register_words(wave, static_cast<int>(lane / kLanes), vgpr)[lane % kLanes];
}
bool is_active(const Wave& wave, uint32_t lane) { return (wave.exec64() >> lane & 1) != 0; }
uint32_t lanes_of(const Wave& wave) { return wave.wave64 ? 2 * kLanes : kLanes; }

int source_vgpr(const Op& op, size_t index) { return op.instruction->source[index].vgpr(); }
int destination_vgpr(const Op& op) { return op.instruction->destination[0].vgpr(); }

// --- One lane to or from a scalar register ---

void run_readfirstlane(Wave& wave, const Op& op) {
  const uint64_t exec = wave.exec64();
  const auto lane = static_cast<uint32_t>(exec == 0 ? 0 : std::countr_zero(exec));
  wave.write_sgpr(op.instruction->destination[0].code, lane_of(wave, source_vgpr(op, 0), lane));
}
void run_readlane(Wave& wave, const Op& op) {
  const uint32_t lane = scalar_of(wave, op, 1) % lanes_of(wave);
  wave.write_sgpr(op.instruction->destination[0].code, lane_of(wave, source_vgpr(op, 0), lane));
}
void run_writelane(Wave& wave, const Op& op) {
  const uint32_t lane = scalar_of(wave, op, 1) % lanes_of(wave);
  lane_of(wave, destination_vgpr(op), lane) = scalar_of(wave, op, 0);
}

// --- Permutations ---

// Where each lane reads, times 4. kOther, here and below: from the other row of the pair.
template <bool kOther>
VectorRegister permlane_sources(uint64_t selects) {
  VectorRegister from;
  for (size_t lane = 0; lane < from.lane.size(); ++lane) {
    const uint64_t row = (lane / kRow) ^ (kOther ? 1 : 0);
    from.lane[lane] =
        static_cast<uint32_t>(row * kRow + (selects >> (4 * (lane % kRow)) & 0xf)) * 4;
  }
  return from;
}

template <bool kOther>
void run_permlane16(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const uint64_t selects =
      static_cast<uint64_t>(scalar_of(wave, op, 2)) << 32 | scalar_of(wave, op, 1);
  if (!wave.wave64 && wave.exec(0) == ~0U) {
    // Mostly the same ones as the last time.
    thread_local uint64_t known = 0;
    thread_local VectorRegister from = permlane_sources<kOther>(0);
    if (known != selects) {
      from = permlane_sources<kOther>(selects);
      known = selects;
    }
    chosen_table().memory->permute(register_words(wave, 0, destination_vgpr(op)),
                                   register_words(wave, 0, source_vgpr(op, 0)), from.lane.data(), 0,
                                   ~0U);
    return;
  }
  for (int bank = 0; bank < wave.banks(); ++bank) {
    const uint32_t exec = wave.exec(bank);
    const VectorRegister in = wave.bank[static_cast<size_t>(bank)][source_vgpr(op, 0)];
    uint32_t* out = register_words(wave, bank, destination_vgpr(op));
    for (int lane = 0; lane < kLanes; ++lane) {
      if ((exec >> lane & 1) == 0) continue;
      const int row = (lane / kRow) ^ (kOther ? 1 : 0);
      const auto from = static_cast<size_t>(row * kRow) + (selects >> (4 * (lane % kRow)) & 0xf);
      // OPSEL: FI reads inactive lanes; without it BOUND_CTRL makes them zero, else nothing is
      // written.
      const bool readable = i.fetch_inactive || (exec >> from & 1) != 0;
      if (readable) {
        out[lane] = in.lane[from];
      } else if (i.bound_ctrl) {
        out[lane] = 0;
      }
    }
  }
}

// Wave64's halves exchanged; nothing in wave32.
void run_permlane64(Wave& wave, const Op& op) {
  if (!wave.wave64) return;
  const auto vgpr = static_cast<size_t>(source_vgpr(op, 0));
  const std::array<VectorRegister, 2> in = {wave.bank[0][vgpr], wave.bank[1][vgpr]};
  for (int bank = 0; bank < 2; ++bank) {
    chosen_table().blend(register_words(wave, bank, destination_vgpr(op)),
                         in[static_cast<size_t>(1 - bank)].lane.data(), wave.exec(bank));
  }
}

// --- Registers by number ---

// Null when the register is not the wave's: such writes are dropped, such reads see v0 (guide,
// 3.3.4 "out of range").
uint32_t* register_or_null(Wave& wave, int bank, int64_t vgpr) {
  if (vgpr < 0 || vgpr >= wave.vgpr_count) return nullptr;
  return register_words(wave, bank, static_cast<int>(vgpr));
}

// What M0 adds to the source's and the destination's number.
template <bool kSource, bool kDestination, bool kSplit>
void run_movrel(Wave& wave, const Op& op) {
  const Operand& source = op.instruction->source[0];
  const uint32_t m0 = wave.sgpr[code::kM0];
  const int64_t from = kSource ? (kSplit ? m0 & 0x3ff : m0) : 0;
  const int64_t to = kDestination ? (kSplit ? m0 >> 16 & 0x3ff : m0) : 0;
  for (int bank = 0; bank < wave.banks(); ++bank) {
    Buffer value;
    chosen_table().fill(value.word.data(), 0);
    if (source.is_vgpr()) {
      const uint32_t* in = register_or_null(wave, bank, source.vgpr() + from);
      if (in == nullptr) in = register_words(wave, bank, 0);
      std::copy_n(in, kLanes, value.word.data());
    } else {
      chosen_table().fill(value.word.data(), scalar_of(wave, op, 0));
    }
    uint32_t* out = register_or_null(wave, bank, destination_vgpr(op) + to);
    if (out != nullptr) chosen_table().blend(out, value.word.data(), wave.exec(bank));
  }
}

template <bool kRelative>
void run_swap(Wave& wave, const Op& op) {
  const uint32_t m0 = wave.sgpr[code::kM0];
  for (int bank = 0; bank < wave.banks(); ++bank) {
    uint32_t* x = register_or_null(wave, bank, source_vgpr(op, 0) + (kRelative ? m0 & 0x3ff : 0));
    uint32_t* y =
        register_or_null(wave, bank, destination_vgpr(op) + (kRelative ? m0 >> 16 & 0x3ff : 0));
    if (x == nullptr || y == nullptr) continue;
    for (int lane = 0; lane < kLanes; ++lane) {
      if ((wave.exec(bank) >> lane & 1) != 0) std::swap(x[lane], y[lane]);
    }
  }
}

// --- Interpolation of attributes that lds_param_load left in lanes 0 to 2 of each quad ---

enum class Round { kMode, kZero };

float half_value(uint32_t word) {
  Buffer in{}, out;
  in.word[0] = word;
  find_operation(chosen_table(), Opcode::kVCvtF32F16, 0)
      .body(out.word.data(), in.word.data(), nullptr, nullptr, kIeee);
  return std::bit_cast<float>(out.word[0]);
}
uint32_t half_bits(float x, Round round) {
  Buffer in{}, out;
  in.word[0] = std::bit_cast<uint32_t>(x);
  const Opcode convert = round == Round::kZero ? Opcode::kVCvtPkRtzF16F32 : Opcode::kVCvtF16F32;
  find_operation(chosen_table(), convert, 0)
      .body(out.word.data(), in.word.data(), in.word.data(), nullptr, kIeee);
  return out.word[0] & 0xffff;
}

float interpolation_source(Wave& wave, const Op& op, size_t index, uint32_t lane) {
  const Operand& operand = op.instruction->source[index];
  const uint32_t word = lane_of(wave, operand.vgpr(), lane);
  const float x = operand.type == Type::kF16 ? half_value(operand.high ? word >> 16 : word)
                                             : std::bit_cast<float>(word);
  return operand.negate ? -x : x;
}

// p10: P10 * I + P0 of the quad. p2: P20 * J + what p10 gave.
template <bool kSecond>
void run_interpolate(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const Operand& d = i.destination[0];
  const bool to_zero = i.op == Opcode::kVInterpP10RtzF16F32 || i.op == Opcode::kVInterpP2RtzF16F32;
  const uint32_t lanes = lanes_of(wave);
  std::array<uint32_t, size_t{2} * kLanes> result{};
  for (uint32_t lane = 0; lane < lanes; ++lane) {
    const uint32_t quad = lane & ~(kQuad - 1U);
    const float p = interpolation_source(wave, op, 0, quad + (kSecond ? 2 : 1));
    const float weight = interpolation_source(wave, op, 1, lane);
    const float add = interpolation_source(wave, op, 2, kSecond ? lane : quad);
    float value = std::fma(p, weight, add);
    if (i.clamp) value = value > 0 ? std::min(value, 1.0F) : 0.0F;
    result[lane] = d.type == Type::kF16 ? half_bits(value, to_zero ? Round::kZero : Round::kMode)
                                        : std::bit_cast<uint32_t>(value);
  }
  for (uint32_t lane = 0; lane < lanes; ++lane) {
    if (!is_active(wave, lane)) continue;
    uint32_t& out = lane_of(wave, d.vgpr(), lane);
    if (d.type != Type::kF16) {
      out = result[lane];
    } else {
      out = d.high ? (out & 0xffff) | result[lane] << 16 : (out & 0xffff0000) | result[lane];
    }
  }
}

Handler handler_of(Opcode op) {
  switch (op) {
    case Opcode::kVNop:
    case Opcode::kVPipeflush:
      return run_nothing;
    case Opcode::kVReadfirstlaneB32:
      return run_readfirstlane;
    case Opcode::kVReadlaneB32:
      return run_readlane;
    case Opcode::kVWritelaneB32:
      return run_writelane;
    case Opcode::kVPermlane16B32:
      return run_permlane16<false>;
    case Opcode::kVPermlanex16B32:
      return run_permlane16<true>;
    case Opcode::kVPermlane64B32:
      return run_permlane64;
    case Opcode::kVMovreldB32:
      return run_movrel<false, true, false>;
    case Opcode::kVMovrelsB32:
      return run_movrel<true, false, false>;
    case Opcode::kVMovrelsdB32:
      return run_movrel<true, true, false>;
    case Opcode::kVMovrelsd2B32:
      return run_movrel<true, true, true>;
    case Opcode::kVSwapB32:
      return run_swap<false>;
    case Opcode::kVSwaprelB32:
      return run_swap<true>;
    case Opcode::kVInterpP10F32:
    case Opcode::kVInterpP10F16F32:
    case Opcode::kVInterpP10RtzF16F32:
      return run_interpolate<false>;
    case Opcode::kVInterpP2F32:
    case Opcode::kVInterpP2F16F32:
    case Opcode::kVInterpP2RtzF16F32:
      return run_interpolate<true>;
    default:
      return nullptr;
  }
}

}  // namespace

bool prepare_special(Op& op, const Instruction& instruction) {
  // DPP on the few that the encoding allows it on (v_movrel) is not simulated.
  if (instruction.dpp != Instruction::Dpp::kNone) return false;
  const Handler handler = handler_of(instruction.op);
  if (handler == nullptr) return false;
  op.type = Class::kValu;
  op.run = handler;
  return true;
}

}  // namespace outboard::simulator::compute::valu
