// How long launches would take on the card: modelled from what the simulator saw of their
// workgroups. Nothing of it was measured.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "simulator/card/card_model.h"
#include "simulator/compute/dispatch.h"

namespace outboard::simulator::cost {

// What a launch's time is spent on, if on nothing else: the gap before it is not in it.
enum class Bound : uint8_t {
  kVram,         // bytes past the Infinity Cache
  kInfinity,     // bytes past GL2
  kSecondLevel,  // bytes asked of GL2
  kLds,
  kIssue,    // instructions, WMMA at its own rate
  kLatency,  // waiting, round after round
};
inline constexpr size_t kBounds = 6;
std::string_view name_of(Bound bound);

// T = gap + max(bounds) + tail, in seconds, case by case. A bound is what the launch would take if
// nothing else held it up, kLatency what it would take if everything else were endless. The tail is
// what the whole takes beyond the greatest of them, since demand is uneven: workgroups that begin
// ask for nothing yet, the last ones can't use all there is.
struct LaunchTime {
  double resident = 0;  // workgroups that the card holds at once
  double rounds = 0;    // workgroups over that
  compute::OfCases gap{}, tail{};
  std::array<compute::OfCases, kBounds> bounds{};
  double total(compute::Case of) const;
  Bound greatest() const;  // in the likely case
};

LaunchTime time_of(const compute::LaunchProfile& launch, const card::CardModel& card);

// Launches of one kernel and shape.
struct LaunchKind {
  std::string kernel;
  uint64_t workgroups = 0;
  uint64_t launches = 0;
  uint32_t vgprs = 0, lds_bytes = 0;
  LaunchTime sum;  // of all; resident and rounds of one
  compute::Counters counters;
  uint64_t longest_wave = 0;  // clocks of issue
  std::array<uint64_t, 5> waits{};
  bool of_layers = false;  // not one of those before the first and behind the last layer
  double stands_for = 1;   // so many of its like, where a model has fewer layers than it stands for
};

// Launches as they end, by kind, in the order in which each first ran.
class LaunchTimes {
 public:
  // name_of_program: of a kernel, by its first instruction's address.
  using Names = std::function<std::string(uint64_t program)>;

  void set_names(Names names);
  // May be called from any thread.
  void add(const compute::LaunchProfile& launch, const card::CardModel& card);
  // Those since the last take().
  std::vector<LaunchKind> take();

 private:
  std::mutex mutex_;
  Names names_;
  std::vector<LaunchKind> kinds_;
  std::vector<size_t> order_;  // the launches, as indices of kinds_
};

double seconds_of(const std::vector<LaunchKind>& kinds, compute::Case of);
nlohmann::ordered_json to_json(const LaunchKind& kind);
// A table, a kind a row; `steps`: how many steps they are of.
std::string to_text(const std::vector<LaunchKind>& kinds, int steps);

}  // namespace outboard::simulator::cost
