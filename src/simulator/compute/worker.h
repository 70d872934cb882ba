// A host thread that runs workgroups: its translations, its counters, its view of the dispatch.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "simulator/compute/code.h"
#include "simulator/compute/dispatch.h"
#include "simulator/compute/timeline.h"
#include "simulator/compute/wave.h"

namespace outboard::simulator::compute {

class Strict;

// Translations that a worker has seen; flushed between dispatches when the TLBs were invalidated.
class Tlb {
 public:
  struct Range {
    uint64_t start = 1, end = 0;  // GPU addresses [start, end)
    std::byte* host = nullptr;    // of `start`
    bool writable = false, system = false;
    bool covers(uint64_t address, uint64_t bytes) const {
      return address >= start && address < end && bytes <= end - address;
    }
    std::byte* at(uint64_t address) const { return host + (address - start); }
  };

  explicit Tlb(Memory& memory) : memory_(memory), slots_(kSlots) {}
  // The range that `address` lies in, for reading or writing; null after a fault.
  const Range* find(uint64_t address, Access access) {
    const Range& slot = slots_[(address >> kShift) % kSlots];
    if (slot.covers(address, 1) && (access == Access::kRead || slot.writable)) return &slot;
    return fill(address, access);
  }
  void flush();

 private:
  static constexpr uint64_t kSlots = 1024;
  static constexpr int kShift = 16;
  const Range* fill(uint64_t address, Access access);

  Memory& memory_;
  std::vector<Range> slots_;
};

// 128-byte lines that a workgroup asked of GL2, in order: line << 2 | system << 1 | write. A small
// first-level cache in front (32 KiB, as a CU's; direct-mapped and empty at the workgroup's start,
// so that the log does not depend on who ran beside it) keeps repeats away.
class LineLog {
 public:
  static constexpr int kLineShift = 7;
  void read(uint64_t line, bool system) {
    uint64_t& tag = tags_[line % kTags];
    if (tag == line + 1) return;
    tag = line + 1;
    entries_.push_back(line << 2 | static_cast<uint64_t>(system) << 1);
  }
  void write(uint64_t line, bool system) {  // written through
    entries_.push_back(line << 2 | static_cast<uint64_t>(system) << 1 | 1);
  }
  // After buffer_gl0_inv.
  void invalidate() { tags_.fill(0); }
  std::vector<uint64_t>& entries() { return entries_; }
  size_t size() const { return entries_.size(); }
  void clear() {
    tags_.fill(0);
    entries_.clear();
  }

 private:
  static constexpr uint64_t kTags = 256;
  std::array<uint64_t, kTags> tags_{};
  std::vector<uint64_t> entries_;
};

struct Worker;

// A workgroup in flight.
struct Workgroup {
  const Dispatch* dispatch = nullptr;
  Worker* worker = nullptr;
  uint32_t index = 0;  // linear in the dispatch
  std::array<uint32_t, 3> id{};
  std::vector<Wave> waves;
  std::vector<VectorRegister> registers;
  std::vector<std::byte> lds;  // as many bytes as the dispatch allocates
  int initial_sgprs = 0;       // user and system SGPRs that the dispatch loads
  uint32_t slot = 0;           // among those resident; chooses its scratch memory
  LineLog lines;
  std::vector<Violation> violations;
  uint64_t violation_count = 0;
  Counters counters;                   // LDS and memory counts; instruction counts are the waves'
  std::unique_ptr<Strict> strict;      // null: not strict
  std::unique_ptr<Timeline> timeline;  // null: nobody asks
  bool done = false;
};

// What all workers of a dispatch share.
struct Shared {
  Memory* memory = nullptr;
  CodeCache* code = nullptr;
  const Options* options = nullptr;
  MemoryOrder* order = nullptr;
  bool timed = false;                 // workgroups keep timelines
  std::atomic<bool> stopping{false};  // a wave stopped, or the dispatch was cancelled
};

struct Worker {
  explicit Worker(Shared& shared_state) : shared(&shared_state), tlb(*shared_state.memory) {}

  Shared* shared;
  Tlb tlb;
  Result result;  // of the first wave that stopped here
  uint32_t result_workgroup = 0;
  // Code that this thread met in the running dispatch: pages, and instructions that lie across two
  // of them, by page number.
  struct Crossing {
    uint64_t pc = 0;
    Op op;
    Instruction instruction;
  };
  static constexpr size_t kCodeSlots = 16;
  std::array<const CodePage*, kCodeSlots> code_pages{};
  std::array<Crossing, kCodeSlots> crossings;
  static size_t code_slot(uint64_t pc) { return pc / CodePage::kBytes % kCodeSlots; }
  void forget_code() {
    code_pages.fill(nullptr);
    for (Crossing& crossing : crossings) crossing.pc = 0;
  }

  // Whole access or nothing; false after a fault. For accesses that may cross pages.
  bool read(uint64_t address, void* out, size_t bytes);
  bool write(uint64_t address, const void* data, size_t bytes);
};

}  // namespace outboard::simulator::compute
