#include "devices/cpu/slots.h"

#include <algorithm>

namespace outboard::devices::cpu {

Slots::Slots(const std::vector<program::SlotState>& states, int slots) {
  constexpr int64_t kLine = 16;  // floats of a cache line: threads share none
  for (const program::SlotState& state : states) {
    offsets_.push_back(slot_floats_);
    slot_floats_ += (state.size + kLine - 1) / kLine * kLine;
  }
  const size_t bytes =
      static_cast<size_t>(slots) * static_cast<size_t>(slot_floats_) * sizeof(float);
  if (bytes > 0) memory_ = AlignedBuffer(bytes);
}

void Slots::copy(int32_t from, int32_t to, int part, int parts) const {
  const int64_t begin = slot_floats_ * part / parts;
  const int64_t end = slot_floats_ * (part + 1) / parts;
  auto* memory = reinterpret_cast<float*>(memory_.data());
  std::copy_n(memory + from * slot_floats_ + begin, end - begin,
              memory + to * slot_floats_ + begin);
}

std::span<std::byte> Slots::slot(int32_t slot) const {
  return {memory_.data() + static_cast<size_t>(slot) * slot_bytes(), slot_bytes()};
}

}  // namespace outboard::devices::cpu
