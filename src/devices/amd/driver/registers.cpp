#include "devices/amd/driver/registers.h"

#include <optional>
#include <thread>

#include "hardware/amd/navi31/address_space.h"
#include "hardware/amd/navi31/nbio.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {
namespace {

// Tells the observer when the wait is over, however it ends.
class Watched {
 public:
  Watched(const Wait& wait, const WaitObserver& observer) : observer_(observer) {
    record_.block = wait.block;
    record_.what = wait.what;
  }
  ~Watched() {
    if (!observer_) return;
    const std::chrono::duration<double, std::milli> time =
        std::chrono::steady_clock::now() - start_;
    record_.milliseconds = time.count();
    observer_(record_);
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  void look(uint32_t value, bool came) {
    if (record_.looks++ == 0) record_.first = value;
    record_.last = value;
    record_.came = came;
  }

 private:
  const WaitObserver& observer_;
  WaitRecord record_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

Registers::Registers(link::Link& link)
    : link_(link),
      direct_{static_cast<uint32_t>(link.bar(hw::bar::kRegisters).size / 4)},
      runs_(link.writes_by_dword()) {}

uint32_t Registers::read(RegisterAddress address) {
  if (address >= direct_) {
    set<hw::nbio::BIF_BX_PF0_RSMU_INDEX>(value(address) * 4);
    return get<hw::nbio::BIF_BX_PF0_RSMU_DATA>();
  }
  uint32_t value = 0;
  link_.read(hw::bar::kRegisters, bar_offset(address),
             std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

void Registers::write(RegisterAddress address, uint32_t value) {
  if (address >= direct_) {
    set<hw::nbio::BIF_BX_PF0_RSMU_INDEX>(hardware::value(address) * 4);
    set<hw::nbio::BIF_BX_PF0_RSMU_DATA>(value);
    return;
  }
  link_.write(hw::bar::kRegisters, bar_offset(address), std::as_bytes(std::span(&value, 1)));
}

uint32_t Registers::read_to_change(RegisterAddress address) {
  constexpr int kLooks = 20;
  for (int look = 0; look < kLooks; ++look) {
    const uint32_t value = read(address);
    if (value != 0xffffffff) return value;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  throw Error(fmt::format("register {:#x} reads as ones, {} times within {} ms: it is not changed",
                          value(address) * 4, kLooks, kLooks),
              "The card does not answer. Check the cable, and power the enclosure off and on.");
}

void Registers::write_run(RegisterAddress address, std::span<const uint32_t> values, size_t check) {
  if (runs_ && address + static_cast<uint32_t>(values.size()) <= direct_) {
    link_.write(hw::bar::kRegisters, bar_offset(address), std::as_bytes(values));
    if (read(address + static_cast<uint32_t>(check)) == values[check]) return;
    runs_ = false;
  }
  for (const uint32_t value : values) {
    write(address, value);
    address += 1;
  }
}

uint32_t wait_for(const Wait& wait, const std::function<uint32_t()>& read,
                  const std::function<bool(uint32_t)>& done, const WaitObserver& observer) {
  Watched watched(wait, observer);
  // From the first answer on: it may have been long in coming behind what was written before.
  std::optional<std::chrono::steady_clock::time_point> start;
  constexpr int kEager = 50;  // looks without a pause; what takes longer can wait longer
  for (int looks = 1;; ++looks) {
    const uint32_t value = read();
    const auto now = std::chrono::steady_clock::now();
    if (!start) start = now;
    const bool came = done(value);
    watched.look(value, came);
    if (came) return value;
    if (value == 0xffffffff || looks > kEager) {
      // Every register reads as ones once the card has left the bus; some for a moment in a reset.
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (now - *start > wait.limit) {
      throw Error(fmt::format("{}: waited {} ms for {}; last value {:#010x}{}", wait.block,
                              wait.limit.count(), wait.what, value,
                              value == 0xffffffff ? " (the card does not answer)" : ""),
                  std::string(wait.hint));
    }
  }
}

}  // namespace outboard::devices::amd::driver
