// What the blocks of the card share, and the one lock that serialises them.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "simulator/card/card.h"
#include "simulator/card/config_space.h"
#include "simulator/card/events.h"
#include "simulator/card/register_file.h"
#include "simulator/card/system_memory.h"
#include "simulator/card/vram.h"
#include "simulator/cost/link_model.h"

namespace outboard::simulator::card {

class Hub;
class Interrupts;
class Mec;
class Nbio;
class Psp;
class Rlc;
class Sdma;
class ShaderArrays;
class Smu;

// Which firmware runs and which blocks are up.
struct PowerState {
  bool sos_alive = false;   // the PSP's secure OS
  bool smu_loaded = false;  // power management firmware
  bool gfx_loaded = false;  // RLC autoload is through: CP and SDMA have their firmware
};

class Board {
 public:
  explicit Board(CardOptions given);
  ~Board();

  const CardOptions options;
  EventLog events;
  CardCounters counters;
  cost::LinkClock link;
  PowerState power;
  Vram vram;
  SystemMemory system;
  RegisterFile registers;
  ConfigSpace config;

  std::unique_ptr<Hub> gc_hub, mm_hub;
  std::unique_ptr<Interrupts> interrupts;
  std::unique_ptr<Nbio> nbio;
  std::unique_ptr<Psp> psp;
  std::unique_ptr<Smu> smu;
  std::unique_ptr<Rlc> rlc;
  std::unique_ptr<ShaderArrays> arrays;
  std::unique_ptr<Mec> mec;
  std::vector<std::unique_ptr<Sdma>> sdma;
  std::unique_ptr<compute::Memory> shader_memory;
  std::unique_ptr<compute::ComputeUnits> compute;

  // The fault that strikes here and now, if any; records that it did.
  std::optional<FaultRule> fires(std::string_view what, std::string_view where = {});

  bool is(Mood mood) const { return options.moods.has(mood); }
  // Whether the card's own firmware is through since the card was first looked at after power-on.
  bool is_posted();

  // Where VRAM begins in the memory controller's address space, and how much of it the driver is
  // told of: the last 16 MiB are the card's own (24560 MiB are left; from memory of what Linux
  // prints for this card, to be verified on one).
  static constexpr ControllerAddress kFbBase{uint64_t{0x8000} << 24};
  uint64_t visible_vram() const;

  // Every block to its power-on state; VRAM keeps its contents.
  void power_on();
  // Stops what computes, then power_on(). For mode 1 and function level resets. When a packet asks
  // for it, it happens after that packet.
  void hard_reset(std::string_view why);
  // The engines execute packets between these two. Engine thread only.
  void begin_step() { stepping_ = true; }
  void end_step();
  bool is_stepping() const { return stepping_; }
  bool is_dispatching() const { return dispatch_running_; }

  // 100 MHz, as the card's reference clock.
  uint64_t clock() const;

  // Held by whoever touches the board. The engines' thread gives way to waiting callers.
  class Guard {
   public:
    explicit Guard(Board& board);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    std::unique_lock<std::mutex>& lock() { return lock_; }

   private:
    Board& board_;
    std::unique_lock<std::mutex> lock_;
    std::unique_lock<std::mutex>* before_;
  };
  // Lets somebody who waits for the board have it first: a mutex is not fair. Engine thread only,
  // under the lock.
  void give_way();
  // Lets `wait` unlock and lock again, as waiting for a condition does. Under the lock.
  template <typename Wait>
  void release(Wait&& wait) {
    std::unique_lock<std::mutex>* const mine = held_;
    held_ = nullptr;
    wait(*mine);
    held_ = mine;
  }

  // Tells the engines that there may be work. Under the lock.
  void wake();
  uint64_t wakes() const { return wakes_; }

  // Runs a dispatch without the lock, so that the host is still answered. Engine thread only.
  compute::Result run_dispatch(const compute::Dispatch& dispatch);
  // What the compute units counted and found; while a dispatch runs, as it was before.
  struct ComputeState {
    compute::Counters counters;
    std::vector<compute::Violation> violations;
    uint64_t violation_count = 0;
  };
  ComputeState compute_state() const;
  // Stops the running dispatch, if any, and waits for its end. Any thread but the engines'.
  void cancel_dispatch();
  // The dispatch that just ended was stopped by cancel_dispatch().
  bool was_cancelled() const { return cancelled_; }
  // Translations that the compute units keep are out of date: at once, or when the running dispatch
  // ends.
  void forget_translations();
  // Keeps a region that was just unshared until no dispatch can be using it.
  void retire(std::shared_ptr<SystemRegion> region);

  std::condition_variable work;  // engines wait here
  std::condition_variable idle;  // settle() waits here, and cancel_dispatch()

 private:
  friend class Guard;

  ComputeState snapshot() const;

  std::mutex mutex_;
  std::unique_lock<std::mutex>* held_ = nullptr;  // of the thread that has the lock
  std::atomic<int> waiting_{0};                   // for the lock
  uint64_t served_ = 0;                           // how often somebody got it
  std::condition_variable was_served_;
  uint64_t wakes_ = 0;
  bool dispatch_running_ = false, cancelled_ = false, translations_old_ = false;
  bool stepping_ = false, reset_wanted_ = false;
  ComputeState compute_before_;
  std::vector<std::shared_ptr<SystemRegion>> retired_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::optional<std::chrono::steady_clock::time_point> first_look_;
};

}  // namespace outboard::simulator::card
