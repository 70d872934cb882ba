// The card as a device: booted, kernels loaded, weights kept between sessions.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "devices/amd/device_buffer.h"
#include "devices/amd/driver/card.h"
#include "devices/amd/weights.h"
#include "devices/device.h"
#include "link/link.h"

namespace outboard::devices::amd {

class AmdDevice;

struct AmdOptions {
  driver::BootOptions boot;
  UploadOptions upload;
  // How long a step may take before the card counts as hung.
  std::chrono::milliseconds patience{10000};
  // Throws Error when the card computes wrong. Run after every cold boot, before anything is
  // answered; null: not.
  std::function<void(AmdDevice&)> self_test;
};

class AmdDevice : public Device {
 public:
  // Boots the card behind the link, and after a cold boot tests that it computes right. Throws
  // Error naming the stage.
  AmdDevice(std::unique_ptr<link::Link> link, AmdOptions options);

  static constexpr int kLookahead = 8;
  std::string description() const override;
  int lookahead() const override { return kLookahead; }
  bool has_own_memory() const override { return true; }
  uint64_t room(const formats::Model* model, const program::Program* program) const override;
  std::unique_ptr<Executable> compile(program::Program program,
                                      std::shared_ptr<const formats::Model> model,
                                      const CompileOptions& options) override;

  driver::Card& card() { return *card_; }
  GpuAddress code() const { return code_.address(); }
  const AmdOptions& options() const { return options_; }
  // The weights of a model, uploaded once for all its executables.
  std::shared_ptr<Weights> weights(const program::Program& program,
                                   const std::shared_ptr<const formats::Model>& model);
  // After a hang or fault: mode 1 reset, boot, self-test, code and weights uploaded again. KV pages
  // and streams are lost; generation() tells executables so. release: called when the card has
  // booted, to give back what was lost with it. Throws Error when the card does not come up, or
  // fails its test.
  void recover(const std::function<void()>& release);
  int generation() const { return generation_; }

 private:
  void load_kernels();
  void test();

  std::unique_ptr<link::Link> link_;
  AmdOptions options_;
  std::unique_ptr<driver::Card> card_;
  DeviceBuffer code_;
  std::shared_ptr<Weights> weights_;  // of the model used last
  int generation_ = 0;
  bool testing_ = false;
};

}  // namespace outboard::devices::amd
