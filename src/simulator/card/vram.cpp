#include "simulator/card/vram.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "support/error.h"

namespace outboard::simulator::card {

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

void Vram::mark_unflushed(VramOffset offset, uint64_t bytes) {
  if (!unflushed_.empty() && unflushed_.back().end == offset) {
    unflushed_.back().end += bytes;
    return;
  }
  // Past this many ranges the oldest is forgotten: a missed warning, never a wrong one.
  constexpr size_t kRanges = 32;
  if (unflushed_.size() == kRanges) unflushed_.erase(unflushed_.begin());
  unflushed_.push_back({offset, offset + bytes});
}

namespace {

constexpr uint64_t kHeldPage = 4096;

// Calls body(page, offset in it, offset in the data, bytes) for each page that a range touches.
template <typename Body>
void for_pages(VramOffset offset, uint64_t bytes, const Body& body) {
  for (uint64_t done = 0; done < bytes;) {
    const VramOffset at = offset + done;
    const uint64_t inside = value(at) % kHeldPage;
    const uint64_t n = std::min(kHeldPage - inside, bytes - done);
    body(at - inside, inside, done, n);
    done += n;
  }
}

}  // namespace

void Vram::hold(VramOffset offset, std::span<const std::byte> data) {
  for_pages(offset, data.size(), [&](VramOffset page, uint64_t inside, uint64_t at, uint64_t n) {
    HeldPage& held = held_[page];
    std::memcpy(&held.bytes[inside], &data[at], n);
    for (uint64_t i = 0; i < n; ++i) held.written.set(inside + i);
  });
}

void Vram::settle() {
  for (const auto& [page, held] : held_)
    for (uint64_t i = 0; i < kHeldPage; ++i)
      if (held.written[i]) data_[value(page) + i] = held.bytes[i];
  held_.clear();
}

void Vram::see_through(VramOffset offset, std::span<std::byte> out) const {
  if (held_.empty()) return;
  for_pages(offset, out.size(), [&](VramOffset page, uint64_t inside, uint64_t at, uint64_t n) {
    const auto found = held_.find(page);
    if (found == held_.end()) return;
    for (uint64_t i = 0; i < n; ++i)
      if (found->second.written[inside + i]) out[at + i] = found->second.bytes[inside + i];
  });
}

bool Vram::is_unflushed(VramOffset offset, uint64_t bytes) const {
  return std::any_of(unflushed_.begin(), unflushed_.end(),
                     [&](const Range& r) { return offset < r.end && offset + bytes > r.begin; });
}

}  // namespace outboard::simulator::card
