// Bus interface and host data path. Source: Linux amdgpu nbio_v4_3.c, hdp_v6_0.c; tinygrad 0.14.0,
// runtime/support/am/ip.py (AM_SOC).
#include "hardware/amd/navi31/nbio.h"

#include <thread>

#include "devices/amd/driver/blocks.h"
#include "hardware/amd/navi31/address_space.h"
#include "hardware/amd/navi31/bring_up.h"
#include "hardware/amd/navi31/hdp.h"

namespace outboard::devices::amd::driver {
namespace {

namespace reg = hw::nbio;

}  // namespace

void Context::write_vram(VramOffset offset, std::span<const std::byte> bytes) {
  link.write(hw::bar::kVram, bar_offset(offset), bytes);
}
void Context::read_vram(VramOffset offset, std::span<std::byte> bytes) {
  link.read(hw::bar::kVram, bar_offset(offset), bytes);
}

uint32_t Context::wait_for(Wait wait, const std::function<uint32_t()>& read,
                           const std::function<bool(uint32_t)>& done) const {
  wait.limit = std::chrono::milliseconds(
      static_cast<int64_t>(patience * static_cast<double>(wait.limit.count())));
  return driver::wait_for(wait, read, done, on_wait);
}

void Context::pause(std::chrono::milliseconds time) const {
  std::this_thread::sleep_for(patience * time);
}

// As AM_GMC.flush_hdp; Linux hdp_v6_0_flush_hdp.
void Context::flush_host_writes() {
  // The register tells where the flush lies in BAR 5, in bytes; it is fixed after power-on.
  static constexpr RegisterAddress kUnknown{};
  if (hdp_flush == kUnknown)
    hdp_flush = RegisterAddress{registers.get<reg::BIF_BX0_REMAP_HDP_MEM_FLUSH_CNTL>() / 4};
  registers.write(hdp_flush, 0);
}

namespace nbio {

// As AM_SOC.init_hw; Linux nbio_v4_3_enable_doorbell_aperture.
void init(Context& c) {
  c.registers.update<reg::RCC_DEV0_EPF2_STRAP2>(
      {{reg::RCC_DEV0_EPF2_STRAP2::STRAP_NO_SOFT_RESET_DEV0_F2, 0}});
  using Aperture = reg::RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN;
  c.registers.set<Aperture>(Aperture::BIF_DOORBELL_APER_EN(1));
}

// tinygrad 0.14.0, runtime/support/am/ip.py (AM_SOC.set_clockgating_state).
void allow_clock_gating(Context& c) {
  using Power = hw::hdp::HDP_MEM_POWER_CTRL;
  c.registers.update<Power>(
      {{Power::ATOMIC_MEM_POWER_CTRL_EN, 1}, {Power::ATOMIC_MEM_POWER_DS_EN, 1}});
}

// As AM_SOC.doorbell_enable.
void enable_doorbells(Context& c, const reg::DoorbellRoute& route, uint32_t first,
                      uint32_t dwords) {
  using Entry = reg::S2A_DOORBELL_ENTRY_0_CTRL;
  // The entries' registers have one layout.
  constexpr uint32_t kStep = reg::S2A_DOORBELL_ENTRY_1_CTRL::kAddress - Entry::kAddress;
  c.registers.write(c.registers.address<Entry>() + route.entry * kStep,
                    Entry::S2A_DOORBELL_PORT0_ENABLE(1) | Entry::S2A_DOORBELL_PORT0_AWID(route.id) |
                        Entry::S2A_DOORBELL_PORT0_RANGE_OFFSET(first) |
                        Entry::S2A_DOORBELL_PORT0_RANGE_SIZE(dwords) |
                        Entry::S2A_DOORBELL_PORT0_AWADDR_31_28_VALUE(reg::kRouteAddress));
}

}  // namespace nbio
}  // namespace outboard::devices::amd::driver
