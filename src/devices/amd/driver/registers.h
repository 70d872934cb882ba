// The card's registers over a link. A read is a round trip, a write one message.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "devices/amd/chip.h"
#include "link/link.h"

namespace outboard::devices::amd::driver {

class Registers {
 public:
  // REQUIRES: the link outlives this.
  explicit Registers(link::Link& link);

  // Where a segment of a block's registers begins on this card, by its discovery table, in dwords.
  // Until it is told, where the tables have it (ip_bases.h).
  void set_base(hw::Ip ip, size_t segment, uint32_t base) {
    moved_.at(static_cast<size_t>(ip)).at(segment) =
        base - hw::kIpBases[static_cast<size_t>(ip)][segment];
  }
  // The address of a register on this card.
  template <typename R>
  RegisterAddress address() const {
    return RegisterAddress{R::kAddress} + moved_[static_cast<size_t>(R::kIp)][R::kSegment];
  }

  // Those beyond BAR 5 go through the index/data window (NBIO RSMU).
  uint32_t read(RegisterAddress address);
  void write(RegisterAddress address, uint32_t value);

  // Registers behind each other, written in order, dword by dword on the card's side: one message
  // where BAR 5 shows them all and the link keeps to that (Link::writes_by_dword), else one each.
  // The one at `check` is read back; where it differs, this and later runs go one by one.
  // REQUIRES: values[check] reads back as written, and is not zero.
  void write_run(RegisterAddress address, std::span<const uint32_t> values, size_t check);

  template <typename R>
  uint32_t get() {
    return read(address<R>());
  }
  template <typename R>
  void set(uint32_t value) {
    write(address<R>(), value);
  }
  // A value that is to be written back: never ones, which a card gives that is not there, for good
  // or for a moment. Throws Error when it stays so.
  template <typename R>
  uint32_t get_to_change() {
    return read_to_change(address<R>());
  }
  // Changes some fields and keeps the others: one round trip and one message.
  template <typename R>
  void update(std::initializer_list<std::pair<hw::Field, uint32_t>> fields) {
    uint32_t value = get_to_change<R>();
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
  uint32_t read_to_change(RegisterAddress address);

  link::Link& link_;
  RegisterAddress direct_;  // the first that BAR 5 does not show
  // How far the card's segments lie from where the tables have them.
  std::array<std::array<uint32_t, hw::kIpBases[0].size()>, hw::kIpBases.size()> moved_{};
  bool runs_ = true;  // a run of registers may be one message
};

// Something that the card is waited for. No wait is without a limit.
struct Wait {
  std::string_view block;  // "psp", "gfx", ...
  std::string_view what;   // "the boot loader to get ready (C2PMSG_35 bit 31)"
  std::chrono::milliseconds limit{10000};
  std::string_view hint = "Power the enclosure off and on, and try again.";
};

// How a wait went, for reports.
struct WaitRecord {
  std::string block, what;       // as in Wait
  uint32_t first = 0, last = 0;  // values
  uint64_t looks = 0;            // how often it was read
  double milliseconds = 0;
  bool came = false;  // the value that was waited for
};
using WaitObserver = std::function<void(const WaitRecord&)>;

// Reads until `done` accepts the value, and returns it. Throws Error with what was waited for, how
// long, and the last value read. The observer, if any, is told either way.
uint32_t wait_for(const Wait& wait, const std::function<uint32_t()>& read,
                  const std::function<bool(uint32_t)>& done, const WaitObserver& observer = {});

}  // namespace outboard::devices::amd::driver
