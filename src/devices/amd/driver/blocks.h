// The blocks of the card, each a few functions in a file of its own, in the order in which they
// come up. Sources are named there.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "devices/amd/driver/discovery.h"
#include "devices/amd/driver/firmware.h"
#include "devices/amd/driver/registers.h"
#include "hardware/amd/navi31/bring_up.h"
#include "link/link.h"

namespace outboard::devices::amd::driver {

// What a cold boot finds out and a warm boot needs not ask again: kept in video memory.
struct Kept {
  static constexpr uint64_t kMark = 0x0b0a5054454b0b0a;
  static constexpr uint32_t kTableBytes = 10 << 10;  // discovery table
  uint64_t mark = 0;
  uint64_t vram_bytes = 0;
  ControllerAddress vram_base{}, vram_end{};
  RegisterAddress hdp_flush{};
  uint32_t sum = 0;                                   // of all bytes, with this field zero
  std::array<uint32_t, 4> clock_low{}, clock_high{};  // MHz, in the order of smu.cpp
  std::array<uint32_t, 5> sdma{};                     // registers, in the order of sdma.cpp
  uint16_t compute_units = 0;
  uint16_t revision = 0;  // PCI
  std::array<std::byte, kTableBytes> table{};
};

// What the blocks share.
struct Context {
  explicit Context(link::Link& card_link) : link(card_link), registers(card_link) {}

  link::Link& link;
  const Chip* chip = hardware::amd::kChips.front();  // until it is known which
  Registers registers;
  CardFacts facts;
  Kept kept;
  ControllerAddress vram_base{}, vram_end{};  // FB_LOCATION_BASE and _TOP
  RegisterAddress hdp_flush{};                // once it is known
  double patience = 1;                        // every deadline and every pause times this
  // What is not as it should be, and did not stop anything: a line each, for people.
  std::vector<std::string> notes;
  void note(std::string text) {  // once
    if (std::find(notes.begin(), notes.end(), text) == notes.end())
      notes.push_back(std::move(text));
  }
  // The copy engine writes past GL2, which may still hold the lines that were there before. Until
  // this is false again, whatever the compute queue runs begins with an invalidate of GL2.
  bool second_level_stale = false;
  // For reports: told of every wait, and of the discovery table as it was read.
  WaitObserver on_wait;
  std::function<void(std::span<const std::byte>)> on_table;

  ControllerAddress controller_address(VramOffset offset) const {
    return vram_base + value(offset);
  }
  void write_vram(VramOffset offset, std::span<const std::byte> bytes);
  void read_vram(VramOffset offset, std::span<std::byte> bytes);
  // As driver::wait_for() and driver::pause(), by this card's patience.
  uint32_t wait_for(Wait wait, const std::function<uint32_t()>& read,
                    const std::function<bool(uint32_t)>& done) const;
  void pause(std::chrono::milliseconds time) const;
  // What the host wrote through BAR 0 is in VRAM before anything that follows (HDP).
  void flush_host_writes();
};

// Waits until the card's own firmware is through after power-on, then reads and checks the
// discovery table: signature, checksum, and that every block that is used has the version that our
// tables are made for. Throws Error naming the block that differs. Fills in facts, vram_base,
// vram_end and hdp_flush; registers are from then on where the table says.
void discover(Context& c);
// From what an earlier boot kept; false: it kept nothing that is whole.
bool recall(Context& c);
// Keeps what is known for the next, warm boot.
void keep(Context& c);

namespace nbio {
void init(Context& c);  // doorbells
// Lets doorbells through to an engine: `dwords` of them from `first` on, which counts dwords, too.
// Linux and tinygrad give 0 for both where the command processor is meant; so do we.
void enable_doorbells(Context& c, const hw::nbio::DoorbellRoute& route, uint32_t first,
                      uint32_t dwords);
void allow_clock_gating(Context& c);  // of the host data path
}  // namespace nbio

namespace gmc {
enum class Hub : uint8_t { kGc, kMm };
void find_vram(Context& c);  // fills in vram_base and vram_end
void init_hub(Context& c, Hub hub);
bool is_up(Context& c);  // the GC hub walks page tables
// REQUIRES: flush_host_writes() since entries were written.
void flush_tlb(Context& c, Hub hub);
bool has_fault(Context& c);
struct Fault {
  GpuAddress address{};
  uint32_t status = 0;
  bool write = false;
};
Fault read_fault(Context& c);
void clear_fault(Context& c);
}  // namespace gmc

namespace ih {
void init(Context& c);
bool has_entries(Context& c);
// Takes all entries out of the ring and says what they are, without the ordinary ones: a line for
// all that say the same, with their number.
std::vector<std::string> drain(Context& c);
}  // namespace ih

namespace psp {
bool is_alive(Context& c);
// Boot loader, secure OS, trusted memory, all firmware, RLC autoload.
void init(Context& c, const Firmware& firmware);
}  // namespace psp

namespace smu {
bool is_alive(Context& c);
void init(Context& c);
void reset_card(Context& c);    // mode 1
void find_clocks(Context& c);   // how low and high they go: into c.kept
void raise_limits(Context& c);  // to the highest
enum class Clocks : uint8_t {
  kAny,
  kHighest
};  // kAny: as the firmware sees fit, from the lowest on
void set_clocks(Context& c, Clocks clocks);
}  // namespace smu

namespace gfx {
bool is_up(Context& c);  // its firmware runs
// What is not proven to matter is noted, and the boot goes on.
void wait_for_autoload(Context& c, bool warm);
void init(Context& c, uint64_t mec_start);  // cold
bool mec_runs(Context& c);
// REQUIRES: no queue is active, as after stop_queues().
void restart_mec(Context& c, uint64_t mec_start);
// Waits until they have stopped. One that does not is noted and left. False: some did not stop.
bool stop_queues(Context& c);
// Changes while the compute queue gets on in its ring or in an indirect buffer.
uint64_t progress(Context& c);
struct Ring {
  GpuAddress address{};
  uint64_t bytes = 0;
  // Where the engine reports, and where it would look for the write pointer if it were to poll.
  GpuAddress read_pointer{}, write_pointer{};
};
// Returns where its doorbell is in BAR 2.
BarOffset start_queue(Context& c, const Ring& ring, GpuAddress end_of_pipe);
void allow_clock_gating(Context& c);
// Counts the compute units that are not fused off: into c.facts and c.kept. Once the graphics core
// is up.
void count_units(Context& c);
}  // namespace gfx

namespace sdma {
void find_settings(Context& c);    // into c.kept
void enable_doorbell(Context& c);  // cold
void init(Context& c);
void stop(Context& c);
uint64_t progress(Context& c);  // as gfx::progress
BarOffset start_queue(Context& c, const gfx::Ring& ring);
}  // namespace sdma

}  // namespace outboard::devices::amd::driver
