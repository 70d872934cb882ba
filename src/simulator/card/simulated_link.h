// A link to a simulated card in the same process.
#pragma once

#include <memory>

#include "link/link.h"
#include "simulator/card/card.h"

namespace outboard::simulator::card {

// REQUIRES: the card outlives the link and what it shares. Refusals and injected link faults throw
// Error, as a broken connection would.
std::unique_ptr<link::Link> make_simulated_link(Card& card);

}  // namespace outboard::simulator::card
