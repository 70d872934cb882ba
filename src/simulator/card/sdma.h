// A system DMA engine (SDMA 6.0.0): queues, doorbells, packets. Sources: Linux amdgpu sdma_v6_0.c,
// sdma_v6_0_0_pkt_open.h.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "simulator/card/board.h"
#include "simulator/card/gmc.h"

namespace outboard::simulator::card {

class Sdma {
 public:
  Sdma(Board& board, int number);

  void power_on();
  void reset();  // GRBM soft reset
  bool wants_doorbell(uint32_t index) const;
  void doorbell(uint32_t index, uint64_t value);
  // Executes at most one packet of each queue; false when none could.
  bool step();
  // When the first queue goes on that waited for its time in the last step(); the end of time: none
  // did.
  std::chrono::steady_clock::time_point goes_on_at() const { return goes_on_at_; }

 private:
  static constexpr int kQueues = 8;
  struct IndirectBuffer {
    uint64_t address = 0;
    uint32_t size = 0, position = 0;  // dwords
  };
  struct Queue {
    int number = 0;
    bool hung = false;
    uint64_t read = 0, write = 0;  // dwords, counted on
    std::optional<IndirectBuffer> buffer;
    bool reported_short = false;
    // Nothing is executed before: Mood::kCopiesSlow, or a copy crosses the link.
    std::chrono::steady_clock::time_point ready_at;
    uint64_t copied = 0;  // bytes of the copy under way
    // Register addresses.
    uint32_t control, base_low, base_high, rptr_low, rptr_high, wptr_low, wptr_high;
    uint32_t rptr_addr_low, rptr_addr_high, poll_low, poll_high, doorbell, doorbell_offset,
        ib_control;
    uint32_t status;
  };
  enum class Outcome : uint8_t { kDone, kWait, kHang };
  using Packet = std::span<const uint32_t>;

  void enable(Queue& queue, uint32_t control);
  void set_write_pointer(Queue& queue, uint64_t bytes);
  bool is_enabled(const Queue& queue) const;
  bool is_running() const;
  uint64_t ring_dwords(const Queue& queue) const;
  uint32_t vmid(const Queue& queue) const;
  uint64_t available(const Queue& queue) const;
  bool read_dwords(Queue& queue, uint64_t ahead, std::span<uint32_t> out);
  void advance(Queue& queue, uint64_t dwords);
  bool step_queue(Queue& queue);
  static bool waits(const Queue& queue);
  Outcome hang(Queue& queue, const std::string& why);
  std::string place(const Queue& queue) const;

  // Dwords of the packet that begins with this header; 0: unknown.
  size_t length(const Queue& queue, uint32_t header, Packet first) const;
  Outcome execute(Queue& queue, Packet packet);
  Outcome copy(Queue& queue, Packet packet);
  // Bytes that were copied from and to host memory take their time. True: no more for now.
  bool crosses_link(Queue& queue, uint64_t read, uint64_t written, bool last);
  Outcome write(Queue& queue, Packet packet);
  Outcome fill(Queue& queue, Packet packet);
  Outcome fence(Queue& queue, Packet packet);
  Outcome trap(Queue& queue, Packet packet);
  Outcome poll(Queue& queue, Packet packet);
  Outcome timestamp(Queue& queue, Packet packet);
  Outcome indirect(Queue& queue, Packet packet);
  Outcome conditional(Queue& queue, Packet packet);
  Outcome atomic(Queue& queue, Packet packet);
  Outcome register_write(Queue& queue, Packet packet);

  Board& board_;
  int number_;
  Client client_;
  uint32_t f32_control_, engine_control_;
  std::array<Queue, kQueues> queues_{};
  std::chrono::steady_clock::time_point goes_on_at_ = std::chrono::steady_clock::time_point::max();
  std::vector<uint32_t> packet_;
};

// Whether a write pointer that counts on, or wraps within a ring of so many dwords, goes back.
bool goes_back(uint64_t before, uint64_t now, uint64_t ring);

}  // namespace outboard::simulator::card
