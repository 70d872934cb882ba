// The rules of device.h that every Step keeps, whatever device runs it.
#pragma once

#include "devices/device.h"
#include "program/program.h"

namespace outboard::devices {

// Rows of logits that a run wants.
int rows_of(const Run& run);

// Throws Error when the step breaks a rule: a caller's mistake. lookahead: of the Executable;
// tokens may stand for those of as many steps before.
void check_step(const Step& step, const CompileOptions& options, const program::Program& program,
                int lookahead);

}  // namespace outboard::devices
