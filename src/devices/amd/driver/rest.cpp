#include "devices/amd/driver/rest.h"

#include <array>

#include "devices/amd/driver/memory.h"
#include "devices/amd/driver/saved_config.h"
#include "hardware/amd/navi31/gc.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {
namespace {

constexpr std::array<uint32_t, 2> kMark = {0x0b0a4d41, 0x524b0b0a};  // chance does not write this

// Queues can only run once the graphics core's firmware does. False: one did not stop.
bool stop_engines(Context& c) {
  if (!psp::is_alive(c) || !gfx::is_up(c)) return true;
  sdma::stop(c);
  return gfx::stop_queues(c);
}

}  // namespace

std::string_view words(Rest rest) {
  switch (rest) {
    case Rest::kWasAtRest:
      return "it was at rest";
    case Rest::kStopped:
      return "its queues were stopped and bus mastering turned off";
    case Rest::kCutOff:
      return "a queue did not stop; bus mastering was turned off";
    case Rest::kGone:
      return "it is off the bus";
  }
  return {};
}

Rest put_to_rest(Context& c) {
  link::Link& link = c.link;
  const uint32_t command = link.config_read(pci::kCommand, 2);
  if (command == 0xffff) return Rest::kGone;
  if ((command & pci::kBusMaster) == 0) return Rest::kWasAtRest;
  Rest outcome = Rest::kStopped;
  try {
    if ((command & pci::kMemory) != 0 && !stop_engines(c)) outcome = Rest::kCutOff;
  } catch (const Error&) {  // the queues would not stop: bus mastering is cut all the same
    outcome = Rest::kCutOff;
  }
  link.config_write(pci::kCommand, command & ~pci::kBusMaster, 2);
  const uint32_t after = link.config_read(pci::kCommand, 2);
  if (after == 0xffff) return Rest::kGone;
  if ((after & pci::kBusMaster) != 0)
    fail("{}: bus mastering stays on (command register {:#x})", link.name(), after);
  return outcome;
}

Rest put_to_rest(link::Link& link, double patience) {
  const uint32_t command = link.config_read(pci::kCommand, 2);
  if (command == 0xffff) return Rest::kGone;
  if ((command & pci::kBusMaster) == 0) return Rest::kWasAtRest;
  Context c(link);
  if (const Chip* chip = hardware::amd::find_chip(link.config_read(pci::kId, 4) >> 16))
    c.chip = chip;
  c.patience = patience;
  if ((command & pci::kMemory) != 0) {
    try {
      recall(c);  // where its registers are
    } catch (const link::LinkLost&) {
      throw;
    } catch (const Error&) {  // they are where the tables have them
    }
  }
  return put_to_rest(c);
}

void mark_boot(Context& c, bool under_way) {
  const std::array<uint32_t, 2> mark = under_way ? kMark : std::array<uint32_t, 2>{};
  c.write_vram(layout::kBootMark, std::as_bytes(std::span(mark)));
  c.flush_host_writes();
}

bool boot_was_cut_off(Context& c) {
  std::array<uint32_t, 2> mark{};
  c.read_vram(layout::kBootMark, std::as_writable_bytes(std::span(mark)));
  return mark == kMark;
}

}  // namespace outboard::devices::amd::driver
