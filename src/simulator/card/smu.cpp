#include "simulator/card/smu.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "hardware/amd/navi31/mp.h"
#include "simulator/card/gmc.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace sm = hw::smu;

namespace {

using Message = hw::mp::MP1_SMN_C2PMSG_66;
using Argument = hw::mp::MP1_SMN_C2PMSG_82;
using Answer = hw::mp::MP1_SMN_C2PMSG_90;
using DebugMessage = hw::mp::MP1_SMN_C2PMSG_75;
using DebugArgument = hw::mp::MP1_SMN_C2PMSG_53;
using DebugAnswer = hw::mp::MP1_SMN_C2PMSG_54;

// Clock levels in MHz. The ends are those of the product's data sheet (shader clock to 2500, memory
// 1250 real, i.e. 20 Gbit/s); the steps between are made up.
constexpr uint32_t kGraphics[] = {500, 1800, 2526};
constexpr uint32_t kMemory[] = {96, 456, 772, 1249};
constexpr uint32_t kFabric[] = {1200, 1600, 2000};
constexpr uint32_t kSoc[] = {500, 960, 1200};
constexpr uint32_t kOther[] = {400, 1200};
constexpr uint32_t kPowerLimit = 303;  // W, of the chip

constexpr uint32_t kVersion = 0x004e8000;  // 78.128.0: made up
// Debug mailbox: reset of everything but memory contents (smu_v13_0_0_ppt.c, mode1_reset).
constexpr uint32_t kDebugMode1Reset = 2;

std::span<const uint32_t> levels(uint32_t clock) {
  switch (clock) {
    case sm::PPCLK_GFXCLK:
      return kGraphics;
    case sm::PPCLK_UCLK:
      return kMemory;
    case sm::PPCLK_FCLK:
      return kFabric;
    case sm::PPCLK_SOCCLK:
      return kSoc;
    default:
      return kOther;
  }
}

// Arguments about a clock: its number above, MHz or index below (smu_v13_0.c).
uint32_t clock_of(uint32_t argument) { return argument >> 16; }
uint32_t value_of(uint32_t argument) { return argument & 0xffff; }

// For fault rules and events.
const char* name_of(uint32_t number) {
  switch (number) {
    case sm::PPSMC_MSG_TestMessage:
      return "TestMessage";
    case sm::PPSMC_MSG_GetSmuVersion:
      return "GetSmuVersion";
    case sm::PPSMC_MSG_GetDriverIfVersion:
      return "GetDriverIfVersion";
    case sm::PPSMC_MSG_SetAllowedFeaturesMaskLow:
      return "SetAllowedFeaturesMaskLow";
    case sm::PPSMC_MSG_SetAllowedFeaturesMaskHigh:
      return "SetAllowedFeaturesMaskHigh";
    case sm::PPSMC_MSG_EnableAllSmuFeatures:
      return "EnableAllSmuFeatures";
    case sm::PPSMC_MSG_DisableAllSmuFeatures:
      return "DisableAllSmuFeatures";
    case sm::PPSMC_MSG_GetRunningSmuFeaturesLow:
      return "GetRunningSmuFeaturesLow";
    case sm::PPSMC_MSG_GetRunningSmuFeaturesHigh:
      return "GetRunningSmuFeaturesHigh";
    case sm::PPSMC_MSG_SetDriverDramAddrHigh:
      return "SetDriverDramAddrHigh";
    case sm::PPSMC_MSG_SetDriverDramAddrLow:
      return "SetDriverDramAddrLow";
    case sm::PPSMC_MSG_TransferTableSmu2Dram:
      return "TransferTableSmu2Dram";
    case sm::PPSMC_MSG_SetSoftMinByFreq:
      return "SetSoftMinByFreq";
    case sm::PPSMC_MSG_SetSoftMaxByFreq:
      return "SetSoftMaxByFreq";
    case sm::PPSMC_MSG_SetHardMinByFreq:
      return "SetHardMinByFreq";
    case sm::PPSMC_MSG_SetHardMaxByFreq:
      return "SetHardMaxByFreq";
    case sm::PPSMC_MSG_GetMinDpmFreq:
      return "GetMinDpmFreq";
    case sm::PPSMC_MSG_GetMaxDpmFreq:
      return "GetMaxDpmFreq";
    case sm::PPSMC_MSG_GetDpmFreqByIndex:
      return "GetDpmFreqByIndex";
    case sm::PPSMC_MSG_Mode1Reset:
      return "Mode1Reset";
    case sm::PPSMC_MSG_SetPptLimit:
      return "SetPptLimit";
    case sm::PPSMC_MSG_GetPptLimit:
      return "GetPptLimit";
    case sm::PPSMC_MSG_AllowGfxOff:
      return "AllowGfxOff";
    case sm::PPSMC_MSG_DisallowGfxOff:
      return "DisallowGfxOff";
    case sm::PPSMC_MSG_SetWorkloadMask:
      return "SetWorkloadMask";
    case sm::PPSMC_MSG_RunDcBtc:
      return "RunDcBtc";
    case sm::PPSMC_MSG_PrepareMp1ForUnload:
      return "PrepareMp1ForUnload";
    default:
      return "unknown";
  }
}

}  // namespace

Smu::Smu(Board& board) : board_(board) {
  board.registers.on_write<Message>([this](uint32_t value) { message(value); });
  board.registers.on_read<Answer>([this](uint32_t stored) {
    return std::chrono::steady_clock::now() < answers_at_ ? 0 : stored;
  });
  board.registers.on_write<DebugMessage>([this](uint32_t value) { debug_message(value); });
  power_on();
}

void Smu::power_on() {
  features_ = driver_table_ = 0;
  first_ = true;
  silenced_ = false;
  answers_at_ = {};
  metrics_ = 0;
  power_limit_ = kPowerLimit;
  for (uint32_t i = 0; i < clocks_.size(); ++i) {
    clocks_[i] = {levels(i).front(), levels(i).back()};
  }
}

void Smu::start() {
  board_.power.smu_loaded = true;
  first_ = true;
}

void Smu::message(uint32_t number) {
  if (!board_.power.smu_loaded) {
    board_.events.driver_error("smu", "message {} ({:#x}) before the SMU has its firmware",
                               name_of(number), number);
    return;
  }
  if (board_.fires("smu.no-answer", name_of(number))) return;
  if (board_.registers.get<Answer>() != 0) {
    board_.events.driver_error("smu", "message {} without clearing the answer register first",
                               name_of(number));
  }
  if (number == sm::PPSMC_MSG_SetSoftMinByFreq && board_.is(Mood::kPowerSilent) && !silenced_) {
    silenced_ = true;
    return;
  }
  uint32_t argument = board_.registers.get<Argument>();
  const uint32_t answer = run(number, argument);
  board_.registers.set<Argument>(argument);
  board_.registers.set<Answer>(answer);
  if (board_.is(Mood::kPowerSlow)) {
    constexpr std::chrono::milliseconds kFirst{200}, kEach{30};
    answers_at_ = std::chrono::steady_clock::now() + (first_ ? kFirst : kEach);
    first_ = false;
  }
}

void Smu::debug_message(uint32_t number) {
  if (board_.fires("smu.no-answer", "debug")) return;
  if (number != kDebugMode1Reset) {
    board_.events.not_simulated("smu", "debug message {:#x}", number);
    board_.registers.set<DebugAnswer>(sm::PPSMC_Result_UnknownCmd);
    return;
  }
  if (!board_.power.smu_loaded) {
    board_.events.driver_error("smu", "mode 1 reset asked of an SMU without firmware");
    return;
  }
  board_.hard_reset("mode 1 reset");
  board_.registers.set<DebugAnswer>(sm::PPSMC_Result_OK);
}

uint32_t Smu::run(uint32_t number, uint32_t& argument) {
  const auto set_half = [](uint64_t& whole, bool high, uint32_t half) {
    whole = high ? (whole & 0xffffffff) | uint64_t{half} << 32 : (whole & ~0xffffffffull) | half;
  };
  switch (number) {
    case sm::PPSMC_MSG_TestMessage:
      ++argument;
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_GetSmuVersion:
      argument = kVersion;
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_GetDriverIfVersion:
      argument = sm::SMU13_DRIVER_IF_VERSION_SMU_V13_0_0_0;
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_SetAllowedFeaturesMaskLow:
    case sm::PPSMC_MSG_SetAllowedFeaturesMaskHigh:
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_EnableAllSmuFeatures:
      features_ = ~0ull;
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_DisableAllSmuFeatures:
      features_ = 0;
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_EnableSmuFeaturesLow:
      features_ |= argument;
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_EnableSmuFeaturesHigh:
      features_ |= uint64_t{argument} << 32;
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_DisableSmuFeaturesLow:
      features_ &= ~uint64_t{argument};
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_DisableSmuFeaturesHigh:
      features_ &= ~(uint64_t{argument} << 32);
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_GetRunningSmuFeaturesLow:
      argument = static_cast<uint32_t>(features_);
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_GetRunningSmuFeaturesHigh:
      argument = static_cast<uint32_t>(features_ >> 32);
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_SetDriverDramAddrHigh:
      set_half(driver_table_, true, argument);
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_SetDriverDramAddrLow:
      set_half(driver_table_, false, argument);
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_TransferTableSmu2Dram:
      return transfer_table(argument);
    case sm::PPSMC_MSG_SetSoftMinByFreq:
    case sm::PPSMC_MSG_SetSoftMaxByFreq:
    case sm::PPSMC_MSG_SetHardMinByFreq:
    case sm::PPSMC_MSG_SetHardMaxByFreq:
      return set_frequency(number, argument);
    case sm::PPSMC_MSG_GetMinDpmFreq:
    case sm::PPSMC_MSG_GetMaxDpmFreq: {
      const uint32_t clock = clock_of(argument);
      if (clock >= sm::PPCLK_COUNT) return sm::PPSMC_Result_Failed;
      argument =
          number == sm::PPSMC_MSG_GetMinDpmFreq ? levels(clock).front() : levels(clock).back();
      return sm::PPSMC_Result_OK;
    }
    case sm::PPSMC_MSG_GetDpmFreqByIndex:
      return frequency_by_index(argument);
    case sm::PPSMC_MSG_SetWorkloadMask:
    case sm::PPSMC_MSG_AllowGfxOff:
    case sm::PPSMC_MSG_DisallowGfxOff:
    case sm::PPSMC_MSG_RunDcBtc:
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_PrepareMp1ForUnload:
      features_ = 0;
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_SetPptLimit:
      // The kind of limit stands in the upper half; the driver's own is kind 0 (smu_v13_0.c).
      power_limit_ = value_of(argument);
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_GetPptLimit:
      argument = power_limit_;
      return sm::PPSMC_Result_OK;
    case sm::PPSMC_MSG_Mode1Reset:
      board_.hard_reset("mode 1 reset");
      return sm::PPSMC_Result_OK;
    default:
      board_.events.not_simulated("smu", "message {:#x}", number);
      return sm::PPSMC_Result_UnknownCmd;
  }
}

uint32_t Smu::set_frequency(uint32_t number, uint32_t argument) {
  const uint32_t clock = clock_of(argument);
  if (clock >= sm::PPCLK_COUNT) {
    board_.events.driver_error("smu", "{} of clock {}, which does not exist", name_of(number),
                               clock);
    return sm::PPSMC_Result_Failed;
  }
  const bool minimum =
      number == sm::PPSMC_MSG_SetSoftMinByFreq || number == sm::PPSMC_MSG_SetHardMinByFreq;
  // Out of reach is clamped, as drivers ask with 0 and 0xffff for "no limit".
  const uint32_t value =
      std::clamp(value_of(argument), levels(clock).front(), levels(clock).back());
  (minimum ? clocks_[clock].minimum : clocks_[clock].maximum) = value;
  return sm::PPSMC_Result_OK;
}

uint32_t Smu::frequency_by_index(uint32_t& argument) {
  constexpr uint32_t kCount = 0xff;  // index that asks for the number of levels
  const uint32_t clock = clock_of(argument), index = value_of(argument);
  if (clock >= sm::PPCLK_COUNT) return sm::PPSMC_Result_Failed;
  const auto list = levels(clock);
  if (index == kCount) {
    argument = static_cast<uint32_t>(list.size());
  } else if (index < list.size()) {
    argument = list[index];
  } else {
    board_.events.driver_error("smu", "level {} of clock {}, which has {}", index, clock,
                               list.size());
    return sm::PPSMC_Result_Failed;
  }
  return sm::PPSMC_Result_OK;
}

uint32_t Smu::transfer_table(uint32_t table) {
  if (table != sm::TABLE_SMU_METRICS) {
    board_.events.not_simulated("smu", "table {}", table);
    return sm::PPSMC_Result_Failed;
  }
  const compute::Translation place =
      board_.mm_hub->resolve_physical(ControllerAddress{driver_table_});
  if (driver_table_ == 0 || place.host == nullptr || place.bytes < sizeof(sm::SmuMetrics_t)) {
    board_.events.driver_error("smu", "metrics wanted at {:#x}, which is no memory of the card",
                               driver_table_);
    return sm::PPSMC_Result_Failed;
  }
  sm::SmuMetrics_t metrics{};
  for (uint32_t i = 0; i < clocks_.size(); ++i) metrics.CurrClock[i] = clocks_[i].maximum;
  metrics.AverageGfxclkFrequencyTarget = metrics.AverageGfxclkFrequencyPreDs =
      metrics.AverageGfxclkFrequencyPostDs =
          static_cast<uint16_t>(clocks_[sm::PPCLK_GFXCLK].maximum);
  metrics.AverageMemclkFrequencyPreDs = metrics.AverageMemclkFrequencyPostDs =
      static_cast<uint16_t>(clocks_[sm::PPCLK_UCLK].maximum);
  metrics.MetricsCounter = ++metrics_;
  // Idle figures, made up: nothing here heats.
  metrics.AverageSocketPower = 30;
  metrics.AverageTotalBoardPower = 45;
  constexpr uint16_t kCelsius = 45;
  std::fill(std::begin(metrics.AvgTemperature), std::end(metrics.AvgTemperature), kCelsius);
  metrics.PcieRate = 4;
  metrics.PcieWidth = 4;
  std::memcpy(place.host, &metrics, sizeof metrics);
  return sm::PPSMC_Result_OK;
}

}  // namespace outboard::simulator::card
