// What a Program keeps of each sequence as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "program/program.h"
#include "support/aligned_buffer.h"

namespace outboard::devices::cpu {

// Layout: [slot][state], float32. Slots that no run ever had cost nothing.
class Slots {
 public:
  Slots(const std::vector<program::SlotState>& states, int slots);

  float* state(program::SlotStateId id, int32_t slot) const {
    return reinterpret_cast<float*>(memory_.data()) + slot * slot_floats_ +
           offsets_[static_cast<size_t>(id)];
  }
  // Part `part` of `parts` of a slot.
  void copy(int32_t from, int32_t to, int part, int parts) const;
  // All of a slot.
  std::span<std::byte> slot(int32_t slot) const;
  size_t slot_bytes() const { return static_cast<size_t>(slot_floats_) * sizeof(float); }
  size_t bytes() const { return memory_.size(); }

 private:
  std::vector<int64_t> offsets_;  // of each state in a slot, floats
  int64_t slot_floats_ = 0;
  AlignedBuffer memory_;
};

}  // namespace outboard::devices::cpu
