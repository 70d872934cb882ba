// Power management. Source: Linux amdgpu smu_v13_0_0_ppt.c, smu_cmn.c; tinygrad 0.14.0,
// runtime/support/am/ip.py (AM_SMU).
#include <array>

#include "devices/amd/driver/blocks.h"
#include "devices/amd/driver/memory.h"
#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/bring_up.h"
#include "hardware/amd/navi31/mp.h"
#include "hardware/amd/navi31/smu.h"
#include "support/error.h"

namespace outboard::devices::amd::driver::smu {
namespace {

namespace mp = hw::mp;
namespace message = hw::smu;
using std::chrono::milliseconds;

// Sends a message and waits until it has been carried out. As smu_cmn_send_smc_msg_with_param;
// AM_SMU._send_msg.
void tell(Context& c, uint32_t number, uint32_t argument, std::string_view name,
          milliseconds limit = milliseconds(10000)) {
  Registers& r = c.registers;
  r.set<mp::MP1_SMN_C2PMSG_90>(0);
  r.set<mp::MP1_SMN_C2PMSG_82>(argument);
  r.set<mp::MP1_SMN_C2PMSG_66>(number);
  const std::string what = fmt::format("an answer to {} ({:#x}) in C2PMSG_90", name, number);
  const uint32_t answer = c.wait_for(
      {"smu", what, limit}, [&] { return r.get<mp::MP1_SMN_C2PMSG_90>(); },
      [](uint32_t v) { return v != 0 && v != 0xffffffff; });
  if (answer != message::PPSMC_Result_OK)
    fail("smu: {} ({:#x}) with {:#x} was answered {:#x}", name, number, argument, answer);
}

// A message that is answered with a number.
uint32_t ask(Context& c, uint32_t number, uint32_t argument, std::string_view name) {
  tell(c, number, argument, name);
  return c.registers.get<mp::MP1_SMN_C2PMSG_82>();
}

constexpr std::array<uint32_t, 4> kClocks = {message::PPCLK_UCLK, message::PPCLK_FCLK,
                                             message::PPCLK_SOCCLK, message::PPCLK_GFXCLK};
constexpr uint32_t kMegahertz = (1U << message::kClockShift) - 1;  // as messages take it

// What a message about clock i takes: a level, or MHz.
uint32_t of_clock(size_t i, uint32_t value) { return kClocks[i] << message::kClockShift | value; }

}  // namespace

bool is_alive(Context& c) {
  try {
    tell(c, message::PPSMC_MSG_GetSmuVersion, 0, "GetSmuVersion", milliseconds(1000));
    return true;
  } catch (const Error&) {  // a card that was just powered on has no firmware there yet
    return false;
  }
}

// As smu_smc_hw_setup with smu_v13_0_set_driver_table_location; AM_SMU.init_hw.
void init(Context& c) {
  const ControllerAddress table = c.controller_address(layout::kSmuTable);
  tell(c, message::PPSMC_MSG_SetDriverDramAddrHigh, hardware::amd::high(table),
       "SetDriverDramAddrHigh");
  tell(c, message::PPSMC_MSG_SetDriverDramAddrLow, hardware::amd::low(table),
       "SetDriverDramAddrLow");
  tell(c, message::PPSMC_MSG_EnableAllSmuFeatures, 0, "EnableAllSmuFeatures");
}

// As smu_v13_0_0_mode1_reset; AM_SMU.mode1_reset.
void reset_card(Context& c) {
  Registers& r = c.registers;
  // The debug mailbox: 53 argument, 54 answer, 75 message.
  r.set<mp::MP1_SMN_C2PMSG_54>(0);
  r.set<mp::MP1_SMN_C2PMSG_53>(0);
  r.set<mp::MP1_SMN_C2PMSG_75>(message::kDebugMode1Reset);
  c.wait_for(
      {"smu", "an answer to Mode1Reset in C2PMSG_54"},
      [&] { return r.get<mp::MP1_SMN_C2PMSG_54>(); },
      [](uint32_t v) { return v == message::PPSMC_Result_OK; });
  c.pause(message::kMode1Reset);  // nothing can be asked meanwhile
}

// As smu_v13_0_set_single_dpm_table; AM_SMU.read_clocks.
void find_clocks(Context& c) {
  for (size_t i = 0; i < kClocks.size(); ++i) {
    const auto level = [&](uint32_t index) {
      return ask(c, message::PPSMC_MSG_GetDpmFreqByIndex, of_clock(i, index), "GetDpmFreqByIndex") &
             message::kLevelAnswer;
    };
    const uint32_t levels = level(message::kHowManyLevels);
    if (levels == 0) continue;
    c.kept.clock_low[i] = level(0) & kMegahertz;
    c.kept.clock_high[i] = level(levels - 1) & kMegahertz;
  }
}

// The upper bound is set once after a cold boot; a card at rest only loses its lower one. As
// smu_v13_0_set_soft_freq_limited_range; AM_SMU.set_clocks.
void set_clocks(Context& c, Clocks clocks) {
  for (size_t i = 0; i < kClocks.size(); ++i) {
    const uint32_t high = c.kept.clock_high[i];
    if (high == 0) continue;  // not adjustable
    const uint32_t low = clocks == Clocks::kHighest ? high : c.kept.clock_low[i];
    // tinygrad goes on when there is no answer to this one (AM_SMU.set_clocks): the card only runs
    // slower.
    try {
      tell(c, message::PPSMC_MSG_SetSoftMinByFreq, of_clock(i, low), "SetSoftMinByFreq",
           milliseconds(1000));
    } catch (const link::LinkLost&) {
      throw;
    } catch (const Error& e) {
      c.note(e.message());
    }
  }
}

void raise_limits(Context& c) {
  for (size_t i = 0; i < kClocks.size(); ++i) {
    if (const uint32_t high = c.kept.clock_high[i]; high != 0)
      tell(c, message::PPSMC_MSG_SetSoftMaxByFreq, of_clock(i, high), "SetSoftMaxByFreq");
  }
}

}  // namespace outboard::devices::amd::driver::smu
