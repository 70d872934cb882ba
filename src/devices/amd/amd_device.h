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

struct AmdOptions {
  driver::BootOptions boot;
  UploadOptions upload;
  // How long a step may take before the card counts as hung.
  std::chrono::milliseconds patience{10000};
};

class AmdDevice : public Device {
 public:
  // Boots the card behind the link and tests that it computes right (self_test.h). Throws Error
  // naming the stage.
  AmdDevice(std::unique_ptr<link::Link> link, AmdOptions options);

  std::string description() const override;
  std::unique_ptr<Executable> compile(program::Program program,
                                      std::shared_ptr<const formats::Model> model,
                                      const CompileOptions& options) override;

  driver::Card& card() { return *card_; }
  uint64_t code() const { return code_.address(); }
  const AmdOptions& options() const { return options_; }
  // The weights of a model, uploaded once for all its executables.
  std::shared_ptr<Weights> weights(const program::Program& program,
                                   const std::shared_ptr<const formats::Model>& model);
  // After a hang or fault: mode 1 reset, boot, code and weights uploaded again. KV pages and
  // streams are lost; generation() tells executables so.
  void recover();
  int generation() const { return generation_; }

 private:
  void load_kernels();

  std::unique_ptr<link::Link> link_;
  AmdOptions options_;
  std::unique_ptr<driver::Card> card_;
  DeviceBuffer code_;
  std::shared_ptr<Weights> weights_;  // of the model used last
  int generation_ = 0;
};

}  // namespace outboard::devices::amd
