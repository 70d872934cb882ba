// System memory, pooled: the server takes 128 mappings for the life of a connection and gives none
// back, so a few large ones are made at the start and cut up here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "devices/amd/driver/memory.h"
#include "link/link.h"

namespace outboard::devices::amd::driver {

// A piece of system memory that host and GPU both see, uncached on the GPU's side. It stays valid
// as long as the card; Card::unshare() gives it back to the pool.
struct SystemBuffer {
  GpuAddress address{};  // contiguous, aligned to 4096
  uint64_t bytes = 0;    // a multiple of 4096
  std::string name;      // for fault reports
  // Where the host sees it; null over TCP, where only read() and write() work.
  std::byte* host = nullptr;
  link::SystemRegion* memory = nullptr;
  uint64_t offset = 0;  // in `memory`

  // REQUIRES: at + data.size() <= bytes.
  void read(uint64_t at, std::span<std::byte> data) const { memory->read(offset + at, data); }
  void write(uint64_t at, std::span<const std::byte> data) const {
    memory->write(offset + at, data);
  }
};

class SystemPool {
 public:
  // REQUIRES: both outlive this.
  SystemPool(link::Link& link, Memory& memory) : link_(link), memory_(memory) {}

  // Makes mappings until `bytes` are there, as large ones as the link gives.
  void reserve(uint64_t bytes);
  // One piece of one mapping; a new mapping when none has room. Throws Error when the link gives no
  // more.
  SystemBuffer take(uint64_t bytes, std::string name);
  void give(const SystemBuffer& buffer);
  // What a GPU address belongs to; empty: nothing here. For fault reports.
  std::string describe(GpuAddress address) const;

  uint64_t bytes() const;
  size_t mappings() const { return blocks_.size(); }

 private:
  struct Block {
    std::unique_ptr<link::SystemRegion> memory;
    Buffer buffer;
    std::map<uint64_t, uint64_t> free;  // offset to bytes
  };
  void add_block(uint64_t least);

  link::Link& link_;
  Memory& memory_;
  std::vector<Block> blocks_;
  std::map<GpuAddress, SystemBuffer> taken_;
};

}  // namespace outboard::devices::amd::driver
