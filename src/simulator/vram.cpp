#include "simulator/vram.h"

#include <sys/mman.h>

#include <algorithm>

#include "support/error.h"

namespace outboard::simulator {

Vram::Vram(uint64_t bytes) : size_(bytes) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef MAP_NORESERVE
  flags |= MAP_NORESERVE;
#endif
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED) throw system_error("reserve memory for", "simulated VRAM");
#ifdef MADV_HUGEPAGE
  // Weights are read once a token from all over it: a few per cent less time than with pages of
  // 4 KiB. Where there are no huge pages it fails, and that is fine.
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  data_ = static_cast<std::byte*>(memory);
}

Vram::~Vram() { munmap(data_, size_); }

void Vram::mark_unflushed(uint64_t offset, uint64_t bytes) {
  if (!unflushed_.empty() && unflushed_.back().end == offset) {
    unflushed_.back().end += bytes;
    return;
  }
  // Past this many ranges the oldest is forgotten: a missed warning, never a wrong one.
  constexpr size_t kRanges = 32;
  if (unflushed_.size() == kRanges) unflushed_.erase(unflushed_.begin());
  unflushed_.push_back({offset, offset + bytes});
}

bool Vram::is_unflushed(uint64_t offset, uint64_t bytes) const {
  return std::any_of(unflushed_.begin(), unflushed_.end(),
                     [&](const Range& r) { return offset < r.end && offset + bytes > r.begin; });
}

}  // namespace outboard::simulator
