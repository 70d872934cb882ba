// The platform security processor (PSP, MP0 13.0.0): boot loader, secure OS, its command ring, the
// firmware it loads. Sources: Linux amdgpu psp_v13_0.c, amdgpu_psp.c, psp_gfx_if.h; the header of a
// signed image: see kImage in psp.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "hardware/amd/navi31/psp.h"
#include "simulator/card/board.h"

namespace outboard::simulator::card {

class Psp {
 public:
  explicit Psp(Board& board);

  void power_on();
  // As an earlier client may have left it: secure OS alive, all firmware loaded.
  void leave_running();

 private:
  void bootloader_command(uint32_t command);
  void ring_control(uint32_t command);
  void ring_write_pointer(uint32_t wptr);
  bool run_frame(const hardware::amd::navi31::psp::psp_gfx_rb_frame& frame);
  uint32_t run_command(hardware::amd::navi31::psp::psp_gfx_cmd_resp& command);
  uint32_t load_toc(hardware::amd::navi31::psp::psp_gfx_cmd_resp& command);
  uint32_t setup_tmr(const hardware::amd::navi31::psp::psp_gfx_cmd_resp& command);
  uint32_t load_firmware(hardware::amd::navi31::psp::psp_gfx_cmd_resp& command);
  uint32_t autoload(const hardware::amd::navi31::psp::psp_gfx_cmd_resp& command);
  // A copy of memory that the driver named by its memory controller address; nothing when there is
  // no such memory.
  std::optional<std::vector<std::byte>> fetch(ControllerAddress address, uint64_t bytes,
                                              std::string_view what);

  Board& board_;
  size_t next_component_ = 0;  // of the boot loader's sequence
  bool ring_exists_ = false;
  ControllerAddress ring_{};
  uint32_t ring_dwords_ = 0, ring_rptr_ = 0;
  bool toc_loaded_ = false;
  VramOffset tmr_{};
  uint64_t tmr_bytes_ = 0, tmr_used_ = 0;
  std::set<uint32_t> loaded_;            // firmware types
  std::vector<std::byte> key_database_;  // its head, as the boot loader got it
};

}  // namespace outboard::simulator::card
