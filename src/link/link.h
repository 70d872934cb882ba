// The few calls through which anyone reaches a card. Everything above this
// line (driver) and below it (sockets, the simulated card) meets here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hardware/address.h"
#include "support/error.h"

namespace outboard::link {

using hardware::BarOffset;
using hardware::BusAddress;

// The way to the card is gone, or out of step: nothing more passes over this link.
class LinkLost : public Error {
 public:
  using Error::Error;
};

// A base address register as the host sees it: where it was put on the bus, and how long it is.
struct Bar {
  BusAddress address{};  // 0: not assigned
  uint64_t size = 0;     // bytes; 0: no such BAR
};

// A run of system memory as the card addresses it.
struct Segment {
  BusAddress address{};
  uint64_t size = 0;  // bytes
};

// System memory that the card may read and write. Unshared when destroyed, where the link can.
class SystemRegion {
 public:
  virtual ~SystemRegion() = default;
  virtual uint64_t size() const = 0;
  virtual const std::vector<Segment>& segments() const = 0;  // in order, covering size() bytes
  // Host pointer, or null where the memory lies on another machine (TCP).
  virtual std::byte* host() = 0;
  // REQUIRES: offset + bytes.size() <= size(). Over TCP a read is a round trip, a write one
  // message.
  virtual void read(uint64_t offset, std::span<std::byte> bytes) = 0;
  virtual void write(uint64_t offset, std::span<const std::byte> bytes) = 0;
};

// A PCI function. Calls throw outboard::Error when the other side refuses or is gone. One thread at
// a time.
class Link {
 public:
  virtual ~Link() = default;
  virtual std::string name() const = 0;  // "tinygpu:/path", "remote:host:port", "simulated"
  // Whether the other side is still there, as far as can be told without a message: who waits for
  // the card in system memory looks here now and then.
  virtual bool is_open() { return true; }
  // size: 1, 2 or 4 bytes; offset: into configuration space (4096 bytes).
  virtual uint32_t config_read(uint32_t offset, uint32_t size) = 0;
  virtual void config_write(uint32_t offset, uint32_t value, uint32_t size) = 0;
  virtual Bar bar(int index) = 0;
  // Reads are a round trip; writes are not acknowledged. 32-bit accesses for aligned 4-byte spans.
  virtual void read(int bar, BarOffset offset, std::span<std::byte> bytes) = 0;
  virtual void write(int bar, BarOffset offset, std::span<const std::byte> bytes) = 0;
  // Whether a write of several dwords reaches the card dword by dword, in order. Registers need
  // that: tinygrad's remote server (extra/remote/serve.py) makes 32-bit accesses for 4-byte
  // requests only and copies longer ones with whatever wide, overlapping stores the host's memmove
  // has.
  virtual bool writes_by_dword() const { return false; }
  virtual std::unique_ptr<SystemRegion> share(uint64_t size, bool contiguous) = 0;
  virtual void reset() = 0;  // function level reset, else hot reset
  virtual void resize_bar(int index) = 0;
};

}  // namespace outboard::link
