// What configuration space tells: identity, link, BARs. Nothing is changed. Source: PCI Express
// base specification (Linux include/uapi/linux/pci_regs.h).
#include <array>
#include <chrono>

#include "devices/amd/driver/discovery.h"
#include "devices/amd/driver/saved_config.h"
#include "doctor/doctor.h"
#include "hardware/amd/chips.h"
#include "support/error.h"

namespace outboard::doctor {
namespace {

namespace pci = driver::pci;

std::string_view speed(uint32_t code) {
  constexpr std::array<std::string_view, 7> kSpeeds = {"?",       "2.5 GT/s", "5 GT/s", "8 GT/s",
                                                       "16 GT/s", "32 GT/s",  "64 GT/s"};
  return kSpeeds[code < kSpeeds.size() ? code : 0];
}

void examine_link(link::Link& link, Examination& out) {
  constexpr uint32_t kStatus = 18;
  constexpr uint32_t kSpeed = 0xf, kSlowest = 1;
  const uint32_t express = driver::find_capability(link, pci::kExpressId);
  if (express == 0) return;  // a bridge hides it; nothing depends on it
  const uint32_t status = link.config_read(express + kStatus, 2);
  const std::string seen = fmt::format("{}, {} lanes", speed(status & kSpeed), status >> 4 & 0x3f);
  if ((status & kSpeed) <= kSlowest) {
    out.add("link", Verdict::kWarning, "link.slow", seen);
  } else {
    out.add("link", Verdict::kGood, "ok", seen);
  }
}

void examine_latency(link::Link& link, Examination& out) {
  constexpr int kTries = 16;
  constexpr double kSlow = 5;  // milliseconds; a socket takes 0.05, a network 1
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kTries; ++i) static_cast<void>(link.config_read(pci::kId, 4));
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  const double each = time.count() / kTries;
  const std::string seen = fmt::format("{:.3f} ms a request", each);
  if (each > kSlow) {
    out.add("latency", Verdict::kWarning, "link.latency", seen);
  } else {
    out.add("latency", Verdict::kGood, "ok", seen);
  }
}

// The registers themselves: some links answer with addresses of their own.
bool has_address(link::Link& link, int bar) {
  constexpr uint32_t kFlags = 0xf;
  return (link.config_read(pci::kBars + 4 * static_cast<uint32_t>(bar), 4) & ~kFlags) != 0 ||
         (bar < 4 && link.config_read(pci::kBars + 4 * static_cast<uint32_t>(bar + 1), 4) != 0);
}

bool examine_bars(link::Link& link, Examination& out) {
  constexpr int kVram = 0, kDoorbells = 2, kRegisters = 5;
  const bool good = out.step("BARs", [&] {
    driver::identify(link);
    for (const int bar : {kVram, kDoorbells, kRegisters}) {
      if (has_address(link, bar)) continue;
      throw Error(fmt::format("BAR {} has no address, command register {:#x}", bar,
                              link.config_read(pci::kCommand, 2)),
                  "The system has not given the card its addresses.");
    }
    return fmt::format("video memory {} MiB, doorbells {} KiB, registers {} KiB",
                       link.bar(kVram).size >> 20, link.bar(kDoorbells).size >> 10,
                       link.bar(kRegisters).size >> 10);
  });
  constexpr uint64_t kSmall = uint64_t{256} << 20;
  if (good && link.bar(kVram).size <= kSmall)
    out.add("window", Verdict::kNote, "bar.window",
            fmt::format("BAR 0 shows {} MiB of video memory", link.bar(kVram).size >> 20));
  return good;
}

}  // namespace

bool examine_bus(link::Link& link, Examination& out) {
  const bool there = out.step("card", [&] {
    const uint32_t id = link.config_read(pci::kId, 4);
    if (id == 0xffffffff) {
      throw Error("the card does not answer: its configuration space reads as ones",
                  "Check that the enclosure is powered and its cable plugged in.");
    }
    const uint32_t kind = link.config_read(pci::kClass, 4);
    std::string seen = fmt::format("PCI {:04x}:{:04x}, class {:02x}, revision {:02x}", id & 0xffff,
                                   id >> 16, kind >> 24, kind & 0xff);
    const hardware::amd::Chip* chip = hardware::amd::find_chip(id >> 16);
    if ((id & 0xffff) != hardware::kVendorAmd || chip == nullptr ||
        kind >> 24 != hardware::kDisplayClass)
      throw Error(
          fmt::format("{}, expected {} of class 03", seen, hardware::amd::pci_names()),
          "Only the RX 7900 cards (Navi 31) are supported. An audio function of class 04 means "
          "that the server offers the wrong half of the card: restart it.");
    return seen + fmt::format(": {}", chip->card_name(kind & 0xff));
  });
  if (!there) return false;
  bool good = false;
  const bool answered = out.step("configuration", [&] {
    examine_link(link, out);
    examine_latency(link, out);
    good = examine_bars(link, out);
    const uint32_t command = link.config_read(pci::kCommand, 2);
    return fmt::format("command register {:#x}: memory {}, bus mastering {}", command,
                       (command & pci::kMemory) != 0 ? "on" : "off",
                       (command & pci::kBusMaster) != 0 ? "on" : "off");
  });
  return good && answered;
}

}  // namespace outboard::doctor
