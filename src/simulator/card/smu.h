// The system management unit (MP1 13.0.0): its two mailboxes and what its messages do. Sources:
// Linux amdgpu smu_v13_0_0_ppt.c, smu_cmn.c, smu_v13_0_0_ppsmc.h, smu13_driver_if_v13_0_0.h.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "hardware/amd/navi31/smu.h"
#include "simulator/card/board.h"

namespace outboard::simulator::card {

class Smu {
 public:
  explicit Smu(Board& board);

  void power_on();
  void start();  // its firmware was loaded

 private:
  void message(uint32_t number);
  void debug_message(uint32_t number);
  // The answer (PPSMC_Result_*); `argument` is read and may be replaced.
  uint32_t run(uint32_t number, uint32_t& argument);
  uint32_t transfer_table(uint32_t table);
  uint32_t set_frequency(uint32_t number, uint32_t argument);
  uint32_t frequency_by_index(uint32_t& argument);

  struct Clock {
    uint32_t minimum = 0, maximum = 0;  // MHz, as set
  };
  Board& board_;
  uint64_t features_ = 0;
  uint64_t driver_table_ = 0;
  uint32_t power_limit_ = 0;  // W
  uint32_t metrics_ = 0;      // tables handed out
  std::array<Clock, hardware::amd::navi31::smu::PPCLK_COUNT> clocks_{};
  bool first_ = true;                                 // no message since the firmware started
  bool silenced_ = false;                             // Mood::kPowerSilent has struck
  std::chrono::steady_clock::time_point answers_at_;  // Mood::kPowerSlow
};

}  // namespace outboard::simulator::card
