#include "devices/amd/driver/memory.h"

#include <algorithm>

#include "devices/amd/chip.h"
#include "hardware/amd/navi31/page_table.h"
#include "support/error.h"
#include "support/round_up.h"

namespace outboard::devices::amd::driver {
namespace {

namespace pte = hw::pte;

constexpr uint64_t kPage = pte::kPageBytes;
constexpr uint64_t kHuge = pte::kHugeBytes;
constexpr uint64_t kGuard = 64 << 10;
constexpr uint64_t kLarge = 64 << 10;  // buffers from here on begin at a multiple of it
constexpr uint32_t kHugeFragment = pte::kLevelBits;  // a run of as many pages as a table has
constexpr uint32_t kLastEntry = pte::kEntries - 1;

// Where a buffer may begin: so that few translations cover it.
uint64_t alignment_of(uint64_t bytes) {
  return bytes >= kHuge ? kHuge : bytes >= kLarge ? kLarge : kPage;
}

// Of pages from here on, as many as the walkers may remember as one (FRAG): 2^n that lie at a
// multiple of their size on both sides. Of system memory each page stands for itself.
uint32_t fragment_of(GpuAddress address, uint64_t physical, uint64_t bytes, uint64_t flags) {
  uint32_t fragment = 0;
  if ((flags & pte::SYSTEM(1)) != 0) return fragment;
  while (fragment + 1 < kHugeFragment) {
    const uint64_t size = kPage << (fragment + 1);
    if (bytes < size || (value(address) | physical) % size != 0) break;
    ++fragment;
  }
  return fragment;
}

// Of an address, at a level: 0 is the last (PTB).
uint32_t index_of(GpuAddress address, int level) {
  return static_cast<uint32_t>(
      (address - Memory::kBase) >> (pte::kPageBits + pte::kLevelBits * level) & kLastEntry);
}

uint64_t leaf_flags() {
  return pte::VALID(1) | pte::READABLE(1) | pte::WRITEABLE(1) | pte::EXECUTABLE(1);
}

uint64_t system_flags() {
  return leaf_flags() | pte::SYSTEM(1) | pte::SNOOPED(1) | pte::MTYPE(pte::MTYPE_UC);
}

}  // namespace

Memory::Memory(link::Link& link, uint64_t vram_bytes, std::function<void()> flush)
    : link_(link), flush_(std::move(flush)) {
  free_vram_[layout::kBootEnd] = vram_bytes - layout::kReservedAtEnd - value(layout::kBootEnd);
  new_table();  // the root
}

void Memory::reset() {
  // Old entries may stand anywhere in the pool, so all that is in use is written.
  for (const auto& [offset, table] : tables_) changed_[offset] = {0, kLastEntry};
  write_changes();
}

Buffer Memory::allocate(uint64_t bytes, std::string name) {
  const uint64_t size = round_up(std::max<uint64_t>(bytes, 1), bytes >= kHuge ? kHuge : kPage);
  Entry entry;
  entry.vram = take_vram(size);
  entry.buffer = {take_address(size), size, std::move(name)};
  map_run(entry.buffer.address, entry.vram, size);
  write_changes();
  buffers_[entry.buffer.address] = entry;
  return entry.buffer;
}

VramOffset Memory::vram_offset(const Buffer& buffer) const {
  const auto found = buffers_.find(buffer.address);
  if (found == buffers_.end() || found->second.system)
    fail("{} does not lie in video memory", buffer.name);
  return found->second.vram;
}

void Memory::free(const Buffer& buffer) {
  const auto found = buffers_.find(buffer.address);
  if (found == buffers_.end()) fail("{} is no buffer of this card", buffer.name);
  const Entry entry = found->second;
  unmap(buffer);
  if (!entry.system) give_vram(entry.vram, entry.buffer.bytes);
}

Buffer Memory::map(const link::SystemRegion& memory, std::string name) {
  Entry entry;
  entry.system = true;
  entry.buffer = {take_address(memory.size()), memory.size(), std::move(name)};
  GpuAddress at = entry.buffer.address;
  for (const link::Segment& segment : memory.segments()) {
    map_run(at, segment.address, segment.size);
    at += segment.size;
  }
  write_changes();
  buffers_[entry.buffer.address] = entry;
  return entry.buffer;
}

void Memory::unmap(const Buffer& buffer) {
  const auto found = buffers_.find(buffer.address);
  if (found == buffers_.end()) fail("{} is no buffer of this card", buffer.name);
  clear_run(buffer.address, buffer.bytes);
  write_changes();
  free_addresses_[buffer.address] = round_up(buffer.bytes, kPage) + kGuard;
  buffers_.erase(found);
}

uint64_t Memory::free_bytes() const {
  uint64_t sum = 0;
  for (const auto& [offset, bytes] : free_vram_) sum += bytes;
  return sum;
}

std::string Memory::describe(GpuAddress address) const {
  auto after = buffers_.upper_bound(address);
  if (after == buffers_.begin()) return {};
  const Buffer& buffer = std::prev(after)->second.buffer;
  const uint64_t offset = address - buffer.address;
  if (offset < buffer.bytes)
    return fmt::format("{}, byte {} of {}", buffer.name, offset, buffer.bytes);
  if (offset < buffer.bytes + kGuard)
    return fmt::format("{} bytes past the end of {}", offset - buffer.bytes, buffer.name);
  return {};
}

// Addresses are plenty: a freed range is used again only when it fits exactly.
GpuAddress Memory::take_address(uint64_t bytes) {
  const uint64_t size = round_up(bytes, kPage) + kGuard;
  for (auto it = free_addresses_.begin(); it != free_addresses_.end(); ++it) {
    if (it->second != size) continue;
    const GpuAddress address = it->first;
    free_addresses_.erase(it);
    return address;
  }
  const GpuAddress address = round_up(next_address_, alignment_of(bytes));
  if (address + size > kEnd) fail("GPU addresses are used up");
  next_address_ = address + size;
  return address;
}

VramOffset Memory::take_vram(uint64_t bytes) {
  const uint64_t alignment = alignment_of(bytes);
  for (auto& [offset, free] : free_vram_) {
    const VramOffset start = round_up(offset, alignment);
    const uint64_t skipped = start - offset;
    if (free < skipped || free - skipped < bytes) continue;
    const VramOffset first = offset;
    const uint64_t length = free;
    free_vram_.erase(first);
    if (skipped > 0) free_vram_[first] = skipped;
    if (length - skipped > bytes) free_vram_[start + bytes] = length - skipped - bytes;
    return start;
  }
  uint64_t largest = 0;
  for (const auto& [offset, free] : free_vram_) largest = std::max(largest, free);
  throw Error(fmt::format("video memory: {} bytes are wanted; {} are free, {} in one piece", bytes,
                          free_bytes(), largest),
              "Use a smaller model, a smaller type, or a shorter context.");
}

void Memory::give_vram(VramOffset offset, uint64_t bytes) {
  auto it = free_vram_.emplace(offset, bytes).first;
  const auto next = std::next(it);
  if (next != free_vram_.end() && it->first + it->second == next->first) {
    it->second += next->second;
    free_vram_.erase(next);
  }
  if (it == free_vram_.begin()) return;
  const auto before = std::prev(it);
  if (before->first + before->second == it->first) {
    before->second += it->second;
    free_vram_.erase(it);
  }
}

void Memory::map_run(GpuAddress address, VramOffset to, uint64_t bytes) {
  set_leaves(address, value(to), bytes, leaf_flags());
}

void Memory::map_run(GpuAddress address, BusAddress to, uint64_t bytes) {
  set_leaves(address, value(to), bytes, system_flags());
}

void Memory::set_leaves(GpuAddress address, uint64_t physical, uint64_t bytes, uint64_t flags) {
  for (uint64_t at = 0; at < bytes;) {
    const uint64_t left = bytes - at;
    if (left >= kHuge && value(address + at) % kHuge == 0 && (physical + at) % kHuge == 0) {
      const uint64_t leaf = flags | pte::PDE_PTE(1) | pte::FRAG(kHugeFragment);
      set_entry(address + at, 1, leaf | (physical + at));
      at += kHuge;
      continue;
    }
    const uint32_t fragment = fragment_of(address + at, physical + at, left, flags);
    for (const uint64_t end = at + (kPage << fragment); at < end; at += kPage)
      set_entry(address + at, 0, flags | pte::FRAG(fragment) | (physical + at));
  }
}

void Memory::clear_run(GpuAddress address, uint64_t bytes) {
  const GpuAddress end = address + bytes;
  while (address < end) {
    const Table& root = tables_.at(layout::kPageTables);
    const Table& upper = tables_.at(root.children[index_of(address, 3)]);
    const Table& directory = tables_.at(upper.children[index_of(address, 2)]);
    const bool huge = pte::PDE_PTE.get(directory.entries[index_of(address, 1)]) != 0;
    set_entry(address, huge ? 1 : 0, 0);
    address += huge ? kHuge : kPage;
  }
}

void Memory::set_entry(GpuAddress address, int level, uint64_t leaf) {
  VramOffset table = layout::kPageTables;
  for (int at = pte::kLevels - 1;; --at) {
    const uint32_t index = index_of(address, at);
    uint64_t entry = leaf;
    if (at > level) {
      VramOffset& child = tables_.at(table).children[index];
      if (child == VramOffset{}) child = new_table();
      entry = pte::VALID(1) | value(child);
    }
    Table& here = tables_.at(table);
    if (here.entries[index] != entry) {
      here.entries[index] = entry;
      // A leaf in the place of a table: the table stays in the pool, empty, for the next time.
      const auto [change, fresh] = changed_.try_emplace(table, index, index);
      if (!fresh)
        change->second = {std::min(change->second.first, index),
                          std::max(change->second.second, index)};
    }
    if (at == level) return;
    table = here.children[index];
  }
}

VramOffset Memory::new_table() {
  if (next_table_ == layout::kPageTablesEnd)
    fail("page tables: the pool of {} tables is used up", tables_.size());
  const VramOffset offset = next_table_;
  next_table_ += kPage;
  tables_[offset] = Table();
  changed_[offset] = {0, kLastEntry};
  return offset;
}

// One message for each run of entries; tables behind each other make one run.
void Memory::write_changes() {
  if (changed_.empty() || batches_ > 0) return;
  std::vector<uint64_t> run;
  VramOffset start{};
  const auto write_run = [&] {
    if (!run.empty()) link_.write(hw::bar::kVram, bar_offset(start), std::as_bytes(std::span(run)));
    run.clear();
  };
  for (const auto& [offset, range] : changed_) {
    const auto entries =
        std::span(tables_.at(offset).entries).subspan(range.first, range.second - range.first + 1);
    const VramOffset first = offset + uint64_t{range.first} * 8;
    if (run.empty() || start + run.size() * 8 != first) {
      write_run();
      start = first;
    }
    run.insert(run.end(), entries.begin(), entries.end());
  }
  write_run();
  changed_.clear();
  flush_();
}

}  // namespace outboard::devices::amd::driver
