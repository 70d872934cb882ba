// Who wrote and read which word of global memory, so that a read that the hardware might answer
// with old data is caught: a missing barrier between dispatches, caches that were not invalidated,
// a race between workgroups. Source of the rules: LLVM's AMDGPU usage guide, "Memory Model
// gfx10-gfx11" (GL0 and GL1 are not coherent, GL2 is; the scalar cache neither).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "simulator/compute/dispatch.h"

namespace outboard::simulator::compute {

class MemoryOrder {
 public:
  // shadow_limit: bytes that may be spent on remembering; beyond it pages that were not seen before
  // are not watched.
  explicit MemoryOrder(uint64_t shadow_limit = uint64_t{2} << 30);
  ~MemoryOrder();
  MemoryOrder(const MemoryOrder&) = delete;
  MemoryOrder& operator=(const MemoryOrder&) = delete;

  // --- What the command processor and the other engines do. One thread. ---
  void begin_dispatch(const Dispatch& dispatch);
  // Earlier dispatches are complete and their writes have reached GL2 (CS_PARTIAL_FLUSH, or an
  // end-of-pipe fence that was waited for).
  void barrier();
  // Caches invalidated: vector (GL0 and GL1), scalar (K$).
  void acquire(bool vector, bool scalar);
  // Memory written by an engine ("sdma", "host", "command processor").
  void engine_write(const char* engine, uint64_t address, uint64_t bytes);
  // Everything is forgotten (reset).
  void clear();

  // --- What waves do. Any thread. ---
  struct Who {
    uint32_t workgroup = 0;
    uint64_t pc = 0;
    bool scalar = false;  // through the scalar cache
    bool write = false;
    bool atomic = false;
    bool bypass = false;  // glc: not answered by GL0
  };
  struct Finding {
    const char* rule;
    uint64_t address;
    int lane;
    std::string earlier;  // the access that it collides with
  };
  // addresses: of 32 lanes, those in `mask` count. Reports at most the first finding.
  std::optional<Finding> access(const Who& who, const uint64_t* addresses, uint32_t mask,
                                uint32_t bytes);
  // The workgroup made its writes visible (waited for its stores, then an atomic or a store with
  // glc), or made sure it sees others' (an atomic or glc load, then buffer_gl0_inv).
  void release(uint32_t workgroup);
  void acquire(uint32_t workgroup);

 private:
  struct Writer {        // of four bytes
    uint32_t event = 0;  // 0: never written while we watched
    uint32_t group = 0;
    uint32_t pc = 0;    // low half
    uint8_t epoch = 0;  // of the workgroup's releases
    uint8_t bytes = 0;  // which of the four, a bit each
    bool atomic = false;
  };
  struct Reader {  // of four bytes, or of the sixteen around them while all were read alike
    uint32_t event = 0;
    uint32_t group = 0;
    uint32_t pc = 0;
    uint8_t bytes = 0;
    bool several = false;
    bool split = false;  // of sixteen bytes: their words differ; event is the newest of theirs
  };
  static constexpr uint64_t kPageBytes = 4096, kPageWords = kPageBytes / 4, kSectorWords = 4;
  struct Page {
    std::array<Reader, kPageWords / kSectorWords> sectors;
    std::unique_ptr<std::array<Reader, kPageWords>> readers;  // null: no sector is split
    std::unique_ptr<std::array<Writer, kPageWords>> writers;  // null: nobody has written
    uint32_t newest_writer = 0;                               // greatest event among the writers
    std::mutex mutex;
  };
  struct Event {
    std::string name;  // "kernel (dispatch 12)", "sdma"
    uint64_t pc_base = 0;
  };

  Page* find_page(uint64_t address, bool create);
  // One word of an access: where, which of its bytes, by which lane.
  struct Word {
    uint64_t address;
    uint8_t bytes;
    int lane;
  };
  Page* lookup(uint64_t number, bool create);
  Writer& writer_of(Page& page, uint64_t word);
  Reader& reader_of(Page& page, uint64_t word);  // splits its sector
  std::optional<Finding> access_lane(const Who& who, uint64_t address, uint32_t bytes, int lane);
  std::optional<Finding> check(Writer& writer, Reader& reader, const Who& who, const Word& word);
  std::optional<Finding> check_read(const Writer& writer, const Who& who, const Word& word) const;
  std::optional<Finding> check_write(const Writer& writer, const Reader& reader, const Who& who,
                                     const Word& word) const;
  void remember(Reader& reader, const Who& who, uint8_t bytes) const;
  // Several whole words of a page, in the order of addresses.
  struct Run {
    uint64_t start = 0, end = 0;
  };
  bool read_run(Page& page, const Who& who, const Run& run, uint32_t settled);
  bool synchronised(uint32_t writer, uint8_t epoch, uint32_t reader) const;
  std::string describe(uint32_t event, uint32_t group, uint32_t pc, const char* what) const;

  uint64_t shadow_limit_;
  std::atomic<uint64_t> shadow_bytes_{0};
  std::mutex pages_mutex_;
  std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
  uint64_t generation_;  // of pages_; no other object has it
  std::vector<Event> events_{1};
  uint32_t current_ = 0;   // event of the running dispatch
  uint32_t complete_ = 0;  // events up to here are complete ...
  // Dispatches, and what other engines wrote, up to here are seen by the vector caches and by the
  // scalar cache. An engine's write is complete at once: its fence is the driver's business.
  struct Visible {
    uint32_t dispatch = 0;
    uint32_t engine = 0;
  };
  Visible vector_, scalar_;
  std::unique_ptr<std::atomic<uint8_t>[]> releases_, acquires_;  // by workgroup
  uint64_t groups_ = 0;
};

}  // namespace outboard::simulator::compute
