#include "simulator/compute/memory_order.h"

#include <algorithm>
#include <bit>

#include "support/error.h"

namespace outboard::simulator::compute {

MemoryOrder::MemoryOrder(uint64_t shadow_limit) : shadow_limit_(shadow_limit) {}
MemoryOrder::~MemoryOrder() = default;

void MemoryOrder::begin_dispatch(const Dispatch& dispatch) {
  events_.push_back(
      {fmt::format("{} (dispatch {})", dispatch.name, dispatch.id), dispatch.program});
  current_ = static_cast<uint32_t>(events_.size() - 1);
  const uint64_t groups =
      uint64_t{dispatch.workgroups[0]} * dispatch.workgroups[1] * dispatch.workgroups[2];
  if (groups > groups_ || !releases_) {
    releases_ = std::make_unique<std::atomic<uint8_t>[]>(groups);
    acquires_ = std::make_unique<std::atomic<uint8_t>[]>(groups);
    groups_ = groups;
  }
  for (uint64_t i = 0; i < groups; ++i) {
    releases_[i].store(0, std::memory_order_relaxed);
    acquires_[i].store(0, std::memory_order_relaxed);
  }
}

void MemoryOrder::barrier() { complete_ = static_cast<uint32_t>(events_.size() - 1); }

void MemoryOrder::acquire(bool vector, bool scalar) {
  const Visible now{complete_, static_cast<uint32_t>(events_.size() - 1)};
  if (vector) vector_ = now;
  if (scalar) scalar_ = now;
}

void MemoryOrder::engine_write(const char* engine, uint64_t address, uint64_t bytes) {
  events_.push_back({engine, 0});
  const auto event = static_cast<uint32_t>(events_.size() - 1);
  if (bytes == 0) return;
  // Only pages that waves have touched can be cached anywhere.
  const uint64_t first = address / kPageBytes, last = (address + bytes - 1) / kPageBytes;
  for (uint64_t number = first; number <= last; ++number) {
    Page* page = find_page(number * kPageBytes, false);
    if (page == nullptr) continue;
    const std::lock_guard lock(page->mutex);
    const uint64_t start = std::max(address, number * kPageBytes) % kPageBytes / 4;
    const uint64_t end = std::min(address + bytes - number * kPageBytes, kPageBytes);
    for (uint64_t i = start; i < (end + 3) / 4; ++i) {
      Cell& cell = page->cells[i];
      cell = Cell();
      cell.writer_event = event;
      cell.writer_bytes = 0xf;
    }
  }
}

void MemoryOrder::clear() {
  const std::lock_guard lock(pages_mutex_);
  pages_.clear();
  shadow_bytes_ = 0;
  barrier();
  acquire(true, true);
}

void MemoryOrder::release(uint32_t workgroup) {
  releases_[workgroup].fetch_add(1, std::memory_order_relaxed);
}

void MemoryOrder::acquire(uint32_t workgroup) {
  acquires_[workgroup].store(1, std::memory_order_relaxed);
}

MemoryOrder::Page* MemoryOrder::find_page(uint64_t address, bool create) {
  const uint64_t number = address / kPageBytes;
  const std::lock_guard lock(pages_mutex_);
  const auto found = pages_.find(number);
  if (found != pages_.end()) return found->second.get();
  if (!create || shadow_bytes_ + sizeof(Page) > shadow_limit_) return nullptr;
  shadow_bytes_ += sizeof(Page);
  return (pages_[number] = std::make_unique<Page>()).get();
}

std::optional<MemoryOrder::Finding> MemoryOrder::access(const Who& who, const uint64_t* addresses,
                                                        uint32_t mask, uint32_t bytes) {
  std::optional<Finding> first;
  Page* page = nullptr;
  uint64_t number = ~uint64_t{0};
  std::unique_lock<std::mutex> lock;
  for (uint32_t left = mask; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    const uint64_t end = addresses[lane] + bytes;
    for (uint64_t at = addresses[lane] / 4 * 4; at < end; at += 4) {
      if (at / kPageBytes != number) {
        if (lock.owns_lock()) lock.unlock();
        number = at / kPageBytes;
        page = find_page(at, true);
        if (page != nullptr) lock = std::unique_lock(page->mutex);
      }
      if (page == nullptr) continue;
      const uint64_t from = std::max(at, addresses[lane]) - at,
                     to = std::min(end - at, uint64_t{4});
      const auto touched = static_cast<uint8_t>((1U << to) - (1U << from));
      auto finding = check(page->cells[at % kPageBytes / 4], who, {at, touched, lane});
      if (finding && !first) first = std::move(finding);
    }
  }
  return first;
}

std::optional<MemoryOrder::Finding> MemoryOrder::check(Cell& cell, const Who& who,
                                                       const Word& word) {
  std::optional<Finding> finding;
  const auto pc = static_cast<uint32_t>(who.pc);
  if (!who.write || who.atomic) {
    finding = check_read(cell, who, word);
    if (!who.atomic && !who.bypass) {
      const bool same = cell.reader_event == current_;
      cell.several_readers = same && (cell.several_readers || cell.reader_group != who.workgroup);
      cell.reader_bytes = same ? cell.reader_bytes | word.bytes : word.bytes;
      cell.reader_event = current_;
      cell.reader_group = who.workgroup;
      cell.reader_pc = pc;
    }
  }
  if (who.write) {
    if (!finding) finding = check_write(cell, who, word);
    cell.writer_event = current_;
    cell.writer_group = who.workgroup;
    cell.writer_pc = pc;
    cell.writer_bytes = word.bytes;
    cell.writer_atomic = who.atomic;
    cell.writer_epoch = releases_[who.workgroup].load(std::memory_order_relaxed);
  }
  return finding;
}

// The writer released after the write and the reader acquired since.
bool MemoryOrder::synchronised(uint32_t writer, uint8_t epoch, uint32_t reader) const {
  return releases_[writer].load(std::memory_order_relaxed) != epoch &&
         acquires_[reader].load(std::memory_order_relaxed) != 0;
}

std::optional<MemoryOrder::Finding> MemoryOrder::check_read(const Cell& cell, const Who& who,
                                                            const Word& word) const {
  const uint32_t event = cell.writer_event;
  if (event == 0 || (cell.writer_bytes & word.bytes) == 0) return std::nullopt;
  const auto found = [&](const char* rule) {
    return Finding{rule, word.address, word.lane,
                   describe(event, cell.writer_group, cell.writer_pc, "written")};
  };
  if (event == current_) {
    if (cell.writer_group == who.workgroup) return std::nullopt;
    // Loads with glc are how flags and the like are watched.
    if (who.bypass || (cell.writer_atomic && who.atomic)) return std::nullopt;
    if (synchronised(cell.writer_group, cell.writer_epoch, who.workgroup)) return std::nullopt;
    return found("race-between-workgroups");
  }
  const bool engine = events_[event].pc_base == 0;
  if (!engine && event > complete_) return found("missing-barrier");
  // Atomics are carried out in GL2, which is coherent.
  if (who.atomic) return std::nullopt;
  const Visible& seen = who.scalar ? scalar_ : vector_;
  if (event > (engine ? seen.engine : seen.dispatch) && !(who.bypass && !who.scalar)) {
    return found(who.scalar ? "stale-scalar-cache" : "stale-vector-cache");
  }
  return std::nullopt;
}

std::optional<MemoryOrder::Finding> MemoryOrder::check_write(const Cell& cell, const Who& who,
                                                             const Word& word) const {
  const bool over_write = (cell.writer_bytes & word.bytes) != 0;
  const bool over_read = (cell.reader_bytes & word.bytes) != 0;
  const auto found = [&](const char* rule, bool reader) {
    return Finding{rule, word.address, word.lane,
                   reader
                       ? describe(cell.reader_event, cell.reader_group, cell.reader_pc, "read")
                       : describe(cell.writer_event, cell.writer_group, cell.writer_pc, "written")};
  };
  if (!over_write) {
    // Neighbours in a word do not meet.
  } else if (cell.writer_event == current_) {
    if (cell.writer_group != who.workgroup && !(cell.writer_atomic && who.atomic) &&
        !synchronised(cell.writer_group, cell.writer_epoch, who.workgroup)) {
      return found("race-between-workgroups", false);
    }
  } else if (cell.writer_event > complete_ && events_[cell.writer_event].pc_base != 0) {
    return found("missing-barrier", false);
  }
  if (!over_read) return std::nullopt;
  if (cell.reader_event == current_) {
    const bool other = cell.reader_group != who.workgroup || cell.several_readers;
    if (other && acquires_[who.workgroup].load(std::memory_order_relaxed) == 0) {
      return found("race-between-workgroups", true);
    }
  } else if (cell.reader_event > complete_) {
    return found("missing-barrier", true);
  }
  return std::nullopt;
}

std::string MemoryOrder::describe(uint32_t event, uint32_t group, uint32_t pc,
                                  const char* what) const {
  const Event& e = events_[event];
  if (e.pc_base == 0) return fmt::format("{} by {}", what, e.name);
  const uint64_t full = (e.pc_base & ~uint64_t{0xffffffff}) | pc;
  return fmt::format("{} by {}, workgroup {}, at {:#x}", what, e.name, group, full);
}

}  // namespace outboard::simulator::compute
