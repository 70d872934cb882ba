#include "simulator/card.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "simulator/board.h"
#include "simulator/compute/dispatch.h"
#include "simulator/mec.h"
#include "simulator/nbio.h"
#include "simulator/sdma.h"

namespace outboard::simulator {
namespace {

constexpr int kVramBar = 0, kDoorbellBar = 2, kIoBar = 4, kRegisterBar = 5;

// How long the engines sleep when nothing moves. Over shared memory the host's writes are not
// heard, so waiting queues look again: soon at first, then less often.
constexpr std::chrono::microseconds kShortestSleep{20}, kLongestSleep{1000};

}  // namespace

struct Card::State {
  explicit State(CardOptions options) : board(std::move(options)), engines([this] { run(); }) {}

  ~State() {
    {
      Board::Guard guard(board);
      stop = true;
      board.cancel_dispatch();
      board.wake();
    }
    engines.join();
  }

  void run();
  // The card is gone from the bus.
  bool unplugged() { return board.fires("bar.all-ones").has_value(); }
  // Requests are counted by the links, which know what one is.
  void begin_access() {
    if (board.fires("ecc.error")) board.nbio->report_memory_error();
  }
  bool decodes(int bar, uint64_t offset, uint64_t bytes);
  void read_registers(uint64_t offset, std::span<std::byte> out);
  void write_registers(uint64_t offset, std::span<const std::byte> data);
  void write_doorbells(uint64_t offset, std::span<const std::byte> data);

  Board board;
  bool stop = false;
  uint64_t idle_at = 0;  // the engines had nothing to do at this count of wakes
  std::thread engines;   // last: it uses the rest
};

void Card::State::run() {
  auto sleep = kShortestSleep;
  Board::Guard guard(board);
  while (!stop) {
    const uint64_t wakes = board.wakes();
    board.begin_step();
    bool progress = board.mec->step();
    for (const auto& engine : board.sdma) progress |= engine->step();
    board.end_step();
    if (progress) {
      sleep = kShortestSleep;
    } else {
      idle_at = std::max(idle_at, wakes);
      board.idle.notify_all();
    }
    board.release([&](std::unique_lock<std::mutex>& lock) {
      if (!progress) {
        board.work.wait_for(lock, sleep, [&] { return stop || board.wakes() != wakes; });
        sleep = board.wakes() != wakes ? kShortestSleep : std::min(sleep * 2, kLongestSleep);
      } else if (board.has_waiters()) {
        // A mutex is not fair: let those who wait have it.
        lock.unlock();
        while (board.has_waiters()) std::this_thread::yield();
        lock.lock();
      }
    });
  }
}

Card::Card(CardOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Card::~Card() = default;

uint32_t Card::config_read(uint32_t offset, uint32_t size) {
  const Board::Guard guard(state_->board);
  state_->begin_access();
  ++state_->board.counters.config_reads;
  if (state_->unplugged()) return size >= 4 ? ~0u : (1u << (8 * size)) - 1;
  return state_->board.config.read(offset, size);
}

void Card::config_write(uint32_t offset, uint32_t value, uint32_t size) {
  const Board::Guard guard(state_->board);
  state_->begin_access();
  ++state_->board.counters.config_writes;
  if (state_->unplugged()) return;
  state_->board.config.write(offset, value, size);
}

link::Bar Card::bar(int index) const {
  const Board::Guard guard(state_->board);
  return state_->board.config.bar(index);
}

bool Card::State::decodes(int bar, uint64_t offset, uint64_t bytes) {
  const link::Bar found = board.config.bar(bar);
  if (found.size == 0 || !board.config.memory_enabled()) return false;
  return offset <= found.size && bytes <= found.size - offset;
}

bool Card::bar_read(int bar, uint64_t offset, std::span<std::byte> out) {
  const Board::Guard guard(state_->board);
  Board& board = state_->board;
  state_->begin_access();
  if (bar >= 0 && bar < ConfigSpace::kBars) {
    ++board.counters.mmio_reads[bar];
    board.counters.mmio_read_bytes[bar] += out.size();
  }
  const bool decoded = state_->decodes(bar, offset, out.size());
  if (!decoded || state_->unplugged()) {
    std::fill(out.begin(), out.end(), std::byte{0xff});
    return decoded;
  }
  switch (bar) {
    case kVramBar: {
      // The window may be larger than the memory behind it.
      const uint64_t size = board.vram.size();
      const uint64_t inside = offset < size ? std::min<uint64_t>(out.size(), size - offset) : 0;
      std::memcpy(out.data(), board.vram.at(std::min(offset, size)), inside);
      std::fill(out.begin() + static_cast<ptrdiff_t>(inside), out.end(), std::byte{0xff});
      return true;
    }
    case kDoorbellBar:
      std::fill(out.begin(), out.end(), std::byte{0});
      return true;
    case kRegisterBar:
      state_->read_registers(offset, out);
      return true;
    default:
      std::fill(out.begin(), out.end(), std::byte{0xff});
      return bar == kIoBar;
  }
}

bool Card::bar_write(int bar, uint64_t offset, std::span<const std::byte> data) {
  const Board::Guard guard(state_->board);
  Board& board = state_->board;
  state_->begin_access();
  if (bar >= 0 && bar < ConfigSpace::kBars) {
    ++board.counters.mmio_writes[bar];
    board.counters.mmio_write_bytes[bar] += data.size();
  }
  if (!state_->decodes(bar, offset, data.size())) return false;
  if (state_->unplugged()) return true;
  switch (bar) {
    case kVramBar: {
      if (!board.vram.contains(offset, data.size())) {
        board.events.driver_error("pci", "write of {} bytes at {:#x} of BAR 0, beyond the memory",
                                  data.size(), offset);
        return true;
      }
      if (board.vram.is_protected(offset, data.size())) {
        board.events.driver_error("pci", "write at {:#x} of BAR 0, in the trusted memory region",
                                  offset);
        return true;
      }
      std::memcpy(board.vram.at(offset), data.data(), data.size());
      board.vram.mark_unflushed(offset, data.size());
      return true;
    }
    case kDoorbellBar:
      state_->write_doorbells(offset, data);
      return true;
    case kRegisterBar:
      state_->write_registers(offset, data);
      return true;
    default:
      return bar == kIoBar;
  }
}

void Card::State::read_registers(uint64_t offset, std::span<std::byte> out) {
  if (offset % 4 != 0 || out.size() % 4 != 0) {
    board.events.driver_error("pci", "read of {} bytes at {:#x} of BAR 5: registers are 32-bit",
                              out.size(), offset);
    std::fill(out.begin(), out.end(), std::byte{0xff});
    return;
  }
  for (size_t i = 0; i < out.size(); i += 4) {
    const uint32_t value = board.nbio->mmio_read(static_cast<uint32_t>((offset + i) / 4));
    std::memcpy(&out[i], &value, sizeof value);
  }
}

void Card::State::write_registers(uint64_t offset, std::span<const std::byte> data) {
  if (offset % 4 != 0 || data.size() % 4 != 0) {
    board.events.driver_error("pci", "write of {} bytes at {:#x} of BAR 5: registers are 32-bit",
                              data.size(), offset);
    return;
  }
  for (size_t i = 0; i < data.size(); i += 4) {
    uint32_t value = 0;
    std::memcpy(&value, &data[i], sizeof value);
    board.nbio->mmio_write(static_cast<uint32_t>((offset + i) / 4), value);
  }
}

void Card::State::write_doorbells(uint64_t offset, std::span<const std::byte> data) {
  uint64_t value = 0;
  if ((data.size() != 4 && data.size() != 8) || offset % data.size() != 0) {
    board.events.driver_error("pci",
                              "doorbell write of {} bytes at {:#x}: doorbells are 4 or 8 bytes",
                              data.size(), offset);
    return;
  }
  std::memcpy(&value, data.data(), data.size());
  board.nbio->doorbell(static_cast<uint32_t>(offset / 4), value);
}

std::shared_ptr<SharedRegion> Card::share(uint64_t bytes, bool contiguous, int max_segments) {
  const Board::Guard guard(state_->board);
  state_->begin_access();
  auto region = state_->board.system.share(bytes, contiguous, max_segments);
  if (region) {
    ++state_->board.counters.shared_regions;
    state_->board.counters.shared_bytes += region->bytes().size();
  }
  return region;
}

void Card::unshare(uint32_t id) {
  const Board::Guard guard(state_->board);
  state_->board.retire(state_->board.system.unshare(id));
}

void Card::reset() {
  const Board::Guard guard(state_->board);
  state_->begin_access();
  state_->board.config.function_reset();
  state_->board.hard_reset("function level reset");
}

bool Card::resize_bar(int index) {
  const Board::Guard guard(state_->board);
  state_->begin_access();
  return state_->board.config.resize_to_largest(index);
}

void Card::close_client() {
  const Board::Guard guard(state_->board);
  state_->board.config.close();
}

bool Card::settle(double seconds) {
  const Board::Guard guard(state_->board);
  Board& board = state_->board;
  board.wake();
  const uint64_t target = board.wakes();
  bool settled = false;
  board.release([&](std::unique_lock<std::mutex>& lock) {
    settled = board.idle.wait_for(lock, std::chrono::duration<double>(seconds),
                                  [&] { return state_->idle_at >= target; });
  });
  return settled;
}

CardCounters Card::counters() const {
  const Board::Guard guard(state_->board);
  CardCounters result = state_->board.counters;
  result.compute = state_->board.compute_state().counters;
  return result;
}

std::vector<CardEvent> Card::events() const { return state_->board.events.all(); }

std::vector<compute::Violation> Card::violations() const {
  const Board::Guard guard(state_->board);
  return state_->board.compute_state().violations;
}

uint64_t Card::violation_count() const {
  const Board::Guard guard(state_->board);
  return state_->board.compute_state().violation_count;
}

const CardOptions& Card::options() const { return state_->board.options; }

}  // namespace outboard::simulator
