#include "simulator/cost/link_model.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "support/error.h"

namespace outboard::simulator::cost {
namespace {

constexpr double kGB = 1e9, kMicrosecond = 1e-6;

// Bandwidth, measured with graphics cards:
// - tb3, tb4: 19 to 22 Gbit/s to the card, as collected by owners of enclosures with Intel's
//   controllers (unanswered.io, "eGPU bandwidth requirements"); the slow end stands for Thunderbolt
//   3, the fast one for 4. Tunnelled is PCIe 3.0 x4, 32 Gbit/s. Back from the card: assumed alike.
// - usb4: "close to 32 Gbit/s" with newer chips (same page), as ASMedia's ASM2464 bridges; 3.8 is
//   assumed for both directions.
// - tb5, oculink: 5.6 and 5.8, 6.6 and 6.7 GB/s to the card and back, with an RTX 5070 Ti (Try Some
//   Tech, October 2025). Both carry PCIe 4.0 x4, 64 Gbit/s.
// Round trips are assumed. OCuLink is a plain PCIe cable: about a microsecond, the order of what
// Neugebauer et al. measured for reads by a device ("Understanding PCIe performance for end host
// networking", SIGCOMM 2018). A tunnel adds a controller and its buffers at each end; no published
// figure was found, so several microseconds are taken.
const std::vector<LinkModel>& models() {
  static const std::vector<LinkModel> kModels = {
      {"tb3", "Thunderbolt 3", 2.4 * kGB, 2.4 * kGB, 5 * kMicrosecond},
      {"tb4", "Thunderbolt 4", 2.8 * kGB, 2.8 * kGB, 5 * kMicrosecond},
      {"usb4", "USB4 (40 Gbit/s)", 3.8 * kGB, 3.8 * kGB, 4 * kMicrosecond},
      {"tb5", "Thunderbolt 5", 5.6 * kGB, 5.8 * kGB, 3 * kMicrosecond},
      {"oculink", "OCuLink (PCIe 4.0 x4)", 6.6 * kGB, 6.7 * kGB, 1 * kMicrosecond},
  };
  return kModels;
}

struct Unit {
  std::string_view name;
  double factor;
};
constexpr Unit kRates[] = {{"kB/s", 1e3}, {"MB/s", 1e6}, {"GB/s", 1e9}};
constexpr Unit kTimes[] = {{"us", 1e-6}, {"ms", 1e-3}};

// "5MB/s": a number greater than zero and a unit.
std::optional<double> quantity(std::string_view text, std::span<const Unit> units) {
  // Not std::from_chars, which Apple's library lacks for fractions.
  const std::string copy(text);
  char* end = nullptr;
  const double number = std::strtod(copy.c_str(), &end);
  if (end == copy.c_str() || !(number > 0) || !std::isfinite(number)) return std::nullopt;
  const std::string_view name = text.substr(static_cast<size_t>(end - copy.c_str()));
  const auto unit = std::ranges::find(units, name, &Unit::name);
  if (unit == units.end()) return std::nullopt;
  return number * unit->factor;
}

// Sleeping takes some 60 microseconds longer than it was told.
constexpr std::chrono::microseconds kSleepCosts{100};

LinkClock::Clock::duration seconds(double value) {
  return std::chrono::duration_cast<LinkClock::Clock::duration>(
      std::chrono::duration<double>(value));
}

}  // namespace

std::span<const LinkModel> link_models() { return models(); }

LinkModel link_model(std::string_view text) {
  const auto known = std::ranges::find(models(), text, &LinkModel::name);
  if (known != models().end()) return *known;
  const size_t comma = text.find(',');
  if (comma != std::string_view::npos) {
    const auto rate = quantity(text.substr(0, comma), kRates);
    const auto time = quantity(text.substr(comma + 1), kTimes);
    if (rate && time) return {std::string(text), std::string(text), *rate, *rate, *time};
  }
  std::string list;
  for (const LinkModel& model : models())
    list += fmt::format("\n  {:8} {}, {:.1f} GB/s to the card", model.name, model.title,
                        model.to_card / kGB);
  throw Error(fmt::format("there is no link \"{}\"", text),
              "Links, or one of your own as 5MB/s,200us (bytes a second, a round trip):" + list);
}

LinkClock::Clock::time_point LinkClock::Direction::pass(uint64_t bytes, double rate) {
  free = std::max(free, Clock::now()) + seconds(static_cast<double>(bytes) / rate);
  return free;
}

LinkClock::Clock::time_point LinkClock::host_read(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  return std::max(host_to_card_.free, Clock::now()) +
         seconds(model_->round_trip + static_cast<double>(bytes) / model_->from_card);
}

LinkClock::Clock::time_point LinkClock::host_write(uint64_t bytes) {
  constexpr double kOnItsWay = 4096;  // bytes; assumed, the buffers of a tunnel's controllers
  const std::lock_guard lock(mutex_);
  return host_to_card_.pass(bytes, model_->to_card) - seconds(kOnItsWay / model_->to_card);
}

LinkClock::Clock::time_point LinkClock::dma(uint64_t read, uint64_t written) {
  const std::lock_guard lock(mutex_);
  Clock::time_point there{};
  if (read > 0) there = std::max(there, dma_to_card_.pass(read, model_->to_card));
  if (written > 0) there = std::max(there, dma_from_card_.pass(written, model_->from_card));
  return there;
}

Passage::~Passage() {
  if (!due_) return;
  std::this_thread::sleep_until(*due_ - kSleepCosts);
  while (LinkClock::Clock::now() < *due_) {
  }
}

}  // namespace outboard::simulator::cost
