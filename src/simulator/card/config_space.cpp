#include "simulator/card/config_space.h"
#include "hardware/pci_ids.h"

#include <algorithm>
#include <bit>

namespace outboard::simulator::card {
namespace {

// Offsets of the type 0 header.
constexpr uint32_t kVendor = 0x00, kDevice = 0x02, kCommand = 0x04, kStatus = 0x06,
                   kRevision = 0x08;
constexpr uint32_t kClass = 0x09, kCacheLine = 0x0c, kHeaderType = 0x0e, kBar0 = 0x10;
constexpr uint32_t kSubsystemVendor = 0x2c, kSubsystem = 0x2e, kRom = 0x30, kCapabilities = 0x34;
constexpr uint32_t kInterruptLine = 0x3c, kInterruptPin = 0x3d;
constexpr uint16_t kCommandIo = 1, kCommandMemory = 2, kCommandMaster = 4;
constexpr uint16_t kStatusCapabilities = 0x10;

// Places of the capabilities, as on the card.
constexpr uint32_t kPowerManagement = 0x50, kExpress = 0x64, kMsi = 0xa0;
constexpr uint32_t kAdvancedErrors = 0x150, kResizableBar = 0x200, kLatency = 0x320;
constexpr uint8_t kIdPowerManagement = 0x01, kIdMsi = 0x05, kIdExpress = 0x10;
constexpr uint16_t kIdAdvancedErrors = 0x0001, kIdResizableBar = 0x0015, kIdLatency = 0x0018;

// Inside the capabilities.
constexpr uint32_t kPowerControl = 4;
constexpr uint32_t kDeviceCapabilities = 4, kDeviceControl = 8, kLinkCapabilities = 12;
constexpr uint32_t kLinkControl = 16, kLinkStatus = 18, kLinkCapabilities2 = 0x2c,
                   kLinkControl2 = 0x30;
constexpr uint16_t kAspm = 3, kAspmL1 = 2;
constexpr uint32_t kMsiControl = 2, kMsiAddress = 4, kMsiData = 12;
constexpr uint32_t kRebarCapability = 4, kRebarControl = 8;

// Sizes of BARs and ROM that do not change.
constexpr uint32_t kDoorbellBytes = 2 << 20, kIoBytes = 256, kRegisterBytes = 1 << 20;
constexpr uint32_t kRomBytes = 128 << 10;

// Where the imagined host put the BARs: above 4 GiB the prefetchable ones.
constexpr uint64_t kBar0Address = uint64_t{0x60} << 32, kBar2Address = uint64_t{0x70} << 32;
constexpr uint32_t kBar5Address = 0x80000000;

constexpr uint32_t kMemory64Prefetchable = 0xc, kIoSpace = 0x1;

}  // namespace

ConfigSpace::ConfigSpace(EventLog& events, const Options& options)
    : events_(events), options_(options), bar0_size_(options.bar0_bytes) {
  put(kVendor, hardware::kVendorAmd, 2);
  put(kDevice, options.audio ? options.chip->audio : options.chip->device, 2);
  put(kStatus, kStatusCapabilities, 2);
  put(kRevision, options.audio ? 0x00 : options.revision, 1);
  put(kClass, options.audio ? 0x040300 : 0x030000, 2);
  put(kClass + 2, options.audio ? 0x04 : 0x03, 1);
  put(kCacheLine, 0x10, 1);
  put(kHeaderType, 0x80, 1);  // more functions than one: audio, and on some boards USB
  put(kSubsystemVendor, hardware::kVendorAmd, 2);
  put(kSubsystem, options.audio ? options.chip->audio : 0x0e3b, 2);
  put(kInterruptPin, options.audio ? 2 : 1, 1);
  std::fill_n(writable_.begin() + kCommand, 1,
              uint8_t{kCommandIo | kCommandMemory | kCommandMaster | 0x40});
  writable_[kCommand + 1] = 0x05;  // SERR, interrupt disable
  writable_[kCacheLine] = writable_[kInterruptLine] = 0xff;
  if (!options.unassigned) {
    put(kCommand, options.posted ? kCommandMemory | kCommandMaster : kCommandMemory, 2);
  }
  if (options.audio) {
    put(kBar0, options.unassigned ? 0 : kBar5Address + kRegisterBytes, 4);
  } else {
    const uint64_t bar0 = options.unassigned ? 0 : kBar0Address;
    const uint64_t bar2 = options.unassigned ? 0 : kBar2Address;
    put(kBar0, static_cast<uint32_t>(bar0) | kMemory64Prefetchable, 4);
    put(kBar0 + 4, static_cast<uint32_t>(bar0 >> 32), 4);
    put(kBar0 + 8, static_cast<uint32_t>(bar2) | kMemory64Prefetchable, 4);
    put(kBar0 + 12, static_cast<uint32_t>(bar2 >> 32), 4);
    put(kBar0 + 16, kIoSpace, 4);
    put(kBar0 + 20, options.unassigned ? 0 : kBar5Address, 4);
  }
  add_capabilities();
}

void ConfigSpace::add_capabilities() {
  put(kCapabilities, kPowerManagement, 1);
  put(kPowerManagement, kIdPowerManagement | kExpress << 8, 2);
  put(kPowerManagement + 2, 0x7e03, 2);  // version 3, PME from D1, D2, D3
  writable_[kPowerManagement + kPowerControl] = 0x03;

  put(kExpress, kIdExpress | kMsi << 8, 2);
  put(kExpress + 2, 0x0012, 2);                        // version 2, legacy endpoint
  put(kExpress + kDeviceCapabilities, 0x10008fa1, 4);  // function level reset, 256-byte payload
  writable_[kExpress + kDeviceControl] = 0xff;
  writable_[kExpress + kDeviceControl + 1] = 0xff;
  put(kExpress + kDeviceControl, 0x2910, 2);
  // The card itself can do Gen4 x16; behind Thunderbolt it trains at Gen4 x4 (16 GT/s is code 4).
  put(kExpress + kLinkCapabilities, 0x00400d04, 4);
  put(kExpress + kLinkStatus, 0x1040 | (options_.slow_link ? 1 : 4), 2);
  put(kExpress + kLinkControl, kAspmL1, 2);  // on, as at power-on
  writable_[kExpress + kLinkControl] = 0xff;
  writable_[kExpress + kLinkControl + 1] = 0xff;
  put(kExpress + kLinkCapabilities2, 0x0000001e, 4);  // 2.5 to 16 GT/s
  put(kExpress + kLinkControl2, 0x0004, 2);

  put(kMsi, kIdMsi, 2);                // last one
  put(kMsi + kMsiControl, 0x0080, 2);  // 64-bit address, one message
  writable_[kMsi + kMsiControl] = 0x01;
  std::fill_n(writable_.begin() + kMsi + kMsiAddress, 8, uint8_t{0xff});
  writable_[kMsi + kMsiAddress] = 0xfc;
  std::fill_n(writable_.begin() + kMsi + kMsiData, 2, uint8_t{0xff});

  const auto extended = [&](uint32_t at, uint16_t id, uint8_t version, uint32_t next) {
    put(at, id | uint32_t{version} << 16 | next << 20, 4);
  };
  // The list must begin at 0x100: a vendor-specific capability stands there.
  extended(0x100, 0x000b, 1, kAdvancedErrors);
  put(0x104, 0x01010001, 4);
  extended(kAdvancedErrors, kIdAdvancedErrors, 2, options_.audio ? 0 : kResizableBar);
  if (options_.audio) return;
  extended(kResizableBar, kIdResizableBar, 1, kLatency);
  // Sizes on offer: bit 4 stands for 1 MiB. These cards: from 256 MiB on.
  uint32_t sizes = 0;
  for (uint64_t size = kSmallestBar0; size <= options_.bar0_bytes; size <<= 1) {
    sizes |= 1u << (4 + std::countr_zero(size >> 20));
  }
  if (!options_.resizable) sizes = 1u << (4 + std::countr_zero(kSmallestBar0 >> 20));
  put(kResizableBar + kRebarCapability, sizes, 4);
  put(kResizableBar + kRebarControl,
      1u << 5 | static_cast<uint32_t>(std::countr_zero(bar0_size_ >> 20)) << 8, 4);
  writable_[kResizableBar + kRebarControl + 1] = 0x3f;
  extended(kLatency, kIdLatency, 1, 0);
}

void ConfigSpace::put(uint32_t offset, uint32_t value, uint32_t size) {
  for (uint32_t i = 0; i < size; ++i) bytes_[offset + i] = static_cast<uint8_t>(value >> (8 * i));
}

uint32_t ConfigSpace::get(uint32_t offset, uint32_t size) const {
  uint32_t value = 0;
  for (uint32_t i = 0; i < size; ++i) value |= uint32_t{bytes_[offset + i]} << (8 * i);
  return value;
}

uint32_t ConfigSpace::read(uint32_t offset, uint32_t size) const {
  const uint32_t ones = size >= 4 ? ~0u : (1u << (8 * size)) - 1;
  if (options_.absent) return ones;
  if ((size != 1 && size != 2 && size != 4) || offset % size != 0 || offset >= kBytes) {
    events_.driver_error("pci", "configuration read of {} bytes at {:#x}", size, offset);
    return ones;
  }
  return get(offset, size);
}

uint32_t ConfigSpace::bar_mask(int index) const {
  const auto low = [](uint64_t size) { return static_cast<uint32_t>(~(size - 1)); };
  if (options_.audio) return index == 0 ? low(16 << 10) : 0;
  switch (index) {
    case 0:
      return low(bar0_size_);
    case 1:
      return static_cast<uint32_t>(~(bar0_size_ - 1) >> 32);
    case 2:
      return low(kDoorbellBytes);
    case 3:
      return ~0u;
    case 4:
      return low(kIoBytes);
    case 5:
      return low(kRegisterBytes);
    default:
      return 0;
  }
}

void ConfigSpace::write(uint32_t offset, uint32_t value, uint32_t size) {
  if (options_.absent) return;
  if ((size != 1 && size != 2 && size != 4) || offset % size != 0 || offset >= kBytes) {
    events_.driver_error("pci", "configuration write of {} bytes at {:#x}", size, offset);
    return;
  }
  if (offset >= kBar0 && offset < kBar0 + 4 * kBars) {
    const int index = static_cast<int>((offset - kBar0) / 4);
    const uint32_t at = kBar0 + 4 * static_cast<uint32_t>(index);
    if (size != 4) {
      events_.driver_error("pci", "a BAR is written with {} bytes", size);
      return;
    }
    const uint32_t mask = bar_mask(index);
    // The low bits say what kind of BAR it is and stay; an all-ones write reads back the size.
    const bool upper = !options_.audio && (index == 1 || index == 3);
    const uint32_t kind = upper ? 0 : get(at, 4) & 0xf;
    put(at, (value & mask) | kind, 4);
    return;
  }
  if (offset == kRom && size == 4) {
    put(kRom, value & (~(kRomBytes - 1) | 1), 4);
    return;
  }
  const uint32_t rebar = get(kResizableBar + kRebarControl, 4);
  for (uint32_t i = 0; i < size; ++i) {
    write_byte(offset + i, static_cast<uint8_t>(value >> (8 * i)));
  }
  if (!options_.audio && get(kResizableBar + kRebarControl, 4) != rebar) {
    resize(get(kResizableBar + kRebarControl, 4));
  }
}

void ConfigSpace::write_byte(uint32_t offset, uint8_t value) {
  bytes_[offset] =
      static_cast<uint8_t>((bytes_[offset] & ~writable_[offset]) | (value & writable_[offset]));
}

void ConfigSpace::resize(uint32_t control) {
  const uint32_t code = control >> 8 & 0x3f;
  const uint32_t sizes = get(kResizableBar + kRebarCapability, 4);
  const auto back = static_cast<uint32_t>(std::countr_zero(bar0_size_ >> 20));
  if (code > 27 || (sizes >> (4 + code) & 1) == 0) {
    events_.driver_error("pci", "BAR 0 set to a size that it does not offer (code {})", code);
    put(kResizableBar + kRebarControl, 1u << 5 | back << 8, 4);
    return;
  }
  if (memory_enabled()) {
    events_.driver_error("pci", "BAR 0 resized while memory decoding is on");
  }
  bar0_size_ = uint64_t{1} << (20 + code);
  // Address bits below the new size are gone.
  put(kBar0, (get(kBar0, 4) & bar_mask(0)) | kMemory64Prefetchable, 4);
  put(kBar0 + 4, get(kBar0 + 4, 4) & bar_mask(1), 4);
}

link::Bar ConfigSpace::bar(int index) const {
  if (options_.absent) return {};
  const auto low = [&](int i) { return get(kBar0 + 4 * static_cast<uint32_t>(i), 4); };
  const auto at = [&](int i) { return link::BusAddress{low(i) & ~0xfu}; };
  const auto wide = [&](int i) { return at(i) + (uint64_t{low(i + 1)} << 32); };
  if (options_.audio) {
    return index == 0 ? link::Bar{at(0), 16 << 10} : link::Bar{};
  }
  switch (index) {
    case 0:
      return {wide(0), bar0_size_};
    case 2:
      return {wide(2), kDoorbellBytes};
    case 4:
      return {link::BusAddress{low(4) & ~0x3u}, kIoBytes};
    case 5:
      return {at(5), kRegisterBytes};
    default:
      return {};
  }
}

bool ConfigSpace::memory_enabled() const { return (get(kCommand, 2) & kCommandMemory) != 0; }
bool ConfigSpace::link_sleeps() const { return (get(kExpress + kLinkControl, 2) & kAspm) != 0; }
void ConfigSpace::power_on_link(bool wanted) {
  if (wanted && !options_.absent) put(kExpress + kLinkControl, kAspmL1, 2);
}
bool ConfigSpace::bus_master() const { return (get(kCommand, 2) & kCommandMaster) != 0; }
bool ConfigSpace::msi_enabled() const { return (get(kMsi + kMsiControl, 2) & 1) != 0; }

bool ConfigSpace::resize_to_largest(int index) {
  if (index != 0 || options_.audio || options_.absent || !options_.resizable) return false;
  // The host turns decoding off, writes the size, gives the BAR an address, turns decoding on.
  const uint32_t command = get(kCommand, 2);
  put(kCommand, command & ~uint32_t{kCommandMemory}, 2);
  const auto code = static_cast<uint32_t>(std::countr_zero(options_.bar0_bytes >> 20));
  write(kResizableBar + kRebarControl, 1u << 5 | code << 8, 4);
  if (!options_.unassigned) {
    write(kBar0, static_cast<uint32_t>(kBar0Address), 4);
    write(kBar0 + 4, static_cast<uint32_t>(kBar0Address >> 32), 4);
  }
  put(kCommand, command, 2);
  return true;
}

void ConfigSpace::close() {
  put(kCommand, get(kCommand, 2) & ~uint32_t{kCommandMemory | kCommandMaster}, 2);
}

void ConfigSpace::function_reset() {
  put(kCommand, get(kCommand, 2) & ~uint32_t{kCommandMaster}, 2);
}

}  // namespace outboard::simulator::card
