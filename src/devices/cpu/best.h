// The likeliest tokens of a row of logits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/cpu/kernels/kernels.h"
#include "devices/device.h"

namespace outboard::devices::cpu {

// Fills `best` as StepResult::best says. scratch: best_scratch_bytes(), one a thread.
void best_tokens(const Kernels& kernels, std::span<const float> logits,
                 std::span<devices::Candidate> best, std::byte* scratch);
size_t best_scratch_bytes(int64_t vocabulary);

}  // namespace outboard::devices::cpu
