// The run list controller and what the graphics core's front does for registers: autoload, safe
// mode, bank selection, soft reset, clock counters. Sources: Linux amdgpu gfx_v11_0.c,
// gfx_v11_0_3.c.
#pragma once

#include "simulator/card/board.h"

namespace outboard::simulator::card {

class Rlc {
 public:
  explicit Rlc(Board& board);

  void power_on();
  void start();  // autoload is through

 private:
  Board& board_;
};

}  // namespace outboard::simulator::card
