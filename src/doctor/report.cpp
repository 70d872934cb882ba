#include "doctor/report.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>

#include "devices/amd/driver/discovery.h"
#include "devices/amd/driver/memory.h"
#include "devices/amd/driver/saved_config.h"
#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/mmhub.h"
#include "hardware/amd/navi31/mp.h"
#include "hardware/amd/navi31/nbio.h"
#include "hardware/amd/navi31/osssys.h"
#include "hardware/amd/navi31/ucode.h"
#include "support/error.h"
#include "support/sha256.h"

namespace outboard::doctor {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;  // grows when what reads report.json must know of a change
constexpr size_t kConfigBytes = 256, kExtendedBytes = 4096;
constexpr size_t kMostWaits = 10'000;

std::string hex(uint64_t value) { return fmt::format("{:#010x}", value); }

std::string name_of_register(link::BarOffset offset) {
  const auto registers = hw::registers();
  const auto found = std::ranges::find(registers, static_cast<uint32_t>(value(offset) / 4),
                                       &hw::RegisterInfo::address);
  return found == registers.end() ? fmt::format("BAR 5 byte {:#x}", offset)
                                  : std::string(found->name);
}

// What a card tells of its state, besides what waits look at.
struct StateRegister {
  std::string_view name;
  uint32_t (*read)(driver::Registers&);
};
template <typename R>
constexpr StateRegister state(std::string_view name) {
  return {name, [](driver::Registers& registers) { return registers.get<R>(); }};
}
constexpr std::array kState = {
    state<hw::mp::MP0_SMN_C2PMSG_35>("MP0_SMN_C2PMSG_35"),
    state<hw::mp::MP0_SMN_C2PMSG_64>("MP0_SMN_C2PMSG_64"),
    state<hw::mp::MP0_SMN_C2PMSG_67>("MP0_SMN_C2PMSG_67"),
    state<hw::mp::MP0_SMN_C2PMSG_81>("MP0_SMN_C2PMSG_81"),
    state<hw::mp::MP1_SMN_C2PMSG_66>("MP1_SMN_C2PMSG_66"),
    state<hw::mp::MP1_SMN_C2PMSG_82>("MP1_SMN_C2PMSG_82"),
    state<hw::mp::MP1_SMN_C2PMSG_90>("MP1_SMN_C2PMSG_90"),
    state<hw::gc::RLC_RLCS_BOOTLOAD_STATUS>("RLC_RLCS_BOOTLOAD_STATUS"),
    state<hw::gc::RLC_CNTL>("RLC_CNTL"),
    state<hw::gc::RLC_STAT>("RLC_STAT"),
    state<hw::gc::CP_STAT>("CP_STAT"),
    state<hw::gc::CP_CPC_STATUS>("CP_CPC_STATUS"),
    state<hw::gc::CP_CPC_BUSY_STAT>("CP_CPC_BUSY_STAT"),
    state<hw::gc::CP_CPC_STALLED_STAT1>("CP_CPC_STALLED_STAT1"),
    state<hw::gc::CP_CPF_STATUS>("CP_CPF_STATUS"),
    state<hw::gc::CP_MEC_RS64_CNTL>("CP_MEC_RS64_CNTL"),
    state<hw::gc::GRBM_STATUS>("GRBM_STATUS"),
    state<hw::gc::GRBM_STATUS2>("GRBM_STATUS2"),
    state<hw::gc::GRBM_STATUS3>("GRBM_STATUS3"),
    state<hw::gc::SDMA0_STATUS_REG>("SDMA0_STATUS_REG"),
    state<hw::gc::SDMA0_STATUS1_REG>("SDMA0_STATUS1_REG"),
    state<hw::gc::SDMA0_QUEUE0_RB_RPTR>("SDMA0_QUEUE0_RB_RPTR"),
    state<hw::gc::SDMA0_QUEUE0_RB_WPTR>("SDMA0_QUEUE0_RB_WPTR"),
    state<hw::osssys::IH_RB_CNTL>("IH_RB_CNTL"),
    state<hw::osssys::IH_RB_RPTR>("IH_RB_RPTR"),
    state<hw::osssys::IH_RB_WPTR>("IH_RB_WPTR"),
    state<hw::osssys::IH_STATUS>("IH_STATUS"),
    state<hw::gc::GCVM_L2_PROTECTION_FAULT_STATUS>("GCVM_L2_PROTECTION_FAULT_STATUS"),
    state<hw::gc::GCVM_L2_PROTECTION_FAULT_ADDR_LO32>("GCVM_L2_PROTECTION_FAULT_ADDR_LO32"),
    state<hw::gc::GCVM_L2_PROTECTION_FAULT_ADDR_HI32>("GCVM_L2_PROTECTION_FAULT_ADDR_HI32"),
    state<hw::gc::GCVM_L2_PROTECTION_FAULT_CNTL>("GCVM_L2_PROTECTION_FAULT_CNTL"),
    state<hw::gc::GCVM_CONTEXT0_CNTL>("GCVM_CONTEXT0_CNTL"),
    state<hw::mmhub::MMVM_L2_PROTECTION_FAULT_STATUS>("MMVM_L2_PROTECTION_FAULT_STATUS"),
    state<hw::mmhub::MMVM_L2_PROTECTION_FAULT_ADDR_LO32>("MMVM_L2_PROTECTION_FAULT_ADDR_LO32"),
    state<hw::mmhub::MMVM_L2_PROTECTION_FAULT_ADDR_HI32>("MMVM_L2_PROTECTION_FAULT_ADDR_HI32"),
    state<hw::mmhub::MMVM_L2_PROTECTION_FAULT_CNTL>("MMVM_L2_PROTECTION_FAULT_CNTL"),
    state<hw::mmhub::MMVM_CONTEXT0_CNTL>("MMVM_CONTEXT0_CNTL"),
    state<hw::nbio::RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE>("RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE"),
};

uint32_t word_of(std::span<const std::byte> bytes, size_t at, size_t size = 4) {
  uint32_t value = 0;
  if (at + size <= bytes.size()) std::memcpy(&value, &bytes[at], size);
  return value;
}

// Capabilities by their numbers (PCI Express base specification; Linux pci_regs.h).
std::string_view capability_name(uint32_t id) {
  static constexpr std::array<std::pair<uint32_t, std::string_view>, 6> kNames = {{
      {0x01, "power management"},
      {0x03, "vital product data"},
      {0x05, "MSI"},
      {0x09, "vendor specific"},
      {0x10, "PCI Express"},
      {0x11, "MSI-X"},
  }};
  const auto found = std::ranges::find(kNames, id, [](const auto& pair) { return pair.first; });
  return found == kNames.end() ? "" : found->second;
}

constexpr uint32_t kSerialNumber = 0x0003;
std::string_view extended_name(uint32_t id) {
  static constexpr std::array<std::pair<uint32_t, std::string_view>, 17> kNames = {{
      {0x0001, "advanced error reporting"},
      {kSerialNumber, "serial number"},
      {0x0004, "power budgeting"},
      {0x000b, "vendor specific"},
      {0x000d, "access control services"},
      {0x000e, "alternative routing"},
      {0x000f, "address translation services"},
      {0x0013, "page requests"},
      {0x0015, "resizable BAR"},
      {0x0016, "dynamic power allocation"},
      {0x0018, "latency tolerance"},
      {0x0019, "secondary PCI Express"},
      {0x001b, "process address spaces"},
      {0x001e, "L1 substates"},
      {0x0025, "data link feature"},
      {0x0026, "16 GT/s"},
      {0x0027, "lane margining"},
  }};
  const auto found = std::ranges::find(kNames, id, [](const auto& pair) { return pair.first; });
  return found == kNames.end() ? "" : found->second;
}

struct Capability {
  uint32_t at, id;
};
std::vector<Capability> extended_capabilities(std::span<const std::byte> config) {
  std::vector<Capability> out;
  constexpr size_t kMost = 96;
  for (uint32_t at = 0x100; at >= 0x100 && at + 4 <= config.size() && out.size() < kMost;) {
    const uint32_t header = word_of(config, at);
    if (header == 0 || header == 0xffffffff) break;
    out.push_back({at, header & 0xffff});
    at = header >> 20 & ~3U;
  }
  return out;
}

Json describe_express(std::span<const std::byte> config, uint32_t at) {
  return {{"device_control", hex(word_of(config, at + 8, 2))},
          {"link_capabilities", hex(word_of(config, at + 12))},
          {"link_control", hex(word_of(config, at + 16, 2))},
          {"link_status", hex(word_of(config, at + 18, 2))}};
}

}  // namespace

Json describe_config(std::span<const std::byte> config) {
  Json out;
  if (config.size() < kConfigBytes) return out;
  out["vendor"] = fmt::format("{:04x}", word_of(config, 0, 2));
  out["device"] = fmt::format("{:04x}", word_of(config, 2, 2));
  out["subsystem"] =
      fmt::format("{:04x}:{:04x}", word_of(config, 0x2c, 2), word_of(config, 0x2e, 2));
  out["class"] = fmt::format("{:06x}", word_of(config, 8) >> 8);
  out["revision"] = fmt::format("{:02x}", word_of(config, 8, 1));
  out["command"] = hex(word_of(config, 4, 2));
  out["status"] = hex(word_of(config, 6, 2));
  for (uint32_t bar = 0; bar < 6; ++bar)
    out["bars"].push_back(hex(word_of(config, 0x10 + 4 * bar)));
  constexpr size_t kMost = 48;
  uint32_t at = word_of(config, 0x34, 1) & ~3U;
  for (size_t i = 0; at >= 0x40 && i < kMost; ++i) {
    const uint32_t header = word_of(config, at, 2);
    if (header == 0xffff) break;
    Json each = {{"at", fmt::format("{:#x}", at)},
                 {"id", fmt::format("{:#04x}", header & 0xff)},
                 {"name", capability_name(header & 0xff)}};
    constexpr uint32_t kExpress = 0x10;
    if ((header & 0xff) == kExpress) each.update(describe_express(config, at));
    out["capabilities"].push_back(std::move(each));
    at = header >> 8 & ~3U;
  }
  for (const Capability& each : extended_capabilities(config)) {
    out["extended_capabilities"].push_back({{"at", fmt::format("{:#x}", each.at)},
                                            {"id", fmt::format("{:#06x}", each.id)},
                                            {"name", extended_name(each.id)}});
  }
  return out;
}

std::shared_ptr<link::Recording> make_recording(const Scrubber& scrub) {
  using driver::layout::kMiB;
  using driver::layout::kPspMessage;
  return std::make_shared<link::Recording>(
      link::RecordingOptions{{{hw::bar::kVram, bar_offset(kPspMessage), kMiB}}, scrub});
}

Report::Report(std::string version, Scrubber scrub)
    : version_(std::move(version)), scrub_(std::move(scrub)), recording_(make_recording(scrub_)) {}

void Report::watch(DoctorOptions& options) {
  const auto outer_open = options.open;
  options.open = [this, outer_open, connect = options.connect] {
    return open(outer_open ? outer_open() : link::connect(connect));
  };
  options.boot.on_stage = [this, outer = options.boot.on_stage](std::string_view name) {
    begin_stage(name);
    if (outer) outer(name);
  };
  options.boot.on_wait = [this](const driver::WaitRecord& wait) { add_wait(wait); };
  options.boot.on_table = [this](std::span<const std::byte> table) {
    table_.assign(table.begin(), table.end());
  };
  // What follows a finding that is no boot stage belongs to no stage.
  options.on_finding = [this, outer = options.on_finding](const Finding& finding) {
    if (!finding.step.starts_with("boot: ")) {
      end_stage();
      recording_->note("after: " + finding.step);
    }
    if (outer) outer(finding);
  };
  boot_.firmware = options.boot.firmware;
  boot_.images = options.boot.images;
}

std::unique_ptr<link::Link> Report::open(std::unique_ptr<link::Link> link) {
  link_ = std::move(link);
  link_name_ = link_->name();
  try {
    read_config();
  } catch (const Error& e) {
    notes_.push_back("configuration space: " + e.message());
  }
  return link::Recording::record(link_, recording_);
}

// Not through the recording: a replay is of what the driver asks.
void Report::read_config() {
  constexpr double kMostSeconds = 3;  // for the extended part
  const auto start = Clock::now();
  const auto read_up_to = [&](size_t end) {
    while (config_.size() < end) {
      const uint32_t value = link_->config_read(static_cast<uint32_t>(config_.size()), 4);
      const auto bytes = std::as_bytes(std::span(&value, 1));
      config_.insert(config_.end(), bytes.begin(), bytes.end());
    }
  };
  read_up_to(kConfigBytes);
  const std::chrono::duration<double> time = Clock::now() - start;
  constexpr double kTimes = 15;  // as many bytes are left
  const double rest = time.count() * kTimes;
  if (rest > kMostSeconds) {
    notes_.push_back(
        fmt::format("extended configuration space: not read, it would take {:.0f} s", rest));
    return;
  }
  read_up_to(kConfigBytes + 4);
  const uint32_t first = word_of(config_, kConfigBytes);
  if (first == 0 || first == 0xffffffff) {
    notes_.emplace_back("extended configuration space: it cannot be read on this link");
    config_.resize(kConfigBytes);
    return;
  }
  read_up_to(kExtendedBytes);
  for (const Capability& each : extended_capabilities(config_)) {
    constexpr uint32_t kBytes = 8;
    if (each.id != kSerialNumber || each.at + 4 + kBytes > config_.size()) continue;
    std::fill_n(config_.begin() + each.at + 4, kBytes, std::byte{0});
    recording_->hide_config(each.at + 4, kBytes);
  }
}

void Report::begin_stage(std::string_view name) {
  end_stage();
  recording_->note(fmt::format("boot: {}", name));
  stages_.push_back({std::string(name), Clock::now(), 0, Json::array()});
  in_stage_ = true;
}

void Report::end_stage() {
  if (!in_stage_) return;
  const std::chrono::duration<double, std::milli> time = Clock::now() - stages_.back().start;
  stages_.back().milliseconds = time.count();
  in_stage_ = false;
}

void Report::add_wait(const driver::WaitRecord& wait) {
  if (!in_stage_) {
    if (stages_.empty() || stages_.back().name != "at work")
      stages_.push_back({"at work", Clock::now(), 0, Json::array()});
  }
  Json& waits = stages_.back().waits;
  if (waits.size() >= kMostWaits) return;
  Json each = {{"block", wait.block}, {"what", wait.what}};
  if (const auto place = recording_->last_read()) {
    each["last_read"] = place->bar == hw::bar::kRegisters
                            ? name_of_register(place->offset)
                            : fmt::format("BAR {} byte {:#x}", place->bar, place->offset);
    if (place->bar == hw::bar::kRegisters) each["offset"] = fmt::format("{:#x}", place->offset);
  }
  each["first"] = hex(wait.first);
  each["last"] = hex(wait.last);
  each["looks"] = wait.looks;
  each["milliseconds"] = wait.milliseconds;
  each["came"] = wait.came;
  waits.push_back(std::move(each));
}

// The chip of the card that was looked at; without one, the first of those that are driven.
const hardware::amd::Chip& Report::chip() const {
  const auto* found = hardware::amd::find_chip(word_of(config_, driver::pci::kId) >> 16);
  return found == nullptr ? *hardware::amd::kChips.front() : *found;
}

// Headers, and a hash of the whole: the contents are AMD's.
void Report::add_firmware() {
  driver::FirmwareFiles files = boot_.images;
  try {
    if (files.empty())
      files = driver::read_firmware(
          driver::find_firmware(
              boot_.firmware.empty() ? driver::system_firmware_folders() : boot_.firmware, chip()),
          chip());
  } catch (const Error& e) {
    notes_.push_back(e.message());
  }
  for (const auto& [name, bytes] : files) {
    Json each = {{"name", name}, {"bytes", bytes.size()}, {"sha256", to_hex(sha256(bytes))}};
    using Common = hw::ucode::common_firmware_header;
    constexpr size_t kMost = 4096;  // a header that claims more is none
    const size_t size = word_of(bytes, offsetof(Common, header_size_bytes));
    each["header"] = to_hex(std::span(bytes).first(
        std::min(bytes.size(), size <= kMost ? std::max(size, sizeof(Common)) : sizeof(Common))));
    firmware_.push_back(std::move(each));
  }
}

void Report::read_registers() {
  driver::Registers registers(*link_);
  if (!table_.empty()) driver::find_registers(table_, chip(), registers);
  for (const StateRegister& each : kState)
    registers_[std::string(each.name)] = hex(each.read(registers));
  // The last entries that the card wrote: what drain() has taken out lies there still.
  constexpr uint32_t kEntryBytes = 32, kEntries = 64, kRingBytes = 256 << 10;
  const uint32_t pointer =
      hw::osssys::IH_RB_WPTR::OFFSET.get(registers.get<hw::osssys::IH_RB_WPTR>()) * 4;
  if (pointer >= kRingBytes || pointer % kEntryBytes != 0) {
    notes_.push_back(fmt::format("interrupt ring: its pointer stands at {:#x}", pointer));
    return;
  }
  for (uint32_t i = kEntries; i > 0; --i) {
    const uint32_t at = (pointer + kRingBytes - i * kEntryBytes) % kRingBytes;
    std::array<std::byte, kEntryBytes> entry{};
    link_->read(hw::bar::kVram, bar_offset(driver::layout::kInterruptRing + at), entry);
    if (std::ranges::all_of(entry, [](std::byte b) { return b == std::byte{0}; })) continue;
    interrupts_.push_back({{"at", at}, {"entry", to_hex(entry)}});
  }
}

void Report::finish(const Examination& examination) {
  end_stage();
  add_firmware();
  if (link_ && !stages_.empty()) {
    try {
      read_registers();
    } catch (const Error& e) {
      notes_.push_back("registers: " + e.message());
    }
  }
  link_.reset();
  for (const Finding& f : examination.findings()) {
    findings_.push_back({{"step", f.step},
                         {"verdict", words(f.verdict)},
                         {"diagnosis", f.diagnosis},
                         {"seen", f.seen},
                         {"meaning", f.meaning},
                         {"todo", f.todo},
                         {"milliseconds", f.milliseconds}});
  }
}

namespace {

void scrub_texts(Json& json, const Scrubber& scrub) {
  if (json.is_string()) {
    json = scrub(json.get<std::string>());
  } else if (json.is_structured()) {
    for (Json& each : json) scrub_texts(each, scrub);
  }
}

}  // namespace

std::vector<std::pair<std::string, std::vector<std::byte>>> Report::files() const {
  utsname system{};
  ::uname(&system);
  Json json = {
      {"about",
       "A report of `outboard doctor --report`. It names no person and no machine; firmware and "
       "long contents are in traffic.bin as lengths and SHA-256 only."},
      {"format", kFormat},
      {"outboard", version_},
      {"system",
       {{"name", system.sysname}, {"release", system.release}, {"machine", system.machine}}},
      {"link", link_name_},
      {"findings", findings_},
      {"configuration", describe_config(config_)},
      {"firmware", firmware_},
      {"registers", registers_},
      {"interrupts", interrupts_},
      {"not_seen", notes_}};
  for (const Stage& stage : stages_) {
    json["stages"].push_back(
        {{"name", stage.name}, {"milliseconds", stage.milliseconds}, {"waits", stage.waits}});
  }
  scrub_texts(json, scrub_);
  const std::string text =
      json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  const auto bytes = std::as_bytes(std::span(text));
  std::vector<std::pair<std::string, std::vector<std::byte>>> out;
  out.emplace_back("report.json", std::vector<std::byte>(bytes.begin(), bytes.end()));
  if (!config_.empty()) out.emplace_back("config.bin", config_);
  if (!table_.empty()) out.emplace_back("discovery.bin", table_);
  return out;
}

}  // namespace outboard::doctor
