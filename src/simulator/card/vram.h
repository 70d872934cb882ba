// The card's own memory, sparse on the host: pages that nobody wrote take no host memory and read
// zero. Real VRAM holds whatever the power-on left there; a driver must not rely on either.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "hardware/address.h"

namespace outboard::simulator::card {

using hardware::ControllerAddress;
using hardware::VramOffset;

class Vram {
 public:
  // Throws Error when the host has not that much address space.
  explicit Vram(uint64_t bytes);
  ~Vram();
  Vram(const Vram&) = delete;
  Vram& operator=(const Vram&) = delete;

  uint64_t size() const { return size_; }
  bool contains(VramOffset offset, uint64_t bytes) const {
    return value(offset) <= size_ && bytes <= size_ - value(offset);
  }
  // REQUIRES: offset <= size().
  std::byte* at(VramOffset offset) { return data_ + value(offset); }
  // Where a byte lies that at() gave.
  VramOffset offset_of(const std::byte* host) const {
    return VramOffset{static_cast<uint64_t>(host - data_)};
  }

  // The trusted memory region, which only the PSP and the engines it loaded may touch.
  void protect(VramOffset offset, uint64_t bytes) {
    protected_begin_ = offset;
    protected_end_ = offset + bytes;
  }
  void unprotect() { protected_begin_ = protected_end_ = VramOffset{}; }
  bool is_protected(VramOffset offset, uint64_t bytes) const {
    return offset < protected_end_ && offset + bytes > protected_begin_;
  }

  // The host data path (HDP): what the host wrote through BAR 0 reaches the engines for certain
  // only after a flush. Host writes mark, a flush clears, engines ask.
  void mark_unflushed(VramOffset offset, uint64_t bytes);
  void flush_hdp() { unflushed_.clear(); }
  bool is_unflushed(VramOffset offset, uint64_t bytes) const;

  // A GL2 that keeps old lines (Mood::kStaleLines): what is held stands in memory, while at()
  // shows what was there before, until settle(). REQUIRES: contains(offset, data.size()).
  void hold(VramOffset offset, std::span<const std::byte> data);
  void settle();
  // What memory holds, over what at() showed: for those who do not look through GL2.
  void see_through(VramOffset offset, std::span<std::byte> out) const;

 private:
  struct Range {
    VramOffset begin, end;
  };
  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
  VramOffset protected_begin_{}, protected_end_{};
  std::vector<Range> unflushed_;
  struct HeldPage {
    std::array<std::byte, 4096> bytes;
    std::bitset<4096> written;  // which of them
  };
  std::map<VramOffset, HeldPage> held_;
};

}  // namespace outboard::simulator::card
