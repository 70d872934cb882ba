// What a token and a prompt cost on the simulated card: counts, and a time modelled from them.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "program/program.h"
#include "simulator/card/card.h"
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
};
CardWork difference(const card::CardModel& card, const card::CardCounters& before,
                    const card::CardCounters& after, int tokens, int steps);

// Modelled seconds. Nothing of it was measured on a card. Sources: simulator/card/card_model.cpp
// (bandwidth, compute units, game clock: of an XTX 960 GB/s, 96, 2.3 GHz); the RDNA3 guide (two
// SIMDs a compute unit, one wave32 instruction a clock; WMMA 16x16x16 with 512 float16 operations a
// clock and compute unit, transcendentals at a quarter of the rate). The gap between dependent
// dispatches and the cost of a message are assumptions on the safe side.
struct ModelledTime {
  double memory = 0;  // bytes past GL2 over the bandwidth of VRAM
  double issue = 0;   // instructions over what all SIMDs issue
  double gaps = 0;    // between dependent dispatches
  double link = 0;    // messages and DMA
  double total() const { return std::max(memory, issue) + gaps + link; }
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
