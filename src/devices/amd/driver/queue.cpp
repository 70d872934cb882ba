#include "devices/amd/driver/queue.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <thread>

#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/address_space.h"
#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/pm4_writer.h"
#include "hardware/amd/navi31/sdma_writer.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {
namespace {

namespace gc = hw::gc;

constexpr std::chrono::milliseconds kRingPatience{10000};
// A thread that waits sleeps: yielding is a request that schedulers answer in different ways.
constexpr std::chrono::microseconds kBetweenLooks{50};
// While the ring is full.
constexpr std::chrono::milliseconds kDoorbellPatience{100};

using hardware::amd::high;
using hardware::amd::low;

}  // namespace

Queue::Queue(Context& c, const Place& place) : c_(c), place_(place) { restart(); }

gfx::Ring Queue::ring() const {
  return {place_.memory.address + place_.ring, place_.bytes,
          place_.memory.address + place_.control + kReadPointer,
          place_.memory.address + place_.control + kWritePointer};
}

void Queue::restart() {
  written_ = 0;
  rung_.assign(1, 0);
  store(kReadPointer, 0);
  store(kWritePointer, 0);
  store(kFence, last_);
}

uint64_t Queue::load(uint64_t at) {
  uint64_t value = 0;
  place_.memory.read(place_.control + at, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

void Queue::store(uint64_t at, uint64_t value) {
  place_.memory.write(place_.control + at, std::as_bytes(std::span(&value, 1)));
}

Fence Queue::submit(std::span<const uint32_t> packets) {
  enqueue(packets);
  ring_doorbell();
  return last_;
}

Fence Queue::enqueue(std::span<const uint32_t> packets) {
  put(packets);
  put(fence_packet(++last_));
  return last_;
}

void Queue::ring_doorbell() {
  // The ring must be in memory before the doorbell tells of it. Nobody polls the pointer; it is
  // kept right for an engine that does all the same, when it wakes up, say.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint64_t pointer = written_ * unit();
  store(kWritePointer, pointer);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  c_.link.write(hw::bar::kDoorbells, doorbell_, std::as_bytes(std::span(&pointer, 1)));
  constexpr size_t kKept = 64;
  if (rung_.back() == written_) return;
  if (rung_.size() == kKept) rung_.pop_front();
  rung_.push_back(written_);
}

uint64_t Queue::read_pointer() { return load(kReadPointer) / unit() % (place_.bytes / 4); }

// The engine has taken all that some doorbell told of, and shows nothing of what the last one did:
// that one may be lost. Behind the first packet the read pointer stands between doorbells.
bool Queue::stands_at_a_doorbell() {
  const uint64_t size = place_.bytes / 4, read = read_pointer();
  return read != rung_.back() % size &&
         std::any_of(rung_.begin(), rung_.end(), [&](uint64_t at) { return at % size == read; });
}

// The same pointer once more can do no harm: an engine that knows it stays where it is.
void Queue::ring_again() {
  const uint64_t pointer = rung_.back() * unit();
  c_.link.write(hw::bar::kDoorbells, doorbell_, std::as_bytes(std::span(&pointer, 1)));
  tell_by_register(pointer);
}

bool Queue::polls(std::chrono::milliseconds patience) {
  const Fence fence = enqueue({});
  store(kWritePointer, written_ * unit());
  const auto end = std::chrono::steady_clock::now() + patience;
  bool polled = false;
  while (!polled && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    polled = is_done(fence);
  }
  ring_doorbell();
  return polled;
}

void Queue::note_lost_doorbell() {
  c_.note(fmt::format("{}: a doorbell was late or lost; ringing again helped", name()));
}

void Queue::put(std::span<const uint32_t> packets) {
  const uint64_t size = place_.bytes / 4;
  if (packets.size() + 64 > size)
    fail("{}: {} dwords do not fit its ring of {}", name(), packets.size(), size);
  uint64_t padding = 0;
  if (fills_up() && written_ % size + packets.size() > size) padding = size - written_ % size;
  // Read pointers of 32 bits wrap; what is free follows from their distance.
  auto start = std::chrono::steady_clock::now();  // when packets were last taken out of it
  uint64_t read = read_pointer();
  const auto used = [&] { return (written_ % size + size - read) % size; };
  int rings = 0;
  while (used() + padding + packets.size() + 16 > size) {
    const auto waited = std::chrono::steady_clock::now() - start;
    if (waited > kRingPatience) fail("{}: its ring stays full", name());
    if (waited > (rings + 1) * kDoorbellPatience && stands_at_a_doorbell()) {
      ring_again();
      ++rings;
    }
    std::this_thread::sleep_for(kBetweenLooks);
    const uint64_t at = read_pointer();
    if (at != read) start = std::chrono::steady_clock::now();
    read = at;
  }
  const std::vector<uint32_t> zeros(padding, 0);
  for (std::span<const uint32_t> part : {std::span<const uint32_t>(zeros), packets}) {
    while (!part.empty()) {
      const uint64_t at = written_ % size;
      const auto piece = part.first(std::min<uint64_t>(part.size(), size - at));
      place_.memory.write(place_.ring + at * 4, std::as_bytes(piece));
      written_ += piece.size();
      part = part.subspan(piece.size());
    }
  }
}

bool Queue::is_done(Fence fence) {
  return static_cast<uint32_t>(load(kFence)) >= static_cast<uint32_t>(fence);
}

void Queue::wait(Fence fence, std::chrono::milliseconds limit, const Watch& watch) {
  using Clock = std::chrono::steady_clock;
  constexpr int kSpins = 1000;
  constexpr int kLooksAtLink = 2000;   // 0.1 s
  constexpr int kLooksAtPointer = 16;  // over TCP a look is a round trip
  const auto between = std::min(std::chrono::milliseconds(1000), limit / 8);  // questions
  const auto start = Clock::now();
  auto moved = start, asked = start;  // when something moved; when `progress` was asked
  uint64_t read = read_pointer();
  std::optional<uint64_t> progress;
  std::chrono::milliseconds patience = watch.doorbell_patience;
  int rings = 0, questions = 0;
  for (int looks = 0; !is_done(fence); ++looks) {
    if (looks > kSpins) std::this_thread::sleep_for(kBetweenLooks);
    if (looks > kSpins && looks % kLooksAtLink == 0 && !c_.link.is_open()) {
      throw link::LinkLost(
          fmt::format("{}: the connection to {} closed while fence {} was waited for", name(),
                      c_.link.name(), fence),
          "The server ended, or the card was unplugged. Check the cable and the enclosure's "
          "power.");
    }
    if (looks % kLooksAtPointer != 0) continue;
    const auto now = Clock::now();
    if (const uint64_t at = read_pointer(); at != read) {
      if (rings > 0) note_lost_doorbell();
      read = at;
      moved = now;
    }
    if (now - moved > patience && stands_at_a_doorbell()) {
      ring_again();
      ++rings;
      patience *= 2;
    }
    if (watch.progress && now - moved > limit / 2 && now - asked > between) {
      asked = now;
      ++questions;
      const uint64_t value = watch.progress();
      if (progress && *progress != value) moved = now;
      progress = value;
    }
    // A host that was away for long asks twice, too, before it calls the card hung.
    if (now - moved < limit || (watch.progress && questions < 2)) continue;
    if (is_done(fence)) break;
    const std::string more = watch.on_timeout ? watch.on_timeout() : std::string();
    const auto all = std::chrono::duration_cast<std::chrono::milliseconds>(now - start);
    throw Error(fmt::format("{}: waited {} ms for fence {}; it stands at {}{}{}", name(),
                            limit.count(), fence, static_cast<uint32_t>(load(kFence)),
                            all > 2 * limit
                                ? fmt::format(" ({} ms in all, while the card got on)", all.count())
                                : "",
                            more.empty() ? "" : ": " + more),
                "The card hangs: it will be reset at the next start. If that fails, power the "
                "enclosure off and on.");
  }
  if (rings > 0) note_lost_doorbell();
  reached(fence);
}

Fence ComputeQueue::enqueue(std::span<const uint32_t> packets) {
  if (!c_.second_level_stale) return Queue::enqueue(packets);
  c_.second_level_stale = false;
  std::vector<uint32_t> all = hw::pm4::acquire({true, true, true, true});
  hardware::amd::append(all, packets);
  return Queue::enqueue(all);
}

std::vector<uint32_t> ComputeQueue::fence_packet(Fence value) {
  return hw::pm4::release(fence_address(), low(value));
}

Fence CopyQueue::submit_writes(std::span<const uint32_t> packets) {
  last_write_ = submit(packets);
  if (first_write_ == 0) first_write_ = last_write_;
  return last_write_;
}

void CopyQueue::reached(Fence fence) {
  if (first_write_ == 0 || fence < first_write_) return;
  c_.second_level_stale = true;
  first_write_ = fence < last_write_ ? fence + 1 : 0;
}

// As Linux's ring without a doorbell does (sdma_v6_0_ring_set_wptr).
void CopyQueue::tell_by_register(uint64_t pointer) {
  c_.registers.set<gc::SDMA0_QUEUE0_RB_WPTR_HI>(high(pointer));
  c_.registers.set<gc::SDMA0_QUEUE0_RB_WPTR>(low(pointer));
}

std::vector<uint32_t> CopyQueue::fence_packet(Fence value) {
  return hw::sdma::fence(fence_address(), low(value));
}

}  // namespace outboard::devices::amd::driver
