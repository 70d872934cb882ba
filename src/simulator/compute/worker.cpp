#include "simulator/compute/worker.h"

#include <algorithm>
#include <cstring>

namespace outboard::simulator::compute {

void Tlb::flush() { std::fill(slots_.begin(), slots_.end(), Range()); }

const Tlb::Range* Tlb::fill(uint64_t address, Access access) {
  const uint64_t page = memory_.page_bytes();
  const uint64_t start = address / page * page;
  const Translation found = memory_.translate(start, access);
  if (found.host == nullptr || found.bytes <= address - start) return nullptr;
  if (access == Access::kWrite && !found.writable) return nullptr;
  Range& slot = slots_[(address >> kShift) % kSlots];
  const uint64_t longest = ~uint64_t{0} - start;
  slot = {start, start + std::min(found.bytes, longest), found.host, found.writable, found.system};
  return &slot;
}

bool Worker::read(uint64_t address, void* out, size_t bytes) {
  auto* to = static_cast<std::byte*>(out);
  while (bytes > 0) {
    const Tlb::Range* range = tlb.find(address, Access::kRead);
    if (range == nullptr) return false;
    const size_t piece = std::min<uint64_t>(bytes, range->end - address);
    std::memcpy(to, range->at(address), piece);
    to += piece;
    address += piece;
    bytes -= piece;
  }
  return true;
}

bool Worker::write(uint64_t address, const void* data, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    const Tlb::Range* range = tlb.find(address, Access::kWrite);
    if (range == nullptr) return false;
    const size_t piece = std::min<uint64_t>(bytes, range->end - address);
    std::memcpy(range->at(address), from, piece);
    from += piece;
    address += piece;
    bytes -= piece;
  }
  return true;
}

}  // namespace outboard::simulator::compute
