// A step as the card reads it: the record that `begin` copies into VRAM (kernels/arguments.h).
#pragma once

#include <cstddef>
#include <span>

#include "devices/amd/kernels/arguments.h"
#include "devices/amd/lowering.h"
#include "devices/device.h"

namespace outboard::devices::amd {

kernels::StepLayout step_layout(const CompileOptions& options, int max_runs, int pages_per_run);

// Tokens, rows and kind of a step, not yet rounded up to what streams are recorded for. Throws
// Error when the step breaks the limits (a caller's mistake).
StreamShape shape_of(const Step& step, const CompileOptions& options, int max_runs);

// REQUIRES: shape_of() accepted the step; record.size() == layout.bytes. Returns the bytes used.
size_t write_record(const Step& step, int slot, const kernels::StepLayout& layout,
                    int64_t vocabulary, int pages, std::span<std::byte> record);

}  // namespace outboard::devices::amd
