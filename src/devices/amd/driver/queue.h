// The two queues that Outboard uses: compute (PM4) and copy (SDMA). Rings, pointers and fences lie
// in shared memory, so submitting costs one message (the doorbell) and waiting none.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "devices/amd/driver/blocks.h"
#include "devices/amd/driver/shared_pool.h"
#include "link/link.h"

namespace outboard::devices::amd::driver {

// A number that the GPU writes when what was submitted before is done.
using Fence = uint64_t;

class Queue {
 public:
  // A ring of `bytes` (a power of two) at `ring` of the shared memory; the pointers and the fence
  // behind each other at `control` (64 bytes apart).
  struct Place {
    SharedBuffer memory;
    uint64_t ring = 0, bytes = 0, control = 0;
  };
  Queue(Context& c, const Place& place);
  virtual ~Queue() = default;

  gfx::Ring ring() const;
  uint64_t fence_address() const { return place_.memory.address + place_.control + kFence; }
  void set_doorbell(uint64_t offset) { doorbell_ = offset; }  // byte offset in BAR 2

  // Copies the packets into the ring, adds a fence, rings the doorbell. Throws Error when the ring
  // stays full.
  Fence submit(std::span<const uint32_t> packets);
  // The same without the doorbell: the card starts at the next submit() or ring_doorbell().
  Fence enqueue(std::span<const uint32_t> packets);
  void ring_doorbell();
  bool is_done(Fence fence);
  // on_timeout: asked for what else is known (a page fault, say), for the message.
  void wait(Fence fence, std::chrono::milliseconds limit,
            const std::function<std::string()>& on_timeout);
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

 private:
  static constexpr uint64_t kFence = 0, kReadPointer = 64, kWritePointer = 128;

  void put(std::span<const uint32_t> packets);
  uint64_t load(uint64_t at);
  void store(uint64_t at, uint64_t value);

  Context& c_;
  Place place_;
  uint64_t doorbell_ = 0;
  uint64_t written_ = 0;  // dwords since the start
  Fence last_ = 0;
};

class ComputeQueue : public Queue {
 public:
  using Queue::Queue;

  // Packets, to be put together and submitted.
  // Earlier work is complete.
  static std::vector<uint32_t> barrier();
  // Caches see what was written before: instruction, scalar, vector and first level, GL2.
  struct Caches {
    bool instructions = false, scalar = false, vector = false, second_level = false;
  };
  static std::vector<uint32_t> acquire(const Caches& caches);
  // A kernel's registers and its start.
  struct Launch {
    uint64_t program = 0;  // address of its first instruction
    uint32_t rsrc1 = 0, rsrc2 = 0, rsrc3 = 0;
    uint64_t scratch = 0;
    uint32_t tmpring = 0;
    std::vector<uint32_t> user_data;
    std::array<uint32_t, 3> workgroup_size{1, 1, 1};
    std::array<uint32_t, 3> workgroups{1, 1, 1};
    bool wave32 = true;
  };
  static std::vector<uint32_t> dispatch(const Launch& launch);

 protected:
  std::vector<uint32_t> fence_packet(Fence value) override;
  uint64_t unit() const override { return 1; }
  bool fills_up() const override { return false; }
  std::string_view name() const override { return "compute queue"; }
};

class CopyQueue : public Queue {
 public:
  using Queue::Queue;

  // GPU addresses; any number of bytes.
  static std::vector<uint32_t> copy(uint64_t to, uint64_t from, uint64_t bytes);
  // bytes: a multiple of four.
  static std::vector<uint32_t> fill(uint64_t to, uint32_t value, uint64_t bytes);
  static std::vector<uint32_t> interrupt();

 protected:
  std::vector<uint32_t> fence_packet(Fence value) override;
  uint64_t unit() const override { return 4; }
  bool fills_up() const override { return true; }
  std::string_view name() const override { return "copy queue"; }
};

}  // namespace outboard::devices::amd::driver
