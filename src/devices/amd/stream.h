// Command streams: launches of kernels with the barriers between them, recorded once, run often.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "devices/amd/device_buffer.h"
#include "devices/amd/driver/card.h"
#include "devices/amd/kernels/kernels.h"

namespace outboard::devices::amd {

// Memory that a launch reads or writes: GPU addresses.
struct Range {
  uint64_t address = 0;
  uint64_t bytes = 0;
};

// What a launch does to memory that other launches of a stream touch too. Weights need no mention.
struct Accesses {
  std::vector<Range> reads;         // through the vector caches
  std::vector<Range> scalar_reads;  // through the scalar cache as well
  std::vector<Range> writes;
};

// Puts launches one after the other. Before one that depends on an earlier one goes a barrier, with
// the least that the caches need: nothing where memory is only overwritten, the vector caches
// invalidated where it is read, the scalar cache too where that one reads it.
class Recorder {
 public:
  // args: the kernel's argument structure. Throws Error when its size is not the kernel's.
  void launch(std::string_view kernel, std::span<const std::byte> args,
              std::array<uint32_t, 3> workgroups, const Accesses& accesses);
  template <typename Args>
  void launch(std::string_view kernel, const Args& args, std::array<uint32_t, 3> workgroups,
              const Accesses& accesses) {
    launch(kernel, std::as_bytes(std::span(&args, 1)), workgroups, accesses);
  }
  size_t launches() const { return launches_.size(); }

 private:
  friend class Stream;

  struct Launch {
    const kernels::Kernel* kernel;
    size_t args;  // offset
    std::array<uint32_t, 3> workgroups;
    bool barrier = false, vector = false, scalar = false;  // before it
  };
  std::vector<Launch> launches_;
  std::vector<std::byte> args_;
  Accesses since_barrier_;
};

// A recorded stream in VRAM, run as an indirect buffer.
class Stream {
 public:
  // code: address of the kernels' image. alive: address of a word; while that is 0, run_if_alive()
  // does nothing. The card must outlive this.
  Stream(driver::Card& card, uint64_t code, const Recorder& recorder, uint64_t alive,
         std::string name);
  // The packet that runs it; and the one that runs it where `alive` is not 0. The condition stands
  // inside the indirect buffer: conditional packets in the ring itself are proven nowhere on
  // compute queues (tinygrad saw PRED_EXEC work in indirect buffers only, ops_amd.py; Mesa's radv
  // puts COND_EXEC into its buffers on all queues; Linux has it on the graphics ring alone).
  std::array<uint32_t, 4> run() const;
  std::array<uint32_t, 4> run_if_alive() const;
  size_t dispatches() const { return dispatches_; }
  uint64_t bytes() const { return buffer_.bytes(); }

 private:
  static constexpr uint32_t kConditionDwords = 16;  // what comes before the launches

  DeviceBuffer buffer_;
  uint64_t commands_ = 0;  // address
  uint32_t dwords_ = 0;    // all of them, the condition included
  size_t dispatches_ = 0;
};

// A launch of one of the kernels: code is the address of their image, args that of its arguments.
driver::ComputeQueue::Launch launch_of(const kernels::Kernel& kernel, uint64_t code, uint64_t args,
                                       std::array<uint32_t, 3> workgroups);

// A packet for the ring.
std::vector<uint32_t> write_word(uint64_t address, uint32_t value);

}  // namespace outboard::devices::amd
