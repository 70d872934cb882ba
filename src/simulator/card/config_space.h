// PCI configuration space of the card: header, capabilities, BARs and their sizes. Source: PCI
// Express base specification (Linux include/uapi/linux/pci_regs.h); values as lspci shows a 7900
// XTX.
#pragma once

#include <array>
#include <cstdint>

#include "hardware/amd/navi31/chip.h"
#include "link/link.h"
#include "simulator/card/events.h"

namespace outboard::simulator::card {

class ConfigSpace {
 public:
  static constexpr uint32_t kBytes = 4096;
  static constexpr int kBars = 6;
  // Limits of the resizable BAR 0 of this card.
  static constexpr uint64_t kSmallestBar0 = uint64_t{256} << 20;

  struct Options {
    uint64_t bar0_bytes = kSmallestBar0;
    const hardware::amd::Chip* chip = &hardware::amd::navi31::kChip;
    uint8_t revision = 0xc8;  // which card: card_model.h
    bool resizable = true;
    bool unassigned = false;  // BARs without an address, decoding off
    bool audio = false;       // the card's second function
    bool absent = false;      // nobody answers
    bool slow_link = false;   // trained at 2.5 GT/s
    bool posted = false;      // a PC's firmware left bus mastering on
  };
  ConfigSpace(EventLog& events, const Options& options);

  uint32_t read(uint32_t offset, uint32_t size) const;
  void write(uint32_t offset, uint32_t value, uint32_t size);

  link::Bar bar(int index) const;
  bool memory_enabled() const;
  bool bus_master() const;
  bool link_sleeps() const;  // active state power management is on
  // The link's end of the card after power-on: power management as the card comes up with it.
  void power_on_link(bool wanted);
  // False when the BAR cannot grow.
  bool resize_to_largest(int index);
  void close();           // memory decoding and bus master off
  void function_reset();  // command register and BAR contents as the host set them stay: the host
                          // restores them after a reset, as macOS and Linux do
  // The message address and data, when MSI is on.
  bool msi_enabled() const;

 private:
  void put(uint32_t offset, uint32_t value, uint32_t size);
  uint32_t get(uint32_t offset, uint32_t size) const;
  void add_capabilities();
  uint32_t bar_mask(int index) const;  // writable address bits of one BAR register
  void write_byte(uint32_t offset, uint8_t value);
  void resize(uint32_t control);

  EventLog& events_;
  Options options_;
  std::array<uint8_t, kBytes> bytes_{};
  std::array<uint8_t, kBytes> writable_{};  // a set bit may be written
  uint64_t bar0_size_;
};

}  // namespace outboard::simulator::card
