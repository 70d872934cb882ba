// Making sure that a card that somebody left writes to no system memory any more, and knowing later
// how far it had come.
#pragma once

#include <string_view>

#include "devices/amd/driver/blocks.h"
#include "link/link.h"

namespace outboard::devices::amd::driver {

enum class Rest : uint8_t {
  kWasAtRest,  // bus mastering was off
  kStopped,    // its queues stopped in order, then bus mastering went off
  kCutOff,     // a queue did not stop; bus mastering is off all the same
  kGone,       // the card is off the bus
};
std::string_view words(Rest rest);

// Stops the queues, if any run, and turns bus mastering off. Asks nothing of what was before.
// Throws Error when the link is gone or bus mastering stays on.
Rest put_to_rest(Context& c);
Rest put_to_rest(link::Link& link, double patience = 1);

// A mark in video memory while firmware boots: a boot that was cut off there leaves a boot loader
// that takes nothing more until a reset.
void mark_boot(Context& c, bool under_way);
bool boot_was_cut_off(Context& c);

}  // namespace outboard::devices::amd::driver
