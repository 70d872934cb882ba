#include "simulator/card/psp.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "hardware/amd/navi31/mp.h"
#include "simulator/card/gmc.h"
#include "simulator/card/rlc.h"
#include "simulator/card/smu.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace ph = hw::psp;

namespace {

using BootCommand = hw::mp::MP0_SMN_C2PMSG_35;
using BootAddress = hw::mp::MP0_SMN_C2PMSG_36;
using SosVersion = hw::mp::MP0_SMN_C2PMSG_81;
using RingControl = hw::mp::MP0_SMN_C2PMSG_64;
using RingWritePointer = hw::mp::MP0_SMN_C2PMSG_67;
using RingAddressLow = hw::mp::MP0_SMN_C2PMSG_69;
using RingAddressHigh = hw::mp::MP0_SMN_C2PMSG_70;
using RingBytes = hw::mp::MP0_SMN_C2PMSG_71;

// Bit 31 of a mailbox register: ready (psp_v13_0_wait_for_bootloader, psp_v13_0_ring_create).
constexpr uint32_t kReady = ph::GFX_FLAG_RESPONSE;

// What the boot loader takes, in its order (psp_hw_start in amdgpu_psp.c).
struct Component {
  uint32_t command;
  const char* name;
  bool code;      // begins with a signed image's header; the others are tables
  bool optional;  // may be left out: the card's firmware decides, and nobody tells (psp_hw_start
                  // takes what the file has)
};
constexpr std::array<Component, 8> kComponents{{
    {ph::PSP_BL__LOAD_KEY_DATABASE, "key database", false, false},
    {ph::PSP_BL__LOAD_TOS_SPL_TABLE, "SPL table", false, true},
    {ph::PSP_BL__LOAD_SYSDRV, "system driver", true, false},
    {ph::PSP_BL__LOAD_SOCDRV, "SOC driver", true, true},
    {ph::PSP_BL__LOAD_INTFDRV, "interface driver", true, true},
    {ph::PSP_BL__LOAD_DBGDRV, "debug driver", true, true},
    {ph::PSP_BL__LOAD_RASDRV, "RAS driver", true, true},
    {ph::PSP_BL__LOAD_SOSDRV, "secure OS", true, false},
}};

// Firmware images are made of 1 MiB at most in the boot loader's window (PSP_1_MEG).
constexpr uint64_t kWindow = uint64_t{1} << 20;
constexpr int kWindowShift = 20;

// Head of a signed image, the parts that the boot loader looks at here: a mark at byte 0x10, the
// size of the whole image at 0x6c. Source: the public descriptions of AMD's PSP images (psptool's
// HeaderFile). Only code for the boot loader is looked at this way.
struct Image {
  static constexpr size_t kHeaderBytes = 0x100, kMarkOffset = 0x10, kSizeOffset = 0x6c;
  static constexpr std::array<char, 4> kMark{'$', 'P', 'S', '1'};
};

// What a TOC makes of the trusted memory region: the size that tinygrad reserves for this card
// (runtime/support/am/ip.py, max_tmr_size). The TOC's inside is not public.
constexpr uint32_t kTmrBytes = 0x1300000;
constexpr uint64_t kTmrAlignment = uint64_t{1} << 20;  // PSP_TMR_ALIGNMENT (amdgpu_psp.h)

// Without these the RLC has nothing to start the compute engines with. The kernel driver loads more
// (PFP, ME, MES), which a compute-only driver does not need.
struct Needed {
  uint32_t type;
  const char* name;
};
constexpr std::array<Needed, 9> kNeededForAutoload{{
    {ph::GFX_FW_TYPE_SDMA_UCODE_TH0, "SDMA_UCODE_TH0"},
    {ph::GFX_FW_TYPE_SDMA_UCODE_TH1, "SDMA_UCODE_TH1"},
    {ph::GFX_FW_TYPE_RS64_MEC, "RS64_MEC"},
    {ph::GFX_FW_TYPE_RS64_MEC_P0_STACK, "RS64_MEC_P0_STACK"},
    {ph::GFX_FW_TYPE_IMU_I, "IMU_I"},
    {ph::GFX_FW_TYPE_IMU_D, "IMU_D"},
    {ph::GFX_FW_TYPE_RLC_G, "RLC_G"},
    {ph::GFX_FW_TYPE_RLC_IRAM, "RLC_IRAM"},
    {ph::GFX_FW_TYPE_RLC_DRAM_BOOT, "RLC_DRAM_BOOT"},
}};

constexpr uint32_t kSosVersion = 0x003a0000;  // made up: not zero is what counts
constexpr uint32_t kErrorBadParameters =
    0xffff0006;  // TEE_ERROR_BAD_PARAMETERS of GlobalPlatform's API

bool is_image(std::span<const std::byte> header, bool code) {
  if (!code) {
    return std::any_of(header.begin(), header.end(), [](std::byte b) { return b != std::byte{0}; });
  }
  uint32_t size = 0;
  std::memcpy(&size, header.data() + Image::kSizeOffset, sizeof size);
  return std::memcmp(header.data() + Image::kMarkOffset, Image::kMark.data(),
                     Image::kMark.size()) == 0 &&
         size >= Image::kHeaderBytes && size <= kWindow;
}

uint64_t join(uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; }

}  // namespace

Psp::Psp(Board& board) : board_(board) {
  RegisterFile& registers = board.registers;
  registers.on_write<BootCommand>([this](uint32_t value) { bootloader_command(value); });
  registers.on_write<RingControl>([this](uint32_t value) { ring_control(value); });
  registers.on_write<RingWritePointer>([this](uint32_t value) { ring_write_pointer(value); });
  // Bit 31: the card's own firmware is through (amdgpu_discovery.c in later Linux).
  registers.on_read<hw::mp::MP0_SMN_C2PMSG_33>(
      [this](uint32_t stored) { return board_.is_posted() ? stored | kReady : stored; });
  power_on();
}

void Psp::power_on() {
  next_component_ = 0;
  ring_exists_ = toc_loaded_ = false;
  ring_rptr_ = 0;
  tmr_ = {};
  tmr_bytes_ = tmr_used_ = 0;
  loaded_.clear();
  board_.vram.unprotect();
  board_.power = {};
  key_database_.clear();
  if (!board_.fires("psp.bootloader-stuck")) board_.registers.set<BootCommand>(kReady);
  if (board_.is(Mood::kPosted)) board_.power.smu_loaded = true;
}

void Psp::leave_running() {
  next_component_ = kComponents.size();
  board_.power.sos_alive = board_.power.smu_loaded = true;
  board_.registers.set<SosVersion>(kSosVersion);
  board_.registers.set<RingControl>(kReady);
  for (const Needed& needed : kNeededForAutoload) loaded_.insert(needed.type);
  board_.rlc->start();
}

std::optional<std::vector<std::byte>> Psp::fetch(ControllerAddress address, uint64_t bytes,
                                                 std::string_view what) {
  const compute::Translation place = board_.mm_hub->resolve_physical(address);
  if (place.host == nullptr || place.bytes < bytes) {
    board_.events.driver_error("psp", "{}: {:#x} bytes at {:#x} are no memory of the card", what,
                               bytes, address);
    return std::nullopt;
  }
  if (!place.system) {
    const auto offset = board_.vram.offset_of(place.host);
    if (board_.vram.is_unflushed(offset, bytes)) {
      board_.events.note("hdp",
                         "the PSP read a {} that the host wrote through BAR 0 without an HDP flush "
                         "since: the real card may see the old contents",
                         what);
    }
  }
  return std::vector<std::byte>(place.host, place.host + bytes);
}

void Psp::bootloader_command(uint32_t command) {
  const auto found = std::find_if(kComponents.begin(), kComponents.end(),
                                  [&](const Component& c) { return c.command == command; });
  if (found == kComponents.end()) {
    board_.events.driver_error("psp", "boot loader command {:#x} is unknown", command);
    return;  // the ready bit is gone: the driver waits in vain
  }
  if (board_.power.sos_alive) {
    board_.events.driver_error("psp", "boot loader asked for the {} while the secure OS runs",
                               found->name);
    return;
  }
  if (board_.fires("psp.bootloader-stuck", found->name)) return;
  const auto index = static_cast<size_t>(found - kComponents.begin());
  // Only a card that is known to do without may be started without.
  const bool lacking = board_.is(Mood::kFirmwareMissing) || board_.is(Mood::kFirmwareEmpty);
  while (lacking && next_component_ < index && kComponents[next_component_].optional)
    ++next_component_;
  if (index != next_component_) {
    board_.events.driver_error("psp", "boot loader got the {} where the {} comes next", found->name,
                               next_component_ < kComponents.size()
                                   ? kComponents[next_component_].name
                                   : "secure OS's start");
    return;
  }
  const ControllerAddress address{uint64_t{board_.registers.get<BootAddress>()} << kWindowShift};
  const auto header = fetch(address, Image::kHeaderBytes, found->name);
  if (!header) return;
  if (!is_image(*header, found->code)) {
    board_.events.driver_error("psp", "the {} at {:#x} has no image's header", found->name,
                               address);
    return;
  }
  if (board_.fires("psp.firmware-rejected", found->name)) return;
  if (command == ph::PSP_BL__LOAD_KEY_DATABASE) key_database_ = *header;
  if (command == ph::PSP_BL__LOAD_TOS_SPL_TABLE && board_.is(Mood::kStrictPayload) &&
      *header != key_database_) {
    return;  // not ready again: refused
  }
  ++next_component_;
  if (command == ph::PSP_BL__LOAD_SOSDRV) {
    board_.power.sos_alive = true;
    board_.registers.set<SosVersion>(kSosVersion);
    board_.registers.set<RingControl>(kReady);
  }
  board_.registers.set<BootCommand>(kReady);
}

void Psp::ring_control(uint32_t command) {
  if (!board_.power.sos_alive) {
    board_.events.driver_error("psp", "ring command {:#x} before the secure OS runs", command);
    return;
  }
  if (board_.fires("psp.sos-silent")) return;
  // A ring's kind stands in the upper half (psp_v13_0_ring_create).
  if (command == ph::PSP_RING_TYPE__KM << 16) {
    const uint32_t bytes = board_.registers.get<RingBytes>();
    const ControllerAddress address{
        join(board_.registers.get<RingAddressLow>(), board_.registers.get<RingAddressHigh>())};
    if (ring_exists_) {
      board_.events.driver_error("psp", "a ring is created while one exists");
    }
    if (bytes == 0 || bytes % sizeof(ph::psp_gfx_rb_frame) != 0 || bytes > kWindow ||
        !fetch(address, bytes, "ring")) {
      board_.events.driver_error("psp", "a ring of {:#x} bytes at {:#x}", bytes, address);
      board_.registers.set<RingControl>(kReady | ph::GFX_CMD_STATUS_MASK);
      return;
    }
    ring_exists_ = true;
    ring_ = address;
    ring_dwords_ = bytes / 4;
    ring_rptr_ = 0;
    board_.registers.set<RingWritePointer>(0);
    board_.registers.set<RingControl>(kReady);
    return;
  }
  if (command == ph::GFX_CTRL_CMD_ID_DESTROY_RINGS) {
    ring_exists_ = false;
    board_.registers.set<RingBytes>(0);
    board_.registers.set<RingControl>(kReady | command);
    return;
  }
  if (command == ph::GFX_CTRL_CMD_ID_MODE1_RST) {
    board_.hard_reset("mode 1 reset by the PSP");
    return;
  }
  board_.events.not_simulated("psp", "ring command {:#x}", command);
}

void Psp::ring_write_pointer(uint32_t wptr) {
  if (!ring_exists_) {
    board_.events.driver_error("psp", "ring write pointer moved without a ring");
    return;
  }
  if (board_.fires("psp.sos-silent")) return;
  constexpr uint32_t kFrameWords = sizeof(ph::psp_gfx_rb_frame) / 4;
  wptr %= ring_dwords_;
  if (wptr % kFrameWords != 0) {
    board_.events.driver_error("psp", "ring write pointer {:#x} is not at a frame", wptr);
    return;
  }
  while (ring_rptr_ != wptr) {
    const auto bytes =
        fetch(ring_ + uint64_t{ring_rptr_} * 4, sizeof(ph::psp_gfx_rb_frame), "frame");
    if (!bytes) return;
    ph::psp_gfx_rb_frame frame;
    std::memcpy(&frame, bytes->data(), sizeof frame);
    if (!run_frame(frame)) return;
    ring_rptr_ = (ring_rptr_ + kFrameWords) % ring_dwords_;
  }
}

bool Psp::run_frame(const ph::psp_gfx_rb_frame& frame) {
  const ControllerAddress address{join(frame.cmd_buf_addr_lo, frame.cmd_buf_addr_hi)};
  const auto bytes = fetch(address, sizeof(ph::psp_gfx_cmd_resp), "command");
  if (!bytes) return false;
  ph::psp_gfx_cmd_resp command;
  std::memcpy(&command, bytes->data(), sizeof command);
  command.resp.status = run_command(command);
  std::memcpy(board_.mm_hub->resolve_physical(address).host, &command, sizeof command);

  const ControllerAddress fence{join(frame.fence_addr_lo, frame.fence_addr_hi)};
  const compute::Translation place = board_.mm_hub->resolve_physical(fence);
  if (place.host == nullptr || place.bytes < sizeof frame.fence_value) {
    board_.events.driver_error("psp", "the fence at {:#x} is no memory of the card", fence);
    return false;
  }
  std::memcpy(place.host, &frame.fence_value, sizeof frame.fence_value);
  return true;
}

uint32_t Psp::run_command(ph::psp_gfx_cmd_resp& command) {
  switch (command.cmd_id) {
    case ph::GFX_CMD_ID_LOAD_TOC:
      return load_toc(command);
    case ph::GFX_CMD_ID_SETUP_TMR:
      return setup_tmr(command);
    case ph::GFX_CMD_ID_DESTROY_TMR:
      board_.vram.unprotect();
      tmr_bytes_ = 0;
      return ph::TEE_SUCCESS;
    case ph::GFX_CMD_ID_LOAD_IP_FW:
      return load_firmware(command);
    case ph::GFX_CMD_ID_AUTOLOAD_RLC:
      return autoload(command);
    default:
      board_.events.not_simulated("psp", "command {:#x}", uint32_t{command.cmd_id});
      return ph::PSP_ERR_UNKNOWN_COMMAND;
  }
}

uint32_t Psp::load_toc(ph::psp_gfx_cmd_resp& command) {
  const auto& toc = command.cmd.cmd_load_toc;
  const uint32_t size = toc.toc_size;
  if (size == 0 || size > kWindow ||
      !fetch(ControllerAddress{join(toc.toc_phy_addr_lo, toc.toc_phy_addr_hi)}, size, "TOC")) {
    board_.events.driver_error("psp", "a TOC of {} bytes", size);
    return kErrorBadParameters;
  }
  toc_loaded_ = true;
  command.resp.tmr_size = kTmrBytes;
  return ph::TEE_SUCCESS;
}

uint32_t Psp::setup_tmr(const ph::psp_gfx_cmd_resp& command) {
  const auto& tmr = command.cmd.cmd_setup_tmr;
  const ControllerAddress address{join(tmr.buf_phy_addr_lo, tmr.buf_phy_addr_hi)};
  const uint32_t bytes = tmr.buf_size;
  // Without a table of contents Linux sets aside 4 MiB (PSP_TMR_SIZE).
  constexpr uint32_t kWithoutToc = 0x400000;
  const bool lacking = board_.is(Mood::kFirmwareMissing) || board_.is(Mood::kFirmwareEmpty);
  if (!toc_loaded_ && !lacking) {
    board_.events.driver_error("psp", "SETUP_TMR before the TOC");
    return kErrorBadParameters;
  }
  const uint32_t least = toc_loaded_ ? kTmrBytes : kWithoutToc;
  const compute::Translation place = board_.mm_hub->resolve_physical(address);
  if (place.host == nullptr || place.system || place.bytes < bytes || bytes < least ||
      value(address) % kTmrAlignment != 0) {
    board_.events.driver_error(
        "psp",
        "SETUP_TMR with {:#x} bytes at {:#x}: {:#x} bytes of VRAM, aligned to 1 MiB, are needed",
        bytes, address, least);
    return kErrorBadParameters;
  }
  if (tmr.u.bitfield.virt_phy_addr != 0) {
    const VramOffset physical{join(tmr.system_phy_addr_lo, tmr.system_phy_addr_hi)};
    if (physical != board_.vram.offset_of(place.host)) {
      board_.events.driver_error("psp", "SETUP_TMR: {:#x} is not the VRAM offset of {:#x}",
                                 physical, address);
      return kErrorBadParameters;
    }
  }
  tmr_ = board_.vram.offset_of(place.host);
  tmr_bytes_ = bytes;
  tmr_used_ = 0;
  board_.vram.protect(tmr_, tmr_bytes_);
  return ph::TEE_SUCCESS;
}

uint32_t Psp::load_firmware(ph::psp_gfx_cmd_resp& command) {
  constexpr uint64_t kAlignment = 4096;
  const auto& load = command.cmd.cmd_load_ip_fw;
  const ControllerAddress address{join(load.fw_phy_addr_lo, load.fw_phy_addr_hi)};
  const uint32_t type = load.fw_type, size = load.fw_size;
  if (type == ph::GFX_FW_TYPE_NONE || type >= ph::GFX_FW_TYPE_MAX) {
    board_.events.driver_error("psp", "LOAD_IP_FW of unknown type {}", type);
    return kErrorBadParameters;
  }
  if (size == 0 || size > kTmrBytes || value(address) % kAlignment != 0) {
    board_.events.driver_error("psp", "LOAD_IP_FW of type {}: {} bytes at {:#x}", type, size,
                               address);
    return kErrorBadParameters;
  }
  const auto image = fetch(address, size, "firmware");
  if (!image) return kErrorBadParameters;
  if (board_.fires("psp.firmware-rejected", fmt::format("type {}", type)))
    return kErrorBadParameters;
  if (std::all_of(image->begin(), image->end(), [](std::byte b) { return b == std::byte{0}; })) {
    board_.events.driver_error("psp", "LOAD_IP_FW of type {}: the image is all zeros", type);
    return kErrorBadParameters;
  }
  if (type == ph::GFX_FW_TYPE_SMU) {
    // Power management firmware comes before the TMR (psp_load_smu_fw in amdgpu_psp.c).
    loaded_.insert(type);
    board_.smu->start();
    return ph::TEE_SUCCESS;
  }
  if (tmr_bytes_ == 0) {
    board_.events.driver_error("psp", "LOAD_IP_FW of type {} before SETUP_TMR", type);
    return kErrorBadParameters;
  }
  const uint64_t place = (tmr_used_ + kAlignment - 1) / kAlignment * kAlignment;
  if (place + size > tmr_bytes_) {
    board_.events.driver_error("psp", "the TMR is too small for firmware type {} of {} bytes", type,
                               size);
    return kErrorBadParameters;
  }
  std::memcpy(board_.vram.at(tmr_ + place), image->data(), size);
  tmr_used_ = place + size;
  loaded_.insert(type);
  const uint64_t where = value(Board::kFbBase + value(tmr_) + place);
  command.resp.fw_addr_lo = static_cast<uint32_t>(where);
  command.resp.fw_addr_hi = static_cast<uint32_t>(where >> 32);
  return ph::TEE_SUCCESS;
}

uint32_t Psp::autoload(const ph::psp_gfx_cmd_resp&) {
  std::string missing;
  for (const Needed& needed : kNeededForAutoload) {
    if (!loaded_.contains(needed.type)) missing += fmt::format(" {}", needed.name);
  }
  if (!board_.power.smu_loaded) missing += " SMU";
  if (!missing.empty()) {
    board_.events.driver_error("psp", "AUTOLOAD_RLC without firmware:{}", missing);
    return ph::TEE_SUCCESS;  // the PSP starts the RLC, which then never gets through
  }
  if (!board_.fires("rlc.autoload-timeout")) board_.rlc->start();
  return ph::TEE_SUCCESS;
}

}  // namespace outboard::simulator::card
