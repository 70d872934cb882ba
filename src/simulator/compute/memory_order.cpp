#include "simulator/compute/memory_order.h"

#include <algorithm>
#include <bit>

#include "support/error.h"

namespace outboard::simulator::compute {

namespace {

uint64_t new_generation() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

MemoryOrder::MemoryOrder(uint64_t shadow_limit)
    : shadow_limit_(shadow_limit), generation_(new_generation()) {}
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
    const uint64_t end = (std::min(address + bytes - number * kPageBytes, kPageBytes) + 3) / 4;
    for (uint64_t i = start; i < end; ++i) writer_of(*page, i) = {.event = event, .bytes = 0xf};
    page->newest_writer = event;
    if (start == 0 && end == kPageWords) {
      page->sectors.fill(Reader());
    } else {
      for (uint64_t i = start; i < end; ++i) reader_of(*page, i) = Reader();
    }
  }
}

void MemoryOrder::clear() {
  const std::lock_guard lock(pages_mutex_);
  pages_.clear();
  generation_ = new_generation();
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

MemoryOrder::Page* MemoryOrder::lookup(uint64_t number, bool create) {
  const std::lock_guard lock(pages_mutex_);
  const auto found = pages_.find(number);
  if (found != pages_.end()) return found->second.get();
  if (!create || shadow_bytes_ + sizeof(Page) > shadow_limit_) return nullptr;
  shadow_bytes_ += sizeof(Page);
  return (pages_[number] = std::make_unique<Page>()).get();
}

MemoryOrder::Writer& MemoryOrder::writer_of(Page& page, uint64_t word) {
  if (!page.writers) {
    page.writers = std::make_unique<std::array<Writer, kPageWords>>();
    shadow_bytes_ += sizeof(*page.writers);
  }
  return (*page.writers)[word];
}

MemoryOrder::Reader& MemoryOrder::reader_of(Page& page, uint64_t word) {
  if (!page.readers) {
    page.readers = std::make_unique<std::array<Reader, kPageWords>>();
    shadow_bytes_ += sizeof(*page.readers);
  }
  Reader& sector = page.sectors[word / kSectorWords];
  if (!sector.split) {
    std::fill_n(&(*page.readers)[word / kSectorWords * kSectorWords], kSectorWords, sector);
    sector.split = true;
  }
  return (*page.readers)[word];
}

MemoryOrder::Page* MemoryOrder::find_page(uint64_t address, bool create) {
  // Pages that this thread met lately; they live until clear().
  struct Seen {
    uint64_t generation = 0, number = 0;
    Page* page = nullptr;
  };
  thread_local std::array<Seen, 256> seen;
  const uint64_t number = address / kPageBytes;
  Seen& slot = seen[number % seen.size()];
  if (slot.generation != generation_ || slot.number != number) {
    Page* page = lookup(number, create);
    if (page == nullptr) return nullptr;
    slot = {generation_, number, page};
  }
  return slot.page;
}

inline void MemoryOrder::remember(Reader& reader, const Who& who, uint8_t bytes) const {
  const auto pc = static_cast<uint32_t>(who.pc);
  if (reader.event != current_) {
    reader = {.event = current_, .group = who.workgroup, .pc = pc, .bytes = bytes};
  } else if (reader.group != who.workgroup || (reader.bytes & bytes) != bytes) {
    reader.several = reader.several || reader.group != who.workgroup;
    reader.bytes |= bytes;
    reader.group = who.workgroup;
    reader.pc = pc;
  }
}

std::optional<MemoryOrder::Finding> MemoryOrder::access(const Who& who, const uint64_t* addresses,
                                                        uint32_t mask, uint32_t bytes) {
  // A plain load of what was written up to here breaks no rule.
  const Visible& seen = who.scalar ? scalar_ : vector_;
  const uint32_t settled = std::min({complete_, seen.dispatch, seen.engine});
  const bool plain = !who.write && !who.bypass;
  std::optional<Finding> first;
  uint64_t number = ~uint64_t{0};  // of the page that is locked
  Page* page = nullptr;
  std::unique_lock<std::mutex> lock;
  const auto enter = [&](uint64_t address) {
    if (address / kPageBytes == number) return;
    if (lock.owns_lock()) lock.unlock();
    number = address / kPageBytes;
    page = find_page(address, true);
    if (page != nullptr) lock = std::unique_lock(page->mutex);
  };
  constexpr uint64_t kSectorBytes = kSectorWords * 4;
  uint32_t left = mask;
  while (left != 0) {
    // The usual wide load: a whole sector, in memory that nobody writes.
    const uint64_t address = addresses[std::countr_zero(left)];
    if (plain && bytes == kSectorBytes && address % kSectorBytes == 0) {
      enter(address);
      if (page == nullptr) {
        left &= left - 1;
        continue;
      }
      Reader& sector = page->sectors[address % kPageBytes / kSectorBytes];
      if (page->newest_writer <= settled && (!sector.split || sector.event != current_))
          [[likely]] {
        remember(sector, who, 0xf);
        left &= left - 1;
        continue;
      }
    }
    // As many lanes as read on where the one before ended, in one page.
    Run run;
    run.start = run.end = address;
    uint32_t next = left;
    if (plain && run.start % 4 == 0) {
      const uint64_t room = kPageBytes - run.start % kPageBytes;
      while (next != 0 && addresses[std::countr_zero(next)] == run.end &&
             run.end + bytes - run.start <= room) {
        run.end += bytes;
        next &= next - 1;
      }
    }
    if (next != left && run.end % 4 == 0) {
      enter(run.start);
      if (page == nullptr || read_run(*page, who, run, settled)) {
        left = next;
        continue;
      }
    } else if (next == left) {
      next = left & (left - 1);  // one lane, byte by byte
    }
    if (lock.owns_lock()) lock.unlock();
    number = ~uint64_t{0};
    for (; left != next; left &= left - 1) {
      const int lane = std::countr_zero(left);
      auto finding = access_lane(who, addresses[lane], bytes, lane);
      if (finding && !first) first = std::move(finding);
    }
  }
  return first;
}

// False when some word needs a closer look.
bool MemoryOrder::read_run(Page& page, const Who& who, const Run& run, uint32_t settled) {
  const uint64_t start = run.start % kPageBytes / 4, end = start + (run.end - run.start) / 4;
  if (page.newest_writer > settled) {
    for (uint64_t i = start; i < end; ++i) {
      const Writer& writer = (*page.writers)[i];
      const bool own = writer.event == current_ && writer.group == who.workgroup;
      if (writer.event > settled && !own) return false;
    }
  }
  for (uint64_t i = start; i < end;) {
    Reader& sector = page.sectors[i / kSectorWords];
    const bool whole = i % kSectorWords == 0 && end - i >= kSectorWords;
    if (whole && (!sector.split || sector.event != current_)) {
      remember(sector, who, 0xf);
      i += kSectorWords;
    } else {
      remember(reader_of(page, i), who, 0xf);
      sector.event = current_;
      ++i;
    }
  }
  return true;
}

std::optional<MemoryOrder::Finding> MemoryOrder::access_lane(const Who& who, uint64_t address,
                                                             uint32_t bytes, int lane) {
  std::optional<Finding> first;
  const uint64_t end = address + bytes;
  for (uint64_t at = address / 4 * 4; at < end; at += 4) {
    Page* page = find_page(at, true);
    if (page == nullptr) continue;
    const std::lock_guard lock(page->mutex);
    const uint64_t from = std::max(at, address) - at, to = std::min(end - at, uint64_t{4});
    const auto touched = static_cast<uint8_t>((1U << to) - (1U << from));
    const uint64_t word = at % kPageBytes / 4;
    if (who.write) page->newest_writer = current_;
    Reader& reader = reader_of(*page, word);
    Writer nobody;
    Writer& writer = who.write || page->writers ? writer_of(*page, word) : nobody;
    auto finding = check(writer, reader, who, {at, touched, lane});
    Reader& sector = page->sectors[word / kSectorWords];
    sector.event = std::max(sector.event, reader.event);
    if (finding && !first) first = std::move(finding);
  }
  return first;
}

std::optional<MemoryOrder::Finding> MemoryOrder::check(Writer& writer, Reader& reader,
                                                       const Who& who, const Word& word) {
  std::optional<Finding> finding;
  if (!who.write || who.atomic) {
    finding = check_read(writer, who, word);
    if (!who.atomic && !who.bypass) remember(reader, who, word.bytes);
  }
  if (who.write) {
    if (!finding) finding = check_write(writer, reader, who, word);
    writer = {.event = current_,
              .group = who.workgroup,
              .pc = static_cast<uint32_t>(who.pc),
              .epoch = releases_[who.workgroup].load(std::memory_order_relaxed),
              .bytes = word.bytes,
              .atomic = who.atomic};
  }
  return finding;
}

// The writer released after the write and the reader acquired since.
bool MemoryOrder::synchronised(uint32_t writer, uint8_t epoch, uint32_t reader) const {
  return releases_[writer].load(std::memory_order_relaxed) != epoch &&
         acquires_[reader].load(std::memory_order_relaxed) != 0;
}

std::optional<MemoryOrder::Finding> MemoryOrder::check_read(const Writer& writer, const Who& who,
                                                            const Word& word) const {
  const uint32_t event = writer.event;
  if (event == 0 || (writer.bytes & word.bytes) == 0) return std::nullopt;
  const auto found = [&](const char* rule) {
    return Finding{rule, word.address, word.lane,
                   describe(event, writer.group, writer.pc, "written")};
  };
  if (event == current_) {
    if (writer.group == who.workgroup) return std::nullopt;
    // Loads with glc are how flags and the like are watched.
    if (who.bypass || (writer.atomic && who.atomic)) return std::nullopt;
    if (synchronised(writer.group, writer.epoch, who.workgroup)) return std::nullopt;
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

std::optional<MemoryOrder::Finding> MemoryOrder::check_write(const Writer& writer,
                                                             const Reader& reader, const Who& who,
                                                             const Word& word) const {
  const bool over_write = (writer.bytes & word.bytes) != 0;
  const bool over_read = (reader.bytes & word.bytes) != 0;
  const auto found = [&](const char* rule, bool read) {
    return Finding{rule, word.address, word.lane,
                   read ? describe(reader.event, reader.group, reader.pc, "read")
                        : describe(writer.event, writer.group, writer.pc, "written")};
  };
  if (!over_write) {
    // Neighbours in a word do not meet.
  } else if (writer.event == current_) {
    if (writer.group != who.workgroup && !(writer.atomic && who.atomic) &&
        !synchronised(writer.group, writer.epoch, who.workgroup)) {
      return found("race-between-workgroups", false);
    }
  } else if (writer.event > complete_ && events_[writer.event].pc_base != 0) {
    return found("missing-barrier", false);
  }
  if (!over_read) return std::nullopt;
  if (reader.event == current_) {
    const bool other = reader.group != who.workgroup || reader.several;
    if (other && acquires_[who.workgroup].load(std::memory_order_relaxed) == 0) {
      return found("race-between-workgroups", true);
    }
  } else if (reader.event > complete_) {
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
