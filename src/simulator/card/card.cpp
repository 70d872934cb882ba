#include "simulator/card/card.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <thread>

#include "simulator/card/board.h"
#include "simulator/card/mec.h"
#include "simulator/card/nbio.h"
#include "simulator/card/sdma.h"
#include "simulator/compute/dispatch.h"

namespace outboard::simulator::card {
namespace {

constexpr int kVramBar = 0, kDoorbellBar = 2, kIoBar = 4, kRegisterBar = 5;

// How long the engines sleep when nothing moves. Over system memory the host's writes are not
// heard, so waiting queues look again: soon at first, then less often.
constexpr std::chrono::microseconds kShortestSleep{20}, kLongestSleep{1000};

}  // namespace

struct Card::State {
  using Clock = std::chrono::steady_clock;
  // On its way to the card.
  struct Doorbell {
    uint32_t index;
    uint64_t value;
    Clock::time_point due;
  };

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
    deliver_doorbells(
        Clock::time_point::max());  // the bus keeps the order of what one client sends
    if (board.fires("ecc.error")) board.nbio->report_memory_error();
  }
  // A read over a link that goes to sleep (Mood::kLinkPower).
  bool is_disturbed() {
    constexpr uint64_t kOneIn = 7;
    return board.is(Mood::kLinkPower) && board.config.link_sleeps() && ++reads % kOneIn == 0;
  }
  void deliver_doorbells(Clock::time_point due);
  bool decodes(int bar, uint64_t offset, uint64_t bytes);
  std::shared_ptr<SystemRegion> count(std::shared_ptr<SystemRegion> region) {
    if (region) {
      ++board.counters.system_regions;
      board.counters.system_bytes += region->bytes().size();
    }
    return region;
  }
  void read_registers(uint64_t offset, std::span<std::byte> out);
  void write_registers(uint64_t offset, std::span<const std::byte> data);
  void write_doorbells(uint64_t offset, std::span<const std::byte> data);

  Board board;
  std::deque<Doorbell> doorbells;  // the oldest first
  uint64_t doorbells_rung = 0, reads = 0;
  bool stop = false;
  uint64_t idle_at = 0;  // the engines had nothing to do at this count of wakes
  std::thread engines;   // last: it uses the rest
};

void Card::State::run() {
  auto sleep = kShortestSleep;
  Board::Guard guard(board);
  while (!stop) {
    const uint64_t wakes = board.wakes();
    deliver_doorbells(Clock::now());
    board.begin_step();
    bool progress = board.mec->step();
    for (const auto& engine : board.sdma) progress |= engine->step();
    board.end_step();
    auto until = Clock::time_point::max();  // when a copy that is under way goes on
    for (const auto& engine : board.sdma) until = std::min(until, engine->goes_on_at());
    if (progress) {
      sleep = kShortestSleep;
      board.give_way();
      continue;
    }
    if (until == Clock::time_point::max()) {
      idle_at = std::max(idle_at, wakes);
      board.idle.notify_all();
    }
    board.release([&](std::unique_lock<std::mutex>& lock) {
      board.work.wait_until(lock, std::min(until, Clock::now() + sleep),
                            [&] { return stop || board.wakes() != wakes; });
      sleep = board.wakes() != wakes ? kShortestSleep : std::min(sleep * 2, kLongestSleep);
    });
  }
}

Card::Card(CardOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Card::~Card() = default;

uint32_t Card::config_read(uint32_t offset, uint32_t size) {
  const cost::Passage passage(state_->board.link, true, size);
  const Board::Guard guard(state_->board);
  state_->begin_access();
  ++state_->board.counters.config_reads;
  if (state_->unplugged()) return size >= 4 ? ~0u : (1u << (8 * size)) - 1;
  return state_->board.config.read(offset, size);
}

void Card::config_write(uint32_t offset, uint32_t value, uint32_t size) {
  // The card answers these, unlike other writes.
  const cost::Passage passage(state_->board.link, true, size);
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

bool Card::bar_read(int bar, link::BarOffset from, std::span<std::byte> out) {
  const uint64_t offset = value(from);
  const cost::Passage passage(state_->board.link, true, out.size());
  const Board::Guard guard(state_->board);
  Board& board = state_->board;
  state_->begin_access();
  if (bar >= 0 && bar < ConfigSpace::kBars) {
    ++board.counters.mmio_reads[bar];
    board.counters.mmio_read_bytes[bar] += out.size();
  }
  const bool decoded = state_->decodes(bar, offset, out.size());
  if (!decoded || state_->unplugged() || state_->is_disturbed()) {
    std::fill(out.begin(), out.end(), std::byte{0xff});
    return decoded;
  }
  switch (bar) {
    case kVramBar: {
      // The window may be larger than the memory behind it.
      const uint64_t size = board.vram.size();
      const uint64_t inside = offset < size ? std::min<uint64_t>(out.size(), size - offset) : 0;
      std::memcpy(out.data(), board.vram.at(VramOffset{std::min(offset, size)}), inside);
      board.vram.see_through(VramOffset{std::min(offset, size)}, out.first(inside));
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

bool Card::bar_write(int bar, link::BarOffset to, std::span<const std::byte> data) {
  const uint64_t offset = value(to);
  const cost::Passage passage(state_->board.link, false, data.size());
  const Board::Guard guard(state_->board);
  Board& board = state_->board;
  if (bar != kDoorbellBar) state_->begin_access();
  if (bar >= 0 && bar < ConfigSpace::kBars) {
    ++board.counters.mmio_writes[bar];
    board.counters.mmio_write_bytes[bar] += data.size();
  }
  if (!state_->decodes(bar, offset, data.size())) return false;
  if (state_->unplugged()) return true;
  if (bar == kDoorbellBar) {
    state_->write_doorbells(offset, data);
    return true;
  }
  switch (bar) {
    case kVramBar: {
      const VramOffset in_vram{offset};
      if (!board.vram.contains(in_vram, data.size())) {
        board.events.driver_error("pci", "write of {} bytes at {:#x} of BAR 0, beyond the memory",
                                  data.size(), offset);
        return true;
      }
      if (board.vram.is_protected(in_vram, data.size())) {
        board.events.driver_error("pci", "write at {:#x} of BAR 0, in the trusted memory region",
                                  offset);
        return true;
      }
      std::memcpy(board.vram.at(in_vram), data.data(), data.size());
      board.vram.mark_unflushed(in_vram, data.size());
      return true;
    }
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
  // Mood::kWideWrites: pairs of dwords land the wrong way round.
  const size_t scramble = board.is(Mood::kWideWrites) && data.size() > 4 ? 4 : 0;
  for (size_t i = 0; i < data.size(); i += 4) {
    uint32_t value = 0;
    const size_t from = (i ^ scramble) < data.size() ? i ^ scramble : i;
    std::memcpy(&value, &data[from], sizeof value);
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
  const auto index = static_cast<uint32_t>(offset / 4);
  constexpr uint64_t kLateOneIn = 3, kLostOneIn = 5;
  constexpr std::chrono::milliseconds kLate{40}, kMerging{1};
  ++doorbells_rung;
  if (board.fires("doorbell.lost") ||
      (board.is(Mood::kDoorbellLost) && doorbells_rung % kLostOneIn == 0)) {
    return;
  }
  std::chrono::milliseconds delay{0};
  if (const auto rule = board.fires("doorbell.late")) {
    const auto found = rule->parameters.find("milliseconds");
    delay = found == rule->parameters.end() ? kLate : std::chrono::milliseconds(found->second);
  } else if (board.is(Mood::kDoorbellLate) && doorbells_rung % kLateOneIn == 0) {
    delay = kLate;
  }
  const bool merges = board.fires("doorbell.merged") || board.is(Mood::kDoorbellMerged);
  if (merges) delay = std::max(delay, kMerging);
  if (merges && !doorbells.empty() && doorbells.back().index == index) {
    doorbells.back().value = value;
    return;
  }
  if (delay.count() == 0 && doorbells.empty()) {
    board.nbio->doorbell(index, value);
    return;
  }
  // Doorbells do not overtake each other.
  Clock::time_point due = Clock::now() + delay;
  if (!doorbells.empty()) due = std::max(due, doorbells.back().due);
  doorbells.push_back({index, value, due});
}

void Card::State::deliver_doorbells(Clock::time_point due) {
  while (!doorbells.empty() && doorbells.front().due <= due) {
    const Doorbell doorbell = doorbells.front();
    doorbells.pop_front();
    board.nbio->doorbell(doorbell.index, doorbell.value);
  }
}

std::shared_ptr<SystemRegion> Card::share(uint64_t bytes, bool contiguous, int max_segments) {
  const Board::Guard guard(state_->board);
  state_->begin_access();
  return state_->count(state_->board.system.share(bytes, contiguous, max_segments));
}

std::shared_ptr<SystemRegion> Card::share_at(const std::vector<link::Segment>& segments) {
  const Board::Guard guard(state_->board);
  state_->begin_access();
  return state_->count(state_->board.system.share_at(segments));
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

void Card::observe_launches(std::function<void(const compute::LaunchProfile&)> on_launch) {
  const Board::Guard guard(state_->board);
  state_->board.compute->observe(std::move(on_launch));
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

std::vector<std::string> Card::complaints() const {
  std::vector<std::string> out;
  for (const CardEvent& event : events()) {
    if (event.kind == CardEvent::Kind::kDriverError || event.kind == CardEvent::Kind::kNotSimulated)
      out.push_back(event.where + ": " + event.text);
  }
  for (const compute::Violation& violation : violations()) out.push_back(violation.text());
  return out;
}

const CardOptions& Card::options() const { return state_->board.options; }

}  // namespace outboard::simulator::card
