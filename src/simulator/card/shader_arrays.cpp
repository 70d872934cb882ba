#include "simulator/card/shader_arrays.h"

#include "hardware/amd/navi31/gc.h"

namespace outboard::simulator::card {

namespace gc = hardware::amd::navi31::gc;
using Index = gc::GRBM_GFX_INDEX;

ShaderArrays::ShaderArrays(Board& board) : board_(board) {
  RegisterFile& registers = board.registers;
  registers.on_read<gc::CC_GC_SA_UNIT_DISABLE>([this](uint32_t) {
    return gc::CC_GC_SA_UNIT_DISABLE::SA_DISABLE(board_.options.model->arrays_off);
  });
  registers.on_read<gc::CC_GC_SHADER_ARRAY_CONFIG>([this](uint32_t) -> uint32_t {
    const CardModel& model = *board_.options.model;
    const uint32_t index = board_.registers.get<Index>();
    // A broadcast is for writes; the first one answers.
    const uint32_t engine =
        Index::SE_BROADCAST_WRITES.get(index) != 0 ? 0 : Index::SE_INDEX.get(index);
    const uint32_t array =
        Index::SA_BROADCAST_WRITES.get(index) != 0 ? 0 : Index::SA_INDEX.get(index);
    if (engine >= model.chip->die.engines || array >= model.chip->die.arrays_per_engine) {
      board_.events.driver_error(
          "grbm", "GRBM_GFX_INDEX {:#x} selects an array that does not exist", index);
      return 0;
    }
    // An array that is off as a whole says nothing of its WGPs: it takes CC_GC_SA_UNIT_DISABLE to
    // know (Linux learned so, too: later versions skip such arrays).
    return gc::CC_GC_SHADER_ARRAY_CONFIG::INACTIVE_WGPS(
        model.wgps_off[engine * model.chip->die.arrays_per_engine + array]);
  });
}

bool ShaderArrays::is_broadcast() const {
  const uint32_t index = board_.registers.get<Index>();
  return Index::SE_BROADCAST_WRITES.get(index) != 0 && Index::SA_BROADCAST_WRITES.get(index) != 0 &&
         Index::INSTANCE_BROADCAST_WRITES.get(index) != 0;
}

}  // namespace outboard::simulator::card
