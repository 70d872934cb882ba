// What the simulated card's launches would take, kernel by kernel, for as long as somebody asks.
#pragma once

#include <vector>

#include "machine/sim_device.h"
#include "simulator/cost/launch_times.h"

namespace outboard::machine {

class LaunchWatch {
 public:
  // REQUIRES: the card has settled, here and when it ends; the device outlives this.
  explicit LaunchWatch(SimDevice& device);
  ~LaunchWatch();
  LaunchWatch(const LaunchWatch&) = delete;
  LaunchWatch& operator=(const LaunchWatch&) = delete;

  // Launches since the last take().
  std::vector<simulator::cost::LaunchKind> take() { return times_.take(); }

 private:
  SimDevice& device_;
  simulator::cost::LaunchTimes times_;
};

}  // namespace outboard::machine
