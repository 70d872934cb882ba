// Plays a recording of a real card (link/traffic.h) against the simulated one, and says where their
// answers differ.
//
// What the host did is done again as it was: system memory gets the bus addresses that it had, so
// that every page table and packet fits. Contents that the recording has no more than hashes of
// (firmware, weights) are replaced by stand-ins.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "link/traffic.h"
#include "simulator/card/card.h"

namespace outboard::simulator::card {

struct ReplayOptions {
  // How long the engines may take until an answer counts as another one.
  double patience = 10;  // seconds
  // What lies at an offset of video memory, for people; empty: not known.
  std::function<std::string(hardware::VramOffset)> name_vram{};
  // Zeroes, in what was read at an offset of video memory, what differs from run to run (times).
  std::function<void(hardware::VramOffset, std::span<std::byte>)> blank_vram{};
};

struct Difference {
  uint64_t record = 0;        // the first that it was seen at
  uint64_t microseconds = 0;  // since the recording began
  std::string during;         // the recording's note before it: "boot: firmware boot"
  std::string block;          // "psp", "smu", "gchub", "vram", "configuration", ...
  std::string place;          // a register by its name, or where in memory
  std::string recorded, simulated;
  uint64_t times = 1;
};

struct ReplayOutcome {
  uint64_t records = 0;
  uint64_t compared = 0;   // answers
  uint64_t differing = 0;  // of these
  // Differing answers that follow from contents that the recording does not have; not in the list.
  uint64_t unknowable = 0;
  std::vector<Difference> differences;       // each once, in the order of their first time
  std::map<std::string, uint64_t> by_block;  // differing answers
  std::vector<std::string> failures;         // calls that did not pass, as they were recorded
};

// How a poll ended is compared, not how often it looked; addresses that each host gives out itself
// are not.
ReplayOutcome replay(Card& card, std::span<const link::TrafficRecord> traffic,
                     const ReplayOptions& options = {});

// A card that shows as much through BAR 0 as the recorded one.
CardOptions card_like(std::span<const link::TrafficRecord> traffic);

}  // namespace outboard::simulator::card
