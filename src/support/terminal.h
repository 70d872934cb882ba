// What is behind a standard stream, and what a person wants of it.
#pragma once

#include <cstddef>

namespace outboard {

// Columns of the terminal that is open as this file; 0: it is no terminal, or does not tell.
size_t terminal_columns(int file);

// Whether it is a terminal that knows control sequences: TERM is not "dumb".
bool can_draw(int file);

// OUTBOARD_PLAIN=1: the person has the screen read to them, and nothing may be drawn over.
bool is_plain();

// Whether lines on standard error may be drawn over: it is a terminal that can, and
// nobody has said otherwise (NO_COLOR, is_plain(), forbid_redrawing()).
bool may_redraw();
void forbid_redrawing();

}  // namespace outboard
