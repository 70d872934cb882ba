// Firmware boot. Source: Linux amdgpu psp_v13_0.c, amdgpu_psp.c, psp_gfx_if.h; tinygrad 0.14.0,
// runtime/support/am/ip.py (AM_PSP).
#include <array>
#include <cstring>

#include "devices/amd/driver/blocks.h"
#include "devices/amd/driver/memory.h"
#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/address_space.h"
#include "hardware/amd/navi31/bring_up.h"
#include "hardware/amd/navi31/mp.h"
#include "hardware/amd/navi31/psp.h"
#include "support/error.h"

namespace outboard::devices::amd::driver::psp {
namespace {

namespace mp = hw::mp;
using namespace hw::psp;  // NOLINT: the interface's own names
using std::chrono::milliseconds;

constexpr uint64_t kMessageBytes = layout::kMiB;
constexpr milliseconds kHandshake{
    20};  // psp_v13_0.c: "there might be handshake issue with hardware"

// What the boot loader takes, in its order. The step for the security patch levels gets the key
// database, too: so do Linux on this card (psp_v13_0_bootloader_load_spl) and tinygrad (AM_PSP; the
// image of that name is for version 14 and later).
struct BootStep {
  uint32_t type, command;
  std::string_view name;
};
constexpr std::array<BootStep, 8> kBootSteps = {{
    {PSP_FW_TYPE_PSP_KDB, PSP_BL__LOAD_KEY_DATABASE, "key database"},
    {PSP_FW_TYPE_PSP_KDB, PSP_BL__LOAD_TOS_SPL_TABLE, "security patch levels"},
    {PSP_FW_TYPE_PSP_SYS_DRV, PSP_BL__LOAD_SYSDRV, "system driver"},
    {PSP_FW_TYPE_PSP_SOC_DRV, PSP_BL__LOAD_SOCDRV, "SoC driver"},
    {PSP_FW_TYPE_PSP_INTF_DRV, PSP_BL__LOAD_INTFDRV, "interface driver"},
    {PSP_FW_TYPE_PSP_DBG_DRV, PSP_BL__LOAD_DBGDRV, "debug driver"},
    {PSP_FW_TYPE_PSP_RAS_DRV, PSP_BL__LOAD_RASDRV, "RAS driver"},
    {PSP_FW_TYPE_PSP_SOS, PSP_BL__LOAD_SOSDRV, "secure OS"},
}};

using hardware::amd::high;
using hardware::amd::low;

// It is ready for an image once it has taken the one before. As psp_v13_0_wait_for_bootloader.
void wait_for_boot_loader(Context& c, std::string_view last, std::string_view next) {
  const std::string what =
      last.empty() ? fmt::format("the boot loader to get ready for the {} (C2PMSG_35 bit 31)", next)
                   : fmt::format("the boot loader to take the {} (C2PMSG_35 bit 31)", last);
  c.wait_for(
      {"psp", what}, [&] { return c.registers.get<mp::MP0_SMN_C2PMSG_35>(); },
      [](uint32_t v) { return (v & GFX_FLAG_RESPONSE) != 0 && v != 0xffffffff; });
}

// An image to where the PSP reads it: whole 16-byte pieces, so that every host's copy is aligned.
void place_message(Context& c, std::span<const std::byte> image) {
  if (image.size() > kMessageBytes)
    fail("psp: an image of {} bytes; {} fit", image.size(), kMessageBytes);
  std::vector<std::byte> padded(image.begin(), image.end());
  padded.resize((image.size() + 15) / 16 * 16);
  c.write_vram(layout::kPspMessage, padded);
  c.flush_host_writes();
}

// As psp_v13_0_bootloader_load_component; AM_PSP._bootloader_load_component.
void start_secure_os(Context& c, const Firmware& firmware) {
  std::string_view last;
  for (const BootStep& step : kBootSteps) {
    const auto image = firmware.boot.find(step.type);
    // Each is optional, as in Linux (amdgpu_psp.c, psp_hw_start) and tinygrad: what a card does
    // without, its boot loader knows.
    if (image == firmware.boot.end()) {
      c.note(fmt::format("the firmware has no {}", step.name));
      continue;
    }
    wait_for_boot_loader(c, last, step.name);
    last = step.name;
    place_message(c, image->second);
    c.registers.set<mp::MP0_SMN_C2PMSG_36>(
        low(value(c.controller_address(layout::kPspMessage)) >> hw::kPspMessageShift));
    c.registers.set<mp::MP0_SMN_C2PMSG_35>(step.command);
  }
  c.wait_for(
      {"psp", "the secure OS to start (C2PMSG_81)"},
      [&] { return c.registers.get<mp::MP0_SMN_C2PMSG_81>(); },
      [](uint32_t v) { return v != 0 && v != 0xffffffff; });
}

// As psp_v13_0_ring_stop and psp_v13_0_ring_create; AM_PSP._ring_create.
void create_ring(Context& c) {
  Registers& r = c.registers;
  if (r.get<mp::MP0_SMN_C2PMSG_71>() != 0) {  // an earlier driver's
    r.set<mp::MP0_SMN_C2PMSG_64>(GFX_CTRL_CMD_ID_DESTROY_RINGS);
    c.pause(kHandshake);
  }
  const auto control = [&] { return r.get<mp::MP0_SMN_C2PMSG_64>(); };
  c.wait_for({"psp", "the secure OS to get ready (C2PMSG_64 bit 31)"}, control,
             [](uint32_t v) { return (v & GFX_FLAG_RESPONSE) != 0 && v != 0xffffffff; });
  r.set_pair<mp::MP0_SMN_C2PMSG_69, mp::MP0_SMN_C2PMSG_70>(
      value(c.controller_address(layout::kPspRing)));
  r.set<mp::MP0_SMN_C2PMSG_71>(kRingBytes);
  r.set<mp::MP0_SMN_C2PMSG_64>(PSP_RING_TYPE__KM << kRingTypeShift);
  c.pause(kHandshake);
  c.wait_for({"psp", "the secure OS to create its ring (C2PMSG_64)"}, control, [](uint32_t v) {
    return (v & (GFX_FLAG_RESPONSE | GFX_CMD_STATUS_MASK)) == GFX_FLAG_RESPONSE;
  });
}

// One command through the ring, as psp_cmd_submit_buf; AM_PSP._ring_submit. The fence is VRAM, so
// waiting for it is a round trip a look; there are some twenty commands in a boot.
psp_gfx_cmd_resp submit(Context& c, const psp_gfx_cmd_resp& command, std::string_view name) {
  const uint32_t pointer = c.registers.get<mp::MP0_SMN_C2PMSG_67>();
  const uint32_t fence = pointer + 1;
  psp_gfx_rb_frame frame{};
  const ControllerAddress command_address = c.controller_address(layout::kPspCommand);
  const ControllerAddress fence_address = c.controller_address(layout::kPspFence);
  frame.cmd_buf_addr_lo = low(command_address);
  frame.cmd_buf_addr_hi = high(command_address);
  frame.fence_addr_lo = low(fence_address);
  frame.fence_addr_hi = high(fence_address);
  frame.fence_value = fence;
  c.write_vram(layout::kPspCommand, std::as_bytes(std::span(&command, 1)));
  c.write_vram(layout::kPspRing + uint64_t{pointer} * 4 % kRingBytes,
               std::as_bytes(std::span(&frame, 1)));
  c.flush_host_writes();
  c.registers.set<mp::MP0_SMN_C2PMSG_67>((pointer + sizeof(frame) / 4) % (kRingBytes / 4));
  const std::string what = fmt::format("the secure OS to carry out {}", name);
  c.wait_for(
      {"psp", what},
      [&] {
        uint32_t value = 0;
        c.read_vram(layout::kPspFence, std::as_writable_bytes(std::span(&value, 1)));
        return value;
      },
      [&](uint32_t v) { return v == fence; });
  psp_gfx_cmd_resp answer{};
  c.read_vram(layout::kPspCommand, std::as_writable_bytes(std::span(&answer, 1)));
  if (answer.resp.status != TEE_SUCCESS) {
    throw Error(
        fmt::format("psp: {} was refused with status {:#x}", name, uint32_t{answer.resp.status}),
        "The firmware images may be damaged or of another card: get them again from "
        "linux-firmware.");
  }
  return answer;
}

psp_gfx_cmd_resp command_of(uint32_t id) {
  psp_gfx_cmd_resp command{};
  command.cmd_id = id;
  return command;
}

// The trusted memory: the table of contents tells how large it must be. As psp_load_toc;
// AM_PSP._tmr_init.
void set_up_trusted_memory(Context& c, const Firmware& firmware, uint32_t& bytes) {
  const auto toc = firmware.boot.find(PSP_FW_TYPE_PSP_TOC);
  if (toc == firmware.boot.end()) {
    c.note("the firmware has no table of contents");
    bytes = kTrustedBytesWithoutContents;
    return;
  }
  place_message(c, toc->second);
  psp_gfx_cmd_resp load = command_of(GFX_CMD_ID_LOAD_TOC);
  const ControllerAddress message = c.controller_address(layout::kPspMessage);
  load.cmd.cmd_load_toc.toc_phy_addr_lo = low(message);
  load.cmd.cmd_load_toc.toc_phy_addr_hi = high(message);
  load.cmd.cmd_load_toc.toc_size = low(toc->second.size());
  bytes = submit(c, load, "LOAD_TOC").resp.tmr_size;
  if (bytes > layout::kTrustedBytes)
    fail("psp: trusted memory of {} bytes is wanted; {} are set aside", bytes,
         layout::kTrustedBytes);
}

// As psp_execute_ip_fw_load; AM_PSP._load_ip_fw_cmd.
void load_image(Context& c, const Firmware::Image& image) {
  place_message(c, image.bytes);
  const ControllerAddress message = c.controller_address(layout::kPspMessage);
  for (const uint32_t type : image.types) {
    psp_gfx_cmd_resp load = command_of(GFX_CMD_ID_LOAD_IP_FW);
    load.cmd.cmd_load_ip_fw.fw_phy_addr_lo = low(message);
    load.cmd.cmd_load_ip_fw.fw_phy_addr_hi = high(message);
    load.cmd.cmd_load_ip_fw.fw_size = low(image.bytes.size());
    load.cmd.cmd_load_ip_fw.fw_type = type;
    submit(c, load, fmt::format("LOAD_IP_FW of type {:#x}", type));
  }
}

// As psp_tmr_load; AM_PSP._tmr_load_cmd.
void give_trusted_memory(Context& c, uint32_t bytes) {
  psp_gfx_cmd_resp setup = command_of(GFX_CMD_ID_SETUP_TMR);
  const ControllerAddress address = c.controller_address(layout::kTrustedMemory);
  setup.cmd.cmd_setup_tmr.buf_phy_addr_lo = low(address);
  setup.cmd.cmd_setup_tmr.buf_phy_addr_hi = high(address);
  setup.cmd.cmd_setup_tmr.buf_size = bytes;
  setup.cmd.cmd_setup_tmr.u.bitfield.virt_phy_addr = 1;
  setup.cmd.cmd_setup_tmr.system_phy_addr_lo = low(layout::kTrustedMemory);
  setup.cmd.cmd_setup_tmr.system_phy_addr_hi = high(layout::kTrustedMemory);
  submit(c, setup, "SETUP_TMR");
}

}  // namespace

bool is_alive(Context& c) {
  const uint32_t value = c.registers.get<mp::MP0_SMN_C2PMSG_81>();
  return value != 0 && value != 0xffffffff;
}

// As psp_hw_start and psp_load_non_psp_fw; AM_PSP.init_hw.
void init(Context& c, const Firmware& firmware) {
  if (!is_alive(c)) start_secure_os(c, firmware);
  create_ring(c);
  const std::array<std::byte, 4> zero{};
  c.write_vram(layout::kPspFence, zero);
  uint32_t trusted = 0;
  set_up_trusted_memory(c, firmware, trusted);
  load_image(c, firmware.smu);  // power management runs before trusted memory is given
  give_trusted_memory(c, trusted);
  for (const Firmware::Image& image : firmware.images) load_image(c, image);
  submit(c, command_of(GFX_CMD_ID_AUTOLOAD_RLC), "AUTOLOAD_RLC");
}

}  // namespace outboard::devices::amd::driver::psp
