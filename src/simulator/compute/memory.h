// What a compute unit sees of memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace outboard::simulator::compute {

enum class Access : uint8_t { kRead, kWrite, kExecute };

// Where a GPU address lies on the host.
struct Translation {
  std::byte* host = nullptr;  // null: a fault
  uint64_t bytes = 0;         // valid from `host` on, contiguous in GPU and host addresses
  bool writable = false;
  bool system = false;    // system memory, reached over the link
  bool uncached = false;  // MTYPE UC: goes past GL2
};

// GPU virtual memory. Thread-safe; translations stay valid while a dispatch runs.
class Memory {
 public:
  virtual ~Memory() = default;
  // Translates one address. A fault is recorded by the implementation (protection fault registers,
  // interrupt) when `host` is null.
  virtual Translation translate(uint64_t address, Access access) = 0;
  // Addresses that agree in all but these low bits share a translation.
  virtual uint64_t page_bytes() const { return 4096; }
};

}  // namespace outboard::simulator::compute
