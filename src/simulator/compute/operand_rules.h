// Operands that an instruction of the vector ALU must not have together: the encoding allows them,
// and an assembler refuses them. Sources: hazards.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "simulator/compute/isa.h"

namespace outboard::simulator::compute {

// It is fetched from the scalar register file, over the constant bus.
bool is_scalar_register(const Operand& operand);

struct OperandMistake {
  std::string_view rule;
  std::string detail;
};
// Nothing: the operands may be used together.
std::optional<OperandMistake> operand_mistake(const Instruction& instruction);

}  // namespace outboard::simulator::compute
