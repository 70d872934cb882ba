// The card's registers over a link. A read is a round trip, a write one message.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>

#include "devices/amd/hw/register.h"
#include "link/link.h"

namespace outboard::devices::amd::driver {

class Registers {
 public:
  // REQUIRES: the link outlives this.
  explicit Registers(link::Link& link);

  // By dword address. Those beyond BAR 5 go through the index/data window (NBIO RSMU).
  uint32_t read(uint32_t address);
  void write(uint32_t address, uint32_t value);

  // Registers behind each other: one message where BAR 5 shows them all.
  void write_run(uint32_t address, std::span<const uint32_t> values);

  template <typename R>
  uint32_t get() {
    return read(R::kAddress);
  }
  template <typename R>
  void set(uint32_t value) {
    write(R::kAddress, value);
  }
  // Changes some fields and keeps the others: one round trip and one message.
  template <typename R>
  void update(std::initializer_list<std::pair<hw::Field, uint32_t>> fields) {
    uint32_t value = get<R>();
    for (const auto& [field, wanted] : fields) value = field.put(value, wanted);
    set<R>(value);
  }
  // A 64-bit value in a pair of registers.
  template <typename Low, typename High>
  void set_pair(uint64_t value) {
    set<Low>(static_cast<uint32_t>(value));
    set<High>(static_cast<uint32_t>(value >> 32));
  }

 private:
  link::Link& link_;
  uint32_t direct_;  // dwords that BAR 5 shows
};

// Something that the card is waited for. No wait is without a limit.
struct Wait {
  std::string_view block;  // "psp", "gfx", ...
  std::string_view what;   // "the boot loader to get ready (C2PMSG_35 bit 31)"
  std::chrono::milliseconds limit{10000};
  std::string_view hint = "Power the enclosure off and on, and try again.";
};

// Reads until `done` accepts the value, and returns it. Throws Error with what was waited for, how
// long, and the last value read.
uint32_t wait_for(const Wait& wait, const std::function<uint32_t()>& read,
                  const std::function<bool(uint32_t)>& done);

}  // namespace outboard::devices::amd::driver
