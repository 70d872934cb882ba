// What a token and a prompt cost on the simulated card: counts, and a time modelled from them.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "program/program.h"
#include "simulator/card/card.h"
#include "simulator/cost/launch_times.h"
#include "simulator/cost/link_model.h"

namespace outboard::simulator::cost {

// Of some work on the card; differences of card::CardCounters.
struct CardWork {
  const card::CardModel* card = nullptr;
  int tokens = 0;
  int steps = 0;             // each waits once for what the host left in system memory
  uint64_t round_trips = 0;  // messages that are answered
  uint64_t one_way = 0;      // messages that are not
  uint64_t message_bytes = 0;
  uint64_t dma_read_bytes = 0, dma_write_bytes = 0;  // by the card in system memory
  uint64_t dma_bytes() const { return dma_read_bytes + dma_write_bytes; }
  compute::Counters compute;
  std::vector<LaunchKind> launches;  // what they are modelled to take; empty: nobody looked
};
CardWork difference(const card::CardModel& card, const card::CardCounters& before,
                    const card::CardCounters& after, int tokens, int steps);

// Modelled seconds, one launch after the other. Nothing of it was measured on a card. Sources:
// launch_times.h and simulator/compute/timing.h; what a message costs is an assumption on the safe
// side.
struct ModelledTime {
  compute::OfCases card{};  // launches, with the gaps between them
  double gaps = 0;          // of them, likely
  double link = 0;          // messages and DMA
  double total(compute::Case of = compute::kLikely) const { return card[of] + link; }
};
ModelledTime model_time(const CardWork& work, const LinkModel& link = link_model("tb4"));
// Of which on the link: messages, what crosses it, and a round trip a step. Whatever passes at the
// same time as something else is counted all the same.
double link_seconds(const CardWork& work, const LinkModel& link);

nlohmann::ordered_json to_json(const CardWork& work, uint64_t wanted_bytes);
// Rows for people. wanted_bytes: weights, keys and values that the work must read.
// `unit`: what CardWork::tokens counts.
std::string to_text(const std::string& name, const CardWork& work, uint64_t wanted_bytes,
                    const std::string& unit = "token");

}  // namespace outboard::simulator::cost
