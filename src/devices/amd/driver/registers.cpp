#include "devices/amd/driver/registers.h"

#include <thread>

#include "devices/amd/hw/nbio.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {
namespace {
constexpr int kRegisterBar = 5;
}

Registers::Registers(link::Link& link)
    : link_(link), direct_(static_cast<uint32_t>(link.bar(kRegisterBar).size / 4)) {}

uint32_t Registers::read(uint32_t address) {
  if (address >= direct_) {
    set<hw::nbio::BIF_BX_PF0_RSMU_INDEX>(address * 4);
    return get<hw::nbio::BIF_BX_PF0_RSMU_DATA>();
  }
  uint32_t value = 0;
  link_.read(kRegisterBar, uint64_t{address} * 4, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

void Registers::write(uint32_t address, uint32_t value) {
  if (address >= direct_) {
    set<hw::nbio::BIF_BX_PF0_RSMU_INDEX>(address * 4);
    set<hw::nbio::BIF_BX_PF0_RSMU_DATA>(value);
    return;
  }
  link_.write(kRegisterBar, uint64_t{address} * 4, std::as_bytes(std::span(&value, 1)));
}

void Registers::write_run(uint32_t address, std::span<const uint32_t> values) {
  if (address + values.size() <= direct_) {
    link_.write(kRegisterBar, uint64_t{address} * 4, std::as_bytes(values));
    return;
  }
  for (const uint32_t value : values) write(address++, value);
}

uint32_t wait_for(const Wait& wait, const std::function<uint32_t()>& read,
                  const std::function<bool(uint32_t)>& done) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    const uint32_t value = read();
    if (done(value)) return value;
    if (value == 0xffffffff) {
      // Every register reads so once the card has left the bus; some do so for a moment in a reset.
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (std::chrono::steady_clock::now() - start > wait.limit) {
      throw Error(fmt::format("{}: waited {} ms for {}; last value {:#010x}{}", wait.block,
                              wait.limit.count(), wait.what, value,
                              value == 0xffffffff ? " (the card does not answer)" : ""),
                  std::string(wait.hint));
    }
  }
}

}  // namespace outboard::devices::amd::driver
