#include "machine/sim_device.h"

#include <utility>

#include "simulator/card/firmware_images.h"
#include "simulator/card/simulated_link.h"

namespace outboard::machine {

SimDevice::SimDevice(const simulator::card::CardOptions& card, amd::AmdOptions options,
                     std::shared_ptr<link::Recording> recording)
    : card_(std::make_unique<simulator::card::Card>(card)) {
  options.boot.images = simulator::card::firmware_images({}, *card.model->chip);
  constexpr double kPatience = 0.05;  // its engines need no time to start
  options.boot.patience = kPatience;
  std::unique_ptr<link::Link> link = simulator::card::make_simulated_link(*card_);
  if (recording) link = link::Recording::record(std::move(link), std::move(recording));
  amd_ = std::make_unique<amd::AmdDevice>(std::move(link), std::move(options));
}

std::string SimDevice::description() const { return "simulated " + amd_->description(); }

std::vector<std::string> SimDevice::shut_down() {
  amd_->card().finalize();
  amd_.reset();
  return card_->complaints();
}

}  // namespace outboard::machine
