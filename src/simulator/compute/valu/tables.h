// The bodies of the set of instructions that was chosen, by opcode.
#pragma once

#include <vector>

#include "simulator/compute/valu/operations.h"

namespace outboard::simulator::compute::valu {

// What this processor can run, best last.
std::vector<const Table*> available_tables();
// The best one, or what OUTBOARD_CPU names.
const Table& chosen_table();

struct Operation {
  uint16_t traits = 0;
  Body body = nullptr;  // null: not a lane-by-lane operation
  Handler direct = nullptr;
};
// variant: kClamped and signs, see operations.def. Where there is no such variant, the plain one.
Operation find_operation(const Table& table, Opcode op, int variant);

// The place of a constant of one or two dwords as lanes (operands.h), kept for the life of the
// process. 0 when there is no room left, or for wider ones.
uint16_t constant_place(uint64_t value, int dwords);

}  // namespace outboard::simulator::compute::valu
