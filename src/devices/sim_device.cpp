#include "devices/sim_device.h"

#include <utility>

#include "simulator/firmware_images.h"
#include "simulator/simulated_link.h"

namespace outboard::devices {

SimDevice::SimDevice(const simulator::CardOptions& card, amd::AmdOptions options,
                     std::shared_ptr<link::Recording> recording)
    : card_(std::make_unique<simulator::Card>(card)) {
  options.boot.images = simulator::firmware_images();
  constexpr double kPatience = 0.05;  // its engines need no time to start
  options.boot.patience = kPatience;
  std::unique_ptr<link::Link> link = simulator::make_simulated_link(*card_);
  if (recording) link = link::Recording::record(std::move(link), std::move(recording));
  amd_ = std::make_unique<amd::AmdDevice>(std::move(link), std::move(options));
}

std::string SimDevice::description() const { return "simulated " + amd_->description(); }

std::vector<std::string> SimDevice::shut_down() {
  amd_->card().finalize();
  amd_.reset();
  std::vector<std::string> out;
  for (const simulator::CardEvent& event : card_->events())
    if (event.kind == simulator::CardEvent::Kind::kDriverError ||
        event.kind == simulator::CardEvent::Kind::kNotSimulated)
      out.push_back(event.where + ": " + event.text);
  for (const auto& violation : card_->violations()) out.push_back(violation.text());
  return out;
}

}  // namespace outboard::devices
