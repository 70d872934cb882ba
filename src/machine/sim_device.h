// The simulated card as a device: the same driver, streams and kernels as on the card.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "devices/amd/amd_device.h"
#include "devices/device.h"
#include "link/recording.h"
#include "simulator/card/card.h"

namespace outboard::machine {

namespace amd = devices::amd;

class SimDevice : public devices::Device {
 public:
  // The firmware in `options` is replaced by the simulated card's own. recording: of its link, or
  // null.
  SimDevice(const simulator::card::CardOptions& card, amd::AmdOptions options,
            std::shared_ptr<link::Recording> recording = nullptr);

  std::string description() const override;
  int lookahead() const override { return amd_->lookahead(); }
  bool has_own_memory() const override { return true; }
  uint64_t room(const formats::Model* model, const program::Program* program) const override {
    return amd_->room(model, program);
  }
  std::unique_ptr<devices::Executable> compile(program::Program program,
                                               std::shared_ptr<const formats::Model> model,
                                               const devices::CompileOptions& options) override {
    return amd_->compile(std::move(program), std::move(model), options);
  }

  // Puts the card to rest, and tells which rules of the hardware were broken since it was switched
  // on; of the kernels' only those that a strict card looks for. Nothing else may be called after
  // it. REQUIRES: no executables are left.
  std::vector<std::string> shut_down();

  simulator::card::Card& card() { return *card_; }
  amd::AmdDevice& amd() { return *amd_; }

 private:
  std::unique_ptr<simulator::card::Card> card_;  // outlives the link that amd_ has to it
  std::unique_ptr<amd::AmdDevice> amd_;
};

}  // namespace outboard::machine
