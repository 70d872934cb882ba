#include "devices/amd/driver/system_pool.h"

#include <algorithm>
#include <utility>

#include "support/error.h"
#include "support/round_up.h"

namespace outboard::devices::amd::driver {
namespace {

constexpr uint64_t kPage = hw::pte::kPageBytes;
// A mapping has at most 32 segments, so a Mac whose memory is in pieces refuses large ones.
constexpr uint64_t kLargest = uint64_t{16} << 20, kSmallest = uint64_t{1} << 20;

}  // namespace

void SystemPool::reserve(uint64_t bytes) {
  while (this->bytes() < bytes) add_block(kSmallest);
}

SystemBuffer SystemPool::take(uint64_t bytes, std::string name) {
  const uint64_t size = round_up(std::max<uint64_t>(bytes, 1), kPage);
  for (int tries = 0; tries < 2; ++tries) {
    for (Block& block : blocks_) {
      const auto found = std::find_if(block.free.begin(), block.free.end(),
                                      [&](const auto& range) { return range.second >= size; });
      if (found == block.free.end()) continue;
      const auto [offset, length] = *found;
      block.free.erase(found);
      if (length > size) block.free[offset + size] = length - size;
      std::byte* host = block.memory->host();
      const SystemBuffer out{block.buffer.address + offset,
                             size,
                             std::move(name),
                             host == nullptr ? nullptr : host + offset,
                             block.memory.get(),
                             offset};
      taken_[out.address] = out;
      return out;
    }
    add_block(size);
  }
  fail("system memory: no room for {} bytes of {}", size, name);
}

void SystemPool::give(const SystemBuffer& buffer) {
  if (taken_.erase(buffer.address) == 0) fail("{} is no system memory of this card", buffer.name);
  for (Block& block : blocks_) {
    if (block.memory.get() != buffer.memory) continue;
    auto here = block.free.emplace(buffer.offset, buffer.bytes).first;
    const auto next = std::next(here);
    if (next != block.free.end() && here->first + here->second == next->first) {
      here->second += next->second;
      block.free.erase(next);
    }
    if (here == block.free.begin()) return;
    const auto before = std::prev(here);
    if (before->first + before->second != here->first) return;
    before->second += here->second;
    block.free.erase(here);
    return;
  }
}

std::string SystemPool::describe(GpuAddress address) const {
  auto after = taken_.upper_bound(address);
  if (after == taken_.begin()) return {};
  const SystemBuffer& buffer = std::prev(after)->second;
  const uint64_t offset = address - buffer.address;
  if (offset >= buffer.bytes) return {};
  return fmt::format("{} (system memory), byte {} of {}", buffer.name, offset, buffer.bytes);
}

uint64_t SystemPool::bytes() const {
  uint64_t sum = 0;
  for (const Block& block : blocks_) sum += block.memory->size();
  return sum;
}

void SystemPool::add_block(uint64_t least) {
  std::string why;
  for (uint64_t size = std::max(kLargest, least); size >= least; size /= 2) {
    Block block;
    try {
      block.memory = link_.share(size, false);
    } catch (const link::LinkLost&) {
      throw;
    } catch (const Error& e) {  // refused: a smaller one may be had
      why = e.message();
      continue;
    }
    block.buffer = memory_.map(*block.memory, fmt::format("system memory {}", blocks_.size() + 1));
    block.free[0] = block.memory->size();
    blocks_.push_back(std::move(block));
    return;
  }
  throw Error(fmt::format("system memory: no mapping of {} bytes or more after {} mappings: {}",
                          least, blocks_.size(), why),
              "Close other programs to free memory, and start again.");
}

}  // namespace outboard::devices::amd::driver
