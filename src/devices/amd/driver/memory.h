// The card's memory as the GPU addresses it: page tables, video memory, system memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "devices/amd/chip.h"
#include "hardware/amd/navi31/address_space.h"
#include "hardware/amd/navi31/bring_up.h"
#include "link/link.h"

namespace outboard::devices::amd::driver {

// Offsets into VRAM of what must lie in the same place after every boot, so that a warm boot finds
// it. Bytes. Everything up to kBootEnd is reserved.
namespace layout {
inline constexpr uint64_t kMiB = uint64_t{1} << 20;
inline constexpr uint64_t kScratchPage = 0;  // where stray accesses are sent
inline constexpr uint64_t kDummyPage = 0x1000;
inline constexpr uint64_t kPspCommand = 0x2000;        // a page
inline constexpr uint64_t kPspFence = 0x3000;          // a page
inline constexpr uint64_t kInterruptPointer = 0x4000;  // a page for each of two rings
inline constexpr uint64_t kQueueDescriptor = 0x6000;   // MQD, a page
inline constexpr uint64_t kBootMark = 0x7000;          // a page (rest.h)
inline constexpr uint64_t kSmuTable = 0x8000;          // 16 KiB
inline constexpr uint64_t kPspRing = 0x10000;          // 64 KiB
inline constexpr uint64_t kKept = 0x20000;             // 64 KiB: Kept (blocks.h)
inline constexpr uint64_t kInterruptRing = 0x40000;    // 256 KiB for each of two rings
inline constexpr uint64_t kEndOfPipe = 0xc0000;        // 4 KiB
inline constexpr uint64_t kPspMessage = 1 * kMiB;      // 1 MiB, aligned to as much
inline constexpr uint64_t kTrustedMemory = 2 * kMiB;   // TMR, aligned to 1 MiB
inline constexpr uint64_t kTrustedBytes = hw::psp::kMostTrustedBytes;
inline constexpr uint64_t kPageTables = 22 * kMiB;  // the root table first
inline constexpr uint64_t kPageTablesEnd = 32 * kMiB;
inline constexpr uint64_t kBootEnd = 32 * kMiB;
inline constexpr uint64_t kReservedAtEnd = 64 * kMiB;  // discovery table and what firmware keeps
}  // namespace layout

// A piece of memory that the GPU can address.
struct Buffer {
  uint64_t address = 0;  // GPU virtual
  uint64_t bytes = 0;
  std::string name;  // for fault reports
};

// The page tables of VMID 0, and who has which address. Buffers are followed by guard
// pages that are mapped nowhere.
class Memory {
 public:
  // REQUIRES: the link outlives this. flush: called after entries have changed.
  Memory(link::Link& link, uint64_t vram_bytes, std::function<void()> flush);

  static constexpr uint64_t kBase = uint64_t{1} << 44;  // first GPU virtual address
  static constexpr uint64_t kEnd = kBase + (uint64_t{1} << 47);

  // Empties the tables in VRAM (cold and warm boot).
  void reset();

  // VRAM, not cleared. Throws Error when there is not enough.
  Buffer allocate(uint64_t bytes, std::string name);
  // Where a buffer of allocate() lies in VRAM; contiguous.
  uint64_t vram_offset(const Buffer& buffer) const;
  void free(const Buffer& buffer);
  // System memory becomes visible to the GPU, uncached and snooped.
  Buffer map(const link::SystemRegion& memory, std::string name);
  void unmap(const Buffer& buffer);

  // While one lives, changed entries wait: many mappings cost one message and one flush.
  // REQUIRES: the GPU uses none of them meanwhile.
  class Batch {
   public:
    explicit Batch(Memory& memory) : memory_(memory) { ++memory_.batches_; }
    // Without finish(), as when an error ends it: what has changed goes with the next that writes.
    ~Batch() {
      if (!finished_) --memory_.batches_;
    }
    void finish() {
      finished_ = true;
      if (--memory_.batches_ == 0) memory_.write_changes();
    }
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

   private:
    Memory& memory_;
    bool finished_ = false;
  };

  uint64_t free_bytes() const;
  // The buffer that an address lies in or right behind; empty when there is none. For faults.
  std::string describe(uint64_t address) const;

 private:
  struct Entry {
    Buffer buffer;
    uint64_t vram = 0;  // offset; meaningless for system memory
    bool system = false;
  };
  struct Table {
    std::array<uint64_t, hw::pte::kEntries> entries{};
    std::array<uint64_t, hw::pte::kEntries> children{};  // VRAM offsets of tables, 0: none
  };

  uint64_t take_address(uint64_t bytes);
  uint64_t take_vram(uint64_t bytes);
  void give_vram(uint64_t offset, uint64_t bytes);
  void map_run(uint64_t address, uint64_t physical, uint64_t bytes, uint64_t flags);
  void clear_run(uint64_t address, uint64_t bytes);
  void set_entry(uint64_t address, int level, uint64_t value);
  uint64_t new_table();
  void write_changes();

  link::Link& link_;
  std::function<void()> flush_;
  int batches_ = 0;
  uint64_t next_address_ = kBase;
  uint64_t next_table_ = layout::kPageTables;
  std::map<uint64_t, uint64_t> free_vram_;  // offset to bytes
  std::map<uint64_t, uint64_t> free_addresses_;
  std::map<uint64_t, Entry> buffers_;                          // by GPU address
  std::map<uint64_t, Table> tables_;                           // by VRAM offset
  std::map<uint64_t, std::pair<uint32_t, uint32_t>> changed_;  // table to first and last entry
};

}  // namespace outboard::devices::amd::driver
