// How the CPU runs a Program: its ops grouped into phases, and every value's place in memory.
//
// Within a phase threads work without waiting for one another; between phases all wait. Row phases
// (norms, rope, gates, packing ...) give each thread some rows (tokens) and run all their ops on
// them; linear phases split the outputs of several matrices that are ready together (q, k and v);
// attention and expert phases split their own way. A sequence phase goes through the tokens of each
// run in order, every thread over its own channels.
#pragma once

#include <vector>

#include "devices/cpu/kernels/kernels.h"
#include "program/program.h"

namespace outboard::devices::cpu {

struct Item {
  enum Kind : uint8_t { kOp, kPack, kKvWrite };
  Kind kind = kOp;
  int op = 0;                  // index into Program::ops (kPack: the Linear it is for)
  program::ValueId value = 0;  // kPack: what is packed
  Packing packing = Packing::kFloat;
};

struct PhasePlan {
  enum Kind : uint8_t { kTokenRows, kLogitRows, kLinear, kAttention, kExperts, kSequence };
  Kind kind;
  std::vector<Item> items;
};

// Where a value lies: `row * stride` floats behind offset, in bytes from the arena's start.
struct Place {
  size_t offset = 0;
  int64_t stride = 0;  // floats from row to row
};

struct PackedPlace {
  program::ValueId value;
  Packing packing;
  int heads;      // 1, or the row is packed head by head
  size_t offset;  // bytes from the arena's start; rows back to back, all of a head's together
};

struct Plan {
  std::vector<PhasePlan> phases;
  std::vector<Place> places;  // one a value; integer values have none
  std::vector<PackedPlace> packed;
  std::vector<bool> accumulates;  // one an op: this Linear adds to the residual in place
  std::vector<bool> fused;        // one an op: done by another op, nothing to run
  size_t arena_bytes = 0;
  size_t encoder_phases = 0;  // the first ones, which are the encoder's
  size_t drafter_phases = 0;  // the last ones

  const PackedPlace& packed_place(program::ValueId value, Packing packing, int heads) const;
};

// The heads of a Linear, by its number among the ops: 1, or those that have a matrix each.
int heads_of(const program::Program& program, int linear);

// How the inputs of a weight are packed. Translation models take 8-bit activations with weights in
// blocks, as other engines' int8 translation does; language models need 16.
bool byte_inputs(const program::Program& program);
Packing packing_of(const program::Program& program, program::WeightId weight);

// max_tokens and max_rows size the values; kernels tells packed sizes.
Plan make_plan(const program::Program& program, const Kernels& kernels, int max_tokens,
               int max_rows);

}  // namespace outboard::devices::cpu
