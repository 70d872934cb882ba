// What is behind a standard stream, and what a person wants of it.
#pragma once

#include <cstddef>

namespace outboard {

// Columns of the terminal that is open as this file; 0: it is no terminal, or does not tell.
size_t terminal_columns(int file);

// Whether lines on standard error may be drawn over: it is a terminal that can (TERM is not
// "dumb"), and nobody has said otherwise (NO_COLOR, OUTBOARD_PLAIN=1 for those whom the screen is
// read to, forbid_redrawing()).
bool may_redraw();
void forbid_redrawing();

}  // namespace outboard
