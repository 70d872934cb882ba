// The devices that the tests of this folder run on, and what they compare.
#pragma once

#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "devices/device.h"
#include "machine/sim_device.h"

namespace outboard::devices {

using StepRun = Run;  // Run is a member function inside a test
using Ids = std::vector<int32_t>;

constexpr size_t kTinyVocabulary = 260;  // of the tiny models

// "cpu" (one thread), "cpu3" (three), "sim" (the simulated card, its strict checks on).
class DeviceUnderTest {
 public:
  explicit DeviceUnderTest(const std::string& name);

  Device& device() { return *device_; }
  bool is_simulated() const { return simulated_ != nullptr; }
  // What the simulated card found wrong so far; nothing on the CPU.
  std::string complaints() const;
  machine::SimDevice& simulated() const { return *simulated_; }

 private:
  std::unique_ptr<Device> device_;
  machine::SimDevice* simulated_ = nullptr;
};

Ids random_ids(size_t count, int32_t below, unsigned seed);

// Logits against those of one thread of the CPU, rows of the tiny models' vocabulary. On the CPU
// they are equal but for the order of sums. On the card weights and sums are as exact; inputs of
// matrices, keys and values are float16. Minus infinity equals itself.
void expect_close(std::span<const float> got, std::span<const float> want, bool is_simulated);

}  // namespace outboard::devices
