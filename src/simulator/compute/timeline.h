// How long a workgroup would take on the card, were it alone there: what its waves wait for, told
// while it runs, and put on a line of time when it is known where each load ended.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "simulator/compute/cache_model.h"
#include "simulator/compute/dispatch.h"
#include "simulator/compute/wave.h"

namespace outboard::simulator::compute {

// Loads and waits of a workgroup's waves. Only where somebody asks
// (ComputeUnits::observe).
class Timeline {
 public:
  explicit Timeline(size_t waves) : waves_(waves) {}

  static bool concerns(Class type) {
    switch (type) {
      case Class::kSmem:
      case Class::kLds:
      case Class::kVmemLoad:
      case Class::kVmemStore:
      case Class::kVmemAtomic:
      case Class::kScratch:
      case Class::kBarrier:
      case Class::kWaitcnt:
        return true;
      default:
        return false;
    }
  }
  // Of a SIMD, to issue an instruction. Guide and sources: timing.h.
  static uint32_t clocks_of(Class type) {
    if (type == Class::kWmma) return 32;
    if (type == Class::kTranscendental) return 4;
    return type == Class::kNone ? 0 : 1;
  }

  // Around an instruction that it concerns. clocks: since the last passed().
  void before(const Wave& wave);
  void after(const Wave& wave, const Op& op, uint64_t clocks);
  // So many more clocks were issued for a wave.
  void passed(const Wave& wave, uint64_t clocks) { waves_[wave.index].clocks += clocks; }

  // levels: of each entry of the workgroup's log of lines.
  GroupProfile profile(const std::vector<Level>& levels) const;

 private:
  enum class Kind : uint8_t { kVector, kScalar, kLds, kStore, kBarrier, kWait };
  struct Event {
    uint64_t at = 0;  // clocks that the wave had issued
    uint32_t first_line = 0;
    uint16_t lines = 0;  // entries of the log
    uint16_t lds_clocks = 0;
    Kind kind = Kind::kBarrier;
    // kWait: how many may be under way.
    uint8_t vector_left = kAny, lds_left = kAny, stores_left = kAny;
  };
  static constexpr uint8_t kAny = 0xff;
  struct Recorded {
    uint64_t clocks = 0;
    std::vector<Event> events;
  };
  struct Replay;

  std::vector<Recorded> waves_;
  size_t lines_before_ = 0;
  uint64_t lds_before_ = 0;
};

}  // namespace outboard::simulator::compute
