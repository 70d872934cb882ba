// Read-modify-write operations of the engines (ATOMIC packets of PM4 and SDMA).
#pragma once

#include <cstdint>
#include <optional>

namespace outboard::simulator::card {

struct AtomicResult {
  uint64_t value = 0;    // to be stored
  int bytes = 4;         // width of the operation
  bool compare = false;  // a compare-and-swap
};

// `operation`: TC_OP code (soc21_enum.h). Nothing for a code that is no such operation.
std::optional<AtomicResult> apply_atomic(uint32_t operation, uint64_t memory, uint64_t source,
                                         uint64_t comparand);

}  // namespace outboard::simulator::card
