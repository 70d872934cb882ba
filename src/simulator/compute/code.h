// Decoded code, by pages of 4 KiB.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "simulator/compute/memory.h"
#include "simulator/compute/wave.h"

namespace outboard::simulator::compute {

// Every dword of a page decoded as if an instruction started there, so that any jump finds its
// target. Data among the code decodes to something that nobody executes.
struct CodePage {
  static constexpr uint64_t kBytes = 4096;
  static constexpr size_t kDwords = kBytes / 4;

  uint64_t address = 0;
  std::array<uint32_t, kDwords> words{};  // as they were decoded
  // One op a dword and two behind the end, which move on to the next page.
  std::vector<Op> ops;
  std::vector<Instruction> instructions;
  uint64_t checked = 0;  // dispatch in which the bytes were last compared
};

// Thread-safe. Pages live until the cache is destroyed or begin_dispatch() finds them changed.
class CodeCache {
 public:
  explicit CodeCache(Memory& memory) : memory_(memory) {}
  // Bytes may have changed since the last dispatch: they are compared at first use.
  void begin_dispatch();
  // An instruction-cache invalidate: a page that changed since is no mistake.
  void invalidate() { ++invalidations_; }
  // Null when the page is not mapped for execution. `stale`, when not null, is set when the bytes
  // changed without an invalidate since they were last executed.
  const CodePage* find(uint64_t address, bool* stale);

 private:
  struct Entry {
    std::unique_ptr<CodePage> page;
    uint64_t invalidations = 0;  // count when it was decoded
  };

  Memory& memory_;
  std::mutex mutex_;
  uint64_t dispatch_ = 1;
  uint64_t invalidations_ = 0;
  std::unordered_map<uint64_t, Entry> pages_;
  std::vector<std::unique_ptr<CodePage>> replaced_;  // until the dispatch ends
};

// Fills in the executable form; op.run is never null afterwards (instructions that do not exist or
// that the simulator lacks stop the wave).
void prepare(Op& op, const Instruction& instruction);

}  // namespace outboard::simulator::compute
