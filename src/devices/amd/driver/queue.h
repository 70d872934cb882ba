// The two queues that Outboard uses: compute (PM4) and copy (SDMA). Rings, pointers and fences lie
// in system memory, so submitting costs one message (the doorbell) and waiting none.
//
// The doorbell alone tells an engine how far its ring is filled. Both engines could look into
// system memory for the write pointer, too. A doorbell is a message that takes its time, so an
// engine that polls has often read a newer pointer when an older doorbell arrives; one that then
// goes back runs old packets again. Whether the real engine would is not known: Linux says that a
// smaller pointer needs MINOR_PTR_UPDATE, and leaves SDMA's polling on beside the doorbell, as
// tinygrad 0.14.0 does (sdma_v6_0.c; up to SDMA 4 it is off on bare metal, sdma_v4_0.c). Compute
// queues of both never poll (gfx_v11_0.c clears CP_PQ_WPTR_POLL_CNTL.EN). With one way to tell a
// queue no order of arrival matters; a doorbell that is not heard is rung again.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "devices/amd/driver/blocks.h"
#include "devices/amd/driver/system_pool.h"
#include "link/link.h"

namespace outboard::devices::amd::driver {

// A number that the GPU writes when what was submitted before is done.
using Fence = uint64_t;

class Queue {
 public:
  // A ring of `bytes` (a power of two) at `ring` of the system memory; the pointers and the fence
  // behind each other at `control` (64 bytes apart).
  struct Place {
    SystemBuffer memory;
    uint64_t ring = 0, bytes = 0, control = 0;
  };
  Queue(Context& c, const Place& place);
  virtual ~Queue() = default;

  gfx::Ring ring() const;
  GpuAddress fence_address() const { return place_.memory.address + place_.control + kFence; }
  void set_doorbell(BarOffset offset) { doorbell_ = offset; }  // in BAR 2

  // Copies the packets into the ring, adds a fence, rings the doorbell. Throws Error when the ring
  // stays full.
  Fence submit(std::span<const uint32_t> packets);
  // The same without the doorbell: the card starts at the next submit() or ring_doorbell().
  virtual Fence enqueue(std::span<const uint32_t> packets);
  void ring_doorbell();
  // Whether the engine takes packets that no doorbell has told of (see above), found by waiting
  // that long for one to be done; it is told of it afterwards.
  // REQUIRES: nothing is under way.
  bool polls(std::chrono::milliseconds patience);
  bool is_done(Fence fence);
  // How a wait tells a slow card from one that hangs.
  struct Watch {
    // A number that changes while the card's engines get on. Asked when half of the limit has
    // passed without anything seen in system memory; may cost round trips. Null: not asked.
    std::function<uint64_t()> progress;
    // What else is known (a page fault, say), for the message. Null: nothing.
    std::function<std::string()> on_timeout;
    // How long the engine may show nothing of what a doorbell told before it is rung again: then
    // twice as long each time. (Linux knows lost ones: sdma_v5_2.c writes the pointer to the
    // register as well, "SDMA seems to miss doorbells".)
    std::chrono::milliseconds doorbell_patience{100};
  };
  // Throws Error when nothing has moved for `limit`: neither the fence, nor the read pointer, nor
  // watch.progress. A doorbell that seems lost is rung again meanwhile.
  void wait(Fence fence, std::chrono::milliseconds limit, const Watch& watch);
  // The ring starts again from its beginning, with fences that go on.
  void restart();

 protected:
  // The packet that writes `value` to the fence, caches included.
  virtual std::vector<uint32_t> fence_packet(Fence value) = 0;
  // What pointers count: bytes for each dword.
  virtual uint64_t unit() const = 0;
  // Dwords to the ring's end that a packet must not straddle; false: it may.
  virtual bool fills_up() const = 0;
  virtual std::string_view name() const = 0;
  // Another way to tell the engine of the write pointer, beside a doorbell that is rung again.
  virtual void tell_by_register(uint64_t /*pointer*/) {}
  // A fence has been seen.
  virtual void reached(Fence /*fence*/) {}

  Context& c_;

 private:
  static constexpr uint64_t kFence = 0, kReadPointer = 64, kWritePointer = 128;

  void put(std::span<const uint32_t> packets);
  uint64_t read_pointer();  // dwords, within the ring
  bool stands_at_a_doorbell();
  void ring_again();
  void note_lost_doorbell();
  uint64_t load(uint64_t at);
  void store(uint64_t at, uint64_t value);

  Place place_;
  BarOffset doorbell_{};
  uint64_t written_ = 0;  // dwords since the start
  Fence last_ = 0;
  // Where the last doorbells said that the ring ends, in dwords since the start, the oldest first.
  std::deque<uint64_t> rung_;
};

class ComputeQueue : public Queue {
 public:
  using Queue::Queue;

  // After uploads, what is run begins with an invalidate of all caches (Context).
  Fence enqueue(std::span<const uint32_t> packets) override;

 protected:
  std::vector<uint32_t> fence_packet(Fence value) override;
  uint64_t unit() const override { return 1; }
  bool fills_up() const override { return false; }
  std::string_view name() const override { return "compute queue"; }
};

class CopyQueue : public Queue {
 public:
  using Queue::Queue;

  // submit() for packets that write VRAM: what compute runs after their fence was waited for must
  // not see what GL2 held before.
  Fence submit_writes(std::span<const uint32_t> packets);

 protected:
  std::vector<uint32_t> fence_packet(Fence value) override;
  uint64_t unit() const override { return 4; }
  bool fills_up() const override { return true; }
  std::string_view name() const override { return "copy queue"; }
  void tell_by_register(uint64_t pointer) override;
  void reached(Fence fence) override;

 private:
  Fence first_write_ = 0, last_write_ = 0;  // that nobody has waited for yet; 0: none
};

}  // namespace outboard::devices::amd::driver
