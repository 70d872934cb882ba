// How many compute units a card has: dies differ in what is fused off. Source: Linux amdgpu
// gfx_v11_0.c, gfx_v11_0_get_cu_info, gfx_v11_0_get_wgp_active_bitmap_per_sh and
// gfx_v11_0_get_sa_active_bitmap.
#include <bit>

#include "devices/amd/driver/blocks.h"
#include "hardware/amd/navi31/gc.h"

namespace outboard::devices::amd::driver::gfx {
namespace {

namespace gc = hw::gc;

// Which copy of the registers that follow is meant; nothing: writes go to all of them.
void select_array(Context& c, uint32_t engine, uint32_t array) {
  using Index = gc::GRBM_GFX_INDEX;
  c.registers.set<Index>(Index::INSTANCE_BROADCAST_WRITES(1) | Index::SE_INDEX(engine) |
                         Index::SA_INDEX(array));
}
void select_all(Context& c) {
  using Index = gc::GRBM_GFX_INDEX;
  c.registers.set<Index>(Index::INSTANCE_BROADCAST_WRITES(1) | Index::SE_BROADCAST_WRITES(1) |
                         Index::SA_BROADCAST_WRITES(1));
}

}  // namespace

void count_units(Context& c) {
  CardFacts& facts = c.facts;
  const uint32_t arrays = facts.shader_engines * facts.arrays_per_engine;
  const uint32_t wgps =
      arrays == 0 ? 0 : facts.die_units / c.chip->die.units_per_wgp / arrays;  // of an array
  const uint32_t arrays_off =
      gc::CC_GC_SA_UNIT_DISABLE::SA_DISABLE.get(c.registers.get<gc::CC_GC_SA_UNIT_DISABLE>() |
                                                c.registers.get<gc::GC_USER_SA_UNIT_DISABLE>());
  uint32_t units = 0;
  for (uint32_t array = 0; array < arrays; ++array) {
    if ((arrays_off >> array & 1) != 0) continue;
    select_array(c, array / facts.arrays_per_engine, array % facts.arrays_per_engine);
    const uint32_t off = gc::CC_GC_SHADER_ARRAY_CONFIG::INACTIVE_WGPS.get(
        c.registers.get<gc::CC_GC_SHADER_ARRAY_CONFIG>() |
        c.registers.get<gc::GC_USER_SHADER_ARRAY_CONFIG>());
    const uint32_t on = ~off & ((1U << wgps) - 1);
    units += c.chip->die.units_per_wgp * static_cast<uint32_t>(std::popcount(on));
  }
  select_all(c);
  // The number only helps to share work out: a card that tells nothing sensible is taken as whole.
  facts.compute_units = units == 0 ? facts.die_units : units;
  c.kept.compute_units = static_cast<uint16_t>(facts.compute_units);
}

}  // namespace outboard::devices::amd::driver::gfx
