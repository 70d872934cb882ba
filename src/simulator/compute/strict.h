// What the hardware would not forgive inside a workgroup: registers used before they were written
// or before their load was waited for, LDS out of range, races in LDS; sequences that the chip gets
// wrong (hazards.h); and the door through which global accesses reach the order of memory across
// workgroups (memory_order.h).
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "simulator/compute/hazards.h"
#include "simulator/compute/wave.h"

namespace outboard::simulator::compute {

// Compilers read registers that were never written where the value does not matter, so being
// unwritten is passed on from operands to results and reported where it counts: in addresses, in
// stored data, in jumps.
class Strict {
 public:
  explicit Strict(Workgroup& workgroup);
  void begin();  // the workgroup's waves have their initial state

  // Around every instruction.
  void before(Wave& wave, const Op& op);
  void after(Wave& wave, const Op& op);
  void barrier();  // all waves have reached it

  // Memory instructions report what they touch before they do.
  void lds_access(Wave& wave, const Op& op, int bank, int lane, uint64_t address, uint32_t bytes,
                  bool write, bool atomic);
  void lds_out_of_range(Wave& wave, const Op& op, int lane, uint64_t address);
  void global_access(Wave& wave, const Op& op, const uint64_t* addresses, uint32_t mask,
                     uint32_t bytes, bool write, bool atomic);
  void scalar_access(Wave& wave, const Op& op, uint64_t address, uint32_t bytes);

  void report(Wave& wave, const Op& op, std::string_view rule, int lane, uint64_t address,
              std::string detail);

 private:
  using Lanes = std::array<uint32_t, 2>;  // by bank
  // The counters that s_waitcnt waits for.
  enum Kind : uint8_t { kVm, kLgkm, kVs, kKinds };
  struct Counter {
    uint32_t issued = 0;
    uint32_t done = 0;            // operations up to this number have finished
    uint32_t last_unordered = 0;  // scalar and flat loads may return in any order

    bool busy() const { return done != issued; }
    void wait(uint32_t at_most);
  };
  struct Load {                   // the last one into a register
    uint32_t number[2] = {0, 0};  // by kVm and kLgkm; 0: not counted there
    uint64_t pc = 0;
  };
  struct WaveState {
    std::array<Counter, kKinds> counters;
    std::vector<Load> vgpr_loads, sgpr_loads;
    std::vector<Lanes> vgpr_written;
    // By register: written in all lanes; maybe the target of a load under way. They answer most
    // questions at once.
    std::array<uint64_t, 4> vgpr_complete{}, vgpr_loading{}, sgpr_loading{};
    std::array<bool, 128> sgpr_written{};
    uint32_t lgkm_done_at_barrier = 0;
    uint32_t scratch_store = 0;  // the last one's number by kVs
  };
  struct LdsWord {
    uint32_t epoch = 0;         // of the last write, counted in barriers
    uint32_t number = 0;        // its kLgkm number
    uint32_t reader_epoch = 0;  // of the last read
    uint16_t writer = 0;        // wave + 1; 0: never written
    uint16_t reader = 0;        // wave + 1; kSeveral
    bool atomic = false;
    uint64_t writer_pc = 0;
    uint64_t reader_pc = 0;
  };
  static constexpr uint16_t kSeveral = 0xffff;

  void check_allocation(Wave& wave, const Op& op);
  void check_pending(Wave& wave, const Op& op);
  // except: loads that count there alone may still be under way.
  void check_operand_pending(Wave& wave, const Op& op, const Operand& operand, Kind except);
  bool is_pending(const WaveState& state, const Load& load) const;
  void check_used(Wave& wave, const Op& op, const Operand& operand, std::string_view role);
  bool sources_complete(const WaveState& state, const Instruction& instruction) const;
  Lanes written_lanes(const Wave& wave, const Operand& operand) const;
  Lanes result_lanes(const Wave& wave, const Op& op, bool low_half) const;
  void set_written(Wave& wave, const Operand& operand, const Lanes& good, bool whole);
  void start_load(Wave& wave, const Op& op, bool vm, bool lgkm, bool ordered);
  void wait(Wave& wave, const Op& op);

  Workgroup& workgroup_;
  Hazards hazards_;
  std::vector<WaveState> waves_;
  std::vector<LdsWord> lds_;
  uint32_t epoch_ = 1;
  Lanes result_{}, result_low_{};  // of the instruction between before() and after()
  Lanes unwritten_loaded_{};       // lanes that an LDS load found unwritten
  std::set<std::pair<std::string_view, uint64_t>> reported_;  // rule and pc, once a workgroup
};

}  // namespace outboard::simulator::compute
