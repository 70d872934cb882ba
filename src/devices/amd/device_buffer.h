// Memory of the card that frees itself.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "devices/amd/driver/card.h"

namespace outboard::devices::amd {

class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // Throws Error when VRAM is short. REQUIRES: the card outlives this.
  DeviceBuffer(driver::Card& card, uint64_t bytes, std::string name);

  GpuAddress address() const { return owned_ ? owned_->address : GpuAddress{}; }
  uint64_t bytes() const { return owned_ ? owned_->bytes : 0; }
  const driver::Buffer& buffer() const { return *owned_; }

 private:
  struct Free {
    driver::Card* card;
    void operator()(driver::Buffer* buffer) const;
  };
  std::unique_ptr<driver::Buffer, Free> owned_;
};

// System memory that goes back to the card's pool. REQUIRES: the card outlives this.
class SystemPiece {
 public:
  SystemPiece() = default;
  SystemPiece(driver::Card& card, uint64_t bytes, std::string name);

  GpuAddress address() const { return owned_->address; }
  void read(uint64_t at, std::span<std::byte> data) const { owned_->read(at, data); }
  void write(uint64_t at, std::span<const std::byte> data) const { owned_->write(at, data); }

 private:
  struct Give {
    driver::Card* card;
    void operator()(driver::SystemBuffer* buffer) const;
  };
  std::unique_ptr<driver::SystemBuffer, Give> owned_;
};

}  // namespace outboard::devices::amd
