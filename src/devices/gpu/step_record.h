// A step as the card reads it: the record that `begin` copies into VRAM (kernels/arguments.h).
#pragma once

#include <cstddef>
#include <span>

#include "devices/device.h"
#include "devices/gpu/kernels/arguments.h"
#include "devices/gpu/lowering.h"

namespace outboard::devices::gpu {

// So many tokens, or rows of logits, a stream is recorded for that has to take n: powers of two.
// Above kMatvecRows matrices want at least 16 rows.
int bucket(int n);
StreamShape bucket_of(const StreamShape& exact);

kernels::StepLayout step_layout(const CompileOptions& options, const program::Program& program,
                                int max_runs, int pages_per_run);

// Where the copies of window pages, and of slots, lie in a record.
int32_t window_copies_at(const kernels::StepLayout& layout);
int32_t slot_copies_at(const kernels::StepLayout& layout, const CompileOptions& options);

// Tokens, rows and kind of a step, not yet rounded up to what streams are recorded for.
StreamShape shape_of(const Step& step);

// REQUIRES: check_step() accepted the step, of at most layout.max_runs runs, layout.max_copies
// copies of pages, as many of window pages and of slots as there are; record.size() ==
// layout.bytes. Returns the bytes used: what lies beyond is not read, except the step's copies (at
// layout.copies, window_copies_at() and slot_copies_at()). Of those, what the step has no use for
// is left as it is. Throws Error when a position is beyond the context. Masks are numbered in the
// order of their runs; they are no part of the record.
size_t write_record(const Step& step, int slot, const kernels::StepLayout& layout,
                    const CompileOptions& options, std::span<std::byte> record);

}  // namespace outboard::devices::gpu
