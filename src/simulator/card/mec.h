// The compute micro engine (MEC): hardware queues, doorbells, PM4 and AQL packets. Sources: Linux
// amdgpu gfx_v11_0.c, nvd.h, v11_structs.h, amdkfd; packet fields in hardware/amd/navi31/pm4.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "simulator/card/board.h"

namespace outboard::simulator::card {

// What a packet does to the caches.
struct CacheActions {
  bool gli_invalidate = false, glk_invalidate = false, glk_writeback = false;
  bool glv_invalidate = false, gl1_invalidate = false;
  bool gl2_invalidate = false, gl2_writeback = false;
};

class Mec {
 public:
  explicit Mec(Board& board);

  void power_on();
  void reset();  // GRBM soft reset: queues are gone, the engine is halted
  void doorbell(uint32_t index, uint64_t value);
  // Executes at most one packet of each queue; false when none could.
  bool step();
  bool is_busy() const;  // some queue has work, or hangs
  // A queue that is active, as an earlier client may have left it.
  void leave_active();

 private:
  struct IndirectBuffer {
    uint64_t address = 0;
    uint32_t size = 0, position = 0;  // dwords
  };
  struct Queue {
    RegisterFile::Selection selection;
    uint32_t vmid = 0;
    bool active = false, aql = false, hung = false, drain = false;
    uint64_t ring = 0;             // address
    uint64_t size = 0;             // of the ring: dwords, AQL: packets
    uint64_t read = 0, write = 0;  // in units of size, wrapped
    uint64_t last_doorbell = 0;
    std::vector<IndirectBuffer> buffers;  // innermost last
    bool reported_short = false;
  };
  enum class Outcome : uint8_t { kDone, kWait, kHang };
  using Packet = std::span<const uint32_t>;
  struct Operation {
    uint8_t opcode;
    const char* name;
    size_t least_dwords;  // header included
    Outcome (Mec::*run)(Queue&, Packet);
  };
  static const Operation kOperations[];

  // mec.cpp: queues
  bool step_queues();
  void activate();
  void load_descriptor(Queue& queue);
  void deactivate(Queue& queue);
  void dequeue_request(uint32_t value);
  bool is_running(uint32_t pipe) const;
  bool step_queue(Queue& queue);
  bool fetch(Queue& queue, std::vector<uint32_t>& packet);
  bool read_dword(Queue& queue, uint64_t ahead, uint32_t& value);
  uint64_t available(const Queue& queue) const;
  void advance(Queue& queue, uint64_t dwords);
  void report_read_pointer(Queue& queue);
  void poll_write_pointer(Queue& queue);
  Outcome hang(Queue& queue, const std::string& why);
  std::string place(const Queue& queue) const;
  void interrupt(const Queue& queue, uint8_t source, uint32_t context);
  Outcome run_dispatch(Queue& queue, compute::Dispatch& dispatch);
  void apply(const CacheActions& actions);
  void work_complete();  // earlier dispatches are through, and whoever goes on knows
  template <typename T>
  bool load(const Queue& queue, uint64_t address, T& value, bool counted = true);
  template <typename T>
  bool store(const Queue& queue, uint64_t address, const T& value);

  // pm4.cpp: packets
  Outcome execute(Queue& queue, Packet packet);
  Outcome nop(Queue& queue, Packet packet);
  Outcome set_sh_reg(Queue& queue, Packet packet);
  Outcome set_uconfig_reg(Queue& queue, Packet packet);
  Outcome set_registers(Queue& queue, Packet packet, uint32_t start, uint32_t end);
  Outcome indirect_buffer(Queue& queue, Packet packet);
  Outcome dispatch_direct(Queue& queue, Packet packet);
  Outcome dispatch_indirect(Queue& queue, Packet packet);
  Outcome dispatch(Queue& queue, std::array<uint32_t, 3> groups, uint32_t initiator);
  Outcome release_mem(Queue& queue, Packet packet);
  Outcome acquire_mem(Queue& queue, Packet packet);
  Outcome wait_reg_mem(Queue& queue, Packet packet);
  Outcome write_data(Queue& queue, Packet packet);
  Outcome copy_data(Queue& queue, Packet packet);
  Outcome cond_exec(Queue& queue, Packet packet);
  Outcome pred_exec(Queue& queue, Packet packet);
  Outcome event_write(Queue& queue, Packet packet);
  Outcome dma_data(Queue& queue, Packet packet);
  Outcome atomic_mem(Queue& queue, Packet packet);

  // aql.cpp
  bool step_aql(Queue& queue);
  Outcome aql_dispatch(Queue& queue, uint64_t packet_address);
  Outcome aql_vendor(Queue& queue, uint64_t packet_address);
  Outcome aql_barrier(Queue& queue, uint64_t packet_address, bool any);
  bool complete_signal(Queue& queue, uint64_t signal);

  Board& board_;
  std::map<uint32_t, Queue> queues_;  // by me, pipe, queue
  std::vector<uint32_t> packet_;      // the one being executed
  uint64_t generation_ = 0;           // counts resets
  bool reset_wanted_ = false;
  std::set<uint32_t> dead_;  // queues, by me, pipe, queue (Mood::kQueueReset)
  bool waited_ = true;       // no dispatch since all before were through
  bool released_ = false;    // an end-of-pipe fence was written that nobody waited for yet
};

// Is `value`, masked, in the relation that a wait asks for? Function codes: nvd.h, WAIT_REG_MEM;
// SDMA uses the same. Nothing for a code that does not exist.
std::optional<bool> compare(uint32_t function, uint64_t value, uint64_t reference);

}  // namespace outboard::simulator::card
