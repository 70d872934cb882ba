#include "simulator/compute/operand_rules.h"

#include <algorithm>
#include <utility>

#include "support/error.h"

namespace outboard::simulator::compute {
namespace {

bool is_wide_mad(Opcode op) { return op == Opcode::kVMadU64U32 || op == Opcode::kVMadI64I32; }

// Scalar registers and literals that the vector ALU has to fetch over one bus: how many, and how
// many may be.
struct Bus {
  int used = 0, limit = 2;
};

Bus constant_bus(const Instruction& i) {
  Bus bus;
  std::array<uint16_t, 8> seen{};
  bool literal = false;
  for (size_t s = 0; s < i.sources; ++s) {
    const Operand& operand = i.source[s];
    literal |= operand.constant && operand.code == code::kLiteral;
    if (!is_scalar_register(operand)) continue;
    const auto end = seen.begin() + bus.used;
    if (std::find(seen.begin(), end, operand.code) == end)
      seen[static_cast<size_t>(bus.used++)] = operand.code;
  }
  bus.used += literal ? 1 : 0;
  if (i.op == Opcode::kVLshlrevB64 || i.op == Opcode::kVLshrrevB64 || i.op == Opcode::kVAshrrevI64)
    bus.limit = 1;
  return bus;
}

// Both halves fetch at once: their first sources must come from different banks of the four, their
// second ones too, and their third from different ones of two.
std::optional<std::pair<int, int>> bank_conflict(const Instruction& i) {
  constexpr std::array<int, 3> kBanks = {3, 3, 1};
  for (size_t s = 0; s < kBanks.size(); ++s) {
    const Operand &x = i.source[s], &y = i.source[s + 3];
    if (x.dwords == 0 || y.dwords == 0 || !x.is_vgpr() || !y.is_vgpr() || x.constant || y.constant)
      continue;
    if (((x.vgpr() ^ y.vgpr()) & kBanks[s]) == 0) return std::pair(x.vgpr(), y.vgpr());
  }
  return std::nullopt;
}

// Of v_mad_u64_u32: the product is added in two steps, and the second may read what the first
// wrote. The upper half of the summand is let pass: where it does not matter, LLVM leaves it to
// chance.
std::optional<int> overlapping_source(const Instruction& i) {
  const int first = i.destination[0].vgpr();
  for (size_t s = 0; s < i.sources; ++s) {
    const Operand& operand = i.source[s];
    if (operand.constant || operand.dwords == 0 || !operand.is_vgpr()) continue;
    if (operand.vgpr() == first || operand.vgpr() == first + 1) return operand.vgpr();
  }
  return std::nullopt;
}

}  // namespace

bool is_scalar_register(const Operand& operand) {
  return !operand.constant && operand.dwords != 0 && operand.code <= code::kExecHi &&
         operand.code != code::kNull;
}

std::optional<OperandMistake> operand_mistake(const Instruction& i) {
  if (i.format < Format::kVop1 || i.format > Format::kVinterp) return std::nullopt;
  if (const Bus bus = constant_bus(i); bus.used > bus.limit) {
    return OperandMistake{"constant-bus",
                          fmt::format("it reads {} scalar registers and literals, and can read {}",
                                      bus.used, bus.limit)};
  }
  if (i.format == Format::kVopd) {
    if (const auto conflict = bank_conflict(i)) {
      return OperandMistake{"vopd-banks",
                            fmt::format("both halves read the same bank at once: v{} and v{}",
                                        conflict->first, conflict->second)};
    }
  }
  if (is_wide_mad(i.op)) {
    if (const auto source = overlapping_source(i)) {
      return OperandMistake{
          "mad-overlap", fmt::format("its result overlaps its operand v{}, which it may read again "
                                     "after half of the result is written",
                                     *source)};
    }
  }
  return std::nullopt;
}

}  // namespace outboard::simulator::compute
