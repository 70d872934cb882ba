// Places pieces of one block of memory by when they are alive.
#pragma once

#include <cstdint>
#include <span>

namespace outboard {

// A piece of memory, alive from one step of a plan to another, both included. What the steps are is
// the planner's.
struct Piece {
  uint64_t bytes = 0;
  int first = 0;
  int last = 0;
  uint64_t offset = 0;
};

// First fit: pieces in order of size, each at the lowest offset that is free in all of its steps.
// Equal sizes go in order of the list, so that the plan is the same on every system. Sets the
// offsets; returns the bytes that the block needs.
uint64_t place_first_fit(std::span<Piece> pieces);

}  // namespace outboard
