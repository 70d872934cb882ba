// Measures how fast this machine reads memory.
#pragma once

#include "support/thread_team.h"

namespace outboard {

// Bytes a second that the team's threads read together from memory far larger than any cache: the
// best of a few passes. Takes about half a second and 512 MB for the time being.
double measure_read_bandwidth(ThreadTeam& team);

}  // namespace outboard
