#include "simulator/cost/launch_times.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "hardware/amd/rdna3/occupancy.h"

namespace outboard::simulator::cost {
namespace {

using compute::Case;
using compute::kBest;
using compute::kCases;
using compute::kLikely;
using compute::kTiming;
using compute::kWorst;
using compute::OfCases;
using compute::Segment;

namespace rdna3 = hardware::amd::rdna3;

constexpr double kSimdsOfUnit = rdna3::kSimdsOfUnit;
constexpr std::array<Case, kCases> kEachCase = {kBest, kLikely, kWorst};
// What workgroups share, in the order of Bound; latency is nobody's.
constexpr size_t kShared = kBounds - 1;
using Shared = std::array<double, kShared>;

Shared demands(const Segment& s) {
  return {s.vram_bytes, s.infinity_bytes, s.second_level_bytes, s.lds_clocks, s.issue_clocks};
}

// A second of the card.
Shared capacities(const card::CardModel& card, Case of) {
  const double clock = card.clock * kTiming.clock_factor[of];
  const double units = card.compute_units();
  return {card.vram_bytes_per_second * kTiming.vram_fraction[of],
          kTiming.infinity_bytes_per_second[of], kTiming.second_level_bytes_per_clock[of] * clock,
          units * clock, units * kSimdsOfUnit * clock};
}

// The least time that a segment takes with a compute unit of its own.
double alone(const Segment& s, const card::CardModel& card, Case of) {
  const double clock = card.clock * kTiming.clock_factor[of];
  const double faster = card.clock / compute::kClock;
  return std::max({s.seconds[of] / faster, s.issue_clocks / kSimdsOfUnit / clock,
                   s.lds_clocks / clock,
                   s.second_level_bytes / kTiming.first_level_bytes_per_clock / clock, 1e-9});
}

// How much of something with `capacity` each may have, so that those who want little get it and the
// others the same: the level that divides them.
double fair_share(std::span<const double> wanted, double capacity) {
  double share = std::numeric_limits<double>::infinity();
  double left = capacity;
  size_t above = wanted.size();
  for (int pass = 0; pass < 8 && above > 0; ++pass) {
    const double next = left / static_cast<double>(above);
    if (next == share) break;
    share = next;
    left = capacity;
    above = 0;
    for (const double w : wanted) {
      if (w > share)
        ++above;
      else
        left -= w;
    }
  }
  return above == 0 ? std::numeric_limits<double>::infinity() : share;
}

// Seconds from the first workgroup's start to the last one's end: so many at a time, each a segment
// after the other, all sharing what there is. kLatency alone: what they share is endless.
double flow(const compute::LaunchProfile& launch, const card::CardModel& card, double resident,
            Case of, bool endless) {
  const Shared capacity = capacities(card, of);
  struct Running {
    size_t group, segment;
    double left = 1;  // of the segment
    double alone;
    Shared demand;
    double speed = 0;
  };
  const auto at = [&](size_t group, size_t segment) {
    const Segment& s = launch.groups[group].segments[segment];
    return Running{group, segment, 1, alone(s, card, of), demands(s)};
  };
  std::vector<Running> running;
  std::vector<double> wanted;
  size_t next = 0;
  double now = 0;
  for (;;) {
    while (static_cast<double>(running.size()) < resident && next < launch.groups.size())
      running.push_back(at(next++, 0));
    if (running.empty()) return now;
    for (Running& r : running) r.speed = 1 / r.alone;
    for (size_t k = 0; !endless && k < kShared; ++k) {
      wanted.clear();
      double sum = 0;
      for (const Running& r : running) {
        wanted.push_back(r.demand[k] / r.alone);
        sum += wanted.back();
      }
      if (sum <= capacity[k]) continue;
      const double share = fair_share(wanted, capacity[k]);
      for (Running& r : running)
        if (r.demand[k] > 0) r.speed = std::min(r.speed, share / r.demand[k]);
    }
    double step = std::numeric_limits<double>::infinity();
    for (const Running& r : running) step = std::min(step, r.left / r.speed);
    // Those that end at nearly the same time end together.
    constexpr double kTogether = 5e-9;
    now += step;
    for (size_t i = 0; i < running.size();) {
      Running& r = running[i];
      r.left -= step * r.speed;
      if (r.left > kTogether * r.speed) {
        ++i;
      } else if (r.segment + 1 < launch.groups[r.group].segments.size()) {
        r = at(r.group, r.segment + 1);
        ++i;
      } else {
        r = running.back();
        running.pop_back();
      }
    }
  }
}

double real(uint64_t n) { return static_cast<double>(n); }

}  // namespace

std::string_view name_of(Bound bound) {
  switch (bound) {
    case Bound::kVram:
      return "VRAM";
    case Bound::kInfinity:
      return "Infinity Cache";
    case Bound::kSecondLevel:
      return "GL2";
    case Bound::kLds:
      return "LDS";
    case Bound::kIssue:
      return "issue";
    case Bound::kLatency:
      break;
  }
  return "latency";
}

double LaunchTime::total(Case of) const {
  double most = 0;
  for (const OfCases& bound : bounds) most = std::max(most, bound[of]);
  return gap[of] + most + tail[of];
}

Bound LaunchTime::greatest() const {
  size_t most = 0;
  for (size_t i = 1; i < kBounds; ++i)
    if (bounds[i][kLikely] > bounds[most][kLikely]) most = i;
  return static_cast<Bound>(most);
}

LaunchTime time_of(const compute::LaunchProfile& launch, const card::CardModel& card) {
  LaunchTime t;
  t.resident = card.compute_units() *
               rdna3::resident_groups(launch.vgprs, launch.lds_bytes, launch.waves, launch.wave32);
  t.rounds = real(launch.workgroups) / t.resident;
  Shared sum{};
  for (const compute::GroupProfile& group : launch.groups)
    for (const Segment& s : group.segments) {
      const Shared d = demands(s);
      for (size_t k = 0; k < kShared; ++k) sum[k] += d[k];
    }
  for (const Case of : kEachCase) {
    const Shared capacity = capacities(card, of);
    double most = 0;
    for (size_t k = 0; k < kShared; ++k)
      most = std::max(most, t.bounds[k][of] = sum[k] / capacity[k]);
    double& latency = t.bounds[static_cast<size_t>(Bound::kLatency)][of];
    latency = flow(launch, card, t.resident, of, true);
    most = std::max(most, latency);
    t.gap[of] = (launch.waited ? kTiming.gap : kTiming.next)[of];
    t.tail[of] = std::max(0.0, flow(launch, card, t.resident, of, false) - most);
  }
  return t;
}

void LaunchTimes::set_names(Names names) {
  const std::lock_guard lock(mutex_);
  names_ = std::move(names);
}

void LaunchTimes::add(const compute::LaunchProfile& launch, const card::CardModel& card) {
  const LaunchTime time = time_of(launch, card);
  const std::lock_guard lock(mutex_);
  const std::string kernel =
      names_ ? names_(launch.program) : fmt::format("program at {:#x}", launch.program);
  // Kernels that do the same work issue as many instructions, nearly.
  const double instructions = real(launch.counters.instructions());
  const auto same = [&](const LaunchKind& kind) {
    const double each = real(kind.counters.instructions()) / real(kind.launches);
    return kind.kernel == kernel && kind.workgroups == launch.workgroups &&
           std::abs(each - instructions) <= 0.02 * each;
  };
  auto kind = std::ranges::find_if(kinds_, same);
  if (kind == kinds_.end()) {
    kinds_.emplace_back();
    kind = kinds_.end() - 1;
    kind->kernel = kernel;
    kind->workgroups = launch.workgroups;
    kind->vgprs = launch.vgprs;
    kind->lds_bytes = launch.lds_bytes;
    kind->sum.resident = time.resident;
    kind->sum.rounds = time.rounds;
  }
  ++kind->launches;
  kind->counters += launch.counters;
  for (const compute::GroupProfile& group : launch.groups) {
    kind->longest_wave = std::max(kind->longest_wave, group.longest_wave);
    for (size_t i = 0; i < group.waits.size(); ++i) kind->waits[i] += group.waits[i];
  }
  // Of launches that differ a little, each one's greatest bound counts.
  for (const Case of : kEachCase) {
    kind->sum.gap[of] += time.gap[of];
    kind->sum.tail[of] += time.tail[of];
    for (size_t k = 0; k < kBounds; ++k) kind->sum.bounds[k][of] += time.bounds[k][of];
  }
  order_.push_back(static_cast<size_t>(kind - kinds_.begin()));
}

std::vector<LaunchKind> LaunchTimes::take() {
  const std::lock_guard lock(mutex_);
  for (LaunchKind& kind : kinds_)
    kind.of_layers = kind.kernel != "begin" && kind.kernel != "embed" && kind.kernel != "sample";
  // What comes just before the choice is the output matrix.
  for (size_t i = 0; i + 1 < order_.size(); ++i)
    if (kinds_[order_[i + 1]].kernel == "sample") kinds_[order_[i]].of_layers = false;
  order_.clear();
  return std::exchange(kinds_, {});
}

double seconds_of(const std::vector<LaunchKind>& kinds, Case of) {
  double sum = 0;
  for (const LaunchKind& kind : kinds) sum += kind.stands_for * kind.sum.total(of);
  return sum;
}

nlohmann::ordered_json to_json(const LaunchKind& kind) {
  const auto cases = [](const OfCases& v) {
    return nlohmann::ordered_json{{"best", v[kBest]}, {"likely", v[kLikely]}, {"worst", v[kWorst]}};
  };
  nlohmann::ordered_json bounds;
  for (size_t k = 0; k < kBounds; ++k)
    bounds[std::string(name_of(static_cast<Bound>(k)))] = cases(kind.sum.bounds[k]);
  return {{"kernel", kind.kernel},
          {"workgroups", kind.workgroups},
          {"launches", kind.launches},
          {"stands_for", kind.stands_for},
          {"vgprs", kind.vgprs},
          {"lds_bytes", kind.lds_bytes},
          {"resident_workgroups", kind.sum.resident},
          {"rounds", kind.sum.rounds},
          {"bound_by", name_of(kind.sum.greatest())},
          {"seconds",
           {{"best", kind.sum.total(kBest)},
            {"likely", kind.sum.total(kLikely)},
            {"worst", kind.sum.total(kWorst)}}},
          {"gap_seconds", cases(kind.sum.gap)},
          {"tail_seconds", cases(kind.sum.tail)},
          {"bound_seconds", std::move(bounds)},
          {"gl2_bytes", kind.counters.gl2_reads * 128},
          {"gl2_miss_bytes", kind.counters.gl2_miss_bytes},
          {"vram_read_bytes", kind.counters.vram_read_bytes},
          {"instructions", kind.counters.instructions()},
          {"wmma", kind.counters.wmma},
          {"longest_wave_clocks", kind.longest_wave},
          {"waits",
           {{"first_level", kind.waits[0]},
            {"gl2", kind.waits[1]},
            {"infinity_cache", kind.waits[2]},
            {"vram", kind.waits[3]},
            {"system", kind.waits[4]}}}};
}

std::string to_text(const std::vector<LaunchKind>& kinds, int steps) {
  std::string out =
      fmt::format("  {:<18} {:>8} {:>6} {:>9} {:>6} {:>9} {:>9} {:>8}  {:<14} {:>6} {:>6}\n",
                  "launches a step", "us each", "groups", "resident", "rounds", "GL2 MB", "VRAM MB",
                  "wave", "bound by", "us", "tail");
  for (const LaunchKind& kind : kinds) {
    const double n = real(std::max<uint64_t>(kind.launches, 1));
    const Bound bound = kind.sum.greatest();
    out += fmt::format(
        "  {:<18} {:>8.1f} {:>6} {:>9.0f} {:>6.2f} {:>9.2f} {:>9.2f} {:>8}  {:<14} {:>6.1f} "
        "{:>6.1f}\n",
        fmt::format("{:g} {}", kind.stands_for * n / steps, kind.kernel),
        kind.sum.total(kLikely) / n * 1e6, kind.workgroups, kind.sum.resident, kind.sum.rounds,
        real(kind.counters.gl2_reads) * 128 / n / 1e6,
        real(kind.counters.vram_read_bytes) / n / 1e6, kind.longest_wave, name_of(bound),
        kind.sum.bounds[static_cast<size_t>(bound)][kLikely] / n * 1e6,
        kind.sum.tail[kLikely] / n * 1e6);
  }
  return out;
}

}  // namespace outboard::simulator::cost
