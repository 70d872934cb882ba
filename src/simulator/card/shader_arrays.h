// The registers that tell which shader arrays and compute units are fused off. Some of them have a
// copy in each array, which GRBM_GFX_INDEX chooses. Source: Linux amdgpu gfx_v11_0.c,
// gfx_v11_0_get_cu_info and what it calls.
#pragma once

#include "simulator/card/board.h"

namespace outboard::simulator::card {

class ShaderArrays {
 public:
  explicit ShaderArrays(Board& board);
  // Register writes reach every engine: what a dispatch needs.
  bool is_broadcast() const;

 private:
  Board& board_;
};

}  // namespace outboard::simulator::card
