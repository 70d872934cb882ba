// Launches of kernels with the barriers between them, in the order in which they run: what a
// vendor's device turns into its own command stream.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "devices/gpu/kernels/kernels.h"

namespace outboard::devices::gpu {

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

  struct Launch {
    const kernels::Kernel* kernel;
    size_t args;  // offset into args(), a multiple of kArgsAlignment
    std::array<uint32_t, 3> workgroups;
    // Before it: a barrier, and the invalidation of the vector or of the scalar caches.
    bool barrier = false, vector = false, scalar = false;
  };
  const std::vector<Launch>& launches() const { return launches_; }
  const std::vector<std::byte>& args() const { return args_; }

  static constexpr size_t kArgsAlignment = 64;  // a line of the scalar cache

 private:
  std::vector<Launch> launches_;
  std::vector<std::byte> args_;
  Accesses since_barrier_;
  // Written since the caches were invalidated the last time: a barrier may have come since that had
  // no need of it.
  std::vector<Range> unseen_by_vector_, unseen_by_scalar_;
};

}  // namespace outboard::devices::gpu
