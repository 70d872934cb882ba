#include "simulator/compute/timeline.h"

#include <algorithm>

#include "hardware/amd/rdna3/opcodes.h"
#include "simulator/compute/worker.h"

namespace outboard::simulator::compute {
namespace {

uint64_t lds_work(const Workgroup& workgroup) {
  constexpr uint64_t kBytesAClock = static_cast<uint64_t>(kTiming.lds_bytes_per_clock);
  return workgroup.counters.lds_bytes / kBytesAClock + workgroup.counters.lds_bank_conflicts;
}

double answer(bool scalar, Level level, Case of) {
  switch (level) {
    case Level::kFirst:
      return (scalar ? kTiming.scalar_first : kTiming.vector_first)[of];
    case Level::kSecond:
      return (scalar ? kTiming.scalar_second : kTiming.vector_second)[of];
    case Level::kInfinity:
      return (scalar ? kTiming.scalar_infinity : kTiming.vector_infinity)[of];
    case Level::kVram:
      return (scalar ? kTiming.scalar_vram : kTiming.vector_vram)[of];
    case Level::kSystem:
      break;
  }
  return kTiming.system[of];
}

}  // namespace

void Timeline::before(const Wave& wave) {
  lines_before_ = wave.workgroup->lines.size();
  lds_before_ = lds_work(*wave.workgroup);
}

void Timeline::after(const Wave& wave, const Op& op, uint64_t clocks) {
  const Workgroup& workgroup = *wave.workgroup;
  Recorded& recorded = waves_[wave.index];
  Event e;
  e.at = recorded.clocks + clocks;
  const Instruction& i = *op.instruction;
  switch (op.type) {
    case Class::kSmem:
      e.kind = Kind::kScalar;
      break;
    case Class::kLds:
      e.kind = Kind::kLds;
      e.lds_clocks = static_cast<uint16_t>(
          std::clamp<uint64_t>(lds_work(workgroup) - lds_before_, 1, UINT16_MAX));
      break;
    case Class::kVmemLoad:
    case Class::kVmemStore:
    case Class::kVmemAtomic:
    case Class::kScratch:
      e.kind = i.destinations > 0 ? Kind::kVector : Kind::kStore;
      break;
    case Class::kBarrier:
      e.kind = Kind::kBarrier;
      break;
    default: {  // guide, 16.5
      e.kind = Kind::kWait;
      const uint32_t amount =
          (i.sources > 0 ? wave.read_scalar(i.source[0]) + i.simm16 : i.simm16) & 0x3fU;
      if (i.op == Opcode::kSWaitcnt) {
        e.vector_left = i.simm16 >> 10 & 0x3f;
        e.lds_left = i.simm16 >> 4 & 0x3f;
      } else if (i.op == Opcode::kSWaitcntVmcnt) {
        e.vector_left = static_cast<uint8_t>(amount);
      } else if (i.op == Opcode::kSWaitcntLgkmcnt) {
        e.lds_left = static_cast<uint8_t>(amount);
      } else if (i.op == Opcode::kSWaitcntVscnt) {
        e.stores_left = static_cast<uint8_t>(amount);
      } else {
        return;
      }
    }
  }
  const size_t lines = workgroup.lines.size();
  e.first_line = static_cast<uint32_t>(lines_before_);
  e.lines = static_cast<uint16_t>(lines - lines_before_);
  recorded.events.push_back(e);
}

// One wave on its way along the line of time.
struct Timeline::Replay {
  // Answers that are awaited, in order: when each is there, and from where.
  struct Answers {
    std::vector<std::pair<double, Level>> at;
    void add(double time, Level level) {
      // They come in the order in which they were asked for.
      if (!at.empty()) time = std::max(time, at.back().first);
      at.emplace_back(time, level);
    }
    // The time when no more than `left` are under way; level: of the last that came, where it is
    // later than `from`.
    double wait(uint8_t left, double from, Level* level) const {
      if (left == kAny || at.size() <= left) return from;
      const auto& last = at[at.size() - left - 1];
      if (last.first <= from) return from;
      *level = last.second;
      return last.first;
    }
  };

  explicit Replay(const Recorded& wave) : recorded(&wave) {}

  const Recorded* recorded;
  size_t next = 0;
  uint64_t clocks = 0;
  double now = 0;
  Answers vector, lds, stores;

  bool done() const { return next == recorded->events.size(); }
};

GroupProfile Timeline::profile(const std::vector<Level>& levels) const {
  GroupProfile out;
  // What is asked for is the same in all cases.
  const auto add_work = [&](Segment& segment, const Event& e) {
    segment.lds_clocks += e.lds_clocks;
    for (size_t line = e.first_line; line < e.first_line + e.lines && line < levels.size();
         ++line) {
      if (levels[line] == Level::kSystem) continue;
      constexpr auto kBytes = static_cast<double>(CacheModel::kLineBytes);
      segment.second_level_bytes += kBytes;
      if (levels[line] >= Level::kInfinity) segment.infinity_bytes += kBytes;
      if (levels[line] == Level::kVram) segment.vram_bytes += kBytes;
    }
  };
  for (const Recorded& wave : waves_) out.longest_wave = std::max(out.longest_wave, wave.clocks);
  for (const Case of : {kBest, kLikely, kWorst}) {
    const double clock = kTiming.clocks_an_instruction[of] / (kClock * kTiming.clock_factor[of]);
    std::vector<Replay> waves(waves_.begin(), waves_.end());
    double began = 0;
    for (size_t number = 0;; ++number) {
      if (out.segments.size() == number) out.segments.emplace_back();
      Segment& segment = out.segments[number];
      double ended = began;
      bool all_done = true;
      for (Replay& wave : waves) {
        bool at_barrier = false;
        const auto pass = [&](uint64_t to) {
          wave.now += clock * static_cast<double>(to - wave.clocks);
          if (of == kLikely) segment.issue_clocks += static_cast<double>(to - wave.clocks);
          wave.clocks = to;
        };
        while (!wave.done() && !at_barrier) {
          const Event& e = wave.recorded->events[wave.next++];
          pass(e.at);
          if (of == kLikely) add_work(segment, e);
          Level deepest = Level::kFirst;
          for (size_t line = e.first_line; line < e.first_line + e.lines && line < levels.size();
               ++line)
            deepest = std::max(deepest, levels[line]);
          switch (e.kind) {
            case Kind::kVector:
              wave.vector.add(wave.now + answer(false, deepest, of), deepest);
              break;
            case Kind::kScalar:
              wave.lds.add(wave.now + answer(true, deepest, of), deepest);
              break;
            case Kind::kLds:
              wave.lds.add(wave.now + kTiming.lds[of], Level::kFirst);
              break;
            case Kind::kStore:
              wave.stores.add(wave.now + answer(false, Level::kSecond, of), Level::kSecond);
              break;
            case Kind::kBarrier:
              at_barrier = true;
              break;
            case Kind::kWait: {
              double until = wave.now;
              Level level = Level::kFirst;
              until = wave.vector.wait(e.vector_left, until, &level);
              until = wave.lds.wait(e.lds_left, until, &level);
              until = wave.stores.wait(e.stores_left, until, &level);
              if (of == kLikely && until > wave.now) ++out.waits[static_cast<size_t>(level)];
              wave.now = until;
            }
          }
        }
        if (!at_barrier) pass(wave.recorded->clocks);
        all_done &= wave.done() && !at_barrier;
        ended = std::max(ended, wave.now);
      }
      segment.seconds[of] = ended - began;
      began = ended;
      for (Replay& wave : waves) wave.now = ended;
      if (all_done) break;
    }
  }
  return out;
}

}  // namespace outboard::simulator::compute
