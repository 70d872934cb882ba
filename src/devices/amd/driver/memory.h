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
inline constexpr VramOffset kScratchPage{0};  // where stray accesses are sent
inline constexpr VramOffset kDummyPage{0x1000};
inline constexpr VramOffset kPspCommand{0x2000};        // a page
inline constexpr VramOffset kPspFence{0x3000};          // a page
inline constexpr VramOffset kInterruptPointer{0x4000};  // a page for each of two rings
inline constexpr VramOffset kQueueDescriptor{0x6000};   // MQD, a page
inline constexpr VramOffset kBootMark{0x7000};          // a page (rest.h)
inline constexpr VramOffset kSmuTable{0x8000};          // 16 KiB
inline constexpr VramOffset kPspRing{0x10000};          // 64 KiB
inline constexpr VramOffset kKept{0x20000};             // 64 KiB: Kept (blocks.h)
inline constexpr VramOffset kInterruptRing{0x40000};    // 256 KiB for each of two rings
inline constexpr VramOffset kEndOfPipe{0xc0000};        // 4 KiB
inline constexpr VramOffset kPspMessage{1 * kMiB};      // 1 MiB, aligned to as much
inline constexpr VramOffset kTrustedMemory{2 * kMiB};   // TMR, aligned to 1 MiB
inline constexpr uint64_t kTrustedBytes = hw::psp::kMostTrustedBytes;
inline constexpr VramOffset kPageTables{22 * kMiB};  // the root table first
inline constexpr VramOffset kPageTablesEnd{32 * kMiB};
inline constexpr VramOffset kBootEnd{32 * kMiB};
inline constexpr uint64_t kReservedAtEnd = 64 * kMiB;  // discovery table and what firmware keeps
}  // namespace layout

// A piece of memory that the GPU can address.
struct Buffer {
  GpuAddress address{};
  uint64_t bytes = 0;
  std::string name;  // for fault reports
};

// The page tables of VMID 0, and who has which address. Buffers are followed by guard
// pages that are mapped nowhere.
class Memory {
 public:
  // REQUIRES: the link outlives this. flush: called after entries have changed.
  Memory(link::Link& link, uint64_t vram_bytes, std::function<void()> flush);

  static constexpr GpuAddress kBase{uint64_t{1} << 44};  // the first
  static constexpr GpuAddress kEnd = kBase + (uint64_t{1} << 47);

  // Empties the tables in VRAM (cold and warm boot).
  void reset();

  // VRAM, not cleared. Throws Error when there is not enough.
  Buffer allocate(uint64_t bytes, std::string name);
  // Where a buffer of allocate() lies in VRAM; contiguous.
  VramOffset vram_offset(const Buffer& buffer) const;
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
  std::string describe(GpuAddress address) const;

 private:
  struct Entry {
    Buffer buffer;
    VramOffset vram{};  // meaningless for system memory
    bool system = false;
  };
  struct Table {
    std::array<uint64_t, hw::pte::kEntries> entries{};
    std::array<VramOffset, hw::pte::kEntries> children{};  // tables, 0: none
  };

  GpuAddress take_address(uint64_t bytes);
  VramOffset take_vram(uint64_t bytes);
  void give_vram(VramOffset offset, uint64_t bytes);
  void map_run(GpuAddress address, VramOffset to, uint64_t bytes);
  void map_run(GpuAddress address, BusAddress to, uint64_t bytes);
  void set_leaves(GpuAddress address, uint64_t physical, uint64_t bytes, uint64_t flags);
  void clear_run(GpuAddress address, uint64_t bytes);
  void set_entry(GpuAddress address, int level, uint64_t value);
  VramOffset new_table();
  void write_changes();

  link::Link& link_;
  std::function<void()> flush_;
  int batches_ = 0;
  GpuAddress next_address_ = kBase;
  VramOffset next_table_ = layout::kPageTables;
  std::map<VramOffset, uint64_t> free_vram_;       // to bytes
  std::map<GpuAddress, uint64_t> free_addresses_;  // to bytes
  std::map<GpuAddress, Entry> buffers_;
  std::map<VramOffset, Table> tables_;
  std::map<VramOffset, std::pair<uint32_t, uint32_t>> changed_;  // table to first and last entry
};

}  // namespace outboard::devices::amd::driver
