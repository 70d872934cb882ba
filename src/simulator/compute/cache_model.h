// What the second-level cache and the Infinity Cache would hold: 128-byte lines, contents by number
// only. It counts; data always comes from memory.
#pragma once

#include <cstdint>
#include <vector>

#include "simulator/compute/dispatch.h"

namespace outboard::simulator::compute {

// The level that had what was asked for.
enum class Level : uint8_t { kFirst, kSecond, kInfinity, kVram, kSystem };

// Set-associative, least recently used line leaves. 16 ways (RDNA whitepaper).
class CacheModel {
 public:
  static constexpr uint64_t kLineBytes = 128;

  CacheModel(uint64_t second_level_bytes, uint64_t infinity_cache_bytes);
  // One line as a workgroup's log has it (worker.h, LineLog): line << 2 | system << 1 | write.
  // The level that answers it.
  Level access(uint64_t entry, Counters& counters);
  // GL2 after ACQUIRE_MEM: written-back lines cost a write each, invalidated ones are forgotten.
  void write_back(Counters& counters);
  void invalidate();
  // By other engines, which go to memory past GL2: SDMA, the host.
  void forget(uint64_t address, uint64_t bytes);

 private:
  struct Sets {
    Sets(uint64_t bytes, uint64_t ways);
    // True on a hit. On a miss the line is brought in; `evicted_dirty` tells whether a written line
    // had to leave.
    bool touch(uint64_t line, bool write, bool* evicted_dirty);
    void clear();

    uint64_t sets, ways;
    // By set: lines in order of use, most recent first; line << 1 | dirty, plus 1 so that 0 is
    // none.
    std::vector<uint64_t> lines;
  };

  Sets gl2_;
  Sets infinity_;
};

}  // namespace outboard::simulator::compute
