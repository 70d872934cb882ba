// GPU memory that is the host's own: addresses are host addresses.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "simulator/compute/dispatch.h"
#include "simulator/compute/memory.h"
#include "support/aligned_buffer.h"

namespace outboard::simulator::compute {

// Not thread-safe while regions are added; translate() is.
class HostMemory : public Memory {
 public:
  // Regions that the kernel may use. They may touch but not overlap.
  void add(void* address, uint64_t bytes, bool writable);
  // Code is copied to whole pages of its own, so that the fetch of a page never leaves it; the
  // kernel's own addresses stay those of `code`.
  void add_code(const void* code, uint64_t bytes);
  // Any address that was not named is taken for readable and writable.
  void allow_everything() { everything_ = true; }

  // Scratch memory for the waves of a dispatch; sets the dispatch's scratch fields.
  AlignedBuffer give_scratch(Dispatch& dispatch, uint32_t bytes_per_lane);

  Translation translate(uint64_t address, Access access) override;
  uint64_t page_bytes() const override { return 1; }

 private:
  struct Region {
    uint64_t bytes;
    bool writable;
  };
  struct Code {
    uint64_t start = 0, bytes = 0;  // whole pages around the code
    std::vector<std::byte> pages;
  };

  bool everything_ = false;
  std::map<uint64_t, Region> regions_;  // by address
  std::vector<Code> code_;
};

}  // namespace outboard::simulator::compute
